//! Which packets of a meeting's history to read.

use std::time::Duration;

use jiff::Timestamp;

use crate::{DataPacket, Name, Seq};

/// Which packets of the meeting's history to read. Without more it asks for all durable packets so far.
///
/// # Examples
/// ```
/// use teammy_kernel::History;
/// let last_ten = History::of("transcription")?.last(10);
/// # Ok::<(), teammy_kernel::name::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct History {
    /// Only this source.
    pub source: Option<Name>,
    /// Only the newest so many; they still come oldest first.
    pub last: Option<usize>,
    /// Only packets that tell of this moment or a later one.
    pub not_before: Option<Timestamp>,
    /// Only packets that tell of the last so long before the packet that the hook runs on.
    pub within: Option<Duration>,
    /// Only this place and later ones.
    pub from: Seq,
    /// Only this place and earlier ones.
    pub to: Seq,
}

impl Default for History {
    fn default() -> Self {
        Self::all()
    }
}

impl History {
    /// Every durable packet so far.
    pub fn all() -> Self {
        Self { source: None, last: None, not_before: None, within: None, from: Seq(1), to: Seq::MAX }
    }

    /// Every durable packet of one source so far; an instance's outputs are the source of its name.
    ///
    /// # Errors
    /// If the name is malformed.
    pub fn of(source: impl AsRef<str>) -> Result<Self, crate::name::Error> {
        Ok(Self { source: Some(Name::new(source)?), ..Self::all() })
    }

    /// Only the newest `count`.
    #[must_use]
    pub fn last(mut self, count: usize) -> Self {
        self.last = Some(count);
        self
    }

    /// Only what tells of `at` or later.
    #[must_use]
    pub fn not_before(mut self, at: Timestamp) -> Self {
        self.not_before = Some(at);
        self
    }

    /// Only what tells of the last `duration` before the packet that the hook runs on.
    #[must_use]
    pub fn within(mut self, duration: Duration) -> Self {
        self.within = Some(duration);
        self
    }

    /// Only places `from` to `to`, both included.
    #[must_use]
    pub fn seqs(mut self, from: Seq, to: Seq) -> Self {
        self.from = from;
        self.to = to;
        self
    }

    /// Whether a packet is one of those asked for, as far as one packet can tell (all but `last` and
    /// `within`).
    pub fn matches(&self, packet: &DataPacket) -> bool {
        packet.seq >= self.from
            && packet.seq <= self.to
            && self.source.as_ref().is_none_or(|source| *source == packet.source)
            && self.not_before.is_none_or(|at| packet.timestamp >= at)
    }
}
