//! The store: where meetings outlive their owners.
//!
//! A store keeps, for each meeting, one row (owner's epoch, number of the last commit, reserved seqs,
//! status), its durable packets, how far their producers have come, its instances' cursors and states, their
//! keys and values, and their dead letters. Everything an owner writes is a [`Commit`]: one atomic piece that
//! carries the owner's epoch and its own number, and that is applied only if the row holds that epoch and the
//! number before. So an owner that has been replaced cannot write, a commit that is sent twice is applied
//! once, and what is stored is always a prefix of what the owner issued.
//!
//! Where a producer's packets are, by their numbers, is written with the packets themselves, so that no
//! [`Mark`] tells of a packet that isn't there. That numbers come in order, from 1 and without holes, is for
//! the owner to see to; a store may build on it. Yet a mark only ever rises, and of two packets under one
//! number the first keeps it.
//!
//! Every store must pass the suite in module `conformance` (feature `testing`).

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod mark;
mod memory;

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use mark::Mark;
pub use memory::MemoryStore;

use crate::{DataPacket, MeetingId, MeetingMetadata, Name, Seq, error};

/// How many owners a meeting has had; the owner's claim to write. The first owner's is 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How far a meeting has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MeetingStatus {
    /// Takes packets.
    #[default]
    Running,
    /// Takes no more packets from outside; its instances finish.
    Ending,
    /// Complete.
    Ended,
}

/// A meeting's row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeetingRecord {
    /// What it was started with.
    pub metadata: MeetingMetadata,
    /// The instances it was started with. Until its first commit nothing else tells of them.
    pub instances: Vec<Name>,
    /// The owner's epoch.
    pub epoch: Epoch,
    /// The number of the last commit; 0 before the first. Numbers go on over owners.
    pub commit: u64,
    /// The highest seq that an owner may have given away; the next owner starts above it.
    pub reserved: Seq,
    /// How far it has come.
    pub status: MeetingStatus,
}

impl MeetingRecord {
    /// The row of a meeting that its first owner just made.
    pub fn first(metadata: MeetingMetadata, instances: Vec<Name>, reserved: Seq) -> Self {
        Self { metadata, instances, epoch: Epoch(1), commit: 0, reserved, status: MeetingStatus::Running }
    }
}

/// How an instance stands in a meeting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum InstanceStatus {
    /// Takes part.
    #[default]
    Active,
    /// Has finished with the meeting's end.
    Finished,
    /// Was taken out.
    Left,
    /// Failed too often and takes no more packets.
    Suspended,
}

/// An instance's row in a meeting; an owner writes it whole, except for a state that has not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceRecord {
    /// The instance.
    pub instance: Name,
    /// The seq up to which it has finished with the log.
    pub cursor: Seq,
    /// The seq of the packet on which it runs `on_meeting_start`.
    pub joined: Seq,
    /// How it stands.
    pub status: InstanceStatus,
    /// Its state as JSON. In a commit `None` leaves the stored one as it is; in an answer it means that none
    /// was ever stored.
    pub state: Option<Arc<str>>,
}

/// A change to one of an instance's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyWrite {
    /// The instance.
    pub instance: Name,
    /// The key, as the plugin names it.
    pub key: String,
    /// The value as JSON; `None` deletes the key.
    pub value: Option<Arc<str>>,
}

/// A packet that an instance could not deal with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The instance.
    pub instance: Name,
    /// The packet.
    pub seq: Seq,
    /// The packet's source.
    pub source: Name,
    /// How often it was tried.
    pub tries: u32,
    /// What went wrong at the last try.
    pub error: String,
    /// When it was given up.
    pub at: Timestamp,
}

impl DeadLetter {
    /// The longest error that is kept, in bytes.
    pub const MAX_ERROR_BYTES: usize = error::MAX_BYTES;

    /// A packet that an instance gave up at `at`, after so many tries. The error is cut where it is too long.
    pub fn new(instance: Name, packet: &DataPacket, tries: u32, error: &str, at: Timestamp) -> Self {
        let error = error::shortened(error, Self::MAX_ERROR_BYTES);
        Self { instance, seq: packet.seq, source: packet.source.clone(), tries, error, at }
    }
}

