//! The store in SurrealDB: embedded in a directory or in memory, or on a server.
//!
//! # Where things are
//! Record ids are arrays, so that whatever belongs to one meeting lies side by side and history is a range
//! scan:
//!
//! | record | columns |
//! |---|---|
//! | `meeting:[id]` | `epoch`, `commit`, `reserved`, `status`, `metadata` (an object), `instances` (those it was started with), `last` (the seq of its last packet, once there is one), `forgotten` (true while it is being forgotten) |
//! | `packet:[meeting, seq]` | `source`, `timestamp`, `received_at`, `form` (`bytes`, `text` or `json`), `payload` (bytes or a string); where there are any: `participant`, `producer` (`id`, `number`), `causes` |
//! | `lifecycle:[meeting, seq]` | the packets of source `meeting` once more, with the same columns |
//! | `numbered:[meeting, producer, last]` | `seqs` of a run of up to 64 of a producer's packets, whose numbers end with `last` |
//! | `mark:[meeting, producer]` | a `number` of the producer's and its `seq`, at most 63 behind its newest |
//! | `state:[meeting, instance]` | `cursor`, `joined`, `status`, and the `state` as JSON text once there is one |
//! | `kv:[meeting, instance, key]` | `value`, as JSON text |
//! | `dead_letter:[meeting, instance, seq]` | `source`, `tries`, `error`, `at` |
//! | `teammy:schema` | `version` |
//!
//! JSON stays text, as everywhere: SurrealDB's numbers are not JSON's. By hand one reads it with a function,
//! for example `SELECT timestamp, participant, encoding::json::decode(payload) AS said FROM packet:['Bed015',
//! 1]..['Bed015', 100] WHERE source = 'transcription'`. Tables are schemaless: this module is their only
//! writer, and checking each column again would cost each commit. Module `numbers` says why numbered packets
//! are kept as they are.
//!
//! # Invariants
//! - Nothing that comes from outside is ever written into a query's text; it is bound. The texts are
//!   constants, or put together from some.
//! - A commit is one transaction, and it **writes** the row of each meeting that it applies. SurrealDB's
//!   transactions are snapshot-isolated: two that write the same row conflict, one that only reads it sees
//!   nothing. So a claim and a commit of the same meeting can't both go through on the same snapshot, which
//!   is what fencing rests on.
//! - A transaction that lost a conflict has done nothing, so it is tried again here; whoever calls sees a
//!   conflict only when many in a row were lost.
//! - No type of SurrealDB's leaves this module.

mod commit;
mod configured;
mod directory;
mod error;
mod forget;
mod keeper;
mod link;
mod numbers;
mod packets;
mod rows;
mod runs;

use std::{fmt, sync::Arc};

use futures::FutureExt;
use surrealdb::{
    IndexedResults,
    types::{Value, Variables},
};
use teammy_kernel::{
    DataPacket, Lifecycle, MeetingId, MeetingMetadata, Name, Seq, Store,
    store::{
        self, Commit, DeadLetter, InstanceRecord, Mark, MeetingRecord, Outcome, PacketQuery, StoreFuture,
    },
};
use tokio::time::Duration;
use tracing::info;

use self::{
    keeper::Keeper,
    link::Link,
    rows::{Failure, Row},
};

pub use error::OpenError;

/// What the database logs under, the link to a server included. At DEBUG and TRACE it logs what it is given.
pub const LOG_TARGETS: [&str; 3] = ["surrealdb", "surrealkv", "tungstenite"];

/// The schema that this module reads and writes; a database says in `teammy:schema` which one it holds. An
/// older one is brought up to it when it is opened.
///
/// - 1: the first.
/// - 2: `numbered` and `mark`. They start empty, since who wrote version 1 let nobody number packets.
/// - 3: `lifecycle`, into which opening an older database copies what its meetings have; and `last`, which
///   they get with their next packet.
const SCHEMA: i64 = 3;

/// How to open a store.
#[derive(Clone)]
pub struct Options {
    /// `surrealkv://DIRECTORY`, `ws://HOST:PORT` or `wss://HOST:PORT`.
    pub url: String,
    /// SurrealDB's namespace.
    pub namespace: String,
    /// The database in it.
    pub database: String,
    /// Who to sign in as, as a root user of a server; embedded databases have no users.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// For `surrealkv://`, the most bytes that read blocks may take in memory; [`Options::BLOCK_CACHE`] if
    /// not given.
    pub block_cache: Option<u64>,
    /// For `surrealkv://`, the bytes of writes that gather in memory before they go to a table on disk;
    /// [`Options::MEMTABLE`] if not given. One commit may take half of it. After a crash a directory may not
    /// open with much less than it was written with; then the old size helps.
    pub memtable: Option<u64>,
    /// For a server, how long it may take to answer a query; [`Options::ANSWER_TIMEOUT`] if not set
    /// otherwise. While it is away queries are held back and it is looked for each second, so this is
    /// also how long an absence may last before it is told.
    pub answer_timeout: Duration,
}

