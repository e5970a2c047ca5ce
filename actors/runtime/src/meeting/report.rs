//! The state of a meeting, for operators: the parts that `teammy status` and other programs read.

use serde::{Deserialize, Serialize};
use teammy_kernel::{
    MeetingId, Name, Seq, log,
    store::{InstanceStatus, MeetingStatus},
};

/// The state of a meeting that a node runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MeetingReport {
    /// The meeting's id.
    pub id: MeetingId,
    /// Whether it is running, ending or ended.
    pub status: MeetingStatus,
    /// Packets that it accepted from publishers since this node runs it.
    pub packets: u64,
    /// The last seq of its log.
    pub seq: Seq,
    /// The last seq that is stored.
    pub stored: Seq,
    /// Bytes of packets in memory.
    pub memory: u64,
    /// Bytes of packets that wait to be stored.
    pub backlog: u64,
    /// Its instances, in the order in which they joined.
    pub instances: Vec<InstanceReport>,
}

/// The state of an instance in a meeting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InstanceReport {
    /// The instance's name.
    pub name: Name,
    /// Whether it is active, finished, has left or is suspended.
    pub status: InstanceStatus,
    /// The seq up to which it has finished with the log.
    pub cursor: Seq,
    /// How far it is behind, by source.
    pub lag: Vec<SourceLag>,
    /// Packets that its hooks have finished with.
    pub delivered: u64,
    /// Outputs.
    pub outputs: u64,
    /// Failed attempts.
    pub errors: u64,
    /// Packets that it has given up since this node runs the meeting.
    pub dead_letters: u64,
    /// Packets that it has lost, including those that it has not been told of.
    pub lost: u64,
    /// The hook that is running, if any.
    pub hook: Option<HookReport>,
}

/// The packets of a source that an instance has not finished with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SourceLag {
    /// The source.
    pub source: Name,
    /// How many packets; [`SourceLag::MOST`] means that many or more.
    pub packets: u64,
    /// The time between the oldest and the newest of them, in seconds of the meeting's own time.
    pub seconds: f64,
}

impl SourceLag {
    /// The most packets that are counted in the store.
    pub const MOST: u64 = 10_000;
}

/// A hook that is running.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HookReport {
    /// The source that it takes, `tick`, or `meeting` for `on_meeting_start` and `on_meeting_end`.
    pub source: Name,
    /// Whether it holds its thread; if not, it waits.
    pub holds_thread: bool,
    /// For how long it has held its thread or waited, in seconds.
    pub seconds: f64,
}

/// What the meeting's log says; the rest of a [`MeetingReport`] is read without the meeting's actor.
#[derive(Debug)]
pub(crate) struct LogReport {
    pub(crate) status: MeetingStatus,
    pub(crate) seq: Seq,
    pub(crate) stored: Seq,
    pub(crate) memory: usize,
    pub(crate) backlog: usize,
    pub(crate) instances: Vec<InstanceProgress>,
}

/// What the log says of an instance.
#[derive(Debug)]
pub(crate) struct InstanceProgress {
    pub(crate) name: Name,
    pub(crate) status: InstanceStatus,
    pub(crate) cursor: Seq,
    /// Lost packets that it has not been told of.
    pub(crate) gap: u64,
    /// Its lag, as far as packets are in memory.
    pub(crate) lag: Vec<log::Lag>,
    /// The seqs that it must read from the store first.
    pub(crate) spilled: Option<(Seq, Seq)>,
}
