//! A meeting's life: its start, instances that join and leave, ticks, and its end.

use std::sync::Arc;

use super::{
    append::Append,
    commit::{InstanceUpdate, Item},
    consumer_spec::{ConsumerSpec, JoinAt},
    ids::Slot,
    meeting_log::MeetingLog,
};
use crate::{
    DataPacket,
    plugin::{Durability, StateRef},
    store::{DeadLetter, InstanceStatus, MeetingStatus},
};

/// A packet that the runtime makes, and stores.
fn durable(packet: Arc<DataPacket>) -> Append {
    Append::new(packet, Durability::Durable, false)
}

impl MeetingLog {
    /// Starts the meeting with its `start` packet and the instances that take part from there on.
    pub fn start(
        &mut self,
        packet: Arc<DataPacket>,
        instances: impl IntoIterator<Item = (ConsumerSpec, StateRef)>,
    ) {
        let seq = packet.seq;
        self.append(durable(packet));
        let instances = instances.into_iter();
        // Instances that join later are rare.
        self.consumers.reserve_exact(instances.size_hint().0);
        for (subscription, state) in instances {
            let slot = self.add(subscription, state, seq.previous(), seq);
            self.queue.push(Item::Update(InstanceUpdate::row(slot, &mut self.consumers[slot.0])));
        }
    }

    /// Adds an instance to the running meeting with its `join` packet. One that had left comes back with the
    /// state that it had, and goes on from here.
    ///
    /// # Panics
    /// If the instance takes part already; ask [`slot`](Self::slot) and [`view`](Self::view) first.
    pub fn join(
        &mut self,
        subscription: ConsumerSpec,
        state: StateRef,
        at: JoinAt,
        packet: Arc<DataPacket>,
    ) -> Slot {
        let seq = packet.seq;
        let known = self.slot(subscription.instance.as_str());
        let slot = known.unwrap_or(Slot(self.consumers.len()));
        let (cursor, joined) = match at {
            JoinAt::Now => (seq.previous(), seq),
            JoinAt::Start => {
                let start = self.lifecycle_history.start.expect("invariant: the meeting was started");
                (start.previous(), start)
            }
        };
        match known {
            None => {
                self.add(subscription, state, cursor, joined);
            }
            Some(slot) => {
                let sources = self.resolve(&subscription);
                let consumer = &mut self.consumers[slot.0];
                assert_eq!(
                    consumer.status,
                    InstanceStatus::Left,
                    "invariant: an instance takes part at most once"
                );
                consumer.rejoin(sources, cursor, joined);
            }
        }
        // One update with the row: the packet alone doesn't say where the instance begins.
        self.push_to_tail(durable(packet.clone()), Some(slot));
        let row = InstanceUpdate::row(slot, &mut self.consumers[slot.0]);
        self.queue.push(Item::Update(InstanceUpdate { outputs: vec![packet], ..row }));
        slot
    }

    /// Removes an instance with its `leave` packet: the instance finishes what is before it, then
    /// `on_meeting_end` runs on it.
    pub fn leave(&mut self, slot: Slot, packet: Arc<DataPacket>) {
        self.consumers[slot.0].leaving = Some(packet.seq);
        self.append_for(durable(packet), Some(slot));
    }

    /// Appends a tick for an instance, which [can take](Self::can_tick) one.
    pub fn tick(&mut self, slot: Slot, packet: Arc<DataPacket>) {
        self.consumers[slot.0].tick = Some(packet.seq);
        self.append_for(Append::new(packet, Durability::Volatile, false), Some(slot));
    }

    /// Whether an instance can take a tick: one at a time, while it and the meeting run.
    pub fn can_tick(&self, slot: Slot) -> bool {
        let consumer = &self.consumers[slot.0];
        self.status == MeetingStatus::Running
            && consumer.status == InstanceStatus::Active
            && consumer.leaving.is_none()
            && consumer.tick.is_none()
    }

    /// Begins the meeting's end with its `ending` packet: no more packets are published.
    pub fn end(&mut self, packet: Arc<DataPacket>) {
        debug_assert_eq!(self.status, MeetingStatus::Running, "invariant: a meeting ends once");
        self.status = MeetingStatus::Ending;
        self.append(durable(packet));
        self.queue.push(Item::Status(MeetingStatus::Ending));
    }

    /// The `ending` packet, once the meeting ends.
    pub fn ending(&self) -> Option<&Arc<DataPacket>> {
        self.lifecycle_history.ending.as_ref()
    }

    /// Whether every instance is done with the meeting's end, so that [`ended`](Self::ended) may follow.
    pub fn is_finished(&self) -> bool {
        self.status == MeetingStatus::Ending && self.unfinished().next().is_none()
    }

    /// Finishes an instance that did not finish by the end's deadline. Its cursor stays, so that its row says
    /// what it has not seen.
    pub fn expire(&mut self, slot: Slot, dead_letter: DeadLetter) {
        let consumer = &mut self.consumers[slot.0];
        consumer.status = InstanceStatus::Finished;
        consumer.set_ready(false);
        consumer.redrives.clear();
        let dead_letters = vec![dead_letter];
        let update = InstanceUpdate { dead_letters, ..InstanceUpdate::row(slot, consumer) };
        self.queue.push(Item::Update(update));
        self.trim();
    }

    /// Completes the log with its `ended` packet.
    pub fn ended(&mut self, packet: Arc<DataPacket>) {
        debug_assert!(self.is_finished(), "invariant: a meeting ends after its instances");
        self.status = MeetingStatus::Ended;
        self.append(durable(packet));
        self.queue.push(Item::Status(MeetingStatus::Ended));
    }
}
