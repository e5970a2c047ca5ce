//! Which meetings of nodes that have ended a node takes over, and when: the rule, without a clock and without a store.
//!
//! The node that is [ranked](crate::placement::ranked) first for a meeting takes it at once, the next one a
//! [`step`](Settings::step) later, and so on, if the meeting still belongs to the dead. So nodes need not talk when one of them
//! cannot take it. Two that try at once do no harm: the store lets one claim it.
//!
//! A meeting is tried only if a list of the dead node's meetings shows it that was asked for when the try was due, or later. So
//! nobody tries what others took long ago.
//!
//! The shell calls [`Takeover::next`] until it says [`Step::Wait`], and tells the outcome of each step. It limits how long a step
//! takes: a takeover that never finishes holds one of the places.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use teammy_kernel::{MeetingId, store::Incarnation};
use tokio::time::Instant;

use crate::{member::Member, membership::View, placement};

mod dead;
mod settings;

use dead::Dead;
pub use settings::Settings;

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read the first `limit` meetings that this incarnation owns. The answer is [`Takeover::listed`] or
    /// [`Takeover::not_listed`].
    List {
        /// Whose.
        of: Incarnation,
        /// The most.
        limit: usize,
    },
    /// Claim this meeting and start it. The answer is [`Takeover::finished`].
    Take {
        /// The meeting.
        meeting: MeetingId,
        /// Its owner, who has ended.
        from: Incarnation,
    },
    /// Remove the lease of this incarnation, which owns nothing any more. The answer is [`Takeover::removed`] or
    /// [`Takeover::not_removed`].
    Remove(Incarnation),
    /// Nothing, until then or until something is told; without a time only the latter.
    Wait(Option<Instant>),
}

/// A meeting in the list of a node that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The meeting.
    pub meeting: MeetingId,
    /// Whether it has publishers that number their packets, and so wait for it.
    pub has_marks: bool,
}

/// How a takeover went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// This node runs the meeting.
    Taken,
    /// There is nothing to take: another node owns it, or it has ended.
    Lost,
    /// This node could not take it now: it has no room, lacks an instance, or the store failed. It is tried again.
    Failed,
}

/// A meeting's turn: those that were never tried, then those that somebody waits for, then those for which this node comes first,
/// by id. Others have an order that is different on each node, so that nodes that help a slow one do not all try the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    has_failed: bool,
    is_quiet: bool,
    rank: u32,
    order: u64,
    meeting: MeetingId,
}

/// Where a meeting that is not yet taken waits.
#[derive(Debug)]
enum Place {
    /// Nowhere: this node is not one for it.
    Out,
    /// For a time, and then for a list that still shows it.
    Later(Instant),
    /// For a free place among the running ones.
    Ready(Turn),
}

#[derive(Debug)]
struct Candidate {
    owner: Incarnation,
    has_marks: bool,
    /// How many nodes come before this one; none if this one cannot take it.
    rank: Option<u32>,
    failures: u32,
    retry_at: Option<Instant>,
    place: Place,
}

/// What a node knows of meetings whose owners have ended.
///
/// A meeting is in at most one of `waiting` and `running`.
#[derive(Debug)]
pub struct Takeover {
    me: Incarnation,
    settings: Settings,
    is_member: bool,
    members: Vec<Member>,
    dead: BTreeMap<Incarnation, Dead>,
    waiting: BTreeMap<MeetingId, Candidate>,
    ready: BTreeSet<Turn>,
    running: BTreeMap<MeetingId, Candidate>,
    wanted: BTreeSet<MeetingId>,
}

impl Takeover {
    /// Of a node that knows nobody yet.
    pub fn new(me: Incarnation, settings: Settings) -> Self {
        Self {
            me,
            settings,
            is_member: false,
            members: Vec::new(),
            dead: BTreeMap::new(),
            waiting: BTreeMap::new(),
            ready: BTreeSet::new(),
            running: BTreeMap::new(),
            wanted: BTreeSet::new(),
        }
    }

