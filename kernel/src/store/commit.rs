//! What an owner writes.

use std::sync::Arc;

use super::record::{DeadLetter, Epoch, InstanceRecord, KeyWrite, MeetingStatus};
use crate::{DataPacket, MeetingId, Name, Seq};

/// One atomic write to one meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commit {
    /// The meeting's id.
    pub meeting: MeetingId,
    /// The writer's epoch.
    pub epoch: Epoch,
    /// The commit's number: one above the last.
    pub number: u64,
    /// The row's new reservation; never lower than it was.
    pub reserved: Seq,
    /// The row's new status.
    pub status: MeetingStatus,
    /// Durable packets, in the order of their seqs.
    pub packets: Vec<Arc<DataPacket>>,
    /// The instances' rows that change, each once.
    pub instances: Vec<InstanceRecord>,
    /// The keys that change, each of an instance once.
    pub keys: Vec<KeyWrite>,
    /// The dead letters of packets that were given up.
    pub dead_letters: Vec<DeadLetter>,
    /// The dead letters to remove, each by its instance and its packet: the packets were redriven and
    /// finished with. None of them is in `dead_letters`.
    pub redriven: Vec<(Name, Seq)>,
}

impl Commit {
    /// A commit that writes nothing but the meeting's row.
    pub fn new(meeting: MeetingId, epoch: Epoch, number: u64, reserved: Seq) -> Self {
        Self {
            meeting,
            epoch,
            number,
            reserved,
            status: MeetingStatus::Running,
            packets: Vec::new(),
            instances: Vec::new(),
            keys: Vec::new(),
            dead_letters: Vec::new(),
            redriven: Vec::new(),
        }
    }

    /// The commit's size in bytes, as limits count it: what it writes, and a flat rate for each row.
    pub fn cost(&self) -> usize {
        let packets = self.packets.iter().map(|packet| packet.cost());
        let states =
            self.instances.iter().map(|instance| instance.state.as_ref().map_or(0, |state| state.len()));
        let keys = self
            .keys
            .iter()
            .map(|write| write.key.len() + write.value.as_ref().map_or(0, |value| value.len()));
        let letters = self.dead_letters.iter().map(|letter| letter.error.len());
        let removed = self.redriven.iter().map(|_| 0);
        let rows = packets.chain(states).chain(keys).chain(letters).chain(removed);
        rows.fold(Self::ROW, |sum, bytes| sum + Self::ROW + bytes)
    }

    /// What a row costs beside its contents: a store needs about as long for a short row as for this many bytes.
    const ROW: usize = 1024;
}

/// What became of one meeting's commit in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The commit is stored, by this try or an earlier one.
    Applied,
    /// Another owner has the meeting, or no owner has: its row is gone. This call stored nothing of the
    /// commit. An earlier try whose answer was lost may have stored it before the other owner claimed the
    /// meeting.
    Fenced,
    /// The row does not hold the number before this one; nothing of the commit is stored. A writer that
    /// issues one commit after the other never gets this outcome.
    OutOfOrder {
        /// The number that the row holds.
        stored: u64,
    },
}
