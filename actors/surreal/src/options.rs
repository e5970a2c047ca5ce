//! How a store is opened.

use std::{fmt, path::Path};

use teammy_config::{
    Database, ExposeSecret,
    database::{AuthLevel, Url},
};
use tokio::time::Duration;

/// How to open a store.
#[derive(Clone)]
pub struct Options {
    /// `surrealkv://DIRECTORY`, `ws://HOST:PORT` or `wss://HOST:PORT`.
    pub url: String,
    /// SurrealDB's namespace.
    pub namespace: String,
    /// The database in the namespace.
    pub database: String,
    /// The user to sign in as on a server; embedded databases have no users. It needs the role `EDITOR`,
    /// because tables are defined.
    pub username: Option<String>,
    /// That user's password.
    pub password: Option<String>,
    /// Where that user is defined: on the server, on the namespace or on the database.
    pub auth_level: AuthLevel,
    /// A token to sign in with on a server, instead of a user. It is used for each new connection.
    pub token: Option<String>,
    /// For `surrealkv://`, the most bytes that read blocks may take in memory; 64 MiB if `None`.
    pub block_cache: Option<u64>,
    /// For `surrealkv://`, the bytes of writes that gather in memory before they go to a table on disk; 64
    /// MiB if `None`. One commit may take half of it. After a crash a directory may not open with a much
    /// smaller size than it was written with; then set the old size.
    pub memtable: Option<u64>,
    /// For a server, how long it may take to answer a query. While the server is away, the SDK queues
    /// queries and tries to reconnect each second; so this is also how long an absence may last before
    /// queries fail.
    pub answer_timeout: Duration,
}

impl Options {
    /// The default of `block_cache`: 64 MiB. SurrealKV's own default is up to half of the machine's memory,
    /// which a library may not take from its host.
    const BLOCK_CACHE: u64 = 64 << 20;
    /// The default of `memtable`: 64 MiB. SurrealKV's own default follows the machine's memory, up to 4 GiB.
    const MEMTABLE: u64 = 64 << 20;
    const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

    /// Options for a URL with defaults for all else; an answer may take 30 s.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            namespace: "teammy".to_owned(),
            database: "teammy".to_owned(),
            username: None,
            password: None,
            auth_level: AuthLevel::Root,
            token: None,
            block_cache: None,
            memtable: None,
            answer_timeout: Self::ANSWER_TIMEOUT,
        }
    }

    /// Options for a URL with a configuration's settings; an answer may take 30 s.
    pub fn configured(database: &Database, url: &Url) -> Self {
        Self {
            url: url.to_string(),
            namespace: database.namespace.clone(),
            database: database.database.clone(),
            username: database.username.clone(),
            password: database.password.as_ref().map(|password| password.expose_secret().to_owned()),
            auth_level: database.auth_level,
            token: database.token.as_ref().map(|token| token.expose_secret().to_owned()),
            block_cache: Some(database.block_cache.bytes()),
            memtable: Some(database.memtable.bytes()),
            answer_timeout: Self::ANSWER_TIMEOUT,
        }
    }

    /// The URL without credentials, as it may be logged.
    pub(super) fn shown_url(&self) -> String {
        let Some((scheme @ ("ws" | "wss" | "http" | "https"), rest)) = self.url.split_once("://") else {
            return self.url.clone();
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        match authority.rsplit_once('@') {
            Some((_, host)) => format!("{scheme}://…@{host}{path}"),
            None => self.url.clone(),
        }
    }

    /// Who signs in to a server, for messages.
    pub(super) fn account(&self) -> Account {
        let name = match (&self.token, &self.username) {
            (Some(_), _) => return Account::Token,
            (None, Some(name)) => name.clone(),
            (None, None) => return Account::Nobody,
        };
        Account::User {
            name,
            of: match self.auth_level {
                AuthLevel::Namespace => format!("namespace {}", self.namespace),
                AuthLevel::Database => format!("database {}/{}", self.namespace, self.database),
                _ => "root".to_owned(),
            },
        }
    }

    /// The directory of an embedded database; `None` for any other URL, and if the directory is missing.
    pub(super) fn directory(&self) -> Option<&Path> {
        let path = self.url.strip_prefix("surrealkv://")?;
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        (!path.is_empty()).then(|| Path::new(path))
    }

    /// The most bytes that read blocks may take in an embedded engine's memory.
    pub(super) fn block_cache_bytes(&self) -> u64 {
        self.block_cache.unwrap_or(Self::BLOCK_CACHE)
    }

    /// The size of an embedded engine's memtable.
    pub(super) fn memtable_bytes(&self) -> u64 {
        self.memtable.unwrap_or(Self::MEMTABLE)
    }

    /// The most bytes that one transaction may take.
    pub(super) fn transaction_bytes(&self) -> u64 {
        // A server's limits are unknown here. By the SDK's default a message to it may have up to 64 MiB.
        const SERVER: u64 = 16 << 20;
        match self.url.split_once("://") {
            Some(("surrealkv", _)) => self.memtable_bytes() / 2,
            _ => SERVER,
        }
    }
}

/// Who signs in to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Account {
    Nobody,
    Token,
    User { name: String, of: String },
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("a client without a user"),
            Self::Token => f.write_str("the token"),
            Self::User { name, of } => write!(f, "user {name:?} of {of}"),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("url", &self.shown_url())
            .field("namespace", &self.namespace)
            .field("database", &self.database)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("auth_level", &self.auth_level)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("block_cache", &self.block_cache)
            .field("memtable", &self.memtable)
            .field("answer_timeout", &self.answer_timeout)
            .finish()
    }
}
