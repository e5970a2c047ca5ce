//! What every store must do, as tests that any store can run.
//!
//! A store's author writes a function that makes a [`Fixture`], and lets
//! [`store_conformance!`](crate::store_conformance) write one test for each case:
//! ```
//! use teammy_kernel::store::{MemoryStore, conformance::Fixture};
//!
//! async fn memory() -> Fixture {
//!     Fixture::new(MemoryStore::default())
//! }
//!
//! teammy_kernel::store_conformance!(memory());
//! # fn main() {}
//! ```
//! The cases say what they expect by panicking, so each runs alone and on a store of its own. Where there may
//! be no store, such as a server that isn't there, the function gives `Option<Fixture>`, and says itself that
//! it has none.

mod ambiguous;
mod crash;
mod forgetting;
mod interleave;
mod keys;
mod marks;
mod packets;
mod rows;

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;

use super::{
    Commit, DeadLetter, Epoch, InstanceRecord, InstanceStatus, KeyWrite, Mark, MeetingRecord, MeetingStatus,
    Outcome, PacketQuery, Store,
};
use crate::{DataPacket, MeetingId, MeetingMetadata, Name, Payload, Producer, Seq, Timestamp};

pub use ambiguous::{
    a_claim_whose_answer_is_lost_is_repeated, a_commit_whose_answer_is_lost_is_repeated,
    a_creation_whose_answer_is_lost_is_repeated, a_lost_commit_and_a_claim_leave_all_or_nothing,
    a_part_of_a_lost_batch_may_be_fenced,
};
pub use crash::a_crash_keeps_what_was_acknowledged;
pub use forgetting::{a_forgotten_meeting_is_gone, a_long_meeting_is_forgotten, a_redriven_letter_goes};
pub use interleave::{claims_and_commits_in_every_order, claims_and_commits_race};
pub use keys::{keys_are_listed_by_prefix, keys_are_set_and_deleted, keys_do_not_collide};
pub use marks::{
    a_mark_never_goes_back, a_new_owner_goes_on_from_the_marks, a_refused_commit_leaves_no_mark,
    a_repeated_commit_marks_once, long_runs_of_numbers_are_looked_up, meetings_do_not_share_marks,
    producers_come_as_far_as_their_packets,
};
pub use packets::{packets_come_back_equal, queries_answer_as_the_model_does};
pub use rows::{
    a_batch_leaves_fenced_meetings_out, a_batch_writes_what_each_part_holds, a_big_batch_is_applied,
    a_claim_raises_epoch_and_reservation, a_commit_for_a_missing_meeting_is_fenced,
    a_commit_of_a_lower_epoch_is_fenced, a_commit_out_of_order_is_refused, a_lasting_store_keeps_everything,
    a_meeting_is_created_once, a_repeated_commit_is_applied_once, a_reservation_never_shrinks,
    commits_apply_in_order, dead_letters_are_kept, instances_keep_their_state, meetings_are_listed,
    nothing_is_known_of_a_missing_meeting,
};

type Reopen = Box<dyn Fn() -> BoxFuture<'static, Arc<dyn Store>> + Send + Sync>;

/// Anything that is only to be dropped.
trait Kept: Send + Sync {}

impl<T: Send + Sync> Kept for T {}

/// An empty store to run a case on, and how to open it again if it outlives being closed.
pub struct Fixture {
    store: Arc<dyn Store>,
    reopen: Option<Reopen>,
    crash: Option<Reopen>,
    // Dropped last: what the store lives in.
    kept: Option<Box<dyn Kept>>,
}

impl Fixture {
    /// A store that is gone once it is closed.
    pub fn new(store: impl Store) -> Self {
        Self { store: Arc::new(store), reopen: None, crash: None, kept: None }
    }

    /// Says how to open the store again after it was closed; it then holds what it held.
    #[must_use]
    pub fn reopen<F, Fut>(mut self, reopen: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Arc<dyn Store>> + Send + 'static,
    {
        self.reopen = Some(Box::new(move || Box::pin(reopen())));
        self
    }

    /// Says how to kill the store in the midst of its work, as a crash would, and to open it again. It then
    /// holds what it had said that it holds.
    #[must_use]
    pub fn crash<F, Fut>(mut self, crash: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Arc<dyn Store>> + Send + 'static,
    {
        self.crash = Some(Box::new(move || Box::pin(crash())));
        self
    }

    /// Keeps something for as long as the case runs, such as a directory.
    #[must_use]
    pub fn keep(mut self, kept: impl Send + Sync + 'static) -> Self {
        self.kept = Some(Box::new(kept));
        self
    }
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture")
            .field("store", &self.store)
            .field("kept", &self.kept.is_some())
            .finish_non_exhaustive()
    }
}

/// Writes one `#[tokio::test]` for each case of the suite. The argument is an expression that is a future of
/// a [`Fixture`](crate::store::conformance::Fixture), or of an `Option` of one; it is evaluated once for each
/// case. Use it once in a module.
#[macro_export]
macro_rules! store_conformance {
    ($make:expr) => {
        $crate::store_conformance! { @cases $make;
            a_batch_leaves_fenced_meetings_out,
            a_batch_writes_what_each_part_holds,
            a_big_batch_is_applied,
            a_claim_raises_epoch_and_reservation,
            a_claim_whose_answer_is_lost_is_repeated,
            a_commit_for_a_missing_meeting_is_fenced,
            a_commit_of_a_lower_epoch_is_fenced,
            a_commit_out_of_order_is_refused,
            a_commit_whose_answer_is_lost_is_repeated,
            a_crash_keeps_what_was_acknowledged,
            a_creation_whose_answer_is_lost_is_repeated,
            a_lasting_store_keeps_everything,
            a_forgotten_meeting_is_gone,
            a_long_meeting_is_forgotten,
            a_lost_commit_and_a_claim_leave_all_or_nothing,
            a_mark_never_goes_back,
            a_meeting_is_created_once,
            a_new_owner_goes_on_from_the_marks,
            a_part_of_a_lost_batch_may_be_fenced,
            a_redriven_letter_goes,
            a_refused_commit_leaves_no_mark,
            a_repeated_commit_is_applied_once,
            a_repeated_commit_marks_once,
            a_reservation_never_shrinks,
            claims_and_commits_in_every_order,
            claims_and_commits_race,
            commits_apply_in_order,
            dead_letters_are_kept,
            instances_keep_their_state,
            keys_are_listed_by_prefix,
            keys_are_set_and_deleted,
            keys_do_not_collide,
            long_runs_of_numbers_are_looked_up,
            meetings_are_listed,
            meetings_do_not_share_marks,
            nothing_is_known_of_a_missing_meeting,
            packets_come_back_equal,
            producers_come_as_far_as_their_packets,
            queries_answer_as_the_model_does,
        }
    };
    (@cases $make:expr; $($case:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let fixture: ::std::option::Option<$crate::store::conformance::Fixture> = $make.await.into();
                if let ::std::option::Option::Some(fixture) = fixture {
                    $crate::store::conformance::$case(fixture).await;
                }
            }
        )+
    };
}

