//! Which commits are sent together, and when: a pure state machine.
//!
//! A batch is whatever waits when the previous one is settled, so a busy store gets larger transactions and an
//! idle one answers at once. Whether a failed batch was stored may be unknown, so its commits are sent again,
//! unchanged. They may come in other batches then: each commit is fenced by its own meeting's row, so it is
//! applied once whatever batch it comes in.
//!
//! One commit may make every batch fail that it is in. So commits that failed several times are **suspects**:
//! they are sent apart from fresh commits, in turn with them, half as many at a time after each failure and
//! twice as many after each success. After a few turns the good ones are stored, and the bad one is alone.
//!
//! While every batch fails, the store is away, and fresh commits wait for it together.

use std::{collections::VecDeque, time::Duration};

use teammy_kernel::{backoff::Backoff, store::Commit};
use tokio::time::Instant;

/// The most commits in a batch. The store bounds their bytes.
const MOST: usize = 256;
/// After so many failed batches in a row a commit is a suspect.
const SUSPECT: u32 = 3;
/// The wait before a failed commit is sent again.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));

/// The commits that are not settled, except those of the attempt under way. `T` waits for a commit's result.
#[derive(Debug)]
pub(super) struct Schedule<T> {
    fresh: VecDeque<Waiting<T>>,
    /// Suspects, in the order in which they may be sent again.
    suspects: VecDeque<Waiting<T>>,
    /// How many batches of fresh commits have failed in a row.
    failures: u32,
    /// When fresh commits may be sent again.
    fresh_from: Option<Instant>,
    /// The most suspects in their next batch.
    suspects_at_once: usize,
    /// Whether suspects are next, if both wait.
    suspects_turn: bool,
}

#[derive(Debug)]
struct Waiting<T> {
    commit: Commit,
    waiter: T,
    tries: u32,
    /// When a suspect may be sent again.
    due: Option<Instant>,
}

/// A batch on its way to the store.
#[derive(Debug)]
pub(crate) struct Attempt<T> {
    pub(super) commits: Vec<Commit>,
    /// The waiter of each commit, and how often the commit was tried before.
    tickets: Vec<(T, u32)>,
    of_suspects: bool,
}

impl<T> Attempt<T> {
    /// The waiters, in the order of the commits.
    pub(super) fn into_waiters(self) -> impl Iterator<Item = T> {
        self.tickets.into_iter().map(|(waiter, _)| waiter)
    }

    /// The most tries of any of its commits.
    pub(super) fn tries(&self) -> u32 {
        self.tickets.iter().map(|(_, tries)| *tries).max().unwrap_or(0)
    }
}

impl<T> Default for Schedule<T> {
    fn default() -> Self {
        Self {
            fresh: VecDeque::new(),
            suspects: VecDeque::new(),
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
        self.fresh.push_back(Waiting { commit, waiter, tries: 0, due: None });
    }

    /// Whether the last batch of fresh commits failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// The batch to send now, if there is one. No other may be under way.
    pub(super) fn next(&mut self, now: Instant) -> Option<Attempt<T>> {
        let is_due = |due: Option<Instant>| due.is_none_or(|due| due <= now);
        let fresh = !self.fresh.is_empty() && is_due(self.fresh_from);
        let suspects = self.suspects.front().is_some_and(|first| is_due(first.due));
        let of_suspects = suspects && (self.suspects_turn || !fresh);
        if !fresh && !suspects {
            return None;
        }
        let chosen: Vec<_> = if of_suspects {
            let due = self.suspects.iter().take(self.suspects_at_once).take_while(|one| is_due(one.due));
            let due = due.count();
            self.suspects.drain(..due).collect()
        } else {
            let most = self.fresh.len().min(MOST);
            self.fresh.drain(..most).collect()
        };
        self.suspects_turn = !of_suspects;
        let (commits, tickets) = chosen.into_iter().map(|one| (one.commit, (one.waiter, one.tries))).unzip();
        Some(Attempt { commits, tickets, of_suspects })
    }

    /// When the next batch may be sent; none if no commit waits.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let fresh = (!self.fresh.is_empty()).then(|| self.fresh_from.unwrap_or(now));
        let suspects = self.suspects.front().map(|first| first.due.unwrap_or(now));
        fresh.into_iter().chain(suspects).min()
    }

    /// The store has answered for a batch.
    pub(super) fn settled(&mut self, attempt: &Attempt<T>) {
        self.failures = 0;
        self.fresh_from = None;
        if attempt.of_suspects {
            self.suspects_at_once = MOST.min(self.suspects_at_once * 2);
            for suspect in &mut self.suspects {
                suspect.due = None;
            }
        }
    }

    /// A batch failed, and whether it was stored is unknown. Its commits will be sent again.
    pub(super) fn failed(&mut self, attempt: Attempt<T>, now: Instant) {
        if !attempt.of_suspects {
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

    fn again(&mut self, attempt: Attempt<T>, due: impl Fn(u32) -> Option<Instant>, tries: u32) {
        let sent = attempt.commits.len();
        let mut fresh = Vec::new();
        let mut has_suspects = false;
        for (commit, (waiter, tried)) in attempt.commits.into_iter().zip(attempt.tickets) {
            let tries = tried.saturating_add(tries);
            if tries < SUSPECT {
                fresh.push(Waiting { commit, waiter, tries, due: None });
            } else {
                has_suspects = true;
                self.suspects.push_back(Waiting { commit, waiter, tries, due: due(tries) });
            }
        }
        // First in, first out.
        for waiting in fresh.into_iter().rev() {
            self.fresh.push_front(waiting);
        }
        if has_suspects {
            self.suspects_at_once = (sent / 2).max(1);
        }
        self.suspects.make_contiguous().sort_by_key(|suspect| suspect.due);
    }
}

#[cfg(test)]
mod tests;
