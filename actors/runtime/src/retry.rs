//! What to do about a hook that failed.

use std::time::Duration;

use crate::backoff::doubled;

/// How hooks are run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetryPolicy {
    /// How long a hook may take.
    pub(crate) deadline: Duration,
    /// How often a packet is tried.
    pub(crate) tries: u32,
    /// How long the second try waits; each one more doubles it.
    pub(crate) backoff: Duration,
    pub(crate) backoff_max: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    TryAgainAfter(Duration),
    GiveUp,
}

impl RetryPolicy {
    /// After try number `tries` (from 1).
    pub(crate) fn after(&self, tries: u32, is_reject: bool) -> Next {
        if is_reject || tries >= self.tries {
            Next::GiveUp
        } else {
            Next::TryAgainAfter(doubled(self.backoff, tries - 1, self.backoff_max))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_tried_again_and_a_reject_is_not() {
        let policy = RetryPolicy {
            deadline: Duration::from_secs(1),
            tries: 3,
            backoff: Duration::from_millis(10),
            backoff_max: Duration::from_millis(15),
        };
        assert_eq!(policy.after(1, false), Next::TryAgainAfter(Duration::from_millis(10)));
        assert_eq!(policy.after(2, false), Next::TryAgainAfter(Duration::from_millis(15)));
        assert_eq!(policy.after(3, false), Next::GiveUp);
        assert_eq!(policy.after(1, true), Next::GiveUp);
    }
}
