//! Counting deliveries, the same way for all who are measured.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Notify;

/// What receivers have got; each has a count of its own, on a cache line of its own.
pub struct Tally {
    counts: Vec<Count>,
    reached: Notify,
    /// How many receivers have yet to reach what is waited for.
    missing: AtomicU64,
}

#[repr(align(128))]
#[derive(Default)]
struct Count {
    got: AtomicU64,
    target: AtomicU64,
}

/// One receiver's part of a tally.
#[derive(Clone)]
pub struct Counter {
    tally: Arc<Tally>,
    index: usize,
}

impl Tally {
    /// A tally of so many receivers.
    pub fn of(receivers: usize) -> Arc<Self> {
        Arc::new(Self {
            counts: (0..receivers).map(|_| Count::default()).collect(),
            reached: Notify::new(),
            missing: AtomicU64::new(0),
        })
    }

    /// The receivers' parts.
    pub fn counters(self: &Arc<Self>) -> impl Iterator<Item = Counter> + use<> {
        let tally = self.clone();
        (0..self.counts.len()).map(move |index| Counter { tally: tally.clone(), index })
    }

    /// Says how many more deliveries each receiver will get.
    pub fn expect(&self, more: u64) {
        self.missing.store(self.counts.len() as u64, Ordering::SeqCst);
        for count in &self.counts {
            count.target.store(count.got.load(Ordering::SeqCst) + more, Ordering::SeqCst);
        }
    }

    /// Waits until each receiver got what it was to get.
    pub async fn reached(&self) {
        loop {
            let reached = self.reached.notified();
            if self.missing.load(Ordering::SeqCst) == 0 {
                return;
            }
            reached.await;
        }
    }
}

impl Counter {
    /// A delivery: one addition and one comparison.
    pub fn count(&self) {
        let count = &self.tally.counts[self.index];
        let got = count.got.fetch_add(1, Ordering::Relaxed) + 1;
        if got == count.target.load(Ordering::Relaxed)
            && self.tally.missing.fetch_sub(1, Ordering::SeqCst) == 1
        {
            self.tally.reached.notify_one();
        }
    }
}
