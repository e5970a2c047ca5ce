//! A connection to a database: an engine in this process, or a server.
//!
//! An embedded engine is built here rather than by the SDK's `connect`, because the SDK lacks two things: a
//! bound on the engine's memory (by default it follows the machine's), and a shutdown that can be awaited, so
//! that a directory is free when [`Connection::close`] has ended. The price is two more crates whose versions
//! are tied to the SDK's.

use std::{fs, io, path::Path, sync::Arc};

use surrealdb::{
    IndexedResults, Surreal,
    engine::{any::Any, local::Db},
    method::Transaction,
    opt::auth::{Database, Namespace, Root, Token},
    types::{Value, Variables},
};
use surrealdb_cnf::ConfigMap;
use surrealdb_core::kvs::Datastore;
use teammy_config::database::AuthLevel;
use teammy_kernel::chain;
use tokio::time::{Duration, timeout};
use tracing::{debug, info};

use super::{
    conflicts::ConflictRetries,
    directory::Segment,
    error::{self, Cause, OpenError, QueryError},
    options::Options,
};

/// How long a server may take to accept a connection before it counts as unreachable. To sign a user in, it may take as long as
/// to answer a query.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often it is checked whether the last user of a connection is gone, and for how long at most.
const POLL_INTERVAL: Duration = Duration::from_millis(1);
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);

