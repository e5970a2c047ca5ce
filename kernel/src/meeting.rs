//! What a meeting is known by, and what the log says of its own life.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{MeetingId, Name, Payload, Seq};

/// What is known of a meeting when it starts; every hook can read it.
///
/// # Examples
/// ```
/// use teammy_kernel::{MeetingId, MeetingMetadata};
/// let meeting = MeetingMetadata::new(MeetingId::new("standup")?).title("Daily stand-up");
/// assert_eq!(meeting.title.as_deref(), Some("Daily stand-up"));
/// # Ok::<(), teammy_kernel::name::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MeetingMetadata {
    /// Its identifier, unique in a store.
    pub id: MeetingId,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Arc<str>>,
    /// When it began, where that is not when it was started here (a recording).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Whatever else the embedding backend wants its plugins to know.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl MeetingMetadata {
    /// A meeting of which only the id is known.
    pub fn new(id: MeetingId) -> Self {
        Self { id, title: None, started_at: None, labels: BTreeMap::new() }
    }

    /// Says what people call it.
    #[must_use]
    pub fn title(mut self, title: impl Into<Arc<str>>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Says when it began.
    #[must_use]
    pub fn started_at(mut self, at: Timestamp) -> Self {
        self.started_at = Some(at);
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }
}

/// What an instance was when a meeting took it in: enough to tell whether another run would do the same, and
/// nothing of what its table holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Setup {
    /// Its plugin's kind.
    pub kind: String,
    /// Its plugin's version.
    pub version: String,
    /// A digest of its table, sources, policies and of what becomes of its outputs: [FNV-1a][fnv] of 64
    /// bits, as 16 hexadecimal digits.
    ///
    /// [fnv]: http://www.isthe.com/chongo/tech/comp/fnv/
    pub digest: String,
}

impl Setup {
    /// Whether an instance with this setup works like one with the other, whatever their versions.
    pub fn works_like(&self, other: &Self) -> bool {
        self.kind == other.kind && self.digest == other.digest
    }
}

/// What happens to a meeting itself. Each is a packet in its log, on source [`Lifecycle::SOURCE`], as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Lifecycle {
    /// It starts, with these instances.
    Start {
        /// The instances subscribed from the first packet on.
        instances: Vec<Name>,
        /// What they are configured as. Meetings of earlier versions don't say.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        setups: BTreeMap<Name, Setup>,
    },
    /// An instance is added while it runs.
    Join {
        /// The instance.
        instance: Name,
        /// What it is configured as. Meetings of earlier versions don't say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        setup: Option<Setup>,
    },
    /// An instance is taken out while it runs.
    Leave {
        /// The instance.
        instance: Name,
    },
    /// An instance gets a packet once more that it had given up.
    Redrive {
        /// The instance.
        instance: Name,
        /// The packet.
        seq: Seq,
    },
    /// Nothing more is published from outside; the instances finish.
    Ending,
    /// All instances are done; the log is complete.
    Ended,
}

impl Lifecycle {
    /// The source of these packets; no plugin can take or claim it.
    pub const SOURCE: &'static str = "meeting";

    /// It as a payload.
    pub fn to_payload(&self) -> Payload {
        Payload::json(self).expect("invariant: names and tags always have a JSON form")
    }

    /// Reads it off a packet's payload, if it is one.
    pub fn from_payload(payload: &Payload) -> Option<Self> {
        match payload {
            Payload::Json(text) => serde_json::from_str(text).ok(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifecycle_packets_read_well() {
        let join = Lifecycle::Join { instance: Name::new("minutes").unwrap(), setup: None };
        let payload = join.to_payload();
        assert_eq!(payload, Payload::Json(r#"{"event":"join","instance":"minutes"}"#.into()));
        assert_eq!(Lifecycle::from_payload(&payload), Some(join));
    }
}
