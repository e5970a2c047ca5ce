//! Ids, rows and commits that the cases share, and short ways to write and read them.

use std::sync::Arc;

use crate::{
    DataPacket, MeetingId, MeetingMetadata, Name, Payload, Producer, Seq, Timestamp,
    store::{
        Commit, DeadLetter, Epoch, InstanceRecord, InstanceStatus, KeyWrite, Mark, MeetingQuery,
        MeetingRecord, MeetingStatus, Outcome, PacketQuery, Store,
    },
};

/// Ids that a store must not split, join or quote wrongly.
pub(super) const ODD_IDS: [&str; 12] = [
    "plain",
    "with space",
    "it's \"quoted\"",
    "back`tick",
    "⟨angle⟩",
    "a:b",
    "a/b\\c",
    "a,b]",
    "$meeting; DELETE packet",
    "%_*?",
    "日本語 🚀 é e\u{301}",
    "None",
];

pub(super) fn meeting(id: &str) -> MeetingId {
    MeetingId::new(id).expect("invariant: the suite's ids are valid")
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).expect("invariant: the suite's names are valid")
}

/// A time with nanoseconds.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::new(1_700_000_000 + second, 123_456_789).expect("invariant: a moment of this century")
}

pub(super) fn packet(of: &MeetingId, seq: u64) -> Arc<DataPacket> {
    Arc::new(DataPacket {
        meeting: of.clone(),
        seq: Seq(seq),
        source: name("chat"),
        timestamp: at(i64::try_from(seq).expect("invariant: the suite's seqs are small")),
        received_at: at(1_000_000),
        participant: Some("Ada".into()),
        payload: Payload::json_text(format!(r#"{{"text":"packet {seq}"}}"#))
            .expect("invariant: this is JSON"),
        producer: None,
        causes: Vec::new(),
        trace: None,
    })
}

/// A producer whose identifier a store must not change.
pub(super) const PRODUCER: &str = "it's:mine ⟩ é";

/// The packet with a producer's number.
pub(super) fn numbered(mut packet: Arc<DataPacket>, producer: &str, number: u64) -> Arc<DataPacket> {
    Arc::make_mut(&mut packet).producer = Some(Producer { id: producer.into(), number });
    packet
}

pub(super) fn mark(producer: &str, number: u64, seq: u64) -> Mark {
    Mark { producer: producer.into(), number, seq: Seq(seq) }
}

pub(super) fn dead_letter(instance: &str, seq: u64) -> DeadLetter {
    DeadLetter {
        instance: name(instance),
        seq: Seq(seq),
        source: name("chat"),
        tries: 3,
        error: "it's \"broken\"\nbadly 🚀".to_owned(),
        at: at(7),
    }
}

/// A commit with one packet, whose seq is the commit's number.
pub(super) fn commit(of: &MeetingId, epoch: u64, number: u64) -> Commit {
    let mut commit = Commit::new(of.clone(), Epoch(epoch), number, Seq(100));
    commit.packets.push(packet(of, number));
    commit
}

/// A commit that writes a row of each kind. [`PRODUCER`] numbers its packet with the commit's number.
pub(super) fn full_commit(of: &MeetingId, epoch: u64, number: u64) -> Commit {
    let mut commit = commit(of, epoch, number);
    commit.status = MeetingStatus::Ending;
    commit.reserved = Seq(500);
    commit.packets = vec![numbered(packet(of, number), PRODUCER, number)];
    commit.instances.push(InstanceRecord {
        instance: name("minutes"),
        cursor: Seq(number),
        joined: Seq(1),
        status: InstanceStatus::Suspended,
        state: Some(format!("{{\"commit\":{number}}}").into()),
    });
    commit.keys.push(KeyWrite {
        instance: name("minutes"),
        key: "key".to_owned(),
        value: Some(number.to_string().into()),
    });
    commit.dead_letters.push(dead_letter("minutes", number));
    commit
}

/// Creates a meeting with seqs up to 100 reserved.
pub(super) async fn create(store: &dyn Store, id: &str) -> MeetingRecord {
    let created = store.create(MeetingMetadata::new(meeting(id)), vec![name("minutes")], Seq(100), at(0));
    created.await.expect("a new meeting is created")
}

pub(super) async fn commit_one(store: &dyn Store, commit: Commit) -> Outcome {
    let outcomes = store.commit(&[commit]).await.expect("a store that is there commits");
    assert_eq!(outcomes.len(), 1, "one outcome a commit");
    outcomes[0]
}

pub(super) async fn row(store: &dyn Store, of: &MeetingId) -> MeetingRecord {
    store.meeting(of.clone()).await.expect("a row is read").expect("the meeting is there")
}

/// The ids of all meetings that match a query, in their order, read page by page.
pub(super) async fn list(store: &dyn Store, mut query: MeetingQuery) -> Vec<MeetingId> {
    let mut listed = Vec::new();
    loop {
        let page = store.meetings(query.clone()).await.expect("meetings are listed");
        listed.extend(page.meetings.into_iter().map(|row| row.metadata.id));
        let Some(next) = page.next else { return listed };
        assert!(query.after.as_ref().is_none_or(|after| *after < next), "a page goes on from the one before");
        query.after = Some(next);
    }
}

pub(super) async fn seqs(store: &dyn Store, of: &MeetingId) -> Vec<u64> {
    let packets = store.packets(of.clone(), PacketQuery::default()).await.expect("packets are read");
    packets.iter().map(|packet| packet.seq.0).collect()
}

pub(super) async fn marks(store: &dyn Store, of: &MeetingId) -> Vec<Mark> {
    store.marks(of.clone()).await.expect("marks are read")
}

/// Everything that can be read of a meeting; the default is the answer for a missing one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Everything {
    pub(super) row: Option<MeetingRecord>,
    pub(super) seqs: Vec<u64>,
    pub(super) marks: Vec<Mark>,
    pub(super) instances: Vec<InstanceRecord>,
    pub(super) keys: Vec<(String, Arc<str>)>,
    pub(super) dead_letters: Vec<DeadLetter>,
}

impl Everything {
    /// How many packets, marks, instances, keys and dead letters there are.
    pub(super) fn counts(&self) -> [usize; 5] {
        [self.seqs.len(), self.marks.len(), self.instances.len(), self.keys.len(), self.dead_letters.len()]
    }
}

pub(super) async fn everything(store: &dyn Store, of: &MeetingId) -> Everything {
    let keys = store.list(of.clone(), name("minutes"), String::new()).await;
    Everything {
        row: store.meeting(of.clone()).await.expect("a row is read"),
        seqs: seqs(store, of).await,
        marks: marks(store, of).await,
        instances: store.instances(of.clone()).await.expect("instances are read"),
        keys: keys.expect("keys are read"),
        dead_letters: store.dead_letters(of.clone()).await.expect("dead letters are read"),
    }
}

/// Pseudo-random numbers, the same for each run, so that a failure repeats (`SplitMix64`).
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn new(seed: u64) -> Self {
        // The test runner shows it only if the test fails.
        println!("seed {seed}");
        Self(seed)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
