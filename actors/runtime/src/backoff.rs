//! A wait that doubles with each try.

use std::time::Duration;

/// The wait after `times` doublings of `first`, at most `max`.
pub(crate) fn doubled(first: Duration, times: u32, max: Duration) -> Duration {
    first.checked_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).unwrap_or(max).min(max)
}
