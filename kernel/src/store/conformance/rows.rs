//! Rows of meetings and instances, dead letters, and which commits are fenced.

use super::{
    fixture::Fixture,
    samples::{
        Everything, PRODUCER, at, commit, commit_one, create, dead_letter, everything, full_commit, list,
        mark, marks, meeting, name, numbered, packet, row, seqs,
    },
};
use crate::{
    MeetingId, MeetingMetadata, Seq,
    store::{
        Commit, DeadLetter, Epoch, Error, InstanceRecord, InstanceStatus, KeyWrite, MeetingQuery,
        MeetingRecord, MeetingStatus, Outcome, PacketQuery,
    },
};

/// A meeting is created with all its metadata, and only once.
pub async fn a_meeting_is_created_once(fixture: Fixture) {
    let store = &*fixture.store;
    let metadata = MeetingMetadata::new(meeting("it's `odd` ⟩"))
        .title("Stand-up: \"daily\" 🚀")
        .started_at(at(5))
        .label("room", "4.12")
        .label("a.b $c `d`", "")
        .label("", "empty key");
    let instances = vec![name("minutes"), name("a.b_c-2")];
    let made = store.create(metadata.clone(), instances.clone(), Seq(64), at(9)).await;
    let made = made.expect("a new meeting is created");
    assert_eq!(made, MeetingRecord::first(metadata.clone(), instances, Seq(64), at(9)));
    assert_eq!(row(store, &metadata.id).await, made);
    let again = store.create(MeetingMetadata::new(metadata.id.clone()), vec![], Seq(1), at(10)).await;
    assert!(matches!(&again, Err(Error::Exists(id)) if *id == metadata.id), "{again:?}");
    assert_eq!(row(store, &metadata.id).await, made, "a rejected creation changes nothing");
}

/// Reading a missing meeting gives empty answers and no error.
pub async fn nothing_is_known_of_a_missing_meeting(fixture: Fixture) {
    let store = &*fixture.store;
    create(store, "another").await;
    let missing = meeting("missing");
    assert_eq!(everything(store, &missing).await, Everything::default());
    let value = store.get(missing.clone(), name("minutes"), "key".to_owned()).await;
    assert_eq!(value.expect("a key is read"), None);
    let claimed = store.claim(missing.clone(), 10).await;
    assert!(matches!(&claimed, Err(Error::NotFound(id)) if *id == missing), "{claimed:?}");
    assert_eq!(store.meeting(missing).await.expect("a row is read"), None, "a claim creates no meeting");
}

/// A claim raises the epoch by one and the reservation by so many seqs, and changes nothing else.
pub async fn a_claim_raises_epoch_and_reservation(fixture: Fixture) {
    let store = &*fixture.store;
    let mut expected = create(store, "m").await;
    let id = meeting("m");
    assert_eq!(commit_one(store, commit(&id, 1, 1)).await, Outcome::Applied);
    (expected.commit, expected.last) = (1, Seq(1));
    for (epoch, reserve) in [(2, 50), (3, 0), (4, 1_000_000)] {
        expected.epoch = Epoch(epoch);
        expected.reserved.0 += reserve;
        let claimed = store.claim(id.clone(), reserve).await.expect("a meeting is claimed");
        assert_eq!(claimed, expected);
        assert_eq!(row(store, &id).await, expected);
    }
    assert_eq!(seqs(store, &id).await, [1]);
}

