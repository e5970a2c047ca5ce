//! The end of the log that is in memory: three lanes, merged by seq when read.
//!
//! Durable packets stay until they are stored. Volatile packets are dropped when there are too many, except
//! those that an instance blocks on: these are held until that instance has seen them, and their publishers
//! wait instead. Separate lanes keep one kind from holding up another.

use std::{collections::VecDeque, sync::Arc};

use super::{
    batch::{Collected, Durables},
    ids::{Slot, SourceId},
    limits::Limits,
};
use crate::{DataPacket, Seq};

/// A packet in the tail.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The packet's seq, copied: a search by seq touches no packet.
    pub(super) seq: Seq,
    /// The bytes that the packet counts against limits.
    pub(super) cost: usize,
    pub(super) packet: Arc<DataPacket>,
    pub(super) source: SourceId,
    /// The only instance that the packet is for; `None` if it is for all that take the source.
    pub(super) recipient: Option<Slot>,
    /// The packet that this one redrives, if it is a `redrive` packet.
    pub(super) redrives: Option<Seq>,
}

/// How long a packet stays in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retention {
    /// Until it is stored, and after that while there is room.
    Durable,
    /// While there is room.
    Volatile,
    /// Until the instances that block on it have seen it, then as a volatile packet.
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
    /// The number and the bytes of the oldest held packets that every blocking instance has seen.
    released: (usize, usize),
    /// The seq up to which durable packets are in the store and not in the tail.
    stored_only: Seq,
    /// The seq up to which durable packets are in the store.
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

    /// All packets in memory after `seq`, lane by lane.
    pub(super) fn after(&self, seq: Seq) -> impl Iterator<Item = &Entry> {
        self.durable.after(seq).chain(self.volatile.after(seq)).chain(self.held.after(seq))
    }

    /// How many volatile packets there are, held ones aside.
    pub(super) fn volatile_len(&self) -> usize {
        self.volatile.entries.len()
    }

    /// The bytes of packets that may be dropped before every instance has seen them.
    pub(super) fn volatile_bytes(&self) -> usize {
        self.volatile.bytes + self.released.1
    }

    /// Releases held packets up to here: the instances that block on them have seen them.
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

    /// The seq up to which durable packets must be read from the store.
    pub(super) fn stored_only_up_to(&self) -> Seq {
        self.stored_only
    }

    /// Notes that durable packets up to here are stored.
    pub(super) fn stored(&mut self, up_to: Seq) {
        self.stored = self.stored.max(up_to);
    }

    pub(super) fn push(&mut self, entry: Entry, retention: Retention) {
        match retention {
            Retention::Durable => self.durable.push(entry),
            Retention::Volatile => self.volatile.push(entry),
            Retention::Held => self.held.push(entry),
        }
    }

    /// The packets after `cursor` that are wanted, up to a batch's limits.
    pub(super) fn collect(
        &self,
        cursor: Seq,
        end: Seq,
        limits: &Limits,
        wants: impl Fn(&Entry) -> bool,
    ) -> Collected {
        let lanes = (self.durable.after(cursor), self.volatile.after(cursor), self.held.after(cursor));
        merge(lanes, end, limits, wants)
    }

    /// As [`collect`](Self::collect), with durable packets from the store instead of the tail's.
    pub(super) fn collect_with(
        &self,
        stored: &[Entry],
        cursor: Seq,
        to: Seq,
        limits: &Limits,
        wants: impl Fn(&Entry) -> bool,
    ) -> Collected {
        let lanes = (stored.iter(), self.volatile.after(cursor), self.held.after(cursor));
        merge(lanes, to, limits, wants)
    }

    /// Drops what every instance has seen (up to `seen`), and stored packets while the durable lane is larger
    /// than `limit` bytes. `dropped` is called for each stored packet that an instance has not seen.
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

    /// Removes the oldest volatile packet while they are more than `limit` bytes.
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

    /// Removes volatile packets that no instance needs.
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

/// The durable lane, the volatile one and the held one.
type Lanes<D, V> = (D, V, V);

fn merge<'a, V: ExactSizeIterator<Item = &'a Entry>>(
    (durable, volatile, held): Lanes<impl ExactSizeIterator<Item = &'a Entry>, V>,
    end: Seq,
    limits: &Limits,
    wants: impl Fn(&Entry) -> bool,
) -> Collected {
    let most = durable.len() + volatile.len() + held.len();
    let mut packets = Vec::with_capacity(most.min(limits.batch_packets));
    let (mut durable, mut volatile, mut held) = (durable.peekable(), volatile.peekable(), held.peekable());
    let mut bytes = 0;
    let (mut begins_durable, mut is_durable, mut changes) = (false, false, Vec::new());
    let up_to = loop {
        let at = |entry: Option<&&Entry>| entry.map_or(Seq::MAX, |entry| entry.seq);
        let (d, v, h) = (at(durable.peek()), at(volatile.peek()), at(held.peek()));
        let from_durable = d < v && d < h;
        let next = if from_durable {
            durable.next()
        } else if v < h {
            volatile.next()
        } else {
            held.next()
        };
        let Some(entry) = next.filter(|entry| entry.seq <= end) else { break end };
        if !wants(entry) {
            continue;
        }
        let cost = entry.cost;
        let full = packets.len() >= limits.batch_packets || bytes + cost > limits.batch_bytes;
        // A redriven packet must be read from the store and is a batch of its own.
        if !packets.is_empty() && (full || entry.redrives.is_some()) {
            break entry.seq.previous();
        }
        if packets.is_empty() {
            (begins_durable, is_durable) = (from_durable, from_durable);
        } else if from_durable != is_durable {
            is_durable = from_durable;
            changes.push(packets.len());
        }
        bytes += cost;
        packets.push(entry.packet.clone());
        if entry.redrives.is_some() {
            break entry.seq;
        }
    };
    let durables = Durables::of(&packets, begins_durable, &changes);
    Collected { packets: packets.into(), durables, up_to }
}
