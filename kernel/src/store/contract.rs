//! The [`Store`] trait.

use std::{fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;

use super::{
    account::{AccountId, AccountRecord},
    commit::{Commit, Outcome},
    error::Error,
    lease::{Incarnation, LeaseRecord},
    listing::{MeetingPage, MeetingQuery},
    mark::Mark,
    query::PacketQuery,
    record::{DeadLetter, Epoch, InstanceRecord, MeetingRecord},
};
use crate::{DataPacket, MeetingId, MeetingMetadata, Name, Seq, Timestamp};

/// The future that a store's methods return.
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// A place where meetings are kept. The [module](super) says what a store promises.
///
/// Methods take owned arguments and return boxed futures, so that a store can be an `Arc<dyn Store>`.
///
/// # Cancel safety
/// If a [`commit`](Store::commit), [`create`](Store::create) or [`claim`](Store::claim) is dropped, it may or
/// may not have been applied. A commit may be repeated with the same arguments; a repeated claim costs an
/// epoch.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Creates and claims a meeting that is to start with these instances: epoch 1, no commit yet, seqs up to
    /// `reserve` reserved. `created` is the time of the caller's wall clock, by which meetings are
    /// [listed](Self::meetings).
    ///
    /// # Errors
    /// [`Error::Exists`] if there is a meeting of this id, running or ended; the id of a forgotten meeting is
    /// free. [`Error::Unavailable`], [`Error::Failed`].
    fn create(
        &self,
        metadata: MeetingMetadata,
        instances: Vec<Name>,
        reserve: Seq,
        created: Timestamp,
    ) -> StoreFuture<'_, MeetingRecord>;

    /// Takes a meeting over: raises its epoch by one and its reservation by `reserve` seqs. The new owner's
    /// first seq is one above the old reservation, which is the answer's `reserved` less `reserve`. From here
    /// on an owner with a lower epoch is fenced, and the meeting is owned by no [lease](LeaseRecord).
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Unavailable`], [`Error::Failed`].
    fn claim(&self, meeting: MeetingId, reserve: u64) -> StoreFuture<'_, MeetingRecord>;

    /// Leases of nodes, where several share the store.
    fn leases(&self) -> &dyn Leases;

    /// Applies commits of several meetings (at most one of each), in one transaction if the store has
    /// transactions. A meeting that is fenced or out of order does not affect the others. The outcomes are in
    /// the commits' order.
    ///
    /// Calls may overlap if their meetings differ. A short one should not wait for a long one: owners send what
    /// busy meetings write beside what quiet ones write.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if what became of the batch is unknown: send the same batch again.
    /// [`Error::Failed`] if nothing was applied and nothing would be.
    fn commit<'a>(&'a self, batch: &'a [Commit]) -> StoreFuture<'a, Vec<Outcome>>;

    /// A meeting's row.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Failed`]; the same for all methods that read.
    fn meeting(&self, meeting: MeetingId) -> StoreFuture<'_, Option<MeetingRecord>>;

    /// A page of the meetings that match a query, in the order that [`MeetingQuery`] describes. What a page
    /// costs should depend on the page: not on how many meetings there are, nor, for a query that asks for no
    /// meeting that has ended, on how many have.
    fn meetings(&self, query: MeetingQuery) -> StoreFuture<'_, MeetingPage>;

    /// A meeting's instances, by name.
    fn instances(&self, meeting: MeetingId) -> StoreFuture<'_, Vec<InstanceRecord>>;

    /// A meeting's packets, oldest first; none if there is no such meeting.
    fn packets(&self, meeting: MeetingId, query: PacketQuery) -> StoreFuture<'_, Vec<Arc<DataPacket>>>;

    /// The producers' marks, by producer: a new owner expects their next numbers.
    fn marks(&self, meeting: MeetingId) -> StoreFuture<'_, Vec<Mark>>;

    /// Those of these meetings, in this order, that have numbered packets, of whatever producer. It is asked for a page of
    /// meetings at a time, so it should cost less than [`marks`](Self::marks) of each.
    fn with_marks(&self, meetings: Vec<MeetingId>) -> StoreFuture<'_, Vec<MeetingId>>;

    /// The seq of the packet that a producer gave this number; `None` if there is no such packet. The cost
    /// does not depend on how long the meeting is.
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

    /// These accounts, in this order; those that are not there as [absent](AccountRecord::absent).
    fn accounts(&self, ids: Vec<AccountId>) -> StoreFuture<'_, Vec<AccountRecord>>;

    /// Replaces accounts, each once, if every one of them still has the version that it is given with; the stored version
    /// is one above. Otherwise nothing is changed. Returns whether they were replaced.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if what became of it is unknown: read them again. [`Error::Failed`].
    fn replace_accounts(&self, accounts: Vec<AccountRecord>) -> StoreFuture<'_, bool>;

    /// Removes a meeting: its row, packets, instances, keys, numbers, dead letters and accounts. A present owner is
    /// fenced first. Returns whether anything was removed. A call that was cut off may leave a part; repeat
    /// it.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Failed`]: a part may be gone.
    fn forget(&self, meeting: MeetingId) -> StoreFuture<'_, bool>;

    /// Finishes what is under way and releases files and connections. No method is called afterwards.
    fn close(&self) -> StoreFuture<'_, ()>;
}