/// Commits apply one after the other, and each leaves its number, its status and its reservation in the row.
pub async fn commits_apply_in_order(fixture: Fixture) {
    let store = &*fixture.store;
    let mut expected = create(store, "m").await;
    let id = meeting("m");
    let statuses = [MeetingStatus::Running, MeetingStatus::Ending, MeetingStatus::Ended];
    for (number, status) in (1..).zip(statuses) {
        let mut commit = commit(&id, 1, number);
        commit.status = status;
        commit.reserved = Seq(100 + number);
        assert_eq!(commit_one(store, commit).await, Outcome::Applied);
        (expected.commit, expected.status, expected.reserved) = (number, status, Seq(100 + number));
        expected.last = Seq(number);
        assert_eq!(row(store, &id).await, expected);
    }
    assert_eq!(seqs(store, &id).await, [1, 2, 3]);
    assert_eq!(store.commit(&[]).await.expect("an empty batch is fine"), []);
    // A commit that writes only the row counts like any other.
    let empty = Commit::new(id.clone(), Epoch(1), 4, Seq(103));
    assert_eq!(commit_one(store, empty).await, Outcome::Applied);
    let row = row(store, &id).await;
    assert_eq!((row.commit, row.last), (4, Seq(3)));
}

/// A row keeps the higher reservation if a commit has a lower one.
pub async fn a_reservation_never_shrinks(fixture: Fixture) {
    let store = &*fixture.store;
    create(store, "m").await;
    let id = meeting("m");
    let mut commit = commit(&id, 1, 1);
    commit.reserved = Seq(40);
    assert_eq!(commit_one(store, commit).await, Outcome::Applied);
    assert_eq!(row(store, &id).await.reserved, Seq(100));
}

/// A commit that is sent again is applied once, and both answers say that it is applied.
pub async fn a_repeated_commit_is_applied_once(fixture: Fixture) {
    let store = &*fixture.store;
    create(store, "m").await;
    create(store, "other").await;
    let (id, other) = (meeting("m"), meeting("other"));
    let batch = [full_commit(&id, 1, 1), full_commit(&other, 1, 1)];
    for _ in 0..3 {
        let outcomes = store.commit(&batch).await.expect("a batch is committed");
        assert_eq!(outcomes, [Outcome::Applied, Outcome::Applied]);
    }
    let stored = everything(store, &id).await;
    assert_eq!(stored.row.as_ref().map(|row| row.commit), Some(1));
    assert_eq!(stored.counts(), [1; 5]);
    // The first commit of a number counts: another one with that number is not written.
    let mut changed = full_commit(&id, 1, 1);
    changed.packets = vec![numbered(packet(&id, 50), PRODUCER, 50)];
    changed.keys[0].value = None;
    changed.instances[0].cursor = Seq(50);
    changed.dead_letters[0].tries = 50;
    assert_eq!(commit_one(store, changed).await, Outcome::Applied);
    assert_eq!(everything(store, &id).await, stored);
    // Half of a batch may be new: a writer without an answer sends old and new commits together.
    let outcomes = store.commit(&[full_commit(&id, 1, 1), full_commit(&other, 1, 2)]).await;
    assert_eq!(outcomes.expect("a batch is committed"), [Outcome::Applied, Outcome::Applied]);
    assert_eq!(seqs(store, &id).await, [1]);
    assert_eq!(seqs(store, &other).await, [1, 2]);
}

/// A commit with a lower epoch, or with one that no owner has, writes nothing.
pub async fn a_commit_of_a_lower_epoch_is_fenced(fixture: Fixture) {
    let store = &*fixture.store;
    create(store, "m").await;
    let id = meeting("m");
    assert_eq!(commit_one(store, full_commit(&id, 1, 1)).await, Outcome::Applied);
    store.claim(id.clone(), 10).await.expect("a meeting is claimed");
    let before = everything(store, &id).await;
    for (epoch, number) in [(1, 1), (1, 2), (1, 3), (0, 2), (3, 2)] {
        assert_eq!(commit_one(store, full_commit(&id, epoch, number)).await, Outcome::Fenced);
        assert_eq!(everything(store, &id).await, before, "epoch {epoch}, commit {number}");
    }
    assert_eq!(commit_one(store, full_commit(&id, 2, 2)).await, Outcome::Applied);
    assert_eq!(seqs(store, &id).await, [1, 2]);
}

