//! Which of its meetings a node hands over to another one, and when: the rule, without a clock and without a store.
//!
//! * **Slowly**, by itself, when its load is above the mean: meetings that are [placed](crate::placement) better on another node.
//! * **Now**, on command: the same, without the pace and down to the mean.
//! * **Drain**: everything, each meeting to the node that comes next in its ranking and has room.
//!
//! Nodes decide alone, and it ends: a move of the first two kinds takes a meeting up in its own ranking, which depends on the
//! members and their capacities and not on their load. So a meeting makes fewer moves than there are nodes, whatever each of them
//! knows of the others. And it goes to a node below the mean that is not left with more load than this one, so moves stop at
//! balance.
//!
//! The shell calls [`Rebalance::next`] until it says [`Step::Wait`], and tells the outcome of each move.

use std::collections::{BTreeMap, BTreeSet};

use teammy_kernel::{MeetingId, store::Incarnation};
use tokio::time::{Duration, Instant};

use crate::{member::Member, membership::View, placement};

/// How fast meetings are handed over.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How many are moved in a minute by itself; 0 for none.
    pub per_minute: u32,
    /// The most moves at once, at least 1.
    pub at_once: usize,
    /// How far a node's load is above the mean before it moves meetings by itself, as a part of the mean.
    pub tolerance: f64,
    /// How long a meeting stays where it was moved to, and where a move failed. A drain does not wait for it.
    pub rest: Duration,
    /// How long a drain waits when all nodes with room have refused a meeting.
    pub retry: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            per_minute: 60,
            at_once: 16,
            tolerance: 0.1,
            rest: Duration::from_mins(5),
            retry: Duration::from_secs(5),
        }
    }
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Hand this meeting over. The answer is [`Rebalance::finished`].
    Move {
        /// The meeting.
        meeting: MeetingId,
        /// The node that is to run it.
        to: Incarnation,
    },
    /// Nothing, until then or until something is told; without a time only the latter.
    Wait(Option<Instant>),
}

/// How a move went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The other node runs the meeting.
    Moved,
    /// This node still runs it: the other one refused it, or could not be reached.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Slow,
    Now,
    Drain,
}

/// A meeting that this node runs.
#[derive(Debug, Default)]
struct Held {
    /// The members that are ranked before this one.
    better: Vec<Incarnation>,
    /// Until when it is not moved.
    rests: Option<Instant>,
    /// Those that refused it in this round of a drain.
    refused: BTreeSet<Incarnation>,
    /// When the next round of a drain begins.
    retry: Option<Instant>,
}

/// What a node knows of its meetings and the others' load.
#[derive(Debug)]
pub struct Rebalance {
    me: Incarnation,
    settings: Settings,
    mode: Mode,
    is_member: bool,
    members: Vec<Member>,
    held: BTreeMap<MeetingId, Held>,
    moving: BTreeMap<MeetingId, Incarnation>,
    /// Meetings that nodes have got since they told their load.
    sent: BTreeMap<Incarnation, u32>,
    /// When the next move by itself may begin.
    next: Option<Instant>,
}

impl Rebalance {
    /// Of a node that runs nothing and knows nobody yet.
    pub fn new(me: Incarnation, settings: Settings) -> Self {
        Self {
            me,
            settings,
            mode: Mode::Slow,
            is_member: false,
            members: Vec::new(),
            held: BTreeMap::new(),
            moving: BTreeMap::new(),
            sent: BTreeMap::new(),
            next: None,
        }
    }

    /// The members, or what they tell, have changed.
    pub fn view(&mut self, view: &View) {
        fn inputs(members: &[Member]) -> impl Iterator<Item = (&Incarnation, u32, bool)> {
            members.iter().map(|member| {
                (&member.incarnation, member.document.capacity, placement::takes_meetings(member))
            })
        }
        self.is_member = view.is_member;
        self.sent.clear();
        let changed = !inputs(&self.members).eq(inputs(&view.members));
        self.members.clone_from(&view.members);
        if changed {
            for (meeting, held) in &mut self.held {
                held.better = better(meeting, &self.members, &self.me);
            }
        }
    }

    /// This node runs a meeting from now on: one that it created, or took over from a node that has ended.
    pub fn runs(&mut self, meeting: MeetingId) {
        if !self.held.contains_key(&meeting) {
            let better = better(&meeting, &self.members, &self.me);
            self.held.insert(meeting, Held { better, ..Held::default() });
        }
    }

    /// These are all meetings that this node runs, in case it was not told of some. What comes of one that is being moved is told by the
    /// move's outcome.
    pub fn all_running(&mut self, running: &BTreeSet<MeetingId>) {
        self.held.retain(|meeting, _| running.contains(meeting) || self.moving.contains_key(meeting));
        for meeting in running {
            self.runs(meeting.clone());
        }
    }

    /// This node runs a meeting from now on that another one has handed over. It rests.
    pub fn received(&mut self, meeting: MeetingId, now: Instant) {
        let better = better(&meeting, &self.members, &self.me);
        let rests = Some(now + self.settings.rest);
        self.held.insert(meeting, Held { better, rests, ..Held::default() });
    }

    /// This node does not run the meeting any more: it has ended.
    pub fn ended(&mut self, meeting: &MeetingId) {
        self.held.remove(meeting);
        self.moving.remove(meeting);
    }

    /// Balances now, once.
    pub fn balance_now(&mut self) {
        if self.mode == Mode::Slow {
            self.mode = Mode::Now;
        }
    }

    /// Hands everything over, from now on. The node's document should say that it is draining.
    pub fn drain(&mut self) {
        self.mode = Mode::Drain;
    }

