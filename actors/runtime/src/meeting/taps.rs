//! Taps: live subscribers to volatile sources. Each has a queue within a bound of its own.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use teammy_kernel::{DataPacket, Durability, Key, Name};

use super::{read_budget::ReadBudget, source_set::SourceSet};

/// What happens to packets of volatile sources that a subscriber is too slow for. It does not concern durable
/// sources: their packets wait in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Slow {
    /// Drops the oldest packets and counts them.
    #[default]
    DropOldest,
    /// Replaces a packet by a later one of the same key, then drops the oldest. Counts both.
    Latest(Key),
    /// Ends the subscription with an error.
    End,
}

/// The queue of one subscriber.
#[derive(Debug)]
pub(crate) struct Tap {
    sources: Vec<Name>,
    set: SourceSet,
    bounds: TapBounds,
    queue: Mutex<Queue>,
    waker: AtomicWaker,
}

/// How much waits for a subscriber, and what happens to the rest.
#[derive(Debug)]
pub(crate) struct TapBounds {
    /// The subscriber's own bound, in bytes.
    pub(crate) limit: usize,
    pub(crate) slow: Slow,
    /// What it shares with others.
    pub(crate) budget: Option<ReadBudget>,
}

#[derive(Debug, Default)]
struct Queue {
    packets: VecDeque<Arc<DataPacket>>,
    bytes: usize,
    /// How many packets were lost before the first of the queue.
    gap: u64,
    /// The subscriber was too slow, and [`Slow::End`] ended its subscription.
    is_over: bool,
}

/// The next item of a subscriber.
pub(crate) enum TapItem {
    /// The next packet, and how many were lost before it.
    Packet(Arc<DataPacket>, u64),
    Empty,
    /// The subscription ended because the subscriber was too slow.
    TooSlow,
}

impl Tap {
    fn put(&self, queue: &mut Queue, packet: Arc<DataPacket>) {
        queue.bytes += packet.cost();
        if let Some(budget) = &self.bounds.budget {
            budget.add_waiting(packet.cost());
        }
        queue.packets.push_back(packet);
    }

    fn take(&self, queue: &mut Queue, index: usize) -> Option<Arc<DataPacket>> {
        let packet = queue.packets.remove(index)?;
        queue.bytes -= packet.cost();
        if let Some(budget) = &self.bounds.budget {
            budget.remove_waiting(packet.cost());
        }
        Some(packet)
    }

    fn lose(&self, queue: &mut Queue, index: usize) {
        if self.take(queue, index).is_some() {
            queue.gap += 1;
        }
    }

    fn is_full(&self, queue: &Queue) -> bool {
        let (count, bytes) = (queue.packets.len(), queue.bytes);
        // One packet always fits: into one's own bound, and into a shared one if it is the only one of all.
        let is_shared_full =
            |budget: &ReadBudget| budget.is_exceeded() && (count > 1 || bytes != budget.waiting());
        let budget = self.bounds.budget.as_ref();
        (bytes > self.bounds.limit && count > 1) || (count > 0 && budget.is_some_and(is_shared_full))
    }

    fn push(&self, packet: &Arc<DataPacket>) {
        let mut queue = self.queue.lock();
        if queue.is_over {
            return;
        }
        if let Slow::Latest(key) = &self.bounds.slow
            && let Some(of) = key.of(packet)
        {
            let is_same = |other: &Arc<DataPacket>| {
                other.source == packet.source && key.of(other).as_ref() == Some(&of)
            };
            if let Some(index) = queue.packets.iter().position(is_same) {
                self.lose(&mut queue, index);
            }
        }
        self.put(&mut queue, packet.clone());
        while self.is_full(&queue) {
            self.lose(&mut queue, 0);
            if self.bounds.slow == Slow::End {
                self.clear(&mut queue);
                queue.is_over = true;
            }
        }
        drop(queue);
        self.waker.wake();
    }

    pub(crate) fn waker(&self) -> &AtomicWaker {
        &self.waker
    }

    pub(crate) fn pop(&self) -> TapItem {
        let mut queue = self.queue.lock();
        if queue.is_over {
            return TapItem::TooSlow;
        }
        match self.take(&mut queue, 0) {
            Some(packet) => TapItem::Packet(packet, std::mem::take(&mut queue.gap)),
            None => TapItem::Empty,
        }
    }

