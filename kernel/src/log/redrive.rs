//! Packets that instances gave up, delivered once more.
//!
//! A redrive is a packet in the log, as a meeting's start and end are, and for one instance. Where the
//! instance comes by it, it gets the packet that it had given up, read from the store; what it makes of that
//! is handed on with the redrive's place as the cursor, and the dead letter goes in the same commit. So a
//! redrive is done once, whoever owns the meeting, and the order of everything else stays as it is.
//!
//! A meeting that had ended is opened once more, for the instances that are asked to alone: they get their
//! packets, and it ends again.

use std::sync::Arc;

use super::{Append, Batch, Delivery, MeetingLog, Slot, commit::InstanceUpdate, commit::Item, tail::Entry};
use crate::{
    DataPacket, Name, Seq,
    meeting::Lifecycle,
    plugin::Durability,
    store::{InstanceStatus, MeetingStatus},
};

/// A packet that is due once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redrive {
    /// The place of the redrive.
    pub at: Seq,
    /// The packet that was given up.
    pub seq: Seq,
}

/// Why a packet cannot be redriven now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedriveError {
    /// It is on its way already.
    Underway,
    /// The instance has finished with the meeting's end, and others have not.
    Ending,
    /// The instance was suspended.
    Suspended,
    /// The instance has left.
    Left,
}

/// The instance and the packet of a redrive.
pub(super) fn read(packet: &DataPacket) -> Option<(Name, Seq)> {
    match Lifecycle::from_payload(&packet.payload)? {
        Lifecycle::Redrive { instance, seq } => Some((instance, seq)),
        _ => None,
    }
}

impl MeetingLog {
    /// Whether a packet that an instance gave up can be delivered to it once more.
    ///
    /// # Errors
    /// Why not.
    pub fn can_redrive(&self, slot: Slot, seq: Seq) -> Result<(), RedriveError> {
        let instance = &self.consumers[slot.0];
        // One that is finished with counts until the store has heard of it: its dead letter is still there.
        if instance.redrives.values().any(|underway| *underway == seq) || self.queue.has_redriven(slot, seq) {
            return Err(RedriveError::Underway);
        }
        match instance.status {
            InstanceStatus::Active if instance.has_ending() => Err(RedriveError::Ending),
            InstanceStatus::Active => Ok(()),
            InstanceStatus::Suspended => Err(RedriveError::Suspended),
            InstanceStatus::Left => Err(RedriveError::Left),
            InstanceStatus::Finished if self.status == MeetingStatus::Ended => Ok(()),
            // In a meeting that was opened once more, whoever has ended has had its end.
            InstanceStatus::Finished if self.is_reopened => Ok(()),
            InstanceStatus::Finished => Err(RedriveError::Ending),
        }
    }

    /// Delivers a packet once more that an instance gave up, at the place of its `redrive` packet. A meeting
    /// that had ended is ending again.
    ///
    /// # Panics
    /// If it [cannot be](Self::can_redrive).
    pub fn redrive(&mut self, slot: Slot, packet: Arc<DataPacket>, seq: Seq) {
        debug_assert_eq!(self.can_redrive(slot, seq), Ok(()), "invariant: it can be redriven");
        let at = packet.seq;
        if self.status == MeetingStatus::Ended {
            self.status = MeetingStatus::Ending;
            self.is_reopened = true;
            self.queue.push(Item::Status(MeetingStatus::Ending));
        }
        debug_assert!(at > self.end, "invariant: the log is in the order of its seqs");
        self.end = at;
        let instance = &mut self.consumers[slot.0];
        if instance.status == InstanceStatus::Finished {
            instance.status = InstanceStatus::Active;
            // One that was cut off before it had seen the end reads on from where it was.
            if self.ending.as_ref().is_some_and(|ending| instance.cursor >= ending.seq) {
                instance.cursor = at.previous();
            }
        }
        instance.redrives.insert(at, seq);
        // With its row as one update: a new owner finds either both or none.
        let row = InstanceUpdate::row(slot, instance);
        self.queue.push(Item::Update(InstanceUpdate { outputs: vec![packet.clone()], ..row }));
        let Append { packet, cost, durability, .. } = Append::new(packet, Durability::Durable, false);
        let (source, to) = (self.lifecycle, Some(slot));
        self.enter(Entry { seq: at, packet, cost, source, to, redrives: Some(seq) }, durability);
    }

    /// Takes the packet that was read for a [`Delivery::Redrive`]; none if it is not there, and then it is
    /// passed over.
    pub fn redriven(&mut self, slot: Slot, redrive: Redrive, packet: Option<Arc<DataPacket>>) -> Delivery {
        let instance = &mut self.consumers[slot.0];
        if instance.redriving != Some(redrive) {
            return Delivery::Idle;
        }
        instance.redriving = None;
        instance.fetching = false;
        if !instance.has_credit() {
            return self.deliver(slot);
        }
        let Some(packet) = packet else {
            instance.redrives.remove(&redrive.at);
            instance.skip_to(redrive.at);
            return self.deliver(slot);
        };
        let batch: Batch = instance.send_redriven([packet].into(), redrive.at);
        Delivery::Batch(batch)
    }

    /// The store could not be read for a [`Delivery::Redrive`]; it may be asked for again.
    pub fn redrive_failed(&mut self, slot: Slot) {
        self.consumers[slot.0].redriving = None;
        self.consumers[slot.0].fetching = false;
    }

    /// Whether a redrive is done with, or never will be, and what came of it is stored.
    pub fn is_redriven(&self, slot: Slot, at: Seq) -> bool {
        let instance = &self.consumers[slot.0];
        let is_past = instance.status != InstanceStatus::Active || instance.cursor >= at;
        is_past && !self.queue.has_unit_up_to(slot, at)
    }

    /// Whether the meeting had ended and was opened once more.
    pub fn is_reopened(&self) -> bool {
        self.is_reopened
    }

    /// Finishes with an instance that was taken back after the meeting's end and had its time. What it was to
    /// get once more stays a dead letter.
    pub fn give_up_redrives(&mut self, slot: Slot) {
        let end = self.end;
        let instance = &mut self.consumers[slot.0];
        instance.redrives.clear();
        instance.cursor = end;
        self.close_again(slot);
    }

    /// An instance that was taken back after the meeting's end has nothing more to do.
    pub(super) fn close_again(&mut self, slot: Slot) -> Delivery {
        let instance = &mut self.consumers[slot.0];
        instance.status = InstanceStatus::Finished;
        instance.set_ready(false);
        let update = InstanceUpdate::row(slot, instance);
        self.queue.push(Item::Update(update));
        self.trim();
        Delivery::Idle
    }

    /// Goes on delivering to an instance that was suspended: from its cursor, with its newest state. `packet`
    /// tells of it.
    ///
    /// # Panics
    /// If it is not suspended.
    pub fn reinstate(&mut self, slot: Slot, packet: Arc<DataPacket>) {
        let instance = &mut self.consumers[slot.0];
        assert_eq!(
            instance.status,
            InstanceStatus::Suspended,
            "invariant: only who is suspended is reinstated"
        );
        instance.status = InstanceStatus::Active;
        instance.failures.forget_actors();
        let row = InstanceUpdate::row(slot, instance);
        self.queue.push(Item::Update(InstanceUpdate { outputs: vec![packet.clone()], ..row }));
        self.place(Append::new(packet, Durability::Durable, false), None);
    }
}
