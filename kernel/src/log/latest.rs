//! Which packets are replaced by later ones of the same key, for instances that want the newest of each key.
//!
//! A packet is replaced from when a later one of its key is appended. An instance that has not received it by
//! then skips it: the later packet is behind it in the log, so the instance has not received that one either.
//! Of each packet only the key is kept.

use std::collections::{BTreeSet, HashMap};

use super::ids::SourceId;
use crate::{DataPacket, Seq, plugin::Key};

/// The newest packet of each key of one source.
#[derive(Debug)]
pub(super) struct Latest {
    pub(super) source: SourceId,
    pub(super) key: Key,
    newest: HashMap<Box<str>, Seq>,
    replaced: BTreeSet<Seq>,
    /// The number of keys that the last clean-up kept.
    kept: usize,
}

impl Latest {
    /// The number of keys below which a clean-up does not pay.
    const FEW: usize = 64;

    pub(super) fn new(source: SourceId, key: Key) -> Self {
        Self { source, key, newest: HashMap::new(), replaced: BTreeSet::new(), kept: 0 }
    }

    /// Notes a packet of the source that is appended.
    pub(super) fn appended(&mut self, packet: &DataPacket) {
        if let Some(key) = self.key.of(packet)
            && let Some(earlier) = self.newest.insert(key, packet.seq)
        {
            self.replaced.insert(earlier);
        }
    }

    pub(super) fn is_replaced(&self, seq: Seq) -> bool {
        self.replaced.contains(&seq)
    }

    /// How many replaced packets an instance may still come to.
    pub(super) fn replaced(&self) -> usize {
        self.replaced.len()
    }

    /// Forgets what is needed no more: every instance is done with the log up to `seen`.
    pub(super) fn trim(&mut self, seen: Seq) {
        if self.replaced.first().is_some_and(|first| *first <= seen) {
            self.replaced = self.replaced.split_off(&seen.next());
        }
        if self.newest.len() > 2 * self.kept.max(Self::FEW) {
            self.newest.retain(|_, seq| *seq > seen);
            self.kept = self.newest.len();
        }
    }
}
