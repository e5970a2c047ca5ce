//! What an instance gets next: from memory, or behind the tail from the store.

use std::{cell::Cell, sync::Arc};

use super::{
    batch::{Collected, Delivery, DueRedrive, Fetch},
    consumer::{Consumer, ResolvedPolicy},
    ids::Slot,
    meeting_log::MeetingLog,
    redrive,
    tail::Entry,
};
use crate::{
    DataPacket, Seq,
    store::{InstanceStatus, MeetingStatus},
};

impl MeetingLog {
    /// The next thing to do for an instance.
    pub fn deliver(&mut self, slot: Slot) -> Delivery {
        if !self.may_get_batch(slot) {
            return Delivery::Idle;
        }
        let consumer = &mut self.consumers[slot.0];
        if let Some(batch) = consumer.resend() {
            return Delivery::Batch(batch);
        }
        if consumer.cursor == self.end && self.lifecycle_history.ending.is_none() {
            return Delivery::Idle;
        }
        if consumer.cursor < self.tail.stored_only_up_to() {
            consumer.fetching = true;
            let mut sources = vec![];
            for (name, id) in &self.sources {
                if *id == self.lifecycle || consumer.spills(*id) {
                    sources.push(name.clone());
                }
            }
            sources.sort();
            return Delivery::Fetch(Fetch {
                from: consumer.cursor.next(),
                to: self.tail.stored_only_up_to(),
                limit: self.limits.batch_packets.min(Fetch::MAX_PACKETS),
                sources,
            });
        }
        self.deliver_up_to(slot, None)
    }

    /// Whether an instance has credit and the backlog has room for what it may make of a batch.
    fn may_get_batch(&self, slot: Slot) -> bool {
        self.consumers[slot.0].has_credit() && self.queue.bytes() < self.limits.backlog_bytes
    }

    /// Takes the packets that were read for a [`Delivery::Fetch`]. Returns what to do next.
    pub fn fetched(&mut self, slot: Slot, fetch: &Fetch, packets: Vec<Arc<DataPacket>>) -> Delivery {
        self.consumers[slot.0].fetching = false;
        if !self.may_get_batch(slot) || fetch.from != self.consumers[slot.0].cursor.next() {
            return self.deliver(slot);
        }
        let to = match packets.last() {
            Some(last) if packets.len() >= fetch.limit => last.seq,
            _ => fetch.to,
        };
        match self.deliver_up_to(slot, Some((packets, to))) {
            // Nothing in this range was for the instance; there may be more behind it.
            Delivery::Idle => self.deliver(slot),
            delivery => delivery,
        }
    }

    /// The store could not be read for a [`Delivery::Fetch`]: the next [`deliver`](Self::deliver) asks again.
    pub fn fetch_failed(&mut self, slot: Slot) {
        self.consumers[slot.0].fetching = false;
    }

    /// Takes the packet that was read for a [`Delivery::Redrive`]. `None`, which skips the redrive, if the
    /// packet is no dead letter any more. Returns what to do next.
    pub fn redriven(&mut self, slot: Slot, redrive: DueRedrive, packet: Option<Arc<DataPacket>>) -> Delivery {
        let consumer = &mut self.consumers[slot.0];
        if consumer.redriving != Some(redrive) {
            return Delivery::Idle;
        }
        consumer.redriving = None;
        consumer.fetching = false;
        if !self.may_get_batch(slot) {
            return self.deliver(slot);
        }
        let consumer = &mut self.consumers[slot.0];
        let Some(packet) = packet else {
            consumer.redrives.remove(&redrive.at);
            consumer.skip_to(redrive.at);
            return self.deliver(slot);
        };
        Delivery::Batch(consumer.send_redriven([packet].into(), redrive.at))
    }

    /// The store could not be read for a [`Delivery::Redrive`]: the next [`deliver`](Self::deliver) asks
    /// again.
    pub fn redrive_failed(&mut self, slot: Slot) {
        self.consumers[slot.0].redriving = None;
        self.consumers[slot.0].fetching = false;
    }

    /// Whether there is something to do as soon as an instance is done with its batch in flight: there is
    /// more to send, or the instance or the meeting ends.
    pub fn needs_completion(&self, slot: Slot) -> bool {
        let consumer = &self.consumers[slot.0];
        match consumer.in_flight_up_to() {
            Some(up_to) => {
                up_to < self.end || self.status != MeetingStatus::Running || consumer.leaving.is_some()
            }
            None => false,
        }
    }

    /// Whether a batch is in flight to any instance's actor.
    pub fn has_batches(&self) -> bool {
        self.consumers.iter().any(|consumer| consumer.in_flight_up_to().is_some())
    }

    /// Whether a packet appended now wakes the meeting for an instance: the packet can be sent at once, or
    /// makes the instance's [completion needed](Self::needs_completion). If not, a later event delivers it.
    pub fn wakes_on_append(&self, slot: Slot) -> bool {
        self.consumers[slot.0].is_available()
            && !self.needs_completion(slot)
            && self.queue.bytes() < self.limits.backlog_bytes
    }

