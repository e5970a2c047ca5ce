//! Resuming all that a store holds, when a backend starts.

use std::collections::HashSet;

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use teammy_kernel::{
    MeetingId,
    store::{self, MeetingCursor, MeetingPage, MeetingQuery, MeetingRecord},
};
use tracing::{info, warn};

use super::{error::Error, handle::Node};
use crate::meeting::{LocalMeeting, MeetingRef};

/// How many rows are read from the store at once.
const PAGE: usize = 256;

/// What [`Node::resume_all`] did.
#[derive(Debug)]
#[non_exhaustive]
pub struct ResumeReport {
    /// Each meeting that had not ended, in the order of a listing, and what became of it.
    pub meetings: Vec<Resumption>,
    /// Why the store could not be read further, if it could not: the meetings after the last one in the report
    /// were not looked at.
    pub unread: Option<Error>,
}

/// What became of one meeting in [`Node::resume_all`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Resumption {
    /// The meeting's id.
    pub id: MeetingId,
    /// What became of it.
    pub outcome: ResumeOutcome,
}

/// What became of a meeting that was to be resumed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ResumeOutcome {
    /// It was resumed.
    Resumed(MeetingRef),
    /// This node ran it already.
    Running(MeetingRef),
    /// The filter left it out.
    LeftOut,
    /// It ended or was forgotten after the listing.
    Over,
    /// It was not resumed.
    Failed(Error),
}

impl ResumeReport {
    /// The meetings that run on this node now: those that were resumed, and those that ran already.
    pub fn running(&self) -> impl Iterator<Item = &MeetingRef> {
        self.meetings.iter().filter_map(|resumption| match &resumption.outcome {
            ResumeOutcome::Resumed(meeting) | ResumeOutcome::Running(meeting) => Some(meeting),
            _ => None,
        })
    }

    /// How many meetings were resumed.
    pub fn resumed(&self) -> usize {
        let is_resumed = |one: &&Resumption| matches!(one.outcome, ResumeOutcome::Resumed(_));
        self.meetings.iter().filter(is_resumed).count()
    }

    /// The meetings that were not resumed, and why.
    pub fn failures(&self) -> impl Iterator<Item = (&MeetingId, &Error)> {
        self.meetings.iter().filter_map(|resumption| match &resumption.outcome {
            ResumeOutcome::Failed(error) => Some((&resumption.id, error)),
            _ => None,
        })
    }
}

impl Node {
    /// Resumes the meetings in the store that have not ended and that `filter` accepts, at most `at_once` at a
    /// time (0 counts as 1). Each is resumed as [`open`](Self::open) does it. A meeting that fails is in the
    /// report, and fails no other.
    ///
    /// Those come first whose publishers number their packets: their publishers are programs that wait and try again. Among
    /// equals the one that was created last comes first.
    ///
    /// **Of nodes that share a store,** only one can own a meeting: each meeting that is resumed here stops on the
    /// node that runs it. The store doesn't know which nodes are alive. So where several share one, the filter
    /// must choose those that this node is to own, for example by a label of their metadata.
    ///
    /// The store is read page by page. The report keeps an id and an outcome for each meeting that had not ended.
    ///
    /// # Cancel safety
    /// A dropped call has resumed some of the meetings; call it again for the others.
    pub async fn resume_all(
        &self,
        at_once: usize,
        mut filter: impl FnMut(&MeetingRecord) -> bool,
    ) -> ResumeReport {
        let (mut unread, mut later, mut meetings) = (None, Vec::new(), Vec::new());
        let rows = self.open_rows().filter_map(|row| {
            let row = row.map_err(|error| unread = Some(Error::Store(error))).ok();
            std::future::ready(row)
        });
        let first = rows.enumerate().filter_map(|(place, (row, is_numbered))| {
            let is_wanted = filter(&row);
            let id = row.metadata.id.clone();
            match (is_wanted, is_numbered) {
                (true, true) => return std::future::ready(Some((place, row))),
                // Its row is read again in its turn: there may be many.
                (true, false) => later.push((place, id)),
                (false, _) => meetings.push((place, Resumption { id, outcome: ResumeOutcome::LeftOut })),
            }
            std::future::ready(None)
        });
        let at_once = at_once.max(1);
        let first = first.map(|(place, row)| async move {
            let id = row.metadata.id.clone();
            (place, Resumption { id, outcome: self.resume_listed(row).await })
        });
        let first: Vec<_> = first.buffer_unordered(at_once).collect().await;
        meetings.extend(first);
        let later = stream::iter(later).map(|(place, id)| async move {
            let outcome = self.resume_later(&id).await;
            (place, Resumption { id, outcome })
        });
        let later: Vec<_> = later.buffer_unordered(at_once).collect().await;
        meetings.extend(later);
        meetings.sort_unstable_by_key(|(place, _)| *place);
        let meetings = meetings.into_iter().map(|(_, resumption)| resumption).collect();
        let report = ResumeReport { meetings, unread };
        for (meeting, error) in report.failures() {
            warn!(%meeting, error = teammy_kernel::chain(error), "cannot resume the meeting");
        }
        info!(listed = report.meetings.len(), resumed = report.resumed(), "resumed stored meetings");
        report
    }

