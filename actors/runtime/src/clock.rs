//! The wall clock. Only this module reads it; durations and timers are tokio's, so that tests can pause them.

use std::time::Duration;

use teammy_kernel::Timestamp;

/// Longer than any process runs, and short enough to be added to an `Instant`.
pub(crate) const FOREVER: Duration = Duration::from_hours(24 * 365 * 30);

pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// How long it is until a time; nothing if that is over, and a millisecond more than less, so that it is over then.
pub(crate) fn until(at: Timestamp) -> Duration {
    let left = at.duration_since(now());
    Duration::try_from(left).map_or(Duration::ZERO, |left| (left + Duration::from_millis(1)).min(FOREVER))
}
