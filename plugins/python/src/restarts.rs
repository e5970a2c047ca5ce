//! When a process that has ended is started anew.

use std::{collections::VecDeque, time::Duration};

/// How long an end counts.
const WITHIN: Duration = Duration::from_secs(30);
/// The delay after the first end that counts; each further one doubles it.
const FIRST: Duration = Duration::from_millis(50);
/// The longest delay.
const MOST: Duration = Duration::from_secs(5);
/// After so many failed starts in a row, hooks fail at once instead of waiting for the next one: few if the plugin was
/// refused, as it will be again, and more if the process ended, which may have been killed.
const REFUSED: u32 = 3;
const ENDED: u32 = 10;

/// The ends of a process and its successors. `now` is the time since a moment that the caller never changes.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    ends: VecDeque<Duration>,
    failed_starts: u32,
}

impl Restarts {
    /// A process has started.
    pub(crate) fn started(&mut self) {
        self.failed_starts = 0;
    }

    /// A process did not start: its plugin was refused, or it ended. Returns whether hooks are to fail until one does.
    pub(crate) fn start_failed(&mut self, was_refused: bool) -> bool {
        self.failed_starts = self.failed_starts.saturating_add(1);
        self.failed_starts >= if was_refused { REFUSED } else { ENDED }
    }

    /// Whether a first process is not worth another try.
    pub(crate) fn gives_up(&self, was_refused: bool) -> bool {
        was_refused || self.failed_starts >= REFUSED
    }

    /// A process has ended, or has not started. Returns the delay before the next start.
    pub(crate) fn ended(&mut self, now: Duration) -> Duration {
        while self.ends.front().is_some_and(|at| now.saturating_sub(*at) > WITHIN) {
            self.ends.pop_front();
        }
        self.ends.push_back(now);
        let doublings = u32::try_from(self.ends.len() - 1).unwrap_or(u32::MAX);
        FIRST
            .checked_mul(2_u32.checked_pow(doublings).unwrap_or(u32::MAX))
            .map_or(MOST, |delay| delay.min(MOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_doubles_the_delay_until_they_are_long_ago() {
        let mut restarts = Restarts::default();
        let at = Duration::from_secs;
        let delays: Vec<u128> = (0..10).map(|_| restarts.ended(at(1)).as_millis()).collect();
        assert_eq!(delays, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        assert_eq!(restarts.ended(at(40)), FIRST, "earlier ends count no more");
        let mut many = Restarts::default();
        assert_eq!((0..100).map(|_| many.ended(at(0))).last(), Some(MOST));
    }

    #[test]
    fn hooks_fail_once_starts_fail_again_and_again() {
        let mut restarts = Restarts::default();
        assert_eq!([(); 4].map(|()| restarts.start_failed(true)), [false, false, true, true]);
        restarts.started();
        assert!(!restarts.start_failed(true) && restarts.gives_up(true) && !restarts.gives_up(false));
        restarts.started();
        assert_eq!((0..12).filter(|_| restarts.start_failed(false)).count(), 3);
        assert!(restarts.gives_up(false));
    }
}
