//! Which request goes to a model next, where a model takes only so many at once, or so many requests or tokens a minute.
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
    requests: Option<Rate>,
    tokens: Option<Rate>,
    /// The meetings that wait, the next one first.
    turns: VecDeque<MeetingId>,
    waiting: HashMap<MeetingId, BTreeSet<Place>>,
    places: HashMap<Ticket, Waiting>,
    last: u64,
}

#[derive(Debug)]
struct Waiting {
    meeting: MeetingId,
    place: Place,
    /// The most tokens that it may take.
    tokens: u64,
}

/// So many a minute: a bucket that holds as many as ten seconds bring, and fills all the time.
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

    /// When so many may go. More than the bucket holds go when it is full.
    fn ready_at(&self, count: u64, now: Instant) -> Instant {
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(self.burst);
        let room = self.interval * (self.burst - count);
        self.full_at.map_or(now, |full_at| full_at.checked_sub(room).map_or(now, |at| at.max(now)))
    }

    fn take(&mut self, count: u64, now: Instant) {
        let from = self.full_at.map_or(now, |full_at| full_at.max(now));
        self.full_at = from.checked_add(self.time(count)).or(Some(from));
    }

    fn give_back(&mut self, count: u64) {
        let time = self.time(count);
        self.full_at = self.full_at.and_then(|full_at| full_at.checked_sub(time));
    }

    fn time(&self, count: u64) -> Duration {
        self.interval.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

/// What a model takes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Capacity {
    /// The most requests at once.
    pub(crate) at_once: Option<usize>,
    /// The most requests a minute.
    pub(crate) requests_per_minute: Option<u32>,
    /// The most tokens a minute.
    pub(crate) tokens_per_minute: Option<u32>,
}

impl Queue {
    /// The queue of a model that takes so much.
    pub(crate) fn new(capacity: Capacity) -> Self {
        Self {
            at_once: capacity.at_once.unwrap_or(usize::MAX),
            running: 0,
            requests: capacity.requests_per_minute.map(Rate::new),
            tokens: capacity.tokens_per_minute.map(Rate::new),
            turns: VecDeque::new(),
            waiting: HashMap::new(),
            places: HashMap::new(),
            last: 0,
        }
    }

    /// A request waits from now on; it takes `tokens` at most.
    pub(crate) fn push(
        &mut self,
        meeting: &MeetingId,
        priority: Priority,
        deadline: Option<Instant>,
        tokens: u64,
    ) -> Ticket {
        self.last += 1;
        let ticket = Ticket(self.last);
        let place = (Reverse(priority), deadline, ticket);
        let of_meeting = self.waiting.entry(meeting.clone()).or_default();
        if of_meeting.is_empty() {
            self.turns.push_back(meeting.clone());
        }
        of_meeting.insert(place);
        self.places.insert(ticket, Waiting { meeting: meeting.clone(), place, tokens });
        ticket
    }

    /// The next request, and its tokens.
    fn head(&self) -> Option<(Ticket, u64)> {
        let of_meeting = self.waiting.get(self.turns.front()?)?;
        let (.., ticket) = of_meeting.first()?;
        Some((*ticket, self.places.get(ticket)?.tokens))
    }

    /// When the rates let a request of so many tokens go.
    fn rates_ready_at(&self, tokens: u64, now: Instant) -> Instant {
        let requests = self.requests.as_ref().map(|rate| rate.ready_at(1, now));
        let tokens = self.tokens.as_ref().map(|rate| rate.ready_at(tokens, now));
        requests.into_iter().chain(tokens).fold(now, Instant::max)
    }

