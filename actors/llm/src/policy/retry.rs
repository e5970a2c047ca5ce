//! Whether a failed request is tried again, and when, or another model is asked.

use std::time::Duration;

use super::problem::{Class, Problem};

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The same model, after this time.
    RetryAfter(Duration),
    /// The next model.
    Next,
    /// Nothing: no model may answer any more.
    Stop,
}

/// How failures are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RetryPolicy {
    /// The most tries of a request with one model, 1 or more.
    pub(crate) tries: u32,
}

/// The wait before the second try, without the server's word; it doubles each time.
const BACKOFF: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(8);

/// How many more tries there are after a server that said when to come back: it is not broken.
const MORE_WHEN_TOLD: u32 = 2;

/// The longest wait that a server is given while another model could answer.
const WAIT_BESIDE_NEXT: Duration = Duration::from_secs(2);

/// How much of a server's wait is added to it, so that not all come back at once.
const SPREAD: f64 = 0.1;

impl RetryPolicy {
    /// What to do after a failure. `tries` is how many tries the model had, `left` the time that the request has left,
    /// `has_next` whether there is another model to ask, and `jitter` a random number from 0 to 1.
    pub(crate) fn after(
        self,
        problem: &Problem,
        tries: u32,
        left: Option<Duration>,
        has_next: bool,
        jitter: f64,
    ) -> Step {
        if problem.has_given {
            return Step::Stop;
        }
        let wait = match problem.class {
            Class::TooLate => return Step::Stop,
            Class::Misconfigured | Class::Refused | Class::CutOff | Class::OverBudget => return Step::Next,
            Class::Busy if problem.retry_after.is_some() => {
                let told = problem.retry_after.unwrap_or_default();
                if tries >= self.tries + MORE_WHEN_TOLD || has_next && told > WAIT_BESIDE_NEXT {
                    return Step::Next;
                }
                told.saturating_add(told.min(BACKOFF_MAX).mul_f64(SPREAD * jitter))
            }
            // A server that stalls has had its time: a second try would take that of the next model. Where there is none, it
            // is asked once more, and no third time.
            Class::Stalled if has_next => return Step::Next,
            Class::Stalled if tries >= self.tries.min(2) => return Step::Next,
            _ if tries >= self.tries => return Step::Next,
            Class::Stalled => Duration::ZERO,
            _ => {
                let backoff = BACKOFF.saturating_mul(1 << (tries - 1).min(16)).min(BACKOFF_MAX);
                // From half of it to all of it.
                backoff.mul_f64(0.5 + 0.5 * jitter)
            }
        };
        match left {
            Some(left) if wait >= left => Step::Next,
            _ => Step::RetryAfter(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy { tries: 3 };
    const ALL: [Class; 9] = [
        Class::Busy,
        Class::Unavailable,
        Class::Stalled,
        Class::Malformed,
        Class::Misconfigured,
        Class::Refused,
        Class::CutOff,
        Class::TooLate,
        Class::OverBudget,
    ];

    fn told(seconds: u64) -> Problem {
        Problem { retry_after: Some(Duration::from_secs(seconds)), ..Problem::new(Class::Busy, "") }
    }

    #[test]
    fn a_server_that_says_when_to_come_back_is_left_alone_so_long() {
        let left = Some(Duration::from_secs(20));
        assert_eq!(POLICY.after(&told(5), 1, left, false, 0.0), Step::RetryAfter(Duration::from_secs(5)));
        assert_eq!(
            POLICY.after(&told(5), 4, left, false, 1.0),
            Step::RetryAfter(Duration::from_millis(5_500))
        );
        assert_eq!(POLICY.after(&told(5), 5, left, false, 0.0), Step::Next);
        assert_eq!(POLICY.after(&told(20), 1, left, false, 0.0), Step::Next, "the hook has no time for that");
        assert_eq!(POLICY.after(&told(3600), 1, None, false, 0.0), Step::RetryAfter(Duration::from_hours(1)));
        assert_eq!(POLICY.after(&told(2), 1, left, true, 0.0), Step::RetryAfter(Duration::from_secs(2)));
        assert_eq!(POLICY.after(&told(3), 1, left, true, 0.0), Step::Next, "another model can answer sooner");
    }

    #[test]
    fn each_class_has_its_rule() {
        let after = |class, tries| POLICY.after(&Problem::new(class, ""), tries, None, false, 1.0);
        assert_eq!(after(Class::Unavailable, 1), Step::RetryAfter(Duration::from_millis(500)));
        assert_eq!(after(Class::Unavailable, 2), Step::RetryAfter(Duration::from_secs(1)));
        assert_eq!(after(Class::Unavailable, 3), Step::Next);
        assert_eq!(after(Class::Stalled, 1), Step::RetryAfter(Duration::ZERO));
        assert_eq!(after(Class::Stalled, 2), Step::Next);
        let stalled = Problem::new(Class::Stalled, "");
        assert_eq!(
            POLICY.after(&stalled, 1, None, true, 1.0),
            Step::Next,
            "its time belongs to the next model"
        );
        for class in [Class::Misconfigured, Class::Refused, Class::CutOff] {
            assert_eq!(after(class, 1), Step::Next, "{class:?}");
        }
        assert_eq!(after(Class::TooLate, 1), Step::Stop);
        let given = Problem { has_given: true, ..Problem::new(Class::Unavailable, "") };
        assert_eq!(POLICY.after(&given, 1, None, false, 0.0), Step::Stop, "nothing is given twice");
    }

    proptest! {
        /// No request is tried for ever, and none waits longer than it has time.
        #[test]
        fn it_ends(
            class in prop::sample::select(ALL.to_vec()), told in prop::option::of(prop_oneof![0..100_u64, 0..u64::MAX]),
            left in prop::option::of(0..100_u64), tries in 1..10_u32, has_next: bool, jitter in 0.0..1.0_f64, most in 1..5_u32,
        ) {
            let problem = Problem { retry_after: told.map(Duration::from_secs), ..Problem::new(class, "") };
            let left = left.map(Duration::from_secs);
            let step = RetryPolicy { tries: most }.after(&problem, tries, left, has_next, jitter);
            if let Step::RetryAfter(wait) = step {
                prop_assert!(left.is_none_or(|left| wait < left));
                prop_assert!(tries < most + MORE_WHEN_TOLD);
                if class == Class::Busy && let Some(told) = problem.retry_after {
                    prop_assert!(wait >= told, "never sooner than the server says");
                }
            }
        }
    }
}
