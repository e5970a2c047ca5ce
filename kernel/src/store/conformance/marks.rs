//! Numbered packets: their producers' marks, and the packet of each number.

use std::collections::BTreeMap;

use super::{
    fixture::Fixture,
    samples::{
        Numbers, ODD_IDS, PRODUCER, commit, commit_one, create, mark, marks, meeting, numbered, packet,
    },
};
use crate::{
    MeetingId, Seq,
    store::{Commit, Mark, Outcome, Store},
};

async fn look_up(store: &dyn Store, of: &MeetingId, producer: &str, number: u64) -> Option<u64> {
    let found = store.numbered(of.clone(), producer.into(), number).await;
    found.expect("a number is looked up").map(|seq| seq.0)
}

/// A commit of packets of [`PRODUCER`], each as (number, seq).
fn of_producer(of: &MeetingId, epoch: u64, number: u64, packets: &[(u64, u64)]) -> Commit {
    let mut part = commit(of, epoch, number);
    let packets = packets.iter().map(|&(number, seq)| numbered(packet(of, seq), PRODUCER, number));
    part.packets = packets.collect();
    part
}

/// Producers whose identifiers a store might confuse, beside the odd ones.
const ALIKE: [&str; 7] = ["p", "P", "p ", "p!", "p0", "pp", "p\0"];

/// However producers' packets are mixed in commits, each producer's mark is its newest number, and each
/// number leads to its packet.
pub async fn producers_come_as_far_as_their_packets(fixture: Fixture) {
    const COMMITS: u64 = 40;
    let store = &*fixture.store;
    let mut random = Numbers::new(0xa5c);
    create(store, "m").await;
    let id = meeting("m");
    let producers: Vec<&str> = ODD_IDS.into_iter().chain(ALIKE).chain([PRODUCER]).collect();
    // The seqs of each producer's packets, in the order of their numbers.
    let mut by_producer: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let mut seq = 0;
    for number in 1..=COMMITS {
        let mut part = commit(&id, 1, number);
        part.packets.clear();
        for _ in 0..random.below(12) {
            seq += 1 + random.below(3);
            let mut packet = packet(&id, seq);
            // Some packets are not numbered: outputs, lifecycle packets, other publishers' packets.
            if random.below(4) > 0 {
                let which = usize::try_from(random.below(producers.len() as u64));
                let producer = producers[which.expect("invariant: below their count")];
                let seqs = by_producer.entry(producer).or_default();
                seqs.push(seq);
                packet = numbered(packet, producer, seqs.len() as u64);
            }
            part.packets.push(packet);
        }
        assert_eq!(commit_one(store, part).await, Outcome::Applied);
        let expected: Vec<Mark> = by_producer
            .iter()
            .map(|(producer, seqs)| mark(producer, seqs.len() as u64, seqs[seqs.len() - 1]))
            .collect();
        assert_eq!(marks(store, &id).await, expected, "after commit {number}");
    }
    assert_eq!(by_producer.len(), producers.len(), "each producer had its turn");
    for (producer, seqs) in &by_producer {
        for (number, seq) in (1..).zip(seqs) {
            assert_eq!(look_up(store, &id, producer, number).await, Some(*seq), "{producer:?} {number}");
        }
        let last = seqs.len() as u64;
        for missing in [0, last + 1, last + 1_000, i64::MAX as u64, u64::MAX] {
            assert_eq!(look_up(store, &id, producer, missing).await, None, "{producer:?} {missing}");
        }
    }
    for unknown in ["", "nobody", "p\0\0", "plai", "plain "] {
        assert_eq!(look_up(store, &id, unknown, 1).await, None, "{unknown:?}");
    }
}

/// Numbers are found whether they were committed at once or one by one, with consecutive seqs or not.
pub async fn long_runs_of_numbers_are_looked_up(fixture: Fixture) {
    const MANY: u64 = 1_200;
    const LAST: u64 = 1_400;
    let store = &*fixture.store;
    create(store, "m").await;
    let id = meeting("m");
    // One commit, as of a recording, with every third seq left out; then one by one, then two by two.
    let mut commits: Vec<Vec<(u64, u64)>> =
        vec![(1..=MANY).map(|number| (number, number + number / 2)).collect()];
    commits.extend((MANY + 1..=MANY + 140).map(|number| vec![(number, 2 * number)]));
    commits.extend(
        (MANY + 141..LAST).step_by(2).map(|number| vec![(number, 2 * number), (number + 1, 2 * number + 9)]),
    );
    for (number, packets) in (1..).zip(&commits) {
        assert_eq!(commit_one(store, of_producer(&id, 1, number, packets)).await, Outcome::Applied);
        let (newest, seq) = packets[packets.len() - 1];
        assert_eq!(marks(store, &id).await, [mark(PRODUCER, newest, seq)], "after commit {number}");
    }
    let committed: Vec<(u64, u64)> = commits.into_iter().flatten().collect();
    for &(number, seq) in &committed {
        assert_eq!(look_up(store, &id, PRODUCER, number).await, Some(seq), "{number}");
    }
    assert_eq!(committed.len() as u64, LAST);
    for missing in [0, LAST + 1, LAST + MANY] {
        assert_eq!(look_up(store, &id, PRODUCER, missing).await, None, "{missing}");
    }
}

