//! What a meeting hands to those outside who listen to sources that are never stored: live only, each within
//! a bound of its own.

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

use super::ingress::SourceSet;

/// What becomes of packets for a subscriber that is too slow, of sources that are never stored. Those that
/// are stored wait in the store, whatever this says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Slow {
    /// The oldest are lost, and counted.
    #[default]
    DropOldest,
    /// A packet is replaced by a later one of the same key; then the oldest are lost. Both are counted.
    Latest(Key),
    /// The subscription ends with an error.
    End,
}

/// One subscriber's packets.
#[derive(Debug)]
pub(crate) struct Tap {
    sources: Vec<Name>,
    places: SourceSet,
    limit: usize,
    slow: Slow,
    queue: Mutex<Queue>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct Queue {
    packets: VecDeque<Arc<DataPacket>>,
    bytes: usize,
    /// How many were lost before the first of them.
    gap: u64,
    /// It was too slow and must not be.
    is_over: bool,
}

/// What a subscriber finds.
pub(crate) enum TapItem {
    /// The next packet, and how many were lost before it.
    Packet(Arc<DataPacket>, u64),
    Empty,
    /// It was too slow.
    TooSlow,
}

impl Queue {
    fn lose(&mut self, place: usize) {
        if let Some(packet) = self.packets.remove(place) {
            self.bytes -= packet.cost();
            self.gap += 1;
        }
    }
}

impl Tap {
    fn push(&self, packet: &Arc<DataPacket>) {
        let mut queue = self.queue.lock();
        if queue.is_over {
            return;
        }
        if let Slow::Latest(key) = &self.slow
            && let Some(of) = key.of(packet)
        {
            let is_same = |other: &Arc<DataPacket>| {
                other.source == packet.source && key.of(other).as_ref() == Some(&of)
            };
            if let Some(place) = queue.packets.iter().position(is_same) {
                queue.lose(place);
            }
        }
        queue.bytes += packet.cost();
        queue.packets.push_back(packet.clone());
        while queue.bytes > self.limit && queue.packets.len() > 1 {
            if self.slow == Slow::End {
                *queue = Queue { is_over: true, ..Queue::default() };
            } else {
                queue.lose(0);
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
        match queue.packets.pop_front() {
            Some(packet) => {
                queue.bytes -= packet.cost();
                TapItem::Packet(packet, std::mem::take(&mut queue.gap))
            }
            None => TapItem::Empty,
        }
    }
}

/// All who listen to a meeting.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    /// What they listen to; asked for each packet.
    sources: AtomicU64,
    taps: Mutex<Vec<Arc<Tap>>>,
}

impl Taps {
    pub(crate) fn sources(&self) -> SourceSet {
        SourceSet::from_bits(self.sources.load(Ordering::Relaxed))
    }

    /// Hands a packet to who listens to its source.
    pub(crate) fn pass(&self, packet: &Arc<DataPacket>, durability: Durability) {
        if durability == Durability::Durable || self.sources() == SourceSet::NONE {
            return;
        }
        for tap in self.taps.lock().iter().filter(|tap| tap.sources.contains(&packet.source)) {
            tap.push(packet);
        }
    }

    pub(crate) fn add(&self, sources: Vec<Name>, places: SourceSet, limit: usize, slow: Slow) -> Arc<Tap> {
        let tap = Tap { sources, places, limit, slow, queue: Mutex::default(), waker: AtomicWaker::new() };
        let tap = Arc::new(tap);
        let mut taps = self.taps.lock();
        taps.push(tap.clone());
        self.count(&taps);
        tap
    }

    pub(crate) fn remove(&self, tap: &Arc<Tap>) {
        let mut taps = self.taps.lock();
        taps.retain(|other| !Arc::ptr_eq(other, tap));
        self.count(&taps);
    }

    fn count(&self, taps: &[Arc<Tap>]) {
        let mut sources = SourceSet::NONE;
        for tap in taps {
            sources.add_all(tap.places);
        }
        self.sources.store(sources.bits(), Ordering::Relaxed);
    }
}
