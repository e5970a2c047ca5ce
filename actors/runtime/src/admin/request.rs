//! The verbs, and what does them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use teammy_kernel::{
    MeetingId, Name, Timestamp,
    ledger::UsageRow,
    store::{DeadLetter, MeetingQuery, PacketQuery},
};
use tokio::time::Duration;

use super::{
    cluster::ClusterReport, dead_letters::Redrive, error::Error, history::HistoryPage, meetings::MeetingList,
    status::Status, usage::usage,
};
use crate::{
    keys::{KeyId, KeyInfo, NewKey, PrintedKey},
    meeting::report::MeetingReport,
    node::{self, Cluster, Node},
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
    fn of_running(&self) -> Option<&MeetingId> {
        match self {
            Self::Report { meeting }
            | Self::Redrive { meeting, .. }
            | Self::ResumeInstance { meeting, .. }
            | Self::Forget { meeting } => Some(meeting),
            _ => None,
        }
    }
}

/// Does what is asked. In a cluster it is done by the node that runs the meeting.
///
/// # Errors
/// See [`Error`].
///
/// # Cancel safety
/// A dropped call may have done it or not.
pub async fn handle(node: &Node, request: Request) -> Result<Response, Error> {
    if let Some(meeting) = request.of_running()
        && let Some(cluster) = node.cluster()
        && let Some(answer) = cluster.ask(meeting, &request).await
    {
        return answer;
    }
    handle_here(node, request).await
}

/// As [`handle`], by this node.
///
/// # Errors
/// As [`handle`].
///
/// # Cancel safety
/// As [`handle`].
pub async fn handle_here(node: &Node, request: Request) -> Result<Response, Error> {
    match request {
        Request::Status => Ok(Response::Status { status: Box::new(node.status().await) }),
        Request::Report { meeting } => {
            Ok(Response::Report { report: node.report(&meeting).await.map(Box::new) })
        }
        Request::Meetings { query } => Ok(Response::Meetings(MeetingList::of(node, query).await?)),
        Request::History { meeting, query } => Ok(Response::History(node.history(&meeting, query).await?)),
        Request::DeadLetters { meeting } => {
            must_exist(node, &meeting).await?;
            Ok(Response::DeadLetters { letters: node.dead_letters(&meeting).await? })
        }
        Request::Redrive { meeting, which } => {
            let redriven = node.redrive(&meeting, &which).await?;
            redriven.done().await?;
            Ok(Response::Redriven { count: redriven.count })
        }
        Request::ResumeInstance { meeting, instance } => {
            let Some(running) = node.meeting(&meeting) else {
                must_exist(node, &meeting).await?;
                return Err(Error::NotRunning(meeting));
            };
            running.resume_instance(instance.as_str()).await?;
            Ok(Response::Done)
        }
        Request::Usage { meeting, since } => {
            if let Some(meeting) = &meeting {
                must_exist(node, meeting).await?;
            }
            let rows = usage(&**node.store(), meeting.as_ref(), since).await.map_err(node::Error::Store)?;
            Ok(Response::Usage { rows })
        }
        Request::CreateKey(new) => {
            let (secret, key) = node.keys().create(new).await?;
            Ok(Response::Key { secret, key })
        }
        Request::Keys => Ok(Response::Keys { keys: node.keys().list().await? }),
        Request::RevokeKey { id } => {
            node.keys().revoke(&id).await?;
            Ok(Response::Done)
        }
        Request::RotateKey { id, overlap } => {
            let (secret, key) = node.keys().rotate(&id, Duration::from_secs(overlap)).await?;
            Ok(Response::Key { secret, key })
        }
        Request::Cluster => Ok(Response::Cluster { cluster: cluster(node)?.report().await? }),
        Request::Drain { node: name } => Ok(Response::Drained { left: cluster(node)?.drain(&name).await? }),
        Request::Move { meeting, node: name } => {
            cluster(node)?.move_to(&meeting, &name).await?;
            Ok(Response::Done)
        }
        Request::Forget { meeting } => {
            if node.forget(&meeting).await? {
                Ok(Response::Done)
            } else {
                Err(Error::NoMeeting(meeting))
            }
        }
    }
}

fn cluster(node: &Node) -> Result<Arc<dyn Cluster>, Error> {
    node.cluster().ok_or(Error::NoCluster)
}

async fn must_exist(node: &Node, meeting: &MeetingId) -> Result<(), Error> {
    match node.store().meeting(meeting.clone()).await.map_err(node::Error::Store)? {
        Some(_) => Ok(()),
        None => Err(Error::NoMeeting(meeting.clone())),
    }
}
