//! Keeps the connection to the database open, and reopens it when it is broken.
//!
//! The SDK reconnects to a **server** that was away by itself: new queries wait in its queue, and those that
//! were under way fail. A query waits no longer than the answer timeout (see `connection`); then the
//! connection is replaced. The SDK may still send an abandoned query later. That does no harm: a commit
//! carries its number, and a claim the epoch that it raises. A connection whose session has expired, or whose
//! user has lost its rights, is replaced, too: the new one signs in again.
//!
//! **Leases** have a connection to a server of their own, which their first query opens: a renewal must not wait
//! behind large commits and answers, nor until a broken connection is noticed. Whoever renews a lease gives up
//! long before the answer timeout. So a query that is given up breaks this connection, and the next one opens
//! another. The server may still get what was given up, and a lease then lasts longer than its holder knows.
//!
//! A connection is opened by a task of its own, so that an opening goes on while those that wait for it give up.
//!
//! An **embedded engine** that could not write to its directory cannot be trusted any more. (SurrealKV is
//! left so by a disk that is full for a while.) Its log may have half a record in it, and a crash loses all
//! records behind that one, although the engine reported them as stored. Reopening the engine cuts the half
//! record off. So nothing is written before the engine is reopened, and writes run one at a time, so that no
//! write comes between a failure and its detection. (Of a transaction only its commit writes, so others may run
//! their statements meanwhile.)

use std::sync::Arc;

use parking_lot::Mutex;
use teammy_kernel::store;
use tokio::sync::{MutexGuard, OwnedMutexGuard};
use tracing::{info, warn};

use super::{
    connection::{self, Connection},
    directory::Directory,
    error::{OpenError, QueryError, StoreClosed},
    options::Options,
    schema,
};

/// Whether a query changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueryKind {
    Read,
    Write,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    AllQueries,
    /// Only for a server. The rest of a store's queries go over another connection.
    Leases,
}

pub(super) struct ConnectionManager {
    options: Options,
    purpose: Purpose,
    state: Mutex<ConnectionState>,
    /// Held while a task opens or closes the connection.
    opening: Arc<tokio::sync::Mutex<()>>,
    /// `None` for a server.
    engine: Option<EmbeddedEngine>,
}

/// What an embedded engine's writes need.
struct EmbeddedEngine {
    directory: Directory,
    /// Held during a write. Waiters get it in the order in which they came.
    write_lock: tokio::sync::Mutex<()>,
}

enum ConnectionState {
    Open(Arc<Connection>),
    /// New queries do not use the connection. It is closed before another one is opened. `None` if it is closed
    /// already, or if none was opened yet.
    Broken(Option<Arc<Connection>>),
    Closed,
}

impl ConnectionManager {
    pub(super) fn new(options: Options, connection: Connection) -> Self {
        let engine = options.directory().map(|path| EmbeddedEngine {
            directory: Directory::new(path.to_owned()),
            write_lock: tokio::sync::Mutex::default(),
        });
        Self {
            options,
            purpose: Purpose::AllQueries,
            state: Mutex::new(ConnectionState::Open(Arc::new(connection))),
            opening: Arc::default(),
            engine,
        }
    }

    /// For the leases of a store on a server. The first query opens the connection.
    pub(super) fn for_leases(options: Options) -> Self {
        Self {
            options,
            purpose: Purpose::Leases,
            state: Mutex::new(ConnectionState::Broken(None)),
            opening: Arc::default(),
            engine: None,
        }
    }

    /// The open connection. Opens it first if it was broken.
    pub(super) async fn connection(self: &Arc<Self>) -> Result<Arc<Connection>, QueryError> {
        if let Some(connection) = self.open_connection()? {
            return Ok(connection);
        }
        let opening = self.opening.clone().lock_owned().await;
        // Another task may have opened it meanwhile.
        if let Some(connection) = self.open_connection()? {
            return Ok(connection);
        }
        match tokio::spawn(self.clone().reopen(opening)).await {
            Ok(opened) => opened,
            Err(error) => Err(QueryError::Unavailable(Box::new(error))),
        }
    }

    /// Whether the database is an engine in this process.
    pub(super) fn is_embedded(&self) -> bool {
        self.engine.is_some()
    }

    /// Whether a connection is neither broken nor replaced.
    pub(super) fn is_open(&self, connection: &Arc<Connection>) -> bool {
        matches!(&*self.state.lock(), ConnectionState::Open(open) if Arc::ptr_eq(open, connection))
    }

    /// The connection if it is open; `None` if it is broken.
    fn open_connection(&self) -> Result<Option<Arc<Connection>>, QueryError> {
        match &*self.state.lock() {
            ConnectionState::Open(connection) => Ok(Some(connection.clone())),
            ConnectionState::Broken(_) => Ok(None),
            ConnectionState::Closed => Err(QueryError::Closed(Box::new(StoreClosed))),
        }
    }

