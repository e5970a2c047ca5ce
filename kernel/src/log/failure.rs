//! Failures: when a hook is retried, when a packet is given up, when an actor is restarted or its instance
//! suspended.
//!
//! These are pure rules and one small state; the caller passes the time in. There are two kinds of failures,
//! with one [`FailurePolicy`] for both:
//!
//! * **A hook fails**: it returns an error or passes its deadline. The instance's actor is alive and counts
//!   the tries of the packets that the hook ran on. It asks [`FailurePolicy::hook_failed`] and either runs
//!   the hook again after a delay ([`HookDecision::RetryAfter`]), or goes on behind these packets and puts
//!   their dead letters into its effects ([`HookDecision::GiveUp`]).
//! * **An actor fails**: a hook panicked, and what the actor counted is gone. The meeting asks
//!   [`MeetingLog::actor_failed`](super::MeetingLog::actor_failed), which keeps [`Failures`] for each
//!   instance. [`ActorDecision::give_up`] says whether the packet that the actor was working on has had its
//!   last try; then the meeting gives it up ([`MeetingLog::give_up`](super::MeetingLog::give_up)). That may
//!   finish the instance; if the instance is still active, [`ActorDecision::restart`] says whether to start a
//!   new actor after a delay, or to suspend the instance
//!   ([`MeetingLog::suspend`](super::MeetingLog::suspend)).
//!
//! The tries that actors did not survive travel with the next batch
//! ([`Batch::tries_of`](super::Batch::tries_of)), so that the new actor's first failed hook counts on from
//! there. Tries that a hook survived are known to its actor alone, and are lost with it.
//!
//! Both make a dead letter with [`dead_letter`], which knows which packets cannot have one.

use std::{collections::VecDeque, time::Duration};

use crate::{
    DataPacket, Error, Name, Seq, Timestamp, backoff::Backoff, meeting::Lifecycle, plugin::Durability,
    store::DeadLetter,
};

/// How often and how soon a packet is retried and an actor restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailurePolicy {
    /// How many tries a packet has, the first one included.
    pub tries: u32,
    /// The delay before a failed hook runs again.
    pub retry: Backoff,
    /// The most restarts of an instance's actor `within` the time; one more failure suspends the instance.
    pub intensity: u32,
    /// How long a failure counts against `intensity`.
    pub within: Duration,
    /// The delay before an actor is restarted.
    pub restart: Backoff,
}

/// What an instance's actor does about a hook that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookDecision {
    /// Run the hook again after this delay.
    RetryAfter(Duration),
    /// Give the packets up that the hook ran on.
    GiveUp,
}

/// What a meeting does about an instance's actor that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartDecision {
    /// Start a new actor after this delay.
    RestartAfter(Duration),
    /// Suspend the instance: its actors failed too often.
    Suspend,
}

/// What a meeting does after an instance's actor failed, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct ActorDecision {
    /// How often the packet that the actor was working on was tried, if that was its last try: the packet is
    /// given up.
    pub give_up: Option<u32>,
    /// What follows for the actor, if the instance is still active then.
    pub restart: RestartDecision,
}

impl FailurePolicy {
    /// A hook failed at try number `tries` of its packets, from 1. A rejected packet has no further try.
    #[must_use]
    pub fn hook_failed(&self, tries: u32, error: &Error) -> HookDecision {
        if error.is_reject() || self.is_last(tries) {
            HookDecision::GiveUp
        } else {
            HookDecision::RetryAfter(self.retry.delay(tries.saturating_sub(1)))
        }
    }

    fn is_last(&self, tries: u32) -> bool {
        tries >= self.tries
    }
}

/// An instance's failures that still count: intensity and backoff as in OTP's supervisors.
#[derive(Debug, Default)]
pub struct Failures {
    /// When its actors failed, oldest first; those that count no more are removed at the next failure.
    actors: VecDeque<Duration>,
    /// The packet that an actor last failed on, and how often actors did.
    tried: Option<(Seq, u32)>,
}

impl Failures {
    /// The instance's actor failed while it worked on a packet, or on none. `now` is the time since a moment
    /// that the caller never changes; it does not go back.
    pub fn actor_failed(
        &mut self,
        packet: Option<Seq>,
        now: Duration,
        policy: &FailurePolicy,
    ) -> ActorDecision {
        let give_up = packet.map(|seq| self.count_try(seq)).filter(|tries| policy.is_last(*tries));
        while self.actors.front().is_some_and(|at| now.saturating_sub(*at) > policy.within) {
            self.actors.pop_front();
        }
        self.actors.push_back(now);
        let failures = u32::try_from(self.actors.len()).unwrap_or(u32::MAX);
        let restart = if failures > policy.intensity {
            RestartDecision::Suspend
        } else {
            RestartDecision::RestartAfter(policy.restart.delay(failures - 1))
        };
        ActorDecision { give_up, restart }
    }

    /// Counts a try of a packet that an actor did not survive. Returns how many there were in a row.
    pub fn count_try(&mut self, seq: Seq) -> u32 {
        let tries = match self.tried {
            Some((last, tries)) if last == seq => tries.saturating_add(1),
            _ => 1,
        };
        self.tried = Some((seq, tries));
        tries
    }

    /// The packet that actors did not survive, and how often it was tried.
    pub fn tried(&self) -> Option<(Seq, u32)> {
        self.tried
    }

    /// The instance has finished with the log up to a cursor: tries of packets up to there count no more.
    pub fn finished_up_to(&mut self, cursor: Seq) {
        if self.tried.is_some_and(|(seq, _)| seq <= cursor) {
            self.tried = None;
        }
    }

    /// Forgets the actors' failures, for an instance that is reinstated.
    pub fn forget_actors(&mut self) {
        self.actors.clear();
    }
}

/// The dead letter of a packet that an instance gives up at `at`, after so many tries and this last error.
/// `None` for a packet that is not stored: no redrive could read it again.
///
/// `source` is the durability of the packet's source as the graph has it; `None` for a source that no graph
/// declares, such as ticks. A packet of the meeting's own lifecycle is always stored.
pub fn dead_letter(
    instance: &Name,
    packet: &DataPacket,
    source: Option<Durability>,
    tries: u32,
    error: &str,
    at: Timestamp,
) -> Option<DeadLetter> {
    let is_stored = packet.source == Lifecycle::SOURCE || source == Some(Durability::Durable);
    is_stored.then(|| DeadLetter::new(instance.clone(), packet, tries, error, at))
}

#[cfg(test)]
mod tests;