impl Options {
    /// The default of [`Options::block_cache`]: 64 MiB. SurrealKV's own is up to half of the machine's
    /// memory, which a library may not take from its host.
    pub const BLOCK_CACHE: u64 = 64 << 20;
    /// The default of [`Options::memtable`]: 64 MiB. SurrealKV's own follows the machine's memory, up to 4
    /// GiB.
    pub const MEMTABLE: u64 = 64 << 20;
    /// The default of [`Options::answer_timeout`].
    pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

    /// Options for a URL, everything else as by default.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            namespace: "teammy".to_owned(),
            database: "teammy".to_owned(),
            username: None,
            password: None,
            block_cache: None,
            memtable: None,
            answer_timeout: Self::ANSWER_TIMEOUT,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("url", &link::without_credentials(&self.url))
            .field("namespace", &self.namespace)
            .field("database", &self.database)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("block_cache", &self.block_cache)
            .field("memtable", &self.memtable)
            .field("answer_timeout", &self.answer_timeout)
            .finish()
    }
}

/// Opens a store, and makes its tables where they aren't there yet.
///
/// A directory is made with its parents. It is held by one process at a time, until [`Store::close`] has
/// ended.
///
/// # Errors
/// [`OpenError`] says for each case what to do about it.
pub async fn open(options: Options) -> Result<SurrealStore, OpenError> {
    let url = link::without_credentials(&options.url);
    let link = link::open(&options).await?;
    match prepare(&link, &url).await {
        Ok(()) => {
            let transaction = link::largest_transaction(&options);
            let together = link::BEST_TRANSACTION;
            let keeper = Keeper::new(options, link);
            Ok(SurrealStore { inner: Arc::new(Inner { url, transaction, together, keeper }) })
        }
        Err(error) => {
            // So that whoever meets a newer schema may look at it with another program at once.
            link.close().await.ok();
            Err(error)
        }
    }
}

