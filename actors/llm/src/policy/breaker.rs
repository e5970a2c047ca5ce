//! Leaves a model alone that fails again and again, so that requests go to another one at once.

use std::time::Duration;

use tokio::time::Instant;

use super::problem::{Class, Problem};

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

/// How long a server can make all requests wait: longer than hooks run by default.
const PAUSE_MAX: Duration = Duration::from_mins(2);

/// Whether a request may go to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Yes. Say how it ended.
    Admitted(Pass),
    /// Not for this time.
    NotFor(Duration),
}

/// What a request was admitted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// One of many.
    Regular,
    /// The one that tries whether the model is back.
    Probe,
}

/// One model's breaker.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
    /// The server has said that it takes no request before then.
    paused_until: Option<Instant>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed { failures: 0 }, paused_until: None }
    }
}

impl Breaker {
    /// Whether a request may pass now.
    pub(crate) fn admit(&mut self, now: Instant) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Admitted(Pass::Regular),
            State::Open { until, lasts } if now >= until => {
                self.state = State::Probing { lasts };
                Admission::Admitted(Pass::Probe)
            }
            State::Open { until, .. } => Admission::NotFor(until - now),
            State::Probing { .. } => Admission::NotFor(Duration::from_secs(1)),
        }
    }

    /// How long no request may pass yet, for one that has not waited for its turn.
    pub(crate) fn closed_for(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Open { until, .. } if now < until => Some(until - now),
            _ => None,
        }
    }

    /// How long the server still takes no request, by its own word.
    pub(crate) fn paused_for(&self, now: Instant) -> Option<Duration> {
        self.paused_until.map(|until| until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// The model has answered.
    pub(crate) fn succeeded(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    /// The model has failed. What is wrong with the request says nothing of the model, and a server that says when to
    /// come back is not broken.
    pub(crate) fn failed(&mut self, problem: &Problem, pass: Pass, now: Instant) {
        let weight = match problem.class {
            Class::Busy if let Some(told) = problem.retry_after => {
                let until = now + told.min(PAUSE_MAX);
                self.paused_until = self.paused_until.max(Some(until));
                0
            }
            Class::Busy | Class::Unavailable => 1,
            Class::Stalled => STALL,
            Class::Malformed
            | Class::Misconfigured
            | Class::Refused
            | Class::CutOff
            | Class::TooLate
            | Class::OverBudget => 0,
        };
        self.state = match self.state {
            // It was admitted before the breaker opened, so it says nothing of the model as it is now.
            state @ State::Probing { .. } if pass == Pass::Regular => state,
            State::Probing { lasts } if weight > 0 => {
                let lasts = (lasts * 2).min(OPEN_MAX);
                State::Open { until: now + lasts, lasts }
            }
            // The asker's time was over, and the model had not said a word.
            State::Probing { lasts } if problem.class == Class::TooLate => State::Open { until: now, lasts },
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
    pub(crate) fn cancelled(&mut self, pass: Pass, now: Instant) {
        if let (State::Probing { lasts }, Pass::Probe) = (self.state, pass) {
            self.state = State::Open { until: now, lasts };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMITTED: Admission = Admission::Admitted(Pass::Regular);
    const PROBE: Admission = Admission::Admitted(Pass::Probe);

    fn failed(breaker: &mut Breaker, class: Class, pass: Pass, now: Instant) {
        breaker.failed(&Problem::new(class, ""), pass, now);
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_probes_and_closes() {
        let (mut breaker, began) = (Breaker::default(), Instant::now());
        let after = |seconds: u64| began + Duration::from_secs(seconds);
        for _ in 1..FAILURES {
            failed(&mut breaker, Class::Unavailable, Pass::Regular, began);
            assert_eq!(breaker.admit(began), ADMITTED);
        }
        failed(&mut breaker, Class::Stalled, Pass::Regular, began);
        assert_eq!(breaker.admit(after(9)), Admission::NotFor(Duration::from_secs(1)));
        assert_eq!(breaker.admit(after(10)), PROBE);
        assert!(matches!(breaker.admit(after(10)), Admission::NotFor(_)), "one at a time");
        failed(&mut breaker, Class::Busy, Pass::Probe, after(11));
        assert_eq!(breaker.admit(after(12)), Admission::NotFor(Duration::from_secs(19)), "twice as long");
        assert_eq!(breaker.admit(after(31)), PROBE);
        breaker.cancelled(Pass::Probe, after(31));
        assert_eq!(breaker.admit(after(31)), PROBE, "a cancelled probe leaves room for another");
        breaker.succeeded();
        for _ in 0..20 {
            assert_eq!(breaker.admit(after(40)), ADMITTED);
            failed(&mut breaker, Class::Refused, Pass::Regular, after(40));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_stalls_are_enough() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        failed(&mut breaker, Class::Stalled, Pass::Regular, now);
        assert_eq!(breaker.admit(now), ADMITTED);
        failed(&mut breaker, Class::Refused, Pass::Regular, now);
        failed(&mut breaker, Class::Stalled, Pass::Regular, now);
        assert_eq!(breaker.closed_for(now), Some(OPEN));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_count_in_a_row_and_a_probe_that_is_refused_has_reached_the_model() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..20 {
            failed(&mut breaker, Class::Unavailable, Pass::Regular, now);
            failed(&mut breaker, Class::Unavailable, Pass::Regular, now);
            breaker.succeeded();
        }
        assert_eq!(breaker.admit(now), ADMITTED);
        for _ in 0..FAILURES {
            failed(&mut breaker, Class::Unavailable, Pass::Regular, now);
        }
        let later = now + OPEN;
        assert_eq!((breaker.closed_for(now), breaker.closed_for(later)), (Some(OPEN), None));
        assert_eq!(breaker.admit(later), PROBE);
        failed(&mut breaker, Class::TooLate, Pass::Probe, later);
        assert_eq!(breaker.admit(later), PROBE, "another probe: this one said nothing of the model");
        assert!(matches!(breaker.admit(later), Admission::NotFor(_)));
        failed(&mut breaker, Class::Refused, Pass::Probe, later);
        assert_eq!(breaker.admit(later), ADMITTED);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_admitted_before_it_opened_is_no_probe() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..FAILURES {
            failed(&mut breaker, Class::Unavailable, Pass::Regular, now);
        }
        let later = now + OPEN;
        assert_eq!(breaker.admit(later), PROBE);
        breaker.cancelled(Pass::Regular, later);
        for class in [Class::Refused, Class::Malformed, Class::Unavailable, Class::TooLate] {
            failed(&mut breaker, class, Pass::Regular, later);
            assert!(matches!(breaker.admit(later), Admission::NotFor(_)), "{class:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_when_to_come_back_is_not_broken() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for told in [2, 7, 3, 7, 7, 7, 7] {
            let retry_after = Some(Duration::from_secs(told));
            let problem = Problem { retry_after, ..Problem::new(Class::Busy, "") };
            breaker.failed(&problem, Pass::Regular, now);
        }
        assert_eq!((breaker.admit(now), breaker.paused_for(now)), (ADMITTED, Some(Duration::from_secs(7))));
        assert_eq!(breaker.paused_for(now + Duration::from_secs(7)), None);
        let forever = Problem { retry_after: Some(Duration::MAX), ..Problem::new(Class::Busy, "") };
        breaker.failed(&forever, Pass::Regular, now);
        assert_eq!(breaker.paused_for(now), Some(PAUSE_MAX));
    }
}
