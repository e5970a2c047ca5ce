//! Claims against commits: in every order, and all at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{sync::Barrier, task::JoinSet};

use super::{
    fixture::Fixture,
    samples::{PRODUCER, commit, create, full_commit, mark, marks, meeting, numbered, packet, row, seqs},
};
use crate::{
    MeetingId, Seq,
    store::{Commit, Epoch, MeetingRecord, Outcome, Store},
};

/// The two owners' steps. A step is the same request in every order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The old owner commits 1.
    Old,
    /// The old owner sends 1 again, as if its answer were lost.
    OldAgain,
    /// The old owner goes on with 2.
    OldNext,
    /// The new owner claims.
    Claim,
    /// The new owner commits, after its claim: the number after the claimed row's.
    New,
}

/// All orders of some steps.
fn orders(steps: &[Step]) -> Vec<Vec<Step>> {
    if steps.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for index in 0..steps.len() {
        let mut rest = steps.to_vec();
        let first = rest.remove(index);
        all.extend(orders(&rest).into_iter().map(|mut order| {
            order.insert(0, first);
            order
        }));
    }
    all
}

/// The old owner's commits and the new owner's claim and commit, in every possible order.
pub async fn claims_and_commits_in_every_order(fixture: Fixture) {
    let store = &*fixture.store;
    let steps = [Step::Old, Step::OldAgain, Step::OldNext, Step::Claim, Step::New];
    let claim_before_new = |order: &Vec<Step>| {
        order.iter().position(|step| *step == Step::Claim) < order.iter().position(|step| *step == Step::New)
    };
    for (index, order) in orders(&steps).into_iter().filter(claim_before_new).enumerate() {
        let id = meeting(&format!("order {index}"));
        create(store, id.as_str()).await;
        play(store, &id, &order).await;
    }
}

async fn play(store: &dyn Store, id: &MeetingId, order: &[Step]) {
    // The contract's rule: epoch, number, and which owner wrote which packet.
    let (mut epoch, mut stored, mut written) = (1, 0, Vec::new());
    for step in order {
        let (by, number) = match step {
            Step::Claim => {
                epoch += 1;
                let claimed = store.claim(id.clone(), 100).await.expect("a meeting is claimed");
                assert_eq!((claimed.epoch, claimed.commit), (Epoch(epoch), stored), "{order:?}");
                continue;
            }
            Step::Old | Step::OldAgain => (1, 1),
            Step::OldNext => (1, 2),
            Step::New => (2, stored + 1),
        };
        let seq = by * 1_000 + number;
        let expected = if by != epoch {
            Outcome::Fenced
        } else if number == stored {
            Outcome::Applied
        } else if number == stored + 1 {
            stored = number;
            written.push(seq);
            Outcome::Applied
        } else {
            Outcome::OutOfOrder { stored }
        };
        let outcome = store.commit(&[telling(id, by, number)]).await.expect("a commit is answered");
        assert_eq!(outcome, [expected], "{step:?} in {order:?}");
        assert_eq!(seqs(store, id).await, written, "{step:?} in {order:?}");
        assert_eq!(row(store, id).await.commit, stored, "{step:?} in {order:?}");
        let newest: Vec<_> = written.last().map(|seq| mark(PRODUCER, stored, *seq)).into_iter().collect();
        assert_eq!(marks(store, id).await, newest, "{step:?} in {order:?}");
    }
}

/// A commit with one packet: its seq contains the epoch and the commit's number, which is also its producer's
/// number.
fn telling(id: &MeetingId, epoch: u64, number: u64) -> Commit {
    let mut part = commit(id, epoch, number);
    let mut packet = numbered(part.packets[0].clone(), PRODUCER, number);
    Arc::make_mut(&mut packet).seq.0 = epoch * 1_000 + number;
    part.packets = vec![packet];
    part
}

/// Sends a commit until its outcome is known, as owners do.
async fn settle(store: &dyn Store, commit: Commit) -> Outcome {
    let batch = [commit];
    loop {
        match store.commit(&batch).await {
            Ok(outcomes) => return outcomes[0],
            Err(error) => assert!(error.is_transient(), "a commit failed for good: {error}"),
        }
    }
}

async fn claim(store: &dyn Store, id: &MeetingId) -> MeetingRecord {
    loop {
        match store.claim(id.clone(), 10).await {
            Ok(row) => return row,
            Err(error) => assert!(error.is_transient(), "a claim failed for good: {error}"),
        }
    }
}

