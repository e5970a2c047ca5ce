//! Batches that several instances take.
//!
//! Instances that take the same sources and keep pace need the same batches. So a batch is kept until every
//! instance is past it, and an instance whose cursor is at its beginning takes it as it is: the cost of
//! collecting it is paid once.

use std::collections::VecDeque;

use super::{
    batch::Collected,
    consumer::{Consumer, ResolvedPolicy, SubscribedSource},
    limits::Limits,
};
use crate::Seq;

#[derive(Debug)]
struct CachedBatch {
    /// What the instances take that can take this batch.
    sources: Vec<SubscribedSource>,
    /// The cursor that the batch follows.
    after: Seq,
    batch: Collected,
}

/// The newest batches.
#[derive(Debug, Default)]
pub(super) struct BatchCache(VecDeque<CachedBatch>);

impl BatchCache {
    /// The most batches: they keep packets in memory that may have left the tail.
    const CAPACITY: usize = 8;

    /// A batch for an instance. `None` if a new batch would hold more: less than half a batch is taken only if it reaches the log's end, so that an instance that is
    /// behind gets large batches.
    pub(super) fn find(&self, consumer: &Consumer, end: Seq, limits: &Limits) -> Option<Collected> {
        if consumer.leaving.is_some() || !Self::is_cacheable(consumer) {
            return None;
        }
        let fits = |cached: &&CachedBatch| {
            cached.after == consumer.cursor
                && (cached.batch.up_to == end || cached.batch.packets.len() * 2 >= limits.batch_packets)
                && cached.sources == consumer.sources
        };
        self.0.iter().rev().find(fits).map(|cached| cached.batch.clone())
    }

    /// Keeps a batch. No packet up to its end may be for one instance only.
    pub(super) fn keep(&mut self, consumer: &Consumer, batch: &Collected) {
        if batch.packets.is_empty() || !Self::is_cacheable(consumer) {
            return;
        }
        if self.0.len() == Self::CAPACITY {
            self.0.pop_front();
        }
        let (sources, after) = (consumer.sources.clone(), consumer.cursor);
        self.0.push_back(CachedBatch { sources, after, batch: batch.clone() });
    }

    /// Whether an instance's batches depend on its cursor and its sources alone. With
    /// [`Latest`](ResolvedPolicy::Latest) they depend on the time, too.
    fn is_cacheable(consumer: &Consumer) -> bool {
        !consumer.sources.iter().any(|subscribed| matches!(subscribed.policy, ResolvedPolicy::Latest(_)))
    }

    /// Drops the batches that every instance is past.
    pub(super) fn trim(&mut self, seen: Seq) {
        self.0.retain(|cached| cached.batch.up_to > seen);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
