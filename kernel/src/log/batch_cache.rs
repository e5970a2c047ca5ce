//! Batches that several instances take.
//!
//! Instances that take the same sources and keep pace get the same packets, again and again. So a batch is
//! kept until all have gone past it, and who is where it begins takes it as it is: what collecting it cost is
//! paid once.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Limits,
    consumer::{Consumer, ResolvedPolicy, SubscribedSource},
};
use crate::{DataPacket, Seq};

#[derive(Debug)]
struct CachedBatch {
    sources: Vec<SubscribedSource>,
    /// The cursor that it follows.
    after: Seq,
    packets: Arc<[Arc<DataPacket>]>,
    /// The seq up to which it takes an instance.
    seen: Seq,
}

/// The newest batches.
#[derive(Debug, Default)]
pub(super) struct BatchCache(VecDeque<CachedBatch>);

impl BatchCache {
    /// So many are kept: they keep their packets in memory, which may have left the tail.
    const MOST: usize = 8;

    /// A batch for an instance, with the seq up to which it takes it; none if a new one would have more in
    /// it. A short one is taken only where there is nothing behind it, so that who is behind gets large
    /// ones.
    pub(super) fn find(
        &self,
        instance: &Consumer,
        end: Seq,
        limits: &Limits,
    ) -> Option<(Arc<[Arc<DataPacket>]>, Seq)> {
        if instance.leaving.is_some() || !Self::fits(instance) {
            return None;
        }
        let fits = |shared: &&CachedBatch| {
            shared.after == instance.cursor
                && (shared.seen == end || shared.packets.len() * 2 >= limits.batch_packets)
                && shared.sources == instance.sources
        };
        let shared = self.0.iter().rev().find(fits)?;
        Some((shared.packets.clone(), shared.seen))
    }

    /// Keeps a batch in which, and up to whose end, nothing is for one instance alone.
    pub(super) fn keep(&mut self, instance: &Consumer, packets: &Arc<[Arc<DataPacket>]>, seen: Seq) {
        if packets.is_empty() || !Self::fits(instance) {
            return;
        }
        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        let (sources, after) = (instance.sources.clone(), instance.cursor);
        self.0.push_back(CachedBatch { sources, after, packets: packets.clone(), seen });
    }

    /// Whether what an instance gets depends on nothing but where it is and what it takes.
    fn fits(instance: &Consumer) -> bool {
        !instance.sources.iter().any(|taken| matches!(taken.policy, ResolvedPolicy::Latest(_)))
    }

    /// Lets go of what all have seen.
    pub(super) fn trim(&mut self, seen: Seq) {
        self.0.retain(|shared| shared.seen > seen);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
