//! The way to a database: an engine in this process, or a server.
//!
//! An embedded engine is built here rather than by the SDK's `connect`, for two things that the SDK doesn't
//! offer: its memory can be bounded (the SDK takes bounds from nowhere, and the engine's own follow the
//! machine), and it can be shut down and waited for, so that a directory is free when [`Link::close`] has
//! ended. Both come at the price of crates whose versions are tied to the SDK's.

use std::{fs, io, path::Path, sync::Arc};

use surrealdb::{
    Connection, IndexedResults, Surreal,
    engine::{any::Any, local::Db},
    opt::auth::Root,
    types::{Value, Variables},
};
use surrealdb_cnf::ConfigMap;
use surrealdb_core::kvs::Datastore;
use teammy_kernel::chain;
use tokio::time::{Duration, timeout};
use tracing::{debug, info};

use super::{
    Conflicts, Options, QueryError, Text,
    directory::Segment,
    error::{self, OpenError},
};

/// How long a server may take to be connected to before it counts as away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const LOOK_EVERY: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(10);

/// An open way to a database.
pub(super) enum Link {
    /// An engine in this process.
    Embedded { db: Surreal<Db>, datastore: Arc<Datastore> },
    /// A server, and how long it may take to answer.
    Server(Surreal<Any>, Duration),
}

/// Opens what a URL names.
pub(super) async fn open(options: &Options) -> Result<Link, OpenError> {
    let url = options.url.as_str();
    let refused = |problem| OpenError::Url { url: without_credentials(url), problem };
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(refused("it has no scheme"));
    };
    match scheme {
        "mem" => Err(refused("what is kept in memory needs no database")),
        "surrealkv" => match directory(url) {
            Some(path) => embed(options, Path::new(path)).await,
            None => Err(refused("the directory is missing")),
        },
        "ws" | "wss" if rest.is_empty() => Err(refused("the server's address is missing")),
        "ws" | "wss" if without_credentials(url) != url => {
            Err(refused("credentials don't belong in a URL, but into username and password"))
        }
        "ws" | "wss" => connect(options).await,
        _ => Err(refused("its scheme is not known here")),
    }
}

/// The directory of an embedded database that has one.
pub(super) fn directory(url: &str) -> Option<&str> {
    let path = url.strip_prefix("surrealkv://")?;
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    (!path.is_empty()).then_some(path)
}

/// A URL as it may be shown.
pub(super) fn without_credentials(url: &str) -> String {
    let Some((scheme @ ("ws" | "wss" | "http" | "https"), rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}{path}"),
        None => url.to_owned(),
    }
}

/// The most bytes that one transaction may take.
pub(super) fn largest_transaction(options: &Options) -> u64 {
    // A server's limits aren't known here; a message to it may not pass 64 MiB by the SDK's default.
    const SERVER: u64 = 16 << 20;
    match options.url.split_once("://") {
        Some(("surrealkv", _)) => options.memtable.unwrap_or(Options::MEMTABLE) / 2,
        _ => SERVER,
    }
}

/// The most bytes of several commits that go into one transaction where they need not.
pub(super) const BEST_TRANSACTION: u64 = 1 << 20;

async fn embed(options: &Options, directory: &Path) -> Result<Link, OpenError> {
    let datastore = open_directory(options, directory).await?;
    let failed = |cause| OpenError::Failed { url: without_credentials(&options.url), cause };
    // Its maintenance is not started: it is for indexes, dropped tables and a cluster's nodes, of which there
    // are none here, and it would write beside us, so that a failure to write could go by unnoticed.
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
        Ok(db) => Ok(Link::Embedded { db, datastore }),
        Err(error) => {
            datastore.shutdown().await.ok();
            Err(failed(Box::new(error)))
        }
    }
}

/// Starts an engine on a directory, in a way that its writes can be trusted.
///
/// A process that dies while it writes leaves half a record at the end of the engine's log. SurrealKV notices
/// that when it replays the log, writes what is whole into a new file and puts that in the old one's place.
/// But by then it has opened the old one to write to, and goes on writing there: into a file that has no name
/// any more, so that all it says is stored is gone with the next crash. So a log that was replaced while it
/// was opened is opened once more.
async fn open_directory(options: &Options, path: &Path) -> Result<Arc<Datastore>, OpenError> {
    const OPENINGS: usize = 3;
    let unusable = |error: io::Error| OpenError::Directory { path: path.to_owned(), cause: Box::new(error) };
    fs::create_dir_all(path).map_err(unusable)?;
    for _ in 0..OPENINGS {
        let before = Segment::newest(path).map_err(unusable)?;
        let datastore = start_engine(options, path).await?;
        let after = Segment::newest(path).map_err(unusable)?;
        if before.is_none_or(|before| before.goes_on_in(after)) {
            return Ok(datastore);
        }
        info!(path = %path.display(), "the end of the database's log, which a crash had cut off, was repaired");
        // What is whole is in the repaired file, and nothing else was written yet.
        if let Err(error) = datastore.shutdown().await {
            debug!(error = %error, "a database was closed after its repair");
        }
    }
    let cause = "its log had to be repaired each time that it was opened".into();
    Err(OpenError::Failed { url: options.url.clone(), cause })
}

