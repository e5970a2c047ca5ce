//! The wall clock, read in this one place. Durations and timers are tokio's, so that tests can pause them.

use std::time::Duration;

use teammy_kernel::Timestamp;

/// Longer than anything here lives, and still fit to be added to an instant.
pub(crate) const FOREVER: Duration = Duration::from_hours(24 * 365 * 30);

pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
