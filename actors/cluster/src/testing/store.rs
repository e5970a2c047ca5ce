//! The way from one node to the store of a cluster in a test, with faults.

use std::{ops::Range, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use teammy_kernel::{
    DataPacket, MeetingId, MeetingMetadata, Name, Seq, Store, Timestamp,
    store::{
        AccountId, AccountRecord, Commit, DeadLetter, Epoch, Error, Incarnation, InstanceRecord, LeaseRecord,
        Leases, Mark, MeetingPage, MeetingQuery, MeetingRecord, MemoryStore, Outcome, PacketQuery,
        StoreFuture,
    },
};
use tokio::{
    sync::{oneshot, watch},
    time::{sleep, timeout},
};

use super::history::{Record, Recorder};

/// Whether a node's requests reach the store, and its answers come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// They do.
    Open,
    /// Some requests and answers are lost, others arrive once the way is open again.
    Cut,
    /// All wait, and arrive once the way is open again.
    Held,
    /// The node is gone: of what was under way some arrives, and nothing more is sent.
    Gone,
}

/// A node's view of the one store. A request that its caller has given up is under way all the same, and may arrive later.
#[derive(Debug, Clone)]
pub struct StoreLink {
    me: Incarnation,
    store: MemoryStore,
    recorder: Recorder,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    way: watch::Sender<Way>,
    delay: Mutex<Range<Duration>>,
    patience: Duration,
    random: Mutex<fastrand::Rng>,
}

impl StoreLink {
    pub(super) fn new(me: Incarnation, store: MemoryStore, recorder: Recorder, seed: u64) -> Self {
        let shared = Shared {
            way: watch::Sender::new(Way::Open),
            delay: Mutex::new(Duration::ZERO..Duration::from_millis(2)),
            patience: Duration::from_secs(5),
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
        };
        Self { me, store, recorder, shared: Arc::new(shared) }
    }

    /// Opens or closes the way to the store. A way that is [gone](Way::Gone) stays so.
    pub fn set(&self, way: Way) {
        self.shared.way.send_if_modified(|present| {
            let is_other = *present != way && *present != Way::Gone;
            if is_other {
                *present = way;
            }
            is_other
        });
    }

    /// How long a request, and its answer, take: a random time of this range. The default is up to 2 ms.
    pub fn delay(&self, range: Range<Duration>) {
        *self.shared.delay.lock() = range;
    }

    /// Sends a request, which goes its way whether or not the caller waits.
    fn ask<T, F>(&self, doing: &'static str, apply: F) -> StoreFuture<'static, T>
    where
        T: Send + 'static,
        F: FnOnce(MemoryStore) -> BoxFuture<'static, Result<T, Error>> + Send + 'static,
    {
        if *self.shared.way.borrow() == Way::Gone {
            return futures::future::pending().boxed();
        }
        let (reply, answer) = oneshot::channel();
        let (shared, store) = (self.shared.clone(), self.store.clone());
        tokio::spawn(async move {
            if shared.travel().await {
                let answer = apply(store).await;
                if shared.travel().await {
                    let _ = reply.send(answer);
                }
            }
        });
        let shared = self.shared.clone();
        async move {
            let answer = timeout(shared.patience, async {
                match answer.await {
                    Ok(answer) => answer,
                    // It was lost: nobody tells the caller.
                    Err(_) => futures::future::pending().await,
                }
            });
            match answer.await {
                Ok(answer) => answer,
                Err(elapsed) => Err(Error::Unavailable { doing: doing.to_owned(), cause: Box::new(elapsed) }),
            }
        }
        .boxed()
    }
}

impl StoreLink {
    /// Asks for the ownership of a meeting, and notes it.
    fn own<F, Owned>(&self, doing: &'static str, own: F) -> StoreFuture<'static, MeetingRecord>
    where
        F: FnOnce(MemoryStore) -> Owned + Send + 'static,
        Owned: Future<Output = Result<MeetingRecord, Error>> + Send + 'static,
    {
        let (node, recorder) = (self.me.clone(), self.recorder.clone());
        self.ask(doing, |store| {
            let owned = own(store);
            async move {
                let row = owned.await?;
                recorder.record(Record::claimed(&node, &row));
                Ok(row)
            }
            .boxed()
        })
    }
}

impl Shared {
    /// One way: returns whether the message arrives.
    async fn travel(&self) -> bool {
        let delay = {
            let range = self.delay.lock();
            range.start + (range.end.saturating_sub(range.start)).mul_f64(self.random.lock().f64())
        };
        if !delay.is_zero() {
            sleep(delay).await;
        }
        let mut way = self.way.subscribe();
        let present = *way.borrow_and_update();
        match present {
            Way::Cut | Way::Gone if self.random.lock().bool() => false,
            Way::Open | Way::Gone => true,
            Way::Cut | Way::Held => {
                let opened = way.wait_for(|way| matches!(way, Way::Open | Way::Gone)).await;
                opened.is_ok_and(|way| *way == Way::Open) || self.random.lock().bool()
            }
        }
    }
}

/// Methods that ask the store for the same.
macro_rules! forward {
    ($($name:ident($($given:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(fn $name(&self, $($given: $type),*) -> StoreFuture<'_, $answer> {
            self.ask(stringify!($name), move |store| async move { store.$name($($given),*).await }.boxed())
        })*
    };
}

impl Store for StoreLink {
    fn leases(&self) -> &dyn Leases {
        self
    }

    fn commit<'a>(&'a self, batch: &'a [Commit]) -> StoreFuture<'a, Vec<Outcome>> {
        let (batch, node, recorder) = (batch.to_vec(), self.me.clone(), self.recorder.clone());
        let apply = |store: MemoryStore| async move {
            let outcomes = store.commit(&batch).await?;
            for (commit, _) in
                batch.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == Outcome::Applied)
            {
                recorder.record(Record::committed(&node, commit));
            }
            Ok(outcomes)
        };
        self.ask("commit", |store| apply(store).boxed())
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        futures::future::ready(Ok(())).boxed()
    }

    fn create(
        &self,
        metadata: MeetingMetadata,
        instances: Vec<Name>,
        reserve: Seq,
        created: Timestamp,
    ) -> StoreFuture<'_, MeetingRecord> {
        let create = move |store: MemoryStore| async move {
            store.create(metadata, instances, reserve, created).await
        };
        self.own("create", create)
    }

    fn claim(&self, meeting: MeetingId, reserve: u64) -> StoreFuture<'_, MeetingRecord> {
        self.own("claim", move |store| async move { store.claim(meeting, reserve).await })
    }