/// Checks the schema's version and defines what is missing.
async fn prepare(link: &Link, url: &str) -> Result<(), OpenError> {
    const READ_VERSION: &Text =
        &["DEFINE TABLE IF NOT EXISTS teammy SCHEMALESS; SELECT VALUE version FROM teammy:schema"];
    const TABLES: &str = "
        DEFINE TABLE IF NOT EXISTS meeting SCHEMALESS;
        DEFINE TABLE IF NOT EXISTS packet SCHEMALESS;
        DEFINE TABLE IF NOT EXISTS lifecycle SCHEMALESS;
        DEFINE TABLE IF NOT EXISTS numbered SCHEMALESS;
        DEFINE TABLE IF NOT EXISTS mark SCHEMALESS;
        DEFINE TABLE IF NOT EXISTS state SCHEMALESS;
        DEFINE TABLE IF NOT EXISTS kv SCHEMALESS;
        DEFINE TABLE IF NOT EXISTS dead_letter SCHEMALESS;";
    const DEFINE: &Text = &["BEGIN;", TABLES, "COMMIT"];
    const FINISH: &Text =
        &["BEGIN;", TABLES, "UPSERT teammy:schema SET version = $version RETURN NONE; COMMIT"];
    let failed = |error: QueryError| OpenError::Failed { url: url.to_owned(), cause: error.into_cause() };
    let read = async || {
        let mut found = attempt(link, READ_VERSION, || Ok(Variables::new())).await?;
        Ok(found.take::<Vec<i64>>(1)?.first().copied())
    };
    match read().await.map_err(failed)? {
        Some(found) if found > SCHEMA => {
            return Err(OpenError::NewerSchema { url: url.to_owned(), found, known: SCHEMA });
        }
        Some(SCHEMA) => return Ok(()),
        Some(older) => {
            info!(%url, version = older, to = SCHEMA, "the database is brought up to this version's schema");
            attempt(link, DEFINE, || Ok(Variables::new())).await.map_err(failed)?;
            copy_lifecycle(link).await.map_err(failed)?;
        }
        None => {}
    }
    let version = || Ok(variables([("version", Value::Number(SCHEMA.into()))]));
    match attempt(link, FINISH, version).await {
        Ok(_) => Ok(()),
        // Who lost so often lost to others that opened it at the same time and did the same.
        Err(error) if error.is_conflict() && read().await.map_err(failed)? == Some(SCHEMA) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// Copies what meetings' lives are told by to where it is looked for since version 3: meeting by meeting, so
/// that no transaction is large, and again without harm if it was cut off.
async fn copy_lifecycle(link: &Link) -> Result<(), QueryError> {
    const COPY: &Text = &["INSERT IGNORE INTO lifecycle
        (SELECT *, type::record('lifecycle', record::id(id)) AS id FROM $range WHERE source = $source)
        RETURN NONE"];
    let meetings = rows(attempt(link, READ_MEETINGS, || Ok(Variables::new())).await, |row| row.meeting_id())?;
    for meeting in meetings {
        let range = || {
            let range = rows::all_of(rows::PACKETS, &meeting);
            Ok(variables([("range", range), ("source", rows::text(Lifecycle::SOURCE))]))
        };
        attempt(link, COPY, range).await?;
    }
    Ok(())
}

/// Meetings in SurrealDB. A clone is the same store.
#[derive(Clone)]
pub struct SurrealStore {
    inner: Arc<Inner>,
}

struct Inner {
    url: String,
    /// The most bytes that one transaction may take.
    transaction: u64,
    /// How many bytes of several commits go well together.
    together: u64,
    keeper: Keeper,
}

impl fmt::Debug for SurrealStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SurrealStore").field("url", &self.inner.url).finish_non_exhaustive()
    }
}

/// A query's text, in pieces that are constants.
type Text = [&'static str];

const CREATE: &Text = &["CREATE $id CONTENT $row RETURN NONE"];
const CLAIM: &Text =
    &["UPDATE $id SET epoch += 1, reserved += $reserve WHERE forgotten != true RETURN AFTER"];
const READ: &Text = &["SELECT * FROM $id"];
const READ_MEETINGS: &Text = &["SELECT id FROM meeting"];

/// How often a transaction that lost a conflict is tried again. Of those that conflict one goes through, so
/// this is how many writers of one meeting may be met in a row.
const RETRIES: u32 = 12;
const FIRST_BACKOFF: Duration = Duration::from_millis(1);
const LONGEST_BACKOFF: Duration = Duration::from_millis(100);

/// Runs a query, again while it loses conflicts. The variables are made anew each time, so that a first
/// success, which is the rule, copies nothing for a second try.
async fn attempt(
    link: &Link,
    text: &Text,
    variables: impl Fn() -> Result<Variables, Failure>,
) -> Result<IndexedResults, QueryError> {
    let mut conflicts = Conflicts::default();
    loop {
        match link.query(text, variables()?).await {
            Err(error) if error.is_conflict() && conflicts.may_be_tried_again() => {
                conflicts.wait().await;
            }
            result => return result,
        }
    }
}

/// How often something has lost a conflict, and how long it waits for the next try.
struct Conflicts {
    left: u32,
    wait: Duration,
}

impl Default for Conflicts {
    fn default() -> Self {
        Self { left: RETRIES, wait: FIRST_BACKOFF }
    }
}

impl Conflicts {
    fn may_be_tried_again(&self) -> bool {
        self.left > 0
    }

    async fn wait(&mut self) {
        self.left -= 1;
        tokio::time::sleep(self.wait).await;
        self.wait = LONGEST_BACKOFF.min(self.wait * 2);
    }
}

/// Why a query did not give an answer.
enum QueryError {
    /// The database said so.
    Database(surrealdb::Error),
    /// What was to be written cannot be.
    Values(Failure),
    /// The server did not answer in its time, which is so long.
    Late(Duration),
    /// There is no way to the database now.
    Away(Failure),
    /// There is none any more.
    Impossible(Failure),
}

impl From<surrealdb::Error> for QueryError {
    fn from(error: surrealdb::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Failure> for QueryError {
    fn from(error: Failure) -> Self {
        Self::Values(error)
    }
}

impl QueryError {
    fn into_store(self, doing: impl FnOnce() -> String) -> store::Error {
        let doing = doing();
        match self {
            Self::Database(error) => error::store_error(doing, error),
            Self::Values(cause) | Self::Impossible(cause) => store::Error::Failed { doing, cause },
            Self::Late(wait) => store::Error::Unavailable { doing, cause: Box::new(error::Late(wait)) },
            Self::Away(cause) => store::Error::Unavailable { doing, cause },
        }
    }

    fn into_cause(self) -> Failure {
        match self {
            Self::Database(error) => Box::new(error),
            Self::Values(cause) | Self::Away(cause) | Self::Impossible(cause) => cause,
            Self::Late(wait) => Box::new(error::Late(wait)),
        }
    }

    fn is_conflict(&self) -> bool {
        matches!(self, Self::Database(error) if error::is_conflict(error))
    }

    /// Whether an embedded engine may have failed to write.
    fn may_have_broken_the_engine(&self) -> bool {
        !self.is_conflict() && matches!(self, Self::Database(error) if error::is_transient(error))
    }
}

/// The rows of a result's statement, whatever its place: which places `BEGIN` and `COMMIT` take is not ours
/// to know.
fn rows_of(results: &mut IndexedResults) -> Result<Vec<Value>, surrealdb::Error> {
    for statement in 0..results.num_statements() {
        if let Value::Array(rows) = results.take::<Value>(statement)? {
            return Ok(rows.into_vec());
        }
    }
    Ok(Vec::new())
}

/// Each row of a query's answer, as it is taken.
fn rows<T>(
    results: Result<IndexedResults, QueryError>,
    take: impl Fn(Row) -> Result<T, Failure>,
) -> Result<Vec<T>, QueryError> {
    let rows = rows_of(&mut results?)?;
    Ok(rows.into_iter().map(|row| take(Row::new(row)?)).collect::<Result<Vec<T>, Failure>>()?)
}

fn variables<const N: usize>(of: [(&str, Value); N]) -> Variables {
    of.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

impl SurrealStore {
    /// Runs a query that changes something, or one that doesn't.
    async fn query(
        &self,
        is_write: bool,
        text: &Text,
        variables: impl Fn() -> Result<Variables, Failure>,
    ) -> Result<IndexedResults, QueryError> {
        let keeper = &self.inner.keeper;
        let _alone = if is_write { keeper.writing().await } else { None };
        let link = keeper.link().await?;
        let watch = keeper.watch(&link, is_write);
        let result = attempt(&link, text, variables).await;
        watch.end();
        keeper.came_back(&link, is_write, result)
    }

    /// Runs a query of one statement and takes each row of its answer.
    async fn read<T>(
        &self,
        text: &Text,
        variables: impl Fn() -> Result<Variables, Failure>,
        doing: impl Fn() -> String,
        take: impl Fn(Row) -> Result<T, Failure>,
    ) -> Result<Vec<T>, store::Error> {
        let results = self.query(false, text, variables).await;
        rows(results, take).map_err(|error| error.into_store(doing))
    }

    /// As [`read`](Self::read), for one that changes something.
    async fn write<T>(
        &self,
        text: &Text,
        variables: impl Fn() -> Result<Variables, Failure>,
        doing: impl Fn() -> String,
        take: impl Fn(Row) -> Result<T, Failure>,
    ) -> Result<Vec<T>, store::Error> {
        let results = self.query(true, text, variables).await;
        rows(results, take).map_err(|error| error.into_store(doing))
    }

    async fn create_meeting(
        &self,
        metadata: MeetingMetadata,
        instances: Vec<Name>,
        reserve: Seq,
    ) -> Result<MeetingRecord, store::Error> {
        let row = MeetingRecord::first(metadata, instances, reserve);
        let id = &row.metadata.id;
        let doing = || format!("creating meeting {id}");
        let values = || Ok(variables([("id", rows::meeting_id(id)), ("row", rows::meeting_row(&row)?)]));
        match self.query(true, CREATE, values).await {
            Ok(_) => Ok(row),
            Err(QueryError::Database(error)) if error.is_already_exists() => {
                Err(store::Error::Exists(row.metadata.id))
            }
            Err(error) => Err(error.into_store(doing)),
        }
    }

    async fn claim_meeting(&self, meeting: MeetingId, reserve: u64) -> Result<MeetingRecord, store::Error> {
        let values =
            || Ok(variables([("id", rows::meeting_id(&meeting)), ("reserve", rows::number(reserve)?)]));
        let doing = || format!("claiming meeting {meeting}");
        let claimed = self.write(CLAIM, values, doing, Row::meeting).await?.pop();
        claimed.ok_or(store::Error::NotFound(meeting))
    }

    /// The highest seq that may be stored of a meeting; 0 if there is no such meeting.
    async fn log_end(&self, meeting: &MeetingId) -> Result<u64, store::Error> {
        let doing = || format!("reading the end of meeting {meeting}");
        let end = self.read(READ, || Ok(by_id(rows::meeting_id(meeting))), doing, Row::log_end).await?.pop();
        Ok(end.unwrap_or(0))
    }
}

fn by_id(id: Value) -> Variables {
    variables([("id", id)])
}

impl Store for SurrealStore {
    fn create(
        &self,
        metadata: MeetingMetadata,
        instances: Vec<Name>,
        reserve: Seq,
    ) -> StoreFuture<'_, MeetingRecord> {
        self.create_meeting(metadata, instances, reserve).boxed()
    }

    fn claim(&self, meeting: MeetingId, reserve: u64) -> StoreFuture<'_, MeetingRecord> {
        self.claim_meeting(meeting, reserve).boxed()
    }

    fn commit<'a>(&'a self, batch: &'a [Commit]) -> StoreFuture<'a, Vec<Outcome>> {
        self.apply(batch).boxed()
    }

    fn meeting(&self, meeting: MeetingId) -> StoreFuture<'_, Option<MeetingRecord>> {
        async move {
            let doing = || format!("reading meeting {meeting}");
            Ok(self.read(READ, || Ok(by_id(rows::meeting_id(&meeting))), doing, Row::meeting).await?.pop())
        }
        .boxed()
    }

    fn meetings(&self) -> StoreFuture<'_, Vec<MeetingId>> {
        async move {
            let doing = || "listing meetings".to_owned();
            let mut ids =
                self.read(READ_MEETINGS, || Ok(Variables::new()), doing, |row| row.meeting_id()).await?;
            ids.sort_unstable();
            Ok(ids)
        }
        .boxed()
    }

    fn instances(&self, meeting: MeetingId) -> StoreFuture<'_, Vec<InstanceRecord>> {
        async move {
            let doing = || format!("reading instances of meeting {meeting}");
            let all = || Ok(by_id(rows::all_of("state", &meeting)));
            let mut instances = self.read(READ, all, doing, Row::instance).await?;
            instances.sort_by(|a, b| a.instance.cmp(&b.instance));
            Ok(instances)
        }
        .boxed()
    }

    fn packets(&self, meeting: MeetingId, query: PacketQuery) -> StoreFuture<'_, Vec<Arc<DataPacket>>> {
        self.read_packets(meeting, query).boxed()
    }

    fn marks(&self, meeting: MeetingId) -> StoreFuture<'_, Vec<Mark>> {
        async move { self.read_marks(&meeting).await }.boxed()
    }

    fn numbered(&self, meeting: MeetingId, producer: Arc<str>, number: u64) -> StoreFuture<'_, Option<Seq>> {
        async move { self.find_number(&meeting, &producer, number).await }.boxed()
    }

    fn get(&self, meeting: MeetingId, instance: Name, key: String) -> StoreFuture<'_, Option<Arc<str>>> {
        async move {
            let doing = || format!("reading a key of {instance} in meeting {meeting}");
            let id = || Ok(by_id(rows::key_id(&meeting, &instance, &key)));
            Ok(self.read(READ, id, doing, Row::key_value).await?.pop().map(|(_, value)| value))
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
            let all = || Ok(by_id(rows::keys_of(&meeting, &instance, &prefix)));
            let mut keys = self.read(READ, all, doing, Row::key_value).await?;
            // The range is right by the order in which SurrealDB encodes texts; this holds whatever that is.
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
            let id = || Ok(by_id(rows::dead_letter_id(&meeting, &instance, seq)?));
            Ok(self.read(READ, id, doing, Row::dead_letter).await?.pop())
        }
        .boxed()
    }

    fn dead_letters(&self, meeting: MeetingId) -> StoreFuture<'_, Vec<DeadLetter>> {
        async move {
            let doing = || format!("reading dead letters of meeting {meeting}");
            let all = || Ok(by_id(rows::all_of("dead_letter", &meeting)));
            let mut letters = self.read(READ, all, doing, Row::dead_letter).await?;
            letters.sort_by(|a, b| (a.seq, &a.instance).cmp(&(b.seq, &b.instance)));
            Ok(letters)
        }
        .boxed()
    }

    fn forget(&self, meeting: MeetingId) -> StoreFuture<'_, bool> {
        self.forget_meeting(meeting).boxed()
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        self.inner.keeper.close().boxed()
    }
}