/// A number that isn't the next one is rejected, with the stored number.
pub async fn a_commit_out_of_order_is_refused(fixture: Fixture) {
    let store = &*fixture.store;
    create(store, "m").await;
    let id = meeting("m");
    for number in 1..=3 {
        assert_eq!(commit_one(store, full_commit(&id, 1, number)).await, Outcome::Applied);
    }
    let before = everything(store, &id).await;
    for number in [1, 2, 5, 6, 1_000] {
        let mut commit = full_commit(&id, 1, number);
        commit.packets = vec![numbered(packet(&id, 99), PRODUCER, 99)];
        commit.keys[0].value = None;
        assert_eq!(commit_one(store, commit).await, Outcome::OutOfOrder { stored: 3 });
        assert_eq!(everything(store, &id).await, before, "commit {number}");
    }
}

/// A commit for a missing meeting is fenced and creates nothing.
pub async fn a_commit_for_a_missing_meeting_is_fenced(fixture: Fixture) {
    let store = &*fixture.store;
    let missing = meeting("missing");
    assert_eq!(commit_one(store, full_commit(&missing, 1, 1)).await, Outcome::Fenced);
    assert_eq!(everything(store, &missing).await, Everything::default());
    assert_eq!(list(store, MeetingQuery::default()).await, Vec::<MeetingId>::new());
}

/// Of a batch, commits that can be applied are, and the others write nothing; outcomes are in the commits'
/// order.
pub async fn a_batch_leaves_fenced_meetings_out(fixture: Fixture) {
    let store = &*fixture.store;
    for id in ["a", "claimed", "b", "behind", "c"] {
        create(store, id).await;
    }
    store.claim(meeting("claimed"), 10).await.expect("a meeting is claimed");
    let claimed = everything(store, &meeting("claimed")).await;
    let behind = everything(store, &meeting("behind")).await;
    let batch = [
        full_commit(&meeting("a"), 1, 1),
        full_commit(&meeting("claimed"), 1, 1),
        full_commit(&meeting("b"), 1, 1),
        full_commit(&meeting("missing"), 1, 1),
        full_commit(&meeting("behind"), 1, 2),
        full_commit(&meeting("c"), 1, 1),
    ];
    for _ in 0..2 {
        let outcomes = store.commit(&batch).await.expect("a batch is committed");
        let applied = Outcome::Applied;
        let expected =
            [applied, Outcome::Fenced, applied, Outcome::Fenced, Outcome::OutOfOrder { stored: 0 }, applied];
        assert_eq!(outcomes, expected);
    }
    for id in ["a", "b", "c"] {
        let stored = everything(store, &meeting(id)).await;
        assert_eq!((stored.counts(), &stored.seqs[..]), ([1; 5], &[1][..]), "{id}");
        let row = stored.row.expect("the meeting is there");
        assert_eq!((row.commit, row.reserved, row.status), (1, Seq(500), MeetingStatus::Ending), "{id}");
    }
    assert_eq!(everything(store, &meeting("claimed")).await, claimed);
    assert_eq!(everything(store, &meeting("behind")).await, behind);
    assert_eq!(everything(store, &meeting("missing")).await, Everything::default());
}