/// A query's text, in pieces that are constants.
pub(super) type QueryText = [&'static str];

/// An open connection to a database.
pub(super) enum Connection {
    /// An engine in this process.
    Embedded { db: Surreal<Db>, datastore: Arc<Datastore> },
    /// A server.
    Server { db: Surreal<Any>, answer_timeout: Duration },
}

/// Opens the database that the options' URL names.
pub(super) async fn open(options: &Options) -> Result<Connection, OpenError> {
    let rejected = |problem| OpenError::Url { url: options.shown_url(), problem };
    let Some((scheme, rest)) = options.url.split_once("://") else {
        return Err(rejected("it has no scheme"));
    };
    match scheme {
        "mem" => Err(rejected("a store in memory needs no database")),
        "surrealkv" => match options.directory() {
            Some(path) => open_embedded(options, path).await,
            None => Err(rejected("the directory is missing")),
        },
        "ws" | "wss" if rest.is_empty() => Err(rejected("the server's address is missing")),
        "ws" | "wss" if options.shown_url() != options.url => {
            Err(rejected("credentials belong in username and password, not in the URL"))
        }
        "ws" | "wss" => connect_to_server(options).await,
        _ => Err(rejected("its scheme is unknown")),
    }
}

async fn open_embedded(options: &Options, directory: &Path) -> Result<Connection, OpenError> {
    let datastore = open_directory(options, directory).await?;
    let failed = |cause| OpenError::Failed { url: options.shown_url(), cause };
    // The engine's maintenance is not started. It is for indexes, dropped tables and a cluster's nodes, which
    // do not exist here; and it would write on its own, so that a failure to write could go unnoticed.
    let started = async {
        datastore.check_version().await?;
        datastore.bootstrap().await
    };
    if let Err(error) = started.await {
        datastore.shutdown().await.ok();
        return Err(failed(error.into()));
    }
    let opened = async {
        let db = Surreal::<Db>::unstable_from_datastore(datastore.clone(), None).await?;
        db.use_ns(&options.namespace).use_db(&options.database).await?;
        Ok::<_, surrealdb::Error>(db)
    };
    match opened.await {
        Ok(db) => Ok(Connection::Embedded { db, datastore }),
        Err(error) => {
            datastore.shutdown().await.ok();
            Err(failed(Box::new(error)))
        }
    }
}

/// Starts an engine on a directory, so that its writes can be trusted.
///
/// A process that dies while it writes leaves half a record at the end of the engine's log. SurrealKV notices
/// that when it replays the log: it writes the whole records into a new file, which replaces the old one. But
/// by then it has the old file open for writing, and it goes on writing there. That file has no name any
/// more, so all that is reported as stored is lost with the next crash. Therefore a log that was replaced
/// while it was opened is opened once more.
async fn open_directory(options: &Options, path: &Path) -> Result<Arc<Datastore>, OpenError> {
    const ATTEMPTS: usize = 3;
    let unusable = |error: io::Error| OpenError::Directory { path: path.to_owned(), cause: Box::new(error) };
    fs::create_dir_all(path).map_err(unusable)?;
    for _ in 0..ATTEMPTS {
        let before = Segment::newest(path).map_err(unusable)?;
        let datastore = start_engine(options, path).await?;
        let after = Segment::newest(path).map_err(unusable)?;
        if before.is_none_or(|before| before.continues_in(after)) {
            return Ok(datastore);
        }
        info!(path = %path.display(), "repaired the end of the database's log, which a crash had cut off");
        // The repaired file has all whole records, and nothing was written since.
        if let Err(error) = datastore.shutdown().await {
            debug!(error = %error, "cannot shut down the database after its repair");
        }
    }
    let cause = "its log needed a repair each time it was opened".into();
    Err(OpenError::Failed { url: options.url.clone(), cause })
}

async fn start_engine(options: &Options, directory: &Path) -> Result<Arc<Datastore>, OpenError> {
    let memory = ConfigMap::empty()
        .with_key_value("surrealkv_block_cache_capacity", options.block_cache_bytes().to_string())
        .with_key_value("surrealkv_max_memtable_size", options.memtable_bytes().to_string());
    let engine = Datastore::builder().with_config(memory).without_maintenance_tasks();
    let opened = engine.build_with_path(&options.url).await;
    opened.map_err(|error| directory_error(directory, &options.url, error.into()))
}

/// Classifies by its text an error of the storage engine, which has no details.
fn directory_error(path: &Path, url: &str, cause: Cause) -> OpenError {
    let message = cause.to_string();
    let path = path.to_owned();
    if message.contains("already locked") {
        OpenError::Locked { path }
    } else if message.contains("IO error") {
        OpenError::Directory { path, cause }
    } else {
        OpenError::Failed { url: url.to_owned(), cause }
    }
}

async fn connect_to_server(options: &Options) -> Result<Connection, OpenError> {
    let url = &options.url;
    let unreachable = |cause| OpenError::Unreachable { url: url.clone(), cause };
    let connected = timeout(CONNECT_TIMEOUT, surrealdb::engine::any::connect(url)).await;
    let db = connected
        .map_err(|_| unreachable(Box::new(io::Error::from(io::ErrorKind::TimedOut))))?
        .map_err(|error| unreachable(Box::new(error)))?;
    match timeout(options.answer_timeout, begin_session(&db, options)).await {
        Ok(begun) => begun?,
        Err(_) => return Err(unreachable(QueryError::Timeout(options.answer_timeout).into_cause())),
    }
    Ok(Connection::Server { db, answer_timeout: options.answer_timeout })
}

/// Signs in, and selects the database.
async fn begin_session(db: &Surreal<Any>, options: &Options) -> Result<(), OpenError> {
    let url = &options.url;
    sign_in(db, options).await?;
    // The first client makes the namespace and the database; clients that connect at the same time conflict.
    let mut retries = ConflictRetries::default();
    loop {
        match db.use_ns(&options.namespace).use_db(&options.database).await {
            Ok(_) => return Ok(()),
            Err(error) if error::is_conflict(&error) && retries.are_left() => retries.back_off().await,
            Err(error) if error::is_not_allowed(&error) => {
                let (account, database) =
                    (options.account().to_string(), format!("{}/{}", options.namespace, options.database));
                let (url, cause) = (url.clone(), Box::new(error));
                return Err(OpenError::NotAllowed { url, account, database, cause });
            }
            Err(error) => return Err(OpenError::Failed { url: url.clone(), cause: Box::new(error) }),
        }
    }
}

async fn sign_in(db: &Surreal<Any>, options: &Options) -> Result<(), OpenError> {
    let (namespace, database) = (options.namespace.clone(), options.database.clone());
    let password = options.password.clone().unwrap_or_default();
    let signed_in = match (&options.token, options.username.clone(), options.auth_level) {
        (Some(token), ..) => db.authenticate(Token::from(token.clone())).await,
        (None, None, _) => return Ok(()),
        (None, Some(username), AuthLevel::Namespace) => {
            db.signin(Namespace { namespace, username, password }).await
        }
        (None, Some(username), AuthLevel::Database) => {
            db.signin(Database { namespace, database, username, password }).await
        }
        (None, Some(username), _) => db.signin(Root { username, password }).await,
    };
    match signed_in {
        Ok(_) => Ok(()),
        Err(error) => {
            let (url, account) = (options.url.clone(), options.account().to_string());
            Err(OpenError::SignIn { url, account, cause: Box::new(error) })
        }
    }
}

impl Connection {
    /// Runs a query, and retries it while it loses conflicts. Fails if one of its statements does.
    ///
    /// The variables are made anew for each try, so that the first try, which mostly succeeds, copies
    /// nothing.
    pub(super) async fn query(
        &self,
        text: &QueryText,
        variables: impl Fn() -> Result<Variables, Cause>,
    ) -> Result<IndexedResults, QueryError> {
        let mut retries = ConflictRetries::default();
        loop {
            match self.query_once(text, variables()?).await {
                Err(error) if error.is_conflict() && retries.are_left() => retries.back_off().await,
                result => return result,
            }
        }
    }

    async fn query_once(&self, text: &QueryText, variables: Variables) -> Result<IndexedResults, QueryError> {
        match self {
            Self::Embedded { db, .. } => Ok(send(db, text, variables).await?),
            Self::Server { db, answer_timeout } => {
                match timeout(*answer_timeout, send(db, text, variables)).await {
                    Ok(answer) => Ok(answer?),
                    Err(_) => Err(QueryError::Timeout(*answer_timeout)),
                }
            }
        }
    }

    /// Runs statements in a transaction of an embedded engine, which writes nothing until it is committed. Fails
    /// if one of the statements does, and for a server, where a transaction is one query.
    pub(super) async fn begin(
        &self,
        statements: &QueryText,
        variables: Variables,
    ) -> Result<OpenTransaction, QueryError> {
        let Self::Embedded { db, .. } = self else {
            return Err(QueryError::Value("a server has no open transactions".into()));
        };
        let transaction = db.clone().begin().await?;
        let query = transaction.query(statements.concat()).bind(Value::Object(variables.into()));
        match checked(query.await) {
            Ok(results) => Ok(OpenTransaction { transaction, results }),
            Err(error) => {
                transaction.cancel().await.ok();
                Err(error.into())
            }
        }
    }

    /// Closes the connection; an embedded database's directory is free afterwards.
    pub(super) async fn close(self) -> Result<(), Cause> {
        match self {
            Self::Embedded { db, datastore } => {
                drop(db);
                shut_down(datastore).await
            }
            // The server has answered every query; the socket closes with the last handle.
            Self::Server { .. } => Ok(()),
        }
    }
}

/// A transaction whose statements have run, and which is not committed.
pub(super) struct OpenTransaction {
    transaction: Transaction<Db>,
    results: IndexedResults,
}

impl OpenTransaction {
    /// Commits the transaction, and returns its statements' results.
    pub(super) async fn commit(self) -> Result<IndexedResults, QueryError> {
        self.transaction.commit().await.map_err(QueryError::Commit)?;
        Ok(self.results)
    }

    pub(super) async fn cancel(self) {
        // A transaction that cannot be cancelled ends with its session, when it is dropped.
        self.transaction.cancel().await.ok();
    }
}

/// Closes a broken connection.
///
/// An embedded engine is closed once its last query has ended, because only one engine can be open in a
/// directory. Returns the connection if a query still holds it after [`RELEASE_TIMEOUT`].
pub(super) async fn close_broken(connection: Arc<Connection>) -> Result<(), Arc<Connection>> {
    if let Connection::Server { .. } = *connection {
        return Ok(());
    }
    let is_unused = async {
        while Arc::strong_count(&connection) > 1 {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    let _ = timeout(RELEASE_TIMEOUT, is_unused).await;
    match Arc::try_unwrap(connection) {
        Ok(connection) => {
            if let Err(error) = connection.close().await {
                // Expected of a broken engine. What it could not write to its tables is in its log.
                debug!(error = chain(&*error), "cannot close a broken database");
            }
            Ok(())
        }
        Err(connection) => Err(connection),
    }
}

/// Waits until the SDK's task has shut the engine down and dropped it, which it does after its last client is
/// gone. A second shutdown at the same time would log false errors.
async fn shut_down(datastore: Arc<Datastore>) -> Result<(), Cause> {
    let is_unused = async {
        while Arc::strong_count(&datastore) > 1 {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    match timeout(RELEASE_TIMEOUT, is_unused).await {
        Ok(()) => Ok(()),
        Err(_) => datastore.shutdown().await.map_err(Into::into),
    }
}

async fn send<C: surrealdb::Connection>(
    db: &Surreal<C>,
    text: &QueryText,
    variables: Variables,
) -> Result<IndexedResults, surrealdb::Error> {
    checked(db.query(text.concat()).bind(Value::Object(variables.into())).await)
}

/// Fails if one of the statements did.
fn checked(results: Result<IndexedResults, surrealdb::Error>) -> Result<IndexedResults, surrealdb::Error> {
    let mut results = results?;
    match error::root_cause(results.take_errors()) {
        None => Ok(results),
        Some(error) => Err(error),
    }
}
