//! Which of a meeting's packets to read.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{DataPacket, Name, Seq};

/// How many of the packets that match to return. The packets come oldest first in every case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Take {
    /// All.
    #[default]
    All,
    /// The oldest so many.
    First(usize),
    /// The newest so many.
    Last(usize),
}

/// Which of a meeting's stored packets to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PacketQuery {
    /// Only packets of these sources; `None` means of all.
    pub sources: Option<Vec<Name>>,
    /// Only packets from this seq on.
    pub from: Seq,
    /// Only packets up to this seq, included.
    pub to: Seq,
    /// Only packets with this timestamp or a later one.
    pub not_before: Option<Timestamp>,
    /// How many packets.
    pub take: Take,
}

impl Default for PacketQuery {
    fn default() -> Self {
        Self { sources: None, from: Seq(1), to: Seq::MAX, not_before: None, take: Take::All }
    }
}

impl PacketQuery {
    /// Packets of a range of the log, both ends included.
    pub fn range(from: Seq, to: Seq) -> Self {
        Self { from, to, ..Self::default() }
    }

    /// Only packets of these sources.
    #[must_use]
    pub fn sources(mut self, sources: Vec<Name>) -> Self {
        self.sources = Some(sources);
        self
    }

    /// Only packets with this timestamp or a later one.
    #[must_use]
    pub fn not_before(mut self, at: Timestamp) -> Self {
        self.not_before = Some(at);
        self
    }

    /// Only so many packets.
    #[must_use]
    pub fn take(mut self, take: Take) -> Self {
        self.take = take;
        self
    }

    /// Whether a packet matches everything but `take`, which depends on the other packets.
    pub fn matches(&self, packet: &DataPacket) -> bool {
        packet.seq >= self.from
            && packet.seq <= self.to
            && self.sources.as_ref().is_none_or(|sources| sources.contains(&packet.source))
            && self.not_before.is_none_or(|at| packet.timestamp >= at)
    }
}
