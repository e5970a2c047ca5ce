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
        let elapsed = SignedDuration::try_from(self.since.elapsed()).unwrap_or(SignedDuration::MAX);
        self.base.checked_add(elapsed).unwrap_or(Timestamp::MAX)
    }

    /// Moves the clock forward to a packet's timestamp, never back.
    pub(super) fn follow(&mut self, timestamp: Timestamp) {
        if timestamp > self.now() {
            self.base = timestamp;
            self.since = Instant::now();
        }
    }
}

/// When ticks are due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticks {
    period: Duration,
    next: Instant,
}

impl Ticks {
    pub(super) fn every(period: Duration) -> Self {
        Self { period, next: Instant::now() + period }
    }

    /// When the next tick is due, if that is not after `until`.
    pub(super) fn due(&self, until: Instant) -> Option<Instant> {
        (self.next <= until).then_some(self.next)
    }

    /// A tick has run. Of those that came due meanwhile only the last remains, because a tick that comes
    /// while another waits is left out.
    pub(super) fn given(&mut self) {
        self.next += self.period;
        let now = Instant::now();
        while self.next + self.period <= now {
            self.next += self.period;
        }
    }
}