    async fn reopen(self: Arc<Self>, _opening: OwnedMutexGuard<()>) -> Result<Arc<Connection>, QueryError> {
        let broken = match &mut *self.state.lock() {
            ConnectionState::Broken(connection) => connection.take(),
            _ => None,
        };
        if let Some(connection) = broken
            && let Err(connection) = connection::close_broken(connection).await
        {
            *self.state.lock() = ConnectionState::Broken(Some(connection));
            return Err(QueryError::Unavailable("a query still uses the broken database".into()));
        }
        if let Some(engine) = &self.engine {
            // The engine would make a new, empty directory in the place of one that was removed.
            engine.directory.check_folder().map_err(|error| QueryError::Closed(Box::new(error)))?;
            engine.directory.forget_segment();
        }
        let unavailable = |error: OpenError| QueryError::Unavailable(Box::new(error));
        let connection = connection::open(&self.options).await.map_err(unavailable)?;
        schema::prepare(&connection, &self.options).await.map_err(unavailable)?;
        let connection = Arc::new(connection);
        *self.state.lock() = ConnectionState::Open(connection.clone());
        let url = self.options.shown_url();
        match self.purpose {
            Purpose::AllQueries => info!(%url, "reopened the database"),
            Purpose::Leases => info!(%url, "opened a connection for leases"),
        }
        Ok(connection)
    }

    /// Waits for the right to write to an embedded engine; `None` for a server.
    pub(super) async fn lock_writes(&self) -> Option<MutexGuard<'_, ()>> {
        match &self.engine {
            Some(engine) => Some(engine.write_lock.lock().await),
            None => None,
        }
    }

    /// Marks the connection as broken if a write to an embedded engine is cancelled before it completed, because
    /// nobody learns then whether the engine failed; or if any query about leases is.
    pub(super) fn begin<'a>(&'a self, connection: &'a Arc<Connection>, kind: QueryKind) -> RunningQuery<'a> {
        let breaks_on_cancel = match self.purpose {
            Purpose::AllQueries => kind == QueryKind::Write && self.engine.is_some(),
            Purpose::Leases => true,
        };
        RunningQuery { manager: self, connection, breaks_on_cancel }
    }

    /// Checks a query's result, and marks the connection as broken if the result shows it. A write is stored
    /// only if this returns `Ok`.
    pub(super) fn check_result<T>(
        &self,
        connection: &Arc<Connection>,
        kind: QueryKind,
        result: Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        match (&result, &self.engine, kind) {
            (Ok(_), Some(engine), QueryKind::Write) => {
                engine.directory.check().map_err(|error| QueryError::Closed(Box::new(error)))?;
            }
            (Err(error), Some(_), QueryKind::Write) if error.may_have_broken_engine() => {
                self.mark_broken(connection);
            }
            (Err(QueryError::Timeout(_)), None, _) => self.mark_broken(connection),
            // A new connection signs in again.
            (Err(error), None, _) if error.is_not_allowed() => self.mark_broken(connection),
            _ => {}
        }
        result
    }

    /// Marks a connection as broken, unless it was replaced already.
    fn mark_broken(&self, broken: &Arc<Connection>) {
        let mut state = self.state.lock();
        if let ConnectionState::Open(connection) = &*state
            && Arc::ptr_eq(connection, broken)
        {
            let url = self.options.shown_url();
            match self.purpose {
                Purpose::AllQueries => warn!(%url, "the next query reopens the broken database"),
                Purpose::Leases => warn!(%url, "the next query about leases opens another connection"),
            }
            *state = ConnectionState::Broken(Some(connection.clone()));
        }
    }

    /// Closes the connection; a directory is free afterwards, unless a query still runs.
    pub(super) async fn close(&self) -> Result<(), store::Error> {
        let _opening = self.opening.lock().await;
        let connection = match std::mem::replace(&mut *self.state.lock(), ConnectionState::Closed) {
            ConnectionState::Open(connection) | ConnectionState::Broken(Some(connection)) => connection,
            ConnectionState::Broken(None) | ConnectionState::Closed => return Ok(()),
        };
        // A query that still runs closes the connection when it drops its reference.
        let Some(connection) = Arc::into_inner(connection) else { return Ok(()) };
        let closed = connection.close().await;
        let doing = format!("closing {}", self.options.shown_url());
        closed.map_err(|cause| store::Error::Failed { doing, cause })
    }
}

/// A query under way. See [`ConnectionManager::begin`].
pub(super) struct RunningQuery<'a> {
    manager: &'a ConnectionManager,
    connection: &'a Arc<Connection>,
    breaks_on_cancel: bool,
}

impl RunningQuery<'_> {
    pub(super) fn completed(mut self) {
        self.breaks_on_cancel = false;
    }
}

impl Drop for RunningQuery<'_> {
    fn drop(&mut self) {
        if self.breaks_on_cancel {
            self.manager.mark_broken(self.connection);
        }
    }
}
