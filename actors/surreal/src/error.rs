//! Errors of this crate, and which of them are transient.

use std::{collections::HashMap, error::Error as StdError, fmt, path::PathBuf, time::Duration};

use surrealdb::types::{ErrorDetails, NotAllowedError, QueryError as SdkQueryError};
use teammy_kernel::{error, error_classes, shortened, store};

pub(super) type Cause = Box<dyn StdError + Send + Sync>;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL names no database that can be opened.
    #[error("cannot open {url}: {problem}; use surrealkv://DIRECTORY, ws://HOST:PORT or wss://HOST:PORT")]
    Url {
        /// The URL, without credentials.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Another process has the directory open.
    #[error("another process holds the database {}; stop it, or use another --db", path.display())]
    Locked {
        /// The directory's path.
        path: PathBuf,
    },
    /// The directory cannot be made or written.
    #[error("cannot use {} as a database directory; name one that can be written", path.display())]
    Directory {
        /// The directory's path.
        path: PathBuf,
        /// The file system's error.
        #[source]
        cause: Cause,
    },
    /// The server does not answer.
    #[error("cannot reach the database server {url}; check that it runs and that the address is right")]
    Unreachable {
        /// The URL, without credentials.
        url: String,
        /// The connection's error.
        #[source]
        cause: Cause,
    },
    /// The server rejected the credentials.
    #[error(
        "the database server {url} rejected the sign-in of {account}; check the user, its password and \
         database.auth_level, or whether the token has expired"
    )]
    SignIn {
        /// The URL, without credentials.
        url: String,
        /// The user and where it is defined, or that it was a token.
        account: String,
        /// The server's error.
        #[source]
        cause: Cause,
    },
    /// The server does not let the user do what this crate needs.
    #[error(
        "the database server {url} does not let {account} define tables in {database} and write to them; give a \
         user with the role EDITOR or OWNER"
    )]
    NotAllowed {
        /// The URL, without credentials.
        url: String,
        /// The user and where it is defined, or that it was a token, or none of these.
        account: String,
        /// The namespace and the database.
        database: String,
        /// The server's error.
        #[source]
        cause: Cause,
    },
    /// A newer version of this program has upgraded the database, and this version can't work with it.
    #[error(
        "the database {url} has schema version {found}, which programs of version {compatible_from} and newer can use, and this \
         program has version {known}; use a newer version of the program"
    )]
    NewerSchema {
        /// The URL, without credentials.
        url: String,
        /// The version that the database has.
        found: i64,
        /// The oldest version whose programs can use the database.
        compatible_from: i64,
        /// This program's version.
        known: i64,
    },
    /// Any other error of the database.
    #[error("cannot open the database {url}")]
    Failed {
        /// The URL, without credentials.
        url: String,
        /// The database's error.
        #[source]
        cause: Cause,
    },
}

error_classes!(OpenError {
    Self::Url { .. } => "database-url" Invalid,
    Self::Locked { .. } => "database-locked" Busy,
    Self::Directory { .. } => "database-directory" Invalid,
    Self::Unreachable { .. } => "database-unreachable" Unavailable,
    Self::SignIn { .. } => "database-sign-in" Invalid,
    Self::NotAllowed { .. } => "database-not-allowed" Invalid,
    Self::NewerSchema { .. } => "database-newer" Invalid,
    Self::Failed { .. } => "database-failed" Internal,
});

/// The store was used after it was closed.
#[derive(Debug, thiserror::Error)]
#[error("the store is closed")]
pub(super) struct StoreClosed;

/// A record holds something that this crate never writes.
#[derive(Debug, thiserror::Error)]
#[error("the {column} of {record} is not {expected}")]
pub(super) struct UnexpectedValue {
    pub(super) record: String,
    pub(super) column: &'static str,
    pub(super) expected: &'static str,
}

/// A number is above the highest of SurrealDB's integers.
#[derive(Debug, thiserror::Error)]
#[error("{0} is above the highest number that the database can hold")]
pub(super) struct NumberTooHigh(pub(super) u64);

/// A commit is larger than a transaction may be.
#[derive(Debug, thiserror::Error)]
#[error(
    "the commit takes about {bytes} bytes, and a transaction of this database at most {limit}; commit less at once, or raise the memtable's size"
)]
pub(super) struct CommitTooLarge {
    pub(super) bytes: u64,
    pub(super) limit: u64,
}

/// A server did not answer within this time. It may still have done the work.
#[derive(Debug, thiserror::Error)]
#[error("the database server did not answer within {0:?}")]
struct AnswerTimeout(Duration);

/// Why a query failed.
pub(super) enum QueryError {
    /// The database's error.
    Database(surrealdb::Error),
    /// An embedded engine's error for the commit of a transaction.
    Commit(surrealdb::Error),
    /// A value of the query has no form in the database, or one of its answer is unexpected.
    Value(Cause),
    /// The server did not answer within this time.
    Timeout(Duration),
    /// There is no connection to the database now; there may be one later.
    Unavailable(Cause),
    /// There will be no connection to the database any more.
    Closed(Cause),
}

