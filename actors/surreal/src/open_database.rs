//! An open database, and how queries run on it.

use std::sync::Arc;

use surrealdb::{
    IndexedResults,
    types::{Value, Variables},
};
use teammy_kernel::store;

use super::{
    conflicts::ConflictRetries,
    connection::{Connection, QueryText},
    connection_manager::{ConnectionManager, QueryKind},
    decode::{self, StoredRow},
    error::{Cause, QueryError},
    options::Options,
};

/// Reads one record, or a range of them.
pub(super) const SELECT: &QueryText = &["SELECT * FROM $id"];

pub(super) struct OpenDatabase {
    /// The URL without credentials.
    pub(super) url: String,
    /// The most bytes that one transaction may take.
    pub(super) transaction_bytes: u64,
    manager: Arc<ConnectionManager>,
}

impl OpenDatabase {
    pub(super) fn new(options: Options, connection: Connection) -> Self {
        Self {
            url: options.shown_url(),
            transaction_bytes: options.transaction_bytes(),
            manager: Arc::new(ConnectionManager::new(options, connection)),
        }
    }

    /// The database on a server, over a connection for leases.
    pub(super) fn for_leases(options: Options) -> Self {
        Self {
            url: options.shown_url(),
            transaction_bytes: options.transaction_bytes(),
            manager: Arc::new(ConnectionManager::for_leases(options)),
        }
    }

    /// Whether the database is an engine in this process.
    pub(super) fn is_embedded(&self) -> bool {
        self.manager.is_embedded()
    }

    pub(super) async fn query(
        &self,
        kind: QueryKind,
        text: &QueryText,
        variables: impl Fn() -> Result<Variables, Cause>,
    ) -> Result<IndexedResults, QueryError> {
        let manager = &self.manager;
        let _write_lock = match kind {
            QueryKind::Read => None,
            QueryKind::Write => manager.lock_writes().await,
        };
        let connection = manager.connection().await?;
        let running = manager.begin(&connection, kind);
        let result = connection.query(text, variables).await;
        running.completed();
        manager.check_result(&connection, kind, result)
    }

    /// Runs statements as one transaction. It is retried while it loses conflicts.
    ///
    /// In an embedded engine several transactions run their statements at the same time, and only their commits
    /// wait for each other. So a short transaction doesn't wait for the statements of a long one.
    pub(super) async fn transaction(
        &self,
        statements: &QueryText,
        variables: impl Fn() -> Result<Variables, Cause>,
    ) -> Result<IndexedResults, QueryError> {
        let manager = &self.manager;
        if !manager.is_embedded() {
            let text = [&["BEGIN;"], statements, &["COMMIT"]].concat();
            return self.query(QueryKind::Write, &text, variables).await;
        }
        let mut retries = ConflictRetries::default();
        loop {
            let connection = manager.connection().await?;
            let running = manager.begin(&connection, QueryKind::Write);
            let transaction = connection.begin(statements, variables()?).await;
            let write_lock = manager.lock_writes().await;
            let result = match transaction {
                // Another write has failed meanwhile, so this one needs an engine that was reopened.
                Ok(transaction) if !manager.is_open(&connection) => {
                    transaction.cancel().await;
                    running.completed();
                    continue;
                }
                Ok(transaction) => transaction.commit().await,
                Err(error) => Err(error),
            };
            running.completed();
            match manager.check_result(&connection, QueryKind::Write, result) {
                Err(error) if error.is_conflict() && retries.are_left() => {
                    drop(write_lock);
                    retries.back_off().await;
                }
                result => return result,
            }
        }
    }

    /// Runs statements as one transaction whose last one selects whether it did what it was for.
    pub(super) async fn did(
        &self,
        statements: &QueryText,
        variables: impl Fn() -> Result<Variables, Cause>,
    ) -> Result<bool, QueryError> {
        let mut results = self.transaction(statements, variables).await?;
        Ok(decode::first_rows(&mut results)?.contains(&Value::Bool(true)))
    }

    /// Runs a query with one result, and decodes each of its rows. `doing` is what an error says was being
    /// done.
    pub(super) async fn rows<T>(
        &self,
        kind: QueryKind,
        text: &QueryText,
        variables: impl Fn() -> Result<Variables, Cause>,
        doing: impl Fn() -> String,
        decode: impl Fn(StoredRow) -> Result<T, Cause>,
    ) -> Result<Vec<T>, store::Error> {
        let results = self.query(kind, text, variables).await;
        results.and_then(|results| decode::rows(results, decode)).map_err(|error| error.into_store(doing))
    }

    pub(super) async fn close(&self) -> Result<(), store::Error> {
        self.manager.close().await
    }
}