    /// The rows of all meetings that have not ended, each with whether it has numbered packets. An error is the last item.
    fn open_rows(&self) -> BoxStream<'_, Result<(MeetingRecord, bool), store::Error>> {
        let first = Some(MeetingQuery::open().limit(PAGE));
        let pages = stream::unfold(first, move |query| async move {
            let query = query?;
            Some(match self.page(query.clone()).await {
                Ok((rows, next)) => {
                    (rows.into_iter().map(Ok).collect::<Vec<_>>(), next.map(|next| query.after(next)))
                }
                Err(error) => (vec![Err(error)], None),
            })
        });
        pages.flat_map(stream::iter).boxed()
    }

    async fn page(
        &self,
        query: MeetingQuery,
    ) -> Result<(Vec<(MeetingRecord, bool)>, Option<MeetingCursor>), store::Error> {
        let store = &self.resources.store;
        let MeetingPage { meetings, next, .. } = store.meetings(query).await?;
        let ids = meetings.iter().map(|row| row.metadata.id.clone()).collect();
        let numbered: HashSet<MeetingId> = store.with_marks(ids).await?.into_iter().collect();
        let rows = meetings.into_iter().map(|row| {
            let is_numbered = numbered.contains(&row.metadata.id);
            (row, is_numbered)
        });
        Ok((rows.collect(), next))
    }

    /// Resumes a meeting from a row that may be out of date.
    async fn resume_listed(&self, row: MeetingRecord) -> ResumeOutcome {
        let id = row.metadata.id.clone();
        let _reserved = self.reserved.reserve(&id).await;
        match self.running_meeting(&id) {
            Some(meeting) => ResumeOutcome::Running(meeting.into()),
            None => ResumeOutcome::of(self.resume_row(row).await),
        }
    }

    /// Resumes a meeting that was listed a while ago.
    async fn resume_later(&self, id: &MeetingId) -> ResumeOutcome {
        let _reserved = self.reserved.reserve(id).await;
        if let Some(meeting) = self.running_meeting(id) {
            return ResumeOutcome::Running(meeting.into());
        }
        let resumed = async { self.resume_row(self.row(id).await?).await };
        ResumeOutcome::of(resumed.await)
    }
}

impl ResumeOutcome {
    fn of(resumed: Result<LocalMeeting, Error>) -> Self {
        match resumed {
            Ok(meeting) => Self::Resumed(meeting.into()),
            Err(Error::Ended(_) | Error::NoMeeting(_)) => Self::Over,
            Err(error) => Self::Failed(error),
        }
    }
}
