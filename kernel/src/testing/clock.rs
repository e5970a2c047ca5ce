//! The wall clock of a meeting under test.
//!
//! The clock follows tokio's, which a test can pause, and jumps forward to packets with a later timestamp. So
//! packets of a recording and packets without a timestamp stay in order.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// 2026-01-05 09:00 UTC, a Monday morning: the start of a meeting without `started_at`.
const START_SECOND: i64 = 1_767_603_600;

#[derive(Debug)]
pub(super) struct Clock {
    base: Timestamp,
    since: Instant,
}

impl Clock {
    pub(super) fn starting_at(at: Option<Timestamp>) -> Self {
        let default =
            || Timestamp::from_second(START_SECOND).expect("invariant: the constant is a time that exists");
        Self { base: at.unwrap_or_else(default), since: Instant::now() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    /// The time that it shows at an instant.
    pub(super) fn at(&self, instant: Instant) -> Timestamp {
        let elapsed = instant.saturating_duration_since(self.since);
        let elapsed = SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::MAX);
        self.base.checked_add(elapsed).unwrap_or(Timestamp::MAX)
    }

    /// The instant at which it shows a time; now, if that has passed.
    pub(super) fn when(&self, at: Timestamp) -> Instant {
        self.since + Duration::try_from(at.duration_since(self.base)).unwrap_or_default()
    }

    /// Moves the clock forward to a packet's timestamp, never back.
    pub(super) fn follow(&mut self, timestamp: Timestamp) {
        if timestamp > self.now() {
            self.base = timestamp;
            self.since = Instant::now();
        }
    }
}
