//! A store of accounts that is away when a test says so.

use std::sync::Arc;

use parking_lot::Mutex;
use teammy_kernel::{
    DataPacket, MeetingId, MeetingMetadata, Name, Seq, Timestamp,
    store::{
        AccountId, AccountRecord, Commit, DeadLetter, Error, InstanceRecord, Leases, Mark, MeetingPage,
        MeetingQuery, MeetingRecord, MemoryStore, Outcome, PacketQuery, Store, StoreFuture,
    },
};

/// What a store does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// It does nothing, and says so.
    Away,
    /// It writes, and its answer is lost.
    LosesAnswers,
    /// It never answers.
    Hangs,
}

/// A store in memory that follows [`FaultyStore::set`].
#[derive(Debug, Clone)]
pub(super) struct FaultyStore {
    store: MemoryStore,
    fault: Arc<Mutex<Fault>>,
    /// How often accounts were asked for, or to be changed.
    calls: Arc<Mutex<usize>>,
}

impl FaultyStore {
    pub(super) fn new(store: MemoryStore) -> Self {
        Self { store, fault: Arc::new(Mutex::new(Fault::None)), calls: Arc::default() }
    }

    pub(super) fn set(&self, fault: Fault) {
        *self.fault.lock() = fault;
    }

    pub(super) fn calls(&self) -> usize {
        *self.calls.lock()
    }
}

fn away<T>() -> Result<T, Error> {
    Err(Error::Unavailable { doing: "changing accounts".to_owned(), cause: "no connection".into() })
}

/// Budgets use accounts alone.
fn unused<T>() -> StoreFuture<'static, T> {
    unreachable!("invariant: budgets ask only for accounts")
}

impl Store for FaultyStore {
    fn accounts(&self, ids: Vec<AccountId>) -> StoreFuture<'_, Vec<AccountRecord>> {
        *self.calls.lock() += 1;
        match *self.fault.lock() {
            Fault::None | Fault::LosesAnswers => self.store.accounts(ids),
            Fault::Away => Box::pin(async { away() }),
            Fault::Hangs => Box::pin(std::future::pending()),
        }
    }

    fn replace_accounts(&self, accounts: Vec<AccountRecord>) -> StoreFuture<'_, bool> {
        *self.calls.lock() += 1;
        match *self.fault.lock() {
            Fault::None => self.store.replace_accounts(accounts),
            Fault::Away => Box::pin(async { away() }),
            Fault::LosesAnswers => Box::pin(async {
                self.store.replace_accounts(accounts).await?;
                away()
            }),
            Fault::Hangs => Box::pin(std::future::pending()),
        }
    }

    fn create(
        &self,
        _: MeetingMetadata,
        _: Vec<Name>,
        _: Seq,
        _: Timestamp,
    ) -> StoreFuture<'_, MeetingRecord> {
        unused()
    }

    fn claim(&self, _: MeetingId, _: u64) -> StoreFuture<'_, MeetingRecord> {
        unused()
    }

    fn leases(&self) -> &dyn Leases {
        self.store.leases()
    }

    fn commit<'a>(&'a self, _: &'a [Commit]) -> StoreFuture<'a, Vec<Outcome>> {
        unused()
    }

    fn meeting(&self, _: MeetingId) -> StoreFuture<'_, Option<MeetingRecord>> {
        unused()
    }

    fn meetings(&self, _: MeetingQuery) -> StoreFuture<'_, MeetingPage> {
        unused()
    }

    fn instances(&self, _: MeetingId) -> StoreFuture<'_, Vec<InstanceRecord>> {
        unused()
    }

    fn packets(&self, _: MeetingId, _: PacketQuery) -> StoreFuture<'_, Vec<Arc<DataPacket>>> {
        unused()
    }

    fn marks(&self, _: MeetingId) -> StoreFuture<'_, Vec<Mark>> {
        unused()
    }

    fn with_marks(&self, _: Vec<MeetingId>) -> StoreFuture<'_, Vec<MeetingId>> {
        unused()
    }

    fn numbered(&self, _: MeetingId, _: Arc<str>, _: u64) -> StoreFuture<'_, Option<Seq>> {
        unused()
    }

    fn get(&self, _: MeetingId, _: Name, _: String) -> StoreFuture<'_, Option<Arc<str>>> {
        unused()
    }

    fn list(&self, _: MeetingId, _: Name, _: String) -> StoreFuture<'_, Vec<(String, Arc<str>)>> {
        unused()
    }

    fn dead_letter(&self, _: MeetingId, _: Name, _: Seq) -> StoreFuture<'_, Option<DeadLetter>> {
        unused()
    }

    fn dead_letters(&self, _: MeetingId) -> StoreFuture<'_, Vec<DeadLetter>> {
        unused()
    }

    fn forget(&self, _: MeetingId) -> StoreFuture<'_, bool> {
        unused()
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        unused()
    }
}
