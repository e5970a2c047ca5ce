//! Which commits are sent together, and when: a pure state machine.
//!
//! A batch is what waits when an earlier one is settled, so a busy store gets larger transactions and an idle one
//! answers at once. [`fair_queue`] decides whose commit is next, and [`pace`] how many bytes fit into a batch, so
//! that the store needs a bounded time for it; a larger commit goes alone.
//!
//! Two batches may be under way: one of bulk commits, and beside it one of light commits. So a meeting that
//! writes little waits for others of its kind, and never for a batch of one that writes much. At most one commit
//! of a meeting is under way.
//!
//! Whether a failed batch was stored may be unknown, so its commits are sent again, unchanged. They may come in
//! other batches then: each commit is fenced by its own meeting's row, so it is applied once whatever batch it
//! comes in.
//!
//! One commit may make every batch fail that it is in. So commits that failed several times are **suspects**:
//! they are sent apart from fresh commits, in turn with bulk ones, half as many at a time after each failure and
//! twice as many after each success. After a few turns the good ones are stored, and the bad one is alone.
//!
//! While every batch fails, the store is away, and fresh commits wait for it together.

mod fair_queue;
mod pace;

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use teammy_kernel::{MeetingId, backoff::Backoff, store::Commit};
use tokio::time::Instant;

use fair_queue::{Choice, Class, FairQueue, Place};
use pace::Pace;

/// The most commits in a batch.
const MOST: usize = 256;
/// After so many failed batches in a row a commit is a suspect.
const SUSPECT: u32 = 3;
/// The wait before a failed commit is sent again.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));

/// The commits that are not settled. `T` waits for a commit's result.
#[derive(Debug)]
pub(super) struct Schedule<T> {
    fresh: FairQueue<Waiting<T>>,
    /// Suspects, in the order in which they may be sent again.
    suspects: VecDeque<Suspect<T>>,
    /// Whether a batch is under way, by its slot.
    light_under_way: bool,
    bulk_under_way: bool,
    /// The meetings whose commits are under way.
    meetings: HashSet<MeetingId>,
    pace: Pace,
    /// How many batches of fresh commits have failed in a row.
    failures: u32,
    /// When fresh commits may be sent again.
    fresh_from: Option<Instant>,
    /// The most suspects in their next batch.
    suspects_at_once: usize,
    /// Whether suspects are next, if bulk commits wait too.
    suspects_turn: bool,
}

#[derive(Debug)]
struct Waiting<T> {
    commit: Commit,
    bytes: usize,
    waiter: T,
    tries: u32,
}

#[derive(Debug)]
struct Suspect<T> {
    waiting: Waiting<T>,
    /// When it may be sent again.
    due: Option<Instant>,
}

/// A batch on its way to the store.
#[derive(Debug)]
pub(crate) struct Attempt<T> {
    pub(super) commits: Vec<Commit>,
    tickets: Vec<Ticket<T>>,
    /// The slot that it takes, which is not always that of its commits.
    slot: Class,
    began: Instant,
}

/// What is known of a commit that is under way.
#[derive(Debug)]
struct Ticket<T> {
    waiter: T,
    bytes: usize,
    /// How often the commit was tried before.
    tries: u32,
    /// Its place among the fresh commits; none if it is a suspect.
    place: Option<Place>,
}

impl<T> Attempt<T> {
    fn new(slot: Class, began: Instant) -> Self {
        Self { commits: Vec::new(), tickets: Vec::new(), slot, began }
    }

    fn push(&mut self, waiting: Waiting<T>, place: Option<Place>) {
        let Waiting { commit, bytes, waiter, tries } = waiting;
        self.commits.push(commit);
        self.tickets.push(Ticket { waiter, bytes, tries, place });
    }

    fn is_of_suspects(&self) -> bool {
        self.tickets.iter().any(|ticket| ticket.place.is_none())
    }

    fn bytes(&self) -> usize {
        self.tickets.iter().map(|ticket| ticket.bytes).sum()
    }