// What the cases share.

/// Ids that a store must not take apart, join or quote wrongly.
const ODD_IDS: [&str; 12] = [
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

fn meeting(id: &str) -> MeetingId {
    MeetingId::new(id).expect("invariant: the suite's ids are valid")
}

fn name(text: &str) -> Name {
    Name::new(text).expect("invariant: the suite's names are valid")
}

/// A moment that needs all its digits.
fn at(second: i64) -> Timestamp {
    Timestamp::new(1_700_000_000 + second, 123_456_789).expect("invariant: a moment of this century")
}

fn packet(of: &MeetingId, seq: u64) -> Arc<DataPacket> {
    Arc::new(DataPacket {
        meeting: of.clone(),
        seq: Seq(seq),
        source: name("chat"),
        timestamp: at(i64::try_from(seq).expect("invariant: the suite's seqs are small")),
        received_at: at(1_000_000),
        participant: Some("Ada".into()),
        payload: Payload::Json(format!(r#"{{"text":"packet {seq}"}}"#).into()),
        producer: None,
        causes: Vec::new(),
    })
}

/// A producer whose identifier a store must leave as it is.
const PRODUCER: &str = "it's:mine ⟩ é";

/// A packet as a producer numbered it.
fn numbered(mut packet: Arc<DataPacket>, producer: &str, number: u64) -> Arc<DataPacket> {
    Arc::make_mut(&mut packet).producer = Some(Producer { id: producer.into(), number });
    packet
}

fn mark(producer: &str, number: u64, seq: u64) -> Mark {
    Mark { producer: producer.into(), number, seq: Seq(seq) }
}

fn dead_letter(instance: &str, seq: u64) -> DeadLetter {
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
fn commit(of: &MeetingId, epoch: u64, number: u64) -> Commit {
    let mut commit = Commit::new(of.clone(), Epoch(epoch), number, Seq(100));
    commit.packets.push(packet(of, number));
    commit
}

/// A commit that writes something of each kind; its packet's number at [`PRODUCER`] is the commit's.
fn full_commit(of: &MeetingId, epoch: u64, number: u64) -> Commit {
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

/// Makes a meeting with seqs up to 100.
async fn create(store: &dyn Store, id: &str) -> MeetingRecord {
    let created = store.create(MeetingMetadata::new(meeting(id)), vec![name("minutes")], Seq(100));
    created.await.expect("a new meeting is created")
}

async fn commit_one(store: &dyn Store, commit: Commit) -> Outcome {
    let outcomes = store.commit(&[commit]).await.expect("a store that is there commits");
    assert_eq!(outcomes.len(), 1, "one outcome a commit");
    outcomes[0]
}

async fn row(store: &dyn Store, of: &MeetingId) -> MeetingRecord {
    store.meeting(of.clone()).await.expect("a row is read").expect("the meeting is there")
}

async fn seqs(store: &dyn Store, of: &MeetingId) -> Vec<u64> {
    let packets = store.packets(of.clone(), PacketQuery::default()).await.expect("packets are read");
    packets.iter().map(|packet| packet.seq.0).collect()
}

async fn marks(store: &dyn Store, of: &MeetingId) -> Vec<Mark> {
    store.marks(of.clone()).await.expect("marks are read")
}

/// All that can be read of a meeting; the default is what there is of a missing one.
#[derive(Debug, Default, PartialEq, Eq)]
struct Everything {
    row: Option<MeetingRecord>,
    seqs: Vec<u64>,
    marks: Vec<Mark>,
    instances: Vec<InstanceRecord>,
    keys: Vec<(String, Arc<str>)>,
    dead_letters: Vec<DeadLetter>,
}

impl Everything {
    /// How many there are of each kind.
    fn counts(&self) -> [usize; 5] {
        [self.seqs.len(), self.marks.len(), self.instances.len(), self.keys.len(), self.dead_letters.len()]
    }
}

async fn everything(store: &dyn Store, of: &MeetingId) -> Everything {
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

/// Pseudo-random numbers that are the same each time, so that a failure repeats (`SplitMix64`).
struct Numbers(u64);

impl Numbers {
    fn new(seed: u64) -> Self {
        // Shown by a failing test only, which is when it is wanted.
        println!("seed {seed}");
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
