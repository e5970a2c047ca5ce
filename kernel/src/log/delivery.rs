//! What an instance gets next: from memory, or past that from the store.

use std::{cell::Cell, sync::Arc};

use super::{
    MeetingLog, Slot,
    consumer::{Consumer, ResolvedPolicy},
    redrive::{self, Redrive},
    tail::Entry,
};
use crate::{
    DataPacket, Name, Seq,
    store::{InstanceStatus, MeetingStatus},
};

/// What to do for an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing.
    Idle,
    /// Send it this.
    Batch(Batch),
    /// It is behind the tail: read these packets of the store and come back with [`MeetingLog::fetched`].
    Fetch(Fetch),
    /// A packet that it gave up is due once more: read it from the store and come back with
    /// [`MeetingLog::redriven`].
    Redrive(Redrive),
}

/// Packets for an instance, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The packets.
    pub packets: Arc<[Arc<DataPacket>]>,
    /// How many packets it lost before these.
    pub gap: u64,
    /// A packet that was tried before, and how often: by an actor that did not survive it.
    pub tried: Option<(Seq, u32)>,
    /// The batch is one packet that the instance gave up, delivered once more: what comes of it is handed on
    /// with this place as the cursor.
    pub redriven_at: Option<Seq>,
}

impl Batch {
    /// How often actors that are gone tried a packet of this batch.
    pub fn tries_of(&self, seq: Seq) -> u32 {
        self.tried.filter(|(tried, _)| *tried == seq).map_or(0, |(_, tries)| tries)
    }
}

/// A stretch of the store to read for an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The first seq.
    pub from: Seq,
    /// The last seq.
    pub to: Seq,
    /// The most packets; the oldest come first.
    pub limit: usize,
    /// The sources that the instance takes, [`Lifecycle::SOURCE`](crate::meeting::Lifecycle::SOURCE) among
    /// them.
    pub sources: Vec<Name>,
}

impl Fetch {
    /// The most packets to read at once: a store knows no bound in bytes.
    const MOST_PACKETS: usize = 1024;
}

impl MeetingLog {
    /// The next thing to do for an instance.
    pub fn deliver(&mut self, slot: Slot) -> Delivery {
        let instance = &mut self.consumers[slot.0];
        if !instance.has_credit() || self.queue.bytes() >= self.limits.backlog_bytes {
            return Delivery::Idle;
        }
        if let Some(batch) = instance.send_again() {
            return Delivery::Batch(batch);
        }
        if instance.cursor == self.end && self.ending.is_none() {
            return Delivery::Idle;
        }
        if instance.cursor < self.tail.stored_only_up_to() {
            instance.fetching = true;
            let mut sources = vec![];
            for (name, id) in &self.sources {
                if *id == self.lifecycle || instance.spills(*id) {
                    sources.push(name.clone());
                }
            }
            sources.sort();
            return Delivery::Fetch(Fetch {
                from: instance.cursor.next(),
                to: self.tail.stored_only_up_to(),
                limit: self.limits.batch_packets.min(Fetch::MOST_PACKETS),
                sources,
            });
        }
        self.deliver_up_to(slot, None)
    }

    /// Takes what the store gave for a [`Delivery::Fetch`] and says what to do next.
    pub fn fetched(&mut self, slot: Slot, fetch: &Fetch, packets: Vec<Arc<DataPacket>>) -> Delivery {
        self.consumers[slot.0].fetching = false;
        if !self.consumers[slot.0].has_credit() || fetch.from != self.consumers[slot.0].cursor.next() {
            return self.deliver(slot);
        }
        let to = match packets.last() {
            Some(last) if packets.len() >= fetch.limit => last.seq,
            _ => fetch.to,
        };
        match self.deliver_up_to(slot, Some((packets, to))) {
            // What was in the store is seen; perhaps there is more.
            Delivery::Idle => self.deliver(slot),
            delivery => delivery,
        }
    }

    /// The store could not be read for a [`Delivery::Fetch`]; it may be asked for again.
    pub fn fetch_failed(&mut self, slot: Slot) {
        self.consumers[slot.0].fetching = false;
    }

