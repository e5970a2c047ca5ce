//! When to try again: rules without a clock of their own.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::Error;

/// How long to wait between tries, and when to stop trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    /// The wait after the first failure. It doubles with each one that follows.
    pub(crate) first: Duration,
    /// The longest wait, but for what the node asks for.
    pub(crate) longest: Duration,
    /// How long there may be no progress; `None` means for ever.
    pub(crate) give_up_after: Option<Duration>,
    /// How many addresses there are.
    pub(crate) addresses: usize,
}

impl Default for Policy {
    fn default() -> Self {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(10));
        Self { first, longest, give_up_after: None, addresses: 1 }
    }
}

/// The tries since the last progress.
#[derive(Debug)]
pub(crate) struct Tries {
    policy: Policy,
    since: Instant,
    failures: u32,
    /// How many addresses have failed since the last wait.
    left: usize,
}

impl Tries {
    pub(crate) fn new(policy: Policy, now: Instant) -> Self {
        Self { policy, since: now, failures: 0, left: 0 }
    }

    /// Something succeeded: the next failure is the first one again.
    pub(crate) fn progress(&mut self, now: Instant) {
        self.since = now;
        (self.failures, self.left) = (0, 0);
    }

    /// As [`failed`](Self::failed). If the failure is the node's own, each other address is tried once before anybody waits, or
    /// gives up.
    pub(crate) fn after(&mut self, error: &Error, now: Instant, chance: f64) -> Option<Duration> {
        if error.is_of_node() && self.left + 1 < self.policy.addresses {
            self.left += 1;
            return Some(Duration::ZERO);
        }
        self.left = 0;
        self.failed(now, error.retry_after(), chance)
    }

    /// How long to wait after a failure, or `None` if it is time to give up. `chance`, from 0 to 1, spreads clients that failed
    /// together: half of the wait is left to it. What the node asks for comes before that, as the least wait.
    pub(crate) fn failed(
        &mut self,
        now: Instant,
        retry_after: Option<Duration>,
        chance: f64,
    ) -> Option<Duration> {
        let Policy { first, longest, give_up_after, .. } = self.policy;
        let doubled = first.saturating_mul(1 << self.failures.min(30)).min(longest);
        self.failures = self.failures.saturating_add(1);
        let spread = doubled / 2 + (doubled / 2).mul_f64(chance.clamp(0.0, 1.0));
        let wait = retry_after.unwrap_or_default().saturating_add(spread);
        // A try that would begin too late is none.
        let is_late = give_up_after.is_some_and(|limit| now.duration_since(self.since) + wait > limit);
        (!is_late).then_some(wait)
    }

    /// When to give up; `None` means never.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.policy.give_up_after.and_then(|limit| self.since.checked_add(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn policy(give_up_after: Option<Duration>) -> Policy {
        Policy { first: ms(100), longest: ms(1000), give_up_after, addresses: 1 }
    }

    #[test]
    fn each_address_is_tried_before_anybody_waits_or_gives_up() {
        let start = Instant::now();
        let mut tries = Tries::new(Policy { addresses: 3, ..policy(Some(ms(1000))) }, start);
        let away = Error::Unreachable("away".into());
        let mut waits = |now, error: &Error| {
            (0..3).map(|_| tries.after(error, now, 1.0).map(|wait| wait.as_millis())).collect::<Vec<_>>()
        };
        assert_eq!(waits(start, &away), [Some(0), Some(0), Some(100)]);
        assert_eq!(waits(start, &away), [Some(0), Some(0), Some(200)]);
        // Another node would be as busy.
        let busy = Error::of_answer(429, b"", None);
        assert_eq!(waits(start, &busy), [Some(400), Some(800), Some(1000)]);
        assert_eq!(waits(start + ms(5000), &away), [Some(0), Some(0), None]);
    }

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew_after_progress() {
        let now = Instant::now();
        let mut tries = Tries::new(policy(None), now);
        let waits: Vec<_> = (0..6).map(|_| tries.failed(now, None, 1.0).unwrap()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000].map(ms));
        for _ in 0..100 {
            assert_eq!(tries.failed(now, None, 0.0), Some(ms(500)));
        }
        tries.progress(now);
        assert_eq!(tries.failed(now, None, 0.5), Some(ms(75)));
        // The node's wish is the least wait, and may be beyond the bound.
        assert_eq!(tries.failed(now, Some(ms(7000)), 0.0), Some(ms(7100)));
    }

    #[test]
    fn it_gives_up_once_the_next_try_would_be_too_late() {
        let start = Instant::now();
        let mut tries = Tries::new(policy(Some(ms(1000))), start);
        assert_eq!(tries.deadline(), Some(start + ms(1000)));
        assert!(tries.failed(start + ms(500), None, 1.0).is_some());
        assert_eq!(tries.failed(start + ms(900), None, 1.0), None);
        tries.progress(start + ms(950));
        assert!(tries.failed(start + ms(1800), None, 1.0).is_some());
        assert_eq!(tries.failed(start + ms(1850), Some(ms(500)), 1.0), None);
    }
}
