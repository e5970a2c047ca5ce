use proptest::prelude::*;
use teammy_kernel::{MeetingId, Seq, store::Epoch};

use super::*;

fn commit(meeting: usize) -> Commit {
    Commit::new(MeetingId::new(meeting.to_string()).unwrap(), Epoch(1), 1, Seq(1))
}

/// A store that answers for a batch unless one of the meetings in it is bad, or it is away.
struct Play {
    schedule: Schedule<usize>,
    now: Instant,
    bad: Vec<usize>,
    refuses: bool,
    /// How many meetings were in each batch, and whether it was settled.
    batches: Vec<(usize, bool)>,
    settled: Vec<usize>,
}

impl Play {
    fn new(meetings: usize, bad: &[usize]) -> Self {
        let mut schedule = Schedule::default();
        for meeting in 0..meetings {
            schedule.add(commit(meeting), meeting);
        }
        let (bad, batches, settled) = (bad.to_vec(), vec![], vec![]);
        Self { schedule, now: Instant::now(), bad, refuses: false, batches, settled }
    }

    /// Sends one batch, if one is due.
    fn send(&mut self) -> bool {
        let Some(attempt) = self.schedule.next(self.now) else { return false };
        let meetings: Vec<usize> = attempt.tickets.iter().map(|(meeting, _)| *meeting).collect();
        let is_good = !meetings.iter().any(|meeting| self.bad.contains(meeting));
        self.batches.push((meetings.len(), is_good));
        if is_good {
            self.schedule.settled(&attempt);
            self.settled.extend(attempt.into_waiters());
        } else if !self.refuses {
            self.schedule.failed(attempt, self.now);
        } else if meetings.len() > 1 {
            self.schedule.refused(attempt);
        }
        true
    }

    /// Waits until a batch is due, and sends it; says for how long it waited.
    fn wait(&mut self) -> Duration {
        let due = self.schedule.due(self.now).unwrap();
        let waited = due.saturating_duration_since(self.now);
        self.now = self.now.max(due);
        assert!(self.send());
        waited
    }

    fn wait_until_settled(&mut self, count: usize, batches: usize) {
        for _ in 0..batches {
            if self.settled.len() >= count {
                return;
            }
            self.wait();
        }
        panic!("{} of {count} settled in {batches} batches: {:?}", self.settled.len(), self.batches);
    }
}

#[test]
fn what_waits_is_one_batch() {
    let mut play = Play::new(300, &[]);
    assert!(play.send() && play.send());
    assert!(!play.send());
    assert_eq!(play.schedule.due(play.now), None);
    assert_eq!(play.batches, [(256, true), (44, true)]);
    assert_eq!(play.settled, (0..300).collect::<Vec<_>>(), "first in, first out");
}

#[test]
fn a_store_that_is_away_is_asked_less_and_less_often_and_then_given_all_at_once() {
    let mut play = Play::new(2, &[0, 1]);
    play.send();
    assert!(!play.send());
    assert!(play.schedule.is_failing());
    // Whoever comes meanwhile waits with the others.
    play.schedule.add(commit(2), 2);
    assert!(!play.send());
    let waits: Vec<u128> = (0..2).map(|_| play.wait().as_millis()).collect();
    assert_eq!(waits, [50, 100]);
    assert_eq!(play.batches, [(2, false), (3, false), (3, false)]);
    let longest = (0..100).map(|_| play.wait()).max().unwrap();
    assert_eq!(longest, BACKOFF.max);
    play.bad.clear();
    play.wait_until_settled(3, 3);
    assert!(!play.schedule.is_failing());
}

#[test]
fn one_that_never_goes_through_stays_behind_alone() {
    let mut play = Play::new(100, &[57]);
    play.wait_until_settled(99, 40);
    assert!(!play.settled.contains(&57));
    // And then it is in nobody's way: what comes is settled at once.
    for meeting in 100..120 {
        play.schedule.add(commit(meeting), meeting);
        while play.send() {}
        assert_eq!(play.settled.last(), Some(&meeting));
    }
    play.bad.clear();
    play.wait_until_settled(120, 2);
}

#[test]
fn an_impossible_commit_is_found_without_a_wait() {
    let mut play = Play::new(100, &[0, 99]);
    play.refuses = true;
    while play.send() {}
    play.settled.sort_unstable();
    assert_eq!(play.settled, (1..99).collect::<Vec<_>>());
    assert!(play.batches.len() < 50, "{:?}", play.batches);
    assert_eq!(play.schedule.due(play.now), None, "the impossible ones were told so");
}

proptest! {
    /// Whatever goes wrong when: the good are settled, each once, in not many more batches than it takes to halve.
    #[test]
    fn the_good_are_settled(
        meetings in 1..400_usize,
        bad in prop::collection::btree_set(0..400_usize, 0..4),
        away in 0..20_usize,
    ) {
        let mut play = Play::new(meetings, &(0..meetings).collect::<Vec<_>>());
        for _ in 0..away {
            play.wait();
        }
        play.bad = bad.into_iter().filter(|bad| *bad < meetings).collect();
        let good = meetings - play.bad.len();
        play.wait_until_settled(good, 100);
        play.settled.sort_unstable();
        prop_assert_eq!(play.settled.clone(), (0..meetings).filter(|one| !play.bad.contains(one)).collect::<Vec<_>>());
    }
}
