//! The meetings in the store, for operators.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use teammy_kernel::{
    MeetingId, Name, Seq, Timestamp,
    store::{MeetingCursor, MeetingPage, MeetingQuery, MeetingRecord, MeetingStatus},
};

use super::error::Error;
use crate::node::{self, Node};

/// A meeting in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MeetingSummary {
    /// The meeting's id.
    pub id: MeetingId,
    /// Its title.
    pub title: Option<Arc<str>>,
    /// Its status.
    pub status: MeetingStatus,
    /// When it was created in the store, if that is known.
    pub created: Option<Timestamp>,
    /// When it began, if that was not when it was created (a recording).
    pub started_at: Option<Timestamp>,
    /// The seq of its last stored packet; 0 if it has none.
    pub last_seq: Seq,
    /// The labels that it was started with.
    pub labels: BTreeMap<String, String>,
    /// The instances that it was started with.
    pub instances: Vec<Name>,
}

impl From<MeetingRecord> for MeetingSummary {
    fn from(record: MeetingRecord) -> Self {
        let MeetingRecord { metadata, instances, status, created, last, .. } = record;
        Self {
            id: metadata.id,
            title: metadata.title,
            status,
            created,
            started_at: metadata.started_at,
            last_seq: last,
            labels: metadata.labels,
            instances,
        }
    }
}

/// Some of the meetings in the store that match a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MeetingList {
    /// The meetings, the one that was created last first.
    pub meetings: Vec<MeetingSummary>,
    /// Where the next page begins: the next query's `after`. None if there are no more meetings.
    pub next: Option<MeetingCursor>,
}

impl From<MeetingPage> for MeetingList {
    fn from(page: MeetingPage) -> Self {
        Self { meetings: page.meetings.into_iter().map(Into::into).collect(), next: page.next }
    }
}

impl MeetingList {
    /// The most meetings of a list.
    pub const MAX_MEETINGS: usize = 256;

    pub(super) async fn of(node: &Node, mut query: MeetingQuery) -> Result<Self, Error> {
        query.limit = query.limit.min(Self::MAX_MEETINGS);
        Ok(node.store().meetings(query).await.map_err(node::Error::Store)?.into())
    }
}
