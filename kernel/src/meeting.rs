//! A meeting's metadata, and the packets about its own life.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{MeetingId, Name, Payload, Seq};

/// What is known of a meeting when it starts. Every hook can read it.
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
    /// The identifier, unique in a store.
    pub id: MeetingId,
    /// The title that people see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Arc<str>>,
    /// When the meeting began, if that was not when it was started here (a recording).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Labels that the embedding backend passes to its plugins.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl MeetingMetadata {
    /// A meeting with an id only.
    pub fn new(id: MeetingId) -> Self {
        Self { id, title: None, started_at: None, labels: BTreeMap::new() }
    }

    /// Sets the title.
    #[must_use]
    pub fn title(mut self, title: impl Into<Arc<str>>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Sets when the meeting began.
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

/// What an instance was when it joined a meeting: enough to tell whether another run would do the same,
/// without the content of its table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Setup {
    /// The plugin's kind.
    pub kind: String,
    /// The plugin's version.
    pub version: String,
    /// A digest of the table, the sources, the policies and the outputs' durability: [FNV-1a][fnv] of 64
    /// bits, as 16 hexadecimal digits.
    ///
    /// [fnv]: http://www.isthe.com/chongo/tech/comp/fnv/
    pub digest: String,
}

impl Setup {
    /// Whether instances with these two setups work alike. Versions are not compared.
    pub fn works_like(&self, other: &Self) -> bool {
        self.kind == other.kind && self.digest == other.digest
    }
}

/// An event of a meeting's own life: a packet in its log, on source [`Lifecycle::SOURCE`], as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Lifecycle {
    /// The meeting starts.
    Start {
        /// The instances subscribed from the first packet on.
        instances: Vec<Name>,
        /// The instances' setups. Meetings of earlier versions have none.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        setups: BTreeMap<Name, Setup>,
    },
    /// An instance joins the running meeting.
    Join {
        /// The instance.
        instance: Name,
        /// The instance's setup. Meetings of earlier versions have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        setup: Option<Setup>,
    },
    /// An instance leaves the running meeting.
    Leave {
        /// The instance.
        instance: Name,
    },
    /// An instance gets a dead letter's packet again.
    Redrive {
        /// The instance.
        instance: Name,
        /// The packet.
        seq: Seq,
    },
    /// Publishing is over; the instances finish.
    Ending,
    /// All instances have finished; the log is complete.
    Ended,
}

impl Lifecycle {
    /// The source of these packets; reserved, so no plugin can take or claim it.
    pub const SOURCE: &'static str = "meeting";

    /// The event as a payload.
    pub fn to_payload(&self) -> Payload {
        Payload::json(self).expect("invariant: names and tags always have a JSON form")
    }

    /// Reads an event from a packet's payload; `None` if the payload is another one.
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
        assert_eq!(payload, Payload::json_text(r#"{"event":"join","instance":"minutes"}"#).unwrap());
        assert_eq!(Lifecycle::from_payload(&payload), Some(join));
    }
}
