//! Resuming all that a store holds, when a backend starts.

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use teammy_kernel::{
    MeetingId,
    store::{self, MeetingQuery, MeetingRecord},
};
use tracing::{info, warn};

use super::{error::Error, handle::Node};
use crate::meeting::MeetingRef;

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
        let mut unread = None;
        let rows = self.open_rows().filter_map(|row| {
            let row = row.map_err(|error| unread = Some(Error::Store(error))).ok();
            std::future::ready(row.map(|row| (filter(&row), row)))
        });
        let resumptions = rows.enumerate().map(|(place, (is_wanted, row))| async move {
            let id = row.metadata.id.clone();
            let outcome = if is_wanted { self.resume_listed(row).await } else { ResumeOutcome::LeftOut };
            (place, Resumption { id, outcome })
        });
        let mut meetings: Vec<_> = resumptions.buffer_unordered(at_once.max(1)).collect().await;
        meetings.sort_unstable_by_key(|(place, _)| *place);
        let meetings = meetings.into_iter().map(|(_, resumption)| resumption).collect();
        let report = ResumeReport { meetings, unread };
        for (meeting, error) in report.failures() {
            warn!(%meeting, error = teammy_kernel::chain(error), "cannot resume the meeting");
        }
        info!(listed = report.meetings.len(), resumed = report.resumed(), "resumed stored meetings");
        report
    }

    /// The rows of all meetings that have not ended. An error is the last item.
    fn open_rows(&self) -> BoxStream<'_, Result<MeetingRecord, store::Error>> {
        let first = Some(MeetingQuery::open().limit(PAGE));
        let pages = stream::unfold(first, move |query| async move {
            let query = query?;
            Some(match self.resources.store.meetings(query.clone()).await {
                Ok(page) => {
                    let rows: Vec<_> = page.meetings.into_iter().map(Ok).collect();
                    (rows, page.next.map(|next| query.after(next)))
                }
                Err(error) => (vec![Err(error)], None),
            })
        });
        pages.flat_map(stream::iter).boxed()
    }

    /// Resumes a meeting from a row that may be out of date.
    async fn resume_listed(&self, row: MeetingRecord) -> ResumeOutcome {
        let id = row.metadata.id.clone();
        let _reserved = self.reserved.reserve(&id).await;
        if let Some(meeting) = self.running_meeting(&id) {
            return ResumeOutcome::Running(meeting.into());
        }
        match self.resume_row(row).await {
            Ok(meeting) => ResumeOutcome::Resumed(meeting.into()),
            Err(Error::Ended(_) | Error::NoMeeting(_)) => ResumeOutcome::Over,
            Err(error) => ResumeOutcome::Failed(error),
        }
    }
}