    /// The answer to [`Step::Move`].
    pub fn finished(&mut self, meeting: &MeetingId, outcome: Outcome, now: Instant) {
        let Some(to) = self.moving.remove(meeting) else { return };
        match outcome {
            Outcome::Moved => {
                self.held.remove(meeting);
                *self.sent.entry(to).or_default() += 1;
            }
            Outcome::Failed => {
                if let Some(held) = self.held.get_mut(meeting) {
                    held.refused.insert(to);
                    held.rests = Some(now + self.settings.rest);
                }
            }
        }
    }

    /// The next step, which then counts as begun.
    pub fn next(&mut self, now: Instant) -> Step {
        if !self.is_member || self.moving.len() >= self.settings.at_once.max(1) {
            return Step::Wait(None);
        }
        let found = match self.mode {
            Mode::Drain => self.next_to_drain(now),
            Mode::Now => {
                let found = self.next_to_balance(0.0, now);
                if found.is_err() && self.moving.is_empty() {
                    self.mode = Mode::Slow;
                    return self.next(now);
                }
                found
            }
            Mode::Slow if self.settings.per_minute == 0 => Err(None),
            Mode::Slow => match (self.next_to_balance(self.settings.tolerance, now), self.next) {
                (Ok(_), Some(next)) if next > now => Err(Some(next)),
                (Ok(found), _) => {
                    self.next = Some(now + Duration::from_mins(1) / self.settings.per_minute);
                    Ok(found)
                }
                (Err(wait), _) => Err(wait),
            },
        };
        match found {
            Ok((meeting, to)) => {
                self.moving.insert(meeting.clone(), to.clone());
                Step::Move { meeting, to }
            }
            Err(wait) => Step::Wait(wait),
        }
    }

    /// How many meetings are being moved, and how many this node runs, those included.
    pub fn counts(&self) -> (usize, usize) {
        (self.moving.len(), self.held.len())
    }

    /// The first meeting to move for balance, and where to; or when to look again.
    fn next_to_balance(
        &self,
        tolerance: f64,
        now: Instant,
    ) -> Result<(MeetingId, Incarnation), Option<Instant>> {
        let taking = || self.members.iter().filter(|member| placement::takes_meetings(member));
        let Some(me) = taking().find(|member| member.incarnation == self.me) else { return Err(None) };
        let (loads, capacities) = taking()
            .fold((0.0, 0.0), |sums, it| (sums.0 + self.load(it), sums.1 + f64::from(it.document.capacity)));
        let share = |load: f64, member: &Member| load / f64::from(member.document.capacity);
        let (own, mean) = (self.load(me), loads / capacities);
        if share(own, me) <= mean * (1.0 + tolerance) {
            return Err(None);
        }
        let targets: BTreeSet<&Incarnation> = taking()
            .filter(|member| {
                let load = self.load(member);
                let is_below = share(load, member) < mean && load < f64::from(member.document.capacity);
                is_below && share(load + 1.0, member) <= share(own - 1.0, me)
            })
            .map(|member| &member.incarnation)
            .collect();
        if targets.is_empty() {
            return Err(None);
        }
        let mut wait: Option<Instant> = None;
        for (meeting, held) in &self.held {
            let to = held.better.iter().find(|better| targets.contains(better));
            let Some(to) = to.filter(|_| !self.moving.contains_key(meeting)) else { continue };
            match held.rests.filter(|rests| *rests > now) {
                None => return Ok((meeting.clone(), to.clone())),
                Some(rests) => wait = Some(wait.map_or(rests, |other| other.min(rests))),
            }
        }
        Err(wait)
    }

    /// The first meeting to hand over, and where to; or when to look again.
    fn next_to_drain(&mut self, now: Instant) -> Result<(MeetingId, Incarnation), Option<Instant>> {
        let has_room = |member: &Member| {
            let is_other = member.incarnation != self.me && placement::takes_meetings(member);
            is_other && self.load(member) < f64::from(member.document.capacity)
        };
        let targets: Vec<Member> = self.members.iter().filter(|member| has_room(member)).cloned().collect();
        if targets.is_empty() {
            return Err(None);
        }
        let mut wait: Option<Instant> = None;
        for (meeting, held) in &mut self.held {
            if self.moving.contains_key(meeting) {
                continue;
            }
            if let Some(retry) = held.retry.filter(|retry| *retry > now) {
                wait = Some(wait.map_or(retry, |other| other.min(retry)));
                continue;
            }
            let ranked = placement::by_score(meeting, &targets);
            if let Some(to) = ranked.iter().find(|target| !held.refused.contains(&target.incarnation)) {
                return Ok((meeting.clone(), to.incarnation.clone()));
            }
            held.refused.clear();
            let retry = now + self.settings.retry;
            held.retry = Some(retry);
            wait = Some(wait.map_or(retry, |other| other.min(retry)));
        }
        Err(wait)
    }

    /// How many meetings a member has when all that is under way has arrived.
    fn load(&self, member: &Member) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a node has room for a million")]
        let count = |count: usize| count as f64;
        if member.incarnation == self.me {
            return count(self.held.len() - self.moving.len());
        }
        let coming = self.moving.values().filter(|to| **to == member.incarnation).count();
        let sent = self.sent.get(&member.incarnation).copied().unwrap_or_default();
        f64::from(member.document.reserved) + f64::from(sent) + count(coming)
    }
}

/// The members that are ranked before a node that takes meetings itself, whatever room they have.
fn better(meeting: &MeetingId, members: &[Member], me: &Incarnation) -> Vec<Incarnation> {
    let ranked = placement::by_score(meeting, members);
    let at = ranked.iter().position(|member| member.incarnation == *me).unwrap_or_default();
    ranked[..at].iter().map(|member| member.incarnation.clone()).collect()
}

#[cfg(test)]
mod tests;
