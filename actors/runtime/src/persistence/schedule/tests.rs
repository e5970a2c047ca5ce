use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use proptest::prelude::*;
use teammy_kernel::{
    MeetingId, Name, Seq,
    store::{Epoch, InstanceRecord, InstanceStatus},
};

use super::*;

fn commit(meeting: usize) -> Commit {
    numbered(meeting, 1, &state(0))
}

fn state(bytes: usize) -> Arc<str> {
    "x".repeat(bytes).into()
}

/// A commit with a state, unless that is empty.
fn numbered(meeting: usize, number: u64, state: &Arc<str>) -> Commit {
    let meeting = MeetingId::new(meeting.to_string()).unwrap();
    let mut commit = Commit::new(meeting, Epoch(1), number, Seq(1));
    if !state.is_empty() {
        commit.instances.push(InstanceRecord {
            instance: Name::new("writer").unwrap(),
            cursor: Seq(1),
            joined: Seq(1),
            status: InstanceStatus::Active,
            state: Some(state.clone()),
        });
    }
    commit
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
        let meetings: Vec<usize> = attempt.tickets.iter().map(|ticket| ticket.waiter).collect();
        let is_good = !meetings.iter().any(|meeting| self.bad.contains(meeting));
        self.batches.push((meetings.len(), is_good));
        if is_good {
            self.settled.extend(self.schedule.settled(attempt, self.now));
        } else if !self.rejects {
            self.schedule.failed(attempt, self.now);
        } else if meetings.len() > 1 {
            self.schedule.refused(attempt);
        } else {
            self.schedule.rejected(attempt);
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

/// The meetings of a batch, as the tests number them.
fn meetings(attempt: &Attempt<usize>) -> Vec<usize> {
    attempt.tickets.iter().map(|ticket| ticket.waiter).collect()
}

#[test]
fn a_light_commit_is_in_the_next_batch_whatever_waits() {
    let now = Instant::now();
    let mut schedule = Schedule::default();
    for meeting in 0..300 {
        schedule.add(numbered(meeting, 1, &state(200_000)), meeting);
    }
    let bulk = schedule.next(now).unwrap();
    assert_eq!(meetings(&bulk), [0, 1, 2, 3, 4], "as many as fit into 1 MiB");
    assert!(schedule.next(now).is_none(), "one batch of bulk commits at a time");
    // It is sent beside the batch under way.
    schedule.add(commit(1_000), 1_000);
    let light = schedule.next(now).unwrap();
    assert_eq!(meetings(&light), [1_000]);
    // Those that come meanwhile wait for that one, and not for the bulk commits.
    for meeting in 1_001..1_004 {
        schedule.add(commit(meeting), meeting);
    }
    assert!(schedule.next(now).is_none());
    assert_eq!(schedule.settled(light, now), [1_000]);
    let light = schedule.next(now).unwrap();
    assert_eq!(meetings(&light), [1_001, 1_002, 1_003]);
    schedule.settled(bulk, now);
    assert_eq!(meetings(&schedule.next(now).unwrap()), [5, 6, 7, 8, 9]);
}

#[test]
fn a_meeting_that_writes_more_than_others_waits_for_itself() {
    let now = Instant::now();
    let mut schedule = Schedule::default();
    // Nobody else writes: whoever comes first is sent first, and both slots are taken.
    schedule.add(commit(0), 0);
    let first = schedule.next(now).unwrap();
    schedule.add(commit(1), 1);
    let second = schedule.next(now).unwrap();
    // Meeting 0 writes again before anyone had a turn, so it comes behind the meetings that had none.
    schedule.settled(first, now);
    schedule.add(numbered(0, 2, &state(0)), 0);
    schedule.add(commit(2), 2);
    assert_eq!(meetings(&schedule.next(now).unwrap()), [2]);
    schedule.settled(second, now);
    assert_eq!(meetings(&schedule.next(now).unwrap()), [0]);
}

#[test]
fn a_commit_larger_than_a_batch_goes_alone() {
    let now = Instant::now();
    let mut schedule = Schedule::default();
    for (meeting, bytes) in [100_000, 3 << 20, 100_000].into_iter().enumerate() {
        schedule.add(numbered(meeting, 1, &state(bytes)), meeting);
    }
    let mut batches = Vec::new();
    while let Some(attempt) = schedule.next(now) {
        batches.push(meetings(&attempt));
        schedule.settled(attempt, now);
    }
    assert_eq!(batches, [[0], [1], [2]]);
}

#[test]
fn an_owner_and_the_next_one_are_not_sent_at_the_same_time() {
    let now = Instant::now();
    let mut schedule = Schedule::default();
    schedule.add(commit(0), 0);
    let first = schedule.next(now).unwrap();
    let mut next_owner = commit(0);
    next_owner.epoch = Epoch(2);
    schedule.add(next_owner, 1);
    schedule.add(commit(2), 2);
    let other = schedule.next(now).unwrap();
    assert_eq!(meetings(&other), [2]);
    assert!(schedule.next(now).is_none());
    schedule.settled(first, now);
    schedule.settled(other, now);
    assert_eq!(meetings(&schedule.next(now).unwrap()), [1]);
}

#[test]
fn a_store_that_is_away_is_tried_with_one_batch_at_a_time() {
    let mut now = Instant::now();
    let mut schedule = Schedule::default();
    schedule.add(commit(0), 0);
    schedule.add(numbered(1, 1, &state(200_000)), 1);
    let (light, bulk) = (schedule.next(now).unwrap(), schedule.next(now).unwrap());
    schedule.failed(light, now);
    schedule.failed(bulk, now);
    now = schedule.due(now).unwrap();
    let light = schedule.next(now).unwrap();
    assert_eq!(meetings(&light), [0]);
    assert!(schedule.next(now).is_none());
    schedule.settled(light, now);
    assert_eq!(meetings(&schedule.next(now).unwrap()), [1]);
}

#[test]
fn what_failed_while_the_store_was_away_is_sent_when_it_is_back() {
    let now = Instant::now();
    let mut schedule = Schedule::default();
    schedule.add(commit(0), 0);
    for tries in 1..=SUSPECT {
        let attempt = schedule.next(now + BACKOFF.max * tries).unwrap();
        schedule.failed(attempt, now + BACKOFF.max * tries);
    }
    let now = schedule.fresh_from.unwrap();
    schedule.add(commit(1), 1);
    let fresh = schedule.next(now).unwrap();
    assert_eq!(meetings(&fresh), [1]);
    assert!(schedule.due(now).unwrap() > now, "the suspect waits longer");
    schedule.settled(fresh, now);
    assert_eq!(meetings(&schedule.next(now).unwrap()), [0]);
}

/// Meetings in a closed loop: each adds its next commit when the last one is settled.
struct ClosedLoop {
    schedule: Schedule<usize>,
    now: Instant,
    /// What each meeting's commits write, and the number of the last one that it added.
    states: Vec<Arc<str>>,
    numbers: Vec<u64>,
    under_way: Vec<Attempt<usize>>,
    settled: BTreeMap<usize, u64>,
    bytes: BTreeMap<usize, usize>,
}

impl ClosedLoop {
    fn new(sizes: &[usize]) -> Self {
        let mut this = Self {
            schedule: Schedule::default(),
            now: Instant::now(),
            states: sizes.iter().map(|bytes| state(*bytes)).collect(),
            numbers: vec![0; sizes.len()],
            under_way: Vec::new(),
            settled: BTreeMap::new(),
            bytes: BTreeMap::new(),
        };
        for meeting in 0..this.states.len() {
            this.add(meeting);
        }
        this
    }

    fn add(&mut self, meeting: usize) {
        self.numbers[meeting] += 1;
        self.schedule.add(numbered(meeting, self.numbers[meeting], &self.states[meeting]), meeting);
    }

    /// Sends all that may be sent, and checks what is under way.
    fn send(&mut self) {
        while let Some(attempt) = self.schedule.next(self.now) {
            self.under_way.push(attempt);
        }
        assert!(self.under_way.len() <= 2, "two batches are under way at most");
        let mut seen = BTreeSet::new();
        for attempt in &self.under_way {
            assert!(attempt.commits.len() <= MOST);
            let bytes: usize = attempt.commits.iter().map(Commit::cost).sum();
            assert!(bytes <= Pace::default().most_bytes() || attempt.commits.len() == 1, "{bytes} bytes");
            for commit in &attempt.commits {
                assert!(seen.insert(commit.meeting.clone()), "a meeting has one commit under way at most");
            }
        }
    }

    /// Ends a batch that is under way.
    fn end(&mut self, index: usize, took: Duration, fails: bool) {
        let attempt = self.under_way.remove(index % self.under_way.len());
        self.now += took;
        if fails {
            return self.schedule.failed(attempt, self.now);
        }
        let ended: Vec<_> = attempt.commits.iter().map(|commit| (commit.number, commit.cost())).collect();
        let waiters = self.schedule.settled(attempt, self.now);
        for (meeting, (number, bytes)) in waiters.into_iter().zip(ended) {
            let last = self.settled.insert(meeting, number).unwrap_or(0);
            assert_eq!(number, last + 1, "a meeting's commits are stored in their order");
            *self.bytes.entry(meeting).or_default() += bytes;
            self.add(meeting);
        }
    }
}

#[test]
fn meetings_that_always_write_get_the_same_bytes() {
    let sizes = [1 << 20, 300_000, 700_000, 450_000, 70_000];
    let mut simulation = ClosedLoop::new(&sizes);
    for _ in 0..1_000 {
        simulation.send();
        simulation.end(0, Duration::from_millis(5), false);
    }
    let bytes: Vec<usize> = simulation.bytes.values().copied().collect();
    // All but the last write as much as they may; that one has no more than one commit in each batch.
    let (least, most) = (bytes[..4].iter().min().unwrap(), bytes[..4].iter().max().unwrap());
    assert!(most - least <= 2 * sizes[0] + 4_096, "{bytes:?}");
    assert!(bytes[4] <= *most, "{bytes:?}");
}

proptest! {
    /// No commit starves, each meeting's commits keep their order, one of them is under way at most, and batches
    /// keep their bounds, whatever meetings write and in whatever order batches end or fail.
    #[test]
    fn commits_are_sent_in_turn(
        sizes in prop::collection::vec(prop_oneof![0..4_000_usize, 60_000..70_000_usize, 200_000..2_000_000_usize], 1..12),
        ends in prop::collection::vec((any::<u8>(), 0..200_u64, prop::bool::weighted(0.1)), 1..200),
    ) {
        let meetings = sizes.len();
        let mut simulation = ClosedLoop::new(&sizes);
        for (index, millis, fails) in ends {
            simulation.send();
            if simulation.under_way.is_empty() {
                simulation.now = simulation.schedule.due(simulation.now).unwrap();
                simulation.send();
            }
            simulation.end(usize::from(index), Duration::from_millis(millis), fails);
        }
        // From here on nothing fails, and whoever waits to be sent again has waited. A meeting's turn comes when each other one has written as many bytes as the two
        // largest commits have, at the latest; half of the batches may be of light commits or of suspects.
        simulation.now += BACKOFF.max;
        let before = simulation.settled.clone();
        let largest = sizes.iter().max().unwrap() + 4_096;
        let turns: usize = sizes.iter().map(|bytes| 2 + 2 * largest / (bytes + 1_024)).sum();
        let starving = |simulation: &ClosedLoop| {
            (0..meetings).find(|meeting| simulation.settled.get(meeting) <= before.get(meeting))
        };
        for _ in 0..3 * turns + 20 {
            if starving(&simulation).is_none() {
                break;
            }
            simulation.send();
            if simulation.under_way.is_empty() {
                simulation.now = simulation.schedule.due(simulation.now).unwrap();
                simulation.send();
            }
            simulation.end(0, Duration::from_millis(1), false);
        }
        prop_assert_eq!(starving(&simulation), None, "a meeting starves");
    }

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
