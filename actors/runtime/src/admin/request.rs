//! What an operator asks, and what is answered.

use serde::{Deserialize, Serialize};
use teammy_kernel::{
    MeetingId, Name, Timestamp,
    ledger::UsageRow,
    store::{DeadLetter, MeetingQuery, PacketQuery},
};

use super::{
    cluster::ClusterReport, dead_letters::Redrive, history::HistoryPage, meetings::MeetingList,
    status::Status,
};
use crate::{
    keys::{KeyId, KeyInfo, NewKey, PrintedKey},
    meeting::report::MeetingReport,
};

/// What an operator asks of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Request {
    /// The state of the node and of the meetings that it runs.
    Status,
    /// Meetings in the store, up to [`MeetingList::MAX_MEETINGS`] of them.
    Meetings {
        /// Which meetings.
        #[serde(default)]
        query: MeetingQuery,
    },
    /// How a meeting runs, if this node runs it, or another one of its cluster.
    Report {
        /// The meeting.
        meeting: MeetingId,
    },
    /// A page of a meeting's stored packets.
    History {
        /// The meeting.
        meeting: MeetingId,
        /// Which packets.
        #[serde(default)]
        query: PacketQuery,
    },
    /// A meeting's dead letters.
    DeadLetters {
        /// The meeting.
        meeting: MeetingId,
    },
    /// Redrive dead letters, and wait until that is done.
    Redrive {
        /// The meeting.
        meeting: MeetingId,
        /// Which of its dead letters; all of them without more.
        #[serde(flatten)]
        which: Redrive,
    },
    /// Deliver to a suspended instance again, in a meeting that this node runs.
    ResumeInstance {
        /// The meeting.
        meeting: MeetingId,
        /// The instance.
        instance: Name,
    },
    /// What requests to language models have cost, as [`usage`](super::usage) answers it.
    Usage {
        /// Only this meeting; all meetings together without it.
        #[serde(default)]
        meeting: Option<MeetingId>,
        /// Only hours that end later than this.
        #[serde(default)]
        since: Option<Timestamp>,
    },
    /// Make a key.
    CreateKey(NewKey),
    /// All keys.
    Keys,
    /// Refuse a key from now on.
    RevokeKey {
        /// The key.
        id: KeyId,
    },
    /// Make another key that allows the same, and have the old one expire.
    RotateKey {
        /// The key.
        id: KeyId,
        /// How long the old one still holds, in seconds.
        overlap: u64,
    },
    /// Forget a meeting, whether this node runs it or not.
    Forget {
        /// The meeting.
        meeting: MeetingId,
    },
    /// The nodes of this node's cluster.
    Cluster,
    /// Have a node of the cluster hand its meetings over, and take none from then on.
    Drain {
        /// The node.
        node: Name,
    },
    /// Have a meeting run on a node of the cluster.
    Move {
        /// The meeting.
        meeting: MeetingId,
        /// The node.
        node: Name,
    },
}

/// What a node answers to a [`Request`]. [`Response::from_json`] reads its JSON form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Response {
    /// To [`Request::Status`].
    Status {
        /// The state of the node.
        status: Box<Status>,
    },
    /// To [`Request::Meetings`].
    Meetings(MeetingList),
    /// To [`Request::Report`].
    Report {
        /// None if no node that can be asked runs it.
        report: Option<Box<MeetingReport>>,
    },
    /// To [`Request::History`].
    History(HistoryPage),
    /// To [`Request::DeadLetters`].
    DeadLetters {
        /// The dead letters, by seq, then instance.
        letters: Vec<DeadLetter>,
    },
    /// To [`Request::Redrive`].
    Redriven {
        /// How many packets were delivered again.
        count: usize,
    },
    /// To [`Request::Usage`].
    Usage {
        /// By hour, instance and model.
        rows: Vec<UsageRow>,
    },
    /// To [`Request::CreateKey`] and [`Request::RotateKey`].
    Key {
        /// The printed form, which is never shown again.
        secret: PrintedKey,
        /// What is shown of it.
        key: KeyInfo,
    },
    /// To [`Request::Keys`].
    Keys {
        /// By tenant, then by age.
        keys: Vec<KeyInfo>,
    },
    /// To [`Request::Cluster`].
    Cluster {
        /// The nodes.
        cluster: ClusterReport,
    },
    /// To [`Request::Drain`].
    Drained {
        /// How many meetings the node still runs, because no other one takes them.
        left: usize,
    },
    /// To the others: it is done.
    Done,
}

impl Response {
    /// Reads the JSON form.
    ///
    /// # Errors
    /// If it is not one.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        /// The variants are told apart without reading the rest: a packet's payload is read from the text
        /// itself, not from a value in between.
        #[derive(Deserialize)]
        struct Tag<'a> {
            #[serde(borrow)]
            answer: std::borrow::Cow<'a, str>,
        }
        match serde_json::from_str::<Tag<'_>>(text)?.answer.as_ref() {
            "history" => serde_json::from_str(text).map(Self::History),
            _ => serde_json::from_str(text),
        }
    }
}

impl Request {
    /// The meeting, of requests that are for the node that runs it.
    pub(super) fn of_running(&self) -> Option<&MeetingId> {
        match self {
            Self::Report { meeting }
            | Self::Redrive { meeting, .. }
            | Self::ResumeInstance { meeting, .. }
            | Self::Forget { meeting } => Some(meeting),
            _ => None,
        }
    }
}
