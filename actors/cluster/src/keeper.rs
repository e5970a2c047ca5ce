//! When a node renews its lease, and until when it may own meetings: the rule, without a clock and without a store.

use tokio::time::{Duration, Instant};

/// How long a lease lasts, and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long a lease lasts after each renewal, by the store's clock.
    pub ttl: Duration,
    /// From one renewal to the next.
    pub interval: Duration,
    /// How long before the end of its lease a node lets go of everything: to stop what runs, and for clocks that run at different
    /// speeds.
    pub margin: Duration,
}

impl Timing {
    /// Renewals as often as a sixth of the lease, and a sixth of it to let go.
    pub fn of(ttl: Duration) -> Self {
        Self { ttl, interval: ttl / 6, margin: ttl / 6 }
    }
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing, until then.
    WaitUntil(Instant),
    /// Renew the lease.
    Renew,
    /// Let go of everything: the lease has ended, or is about to.
    LetGo,
}

/// The state of a node's own lease, as far as it knows.
///
/// The store counts a lease from when a renewal **arrives**, and the node from when it was **sent**, which is earlier. So the
/// node lets go before the store lets others in, whatever the two clocks show, as long as they run equally fast but for
/// [`Timing::margin`].
#[derive(Debug)]
pub(crate) struct Keeper {
    timing: Timing,
    /// Until when this node may own meetings.
    until: Instant,
    /// When the next renewal is due.
    due: Instant,
    has_ended: bool,
}

impl Keeper {
    /// A lease that the store has granted to a request of this time.
    pub(crate) fn granted(timing: Timing, asked: Instant) -> Self {
        let until = asked + timing.ttl.saturating_sub(timing.margin);
        Self { timing, until, due: asked + timing.interval, has_ended: false }
    }

    pub(crate) fn step(&self, now: Instant) -> Step {
        if self.has_ended || now >= self.until {
            Step::LetGo
        } else if now >= self.due {
            Step::Renew
        } else {
            Step::WaitUntil(self.due.min(self.until))
        }
    }

    /// Until when an answer to a renewal is of use.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    /// The store has renewed the lease by a request of this time. One that was overtaken by the end of the lease does not bring it
    /// back.
    pub(crate) fn renewed(&mut self, asked: Instant, now: Instant) {
        if self.step(now) != Step::LetGo {
            self.until = self.until.max(asked + self.timing.ttl.saturating_sub(self.timing.margin));
            self.due = asked + self.timing.interval;
        }
    }

    /// The store did not answer: it is asked again, soon.
    pub(crate) fn unanswered(&mut self, now: Instant) {
        self.due = now + self.timing.interval / 4;
    }

    /// The store says that the lease has ended.
    pub(crate) fn refused(&mut self) {
        self.has_ended = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn keeper() -> (Keeper, Instant) {
        let began = Instant::now();
        (Keeper::granted(Timing::of(6 * SECOND), began), began)
    }

    #[test]
    fn a_lease_is_renewed_each_interval_and_counted_from_when_it_was_asked_for() {
        let (mut keeper, began) = keeper();
        assert_eq!(keeper.step(began), Step::WaitUntil(began + SECOND));
        assert_eq!(keeper.step(began + SECOND), Step::Renew);
        // The answer takes 3 s, which count.
        keeper.renewed(began + SECOND, began + 4 * SECOND);
        assert_eq!(keeper.until(), began + 6 * SECOND);
        assert_eq!(keeper.step(began + 4 * SECOND), Step::Renew, "the next one is due");
    }

    #[test]
    fn without_an_answer_it_lets_go_before_the_lease_ends() {
        let (mut keeper, began) = keeper();
        let mut now = began;
        let mut tries = 0;
        loop {
            match keeper.step(now) {
                Step::WaitUntil(at) => now = at,
                Step::Renew => {
                    tries += 1;
                    keeper.unanswered(now);
                }
                Step::LetGo => break,
            }
        }
        assert_eq!(now, began + 5 * SECOND);
        assert!((15..=18).contains(&tries), "{tries}");
    }

    #[test]
    fn what_has_ended_does_not_come_back() {
        let (mut keeper, began) = keeper();
        keeper.renewed(began + 4 * SECOND, began + 5 * SECOND);
        assert_eq!(keeper.step(began + 5 * SECOND), Step::LetGo, "the answer came too late");
        let (mut keeper, began) = self::keeper();
        keeper.refused();
        keeper.renewed(began + SECOND, began + SECOND);
        assert_eq!(keeper.step(began + SECOND), Step::LetGo);
    }

    #[test]
    fn an_answer_that_was_overtaken_shortens_nothing() {
        let (mut keeper, began) = keeper();
        keeper.renewed(began + 2 * SECOND, began + 2 * SECOND);
        keeper.renewed(began + SECOND, began + 3 * SECOND);
        assert_eq!(keeper.until(), began + 7 * SECOND);
    }
}