    fn clear(&self, queue: &mut Queue) {
        while self.take(queue, 0).is_some() {}
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let mut queue = std::mem::take(&mut *self.queue.lock());
        self.clear(&mut queue);
    }
}

/// All taps of a meeting.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    /// The sources of all taps, as a [`SourceSet`]; read for each packet.
    sources: AtomicU64,
    taps: Mutex<Vec<Arc<Tap>>>,
}

impl Taps {
    pub(crate) fn sources(&self) -> SourceSet {
        SourceSet::from_bits(self.sources.load(Ordering::Relaxed))
    }

    /// Passes a packet to the taps of its source.
    pub(crate) fn pass(&self, packet: &Arc<DataPacket>, durability: Durability) {
        if durability == Durability::Durable || self.sources() == SourceSet::EMPTY {
            return;
        }
        for tap in self.taps.lock().iter().filter(|tap| tap.sources.contains(&packet.source)) {
            tap.push(packet);
        }
    }

    pub(crate) fn add(&self, sources: Vec<Name>, set: SourceSet, bounds: TapBounds) -> Arc<Tap> {
        let tap = Tap { sources, set, bounds, queue: Mutex::default(), waker: AtomicWaker::new() };
        let tap = Arc::new(tap);
        let mut taps = self.taps.lock();
        taps.push(tap.clone());
        self.update_sources(&taps);
        tap
    }

    pub(crate) fn remove(&self, tap: &Arc<Tap>) {
        let mut taps = self.taps.lock();
        taps.retain(|other| !Arc::ptr_eq(other, tap));
        self.update_sources(&taps);
    }

    fn update_sources(&self, taps: &[Arc<Tap>]) {
        let mut sources = SourceSet::EMPTY;
        for tap in taps {
            sources.insert_all(tap.set);
        }
        self.sources.store(sources.bits(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use teammy_kernel::{MeetingId, Payload, Publish, Seq, Timestamp};

    use super::*;

    fn packet(seq: u64, bytes: usize) -> Arc<DataPacket> {
        let publish = Publish::new("audio", Payload::Bytes(vec![0; bytes].into())).unwrap();
        Arc::new(publish.into_packet(MeetingId::new("m").unwrap(), Seq(seq), Timestamp::UNIX_EPOCH))
    }

    /// The next packet's seq and the gap before it.
    fn next(tap: &Tap) -> Option<(u64, u64)> {
        match tap.pop() {
            TapItem::Packet(packet, gap) => Some((packet.seq.0, gap)),
            TapItem::Empty | TapItem::TooSlow => None,
        }
    }

    #[test]
    fn taps_of_many_meetings_hold_what_they_may_together() {
        let budget = ReadBudget::new(10_000);
        let meetings: Vec<Taps> = (0..100).map(|_| Taps::default()).collect();
        let tap = |taps: &Taps| {
            let bounds = TapBounds { limit: 5_000, slow: Slow::DropOldest, budget: Some(budget.clone()) };
            taps.add(vec![], SourceSet::EMPTY, bounds)
        };
        let taps: Vec<_> = meetings.iter().map(tap).collect();
        for seq in 1..=20 {
            for tap in &taps {
                tap.push(&packet(seq, 1_000));
            }
            assert!(budget.waiting() <= 10_000, "{budget:?}");
        }
        assert!(budget.waiting() > 8_000, "{budget:?}");
        // What was lost is counted, and a reader that catches up makes room for the others.
        let (mut read, mut lost) = (0, 0);
        for tap in &taps {
            while let Some((_, gap)) = next(tap) {
                (read, lost) = (read + 1, lost + gap);
            }
        }
        assert!(read >= 8 && lost > 0, "{read} {lost}");
        assert_eq!(budget.waiting(), 0);
        taps[99].push(&packet(21, 50_000));
        assert_eq!(next(&taps[99]), Some((21, 20)), "one packet always fits");
        taps[0].push(&packet(22, 1_000));
        drop((taps, meetings));
        assert_eq!(budget.waiting(), 0, "what nobody reads any more does not count");
    }
}