    /// The packets in memory that an instance is to get next, and the seq up to which they take it.
    fn collect(&mut self, slot: Slot) -> (Arc<[Arc<DataPacket>]>, Seq) {
        let instance = &self.consumers[slot.0];
        if let Some(batch) = self.batch_cache.find(instance, self.end, &self.limits) {
            return batch;
        }
        let (is_own, replaced) = (Cell::new(instance.leaving.is_some()), Cell::new(0));
        let (packets, seen) = {
            let wanted = self.wanted(slot, &replaced);
            self.tail.collect(instance.cursor, self.end, &self.limits, |entry| {
                if entry.to.is_some() || entry.source == self.lifecycle {
                    is_own.set(true);
                }
                wanted(entry)
            })
        };
        let packets: Arc<[_]> = packets.into();
        if !is_own.get() {
            self.batch_cache.keep(instance, &packets, seen);
        }
        self.consumers[slot.0].gap += replaced.get();
        (packets, seen)
    }

    /// As [`collect`](Self::collect), with durable packets from the store, which were read up to a place.
    fn collect_stored(
        &mut self,
        slot: Slot,
        stored: Vec<Arc<DataPacket>>,
        to: Seq,
    ) -> (Arc<[Arc<DataPacket>]>, Seq) {
        let entries = stored.into_iter().filter_map(|packet| {
            let source = *self.sources.get(&packet.source)?;
            let (to, redrives) = match redrive::read(&packet).filter(|_| source == self.lifecycle) {
                Some((instance, seq)) => (Some(self.slot(instance.as_str())?), Some(seq)),
                None => (None, None),
            };
            Some(Entry { seq: packet.seq, cost: packet.cost(), packet, source, to, redrives })
        });
        let entries: Vec<Entry> = entries.collect();
        let (instance, replaced) = (&self.consumers[slot.0], Cell::new(0));
        let wanted = self.wanted(slot, &replaced);
        let (packets, seen) = self.tail.collect_with(&entries, instance.cursor, to, &self.limits, wanted);
        self.consumers[slot.0].gap += replaced.get();
        (packets.into(), seen)
    }

    /// Whether an instance wants a packet; those that were replaced for it are counted.
    fn wanted<'a>(&'a self, slot: Slot, replaced: &'a Cell<u64>) -> impl Fn(&Entry) -> bool + 'a {
        let instance = &self.consumers[slot.0];
        let is_plain =
            !instance.sources.iter().any(|taken| matches!(taken.policy, ResolvedPolicy::Latest(_)));
        move |entry| {
            if !instance.wants(slot, entry, self.lifecycle) {
                return false;
            }
            if !is_plain && self.is_replaced(instance, entry) {
                replaced.set(replaced.get() + 1);
                return false;
            }
            true
        }
    }

    /// Whether an instance is to get a later packet in the place of this one.
    pub(super) fn is_replaced(&self, instance: &Consumer, entry: &Entry) -> bool {
        match instance.takes(entry.source) {
            Some(ResolvedPolicy::Latest(latest)) => self.latest[latest].is_replaced(entry.seq),
            _ => false,
        }
    }

    fn deliver_up_to(&mut self, slot: Slot, stored: Option<(Vec<Arc<DataPacket>>, Seq)>) -> Delivery {
        let (packets, seen) = match stored {
            None => self.collect(slot),
            Some((stored, to)) => self.collect_stored(slot, stored, to),
        };
        let at_end = seen == self.end;
        let instance = &mut self.consumers[slot.0];
        if packets.is_empty() {
            instance.skip_to(seen);
            return if at_end { self.deliver_ending(slot) } else { Delivery::Idle };
        }
        if let Some(seq) = instance.redrives.get(&seen).copied().filter(|_| packets[0].seq == seen) {
            let redrive = Redrive { at: seen, seq };
            instance.fetching = true;
            instance.redriving = Some(redrive);
            return Delivery::Redrive(redrive);
        }
        Delivery::Batch(instance.send(packets, seen))
    }

    /// An instance gets `ending` when nothing more can come for it: those whose outputs it takes are done,
    /// and it has seen the whole log.
    fn deliver_ending(&mut self, slot: Slot) -> Delivery {
        let Some(ending) = &self.ending else { return Delivery::Idle };
        if self.is_reopened {
            return self.close_again(slot);
        }
        let waits = {
            let instance = &self.consumers[slot.0];
            let upstream = |other: &Consumer| {
                other.status == InstanceStatus::Active && instance.takes(other.output).is_some()
            };
            self.status != MeetingStatus::Ending || self.consumers.iter().any(upstream)
        };
        if waits {
            return Delivery::Idle;
        }
        let packet = ending.clone();
        Delivery::Batch(self.consumers[slot.0].send_ending(packet))
    }
}
