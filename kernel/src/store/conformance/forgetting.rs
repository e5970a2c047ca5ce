//! Dead letters that are removed, and meetings that are forgotten.

use super::{
    fixture::Fixture,
    samples::{
        Everything, ODD_IDS, PRODUCER, commit, commit_one, create, dead_letter, everything, full_commit,
        list, meeting, name, packet,
    },
};
use crate::{
    Seq,
    store::{MeetingQuery, Outcome, PacketQuery},
};

/// A redriven packet's dead letter is removed by the commit that says so, and no other letter is.
pub async fn a_redriven_letter_goes(fixture: Fixture) {
    let store = &*fixture.store;
    for id in ["m", "n"] {
        create(store, id).await;
        let mut commit = commit(&meeting(id), 1, 1);
        commit.dead_letters =
            [("ada", 2), ("ada", 3), ("zoe", 2)].map(|(instance, seq)| dead_letter(instance, seq)).into();
        assert_eq!(commit_one(store, commit).await, Outcome::Applied);
    }
    let id = meeting("m");
    let letter = async |instance, seq| {
        store.dead_letter(meeting("m"), name(instance), Seq(seq)).await.expect("a dead letter is read")
    };
    assert_eq!(letter("ada", 2).await, Some(dead_letter("ada", 2)));
    assert_eq!(letter("ada", 4).await, None);
    let mut second = commit(&id, 1, 2);
    second.redriven = vec![(name("ada"), Seq(2)), (name("zoe"), Seq(99))];
    second.dead_letters = vec![dead_letter("zoe", 7)];
    for _ in 0..2 {
        assert_eq!(commit_one(store, second.clone()).await, Outcome::Applied);
    }
    assert_eq!(letter("ada", 2).await, None);
    let left = store.dead_letters(id).await.expect("dead letters are read");
    assert_eq!(left, [dead_letter("zoe", 2), dead_letter("ada", 3), dead_letter("zoe", 7)]);
    let others = store.dead_letters(meeting("n")).await.expect("dead letters are read");
    assert_eq!(others.len(), 3, "another meeting's letters stay");
}

/// A forgotten meeting leaves nothing, other meetings stay, its owner is fenced, and its id can be used
/// again.
pub async fn a_forgotten_meeting_is_gone(fixture: Fixture) {
    let store = &*fixture.store;
    let ids: Vec<&str> = ODD_IDS.into_iter().chain(["m", "m 2", "mm"]).collect();
    for id in &ids {
        create(store, id).await;
        let id = meeting(id);
        for number in 1..=3 {
            assert_eq!(commit_one(store, full_commit(&id, 1, number)).await, Outcome::Applied);
        }
    }
    let mut kept = Vec::new();
    for id in &ids {
        kept.push(everything(store, &meeting(id)).await);
    }
    for (index, id) in ids.iter().enumerate() {
        let id = meeting(id);
        assert!(store.forget(id.clone()).await.expect("a meeting is forgotten"), "{id}");
        assert!(!store.forget(id.clone()).await.expect("a meeting is forgotten"), "{id} is gone already");
        assert_eq!(everything(store, &id).await, Everything::default(), "{id}");
        let number = store.numbered(id.clone(), PRODUCER.into(), 2).await.expect("a number is looked up");
        assert_eq!(number, None);
        assert_eq!(commit_one(store, full_commit(&id, 1, 4)).await, Outcome::Fenced, "{id}");
        assert_eq!(everything(store, &id).await, Everything::default(), "a fenced commit leaves nothing");
        for (other, before) in ids.iter().zip(&kept).skip(index + 1) {
            assert_eq!(
                everything(store, &meeting(other)).await,
                *before,
                "{other} stays when {id} is forgotten"
            );
        }
    }
    assert!(list(store, MeetingQuery::default()).await.is_empty());
    create(store, "m").await;
    let packets = store.packets(meeting("m"), PacketQuery::default()).await.expect("packets are read");
    assert!(packets.is_empty(), "a new meeting of that id has nothing of the old one");
}

/// A long meeting is forgotten as a whole.
pub async fn a_long_meeting_is_forgotten(fixture: Fixture) {
    let store = &*fixture.store;
    let id = meeting("long");
    let mut made = create(store, "long").await;
    // It has two owners and a hole between their seqs.
    for (epoch, number, from) in [(1, 1, 1), (2, 2, 10_000)] {
        if epoch == 2 {
            made = store.claim(id.clone(), 20_000).await.expect("a meeting is claimed");
        }
        let mut commit = commit(&id, epoch, number);
        commit.reserved = made.reserved;
        commit.packets = (from..from + 200).map(|seq| packet(&id, seq)).collect();
        assert_eq!(commit_one(store, commit).await, Outcome::Applied);
    }
    assert!(store.forget(id.clone()).await.expect("a meeting is forgotten"));
    assert_eq!(everything(store, &id).await, Everything::default());
}
