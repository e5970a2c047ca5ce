//! Which request goes to a model next, where a model takes only so many at once, or so many a minute.
//!
//! Meetings take turns, so that one with a thousand requests does not hold up one with a single one. Within a meeting a
//! higher priority goes first, then the sooner deadline, then the older request.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use teammy_kernel::{MeetingId, Priority};
use tokio::time::Instant;

/// A request in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(u64);

type Place = (Reverse<Priority>, Option<Instant>, Ticket);

/// One model's queue.
#[derive(Debug)]
pub(crate) struct Queue {
    /// The most requests at once.
    at_once: usize,
    running: usize,
    rate: Option<Rate>,
    /// The meetings that wait, the next one first.
    turns: VecDeque<MeetingId>,
    waiting: HashMap<MeetingId, BTreeSet<Place>>,
    places: HashMap<Ticket, (MeetingId, Place)>,
    last: u64,
}

/// Requests a minute: a bucket that holds as many as ten seconds bring, and fills all the time.
#[derive(Debug)]
struct Rate {
    interval: Duration,
    burst: u32,
    /// When the bucket is full again.
    full_at: Option<Instant>,
}

impl Rate {
    fn new(per_minute: u32) -> Self {
        let burst = (per_minute / 6).max(1);
        Self { interval: Duration::from_mins(1) / per_minute.max(1), burst, full_at: None }
    }

    /// When the next request may go.
    fn ready_at(&self, now: Instant) -> Instant {
        let room = self.interval * (self.burst - 1);
        self.full_at.map_or(now, |full_at| full_at.checked_sub(room).map_or(now, |at| at.max(now)))
    }

    fn take(&mut self, now: Instant) {
        self.full_at = Some(self.full_at.map_or(now, |full_at| full_at.max(now)) + self.interval);
    }
}

impl Queue {
    /// A queue of a model that takes this many requests at once and a minute.
    pub(crate) fn new(at_once: Option<usize>, per_minute: Option<u32>) -> Self {
        Self {
            at_once: at_once.unwrap_or(usize::MAX),
            running: 0,
            rate: per_minute.map(Rate::new),
            turns: VecDeque::new(),
            waiting: HashMap::new(),
            places: HashMap::new(),
            last: 0,
        }
    }

