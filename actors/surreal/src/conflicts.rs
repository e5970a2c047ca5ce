//! Retries of what lost a conflict with another transaction.

use teammy_kernel::backoff::Backoff;
use tokio::time::Duration;

/// How often a transaction that lost a conflict is retried. One of the transactions in a conflict commits, so
/// this is how many writers of one meeting may win in a row.
const RETRIES: u32 = 12;
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(100));

/// The retries of one operation.
#[derive(Default)]
pub(super) struct ConflictRetries {
    taken: u32,
}

impl ConflictRetries {
    pub(super) fn are_left(&self) -> bool {
        self.taken < RETRIES
    }

    /// Takes one retry, and sleeps before it.
    pub(super) async fn back_off(&mut self) {
        tokio::time::sleep(BACKOFF.delay(self.taken)).await;
        self.taken += 1;
    }
}
