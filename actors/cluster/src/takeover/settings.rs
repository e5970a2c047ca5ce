//! How fast meetings are taken over, and how long a failure is left alone.

use tokio::time::Duration;

/// How fast meetings are taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How much later than the one before it in the ranking a node tries; also the longest time between two lists.
    pub step: Duration,
    /// The most takeovers at once, at least 1.
    pub at_once: usize,
    /// How many meetings a first list has. A longer one is read by larger lists.
    pub page: usize,
    /// The wait after a first failure; it doubles each time. Also the shortest time between two lists.
    pub backoff: Duration,
    /// The longest wait after a failure.
    pub longest_backoff: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            step: Duration::from_secs(5),
            at_once: 8,
            page: 512,
            backoff: Duration::from_secs(1),
            longest_backoff: Duration::from_mins(1),
        }
    }
}

impl Settings {
    pub(super) fn backoff(&self, failures: u32) -> Duration {
        let factor = 1 << failures.saturating_sub(1).min(16);
        self.backoff.saturating_mul(factor).min(self.longest_backoff)
    }
}
