//! The store in SurrealDB: embedded in a directory, or on a server.
//!
//! # Tables
//! Record ids are arrays that begin with the meeting. So all that belongs to one meeting lies side by side,
//! and history is a range scan:
//!
//! | record | columns |
//! |---|---|
//! | `meeting:[id]` | `epoch`, `commit`, `reserved`, `status`, `metadata` (an object), `instances` (those it was started with), `created` (when; absent if it is unknown), `place` (in the order of listings), `last` (the seq of its last packet, once there is one), `forgotten` (true while it is being forgotten), `owner` (the node that owns it, as `[node, boot]`) |
//! | `listed:[seconds, nanoseconds, meeting]` | none: the `place` of each meeting, by the time of its creation, counted down |
//! | `open:[seconds, nanoseconds, meeting]` | none: the `place` of each meeting that has not ended, and of some that have |
//! | `packet:[meeting, seq]` | `source`, `timestamp`, `received_at`, `form` (`bytes`, `text` or `json`), `payload` (bytes or a string); where there are any: `participant`, `producer` (`id`, `number`), `causes` |
//! | `lifecycle:[meeting, seq]` | copies of the packets of source `meeting`, with the same columns |
//! | `numbered:[meeting, producer, last]` | `seqs` of a run of up to 64 of a producer's packets, whose numbers end with `last` |
//! | `mark:[meeting, producer]` | a `number` of the producer's and its `seq`, at most 63 behind its newest |
//! | `state:[meeting, instance]` | `cursor`, `joined`, `status`, and the `state` as JSON text once there is one |
//! | `kv:[meeting, instance, key]` | `value`, as JSON text |
//! | `dead_letter:[meeting, instance, seq]` | `source`, `tries`, `error`, `at` |
//! | `account:[meeting, key]` | `version` and `document` of what several owners change; the meeting is empty where there is none |
//! | `lease:[node, boot]` | `status`, `until` (when its time is over), `document` |
//! | `owned:[node, boot, meeting]` | none: a meeting that the node owned last; the meeting's `owner` says whether it still does |
//! | `teammy:schema` | `version`, and `compatible_from`, the oldest version of programs that can use it |
//!
//! JSON stays text, as everywhere in Teammy, because SurrealDB's numbers are not JSON's. A query by hand
//! decodes it with a function, for example `SELECT timestamp, participant, encoding::json::decode(payload) AS
//! said FROM packet:['Bed015', 1]..['Bed015', 100] WHERE source = 'transcription'`. Tables are schemaless:
//! this crate is their only writer, and a check of each column would slow down each commit. Module `runs`
//! explains the tables of numbered packets.
//!
//! # Invariants
//! - A value from outside is never written into a query's text; it is bound as a variable. The texts are
//!   constants, or joined from constants.
//! - A commit is one transaction, and it **writes** the row of each meeting that it applies. SurrealDB's
//!   transactions are snapshot-isolated: two that write the same row conflict, but one that only reads the
//!   row does not notice the other. So a claim and a commit of the same meeting can't both succeed on the
//!   same snapshot, and fencing rests on that.
//! - A transaction that lost a conflict has changed nothing, so it is retried here. Callers see a conflict
//!   only after many retries.
//! - No type of SurrealDB's is in this crate's public API.

mod accounts;
mod commit;
mod conflicts;
mod connection;
mod connection_manager;
mod decode;
mod directory;
mod encode;
mod error;
mod forget;
mod ids;
mod leases;
mod listing;
mod meetings;
mod numbers;
mod open_database;
mod options;
mod packets;
mod runs;
mod schema;
mod values;

use std::{fmt, sync::Arc, time::Duration};

use futures::FutureExt;
use teammy_kernel::{
    DataPacket, MeetingId, MeetingMetadata, Name, Seq, Store, Timestamp,
    store::{
        AccountId, AccountRecord, Commit, DeadLetter, Epoch, Incarnation, InstanceRecord, LeaseRecord,
        Leases, Mark, MeetingPage, MeetingQuery, MeetingRecord, Outcome, PacketQuery, StoreFuture,
    },
};

use tracing::info;

use self::{
    connection::Connection,
    connection_manager::QueryKind,
    decode::StoredRow,
    open_database::{OpenDatabase, SELECT},
    values::by_id,
};

pub use error::OpenError;
pub use options::Options;

/// The log targets of the database and of the connection to a server. At DEBUG and TRACE they log the values
/// that they are given.
pub const LOG_TARGETS: [&str; 3] = ["surrealdb", "surrealkv", "tungstenite"];

