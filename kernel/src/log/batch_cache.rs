//! Batches that several instances take.
//!
//! Instances that take the same sources and keep pace need the same batches. So a batch is kept until every
//! instance is past it, and an instance whose cursor is at its beginning takes it as it is: the cost of
//! collecting it is paid once.

use std::{collections::VecDeque, sync::Arc};

use super::{
    consumer::{Consumer, ResolvedPolicy, SubscribedSource},
    limits::Limits,
};
use crate::{DataPacket, Seq};

#[derive(Debug)]
struct CachedBatch {
    /// What the instances take that can take this batch.
    sources: Vec<SubscribedSource>,
    /// The cursor that the batch follows.
    after: Seq,
    packets: Arc<[Arc<DataPacket>]>,
    /// The cursor of an instance that is done with the batch.
    up_to: Seq,
}

/// The newest batches.
#[derive(Debug, Default)]
pub(super) struct BatchCache(VecDeque<CachedBatch>);

impl BatchCache {
    /// The most batches: they keep packets in memory that may have left the tail.
    const CAPACITY: usize = 8;

    /// A batch for an instance, and the instance's cursor once it is done. `None` if a new batch would hold
    /// more: less than half a batch is taken only if it reaches the log's end, so that an instance that is
    /// behind gets large batches.
    pub(super) fn find(
        &self,
        consumer: &Consumer,
        end: Seq,
        limits: &Limits,
    ) -> Option<(Arc<[Arc<DataPacket>]>, Seq)> {
        if consumer.leaving.is_some() || !Self::is_cacheable(consumer) {
            return None;
        }
        let fits = |cached: &&CachedBatch| {
            cached.after == consumer.cursor
                && (cached.up_to == end || cached.packets.len() * 2 >= limits.batch_packets)
                && cached.sources == consumer.sources
        };
        let cached = self.0.iter().rev().find(fits)?;
        Some((cached.packets.clone(), cached.up_to))
    }

    /// Keeps a batch. No packet up to its end may be for one instance only.
    pub(super) fn keep(&mut self, consumer: &Consumer, packets: &Arc<[Arc<DataPacket>]>, up_to: Seq) {
        if packets.is_empty() || !Self::is_cacheable(consumer) {
            return;
        }
        if self.0.len() == Self::CAPACITY {
            self.0.pop_front();
        }
        let (sources, after) = (consumer.sources.clone(), consumer.cursor);
        self.0.push_back(CachedBatch { sources, after, packets: packets.clone(), up_to });
    }

    /// Whether an instance's batches depend on its cursor and its sources alone. With
    /// [`Latest`](ResolvedPolicy::Latest) they depend on the time, too.
    fn is_cacheable(consumer: &Consumer) -> bool {
        !consumer.sources.iter().any(|subscribed| matches!(subscribed.policy, ResolvedPolicy::Latest(_)))
    }

    /// Drops the batches that every instance is past.
    pub(super) fn trim(&mut self, seen: Seq) {
        self.0.retain(|cached| cached.up_to > seen);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
