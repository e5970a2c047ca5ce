//! Lost answers: a call is dropped after any number of polls, and repeated.

use std::pin::pin;

use futures::poll;

use super::{
    fixture::Fixture,
    samples::{at, commit, create, everything, full_commit, meeting, name, packet, row, seqs},
};
use crate::{
    MeetingId, MeetingMetadata, Seq,
    store::{Commit, Epoch, Error, Outcome, Store},
};

/// After how many polls a call is dropped: before it begins, while it runs, and shortly before its answer.
const MOMENTS: [usize; 12] = [0, 1, 2, 3, 4, 6, 10, 20, 50, 100, 300, 1000];

/// Polls a call so often and drops it if it is not done.
async fn abandon<T>(future: impl Future<Output = T>, polls: usize) {
    let mut future = pin!(future);
    for _ in 0..polls {
        if poll!(future.as_mut()).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Sends a batch until its outcome is known, as owners do.
async fn settle(store: &dyn Store, batch: &[Commit]) -> Vec<Outcome> {
    loop {
        match store.commit(batch).await {
            Ok(outcomes) => return outcomes,
            Err(error) => assert!(error.is_transient(), "a commit failed for good: {error}"),
        }
    }
}

/// Checks that each meeting holds all that these commits wrote, and nothing else.
async fn assert_holds(store: &dyn Store, id: &MeetingId, commits: u64) {
    let all = usize::try_from(commits).expect("invariant: there are few");
    let one = usize::from(commits > 0);
    let found = everything(store, id).await;
    assert_eq!(found.counts(), [all, one, one, one, all], "what {commits} commits wrote: {found:?}");
    assert_eq!(found.row.expect("the meeting is there").commit, commits);
}

/// A commit whose answer was lost is stored once when it is sent again, whether it was stored before or not.
pub async fn a_commit_whose_answer_is_lost_is_repeated(fixture: Fixture) {
    let store = &*fixture.store;
    let ids = ["m", "n"].map(meeting);
    for id in &ids {
        create(store, id.as_str()).await;
    }
    for (number, moment) in (1..).zip(MOMENTS) {
        let batch = ids.each_ref().map(|id| full_commit(id, 1, number));
        // Two answers are lost; then the batch is sent until it is answered.
        abandon(store.commit(&batch), moment).await;
        abandon(store.commit(&batch), moment / 2).await;
        assert_eq!(settle(store, &batch).await, [Outcome::Applied; 2], "after {moment} polls");
        for id in &ids {
            assert_holds(store, id, number).await;
        }
    }
}

/// A batch that is sent again leaves out a meeting that was fenced meanwhile, and stores the others once.
pub async fn a_part_of_a_lost_batch_may_be_fenced(fixture: Fixture) {
    let store = &*fixture.store;
    for (index, moment) in MOMENTS.into_iter().enumerate() {
        let ids = ["a", "b", "c"].map(|id| meeting(&format!("{id}{index}")));
        for id in &ids {
            create(store, id.as_str()).await;
        }
        let batch = ids.each_ref().map(|id| full_commit(id, 1, 1));
        abandon(store.commit(&batch), moment).await;
        let claimed = store.claim(ids[1].clone(), 10).await.expect("a meeting is claimed");
        let outcomes = settle(store, &batch).await;
        assert_eq!(outcomes, [Outcome::Applied, Outcome::Fenced, Outcome::Applied], "after {moment} polls");
        for (id, commits) in ids.iter().zip([1, claimed.commit, 1]) {
            assert_holds(store, id, commits).await;
        }
    }
}

/// A commit of the old owner whose answer was lost is stored as a whole when the meeting is claimed, or it
/// never will be.
pub async fn a_lost_commit_and_a_claim_leave_all_or_nothing(fixture: Fixture) {
    let store = &*fixture.store;
    for (index, moment) in MOMENTS.into_iter().enumerate() {
        let id = meeting(&index.to_string());
        create(store, id.as_str()).await;
        let old = [full_commit(&id, 1, 1)];
        abandon(store.commit(&old), moment).await;
        let claimed = store.claim(id.clone(), 10).await.expect("a meeting is claimed");
        let mut new = full_commit(&id, 2, claimed.commit + 1);
        // Its seq differs from those of the old owner's packets.
        new.packets = vec![packet(&id, 50)];
        new.dead_letters.clear();
        assert_eq!(settle(store, &[new]).await, [Outcome::Applied], "after {moment} polls");
        assert_eq!(settle(store, &old).await, [Outcome::Fenced]);
        let stored = if claimed.commit == 1 { vec![1, 50] } else { vec![50] };
        assert_eq!(seqs(store, &id).await, stored, "after {moment} polls");
        assert_eq!(row(store, &id).await.commit, claimed.commit + 1);
    }
}

/// A claim whose answer was lost costs an epoch at most; the last answered claim makes the owner.
pub async fn a_claim_whose_answer_is_lost_is_repeated(fixture: Fixture) {
    let store = &*fixture.store;
    let id = meeting("m");
    create(store, "m").await;
    let (mut epoch, mut number) = (1, 0);
    for moment in MOMENTS {
        abandon(store.claim(id.clone(), 10), moment).await;
        let claimed = store.claim(id.clone(), 10).await.expect("a meeting is claimed");
        let raised = claimed.epoch.0 - epoch;
        assert!((1..=2).contains(&raised), "two claims raised the epoch by {raised}");
        number += 1;
        let by_the_old = commit(&id, epoch, number);
        assert_eq!(settle(store, &[by_the_old]).await, [Outcome::Fenced]);
        let by_the_new = commit(&id, claimed.epoch.0, number);
        assert_eq!(settle(store, &[by_the_new]).await, [Outcome::Applied], "after {moment} polls");
        epoch = claimed.epoch.0;
    }
    assert_eq!(row(store, &id).await.epoch, Epoch(epoch));
}

/// A creation whose answer was lost has created the meeting as a whole, or not at all.
pub async fn a_creation_whose_answer_is_lost_is_repeated(fixture: Fixture) {
    let store = &*fixture.store;
    for (index, moment) in MOMENTS.into_iter().enumerate() {
        let id = meeting(&index.to_string());
        let create =
            || store.create(MeetingMetadata::new(id.clone()), vec![name("minutes")], Seq(100), at(0));
        abandon(create(), moment).await;
        let answer = create().await;
        assert!(
            matches!(&answer, Ok(row) if row.metadata.id == id) || matches!(&answer, Err(Error::Exists(_))),
            "after {moment} polls: {answer:?}"
        );
        let found = row(store, &id).await;
        assert_eq!((found.epoch, found.commit, found.instances), (Epoch(1), 0, vec![name("minutes")]));
        let first = full_commit(&id, 1, 1);
        assert_eq!(settle(store, &[first]).await, [Outcome::Applied]);
    }
}