    forward! {
        meeting(meeting: MeetingId) -> Option<MeetingRecord>;
        meetings(query: MeetingQuery) -> MeetingPage;
        instances(meeting: MeetingId) -> Vec<InstanceRecord>;
        packets(meeting: MeetingId, query: PacketQuery) -> Vec<Arc<DataPacket>>;
        marks(meeting: MeetingId) -> Vec<Mark>;
        with_marks(meetings: Vec<MeetingId>) -> Vec<MeetingId>;
        numbered(meeting: MeetingId, producer: Arc<str>, number: u64) -> Option<Seq>;
        get(meeting: MeetingId, instance: Name, key: String) -> Option<Arc<str>>;
        list(meeting: MeetingId, instance: Name, prefix: String) -> Vec<(String, Arc<str>)>;
        dead_letter(meeting: MeetingId, instance: Name, seq: Seq) -> Option<DeadLetter>;
        dead_letters(meeting: MeetingId) -> Vec<DeadLetter>;
        accounts(ids: Vec<AccountId>) -> Vec<AccountRecord>;
        replace_accounts(accounts: Vec<AccountRecord>) -> bool;
        forget(meeting: MeetingId) -> bool;
    }
}

impl Leases for StoreLink {
    fn create_as(
        &self,
        owner: Incarnation,
        metadata: MeetingMetadata,
        instances: Vec<Name>,
        reserve: Seq,
        created: Timestamp,
    ) -> StoreFuture<'_, MeetingRecord> {
        let create = move |store: MemoryStore| async move {
            store.create_as(owner, metadata, instances, reserve, created).await
        };
        self.own("create_as", create)
    }

    fn claim_as(
        &self,
        owner: Incarnation,
        meeting: MeetingId,
        reserve: u64,
    ) -> StoreFuture<'_, MeetingRecord> {
        self.own("claim_as", move |store| async move { store.claim_as(owner, meeting, reserve).await })
    }

    forward! {
        pass_on(meeting: MeetingId, epoch: Epoch, to: Option<Incarnation>) -> bool;
        owned(owner: Incarnation, limit: usize) -> Vec<MeetingId>;
        take_lease(holder: Incarnation, ttl: Duration, document: Arc<str>) -> bool;
        renew_lease(holder: Incarnation, ttl: Duration, document: Arc<str>) -> bool;
        release_lease(holder: Incarnation) -> ();
        end_lease(holder: Incarnation) -> bool;
        remove_lease(holder: Incarnation) -> bool;
        all_leases() -> Vec<LeaseRecord>;
    }
}