/// Leases of nodes, and the meetings that they own: what a store does for a cluster. A node renews its [lease](LeaseRecord), and owns meetings as long as it holds.
pub trait Leases: Send + Sync {
    /// As [`create`](Store::create), by a node with a lease, which owns the meeting from then on.
    ///
    /// # Errors
    /// Those of [`create`](Store::create), and [`Error::LeaseEnded`].
    fn create_as(
        &self,
        owner: Incarnation,
        metadata: MeetingMetadata,
        instances: Vec<Name>,
        reserve: Seq,
        created: Timestamp,
    ) -> StoreFuture<'_, MeetingRecord>;

    /// As [`claim`](Store::claim), by a node with a lease, which owns the meeting from then on. It gets one that nobody owns, its
    /// own, or one whose owner's lease has [ended](Self::end_lease) or is not there; the time of a lease may be over, and it has
    /// not ended until then.
    ///
    /// # Errors
    /// Those of [`claim`](Store::claim), [`Error::Owned`] and [`Error::LeaseEnded`].
    fn claim_as(
        &self,
        owner: Incarnation,
        meeting: MeetingId,
        reserve: u64,
    ) -> StoreFuture<'_, MeetingRecord>;

    /// The owner of this epoch owns the meeting no more: the node `to` does, which holds a lease and is to claim it, or nobody, so
    /// that any node may. Returns whether it was done: false if another owner has claimed it, or `to` holds no lease.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Failed`].
    fn pass_on(&self, meeting: MeetingId, epoch: Epoch, to: Option<Incarnation>) -> StoreFuture<'_, bool>;

    /// Meetings that a node owns and that have not ended, by id; the first `limit` of them.
    fn owned(&self, owner: Incarnation, limit: usize) -> StoreFuture<'_, Vec<MeetingId>>;

    /// Begins a lease that lasts for `ttl` from now on by the store's clock, or renews it as [`renew_lease`](Self::renew_lease)
    /// does, if an earlier call did so whose answer was lost. Returns whether it is live: false if this incarnation had a lease
    /// that has ended.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if what became of it is unknown. [`Error::Failed`]. The same for the methods below.
    fn take_lease(&self, holder: Incarnation, ttl: Duration, document: Arc<str>) -> StoreFuture<'_, bool>;

    /// Renews a lease: it lasts for `ttl` from now on. Returns whether it is live: false if it has ended, if its time is over, or if
    /// there is none. Then its holder may own nothing any more.
    fn renew_lease(&self, holder: Incarnation, ttl: Duration, document: Arc<str>) -> StoreFuture<'_, bool>;

    /// Gives a lease back. Nothing happens if it has ended.
    fn release_lease(&self, holder: Incarnation) -> StoreFuture<'_, ()>;

    /// Ends a lease whose time is over. Returns whether it has ended, by this call or before, or is not there: then its holder cannot
    /// renew it, and its meetings may be claimed.
    fn end_lease(&self, holder: Incarnation) -> StoreFuture<'_, bool>;

    /// Removes the row of a lease that has ended. Returns whether it is gone.
    fn remove_lease(&self, holder: Incarnation) -> StoreFuture<'_, bool>;

    /// All leases, by holder.
    fn all_leases(&self) -> StoreFuture<'_, Vec<LeaseRecord>>;
}
