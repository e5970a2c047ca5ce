//! A set of sources in one machine word.

use teammy_kernel::{Durability, graph::SourceView};

/// A set of sources: a bit for each index in the graph, one bit for all indices above 61, and one bit for
/// "any durable source". So a set may contain a
/// source that was not added, and never misses one that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SourceSet(u64);

impl SourceSet {
    pub(crate) const EMPTY: Self = Self(0);
    pub(crate) const ALL: Self = Self(u64::MAX);
    /// All durable sources.
    pub(crate) const DURABLE: Self = Self(1 << 63);
    const LAST_INDEX: u32 = 62;

    /// The set of these sources.
    pub(crate) fn of(sources: &[SourceView]) -> Self {
        let mut set = Self::EMPTY;
        for source in sources {
            set.insert(source.place);
            if source.durability == Durability::Durable {
                set.insert_all(Self::DURABLE);
            }
        }
        set
    }

    /// Adds the source of an index in the graph.
    pub(crate) fn insert(&mut self, index: u32) {
        self.0 |= 1 << index.min(Self::LAST_INDEX);
    }

    pub(crate) fn insert_all(&mut self, others: Self) {
        self.0 |= others.0;
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }
}