/// Each commit of a batch may write rows of other kinds, or only its meeting's row.
pub async fn a_batch_writes_what_each_part_holds(fixture: Fixture) {
    type Keep = fn(&mut Commit, Commit);
    let store = &*fixture.store;
    // What each commit keeps of a full one, and how many rows of each kind that is.
    let parts: [(Keep, [usize; 5]); 6] = [
        (|_, _| {}, [0, 0, 0, 0, 0]),
        (|part, full| part.packets = vec![packet(&full.meeting, 1)], [1, 0, 0, 0, 0]),
        (|part, full| part.packets = full.packets, [1, 1, 0, 0, 0]),
        (|part, full| part.instances = full.instances, [0, 0, 1, 0, 0]),
        (|part, full| part.keys = full.keys, [0, 0, 0, 1, 0]),
        (|part, full| part.dead_letters = full.dead_letters, [0, 0, 0, 0, 1]),
    ];
    let mut batch = Vec::new();
    for (index, (keep, _)) in parts.iter().enumerate() {
        let id = meeting(&format!("part {index}"));
        create(store, id.as_str()).await;
        let mut part = Commit::new(id.clone(), Epoch(1), 1, Seq(100));
        keep(&mut part, full_commit(&id, 1, 1));
        batch.push(part);
    }
    let outcomes = store.commit(&batch).await.expect("a batch is committed");
    assert_eq!(outcomes, [Outcome::Applied; 6]);
    for (part, (_, counts)) in batch.iter().zip(&parts) {
        assert_eq!(everything(store, &part.meeting).await.counts(), *counts, "{}", part.meeting);
    }
    // A deletion among commits that write only the row.
    for part in &mut batch {
        let mut next = Commit::new(part.meeting.clone(), Epoch(1), 2, Seq(100));
        next.keys = part.keys.iter().cloned().map(|write| KeyWrite { value: None, ..write }).collect();
        *part = next;
    }
    let outcomes = store.commit(&batch).await.expect("a batch is committed");
    assert_eq!(outcomes, [Outcome::Applied; 6]);
    for (part, (_, counts)) in batch.iter().zip(parts) {
        let [packets, marks, instances, _, letters] = counts;
        let left = everything(store, &part.meeting).await.counts();
        assert_eq!(left, [packets, marks, instances, 0, letters], "{}", part.meeting);
    }
}

/// A group commit of many meetings with many packets.
pub async fn a_big_batch_is_applied(fixture: Fixture) {
    const MEETINGS: usize = 24;
    const PACKETS: u64 = 40;
    let store = &*fixture.store;
    let ids: Vec<MeetingId> = (0..MEETINGS).map(|index| meeting(&format!("meeting {index}"))).collect();
    for id in &ids {
        create(store, id.as_str()).await;
    }
    let batch: Vec<Commit> = ids
        .iter()
        .map(|id| {
            let mut commit = full_commit(id, 1, 1);
            commit.packets = (1..=PACKETS).map(|seq| numbered(packet(id, seq), PRODUCER, seq)).collect();
            commit
        })
        .collect();
    let outcomes = store.commit(&batch).await.expect("a batch is committed");
    assert_eq!(outcomes, vec![Outcome::Applied; MEETINGS]);
    for id in &ids {
        assert_eq!(seqs(store, id).await, (1..=PACKETS).collect::<Vec<_>>());
        assert_eq!(marks(store, id).await, [mark(PRODUCER, PACKETS, PACKETS)]);
    }
}

/// An instance's row is written as a whole, except for a state that a commit leaves out; rows come by name.
pub async fn instances_keep_their_state(fixture: Fixture) {
    let store = &*fixture.store;
    create(store, "m").await;
    create(store, "other").await;
    let id = meeting("m");
    let record = |instance: &str, cursor, status, state: Option<&str>| InstanceRecord {
        instance: name(instance),
        cursor: Seq(cursor),
        joined: Seq(3),
        status,
        state: state.map(Into::into),
    };
    let big = format!("\"{}\"", "ü".repeat(300_000));
    let steps = [
        (
            vec![
                record("zoe", 1, InstanceStatus::Active, None),
                record("a.b", 2, InstanceStatus::Finished, Some("{\"n\":1}")),
                record("a-b", 3, InstanceStatus::Left, Some(&big)),
            ],
            vec![
                record("a-b", 3, InstanceStatus::Left, Some(&big)),
                record("a.b", 2, InstanceStatus::Finished, Some("{\"n\":1}")),
                record("zoe", 1, InstanceStatus::Active, None),
            ],
        ),
        (
            vec![
                record("a.b", 9, InstanceStatus::Suspended, None),
                record("a-b", 8, InstanceStatus::Active, Some("null")),
            ],
            vec![
                record("a-b", 8, InstanceStatus::Active, Some("null")),
                record("a.b", 9, InstanceStatus::Suspended, Some("{\"n\":1}")),
                record("zoe", 1, InstanceStatus::Active, None),
            ],
        ),
        (
            vec![record("zoe", 10, InstanceStatus::Active, Some("[]"))],
            vec![
                record("a-b", 8, InstanceStatus::Active, Some("null")),
                record("a.b", 9, InstanceStatus::Suspended, Some("{\"n\":1}")),
                record("zoe", 10, InstanceStatus::Active, Some("[]")),
            ],
        ),
    ];
    for (number, (writes, expected)) in (1..).zip(steps) {
        let mut commit = commit(&id, 1, number);
        commit.instances = writes;
        assert_eq!(commit_one(store, commit).await, Outcome::Applied);
        assert_eq!(store.instances(id.clone()).await.expect("instances are read"), expected);
    }
    assert_eq!(store.instances(meeting("other")).await.expect("instances are read"), []);
}

