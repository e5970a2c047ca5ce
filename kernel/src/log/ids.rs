//! Numbers that stand for instances and sources inside one log, so that its hot path compares integers.

/// An instance's index in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub(super) usize);

impl Slot {
    /// The index, from 0 in the order in which instances joined.
    pub fn index(self) -> usize {
        self.0
    }
}

/// A source's number in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SourceId(pub(super) u32);