    /// The members, or those that have ended, have changed. Once this node is no member, it takes nothing.
    pub fn view(&mut self, view: &View, now: Instant) {
        self.is_member = view.is_member;
        self.dead.retain(|dead, _| view.ended.contains(dead));
        for ended in &view.ended {
            let page = self.settings.page.max(1);
            self.dead.entry(ended.clone()).or_insert_with(|| Dead::new(now, page));
        }
        let forgotten = self.meetings(|candidate| !self.dead.contains_key(&candidate.owner));
        for meeting in forgotten {
            self.remove(&meeting);
        }
        let changed = !ranking_inputs(&self.members).eq(ranking_inputs(&view.members));
        self.members.clone_from(&view.members);
        if changed {
            for meeting in self.meetings(|_| true) {
                let rank = self.rank(&meeting);
                if let Some(candidate) = self.waiting.get_mut(&meeting) {
                    candidate.rank = rank;
                }
                self.settle(&meeting);
            }
        }
    }

    /// The answer to [`Step::List`].
    pub fn listed(&mut self, of: &Incarnation, found: Vec<Found>, now: Instant) {
        let Some(dead) = self.dead.get_mut(of) else { return };
        let Some(listed) = dead.answered(found.len(), now, &self.settings) else { return };
        let mut seen = BTreeSet::new();
        for Found { meeting, has_marks } in found {
            let is_finished =
                self.dead.get(of).is_some_and(|dead| dead.finished_after(&meeting, listed.asked));
            if is_finished || self.running.contains_key(&meeting) {
                continue;
            }
            if self.waiting.get(&meeting).is_none_or(|candidate| candidate.owner != *of) {
                self.remove(&meeting);
                let (owner, rank) = (of.clone(), self.rank(&meeting));
                let candidate =
                    Candidate { owner, has_marks, rank, failures: 0, retry_at: None, place: Place::Out };
                self.waiting.insert(meeting.clone(), candidate);
            }
            seen.insert(meeting);
        }
        for meeting in self.meetings(|candidate| candidate.owner == *of) {
            if listed.is_complete && !seen.contains(&meeting) {
                self.remove(&meeting);
            } else {
                self.settle(&meeting);
            }
        }
        if let Some(dead) = self.dead.get_mut(of) {
            dead.forget_finished(listed.asked);
        }
    }

    /// The list could not be read. It is asked for again, after a while.
    pub fn not_listed(&mut self, of: &Incarnation, now: Instant) {
        if let Some(dead) = self.dead.get_mut(of) {
            dead.unanswered(now, &self.settings);
        }
    }

    /// The answer to [`Step::Take`].
    pub fn finished(&mut self, meeting: &MeetingId, outcome: Outcome, now: Instant) {
        let Some(mut candidate) = self.running.remove(meeting) else { return };
        let Some(dead) = self.dead.get_mut(&candidate.owner) else { return };
        match outcome {
            Outcome::Taken | Outcome::Lost => dead.finished(meeting.clone(), now),
            Outcome::Failed if dead.owns_nothing() => {}
            Outcome::Failed => {
                candidate.failures += 1;
                candidate.retry_at = Some(now + self.settings.backoff(candidate.failures));
                candidate.rank = self.rank(meeting);
                self.waiting.insert(meeting.clone(), candidate);
                self.settle(meeting);
            }
        }
    }

    /// The lease was removed.
    pub fn removed(&mut self, of: &Incarnation) {
        if let Some(dead) = self.dead.get_mut(of) {
            dead.removed();
        }
    }

    /// The lease could not be removed. It is tried again.
    pub fn not_removed(&mut self, of: &Incarnation, now: Instant) {
        if let Some(dead) = self.dead.get_mut(of) {
            dead.not_removed(now, &self.settings);
        }
    }

    /// Somebody waits for this meeting, whoever owns it: it comes before others, until it is [not wanted](Self::not_wanted) any
    /// more.
    pub fn wanted(&mut self, meeting: &MeetingId) {
        self.wanted.insert(meeting.clone());
        self.settle(meeting);
    }

    /// Nobody waits for this meeting any more.
    pub fn not_wanted(&mut self, meeting: &MeetingId) {
        self.wanted.remove(meeting);
        self.settle(meeting);
    }

