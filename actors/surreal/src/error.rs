//! What can go wrong, and which of it may pass.

use std::{collections::HashMap, error::Error as StdError, fmt, path::PathBuf, time::Duration};

use surrealdb::types::{ErrorDetails, QueryError};
use teammy_kernel::{error, store};

type Cause = Box<dyn StdError + Send + Sync>;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL is of no form that can be opened.
    #[error("cannot open {url}: {problem}; use surrealkv://DIRECTORY, ws://HOST:PORT or wss://HOST:PORT")]
    Url {
        /// The URL, without credentials.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The directory is open elsewhere.
    #[error("another process holds the database {}; stop it, or use another --db", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The directory cannot be made or written.
    #[error("cannot use {} as a database directory; name one that can be written", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the file system said.
        #[source]
        cause: Cause,
    },
    /// The server does not answer.
    #[error("cannot reach the database server {url}; check that it runs and that the address is right")]
    Unreachable {
        /// The URL, without credentials.
        url: String,
        /// What was tried.
        #[source]
        cause: Cause,
    },
    /// The server does not accept the credentials.
    #[error("the database server {url} refused the sign-in of {username:?}; check user and password")]
    SignIn {
        /// The URL, without credentials.
        url: String,
        /// The user.
        username: String,
        /// What the server said.
        #[source]
        cause: Cause,
    },
    /// A newer version of this program has written the database.
    #[error(
        "the database {url} has schema version {found}, and this program knows none above {known}; use a newer version of the program"
    )]
    NewerSchema {
        /// The URL, without credentials.
        url: String,
        /// The version that the database has.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// Something else.
    #[error("cannot open the database {url}")]
    Failed {
        /// The URL, without credentials.
        url: String,
        /// What the database said.
        #[source]
        cause: Cause,
    },
}

/// The store was used after it was closed.
#[derive(Debug, thiserror::Error)]
#[error("the store is closed")]
pub(super) struct Closed;

/// A record holds something that this module never wrote.
#[derive(Debug, thiserror::Error)]
#[error("the {column} of {record} is not {expected}")]
pub(super) struct Unexpected {
    pub(super) record: String,
    pub(super) column: &'static str,
    pub(super) expected: &'static str,
}

/// A number is above what SurrealDB's integers hold.
#[derive(Debug, thiserror::Error)]
#[error("{0} is above the highest number that the database can hold")]
pub(super) struct TooHigh(pub(super) u64);

/// A commit is larger than a transaction may be.
#[derive(Debug, thiserror::Error)]
#[error(
    "it takes about {bytes} bytes and one transaction of this database may take {limit}; commit less at once, or raise the memtable's size"
)]
pub(super) struct TooBig {
    pub(super) bytes: u64,
    pub(super) limit: u64,
}

/// Whether a transaction was given up for another's sake; it has done nothing then.
pub(super) fn is_conflict(error: &surrealdb::Error) -> bool {
    // The code that commits an implicit transaction wraps the storage engine's error without its details.
    matches!(error.details(), ErrorDetails::Query(Some(QueryError::TransactionConflict)))
        || error.message().contains("This transaction can be retried")
}

/// Whether a statement's error only says that another one failed. What a commit itself failed of comes with
/// the same details, so only the text tells.
fn is_consequence(error: &surrealdb::Error) -> bool {
    matches!(error.details(), ErrorDetails::Query(Some(QueryError::NotExecuted | QueryError::Cancelled)))
        && ["The query was not executed", "aborted due to a prior error"]
            .iter()
            .any(|sign| error.message().contains(sign))
}

/// The error that made a transaction fail.
pub(super) fn root(errors: HashMap<usize, surrealdb::Error>) -> Option<surrealdb::Error> {
    let rank = |error: &surrealdb::Error| (!is_conflict(error), is_consequence(error));
    errors.into_iter().min_by_key(|(statement, error)| (rank(error), *statement)).map(|(_, error)| error)
}

/// A server did not answer in its time; whether it did the work is unknown.
#[derive(Debug, thiserror::Error)]
#[error("it did not answer within {0:?}")]
pub(super) struct Late(pub(super) Duration);

/// Whether an error may pass; whether the work was done is unknown then.
pub(super) fn is_transient(error: &surrealdb::Error) -> bool {
    match error.details() {
        ErrorDetails::Query(_) | ErrorDetails::Connection(_) => true,
        // What the storage engine or a socket had to say comes as text: whether it did the work is unknown.
        ErrorDetails::Internal => {
            ["key-value store", "datastore", "IO error", "I/O error", "WebSocket", "onnection"]
                .iter()
                .any(|sign| error.message().contains(sign))
        }
        _ => is_conflict(error),
    }
}

/// What SurrealDB said. Its messages about values quote them, so only those about connections, transactions
/// and the disk are passed on; of others the kind is told.
#[derive(Debug)]
struct Said(surrealdb::Error);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_transient(&self.0) {
            return f.write_str(&error::shortened(self.0.message(), error::MAX_BYTES));
        }
        let kind = format!("{:?}", self.0.details());
        let kind: String = kind.chars().take_while(char::is_ascii_alphabetic).collect();
        write!(f, "the database refused it ({kind})")
    }
}

impl std::error::Error for Said {}

/// What SurrealDB's error means to a store's caller.
pub(super) fn store_error(doing: String, error: surrealdb::Error) -> store::Error {
    let transient = is_transient(&error);
    let cause = Box::new(Said(error));
    if transient { store::Error::Unavailable { doing, cause } } else { store::Error::Failed { doing, cause } }
}
