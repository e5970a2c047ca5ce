//! Which packets of a meeting's history to read.

use std::time::Duration;

use jiff::Timestamp;

use crate::{DataPacket, Name, Seq};

/// Which packets of the meeting's history to read: all durable packets so far, unless narrowed.
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
    /// Only so many of the newest; they are still returned oldest first.
    pub last: Option<usize>,
    /// Only packets with this timestamp or a later one.
    pub not_before: Option<Timestamp>,
    /// Only packets whose timestamp is at most so long before that of the packet that the hook runs on.
    pub within: Option<Duration>,
    /// Only this seq and later ones.
    pub from: Seq,
    /// Only this seq and earlier ones.
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

    /// Every durable packet of one source so far. An instance's outputs are on the source of its name.
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

    /// Only packets with timestamp `at` or a later one.
    #[must_use]
    pub fn not_before(mut self, at: Timestamp) -> Self {
        self.not_before = Some(at);
        self
    }

    /// Only packets whose timestamp is at most `duration` before that of the packet that the hook runs on.
    #[must_use]
    pub fn within(mut self, duration: Duration) -> Self {
        self.within = Some(duration);
        self
    }

    /// Only seqs `from` to `to`, both included.
    #[must_use]
    pub fn seqs(mut self, from: Seq, to: Seq) -> Self {
        self.from = from;
        self.to = to;
        self
    }

    /// Whether a packet matches. `last` and `within` are ignored: one packet cannot tell them.
    pub fn matches(&self, packet: &DataPacket) -> bool {
        packet.seq >= self.from
            && packet.seq <= self.to
            && self.source.as_ref().is_none_or(|source| *source == packet.source)
            && self.not_before.is_none_or(|at| packet.timestamp >= at)
    }
}
