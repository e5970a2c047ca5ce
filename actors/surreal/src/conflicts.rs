//! Retries of what lost a conflict with another transaction.

use tokio::time::Duration;

/// How often a transaction that lost a conflict is retried. One of the transactions in a conflict commits, so
/// this is how many writers of one meeting may win in a row.
const RETRIES: u32 = 12;
const FIRST_DELAY: Duration = Duration::from_millis(1);
const LONGEST_DELAY: Duration = Duration::from_millis(100);

/// The retries that are left of one operation, with exponential backoff.
pub(super) struct ConflictRetries {
    left: u32,
    delay: Duration,
}

impl Default for ConflictRetries {
    fn default() -> Self {
        Self { left: RETRIES, delay: FIRST_DELAY }
    }
}

impl ConflictRetries {
    pub(super) fn are_left(&self) -> bool {
        self.left > 0
    }

    /// Takes one retry, and sleeps before it.
    pub(super) async fn back_off(&mut self) {
        self.left -= 1;
        tokio::time::sleep(self.delay).await;
        self.delay = LONGEST_DELAY.min(self.delay * 2);
    }
}