/// One atomic write of one meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commit {
    /// The meeting.
    pub meeting: MeetingId,
    /// The writer's epoch.
    pub epoch: Epoch,
    /// Its number: one above the last.
    pub number: u64,
    /// The row's new reservation; never lower than it was.
    pub reserved: Seq,
    /// The row's new status.
    pub status: MeetingStatus,
    /// Durable packets, in the log's order.
    pub packets: Vec<Arc<DataPacket>>,
    /// Instances whose rows change, each once.
    pub instances: Vec<InstanceRecord>,
    /// Keys that change, each of an instance once.
    pub keys: Vec<KeyWrite>,
    /// Packets given up.
    pub dead_letters: Vec<DeadLetter>,
    /// Packets that were given up and are finished with now, each of an instance: dead letters that go. None
    /// of them is among `dead_letters`.
    pub redriven: Vec<(Name, Seq)>,
}

impl Commit {
    /// A commit that writes nothing but the meeting's row.
    pub fn new(meeting: MeetingId, epoch: Epoch, number: u64, reserved: Seq) -> Self {
        Self {
            meeting,
            epoch,
            number,
            reserved,
            status: MeetingStatus::Running,
            packets: Vec::new(),
            instances: Vec::new(),
            keys: Vec::new(),
            dead_letters: Vec::new(),
            redriven: Vec::new(),
        }
    }
}

/// What became of one meeting's commit in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is stored, now or by an earlier try.
    Applied,
    /// Another owner has the meeting (or nobody has: the row is gone). Nothing of the commit is stored by
    /// this call; if it was sent before and the answer was lost, it may have been stored then, before the
    /// other owner came.
    Fenced,
    /// The row holds another number than the one before; nothing of the commit is stored. A writer that
    /// issues one commit after the other never sees it.
    OutOfOrder {
        /// The number that the row holds.
        stored: u64,
    },
}

/// How many of the packets that match to return. They come oldest first in every case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Take {
    /// All.
    #[default]
    All,
    /// The oldest so many.
    First(usize),
    /// The newest so many.
    Last(usize),
}

/// Which of a meeting's stored packets to read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PacketQuery {
    /// Only of these sources; `None` means of all.
    pub sources: Option<Vec<Name>>,
    /// Only from this seq on.
    pub from: Seq,
    /// Only up to this seq, included.
    pub to: Seq,
    /// Only those that tell of this moment or a later one.
    pub not_before: Option<Timestamp>,
    /// How many.
    pub take: Take,
}

impl Default for PacketQuery {
    fn default() -> Self {
        Self { sources: None, from: Seq(1), to: Seq::MAX, not_before: None, take: Take::All }
    }
}

impl PacketQuery {
    /// Packets of a range of the log, both ends included.
    pub fn range(from: Seq, to: Seq) -> Self {
        Self { from, to, ..Self::default() }
    }

    /// Only packets of these sources.
    #[must_use]
    pub fn sources(mut self, sources: Vec<Name>) -> Self {
        self.sources = Some(sources);
        self
    }

    /// Only packets that tell of this moment or a later one.
    #[must_use]
    pub fn not_before(mut self, at: Timestamp) -> Self {
        self.not_before = Some(at);
        self
    }

    /// How many.
    #[must_use]
    pub fn take(mut self, take: Take) -> Self {
        self.take = take;
        self
    }

