//! When to restart an actor that failed, and when to stop trying: intensity and backoff, as in OTP's
//! supervisors.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::backoff::doubled;

/// How often, and how soon, an actor is restarted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RestartPolicy {
    /// The most restarts within `within`.
    pub(crate) intensity: u32,
    pub(crate) within: Duration,
    /// How long the first restart waits; each one more doubles it.
    pub(crate) backoff: Duration,
    pub(crate) backoff_max: Duration,
}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    RestartAfter(Duration),
    Suspend,
}

/// An actor's failures in the time that still counts.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    failures: VecDeque<Instant>,
}

impl Restarts {
    pub(crate) fn failed(&mut self, now: Instant, policy: &RestartPolicy) -> Decision {
        while self.failures.front().is_some_and(|at| now.duration_since(*at) > policy.within) {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        let failures = u32::try_from(self.failures.len()).unwrap_or(u32::MAX);
        if failures > policy.intensity {
            return Decision::Suspend;
        }
        Decision::RestartAfter(doubled(policy.backoff, failures - 1, policy.backoff_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RestartPolicy = RestartPolicy {
        intensity: 2,
        within: Duration::from_secs(10),
        backoff: Duration::from_millis(100),
        backoff_max: Duration::from_millis(150),
    };

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_suspend_and_old_ones_are_forgotten() {
        let start = Instant::now();
        let mut restarts = Restarts::default();
        let after = |ms| Decision::RestartAfter(Duration::from_millis(ms));
        assert_eq!(restarts.failed(start, &POLICY), after(100));
        assert_eq!(restarts.failed(start, &POLICY), after(150));
        assert_eq!(restarts.failed(start + Duration::from_secs(11), &POLICY), after(100));
        assert_eq!(restarts.failed(start + Duration::from_secs(11), &POLICY), after(150));
        assert_eq!(restarts.failed(start + Duration::from_secs(12), &POLICY), Decision::Suspend);
    }

    #[test]
    fn doubling_never_overflows() {
        let max = Duration::from_secs(5);
        assert_eq!(doubled(Duration::from_millis(1), 3, max), Duration::from_millis(8));
        assert_eq!(doubled(Duration::from_secs(1), 400, max), max);
    }
}