/// Opens a store. Makes its tables if they don't exist, and upgrades an older schema. A database that a newer program
/// has upgraded is opened if that program says that this one can work with it, which holds for the next version.
///
/// A directory is made together with its parents. One process at a time can hold it, until [`Store::close`]
/// has ended.
///
/// # Errors
/// The message of each [`OpenError`] says what to do about it.
pub async fn open(options: Options) -> Result<SurrealStore, OpenError> {
    let connection = connection::open(&options).await?;
    match schema::prepare(&connection, &options).await {
        Ok(newer) => {
            if let Some(version) = newer {
                let url = options.shown_url();
                info!(%url, version, "opened a database that a newer version of the program has upgraded");
            }
            Ok(SurrealStore::new(options, connection))
        }
        Err(error) => {
            // Frees the directory, so that a newer program can open it at once.
            connection.close().await.ok();
            Err(error)
        }
    }
}

/// Meetings in SurrealDB. A clone is the same store.
#[derive(Clone)]
pub struct SurrealStore {
    database: Arc<OpenDatabase>,
    /// The same database, over a connection of its own if it is on a server.
    leases: Arc<OpenDatabase>,
}

impl SurrealStore {
    fn new(options: Options, connection: Connection) -> Self {
        let database = Arc::new(OpenDatabase::new(options.clone(), connection));
        let leases = if database.is_embedded() {
            database.clone()
        } else {
            Arc::new(OpenDatabase::for_leases(options))
        };
        Self { database, leases }
    }
}

impl fmt::Debug for SurrealStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SurrealStore").field("url", &self.database.url).finish_non_exhaustive()
    }
}

impl Store for SurrealStore {
    fn create(
        &self,
        metadata: MeetingMetadata,
        instances: Vec<Name>,
        reserve: Seq,
        created: Timestamp,
    ) -> StoreFuture<'_, MeetingRecord> {
        self.database.create_meeting(metadata, instances, reserve, created).boxed()
    }

    fn claim(&self, meeting: MeetingId, reserve: u64) -> StoreFuture<'_, MeetingRecord> {
        self.database.claim_meeting(meeting, reserve).boxed()
    }

    fn leases(&self) -> &dyn Leases {
        self
    }

    fn commit<'a>(&'a self, batch: &'a [Commit]) -> StoreFuture<'a, Vec<Outcome>> {
        self.database.apply(batch).boxed()
    }

    fn meeting(&self, meeting: MeetingId) -> StoreFuture<'_, Option<MeetingRecord>> {
        async move { self.database.read_meeting(&meeting).await }.boxed()
    }

    fn meetings(&self, query: MeetingQuery) -> StoreFuture<'_, MeetingPage> {
        self.database.list_meetings(query).boxed()
    }

    fn instances(&self, meeting: MeetingId) -> StoreFuture<'_, Vec<InstanceRecord>> {
        async move {
            let doing = || format!("reading instances of meeting {meeting}");
            let all = || Ok(by_id(ids::all_of(ids::INSTANCES, &meeting)));
            let mut instances =
                self.database.rows(QueryKind::Read, SELECT, all, doing, StoredRow::instance).await?;
            instances.sort_by(|a, b| a.instance.cmp(&b.instance));
            Ok(instances)
        }
        .boxed()
    }

    fn packets(&self, meeting: MeetingId, query: PacketQuery) -> StoreFuture<'_, Vec<Arc<DataPacket>>> {
        self.database.read_packets(meeting, query).boxed()
    }

    fn marks(&self, meeting: MeetingId) -> StoreFuture<'_, Vec<Mark>> {
        async move { self.database.read_marks(&meeting).await }.boxed()
    }

    fn with_marks(&self, meetings: Vec<MeetingId>) -> StoreFuture<'_, Vec<MeetingId>> {
        self.database.find_marked(meetings).boxed()
    }

    fn numbered(&self, meeting: MeetingId, producer: Arc<str>, number: u64) -> StoreFuture<'_, Option<Seq>> {
        async move { self.database.find_number(&meeting, &producer, number).await }.boxed()
    }

    fn get(&self, meeting: MeetingId, instance: Name, key: String) -> StoreFuture<'_, Option<Arc<str>>> {
        async move {
            let doing = || format!("reading a key of {instance} in meeting {meeting}");
            let id = || Ok(by_id(ids::key_id(&meeting, &instance, &key)));
            Ok(self
                .database
                .rows(QueryKind::Read, SELECT, id, doing, StoredRow::key_value)
                .await?
                .pop()
                .map(|(_, value)| value))
        }
        .boxed()
    }

    fn list(
        &self,
        meeting: MeetingId,
        instance: Name,
        prefix: String,
    ) -> StoreFuture<'_, Vec<(String, Arc<str>)>> {
        async move {
            let doing = || format!("listing keys of {instance} in meeting {meeting}");
            let all = || Ok(by_id(ids::keys_of(&meeting, &instance, &prefix)));
            let mut keys =
                self.database.rows(QueryKind::Read, SELECT, all, doing, StoredRow::key_value).await?;
            // The range depends on how SurrealDB encodes texts; this check does not.
            keys.retain(|(key, _)| key.starts_with(&prefix));
            keys.sort_unstable();
            Ok(keys)
        }
        .boxed()
    }

    fn dead_letter(
        &self,
        meeting: MeetingId,
        instance: Name,
        seq: Seq,
    ) -> StoreFuture<'_, Option<DeadLetter>> {
        async move {
            let doing = || format!("reading a dead letter of {instance} in meeting {meeting}");
            let id = || Ok(by_id(ids::dead_letter_id(&meeting, &instance, seq)?));
            Ok(self.database.rows(QueryKind::Read, SELECT, id, doing, StoredRow::dead_letter).await?.pop())
        }
        .boxed()
    }

    fn dead_letters(&self, meeting: MeetingId) -> StoreFuture<'_, Vec<DeadLetter>> {
        async move {
            let doing = || format!("reading dead letters of meeting {meeting}");
            let all = || Ok(by_id(ids::all_of(ids::DEAD_LETTERS, &meeting)));
            let mut letters =
                self.database.rows(QueryKind::Read, SELECT, all, doing, StoredRow::dead_letter).await?;
            letters.sort_by(|a, b| (a.seq, &a.instance).cmp(&(b.seq, &b.instance)));
            Ok(letters)
        }
        .boxed()
    }

    fn accounts(&self, ids: Vec<AccountId>) -> StoreFuture<'_, Vec<AccountRecord>> {
        self.database.read_accounts(ids).boxed()
    }

    fn replace_accounts(&self, accounts: Vec<AccountRecord>) -> StoreFuture<'_, bool> {
        async move { self.database.write_accounts(&accounts).await }.boxed()
    }

    fn forget(&self, meeting: MeetingId) -> StoreFuture<'_, bool> {
        self.database.forget_meeting(meeting).boxed()
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        async move {
            let leases = self.leases.close().await;
            self.database.close().await.and(leases)
        }
        .boxed()
    }
}