impl From<surrealdb::Error> for QueryError {
    fn from(error: surrealdb::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Cause> for QueryError {
    fn from(error: Cause) -> Self {
        Self::Value(error)
    }
}

impl QueryError {
    pub(super) fn into_store(self, doing: impl FnOnce() -> String) -> store::Error {
        let doing = doing();
        match self {
            Self::Database(error) if is_transient(&error) => {
                store::Error::Unavailable { doing, cause: Box::new(ShownMessage(error)) }
            }
            Self::Database(error) => store::Error::Failed { doing, cause: Box::new(HiddenMessage(error)) },
            Self::Commit(error) => store::Error::Unavailable { doing, cause: Box::new(ShownMessage(error)) },
            Self::Value(cause) | Self::Closed(cause) => store::Error::Failed { doing, cause },
            Self::Timeout(limit) => {
                store::Error::Unavailable { doing, cause: Box::new(AnswerTimeout(limit)) }
            }
            Self::Unavailable(cause) => store::Error::Unavailable { doing, cause },
        }
    }

    pub(super) fn into_cause(self) -> Cause {
        match self {
            Self::Database(error) | Self::Commit(error) => Box::new(error),
            Self::Value(cause) | Self::Unavailable(cause) | Self::Closed(cause) => cause,
            Self::Timeout(limit) => Box::new(AnswerTimeout(limit)),
        }
    }

    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Database(error) | Self::Commit(error) if is_conflict(error))
    }

    /// See [`is_not_allowed`].
    pub(super) fn is_not_allowed(&self) -> bool {
        matches!(self, Self::Database(error) if is_not_allowed(error))
    }

    /// Whether an embedded engine may have failed to write.
    pub(super) fn may_have_broken_engine(&self) -> bool {
        match self {
            Self::Database(error) => is_transient(error) && !is_conflict(error),
            Self::Commit(error) => !is_conflict(error),
            _ => false,
        }
    }
}

/// Whether a transaction lost a conflict with another one. It has changed nothing then.
pub(super) fn is_conflict(error: &surrealdb::Error) -> bool {
    // The code that commits an implicit transaction wraps the storage engine's error without its details.
    matches!(error.details(), ErrorDetails::Query(Some(SdkQueryError::TransactionConflict)))
        || error.message().contains("This transaction can be retried")
}

/// Whether the server does not let this connection do something: its session has expired, or its user has no
/// right to it. The next connection signs in again, and the user's rights may be different then.
pub(super) fn is_not_allowed(error: &surrealdb::Error) -> bool {
    matches!(error.details(), ErrorDetails::NotAllowed(Some(NotAllowedError::Auth(_))))
}

/// Whether a statement's error only says that another statement failed. The error of a commit itself comes
/// with the same details, so only the text tells them apart.
fn is_consequence(error: &surrealdb::Error) -> bool {
    matches!(
        error.details(),
        ErrorDetails::Query(Some(SdkQueryError::NotExecuted | SdkQueryError::Cancelled))
    ) && ["The query was not executed", "aborted due to a prior error"]
        .iter()
        .any(|sign| error.message().contains(sign))
}

/// The error that made a transaction fail, out of the errors of its statements.
pub(super) fn root_cause(errors: HashMap<usize, surrealdb::Error>) -> Option<surrealdb::Error> {
    let rank = |error: &surrealdb::Error| (!is_conflict(error), is_consequence(error));
    errors.into_iter().min_by_key(|(statement, error)| (rank(error), *statement)).map(|(_, error)| error)
}

/// Whether a retry may succeed. It is unknown then whether the work was done.
fn is_transient(error: &surrealdb::Error) -> bool {
    match error.details() {
        ErrorDetails::Query(_) | ErrorDetails::Connection(_) => true,
        _ if is_not_allowed(error) => true,
        // The storage engine's and the socket's errors come as text without details.
        ErrorDetails::Internal => {
            ["key-value store", "datastore", "IO error", "I/O error", "WebSocket", "onnection"]
                .iter()
                .any(|sign| error.message().contains(sign))
        }
        _ => is_conflict(error),
    }
}

/// SurrealDB's error about a connection, rights, a transaction or the disk. It may be logged.
#[derive(Debug)]
struct ShownMessage(surrealdb::Error);

impl fmt::Display for ShownMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shortened(self.0.message(), error::MAX_BYTES))
    }
}

impl StdError for ShownMessage {}

/// Any other of SurrealDB's errors. Its message may quote values, so only its kind is shown.
#[derive(Debug)]
struct HiddenMessage(surrealdb::Error);

impl fmt::Display for HiddenMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = format!("{:?}", self.0.details());
        let kind: String = kind.chars().take_while(char::is_ascii_alphabetic).collect();
        write!(f, "the database rejected the query ({kind})")
    }
}

impl StdError for HiddenMessage {}
