//! A store as the configuration says it.

use teammy_config::{Database, ExposeSecret, database::Url};

use crate::Options;

impl Options {
    /// What a configuration says of the database at a URL.
    pub fn configured(database: &Database, url: &Url) -> Self {
        Self {
            url: url.to_string(),
            namespace: database.namespace.clone(),
            database: database.database.clone(),
            username: database.username.clone(),
            password: database.password.as_ref().map(|password| password.expose_secret().to_owned()),
            block_cache: Some(database.block_cache.bytes()),
            memtable: Some(database.memtable.bytes()),
            answer_timeout: Self::ANSWER_TIMEOUT,
        }
    }
}
