//! Instances' actors: whether they take batches, and what follows when they fail.

use std::{sync::Arc, time::Duration};

use super::{
    append::Append,
    commit::{InstanceUpdate, Item},
    effects::Effects,
    failure::{ActorDecision, FailurePolicy},
    ids::Slot,
    meeting_log::MeetingLog,
};
use crate::{
    DataPacket, Seq,
    plugin::Durability,
    store::{DeadLetter, InstanceStatus},
};

impl MeetingLog {
    /// Says whether an instance's actor takes batches. A new actor gets again what the one before it did not
    /// finish with.
    pub fn set_ready(&mut self, slot: Slot, ready: bool) {
        self.consumers[slot.0].set_ready(ready);
    }

    /// An instance's actor failed while it worked on a packet, or on none: the instance gets no batch until
    /// [`set_ready`](Self::set_ready). Says what to do about the packet and the actor; `None` if the instance
    /// is not active any more. For `now` see
    /// [`Failures::actor_failed`](super::failure::Failures::actor_failed).
    pub fn actor_failed(
        &mut self,
        slot: Slot,
        packet: Option<Seq>,
        now: Duration,
        policy: &FailurePolicy,
    ) -> Option<ActorDecision> {
        let consumer = &mut self.consumers[slot.0];
        let is_active = consumer.status == InstanceStatus::Active;
        let decision = consumer.failures.actor_failed(packet.filter(|_| is_active), now, policy);
        if !is_active {
            return None;
        }
        consumer.set_ready(false);
        Some(decision)
    }

    /// Counts a try of a packet that an instance's actor did not survive. Returns how many there were in a
    /// row.
    #[cfg(test)]
    pub(super) fn count_try(&mut self, slot: Slot, seq: Seq) -> u32 {
        self.consumers[slot.0].failures.count_try(seq)
    }

    /// A packet of the batch that is in flight to an instance's actor, or was when the actor failed.
    pub fn packet_in_flight(&self, slot: Slot, seq: Seq) -> Option<&Arc<DataPacket>> {
        let ending = self.ending().filter(|packet| packet.seq == seq);
        self.consumers[slot.0].packet_in_flight(seq).or(ending)
    }

    /// Gives a packet up for an instance whose actor failed on it: the cursor moves past the packet, and the
    /// dead letter is queued. If the packet is `ending`, the instance is finished.
    pub fn give_up(&mut self, slot: Slot, seq: Seq, dead_letter: Option<DeadLetter>) {
        // The cursor of a redriven packet is the redrive's seq.
        let redriven_at = self.consumers[slot.0].take_redriven(seq);
        if redriven_at.is_none() && self.ending().is_some_and(|packet| packet.seq == seq) {
            self.consumers[slot.0].mark_ending();
        }
        let (cursor, dead_letters) = (redriven_at.unwrap_or(seq), dead_letter.into_iter().collect());
        self.apply(slot, Effects { cursor, dead_letters, done: true, ..Effects::default() });
    }

    /// Stops delivery to an instance that failed too often.
    pub fn suspend(&mut self, slot: Slot) {
        let consumer = &mut self.consumers[slot.0];
        consumer.status = InstanceStatus::Suspended;
        consumer.set_ready(false);
        let update = InstanceUpdate::row(slot, consumer);
        self.queue.push(Item::Update(update));
        self.trim();
    }

    /// Resumes delivery to a suspended instance, from its cursor and with its newest state. `packet` is the
    /// `plugin-status` packet that reports it.
    ///
    /// # Panics
    /// If the instance is not suspended.
    pub fn reinstate(&mut self, slot: Slot, packet: Arc<DataPacket>) {
        let consumer = &mut self.consumers[slot.0];
        assert_eq!(
            consumer.status,
            InstanceStatus::Suspended,
            "invariant: only a suspended instance is reinstated"
        );
        consumer.status = InstanceStatus::Active;
        consumer.failures.forget_actors();
        let row = InstanceUpdate::row(slot, consumer);
        self.queue.push(Item::Update(InstanceUpdate { outputs: vec![packet.clone()], ..row }));
        self.push_to_tail(Append::new(packet, Durability::Durable, false), None);
    }
}
