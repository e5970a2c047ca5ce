//! The wall clock, read in this one place. Durations and timers are tokio's, so that tests can pause them.

use teammy_kernel::Timestamp;

pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
