//! The rows that a store keeps of a meeting.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::lease::Incarnation;
use crate::{DataPacket, MeetingMetadata, Name, Seq, error};

/// How many owners a meeting has had, which is the newest owner's right to write. The first owner's is 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether a meeting runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MeetingStatus {
    /// Packets are published.
    #[default]
    Running,
    /// No more packets are published; the instances finish.
    Ending,
    /// The log is complete.
    Ended,
}

/// A meeting's row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeetingRecord {
    /// The metadata that the meeting was started with.
    pub metadata: MeetingMetadata,
    /// The instances that the meeting was started with. Until the first commit only the row names them.
    pub instances: Vec<Name>,
    /// The owner's epoch.
    pub epoch: Epoch,
    /// The number of the last commit; 0 before the first. A new owner counts on from it.
    pub commit: u64,
    /// The highest seq that an owner may have told a publisher; the next owner starts above it.
    pub reserved: Seq,
    /// The meeting's status.
    pub status: MeetingStatus,
    /// When the meeting was created in the store, by its first owner's wall clock. It is unknown of a meeting
    /// that an earlier version created and never stored a packet of.
    pub created: Option<Timestamp>,
    /// The seq of the last stored packet; [`Seq::ZERO`] if there is none.
    pub last: Seq,
    /// The node that owns the meeting, if its owner has a lease.
    pub owner: Option<Incarnation>,
}

impl MeetingRecord {
    /// The row of a meeting that its first owner creates at `created`.
    pub fn first(metadata: MeetingMetadata, instances: Vec<Name>, reserved: Seq, created: Timestamp) -> Self {
        Self {
            metadata,
            instances,
            epoch: Epoch(1),
            commit: 0,
            reserved,
            status: MeetingStatus::Running,
            created: Some(created),
            last: Seq::ZERO,
            owner: None,
        }
    }
}

/// Whether an instance takes part in a meeting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum InstanceStatus {
    /// It takes part.
    #[default]
    Active,
    /// It has finished with the meeting's end.
    Finished,
    /// It has left the running meeting.
    Left,
    /// It failed too often and gets no more packets.
    Suspended,
}

/// An instance's row in a meeting. An owner writes all of it, except for a state that has not changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// The instance's name.
    pub instance: Name,
    /// The seq up to which it has finished with the log.
    pub cursor: Seq,
    /// The seq of the packet on which it runs `on_meeting_start`.
    pub joined: Seq,
    /// Whether it takes part.
    pub status: InstanceStatus,
    /// Its state as JSON. In a commit `None` leaves the stored state as it is; in an answer `None` means
    /// that no state was ever stored.
    pub state: Option<Arc<str>>,
}

/// A change to one of an instance's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyWrite {
    /// The instance's name.
    pub instance: Name,
    /// The key, as the plugin names it.
    pub key: String,
    /// The value as JSON; `None` deletes the key.
    pub value: Option<Arc<str>>,
}

/// A packet that an instance gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The instance's name.
    pub instance: Name,
    /// The packet's seq.
    pub seq: Seq,
    /// The packet's source.
    pub source: Name,
    /// How often the packet was tried.
    pub tries: u32,
    /// The error of the last try.
    pub error: String,
    /// When the packet was given up.
    pub at: Timestamp,
}

impl DeadLetter {
    /// The longest error that is kept, in bytes.
    pub const MAX_ERROR_BYTES: usize = error::MAX_BYTES;

    /// A packet that an instance gave up at `at`, after so many tries. An error that is too long is cut.
    pub fn new(instance: Name, packet: &DataPacket, tries: u32, error: &str, at: Timestamp) -> Self {
        let error = crate::shortened(error, Self::MAX_ERROR_BYTES);
        Self { instance, seq: packet.seq, source: packet.source.clone(), tries, error, at }
    }
}
