//! What stands behind a datastore.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::history::History;
use crate::{DataPacket, Seq, error_classes};

/// A failed read, as the provider describes it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct ReadError(pub String);

error_classes!(ReadError { _ => "datastore-unreadable" Unavailable, });

/// A key and its new value as JSON text; `None` deletes the key.
pub type KeyValue = (String, Option<Arc<str>>);

/// What a write counts against limits, in bytes: key and value, and 1 KiB for the record.
pub fn write_cost((key, value): &KeyValue) -> usize {
    record_bytes(key, value.as_ref())
}

pub(super) fn record_bytes(key: &str, value: Option<&Arc<str>>) -> usize {
    /// What a store needs for a record beside its key and value.
    const RECORD: usize = 1024;
    RECORD + key.len() + value.map_or(0, |value| value.len())
}

/// The future that a provider's methods return.
pub type ReadFuture<'a, T> = BoxFuture<'a, Result<T, ReadError>>;

/// What stands behind a [`Datastore`](crate::Datastore): the store and the meeting's log, or a map in a test.
///
/// A provider belongs to one instance in one meeting. It returns what earlier hooks of that instance
/// submitted, committed or not. The datastore itself keeps the running hook's writes.
pub trait PersistenceProvider: Send + Sync + 'static {
    /// A key's value as JSON text.
    fn get<'a>(&'a self, key: &'a str) -> ReadFuture<'a, Option<Arc<str>>>;

    /// The keys that start with a prefix, with their values, in key order.
    fn list<'a>(&'a self, prefix: &'a str) -> ReadFuture<'a, Vec<(String, Arc<str>)>>;

    /// Packets of the meeting, oldest first: of other sources those before `before`, of the instance itself
    /// all outputs of its earlier hooks.
    fn history(&self, history: History, before: Seq) -> ReadFuture<'_, Vec<Arc<DataPacket>>>;
}
