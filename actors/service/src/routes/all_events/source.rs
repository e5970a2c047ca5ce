//! The meetings that a stream may read, and what comes of one of them.

use std::{collections::BTreeMap, future::ready, sync::Arc};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use teammy_kernel::{
    MeetingId, MeetingMetadata, Seq, Timestamp,
    store::{MeetingQuery, MeetingRecord},
};
use teammy_runtime::{Node, node};

use super::place::{Created, Place, created};
use crate::{
    access::Caller,
    feed::{Item, Wanted, follow},
    problem::Problem,
    shared::Shared,
};

/// The most meetings of one stream, and the most that it knows after their end.
pub(super) const MOST: usize = 10_000;

/// What is read of which meetings, for whom.
pub(super) struct Source {
    pub(super) shared: Shared,
    pub(super) caller: Caller,
    pub(super) wanted: Wanted,
    pub(super) labels: BTreeMap<String, String>,
    /// Also meetings that have ended, if they were created at this time or later.
    pub(super) since: Option<Timestamp>,
}

/// What comes of one meeting.
pub(super) enum Step {
    /// It is read, maybe from its start, because the place was of another meeting.
    Opened {
        created: Option<Created>,
        last: Option<Seq>,
        is_other: bool,
    },
    Item(Item),
    /// It is none of the stream's.
    Unwanted,
    Failed(Problem),
}

impl Source {
    /// The meetings that match a query, with their times of creation.
    pub(super) async fn listed(&self, mut query: MeetingQuery) -> Result<Vec<MeetingRecord>, Problem> {
        query.labels = self.labels.clone();
        query.limit = MeetingQuery::MAX_LIMIT;
        let mut rows = Vec::new();
        loop {
            let page = self.shared.node.store().meetings(query.clone()).await.map_err(node::Error::Store)?;
            let is_own = |row: &MeetingRecord| self.caller.outer(&row.metadata.id).is_some();
            rows.extend(page.meetings.into_iter().filter(is_own));
            query.after = match page.next {
                Some(next) if rows.len() <= MOST => Some(next),
                _ => return Ok(rows),
            };
        }
    }

    fn has_labels(&self, metadata: &MeetingMetadata) -> bool {
        self.labels.iter().all(|(key, value)| metadata.labels.get(key) == Some(value))
    }

    /// What comes of a meeting after a place. With a horizon it is read only if it was created after it and has the labels.
    pub(super) async fn open(
        self: Arc<Self>,
        id: MeetingId,
        place: Place,
        horizon: Option<Created>,
    ) -> BoxStream<'static, Step> {
        let opened = async {
            let meeting = Node::find_meeting(&self.shared.node, &id).await?;
            let created = meeting.created().map(created);
            if let Some(horizon) = horizon
                && (created.is_none_or(|at| at <= horizon) || !self.has_labels(meeting.metadata()))
            {
                return Ok(stream::once(ready(Step::Unwanted)).boxed());
            }
            let is_other = place.is_of_another(created, meeting.stored_up_to());
            let after = if is_other { Seq::ZERO } else { place.seq };
            let last = meeting.stored_up_to().filter(|_| meeting.has_ended());
            let items =
                follow(&self.shared.node, &meeting, after, self.wanted.clone(), self.caller.clone()).await?;
            let opened = Step::Opened { created, last, is_other };
            Ok::<_, Problem>(stream::once(ready(opened)).chain(items.map(Step::Item)).boxed())
        };
        opened.await.unwrap_or_else(|problem| stream::once(ready(Step::Failed(problem))).boxed())
    }

    /// Whether a meeting runs here, or may run on another node of this one's cluster: then it is live as well.
    pub(super) fn runs(&self, id: &MeetingId) -> bool {
        self.shared.node.is_in_cluster() || self.shared.node.meeting(id).is_some()
    }
}