/// Owners claim and commit all at once: exactly the commits that are reported as applied are stored, and no
/// owner's commit follows a later owner's.
pub async fn claims_and_commits_race(fixture: Fixture) {
    const OWNERS: u64 = 6;
    const CLAIMS: u64 = 5;
    const COMMITS: u64 = 8;
    let store = fixture.store.clone();
    create(&*store, "race").await;
    create(&*store, "calm").await;
    let id = meeting("race");
    // The epoch that wrote each commit, by the commit's number.
    let applied: Arc<Mutex<BTreeMap<u64, u64>>> = Arc::default();
    let mut owners = JoinSet::new();
    for _ in 0..OWNERS {
        let (store, id, applied) = (store.clone(), id.clone(), applied.clone());
        owners.spawn(async move {
            for _ in 0..CLAIMS {
                let mut own = claim(&*store, &id).await;
                for _ in 0..COMMITS {
                    let number = own.commit + 1;
                    match settle(&*store, telling(&id, own.epoch.0, number)).await {
                        Outcome::Applied => own.commit = number,
                        Outcome::Fenced => break,
                        Outcome::OutOfOrder { stored } => {
                            panic!("epoch {} at commit {number} found {stored}", own.epoch)
                        }
                    }
                    let mut applied = applied.lock().unwrap_or_else(PoisonError::into_inner);
                    let twice = applied.insert(number, own.epoch.0);
                    assert_eq!(twice, None, "commit {number} was applied for two owners");
                }
            }
        });
    }
    // Another meeting in the same store is not affected.
    let calm = meeting("calm");
    for number in 1..=COMMITS {
        assert_eq!(settle(&*store, telling(&calm, 1, number)).await, Outcome::Applied);
    }
    while let Some(ended) = owners.join_next().await {
        ended.expect("no owner panics");
    }

    let applied = applied.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let row = row(&*store, &id).await;
    let numbers: Vec<u64> = applied.keys().copied().collect();
    assert_eq!(numbers, (1..=row.commit).collect::<Vec<_>>(), "commits are numbered without holes");
    assert!(row.epoch.0 > OWNERS * CLAIMS, "each claim that was answered raised the epoch");
    let epochs: Vec<u64> = applied.values().copied().collect();
    assert!(epochs.is_sorted(), "an owner wrote after a later one had: {epochs:?}");
    let mut expected: Vec<u64> = applied.iter().map(|(number, epoch)| epoch * 1_000 + number).collect();
    expected.sort_unstable();
    assert_eq!(
        seqs(&*store, &id).await,
        expected,
        "exactly the commits that were reported as applied are stored"
    );
    assert_eq!(epochs.last(), Some(&row.epoch.0), "the last owner got to write");
    for (number, epoch) in applied {
        let found = store.numbered(id.clone(), PRODUCER.into(), number).await;
        let seq = Seq(epoch * 1_000 + number);
        assert_eq!(
            found.expect("a number is looked up"),
            Some(seq),
            "the first packet with number {number} keeps it"
        );
    }
}

/// Calls of `commit` for different meetings run at the same time: batches of many packets, single small commits,
/// and those of an owner that was replaced. Each call gets the outcomes of its own commits, and each meeting holds
/// what was reported as applied.
pub async fn commits_of_other_meetings_overlap(fixture: Fixture) {
    const COMMITS: u64 = 12;
    const PACKETS: u64 = 60;
    let store = fixture.store.clone();
    // The meetings of each call, how many packets each of its commits has, and the outcome.
    let calls: [(&[&str], u64, Outcome); 4] = [
        (&["busy 1", "busy 2", "busy 3"], PACKETS, Outcome::Applied),
        (&["quiet 1"], 1, Outcome::Applied),
        (&["quiet 2"], 1, Outcome::Applied),
        (&["replaced"], 1, Outcome::Fenced),
    ];
    for (ids, ..) in calls {
        for id in ids {
            create(&*store, id).await;
        }
    }
    store.claim(meeting("replaced"), 10).await.expect("a meeting is claimed");
    let begin = Arc::new(Barrier::new(calls.len()));
    let mut callers = JoinSet::new();
    for (ids, packets, expected) in calls {
        let (store, begin) = (store.clone(), begin.clone());
        callers.spawn(async move {
            for number in 1..=COMMITS {
                let part = |id: &&str| {
                    let id = meeting(id);
                    let mut part = full_commit(&id, 1, number);
                    let from = (number - 1) * packets + 1;
                    part.packets = (from..from + packets).map(|seq| packet(&id, seq)).collect();
                    part
                };
                let batch: Vec<Commit> = ids.iter().map(part).collect();
                begin.wait().await;
                let outcomes = loop {
                    match store.commit(&batch).await {
                        Ok(outcomes) => break outcomes,
                        Err(error) => assert!(error.is_transient(), "a batch failed for good: {error}"),
                    }
                };
                assert_eq!(outcomes, vec![expected; ids.len()], "commit {number} of {ids:?}");
            }
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended.expect("no caller panics");
    }
    for (ids, packets, expected) in calls {
        let commits = if expected == Outcome::Applied { COMMITS } else { 0 };
        for id in ids {
            let id = meeting(id);
            assert_eq!(row(&*store, &id).await.commit, commits, "{id}");
            assert_eq!(seqs(&*store, &id).await, (1..=commits * packets).collect::<Vec<_>>(), "{id}");
        }
    }
}
