//! Leaves a model alone that fails again and again, so that requests go to another one at once.

use std::time::Duration;

use tokio::time::Instant;

use super::problem::Class;

/// How many failures in a row open the breaker.
const FAILURES: u32 = 5;
/// How many failures a stall counts as: it takes the time of a whole hook, where others fail at once.
const STALL: u32 = 3;
/// How long an open breaker lets nothing through at first; it doubles with each failed probe.
const OPEN: Duration = Duration::from_secs(10);
const OPEN_MAX: Duration = Duration::from_mins(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Requests pass. So many failed in a row.
    Closed { failures: u32 },
    /// None passes until then.
    Open { until: Instant, lasts: Duration },
    /// One request tries whether the model is back.
    Probing { lasts: Duration },
}

/// Whether a request may go to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Yes. Say how it ended.
    Admitted,
    /// Not for this time.
    NotFor(Duration),
}

/// One model's breaker.
#[derive(Debug)]
pub(crate) struct Breaker(State);

impl Default for Breaker {
    fn default() -> Self {
        Self(State::Closed { failures: 0 })
    }
}

impl Breaker {
    /// Whether a request may pass now.
    pub(crate) fn admit(&mut self, now: Instant) -> Admission {
        match self.0 {
            State::Closed { .. } => Admission::Admitted,
            State::Open { until, lasts } if now >= until => {
                self.0 = State::Probing { lasts };
                Admission::Admitted
            }
            State::Open { until, .. } => Admission::NotFor(until - now),
            State::Probing { .. } => Admission::NotFor(Duration::from_secs(1)),
        }
    }

    /// How long no request may pass yet, for one that has not waited for its turn.
    pub(crate) fn closed_for(&self, now: Instant) -> Option<Duration> {
        match self.0 {
            State::Open { until, .. } if now < until => Some(until - now),
            _ => None,
        }
    }

    /// The model has answered.
    pub(crate) fn succeeded(&mut self) {
        self.0 = State::Closed { failures: 0 };
    }

    /// The model has failed. What is wrong with the request says nothing of the model.
    pub(crate) fn failed(&mut self, class: Class, now: Instant) {
        let weight = match class {
            Class::Busy | Class::Unavailable => 1,
            Class::Stalled => STALL,
            Class::Malformed
            | Class::Misconfigured
            | Class::Refused
            | Class::CutOff
            | Class::TooLate
            | Class::OverBudget => 0,
        };
        self.0 = match self.0 {
            State::Probing { lasts } if weight > 0 => {
                let lasts = (lasts * 2).min(OPEN_MAX);
                State::Open { until: now + lasts, lasts }
            }
            // The asker's time was over, and the model had not said a word.
            State::Probing { lasts } if class == Class::TooLate => State::Open { until: now, lasts },
            // It is there, whatever it says.
            State::Probing { .. } => State::Closed { failures: 0 },
            State::Closed { failures } if failures + weight >= FAILURES => {
                State::Open { until: now + OPEN, lasts: OPEN }
            }
            State::Closed { failures } => State::Closed { failures: failures + weight },
            state @ State::Open { .. } => state,
        };
    }

    /// A request was given up before it ended. If it was the probe, the next one is.
    pub(crate) fn cancelled(&mut self, now: Instant) {
        if let State::Probing { lasts } = self.0 {
            self.0 = State::Open { until: now, lasts };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_opens_probes_and_closes() {
        let (mut breaker, began) = (Breaker::default(), Instant::now());
        let after = |seconds: u64| began + Duration::from_secs(seconds);
        for _ in 1..FAILURES {
            breaker.failed(Class::Unavailable, began);
            assert_eq!(breaker.admit(began), Admission::Admitted);
        }
        breaker.failed(Class::Stalled, began);
        assert_eq!(breaker.admit(after(9)), Admission::NotFor(Duration::from_secs(1)));
        assert_eq!(breaker.admit(after(10)), Admission::Admitted, "the probe");
        assert!(matches!(breaker.admit(after(10)), Admission::NotFor(_)), "one at a time");
        breaker.failed(Class::Busy, after(11));
        assert_eq!(breaker.admit(after(12)), Admission::NotFor(Duration::from_secs(19)), "twice as long");
        assert_eq!(breaker.admit(after(31)), Admission::Admitted);
        breaker.cancelled(after(31));
        assert_eq!(
            breaker.admit(after(31)),
            Admission::Admitted,
            "a cancelled probe leaves room for another"
        );
        breaker.succeeded();
        for _ in 0..20 {
            assert_eq!(breaker.admit(after(40)), Admission::Admitted);
            breaker.failed(Class::Refused, after(40));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_stalls_are_enough() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        breaker.failed(Class::Stalled, now);
        assert_eq!(breaker.admit(now), Admission::Admitted);
        breaker.failed(Class::Refused, now);
        breaker.failed(Class::Stalled, now);
        assert_eq!(breaker.closed_for(now), Some(OPEN));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_count_in_a_row_and_a_probe_that_is_refused_has_reached_the_model() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..20 {
            breaker.failed(Class::Unavailable, now);
            breaker.failed(Class::Unavailable, now);
            breaker.succeeded();
        }
        assert_eq!(breaker.admit(now), Admission::Admitted);
        for _ in 0..FAILURES {
            breaker.failed(Class::Unavailable, now);
        }
        let later = now + OPEN;
        assert_eq!((breaker.closed_for(now), breaker.closed_for(later)), (Some(OPEN), None));
        assert_eq!(breaker.admit(later), Admission::Admitted);
        breaker.failed(Class::TooLate, later);
        assert_eq!(
            breaker.admit(later),
            Admission::Admitted,
            "another probe: this one said nothing of the model"
        );
        assert!(matches!(breaker.admit(later), Admission::NotFor(_)));
        breaker.failed(Class::Refused, later);
        assert_eq!(breaker.admit(later), Admission::Admitted);
    }
}