/// A commit that is sent again, or another one with its number, changes neither marks nor seqs.
pub async fn a_repeated_commit_marks_once(fixture: Fixture) {
    let store = &*fixture.store;
    create(store, "m").await;
    let id = meeting("m");
    let first = of_producer(&id, 1, 1, &[(1, 3), (2, 4)]);
    for _ in 0..3 {
        assert_eq!(commit_one(store, first.clone()).await, Outcome::Applied);
        assert_eq!(marks(store, &id).await, [mark(PRODUCER, 2, 4)]);
    }
    let changed = of_producer(&id, 1, 1, &[(1, 13), (2, 14), (3, 15)]);
    assert_eq!(commit_one(store, changed).await, Outcome::Applied);
    assert_eq!(marks(store, &id).await, [mark(PRODUCER, 2, 4)]);
    for (number, seq) in [(1, Some(3)), (2, Some(4)), (3, None)] {
        assert_eq!(look_up(store, &id, PRODUCER, number).await, seq, "{number}");
    }
}

/// A fenced commit or one out of order leaves no mark; the others of the batch leave theirs.
pub async fn a_refused_commit_leaves_no_mark(fixture: Fixture) {
    let store = &*fixture.store;
    for id in ["calm", "claimed", "behind"] {
        create(store, id).await;
    }
    let [calm, claimed, behind, missing] = ["calm", "claimed", "behind", "missing"].map(meeting);
    assert_eq!(commit_one(store, of_producer(&claimed, 1, 1, &[(1, 1)])).await, Outcome::Applied);
    store.claim(claimed.clone(), 10).await.expect("a meeting is claimed");
    let batch = [
        of_producer(&claimed, 1, 2, &[(2, 2)]),
        of_producer(&missing, 1, 1, &[(1, 1)]),
        of_producer(&calm, 1, 1, &[(1, 7), (2, 8)]),
        of_producer(&behind, 1, 5, &[(1, 1)]),
    ];
    for _ in 0..2 {
        let outcomes = store.commit(&batch).await.expect("a batch is committed");
        let refused = Outcome::OutOfOrder { stored: 0 };
        assert_eq!(outcomes, [Outcome::Fenced, Outcome::Fenced, Outcome::Applied, refused]);
    }
    for (id, newest, seqs) in [
        (&claimed, Some((1, 1)), [Some(1), None]),
        (&missing, None, [None, None]),
        (&calm, Some((2, 8)), [Some(7), Some(8)]),
        (&behind, None, [None, None]),
    ] {
        let newest: Vec<Mark> = newest.map(|(number, seq)| mark(PRODUCER, number, seq)).into_iter().collect();
        assert_eq!(marks(store, id).await, newest, "{id}");
        for (number, seq) in (1..).zip(seqs) {
            assert_eq!(look_up(store, id, PRODUCER, number).await, seq, "{number} of {id}");
        }
    }
}

/// One producer in many meetings, all in one batch: each meeting has its own numbers.
pub async fn meetings_do_not_share_marks(fixture: Fixture) {
    let store = &*fixture.store;
    let ids: Vec<MeetingId> = ODD_IDS.into_iter().chain(["m", "m!", "m0", "mm"]).map(meeting).collect();
    for id in &ids {
        create(store, id.as_str()).await;
    }
    for number in 1..=2 {
        let batch: Vec<Commit> = (1..)
            .zip(&ids)
            .map(|(index, id)| of_producer(id, 1, number, &[(number, 10 * index + number)]))
            .collect();
        let outcomes = store.commit(&batch).await.expect("a batch is committed");
        assert_eq!(outcomes, vec![Outcome::Applied; ids.len()]);
    }
    for (index, id) in (1..).zip(&ids) {
        assert_eq!(marks(store, id).await, [mark(PRODUCER, 2, 10 * index + 2)], "{id:?}");
        for (number, seq) in [(1, Some(10 * index + 1)), (2, Some(10 * index + 2)), (3, None)] {
            assert_eq!(look_up(store, id, PRODUCER, number).await, seq, "{number} of {id:?}");
        }
    }
}

