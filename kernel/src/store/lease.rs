//! Leases: which nodes are there, as the store's clock sees it.
//!
//! Each incarnation of a node holds a lease of its own, which it renews. While it does, no other node may take its meetings.
//! Whether the time of a lease is over is said by the store's clock alone: clocks of machines are never compared. A lease that
//! has ended never comes back, so a node that was too late starts again as another incarnation.
//!
//! A renewal and the end of a lease write the same row, so that only one of the two can win.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::Name;

/// One run of a node, from its start until it stops.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Incarnation {
    /// The node's name.
    pub node: Name,
    /// A number that was drawn when it started.
    pub boot: u64,
}

/// A text that is no incarnation, such as `north.00000000000000ff`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an incarnation is a node's name, a dot, and 16 digits of base 16")]
pub struct InvalidIncarnation;

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:016x}", self.node, self.boot)
    }
}

impl From<Incarnation> for String {
    fn from(incarnation: Incarnation) -> Self {
        incarnation.to_string()
    }
}

impl FromStr for Incarnation {
    type Err = InvalidIncarnation;

    fn from_str(text: &str) -> Result<Self, InvalidIncarnation> {
        let (node, boot) = text.rsplit_once('.').ok_or(InvalidIncarnation)?;
        let is_hex = boot.len() == 16 && boot.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        let boot = u64::from_str_radix(boot, 16).ok().filter(|_| is_hex).ok_or(InvalidIncarnation)?;
        Ok(Self { node: Name::new(node).map_err(|_| InvalidIncarnation)?, boot })
    }
}

impl TryFrom<String> for Incarnation {
    type Error = InvalidIncarnation;

    fn try_from(text: String) -> Result<Self, InvalidIncarnation> {
        text.parse()
    }
}

/// Whether a lease holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LeaseStatus {
    /// Its holder renews it. Its time may be over; it ends when another node says so.
    Held,
    /// Its holder gave it back.
    Released,
    /// Its time was over, and another node ended it.
    Expired,
}

/// A lease's row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseRecord {
    /// Whose it is.
    pub holder: Incarnation,
    /// Whether it holds.
    pub status: LeaseStatus,
    /// How much of its time is left by the store's clock; zero if it is over.
    pub left: Duration,
    /// What the holder tells of itself, as JSON: its address, versions, room.
    pub document: Arc<str>,
}

impl LeaseRecord {
    /// A row as a store reads it.
    pub fn new(holder: Incarnation, status: LeaseStatus, left: Duration, document: Arc<str>) -> Self {
        Self { holder, status, left, document }
    }

    /// Whether its holder may run meetings.
    pub fn is_live(&self) -> bool {
        self.status == LeaseStatus::Held && !self.left.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incarnation_is_read_as_it_was_written() {
        for (node, boot) in [("a", 0), ("north-1.example", u64::MAX), ("1.2", 255)] {
            let incarnation = Incarnation { node: Name::new(node).unwrap(), boot };
            assert_eq!(incarnation.to_string().parse(), Ok(incarnation.clone()));
            let json = serde_json::to_string(&incarnation).unwrap();
            assert_eq!(serde_json::from_str::<Incarnation>(&json).unwrap(), incarnation);
        }
        for wrong in [
            "",
            "a",
            "a.",
            "a.1",
            ".0000000000000001",
            "a.+000000000000001",
            "a.00000000000000FF",
            "a b.0000000000000001",
        ] {
            assert_eq!(wrong.parse::<Incarnation>(), Err(InvalidIncarnation), "{wrong}");
        }
    }
}