    /// A request waits from now on.
    pub(crate) fn push(
        &mut self,
        meeting: &MeetingId,
        priority: Priority,
        deadline: Option<Instant>,
    ) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        let place = (Reverse(priority), deadline, ticket);
        let of_meeting = self.waiting.entry(meeting.clone()).or_default();
        if of_meeting.is_empty() {
            self.turns.push_back(meeting.clone());
        }
        of_meeting.insert(place);
        self.places.insert(ticket, (meeting.clone(), place));
        ticket
    }

    /// The request that goes now, if one may. [`done`](Self::done) must follow when it has ended.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Ticket> {
        if self.running >= self.at_once || self.rate.as_ref().is_some_and(|rate| rate.ready_at(now) > now) {
            return None;
        }
        let meeting = self.turns.pop_front()?;
        let of_meeting = self.waiting.get_mut(&meeting).expect("invariant: a meeting with a turn waits");
        let (.., ticket) = of_meeting.pop_first().expect("invariant: a meeting with a turn waits");
        if of_meeting.is_empty() {
            self.waiting.remove(&meeting);
        } else {
            self.turns.push_back(meeting);
        }
        self.places.remove(&ticket);
        if let Some(rate) = &mut self.rate {
            rate.take(now);
        }
        self.running += 1;
        Some(ticket)
    }

    /// A request does not wait any more. Returns whether it did.
    pub(crate) fn cancel(&mut self, ticket: Ticket) -> bool {
        let Some((meeting, place)) = self.places.remove(&ticket) else { return false };
        let of_meeting = self.waiting.get_mut(&meeting).expect("invariant: its meeting waits");
        of_meeting.remove(&place);
        if of_meeting.is_empty() {
            self.waiting.remove(&meeting);
            self.turns.retain(|turn| *turn != meeting);
        }
        true
    }

    /// A request has ended.
    pub(crate) fn done(&mut self) {
        self.running -= 1;
    }

    /// When time alone lets the next request go; none if nothing waits for that.
    pub(crate) fn ready_at(&self, now: Instant) -> Option<Instant> {
        let rate = self.rate.as_ref().filter(|_| !self.turns.is_empty() && self.running < self.at_once)?;
        Some(rate.ready_at(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn meeting(name: &str) -> MeetingId {
        MeetingId::new(name).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn meetings_take_turns() {
        let now = Instant::now();
        let mut queue = Queue::new(Some(1), None);
        let busy: Vec<Ticket> =
            (0..1000).map(|_| queue.push(&meeting("busy"), Priority::Normal, None)).collect();
        let quiet: Vec<Ticket> = (0..20)
            .map(|index| queue.push(&meeting(&format!("quiet-{index}")), Priority::Normal, None))
            .collect();
        let mut order = Vec::new();
        while let Some(ticket) = queue.next(now) {
            order.push(ticket);
            queue.done();
        }
        assert_eq!(order.len(), 1020);
        for (index, ticket) in quiet.iter().enumerate() {
            let at = order.iter().position(|other| other == ticket).unwrap();
            assert_eq!(at, index + 1, "each waits for one call of the busy meeting, and for those before it");
        }
        assert_eq!((order[0], order[21]), (busy[0], busy[1]));
    }

    #[tokio::test(start_paused = true)]
    async fn priority_then_deadline_then_age() {
        let (now, one) = (Instant::now(), meeting("m"));
        let later = |seconds| Some(now + Duration::from_secs(seconds));
        let mut queue = Queue::new(Some(1), None);
        let old = queue.push(&one, Priority::Normal, later(9));
        let soon = queue.push(&one, Priority::Normal, later(5));
        let low = queue.push(&one, Priority::Low, later(1));
        let high = queue.push(&one, Priority::High, later(60));
        let gone = queue.push(&one, Priority::High, later(2));
        assert!(queue.cancel(gone) && !queue.cancel(gone));
        let order: Vec<_> = std::iter::from_fn(|| {
            let next = queue.next(now);
            assert_eq!(queue.next(now), None, "one at a time");
            if next.is_some() {
                queue.done();
            }
            next
        })
        .collect();
        assert_eq!(order, [high, soon, old, low]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_brings_so_many_requests() {
        let (began, one) = (Instant::now(), meeting("m"));
        let mut queue = Queue::new(None, Some(60));
        for _ in 0..100 {
            queue.push(&one, Priority::Normal, None);
        }
        let mut now = began;
        let mut times = Vec::new();
        while times.len() < 70 {
            if queue.next(now).is_some() {
                times.push(now - began);
            } else {
                now = queue.ready_at(now).unwrap();
            }
        }
        assert_eq!(times.iter().filter(|at| at.is_zero()).count(), 10, "ten seconds' worth at once");
        assert_eq!(times[69], Duration::from_mins(1));
    }

    proptest! {
        /// Whatever comes, is cancelled and ends: each request goes once or was cancelled, and never too many at once.
        #[test]
        fn none_is_lost_and_none_goes_twice(
            steps in prop::collection::vec((0..4_u8, 0..5_u8, 0..3_u8), 0..200), at_once in 1..4_usize,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().start_paused(true).enable_time().build().unwrap();
            runtime.block_on(async {
                let now = Instant::now();
                let mut queue = Queue::new(Some(at_once), None);
                let (mut waiting, mut running) = (BTreeSet::new(), 0);
                for (step, which, priority) in steps {
                    match step {
                        0 | 1 => {
                            let priority = [Priority::Low, Priority::Normal, Priority::High][usize::from(priority)];
                            waiting.insert(queue.push(&meeting(&which.to_string()), priority, None));
                        }
                        2 => match queue.next(now) {
                            Some(ticket) => {
                                assert!(waiting.remove(&ticket));
                                running += 1;
                                assert!(running <= at_once);
                            }
                            None => assert!(waiting.is_empty() || running == at_once),
                        },
                        _ if which < 2 && running > 0 => {
                            queue.done();
                            running -= 1;
                        }
                        _ => {
                            if let Some(ticket) = waiting.pop_first() {
                                assert!(queue.cancel(ticket));
                            }
                        }
                    }
                }
                while running > 0 {
                    queue.done();
                    running -= 1;
                }
                while let Some(ticket) = queue.next(now) {
                    assert!(waiting.remove(&ticket));
                    queue.done();
                }
                assert!(waiting.is_empty() && queue.waiting.is_empty() && queue.places.is_empty());
            });
        }
    }
}