async fn start_engine(options: &Options, directory: &Path) -> Result<Arc<Datastore>, OpenError> {
    let memory = ConfigMap::empty()
        .with_key_value(
            "surrealkv_block_cache_capacity",
            options.block_cache.unwrap_or(Options::BLOCK_CACHE).to_string(),
        )
        .with_key_value(
            "surrealkv_max_memtable_size",
            options.memtable.unwrap_or(Options::MEMTABLE).to_string(),
        );
    let engine = Datastore::builder().with_config(memory).without_maintenance_tasks();
    let opened = engine.build_with_path(&options.url).await;
    opened.map_err(|error| directory_error(directory, &options.url, error.into()))
}

/// The storage engine passes on as text why it could not open a directory.
fn directory_error(path: &Path, url: &str, cause: Box<dyn std::error::Error + Send + Sync>) -> OpenError {
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

async fn connect(options: &Options) -> Result<Link, OpenError> {
    let url = &options.url;
    let unreachable = |cause| OpenError::Unreachable { url: url.clone(), cause };
    let connected = timeout(CONNECT_TIMEOUT, surrealdb::engine::any::connect(url)).await;
    let db = connected
        .map_err(|_| unreachable(Box::new(io::Error::from(io::ErrorKind::TimedOut))))?
        .map_err(|error| unreachable(Box::new(error)))?;
    if let Some(username) = options.username.clone() {
        let password = options.password.clone().unwrap_or_default();
        db.signin(Root { username: username.clone(), password })
            .await
            .map_err(|error| OpenError::SignIn { url: url.clone(), username, cause: Box::new(error) })?;
    }
    // Who is first makes the namespace and the database, and those who come at the same time lose a conflict.
    let mut conflicts = Conflicts::default();
    loop {
        match db.use_ns(&options.namespace).use_db(&options.database).await {
            Ok(_) => break,
            Err(error) if error::is_conflict(&error) && conflicts.may_be_tried_again() => {
                conflicts.wait().await;
            }
            Err(error) => return Err(OpenError::Failed { url: url.clone(), cause: Box::new(error) }),
        }
    }
    Ok(Link::Server(db, options.answer_timeout))
}

impl Link {
    /// Runs a query; fails if one of its statements does.
    pub(super) async fn query(
        &self,
        text: &Text,
        variables: Variables,
    ) -> Result<IndexedResults, QueryError> {
        match self {
            Self::Embedded { db, .. } => Ok(send(db, text, variables).await?),
            Self::Server(db, wait) => match timeout(*wait, send(db, text, variables)).await {
                Ok(answer) => Ok(answer?),
                Err(_) => Err(QueryError::Late(*wait)),
            },
        }
    }

    /// Finishes; a directory is free afterwards.
    pub(super) async fn close(self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        match self {
            Self::Embedded { db, datastore } => {
                drop(db);
                shut_down(datastore).await
            }
            // A server has answered for all that it was asked; the socket closes with the last handle.
            Self::Server(..) => Ok(()),
        }
    }
}

/// Closes a way that is broken: that to an engine once nobody uses it any more, since there can't be a second
/// one in its directory before. Gives it back if somebody does for too long.
pub(super) async fn let_go(link: Arc<Link>) -> Result<(), Arc<Link>> {
    if let Link::Server(..) = *link {
        return Ok(());
    }
    let alone = async {
        while Arc::strong_count(&link) > 1 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let _ = timeout(PATIENCE, alone).await;
    match Arc::try_unwrap(link) {
        Ok(link) => {
            if let Err(error) = link.close().await {
                // It is broken; what it could not write down before it went is in its log.
                debug!(error = chain(&*error), "a broken database was closed");
            }
            Ok(())
        }
        Err(link) => Err(link),
    }
}

/// Waits until the SDK's task has shut the engine down, which it does when its last client is gone, and has
/// let go of it. A second shutdown beside that one would log errors that are none.
async fn shut_down(datastore: Arc<Datastore>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let alone = async {
        while Arc::strong_count(&datastore) > 1 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    match timeout(PATIENCE, alone).await {
        Ok(()) => Ok(()),
        Err(_) => datastore.shutdown().await.map_err(Into::into),
    }
}

async fn send<C: Connection>(
    db: &Surreal<C>,
    text: &Text,
    variables: Variables,
) -> Result<IndexedResults, surrealdb::Error> {
    let mut results = db.query(text.concat()).bind(Value::Object(variables.into())).await?;
    match error::root(results.take_errors()) {
        None => Ok(results),
        Some(error) => Err(error),
    }
}