/// Of many meetings those are found that have numbered packets, in the order in which they were asked for.
pub async fn meetings_with_marks_are_found(fixture: Fixture) {
    let store = &*fixture.store;
    let with_marks = async |ids: &[MeetingId]| {
        store.with_marks(ids.to_vec()).await.expect("meetings with marks are found")
    };
    assert_eq!(with_marks(&[]).await, Vec::<MeetingId>::new());
    let many = (0..300).map(|number| meeting(&format!("many {number:03}")));
    let ids: Vec<MeetingId> =
        ODD_IDS.into_iter().chain(["m", "m!", "m0", "mm"]).map(meeting).chain(many).collect();
    assert_eq!(with_marks(&ids).await, Vec::<MeetingId>::new(), "there are none yet");
    let mut expected = Vec::new();
    for (index, id) in ids.iter().enumerate() {
        create(store, id.as_str()).await;
        match index % 3 {
            // Packets without a number, and with one; the others have no packet.
            0 => assert_eq!(commit_one(store, commit(id, 1, 1)).await, Outcome::Applied),
            1 => {
                // Of a long run, whose mark is not its last number, and of many producers.
                let mut part = of_producer(id, 1, 1, &[(1, 1), (2, 2), (3, 3)]);
                let others = (0..20).map(|n| numbered(packet(id, 10 + n), &format!("p{n}"), 1));
                part.packets.extend(others);
                assert_eq!(commit_one(store, part).await, Outcome::Applied);
                expected.push(id.clone());
            }
            _ => {}
        }
    }
    assert_eq!(with_marks(&ids).await, expected);
    let backwards: Vec<_> = ids.iter().rev().cloned().chain([meeting("missing")]).collect();
    expected.reverse();
    assert_eq!(with_marks(&backwards).await, expected);
    assert_eq!(with_marks(&expected[..1]).await, expected[..1]);
    assert!(store.forget(expected[0].clone()).await.expect("a meeting is forgotten"));
    assert_eq!(with_marks(&backwards).await, expected[1..]);
}

/// A new owner goes on after the producers' marks; packets that the old owner still sends with the same
/// numbers are not found.
pub async fn a_new_owner_goes_on_from_the_marks(fixture: Fixture) {
    let store = &*fixture.store;
    create(store, "m").await;
    let id = meeting("m");
    assert_eq!(commit_one(store, of_producer(&id, 1, 1, &[(1, 1), (2, 2)])).await, Outcome::Applied);
    let claimed = store.claim(id.clone(), 100).await.expect("a meeting is claimed");
    assert_eq!((claimed.reserved, marks(store, &id).await), (Seq(200), vec![mark(PRODUCER, 2, 2)]));
    let late = of_producer(&id, 1, 2, &[(3, 3)]);
    assert_eq!(commit_one(store, late.clone()).await, Outcome::Fenced);
    assert_eq!(commit_one(store, of_producer(&id, 2, 2, &[(3, 101), (4, 102)])).await, Outcome::Applied);
    assert_eq!(commit_one(store, late).await, Outcome::Fenced);
    assert_eq!(marks(store, &id).await, [mark(PRODUCER, 4, 102)]);
    for (number, seq) in (1..).zip([Some(1), Some(2), Some(101), Some(102), None]) {
        assert_eq!(look_up(store, &id, PRODUCER, number).await, seq, "{number}");
    }
}

/// An owner that stores a number again changes neither the producer's mark nor that number's packet. No owner
/// does, but if one did, a repeated publish must still find its original.
pub async fn a_mark_never_goes_back(fixture: Fixture) {
    let store = &*fixture.store;
    create(store, "m").await;
    let id = meeting("m");
    // Each commit's numbers and seqs, and the mark after it.
    let steps = [
        (vec![(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)], (5, 5)),
        // Numbers of the middle, the first, the newest, the newest and one more.
        (vec![(2, 12), (3, 13)], (5, 5)),
        (vec![(1, 21)], (5, 5)),
        (vec![(5, 35)], (5, 5)),
        (vec![(5, 45), (6, 46)], (6, 46)),
        // One number twice in one commit.
        (vec![(7, 57), (7, 58)], (7, 57)),
        // A number far back.
        ((8..=300).map(|number| (number, 100 + number)).collect(), (300, 400)),
        (vec![(1, 501)], (300, 400)),
        ((1..=150).map(|number| (number, 600 + number)).collect(), (300, 400)),
    ];
    for (number, (packets, (newest, seq))) in (1..).zip(steps) {
        assert_eq!(commit_one(store, of_producer(&id, 1, number, &packets)).await, Outcome::Applied);
        assert_eq!(marks(store, &id).await, [mark(PRODUCER, newest, seq)], "after commit {number}");
    }
    let seqs = [1, 2, 3, 4, 5, 46, 57].into_iter().chain(108..=400).map(Some).chain([None]);
    for (number, seq) in (1..).zip(seqs) {
        assert_eq!(look_up(store, &id, PRODUCER, number).await, seq, "{number}");
    }
}
