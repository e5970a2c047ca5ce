//! What happened in a cluster, as its publishers, subscribers and store saw it, and a check of it.
//!
//! A history is a list of [`Record`]s, which are also lines of JSON: `{"what": "seen", "meeting": "m1", …}`. Records of one
//! publisher, one subscriber, or one store come in the order in which they happened; otherwise their order does not matter, so
//! histories of several files may be joined. Times are milliseconds from one beginning.
//!
//! | `what` | said by | fields |
//! |---|---|---|
//! | `told` | a publisher, of the last that it heard of a packet | `meeting`, `publisher`, `number` if it has one, `key`, `outcome`, `seq` if it is stored |
//! | `subscribed` | a subscriber, once | `meeting`, `subscriber`, `sources` (durable ones), `after` (0: from the start) |
//! | `seen` | a subscriber, of each packet | `meeting`, `subscriber`, `seq`, `source` |
//! | `saw_end` | a subscriber whose stream ended without an error | `meeting`, `subscriber` |
//! | `end_asked` | whoever asks a meeting to end, before the first try | `meeting`, `at` |
//! | `said_ended` | whoever was told that a meeting has ended | `meeting`, `by`, `at` |
//! | `stored` | the store, at the end, of each packet | `meeting`, `seq`, `source`; `publisher`, `number`, `key`, `count`, `lifecycle` if it has them |
//! | `claimed` | the store, of each ownership | `meeting`, `node`, `epoch` |
//! | `committed` | the store, of each commit that it applied | `meeting`, `node`, `epoch`, `number`, `first` and `last` seq if it has packets |
//! | `ran` | whoever looks at all nodes | `meeting`, `node`, `from`, `until`: the node ran the meeting then |
//!
//! A **key** is a text that only one packet of a publisher has: field `text` of its JSON. A packet with a key and without a `count`
//! is an input. An output has the key of its input and a `count` of the inputs that its instance had, from 1, which it keeps in its
//! state: so an undisturbed run gives 1, 2, 3 and so on, one for each input between the instance's join and its leave. A history
//! may leave out what nobody noted: without `claimed` and `committed`, owners are not checked.

mod check;
mod meeting;
mod outputs;

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use teammy_kernel::{
    DataPacket, Lifecycle, Payload,
    store::{Commit, Incarnation, MeetingRecord},
};
use tokio::time::Instant;

pub use self::check::check;

/// What a publisher knows of a packet in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is stored.
    Stored,
    /// It may be stored or not.
    Unknown,
    /// It is not stored, and never will be.
    Refused,
}

/// Something that happened. The [module](self) describes the fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the module describes them in one table")]
pub enum Record {
    Told {
        meeting: String,
        publisher: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<u64>,
        key: String,
        outcome: Outcome,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
    },
    Subscribed {
        meeting: String,
        subscriber: String,
        sources: Vec<String>,
        after: u64,
    },
    Seen {
        meeting: String,
        subscriber: String,
        seq: u64,
        source: String,
    },
    SawEnd {
        meeting: String,
        subscriber: String,
    },
    EndAsked {
        meeting: String,
        at: u64,
    },
    SaidEnded {
        meeting: String,
        by: String,
        at: u64,
    },
    Stored(Stored),
    Claimed {
        meeting: String,
        node: String,
        epoch: u64,
    },
    Committed {
        meeting: String,
        node: String,
        epoch: u64,
        number: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<u64>,
    },
    Ran {
        meeting: String,
        node: String,
        from: u64,
        until: u64,
    },
}

/// A stored packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the module describes them in one table")]
pub struct Stored {
    pub meeting: String,
    pub seq: u64,
    pub source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
}

impl Record {
    /// A packet that the store holds.
    pub fn stored(packet: &DataPacket) -> Self {
        let json: Option<serde_json::Value> = match &packet.payload {
            Payload::Json(json) => serde_json::from_str(json).ok(),
            _ => None,
        };
        let field = |name: &str| json.as_ref()?.get(name).cloned();
        let is_lifecycle = packet.source == Lifecycle::SOURCE;
        Self::Stored(Stored {
            meeting: packet.meeting.to_string(),
            seq: packet.seq.0,
            source: packet.source.to_string(),
            publisher: packet.producer.as_ref().map(|producer| producer.id.to_string()),
            number: packet.producer.as_ref().map(|producer| producer.number),
            key: field("text").and_then(|text| text.as_str().map(ToOwned::to_owned)),
            count: field("count").and_then(|count| count.as_u64()),
            lifecycle: is_lifecycle.then(|| Lifecycle::from_payload(&packet.payload)).flatten(),
        })
    }

    pub(super) fn claimed(node: &Incarnation, row: &MeetingRecord) -> Self {
        let (meeting, node) = (row.metadata.id.to_string(), node.to_string());
        Self::Claimed { meeting, node, epoch: row.epoch.0 }
    }

    pub(super) fn committed(node: &Incarnation, commit: &Commit) -> Self {
        Self::Committed {
            meeting: commit.meeting.to_string(),
            node: node.to_string(),
            epoch: commit.epoch.0,
            number: commit.number,
            first: commit.packets.first().map(|packet| packet.seq.0),
            last: commit.packets.last().map(|packet| packet.seq.0),
        }
    }

    /// The meeting that it is about.
    pub fn meeting(&self) -> &str {
        match self {
            Self::Told { meeting, .. }
            | Self::Subscribed { meeting, .. }
            | Self::Seen { meeting, .. }
            | Self::SawEnd { meeting, .. }
            | Self::EndAsked { meeting, .. }
            | Self::SaidEnded { meeting, .. }
            | Self::Stored(Stored { meeting, .. })
            | Self::Claimed { meeting, .. }
            | Self::Committed { meeting, .. }
            | Self::Ran { meeting, .. } => meeting,
        }
    }
}

/// Something that must not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Of which rule, in a word or two.
    pub rule: &'static str,
    /// In which meeting.
    pub meeting: String,
    /// What happened, with its seqs, numbers, and nodes.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "meeting {}: {}: {}", self.meeting, self.rule, self.text)
    }
}

/// Takes records. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Recorded>);

#[derive(Debug)]
struct Recorded {
    began: Instant,
    records: Mutex<Vec<Record>>,
}

impl Recorder {
    pub(super) fn new() -> Self {
        Self(Arc::new(Recorded { began: Instant::now(), records: Mutex::default() }))
    }

    /// Adds a record.
    pub fn record(&self, record: Record) {
        self.0.records.lock().push(record);
    }

    /// Milliseconds since it was made.
    pub fn now(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// All records so far.
    pub fn records(&self) -> Vec<Record> {
        self.0.records.lock().clone()
    }
}

#[cfg(test)]
mod tests;
