//! The end of the log that is in memory: three lanes, merged by seq when read.
//!
//! Durable packets stay until they are stored; volatile ones go when there are too many, but for those that
//! somebody blocks on, until they have seen them: their publishers wait instead. Lanes keep the one from
//! holding up the other.

use std::{collections::VecDeque, sync::Arc};

use super::{Limits, Slot};
use crate::{DataPacket, Seq};

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
    /// It says that this packet, which the instance gave up, is to be delivered once more.
    pub(super) redrives: Option<Seq>,
}

/// Where a packet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retention {
    /// Until it is stored, and as long as there is room.
    Durable,
    /// As long as there is room.
    Volatile,
    /// Until those have seen it that block on it, then as a volatile one.
    Held,
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
    held: Lane,
    /// How many of the held, from the front, those have seen that block on them; and their bytes.
    released: (usize, usize),
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
            held: Lane::default(),
            released: (0, 0),
            stored_only: last_stored,
            stored: last_stored,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.durable.bytes + self.volatile.bytes + self.held.bytes
    }

    /// All that is in memory behind a place, lane by lane.
    pub(super) fn after(&self, seq: Seq) -> impl Iterator<Item = &Entry> {
        self.durable.after(seq).chain(self.volatile.after(seq)).chain(self.held.after(seq))
    }

    pub(super) fn volatile(&self) -> &VecDeque<Entry> {
        &self.volatile.entries
    }

    /// The bytes of packets that may go before all have seen them.
    pub(super) fn volatile_bytes(&self) -> usize {
        self.volatile.bytes + self.released.1
    }

    /// Those that block on held packets have seen the log up to here.
    pub(super) fn release(&mut self, up_to: Seq) {
        let (count, bytes) = &mut self.released;
        for entry in self.held.entries.range(*count..).take_while(|entry| entry.seq <= up_to) {
            *count += 1;
            *bytes += entry.cost;
        }
    }

    fn pop_held(&mut self) -> Option<Entry> {
        let entry = self.held.pop()?;
        let (count, bytes) = &mut self.released;
        if *count > 0 {
            *count -= 1;
            *bytes -= entry.cost;
        }
        Some(entry)
    }

    /// Durable packets up to here are to be read from the store.
    pub(super) fn stored_only_up_to(&self) -> Seq {
        self.stored_only
    }

    pub(super) fn stored(&mut self, up_to: Seq) {
        self.stored = self.stored.max(up_to);
    }

    pub(super) fn push(&mut self, entry: Entry, keep: Retention) {
        match keep {
            Retention::Durable => self.durable.push(entry),
            Retention::Volatile => self.volatile.push(entry),
            Retention::Held => self.held.push(entry),
        }
    }

    /// The packets behind `cursor` that are wanted, up to a batch's bounds, and the seq up to which the log
    /// was looked at.
    pub(super) fn collect(
        &self,
        cursor: Seq,
        end: Seq,
        limits: &Limits,
        wants: impl Fn(&Entry) -> bool,
    ) -> (Vec<Arc<DataPacket>>, Seq) {
        let lanes = (self.durable.after(cursor), self.volatile.after(cursor), self.held.after(cursor));
        merge(lanes, end, limits, wants)
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
        let lanes = (stored.iter(), self.volatile.after(cursor), self.held.after(cursor));
        merge(lanes, to, limits, wants)
    }

    /// Lets go of what has been seen by all (`seen`) or, of what is stored, whatever is over the bound; what
    /// goes of that is handed over.
    pub(super) fn trim(&mut self, seen: Seq, limit: usize, mut dropped: impl FnMut(&Entry)) {
        while let Some(seq) = self.durable.front() {
            if seq > self.stored || (seq > seen && self.durable.bytes <= limit) {
                break;
            }
            if let Some(entry) = self.durable.pop()
                && seq > seen
            {
                dropped(&entry);
            }
            self.stored_only = seq;
        }
        self.trim_volatile(seen);
    }

    pub(super) fn trim_volatile(&mut self, seen: Seq) {
        while self.volatile.front().is_some_and(|seq| seq <= seen) {
            self.volatile.pop();
        }
        while self.held.front().is_some_and(|seq| seq <= seen) {
            self.pop_held();
        }
    }

    /// Takes out the oldest volatile packet while there are too many.
    pub(super) fn shed(&mut self, limit: usize) -> Option<Entry> {
        if self.volatile_bytes() <= limit {
            return None;
        }
        let held = self.held.front().filter(|_| self.released.0 > 0);
        match (self.volatile.front(), held) {
            (volatile, Some(held)) if volatile.is_none_or(|volatile| held < volatile) => self.pop_held(),
            _ => self.volatile.pop(),
        }
    }

    /// Takes out volatile packets of which this says that nobody needs them.
    pub(super) fn shed_if(&mut self, mut is_needless: impl FnMut(&Entry) -> bool) {
        let Lane { entries, bytes } = &mut self.volatile;
        entries.retain(|entry| {
            let is_needless = is_needless(entry);
            if is_needless {
                *bytes -= entry.cost;
            }
            !is_needless
        });
    }
}

/// A durable lane, the volatile one and the held one.
type Lanes<D, V> = (D, V, V);

fn merge<'a, V: ExactSizeIterator<Item = &'a Entry>>(
    (durable, volatile, held): Lanes<impl ExactSizeIterator<Item = &'a Entry>, V>,
    end: Seq,
    limits: &Limits,
    wants: impl Fn(&Entry) -> bool,
) -> (Vec<Arc<DataPacket>>, Seq) {
    let most = durable.len() + volatile.len() + held.len();
    let mut packets = Vec::with_capacity(most.min(limits.batch_packets));
    let (mut durable, mut volatile, mut held) = (durable.peekable(), volatile.peekable(), held.peekable());
    let mut bytes = 0;
    loop {
        let at = |entry: Option<&&Entry>| entry.map_or(Seq::MAX, |entry| entry.seq);
        let (d, v, h) = (at(durable.peek()), at(volatile.peek()), at(held.peek()));
        let next = if d < v && d < h {
            durable.next()
        } else if v < h {
            volatile.next()
        } else {
            held.next()
        };
        let Some(entry) = next.filter(|entry| entry.seq <= end) else { return (packets, end) };
        if !wants(entry) {
            continue;
        }
        let cost = entry.cost;
        let full = packets.len() >= limits.batch_packets || bytes + cost > limits.batch_bytes;
        // One that is redriven is for the store to give, and goes alone.
        if !packets.is_empty() && (full || entry.redrives.is_some()) {
            return (packets, entry.seq.previous());
        }
        bytes += cost;
        packets.push(entry.packet.clone());
        if entry.redrives.is_some() {
            return (packets, entry.seq);
        }
    }
}