    /// Whether an instance blocks the publishers of the sources that it takes so: too many bytes are queued
    /// for it, while it and the meeting run.
    pub fn is_blocking(&self, slot: Slot) -> bool {
        let consumer = &self.consumers[slot.0];
        self.status == MeetingStatus::Running
            && consumer.status == InstanceStatus::Active
            && consumer.blocking_bytes() > self.limits.block_bytes
    }

    /// The packets in memory that an instance gets next.
    fn collect(&mut self, slot: Slot) -> Collected {
        let consumer = &self.consumers[slot.0];
        if let Some(batch) = self.batch_cache.find(consumer, self.end, &self.limits) {
            return batch;
        }
        let (is_for_one, replaced) = (Cell::new(consumer.leaving.is_some()), Cell::new(0));
        let batch = {
            let wanted = self.wanted(slot, &replaced);
            self.tail.collect(consumer.cursor, self.end, &self.limits, |entry| {
                if entry.recipient.is_some() || entry.source == self.lifecycle {
                    is_for_one.set(true);
                }
                wanted(entry)
            })
        };
        if !is_for_one.get() {
            self.batch_cache.keep(consumer, &batch);
        }
        self.consumers[slot.0].gap += replaced.get();
        batch
    }

    /// As [`collect`](Self::collect), with the durable packets up to `to` from the store.
    fn collect_stored(&mut self, slot: Slot, stored: Vec<Arc<DataPacket>>, to: Seq) -> Collected {
        let entries = stored.into_iter().filter_map(|packet| {
            let source = *self.sources.get(&packet.source)?;
            let (recipient, redrives) = match redrive::read(&packet).filter(|_| source == self.lifecycle) {
                Some((instance, seq)) => (Some(self.slot(instance.as_str())?), Some(seq)),
                None => (None, None),
            };
            Some(Entry { seq: packet.seq, cost: packet.cost(), packet, source, recipient, redrives })
        });
        let entries: Vec<Entry> = entries.collect();
        let (consumer, replaced) = (&self.consumers[slot.0], Cell::new(0));
        let wanted = self.wanted(slot, &replaced);
        let batch = self.tail.collect_with(&entries, consumer.cursor, to, &self.limits, wanted);
        self.consumers[slot.0].gap += replaced.get();
        batch
    }

    /// Whether an instance wants a packet. Packets that it would want and that are replaced are counted.
    fn wanted<'a>(&'a self, slot: Slot, replaced: &'a Cell<u64>) -> impl Fn(&Entry) -> bool + 'a {
        let consumer = &self.consumers[slot.0];
        let takes_all =
            !consumer.sources.iter().any(|subscribed| matches!(subscribed.policy, ResolvedPolicy::Latest(_)));
        move |entry| {
            if !consumer.wants(slot, entry, self.lifecycle) {
                return false;
            }
            if !takes_all && self.is_replaced(consumer, entry) {
                replaced.set(replaced.get() + 1);
                return false;
            }
            true
        }
    }

    /// Whether an instance gets a later packet instead of this one.
    pub(super) fn is_replaced(&self, consumer: &Consumer, entry: &Entry) -> bool {
        match consumer.policy(entry.source) {
            Some(ResolvedPolicy::Latest(index)) => self.latest[index].is_replaced(entry.seq),
            _ => false,
        }
    }

    fn deliver_up_to(&mut self, slot: Slot, stored: Option<(Vec<Arc<DataPacket>>, Seq)>) -> Delivery {
        let batch = match stored {
            None => self.collect(slot),
            Some((stored, to)) => self.collect_stored(slot, stored, to),
        };
        let up_to = batch.up_to;
        let is_at_end = up_to == self.end;
        let consumer = &mut self.consumers[slot.0];
        if batch.packets.is_empty() {
            consumer.skip_to(up_to);
            return if is_at_end { self.deliver_ending(slot) } else { Delivery::Idle };
        }
        if let Some(seq) = consumer.redrives.get(&up_to).copied().filter(|_| batch.packets[0].seq == up_to) {
            let redrive = DueRedrive { at: up_to, seq };
            consumer.fetching = true;
            consumer.redriving = Some(redrive);
            return Delivery::Redrive(redrive);
        }
        Delivery::Batch(consumer.send(batch))
    }

    /// Sends `ending` to an instance that has seen the whole log and for which nothing more can come: the
    /// instances whose outputs it takes are done.
    fn deliver_ending(&mut self, slot: Slot) -> Delivery {
        let Some(ending) = self.ending() else { return Delivery::Idle };
        if self.is_reopened() {
            self.finish_reopened(slot);
            return Delivery::Idle;
        }
        let is_too_early = {
            let consumer = &self.consumers[slot.0];
            let is_upstream = |other: &Consumer| {
                other.status == InstanceStatus::Active && consumer.policy(other.output).is_some()
            };
            self.status != MeetingStatus::Ending || self.consumers.iter().any(is_upstream)
        };
        if is_too_early {
            return Delivery::Idle;
        }
        let packet = ending.clone();
        Delivery::Batch(self.consumers[slot.0].send_ending(packet))
    }
}
