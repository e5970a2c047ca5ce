//! Which meetings to list, page by page.

use std::{cmp::Reverse, collections::BTreeMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::{MeetingRecord, MeetingStatus};
use crate::MeetingId;

/// Which of a store's meetings to list, and from where on.
///
/// Meetings come in one order, which never changes for a meeting: the one that was created last comes first;
/// of two that were created at one moment, the one with the lower id. Meetings whose time of creation is
/// unknown come last. So a reader that goes from page to page gets each meeting at most once, and misses none
/// that was there when it began; a meeting that is created meanwhile comes first, and usually before the
/// present page.
///
/// # Examples
/// ```
/// use teammy_kernel::store::{MeetingQuery, MeetingStatus};
/// let open = MeetingQuery::default().statuses([MeetingStatus::Running, MeetingStatus::Ending]);
/// let of_team = MeetingQuery::default().label("team", "maps").limit(20);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct MeetingQuery {
    /// Only meetings of these statuses; `None` means of all.
    pub statuses: Option<Vec<MeetingStatus>>,
    /// Only meetings that have each of these labels, with this value.
    pub labels: BTreeMap<String, String>,
    /// Only meetings that were created at this time or later; none whose time is unknown.
    pub from: Option<Timestamp>,
    /// Only meetings that were created before this time; none whose time is unknown.
    pub to: Option<Timestamp>,
    /// Only meetings after this place in the order.
    pub after: Option<MeetingCursor>,
    /// How many meetings a page holds at most, from 1 to [`MeetingQuery::MAX_LIMIT`]; a number outside counts as
    /// the nearest one inside.
    pub limit: usize,
}

impl Default for MeetingQuery {
    fn default() -> Self {
        Self { statuses: None, labels: BTreeMap::new(), from: None, to: None, after: None, limit: 100 }
    }
}

impl MeetingQuery {
    /// The most meetings of a page.
    pub const MAX_LIMIT: usize = 1000;

    /// Only meetings that have not ended.
    pub fn open() -> Self {
        Self::default().statuses([MeetingStatus::Running, MeetingStatus::Ending])
    }

    /// Only meetings of these statuses.
    #[must_use]
    pub fn statuses(mut self, statuses: impl IntoIterator<Item = MeetingStatus>) -> Self {
        self.statuses = Some(statuses.into_iter().collect());
        self
    }

    /// Only meetings with this label, beside the labels that were asked for before.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Only meetings that were created at this time or later.
    #[must_use]
    pub fn from(mut self, at: Timestamp) -> Self {
        self.from = Some(at);
        self
    }

    /// Only meetings that were created before this time.
    #[must_use]
    pub fn to(mut self, at: Timestamp) -> Self {
        self.to = Some(at);
        self
    }

    /// Only meetings after this place in the order: the `next` of the page before.
    #[must_use]
    pub fn after(mut self, cursor: MeetingCursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// Sets how many meetings a page holds at most; the default is 100.
    #[must_use]
    pub fn limit(mut self, meetings: usize) -> Self {
        self.limit = meetings;
        self
    }

    /// Whether the query asks for no meeting that has ended. A store can then leave those out early.
    pub fn is_of_open(&self) -> bool {
        self.statuses.as_ref().is_some_and(|statuses| !statuses.contains(&MeetingStatus::Ended))
    }

    /// Whether a meeting matches everything but `limit`, which depends on the other meetings.
    pub fn matches(&self, meeting: &MeetingRecord) -> bool {
        self.statuses.as_ref().is_none_or(|statuses| statuses.contains(&meeting.status))
            && self.labels.iter().all(|(key, value)| meeting.metadata.labels.get(key) == Some(value))
            && self.from.is_none_or(|from| meeting.created.is_some_and(|at| at >= from))
            && self.to.is_none_or(|to| meeting.created.is_some_and(|at| at < to))
            && self.after.as_ref().is_none_or(|after| *after < meeting.cursor())
    }

    /// The page for a query, of its first matching meetings in order: one more than
    /// [`page_len`](Self::page_len), if there are so many.
    pub fn page(&self, mut meetings: Vec<MeetingRecord>) -> MeetingPage {
        let has_more = meetings.len() > self.page_len();
        meetings.truncate(self.page_len());
        let last = meetings.last().map(MeetingRecord::cursor);
        MeetingPage { next: last.filter(|_| has_more), meetings }
    }

    /// How many meetings a page holds at most: the limit, but at least one, so that a reader gets on.
    pub fn page_len(&self) -> usize {
        self.limit.clamp(1, Self::MAX_LIMIT)
    }
}

/// A meeting's place in the order in which meetings are listed. It stays valid when the meeting is forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MeetingCursor {
    /// When the meeting was created, if that is known.
    pub created: Option<Timestamp>,
    /// The meeting's id.
    pub id: MeetingId,
}

impl Ord for MeetingCursor {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (Reverse(self.created), &self.id).cmp(&(Reverse(other.created), &other.id))
    }
}

impl PartialOrd for MeetingCursor {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl MeetingRecord {
    /// The meeting's place in the order in which meetings are listed.
    pub fn cursor(&self) -> MeetingCursor {
        MeetingCursor { created: self.created, id: self.metadata.id.clone() }
    }
}

/// Some of the meetings that match a query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeetingPage {
    /// The meetings' rows, in order: as many as the query's limit, unless fewer are left.
    pub meetings: Vec<MeetingRecord>,
    /// Where the next page begins; `None` if there were no more meetings.
    pub next: Option<MeetingCursor>,
}