    /// The most tries of any of its commits.
    pub(super) fn tries(&self) -> u32 {
        self.tickets.iter().map(|ticket| ticket.tries).max().unwrap_or(0)
    }
}

impl<T> Default for Schedule<T> {
    fn default() -> Self {
        Self {
            fresh: FairQueue::default(),
            suspects: VecDeque::new(),
            light_under_way: false,
            bulk_under_way: false,
            meetings: HashSet::new(),
            pace: Pace::default(),
            failures: 0,
            fresh_from: None,
            suspects_at_once: MOST,
            suspects_turn: false,
        }
    }
}

impl<T> Schedule<T> {
    /// Adds a commit to be sent.
    pub(super) fn add(&mut self, commit: Commit, waiter: T) {
        let (meeting, bytes) = (commit.meeting.clone(), commit.cost());
        self.fresh.add(&meeting, bytes, Waiting { commit, bytes, waiter, tries: 0 });
    }

    /// Whether the last batch of fresh commits failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// The next batch to send now, if there is one. More may follow at once.
    pub(super) fn next(&mut self, now: Instant) -> Option<Attempt<T>> {
        let fresh = self.fresh_from.is_none_or(|from| from <= now);
        // A store that is away is tried with one batch at a time.
        if self.is_failing() && (self.light_under_way || self.bulk_under_way) {
            return None;
        }
        let light = |schedule: &mut Self, slot| schedule.fresh(Class::Light, slot, now);
        if fresh
            && !self.light_under_way
            && let Some(attempt) = light(self, Class::Light)
        {
            return Some(attempt);
        }
        if self.bulk_under_way {
            return None;
        }
        let bulk = |schedule: &mut Self| schedule.fresh(Class::Bulk, Class::Bulk, now);
        let is_suspects_turn = std::mem::replace(&mut self.suspects_turn, false);
        if is_suspects_turn && let Some(attempt) = self.suspects(now) {
            return Some(attempt);
        }
        if fresh && let Some(attempt) = bulk(self) {
            self.suspects_turn = true;
            return Some(attempt);
        }
        if let Some(attempt) = self.suspects(now) {
            return Some(attempt);
        }
        // Nobody else wants the second slot.
        if fresh { light(self, Class::Bulk) } else { None }
    }

    /// Takes a batch of fresh commits of a class.
    fn fresh(&mut self, class: Class, slot: Class, now: Instant) -> Option<Attempt<T>> {
        let mut attempt = Attempt::new(slot, now);
        let most = self.pace.most_bytes();
        let (mut count, mut bytes) = (0, 0);
        let meetings = &mut self.meetings;
        let taken = self.fresh.take(class, |waiting| {
            if meetings.contains(&waiting.commit.meeting) {
                return Choice::Skip;
            }
            if count == MOST || (count > 0 && bytes + waiting.bytes > most) {
                return Choice::Stop;
            }
            count += 1;
            bytes += waiting.bytes;
            meetings.insert(waiting.commit.meeting.clone());
            Choice::Take
        });
        for (place, waiting) in taken {
            attempt.push(waiting, Some(place));
        }
        self.begun(attempt)
    }

    /// Takes a batch of suspects.
    fn suspects(&mut self, now: Instant) -> Option<Attempt<T>> {
        let mut attempt = Attempt::new(Class::Bulk, now);
        let mut left = VecDeque::new();
        let (most, mut bytes) = (self.pace.most_bytes(), 0);
        while attempt.commits.len() < self.suspects_at_once
            && let Some(first) = self.suspects.front()
            && first.due.is_none_or(|due| due <= now)
            && (bytes == 0 || bytes + first.waiting.bytes <= most)
        {
            let suspect = self.suspects.pop_front().expect("invariant: there is a first one");
            if self.meetings.insert(suspect.waiting.commit.meeting.clone()) {
                bytes += suspect.waiting.bytes;
                attempt.push(suspect.waiting, None);
            } else {
                left.push_back(suspect);
            }
        }
        left.append(&mut self.suspects);
        self.suspects = left;
        self.begun(attempt)
    }

