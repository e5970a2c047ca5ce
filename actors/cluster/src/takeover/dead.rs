//! A node that has ended: when its meetings are listed, and when its lease is removed.

use std::collections::{BTreeMap, BTreeSet};

use teammy_kernel::MeetingId;
use tokio::time::Instant;

use super::settings::Settings;

/// A list that has arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed {
    /// When it was asked for.
    pub(super) asked: Instant,
    /// Whether it has all meetings.
    pub(super) is_complete: bool,
}

#[derive(Debug)]
enum Lease {
    /// It still owns meetings, as far as is known.
    Kept,
    /// It owns nothing, and never will: meetings go to live leases only.
    RemoveAt(Instant),
    Removing,
    Removed,
}

#[derive(Debug)]
pub(super) struct Dead {
    /// When this node learnt that it has ended.
    pub(super) since: Instant,
    /// Meetings by when they are due.
    pub(super) later: BTreeSet<(Instant, MeetingId)>,
    /// When the list was asked for that has not arrived.
    asked: Option<Instant>,
    last: Option<Listed>,
    not_before: Instant,
    limit: usize,
    failures: u32,
    /// When takeovers finished, for lists that were asked for before and show those meetings still.
    finished: BTreeMap<MeetingId, Instant>,
    lease: Lease,
    removals: u32,
}

impl Dead {
    pub(super) fn new(now: Instant, page: usize) -> Self {
        Self {
            since: now,
            later: BTreeSet::new(),
            asked: None,
            last: None,
            not_before: now,
            limit: page,
            failures: 0,
            finished: BTreeMap::new(),
            lease: Lease::Kept,
            removals: 0,
        }
    }

    /// When the next list is due; none while one is under way, and once there is nothing to list.
    pub(super) fn list_at(&self, settings: &Settings) -> Option<Instant> {
        if self.asked.is_some() || self.owns_nothing() {
            return None;
        }
        let wanted = match self.last {
            Some(Listed { asked, is_complete: true }) => {
                let regular = asked + settings.step;
                self.later.first().map_or(regular, |(due, _)| regular.min(*due))
            }
            _ => self.not_before,
        };
        Some(wanted.max(self.not_before))
    }

    /// A list is asked for, of so many meetings at most.
    pub(super) fn asked(&mut self, now: Instant) -> usize {
        self.asked = Some(now);
        self.limit
    }

    /// A list of so many meetings has arrived; none if nobody asked for it.
    pub(super) fn answered(&mut self, count: usize, now: Instant, settings: &Settings) -> Option<Listed> {
        let asked = self.asked.take()?;
        let listed = Listed { asked, is_complete: count < self.limit };
        self.failures = 0;
        if listed.is_complete {
            self.not_before = asked + settings.backoff;
        } else {
            self.limit = self.limit.saturating_mul(2);
            self.not_before = now;
        }
        if count == 0 {
            self.lease = Lease::RemoveAt(now);
        }
        self.last = Some(listed);
        Some(listed)
    }

    pub(super) fn unanswered(&mut self, now: Instant, settings: &Settings) {
        if self.asked.take().is_some() {
            self.failures += 1;
            self.not_before = now + settings.backoff(self.failures);
        }
    }

    /// Whether a list has arrived that was asked for at this time or later.
    pub(super) fn was_listed_since(&self, at: Instant) -> bool {
        self.last.is_some_and(|listed| listed.asked >= at)
    }

    pub(super) fn finished(&mut self, meeting: MeetingId, now: Instant) {
        self.finished.insert(meeting, now);
    }

    /// Whether the takeover of a meeting finished when a list was under way that was asked for at this time.
    pub(super) fn finished_after(&self, meeting: &MeetingId, asked: Instant) -> bool {
        self.finished.get(meeting).is_some_and(|at| *at >= asked)
    }

    /// Lists from now on were asked for later than this one.
    pub(super) fn forget_finished(&mut self, asked: Instant) {
        self.finished.retain(|_, at| *at >= asked);
    }

    /// Whether its last list was empty.
    pub(super) fn owns_nothing(&self) -> bool {
        !matches!(self.lease, Lease::Kept)
    }

    /// When its lease is to be removed; none if it is not, or not again.
    pub(super) fn remove_at(&self) -> Option<Instant> {
        match self.lease {
            Lease::RemoveAt(at) => Some(at),
            Lease::Kept | Lease::Removing | Lease::Removed => None,
        }
    }

    pub(super) fn removing(&mut self) {
        self.lease = Lease::Removing;
    }

    pub(super) fn removed(&mut self) {
        self.lease = Lease::Removed;
    }

    pub(super) fn not_removed(&mut self, now: Instant, settings: &Settings) {
        self.removals += 1;
        self.lease = Lease::RemoveAt(now + settings.backoff(self.removals));
    }
}
