use proptest::prelude::*;
use teammy_kernel::{MeetingId, Seq, store::Epoch};

use super::*;

fn commit(meeting: usize) -> Commit {
    Commit::new(MeetingId::new(meeting.to_string()).unwrap(), Epoch(1), 1, Seq(1))
}

/// A schedule with a simulated store. A batch with a commit of a bad meeting fails; if the store rejects such
/// batches, it does so permanently.
struct Simulation {
    schedule: Schedule<usize>,
    now: Instant,
    bad: Vec<usize>,
    rejects: bool,
    /// The size of each batch, and whether it was settled.
    batches: Vec<(usize, bool)>,
    settled: Vec<usize>,
}

impl Simulation {
    fn new(meetings: usize, bad: &[usize]) -> Self {
        let mut schedule = Schedule::default();
        for meeting in 0..meetings {
            schedule.add(commit(meeting), meeting);
        }
        let (bad, batches, settled) = (bad.to_vec(), vec![], vec![]);
        Self { schedule, now: Instant::now(), bad, rejects: false, batches, settled }
    }

    /// Sends one batch if one is due. Returns whether it did.
    fn send(&mut self) -> bool {
        let Some(attempt) = self.schedule.next(self.now) else { return false };
        let meetings: Vec<usize> = attempt.tickets.iter().map(|(meeting, _)| *meeting).collect();
        let is_good = !meetings.iter().any(|meeting| self.bad.contains(meeting));
        self.batches.push((meetings.len(), is_good));
        if is_good {
            self.schedule.settled(&attempt);
            self.settled.extend(attempt.into_waiters());
        } else if !self.rejects {
            self.schedule.failed(attempt, self.now);
        } else if meetings.len() > 1 {
            self.schedule.refused(attempt);
        }
        true
    }

    /// Waits until a batch is due, and sends it. Returns how long it waited.
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
fn waiting_commits_are_sent_in_batches_of_the_largest_size() {
    let mut simulation = Simulation::new(300, &[]);
    assert!(simulation.send() && simulation.send());
    assert!(!simulation.send());
    assert_eq!(simulation.schedule.due(simulation.now), None);
    assert_eq!(simulation.batches, [(256, true), (44, true)]);
    assert_eq!(simulation.settled, (0..300).collect::<Vec<_>>(), "first in, first out");
}

#[test]
fn retries_back_off_while_the_store_is_away_and_then_send_all_commits_together() {
    let mut simulation = Simulation::new(2, &[0, 1]);
    simulation.send();
    assert!(!simulation.send());
    assert!(simulation.schedule.is_failing());
    // A commit that comes in meanwhile waits with the others.
    simulation.schedule.add(commit(2), 2);
    assert!(!simulation.send());
    let waits: Vec<u128> = (0..2).map(|_| simulation.wait().as_millis()).collect();
    assert_eq!(waits, [50, 100]);
    assert_eq!(simulation.batches, [(2, false), (3, false), (3, false)]);
    let longest = (0..100).map(|_| simulation.wait()).max().unwrap();
    assert_eq!(longest, BACKOFF.max);
    simulation.bad.clear();
    simulation.wait_until_settled(3, 3);
    assert!(!simulation.schedule.is_failing());
}

#[test]
fn a_commit_that_always_fails_is_isolated() {
    let mut simulation = Simulation::new(100, &[57]);
    simulation.wait_until_settled(99, 40);
    assert!(!simulation.settled.contains(&57));
    // Then it delays no other commit: new ones are settled at once.
    for meeting in 100..120 {
        simulation.schedule.add(commit(meeting), meeting);
        while simulation.send() {}
        assert_eq!(simulation.settled.last(), Some(&meeting));
    }
    simulation.bad.clear();
    simulation.wait_until_settled(120, 2);
}

#[test]
fn a_rejected_commit_is_isolated_without_a_wait() {
    let mut simulation = Simulation::new(100, &[0, 99]);
    simulation.rejects = true;
    while simulation.send() {}
    simulation.settled.sort_unstable();
    assert_eq!(simulation.settled, (1..99).collect::<Vec<_>>());
    assert!(simulation.batches.len() < 50, "{:?}", simulation.batches);
    assert_eq!(simulation.schedule.due(simulation.now), None, "the rejected commits do not wait");
}

proptest! {
    /// Every good commit is settled once, in a bounded number of batches, whichever commits fail and however
    /// long the store is away.
    #[test]
    fn good_commits_are_settled(
        meetings in 1..400_usize,
        bad in prop::collection::btree_set(0..400_usize, 0..4),
        away in 0..20_usize,
    ) {
        let mut simulation = Simulation::new(meetings, &(0..meetings).collect::<Vec<_>>());
        for _ in 0..away {
            simulation.wait();
        }
        simulation.bad = bad.into_iter().filter(|bad| *bad < meetings).collect();
        let good = meetings - simulation.bad.len();
        simulation.wait_until_settled(good, 100);
        simulation.settled.sort_unstable();
        let expected: Vec<_> = (0..meetings).filter(|meeting| !simulation.bad.contains(meeting)).collect();
        prop_assert_eq!(simulation.settled, expected);
    }
}