    fn begun(&mut self, attempt: Attempt<T>) -> Option<Attempt<T>> {
        if attempt.commits.is_empty() {
            return None;
        }
        *self.under_way(attempt.slot) = true;
        Some(attempt)
    }

    fn under_way(&mut self, slot: Class) -> &mut bool {
        match slot {
            Class::Light => &mut self.light_under_way,
            Class::Bulk => &mut self.bulk_under_way,
        }
    }

    /// An attempt is over, whatever came of it.
    fn ended(&mut self, attempt: &Attempt<T>) {
        *self.under_way(attempt.slot) = false;
        for commit in &attempt.commits {
            self.meetings.remove(&commit.meeting);
        }
    }

    /// When the next batch may be sent, if that is not before one under way has ended; none if no commit waits.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let fresh = (!self.fresh.is_empty()).then(|| self.fresh_from.unwrap_or(now));
        let suspects = self.suspects.front().map(|first| first.due.unwrap_or(now));
        fresh.into_iter().chain(suspects).min()
    }

    /// The store has answered for a batch. Returns who waits for it, in the order of the commits.
    pub(super) fn settled(&mut self, attempt: Attempt<T>, now: Instant) -> Vec<T> {
        self.ended(&attempt);
        self.pace.stored(attempt.bytes(), now.saturating_duration_since(attempt.began));
        if attempt.is_of_suspects() {
            self.suspects_at_once = MOST.min(self.suspects_at_once * 2);
        }
        // A store that was away is back, so what failed with it need not wait.
        if attempt.is_of_suspects() || self.is_failing() {
            for suspect in &mut self.suspects {
                suspect.due = None;
            }
        }
        self.failures = 0;
        self.fresh_from = None;
        self.rest();
        attempt.tickets.into_iter().map(|ticket| ticket.waiter).collect()
    }

    /// The store refused a commit that was alone: it can never be stored. Returns who waits for it.
    pub(super) fn rejected(&mut self, attempt: Attempt<T>) -> Vec<T> {
        self.ended(&attempt);
        self.rest();
        attempt.tickets.into_iter().map(|ticket| ticket.waiter).collect()
    }

    /// Lets all meetings begin equal if nothing is left to do.
    fn rest(&mut self) {
        if self.fresh.is_empty() && self.suspects.is_empty() && self.meetings.is_empty() {
            self.fresh.idle();
        }
    }

    /// A batch failed, and whether it was stored is unknown. Its commits will be sent again.
    pub(super) fn failed(&mut self, attempt: Attempt<T>, now: Instant) {
        if !attempt.is_of_suspects() {
            self.fresh_from = Some(now + BACKOFF.delay(self.failures));
            self.failures = self.failures.saturating_add(1);
        }
        self.again(attempt, |tries| Some(now + BACKOFF.delay(tries)), 1);
    }

    /// The store refused a batch: one of its commits can never be stored. They are sent again in smaller
    /// batches.
    pub(super) fn refused(&mut self, attempt: Attempt<T>) {
        self.again(attempt, |_| None, SUSPECT);
    }

    fn again(&mut self, attempt: Attempt<T>, due: impl Fn(u32) -> Option<Instant>, more_tries: u32) {
        self.ended(&attempt);
        let sent = attempt.commits.len();
        let mut has_suspects = false;
        for (commit, ticket) in attempt.commits.into_iter().zip(attempt.tickets) {
            let Ticket { waiter, bytes, tries, place } = ticket;
            let tries = tries.saturating_add(more_tries);
            let waiting = Waiting { commit, bytes, waiter, tries };
            match place {
                Some(place) if tries < SUSPECT => self.fresh.put_back(place, waiting),
                _ => {
                    has_suspects = true;
                    self.suspects.push_back(Suspect { waiting, due: due(tries) });
                }
            }
        }
        if has_suspects {
            self.suspects_at_once = (sent / 2).max(1);
        }
        self.suspects.make_contiguous().sort_by_key(|suspect| suspect.due);
    }
}

#[cfg(test)]
mod tests;
