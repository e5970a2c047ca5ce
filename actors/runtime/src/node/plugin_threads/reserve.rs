//! How many of a node's threads for plugins don't run.

use std::time::Duration;

/// How many threads are in reserve. More run at once as soon as none was free, twice as many each time; one fewer runs
/// when one was free all the time for a while. If it is then missed at once, the next is left for twice as long.
#[derive(Debug)]
pub(super) struct Reserve {
    most: usize,
    kept: usize,
    /// How many are added next.
    adds: usize,
    /// For how long a thread must have been free before one is withdrawn.
    patience: Duration,
    /// Since when a thread has been free.
    free_since: Duration,
    /// When one was last withdrawn.
    withdrawn: Option<Duration>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Stay,
    /// Fewer are in reserve.
    Add,
    /// One more is.
    Withdraw,
}

const SHORTEST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_mins(2);

impl Reserve {
    /// All of `most` threads in reserve.
    pub(super) fn new(most: usize) -> Self {
        Self { most, kept: most, adds: 1, patience: SHORTEST, free_since: Duration::ZERO, withdrawn: None }
    }

    /// How many threads are in reserve.
    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    /// `is_free`: whether a thread was free at `now`, which is since any moment.
    pub(super) fn step(&mut self, is_free: bool, now: Duration) -> Step {
        if !is_free {
            self.free_since = now;
            if let Some(withdrawn) = self.withdrawn.take()
                && now.saturating_sub(withdrawn) < self.patience
            {
                self.patience = (self.patience * 2).min(LONGEST);
            }
            if self.kept == 0 {
                return Step::Stay;
            }
            self.kept = self.kept.saturating_sub(self.adds);
            self.adds *= 2;
            return Step::Add;
        }
        self.adds = 1;
        if self.kept < self.most && now.saturating_sub(self.free_since) >= self.patience {
            self.kept += 1;
            (self.free_since, self.withdrawn) = (now, Some(now));
            return Step::Withdraw;
        }
        if self.kept == self.most && now.saturating_sub(self.free_since) >= self.patience {
            self.patience = SHORTEST;
        }
        Step::Stay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn more_run_while_none_is_free_twice_as_many_each_time() {
        let mut reserve = Reserve::new(9);
        let kept: Vec<_> = (0..5).map(|second| (reserve.step(false, at(second)), reserve.kept())).collect();
        assert_eq!(kept, [(Step::Add, 8), (Step::Add, 6), (Step::Add, 2), (Step::Add, 0), (Step::Stay, 0)]);
    }

    #[test]
    fn they_are_withdrawn_one_by_one_when_one_was_always_free() {
        let mut reserve = Reserve::new(2);
        assert_eq!(reserve.step(false, at(0)), Step::Add);
        assert_eq!(reserve.step(false, at(1)), Step::Add);
        assert_eq!(reserve.step(true, at(2)), Step::Stay, "not for long yet");
        assert_eq!(reserve.step(true, at(3)), Step::Withdraw);
        assert_eq!(reserve.step(true, at(4)), Step::Stay);
        assert_eq!(reserve.step(true, at(5)), Step::Withdraw);
        assert_eq!((reserve.step(true, at(90)), reserve.kept()), (Step::Stay, 2));
    }

    #[test]
    fn one_that_was_missed_at_once_is_left_for_longer() {
        let mut reserve = Reserve::new(1);
        let mut withdrawn = Vec::new();
        // A hook holds all that run for ten minutes, but for the one that the reserve adds.
        for second in 0..600 {
            let step = reserve.step(reserve.kept() == 0, at(second));
            withdrawn.extend((step == Step::Withdraw).then_some(second));
        }
        assert_eq!(withdrawn, [2, 7, 16, 33, 66, 131, 252, 373, 494]);
    }
}
