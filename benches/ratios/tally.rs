//! Counts deliveries, in the same way for all sides.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Notify;

/// The counts of all receivers, each on a cache line of its own.
pub struct DeliveryTally {
    counts: Vec<ReceiverCount>,
    reached: Notify,
    /// How many receivers have not reached their target yet.
    missing: AtomicU64,
}

#[repr(align(128))]
#[derive(Default)]
struct ReceiverCount {
    got: AtomicU64,
    target: AtomicU64,
}

/// One receiver's handle of a tally.
#[derive(Clone)]
pub struct DeliveryCounter {
    tally: Arc<DeliveryTally>,
    index: usize,
}

impl DeliveryTally {
    /// A tally for `receivers` receivers.
    pub fn of(receivers: usize) -> Arc<Self> {
        Arc::new(Self {
            counts: (0..receivers).map(|_| ReceiverCount::default()).collect(),
            reached: Notify::new(),
            missing: AtomicU64::new(0),
        })
    }

    /// A handle for each receiver.
    pub fn counters(self: &Arc<Self>) -> impl Iterator<Item = DeliveryCounter> + use<> {
        let tally = self.clone();
        (0..self.counts.len()).map(move |index| DeliveryCounter { tally: tally.clone(), index })
    }

    /// Raises each receiver's target by `more` deliveries.
    pub fn expect(&self, more: u64) {
        self.missing.store(self.counts.len() as u64, Ordering::SeqCst);
        for count in &self.counts {
            count.target.store(count.got.load(Ordering::SeqCst) + more, Ordering::SeqCst);
        }
    }

    /// Waits until each receiver has reached its target.
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

impl DeliveryCounter {
    /// Counts a delivery, with one addition and one comparison.
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
