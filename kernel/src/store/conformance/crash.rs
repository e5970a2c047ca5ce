//! A store that is killed while it works.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::task::JoinSet;

use super::{
    fixture::Fixture,
    samples::{create, everything, full_commit, meeting, name},
};
use crate::{
    MeetingId, Seq,
    store::{Outcome, Store},
};

const ROUNDS: u64 = 5;
const WRITERS: usize = 3;

/// Writes two meetings: commits for both in one batch, repeatedly, until a commit fails or the writer is
/// stopped. Returns the number of the last acknowledged commit.
async fn write(
    store: Arc<dyn Store>,
    ids: [MeetingId; 2],
    from: u64,
    written: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> u64 {
    for number in from.. {
        let batch = ids.each_ref().map(|id| full_commit(id, 1, number));
        match store.commit(&batch).await {
            Ok(outcomes) => assert_eq!(outcomes, [Outcome::Applied; 2], "commit {number}"),
            Err(error) => {
                assert!(error.is_transient(), "a commit failed for good: {error}");
                return number - 1;
            }
        }
        written.fetch_add(1, Ordering::SeqCst);
        if stop.load(Ordering::SeqCst) {
            return number;
        }
    }
    unreachable!("numbers don't end")
}

/// After a crash every acknowledged commit is stored, and at most the one after it, each as a whole.
pub async fn a_crash_keeps_what_was_acknowledged(fixture: Fixture) {
    let Some(crash) = &fixture.crash else { return };
    let mut store = fixture.store.clone();
    let pairs: Vec<[MeetingId; 2]> =
        (0..WRITERS).map(|writer| ["a", "b"].map(|id| meeting(&format!("{id}{writer}")))).collect();
    for id in pairs.iter().flatten() {
        create(&*store, id.as_str()).await;
    }
    let mut stored = [0; WRITERS];
    for round in 1..=ROUNDS {
        let (written, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut writers = JoinSet::new();
        for (writer, ids) in pairs.iter().cloned().enumerate() {
            let writing = write(store.clone(), ids, stored[writer] + 1, written.clone(), stop.clone());
            writers.spawn(async move { (writer, writing.await) });
        }
        // While the writers work, each time at another moment.
        while written.load(Ordering::SeqCst) < round * 7 {
            tokio::task::yield_now().await;
        }
        let opened = crash().await;
        stop.store(true, Ordering::SeqCst);
        while let Some(ended) = writers.join_next().await {
            let (writer, acknowledged) = ended.expect("no writer panics");
            stored[writer] = acknowledged;
        }
        store = opened;
        for (writer, ids) in pairs.iter().enumerate() {
            let mut found = Vec::new();
            for id in ids {
                found.push(assert_whole(&*store, id, stored[writer]).await);
            }
            assert_eq!(found[0], found[1], "a batch is stored as a whole or not at all");
            // The batch under way is sent again, as its owner would.
            let next = stored[writer] + 1;
            let batch = ids.each_ref().map(|id| full_commit(id, 1, next));
            assert_eq!(store.commit(&batch).await.expect("it commits again"), [Outcome::Applied; 2]);
            stored[writer] = next;
            for id in ids {
                assert_eq!(assert_whole(&*store, id, next).await, next);
            }
        }
    }
}

/// Checks that a meeting holds every commit up to the acknowledged one, or up to the one after it, each as a
/// whole. Returns how many.
async fn assert_whole(store: &dyn Store, id: &MeetingId, acknowledged: u64) -> u64 {
    let found = everything(store, id).await;
    let commits = found.row.as_ref().expect("the meeting is there").commit;
    assert!(
        (acknowledged..=acknowledged + 1).contains(&commits),
        "{acknowledged} commits of {id} were acknowledged, {commits} are there"
    );
    assert_eq!(found.seqs, (1..=commits).collect::<Vec<_>>());
    let letters: Vec<Seq> = found.dead_letters.iter().map(|letter| letter.seq).collect();
    assert_eq!(letters, (1..=commits).map(Seq).collect::<Vec<_>>());
    if commits > 0 {
        assert_eq!(found.marks.iter().map(|mark| mark.number).collect::<Vec<_>>(), [commits]);
        let instance = &found.instances[0];
        assert_eq!((&instance.instance, instance.cursor), (&name("minutes"), Seq(commits)));
        assert_eq!(instance.state.as_deref(), Some(&*format!("{{\"commit\":{commits}}}")));
        assert_eq!(found.keys[0].1.as_ref(), commits.to_string());
    }
    commits
}