    /// The next step, which then counts as begun.
    pub fn next(&mut self, now: Instant) -> Step {
        if !self.is_member {
            return Step::Wait(None);
        }
        let (settings, is_first) = (&self.settings, self.is_first());
        let mut wait: Option<Instant> = None;
        if is_first || self.has_room() {
            for (of, dead) in &mut self.dead {
                match dead.list_at(settings) {
                    Some(at) if at <= now => return Step::List { of: of.clone(), limit: dead.asked(now) },
                    Some(at) => wait = Some(wait.map_or(at, |other| other.min(at))),
                    None => {}
                }
            }
        }
        if self.running.len() < settings.at_once.max(1)
            && let Some(Turn { meeting, .. }) = self.ready.pop_first()
            && let Some(candidate) = self.waiting.remove(&meeting)
        {
            let from = candidate.owner.clone();
            self.running.insert(meeting.clone(), Candidate { place: Place::Out, ..candidate });
            return Step::Take { meeting, from };
        }
        if is_first {
            for (of, dead) in &mut self.dead {
                match dead.remove_at() {
                    Some(at) if at <= now => {
                        dead.removing();
                        return Step::Remove(of.clone());
                    }
                    Some(at) => wait = Some(wait.map_or(at, |other| other.min(at))),
                    None => {}
                }
            }
        }
        Step::Wait(wait)
    }

    /// How many meetings are being taken over, and how many more are known to wait for it.
    pub fn counts(&self) -> (usize, usize) {
        (self.running.len(), self.waiting.len())
    }

    /// Whether this is the member that removes leases.
    fn is_first(&self) -> bool {
        self.members.iter().map(|member| &member.incarnation).min() == Some(&self.me)
    }

    /// Whether this node may take any meeting.
    fn has_room(&self) -> bool {
        let me = self.members.iter().find(|member| member.incarnation == self.me);
        me.is_some_and(|me| placement::takes_meetings(me) && placement::has_room(me))
    }

    fn rank(&self, meeting: &MeetingId) -> Option<u32> {
        let ranked = placement::ranked(meeting, &self.members);
        let at = ranked.iter().position(|member| member.incarnation == self.me)?;
        u32::try_from(at).ok().filter(|_| placement::has_room(ranked[at]))
    }

    fn meetings(&self, wanted: impl Fn(&Candidate) -> bool) -> Vec<MeetingId> {
        let meetings = self.waiting.iter().filter(|(_, candidate)| wanted(candidate));
        meetings.map(|(meeting, _)| meeting.clone()).collect()
    }

    fn remove(&mut self, meeting: &MeetingId) {
        self.unsettle(meeting);
        self.waiting.remove(meeting);
    }

    fn unsettle(&mut self, meeting: &MeetingId) {
        let Some(candidate) = self.waiting.get_mut(meeting) else { return };
        match mem::replace(&mut candidate.place, Place::Out) {
            Place::Out => {}
            Place::Later(at) => {
                if let Some(dead) = self.dead.get_mut(&candidate.owner) {
                    dead.later.remove(&(at, meeting.clone()));
                }
            }
            Place::Ready(turn) => {
                self.ready.remove(&turn);
            }
        }
    }

    /// Puts a meeting where it waits.
    fn settle(&mut self, meeting: &MeetingId) {
        self.unsettle(meeting);
        let Some(candidate) = self.waiting.get_mut(meeting) else { return };
        let Some(dead) = self.dead.get_mut(&candidate.owner) else { return };
        let Some(rank) = candidate.rank else { return };
        let turn = dead.since + self.settings.step.saturating_mul(rank);
        let due = candidate.retry_at.map_or(turn, |retry| retry.max(turn));
        candidate.place = if dead.was_listed_since(due) {
            let is_quiet = !candidate.has_marks && !self.wanted.contains(meeting);
            let order = if rank == 0 { 0 } else { placement::hash(meeting, &self.me.node) };
            let (has_failed, meeting) = (candidate.failures > 0, meeting.clone());
            let turn = Turn { has_failed, is_quiet, rank, order, meeting };
            self.ready.insert(turn.clone());
            Place::Ready(turn)
        } else {
            dead.later.insert((due, meeting.clone()));
            Place::Later(due)
        };
    }
}

/// What rankings, and who has room, depend on.
fn ranking_inputs(members: &[Member]) -> impl Iterator<Item = (&Incarnation, u32, bool, bool)> {
    members.iter().map(|member| {
        let (takes, has_room) = (placement::takes_meetings(member), placement::has_room(member));
        (&member.incarnation, member.document.capacity, takes, has_room)
    })
}

#[cfg(test)]
mod simulation_tests;
#[cfg(test)]
mod tests;