/// Dead letters come by seq, then instance; a newer one of the same packet replaces the older.
pub async fn dead_letters_are_kept(fixture: Fixture) {
    let store = &*fixture.store;
    create(store, "m").await;
    create(store, "m 2").await;
    let id = meeting("m");
    let mut first = commit(&id, 1, 1);
    first.dead_letters = [("zoe", 2), ("ada", 11), ("zoe", 9), ("ada", 2), ("zoe", 11)]
        .map(|(instance, seq)| dead_letter(instance, seq))
        .into();
    assert_eq!(commit_one(store, first).await, Outcome::Applied);
    let mut second = commit(&id, 1, 2);
    let again = DeadLetter {
        tries: 9,
        error: String::new(),
        at: at(99),
        source: name("audio"),
        ..dead_letter("zoe", 9)
    };
    second.dead_letters.push(again.clone());
    assert_eq!(commit_one(store, second).await, Outcome::Applied);
    let expected = vec![
        dead_letter("ada", 2),
        dead_letter("zoe", 2),
        again,
        dead_letter("ada", 11),
        dead_letter("zoe", 11),
    ];
    assert_eq!(store.dead_letters(id).await.expect("dead letters are read"), expected);
    assert_eq!(store.dead_letters(meeting("m 2")).await.expect("dead letters are read"), []);
}

/// A store that lasts holds the same after it was closed and opened again, and goes on from there.
pub async fn a_lasting_store_keeps_everything(fixture: Fixture) {
    let store = &*fixture.store;
    let ids = ["m", "it's `odd` ⟩"].map(meeting);
    let mut before = Vec::new();
    for id in &ids {
        create(store, id.as_str()).await;
        for number in 1..=3 {
            assert_eq!(commit_one(store, full_commit(id, 1, number)).await, Outcome::Applied);
        }
        before.push(everything(store, id).await);
    }
    store.close().await.expect("a store is closed");
    let Some(reopen) = &fixture.reopen else { return };
    for round in 0..2_u64 {
        let store = reopen().await;
        for (id, before) in ids.iter().zip(&mut before) {
            assert_eq!(everything(&*store, id).await, *before);
            assert_eq!(commit_one(&*store, full_commit(id, 1, 3 + round)).await, Outcome::Applied);
            assert_eq!(commit_one(&*store, full_commit(id, 1, 4 + round)).await, Outcome::Applied);
            *before = everything(&*store, id).await;
        }
        store.close().await.expect("a store is closed");
    }
    let store = reopen().await;
    let packets = store.packets(ids[1].clone(), PacketQuery::default()).await.expect("packets are read");
    let written = (1..=5).map(|seq| numbered(packet(&ids[1], seq), PRODUCER, seq));
    assert_eq!(packets, written.collect::<Vec<_>>());
    for number in 1..=5 {
        let found = store.numbered(ids[1].clone(), PRODUCER.into(), number).await;
        assert_eq!(found.expect("a number is looked up"), Some(Seq(number)));
    }
    store.close().await.expect("a store is closed");
}