    /// Whether a packet is one of those asked for, as far as one packet can tell (all but `take`).
    pub fn matches(&self, packet: &DataPacket) -> bool {
        packet.seq >= self.from
            && packet.seq <= self.to
            && self.sources.as_ref().is_none_or(|sources| sources.contains(&packet.source))
            && self.not_before.is_none_or(|at| packet.timestamp >= at)
    }
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A meeting of this id is there already.
    #[error("meeting {0} exists already")]
    Exists(MeetingId),
    /// There is no meeting of this id.
    #[error("there is no meeting {0}")]
    NotFound(MeetingId),
    /// The store cannot be reached, or gave up for a reason that may pass; whether it did the work is
    /// unknown.
    #[error("the store is unavailable while {doing}")]
    Unavailable {
        /// What was being done.
        doing: String,
        /// What the store said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store refused for a reason that will not pass.
    #[error("the store failed while {doing}")]
    Failed {
        /// What was being done.
        doing: String,
        /// What the store said.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// The future that a store's methods return.
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// A place where meetings are kept. See the module for what it promises.
///
/// Methods take what they need for as long as they need it, so that a store can stand behind `Arc<dyn
/// Store>`.
///
/// # Cancel safety
/// A dropped [`commit`](Store::commit), [`create`](Store::create) or [`claim`](Store::claim) may or may not
/// have been applied; calling it again with the same arguments is safe for a commit, and costs an epoch for a
/// claim.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Makes a meeting that is to start with these instances, and claims it: epoch 1, no commit yet, seqs up
    /// to `reserve` reserved.
    ///
    /// # Errors
    /// [`Error::Exists`] if the id is taken; [`Error::Unavailable`], [`Error::Failed`].
    fn create(
        &self,
        metadata: MeetingMetadata,
        instances: Vec<Name>,
        reserve: Seq,
    ) -> StoreFuture<'_, MeetingRecord>;

    /// Takes a meeting over: raises its epoch by one and its reservation by `reserve` seqs. What the answer's
    /// reservation was before the raise is `reserved - reserve`; the new owner's first seq is one above that.
    /// An owner whose epoch is lower is fenced from here on.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Unavailable`], [`Error::Failed`].
    fn claim(&self, meeting: MeetingId, reserve: u64) -> StoreFuture<'_, MeetingRecord>;

    /// Applies commits of several meetings (at most one of each), in one transaction where the store has
    /// them. One meeting's being fenced or out of order leaves the others as they are. The outcomes are
    /// in the commits' order.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if what became of the batch is unknown: send the same batch again.
    /// [`Error::Failed`] if nothing was applied and nothing would be.
    fn commit<'a>(&'a self, batch: &'a [Commit]) -> StoreFuture<'a, Vec<Outcome>>;

    /// A meeting's row.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Failed`]; as for all that read.
    fn meeting(&self, meeting: MeetingId) -> StoreFuture<'_, Option<MeetingRecord>>;

    /// The ids of all meetings, in order.
    fn meetings(&self) -> StoreFuture<'_, Vec<MeetingId>>;

    /// A meeting's instances, by name.
    fn instances(&self, meeting: MeetingId) -> StoreFuture<'_, Vec<InstanceRecord>>;

    /// A meeting's packets, oldest first; none where there is no such meeting.
    fn packets(&self, meeting: MeetingId, query: PacketQuery) -> StoreFuture<'_, Vec<Arc<DataPacket>>>;

    /// How far each producer has come, by producer: what a new owner goes on from.
    fn marks(&self, meeting: MeetingId) -> StoreFuture<'_, Vec<Mark>>;

    /// Where the packet is that a producer gave this number; none where there is no such packet. It is looked
    /// up, not searched for: it costs the same in a long meeting as in a short one.
    fn numbered(&self, meeting: MeetingId, producer: Arc<str>, number: u64) -> StoreFuture<'_, Option<Seq>>;

    /// The value of an instance's key in a meeting, as JSON.
    fn get(&self, meeting: MeetingId, instance: Name, key: String) -> StoreFuture<'_, Option<Arc<str>>>;

    /// An instance's keys in a meeting that start with a prefix, with their values, in key order.
    fn list(
        &self,
        meeting: MeetingId,
        instance: Name,
        prefix: String,
    ) -> StoreFuture<'_, Vec<(String, Arc<str>)>>;

    /// An instance's dead letter of a packet, if there is one.
    fn dead_letter(
        &self,
        meeting: MeetingId,
        instance: Name,
        seq: Seq,
    ) -> StoreFuture<'_, Option<DeadLetter>>;

    /// A meeting's dead letters, by seq, then instance.
    fn dead_letters(&self, meeting: MeetingId) -> StoreFuture<'_, Vec<DeadLetter>>;

    /// Forgets a meeting: its row, packets, instances, keys, numbers and dead letters. An owner that it still
    /// has is fenced first. Says whether there was anything of it. One that was cut off is to be asked
    /// for again, and until then may have left a part.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Failed`]: a part may be gone.
    fn forget(&self, meeting: MeetingId) -> StoreFuture<'_, bool>;

    /// Finishes what is under way and lets go of files and connections; nothing is called afterwards.
    fn close(&self) -> StoreFuture<'_, ()>;
}