    /// The request that goes now, if one may. [`done`](Self::done) must follow when it has ended.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Ticket> {
        let (ticket, tokens) = self.head()?;
        if self.running >= self.at_once || self.rates_ready_at(tokens, now) > now {
            return None;
        }
        // The meeting goes to the end of the line, or leaves it with its last request.
        self.turns.rotate_left(1);
        self.cancel(ticket);
        if let Some(rate) = &mut self.requests {
            rate.take(1, now);
        }
        if let Some(rate) = &mut self.tokens {
            rate.take(tokens, now);
        }
        self.running += 1;
        Some(ticket)
    }

    /// A request does not wait any more. Returns whether it did.
    pub(crate) fn cancel(&mut self, ticket: Ticket) -> bool {
        let Some(Waiting { meeting, place, .. }) = self.places.remove(&ticket) else { return false };
        let of_meeting = self.waiting.get_mut(&meeting).expect("invariant: its meeting waits");
        of_meeting.remove(&place);
        if of_meeting.is_empty() {
            self.waiting.remove(&meeting);
            self.turns.retain(|turn| *turn != meeting);
        }
        true
    }

    /// A request has ended, and took so many tokens less than it might have.
    pub(crate) fn done(&mut self, unused: u64) {
        self.running -= 1;
        if let Some(rate) = &mut self.tokens {
            rate.give_back(unused);
        }
    }

    /// When time alone lets the next request go; none if nothing waits for that.
    pub(crate) fn ready_at(&self, now: Instant) -> Option<Instant> {
        let is_limited = self.requests.is_some() || self.tokens.is_some();
        let (_, tokens) = self.head().filter(|_| is_limited && self.running < self.at_once)?;
        Some(self.rates_ready_at(tokens, now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn meeting(name: &str) -> MeetingId {
        MeetingId::new(name).unwrap()
    }

    fn at_once(at_once: usize) -> Queue {
        Queue::new(Capacity { at_once: Some(at_once), ..Capacity::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn meetings_take_turns() {
        let now = Instant::now();
        let mut queue = at_once(1);
        let busy: Vec<Ticket> =
            (0..1000).map(|_| queue.push(&meeting("busy"), Priority::Normal, None, 0)).collect();
        let quiet: Vec<Ticket> = (0..20)
            .map(|index| queue.push(&meeting(&format!("quiet-{index}")), Priority::Normal, None, 0))
            .collect();
        let mut order = Vec::new();
        while let Some(ticket) = queue.next(now) {
            order.push(ticket);
            queue.done(0);
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
        let mut queue = at_once(1);
        let old = queue.push(&one, Priority::Normal, later(9), 0);
        let soon = queue.push(&one, Priority::Normal, later(5), 0);
        let low = queue.push(&one, Priority::Low, later(1), 0);
        let high = queue.push(&one, Priority::High, later(60), 0);
        let gone = queue.push(&one, Priority::High, later(2), 0);
        assert!(queue.cancel(gone) && !queue.cancel(gone));
        let order: Vec<_> = std::iter::from_fn(|| {
            let next = queue.next(now);
            assert_eq!(queue.next(now), None, "one at a time");
            if next.is_some() {
                queue.done(0);
            }
            next
        })
        .collect();
        assert_eq!(order, [high, soon, old, low]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_minute_brings_so_many_requests() {
        let (began, one) = (Instant::now(), meeting("m"));
        let mut queue = Queue::new(Capacity { requests_per_minute: Some(60), ..Capacity::default() });
        for _ in 0..100 {
            queue.push(&one, Priority::Normal, None, 0);
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

    #[tokio::test(start_paused = true)]
    async fn a_minute_brings_so_many_tokens_and_what_was_not_taken_comes_back() {
        let (now, one) = (Instant::now(), meeting("m"));
        // A thousand tokens a second, ten seconds' worth at once.
        let capacity = Capacity { tokens_per_minute: Some(60_000), ..Capacity::default() };
        let mut queue = Queue::new(capacity);
        for tokens in [9_000, 4_000, 50_000, 1] {
            queue.push(&one, Priority::Normal, None, tokens);
        }
        assert!(queue.next(now).is_some());
        assert_eq!((queue.next(now), queue.ready_at(now)), (None, Some(now + Duration::from_secs(3))));
        queue.done(8_000);
        assert!(queue.next(now).is_some(), "it took a thousand");
        let full = now + Duration::from_secs(5);
        assert_eq!(queue.ready_at(now), Some(full), "a large one goes when the bucket is full");
        assert!(queue.next(full).is_some());
        assert_eq!(
            queue.ready_at(full),
            Some(full + Duration::from_millis(40_001)),
            "and is paid off afterwards"
        );
        queue.done(u64::MAX);
        assert!(queue.next(full).is_some());
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
                let mut queue = self::at_once(at_once);
                let (mut waiting, mut running) = (BTreeSet::new(), 0);
                for (step, which, priority) in steps {
                    match step {
                        0 | 1 => {
                            let priority = [Priority::Low, Priority::Normal, Priority::High][usize::from(priority)];
                            waiting.insert(queue.push(&meeting(&which.to_string()), priority, None, 0));
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
                            queue.done(0);
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
                    queue.done(0);
                    running -= 1;
                }
                while let Some(ticket) = queue.next(now) {
                    assert!(waiting.remove(&ticket));
                    queue.done(0);
                }
                assert!(waiting.is_empty() && queue.waiting.is_empty() && queue.places.is_empty());
            });
        }
    }
}
