//! Which packets of a source are replaced by later ones of the same key, for instances that want the newest
//! of each only.
//!
//! A packet is replaced from when a later one of its key is in the log. Who has not been sent it is not sent
//! it any more: the later one lies behind it, so it has not been sent either. Nothing of a packet but its key
//! is kept.

use std::collections::{BTreeSet, HashMap};

use super::tail::SourceId;
use crate::{DataPacket, Seq, plugin::Key};

/// A source whose packets some instances take by a key.
#[derive(Debug)]
pub(super) struct Latest {
    pub(super) source: SourceId,
    pub(super) key: Key,
    newest: HashMap<Box<str>, Seq>,
    replaced: BTreeSet<Seq>,
    /// How many keys there were when those were last looked through that all have seen.
    kept: usize,
}

impl Latest {
    /// So few keys are not worth looking through.
    const FEW: usize = 64;

    pub(super) fn new(source: SourceId, key: Key) -> Self {
        Self { source, key, newest: HashMap::new(), replaced: BTreeSet::new(), kept: 0 }
    }

    /// A packet of the source is in the log.
    pub(super) fn note(&mut self, packet: &DataPacket) {
        if let Some(key) = self.key.of(packet)
            && let Some(earlier) = self.newest.insert(key, packet.seq)
        {
            self.replaced.insert(earlier);
        }
    }

    pub(super) fn is_replaced(&self, seq: Seq) -> bool {
        self.replaced.contains(&seq)
    }

    /// How many packets are replaced that somebody has not seen.
    pub(super) fn replaced(&self) -> usize {
        self.replaced.len()
    }

    /// All that take it so have seen the log up to here.
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
