//! How late packets reach a receiver.

use std::sync::Arc;

use bytes::Bytes;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::tally::{DeliveryCounter, DeliveryTally};

/// Counts a receiver's packets, and records how late each is.
#[derive(Clone)]
pub struct LatenessRecorder {
    pub counter: DeliveryCounter,
    /// Nanoseconds from when a packet was due until it arrived.
    pub times: Arc<Mutex<Histogram<u64>>>,
    /// Due times count from here.
    pub epoch: Instant,
}

impl LatenessRecorder {
    pub fn new(tally: &Arc<DeliveryTally>, epoch: Instant) -> Self {
        let times = Histogram::new(3).expect("three digits are allowed");
        let counter = tally.counters().next().expect("it has one");
        Self { counter, times: Arc::new(Mutex::new(times)), epoch }
    }

    /// Records a packet's arrival. Its first eight bytes hold when it was due, in nanoseconds.
    pub fn arrived(&self, data: &Bytes) {
        let due = u64::from_le_bytes(data[..8].try_into().expect("a packet is longer"));
        let now = self.epoch.elapsed().as_nanos() as u64;
        self.times.lock().record(now.saturating_sub(due)).expect("the histogram grows");
        self.counter.count();
    }
}