impl Leases for SurrealStore {
    fn create_as(
        &self,
        owner: Incarnation,
        metadata: MeetingMetadata,
        instances: Vec<Name>,
        reserve: Seq,
        created: Timestamp,
    ) -> StoreFuture<'_, MeetingRecord> {
        self.database.create_owned(owner, metadata, instances, reserve, created).boxed()
    }

    fn claim_as(
        &self,
        owner: Incarnation,
        meeting: MeetingId,
        reserve: u64,
    ) -> StoreFuture<'_, MeetingRecord> {
        self.database.claim_owned(owner, meeting, reserve).boxed()
    }

    fn pass_on(&self, meeting: MeetingId, epoch: Epoch, to: Option<Incarnation>) -> StoreFuture<'_, bool> {
        self.database.pass_meeting_on(meeting, epoch, to).boxed()
    }

    fn owned(&self, owner: Incarnation, limit: usize) -> StoreFuture<'_, Vec<MeetingId>> {
        self.database.owned_meetings(owner, limit).boxed()
    }

    fn take_lease(&self, holder: Incarnation, ttl: Duration, document: Arc<str>) -> StoreFuture<'_, bool> {
        self.leases.take_lease(holder, ttl, document).boxed()
    }

    fn renew_lease(&self, holder: Incarnation, ttl: Duration, document: Arc<str>) -> StoreFuture<'_, bool> {
        self.leases.renew_lease(holder, ttl, document).boxed()
    }

    fn release_lease(&self, holder: Incarnation) -> StoreFuture<'_, ()> {
        self.leases.release_lease(holder).boxed()
    }

    fn end_lease(&self, holder: Incarnation) -> StoreFuture<'_, bool> {
        self.leases.end_lease(holder).boxed()
    }

    fn remove_lease(&self, holder: Incarnation) -> StoreFuture<'_, bool> {
        self.leases.remove_lease(holder).boxed()
    }

    fn all_leases(&self) -> StoreFuture<'_, Vec<LeaseRecord>> {
        self.leases.read_leases().boxed()
    }
}
