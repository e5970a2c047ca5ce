//! The end of the log that is in memory: two lanes, merged by seq when read.
//!
//! Durable packets stay until they are stored; volatile ones go when there are too many. Two lanes keep the one from
//! holding up the other.

use std::{collections::VecDeque, sync::Arc};

use super::{Limits, Slot};
use crate::{DataPacket, Seq, plugin::Durability};

/// A source's number in a log, so that routing compares integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SourceId(pub(super) u32);

/// A packet in the tail.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The packet's, beside it: who looks for a place need not look into packets.
    pub(super) seq: Seq,
    /// What the packet counts against limits.
    pub(super) cost: usize,
    pub(super) packet: Arc<DataPacket>,
    pub(super) source: SourceId,
    /// The one instance it is for, where it isn't for all that take the source.
    pub(super) to: Option<Slot>,
}

#[derive(Debug, Default)]
struct Lane {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Lane {
    fn push(&mut self, entry: Entry) {
        self.bytes += entry.cost;
        self.entries.push_back(entry);
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.cost;
        Some(entry)
    }

    fn front(&self) -> Option<Seq> {
        self.entries.front().map(|entry| entry.seq)
    }

    fn after(&self, seq: Seq) -> impl ExactSizeIterator<Item = &Entry> {
        let start = self.entries.partition_point(|entry| entry.seq <= seq);
        self.entries.range(start..)
    }
}

#[derive(Debug)]
pub(super) struct Tail {
    durable: Lane,
    volatile: Lane,
    /// Durable packets up to here are in the store, not in the tail.
    stored_only: Seq,
    /// Durable packets up to here are in the store.
    stored: Seq,
}

impl Tail {
    pub(super) fn new(last_stored: Seq) -> Self {
        Self {
            durable: Lane::default(),
            volatile: Lane::default(),
            stored_only: last_stored,
            stored: last_stored,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.durable.bytes + self.volatile.bytes
    }

    /// Durable packets up to here are to be read from the store.
    pub(super) fn stored_only_up_to(&self) -> Seq {
        self.stored_only
    }

    pub(super) fn stored(&mut self, up_to: Seq) {
        self.stored = self.stored.max(up_to);
    }

    pub(super) fn push(&mut self, entry: Entry, durability: Durability) {
        match durability {
            Durability::Durable => self.durable.push(entry),
            Durability::Volatile => self.volatile.push(entry),
        }
    }

    /// The packets behind `cursor` that are wanted, up to a batch's bounds, and the seq up to which the log was looked
    /// at.
    pub(super) fn collect(
        &self,
        cursor: Seq,
        end: Seq,
        limits: &Limits,
        wants: impl Fn(&Entry) -> bool,
    ) -> (Vec<Arc<DataPacket>>, Seq) {
        merge(self.durable.after(cursor), self.volatile.after(cursor), end, limits, wants)
    }

    /// As [`collect`](Self::collect), with durable packets from the store in place of the tail's.
    pub(super) fn collect_with(
        &self,
        stored: &[Entry],
        cursor: Seq,
        to: Seq,
        limits: &Limits,
        wants: impl Fn(&Entry) -> bool,
    ) -> (Vec<Arc<DataPacket>>, Seq) {
        merge(stored.iter(), self.volatile.after(cursor), to, limits, wants)
    }

    /// Lets go of what has been seen by all (`seen`) or, of what is stored, whatever is over the bound.
    pub(super) fn trim(&mut self, seen: Seq, limit: usize) {
        while let Some(seq) = self.durable.front() {
            if seq > self.stored || (seq > seen && self.durable.bytes <= limit) {
                break;
            }
            self.durable.pop();
            self.stored_only = seq;
        }
        self.trim_volatile(seen);
    }

    pub(super) fn trim_volatile(&mut self, seen: Seq) {
        while self.volatile.front().is_some_and(|seq| seq <= seen) {
            self.volatile.pop();
        }
    }

    /// Takes out the oldest volatile packet while there are too many.
    pub(super) fn shed(&mut self, limit: usize) -> Option<Entry> {
        if self.volatile.bytes > limit { self.volatile.pop() } else { None }
    }
}

fn merge<'a>(
    durable: impl ExactSizeIterator<Item = &'a Entry>,
    volatile: impl ExactSizeIterator<Item = &'a Entry>,
    end: Seq,
    limits: &Limits,
    wants: impl Fn(&Entry) -> bool,
) -> (Vec<Arc<DataPacket>>, Seq) {
    let most = durable.len() + volatile.len();
    let mut packets = Vec::with_capacity(most.min(limits.batch_packets));
    let mut durable = durable.peekable();
    let mut volatile = volatile.peekable();
    let mut bytes = 0;
    loop {
        let from_durable = match (durable.peek(), volatile.peek()) {
            (Some(d), Some(v)) => d.seq < v.seq,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return (packets, end),
        };
        let next = if from_durable { durable.next() } else { volatile.next() };
        let entry = next.expect("invariant: it was peeked at");
        if entry.seq > end {
            return (packets, end);
        }
        if !wants(entry) {
            continue;
        }
        let cost = entry.cost;
        let full = packets.len() >= limits.batch_packets || bytes + cost > limits.batch_bytes;
        if full && !packets.is_empty() {
            return (packets, entry.seq.previous());
        }
        bytes += cost;
        packets.push(entry.packet.clone());
    }
}
