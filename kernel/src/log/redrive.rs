//! Redrives: packets that instances gave up, delivered again.
//!
//! A redrive is a packet in the log, as a meeting's start and end are, and for one instance. When the
//! instance comes to it, the instance receives the packet that it had given up, read from the store. The
//! effects have the redrive's seq as their cursor and remove the dead letter in the same commit. So a redrive
//! is done once under all owners together, and the order of everything else does not change.
//!
//! A meeting that had ended is reopened, for the instances with redrives alone: they receive their packets,
//! and the meeting ends again.

use std::sync::Arc;

use super::{
    commit::{InstanceUpdate, Item},
    ids::Slot,
    meeting_log::MeetingLog,
    tail::Entry,
};
use crate::{
    DataPacket, Name, Seq,
    meeting::Lifecycle,
    plugin::Durability,
    store::{InstanceStatus, MeetingStatus},
};

/// Why a packet cannot be redriven now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedriveError {
    /// A redrive of the packet is under way.
    Underway,
    /// The instance has finished with the meeting's end, and others have not.
    Ending,
    /// The instance is suspended.
    Suspended,
    /// The instance has left.
    Left,
}

/// The instance and the packet that a `redrive` packet names.
pub(super) fn read(packet: &DataPacket) -> Option<(Name, Seq)> {
    match Lifecycle::from_payload(&packet.payload)? {
        Lifecycle::Redrive { instance, seq } => Some((instance, seq)),
        _ => None,
    }
}

impl MeetingLog {
    /// Whether a packet that an instance gave up can be redriven.
    ///
    /// # Errors
    /// Why not.
    pub fn can_redrive(&self, slot: Slot, seq: Seq) -> Result<(), RedriveError> {
        let consumer = &self.consumers[slot.0];
        // A finished redrive counts until it is stored: the store still has the dead letter.
        if consumer.redrives.values().any(|underway| *underway == seq) || self.queue.has_redriven(slot, seq) {
            return Err(RedriveError::Underway);
        }
        match consumer.status {
            InstanceStatus::Active if consumer.has_ending() => Err(RedriveError::Ending),
            InstanceStatus::Active => Ok(()),
            InstanceStatus::Suspended => Err(RedriveError::Suspended),
            InstanceStatus::Left => Err(RedriveError::Left),
            InstanceStatus::Finished if self.status == MeetingStatus::Ended => Ok(()),
            // In a reopened meeting no instance has an end to come.
            InstanceStatus::Finished if self.is_reopened() => Ok(()),
            InstanceStatus::Finished => Err(RedriveError::Ending),
        }
    }

    /// Delivers a packet again that an instance gave up, when the instance comes to this `redrive` packet. A
    /// meeting that had ended is ending again.
    ///
    /// # Panics
    /// If the packet [cannot be](Self::can_redrive) redriven.
    pub fn redrive(&mut self, slot: Slot, packet: Arc<DataPacket>, seq: Seq) {
        debug_assert_eq!(self.can_redrive(slot, seq), Ok(()), "invariant: the packet can be redriven");
        let at = packet.seq;
        if self.status == MeetingStatus::Ended {
            self.status = MeetingStatus::Ending;
            self.queue.push(Item::Status(MeetingStatus::Ending));
        }
        debug_assert!(at > self.end, "invariant: the log is in the order of its seqs");
        self.end = at;
        let consumer = &mut self.consumers[slot.0];
        if consumer.status == InstanceStatus::Finished {
            consumer.status = InstanceStatus::Active;
            // An instance that was cut off before it had seen `ending` reads on from its cursor.
            if self.lifecycle_history.ending.as_ref().is_some_and(|ending| consumer.cursor >= ending.seq) {
                consumer.cursor = at.previous();
            }
        }
        consumer.redrives.insert(at, seq);
        // One update with the row: a new owner finds either both or none.
        let row = InstanceUpdate::row(slot, consumer);
        self.queue.push(Item::Update(InstanceUpdate { outputs: vec![packet.clone()], ..row }));
        let (cost, source, recipient) = (packet.cost(), self.lifecycle, Some(slot));
        let entry = Entry { seq: at, packet, cost, source, recipient, redrives: Some(seq) };
        self.push_entry(entry, Durability::Durable);
    }

    /// Whether a redrive is done or never will be, and its effects are stored.
    pub fn is_redriven(&self, slot: Slot, at: Seq) -> bool {
        let consumer = &self.consumers[slot.0];
        let is_past = consumer.status != InstanceStatus::Active || consumer.cursor >= at;
        is_past && !self.queue.has_update_up_to(slot, at)
    }

    /// Whether the meeting had ended and was reopened for redrives.
    pub fn is_reopened(&self) -> bool {
        self.lifecycle_history.is_reopened
    }

    /// Finishes an instance of a reopened meeting that did not finish by the end's deadline. Packets that it
    /// did not come to stay dead letters.
    pub fn give_up_redrives(&mut self, slot: Slot) {
        let end = self.end;
        let consumer = &mut self.consumers[slot.0];
        consumer.redrives.clear();
        consumer.cursor = end;
        self.finish_reopened(slot);
    }

    /// Finishes an instance of a reopened meeting: it has no redrive left.
    pub(super) fn finish_reopened(&mut self, slot: Slot) {
        let consumer = &mut self.consumers[slot.0];
        consumer.status = InstanceStatus::Finished;
        consumer.set_ready(false);
        let update = InstanceUpdate::row(slot, consumer);
        self.queue.push(Item::Update(update));
        self.trim();
    }
}
