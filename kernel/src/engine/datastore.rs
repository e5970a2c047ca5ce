//! The datastore: an instance's keys and values in a meeting, and the meeting's history.
//!
//! Writes are buffered while a hook runs. They are committed with the hook's cursor, state and output; a hook
//! that fails has written nothing. Reads see the hook's own writes first, then those of earlier hooks,
//! committed or not.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    history::History,
    provider::{KeyValue, PersistenceProvider, ReadError, record_bytes},
};
use crate::{DataPacket, DecodeError, EncodeError, Seq, decode, error_classes, timers};

/// Why a read or a write failed. No message holds a key, because keys may hold names and spoken words.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key is empty or too long, or begins with a NUL.
    #[error(
        "a key is {bytes} bytes long, or begins with a NUL; keys are 1 to {} bytes",
        Datastore::MAX_KEY_BYTES
    )]
    Key {
        /// The key's length in bytes.
        bytes: usize,
    },
    /// The value is too large.
    #[error("a key's value is {bytes} bytes of JSON; the limit is {}", Datastore::MAX_VALUE_BYTES)]
    Value {
        /// The value's size in bytes of JSON.
        bytes: usize,
    },
    /// The hook writes too much at once.
    #[error(
        "the hook has written {bytes} bytes of keys and values; the limit for one hook is {}",
        Datastore::MAX_WRITTEN_BYTES
    )]
    Written {
        /// The bytes that the hook has written, this write included.
        bytes: usize,
    },
    /// The value has no JSON form.
    #[error("a key's value cannot be written as JSON")]
    Encode(#[source] EncodeError),
    /// The stored value is not of the type asked for.
    #[error("a key's value is not of the type asked for")]
    Decode(#[source] DecodeError),
    /// A hook asks for a wake, and the plugin takes none.
    #[error("the plugin asks for a wake and takes none: name `.on_wake()` in its `hooks`")]
    NoWakeHook,
    /// The store could not be read.
    #[error("reading the datastore")]
    Read(#[source] ReadError),
}

error_classes!(Error {
    Self::Key { .. } => "datastore-key" Invalid,
    Self::Value { .. } => "datastore-value-too-large" Invalid,
    Self::Written { .. } => "datastore-too-much-written" Invalid,
    Self::NoWakeHook => "no-wake-hook" Invalid,
} else {
    Self::Encode(error) => error.class(),
    Self::Decode(error) => error.class(),
    Self::Read(error) => error.class(),
});

#[derive(Default)]
struct Buffer {
    writes: BTreeMap<String, Option<Arc<str>>>,
    /// The cost of all writes, overwritten values included.
    bytes: usize,
}

/// The packet that the hook runs on, from which history is counted back. The parts are separate atomics,
/// because they are written before a hook and read only in it. Seq 0 stands for no packet.
#[derive(Default)]
struct At {
    seq: AtomicU64,
    second: AtomicI64,
    nanosecond: AtomicI32,
}

impl At {
    fn set(&self, seq: Seq, timestamp: Timestamp) {
        self.second.store(timestamp.as_second(), Ordering::Relaxed);
        self.nanosecond.store(timestamp.subsec_nanosecond(), Ordering::Relaxed);
        self.seq.store(seq.0, Ordering::Release);
    }

    fn get(&self) -> Option<(Seq, Timestamp)> {
        let seq = Seq(self.seq.load(Ordering::Acquire));
        let (second, nanosecond) =
            (self.second.load(Ordering::Relaxed), self.nanosecond.load(Ordering::Relaxed));
        let timestamp = Timestamp::new(second, nanosecond).ok()?;
        (seq > Seq::ZERO).then_some((seq, timestamp))
    }
}

#[derive(Default)]
struct Running {
    at: At,
    /// Whether the buffer holds anything. Most hooks write nothing, and so take no lock.
    has_written: AtomicBool,
    buffer: Mutex<Buffer>,
}

/// An instance's keys and values in one meeting, and the meeting's history.
#[derive(Clone)]
pub struct Datastore {
    provider: Arc<dyn PersistenceProvider>,
    running: Arc<Running>,
}

impl fmt::Debug for Datastore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datastore").finish_non_exhaustive()
    }
}

impl Datastore {
    /// The longest key in bytes.
    pub const MAX_KEY_BYTES: usize = 512;
    /// The largest value in bytes of JSON.
    pub const MAX_VALUE_BYTES: usize = 1024 * 1024;
    /// The most that one hook may write: bytes of keys and values, and 1 KiB for each write. One hook's
    /// writes are stored in one transaction.
    pub const MAX_WRITTEN_BYTES: usize = 4 * 1024 * 1024;

    pub(super) fn new(provider: Arc<dyn PersistenceProvider>) -> Self {
        Self { provider, running: Arc::default() }
    }

    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.running.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a key; `None` if it was never set, or was deleted.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Decode`] if the value is of another type, and [`Error::Read`] if the store
    /// cannot be read.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        check_key(key)?;
        let buffered = self.buffer().writes.get(key).cloned();
        let value = match buffered {
            Some(written) => written,
            None => self.provider.get(key).await.map_err(Error::Read)?,
        };
        value.map(|json| decode::json(&json)).transpose().map_err(Error::Decode)
    }

    /// Sets a key, as part of the running hook's commit.
    ///
    /// # Errors
    /// [`Error::Key`], [`Error::Value`], [`Error::Written`] and [`Error::Encode`].
    pub fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), Error> {
        check_key(key)?;
        let json = decode::to_json(value).map_err(Error::Encode)?;
        if json.len() > Self::MAX_VALUE_BYTES {
            return Err(Error::Value { bytes: json.len() });
        }
        self.write(key, Some(json.into()))
    }

    /// Asks for a wake, as part of the running hook's commit.
    pub(crate) fn wake_at(&self, key: &str, at: Timestamp, seq: Seq) -> Result<(), Error> {
        check_key(key)?;
        let (key, value) = timers::wake(key, at, seq);
        self.write(&key, value)
    }

    /// Cancels a wake, as part of the running hook's commit.
    pub(crate) fn cancel(&self, key: &str) -> Result<(), Error> {
        check_key(key)?;
        let (key, value) = timers::cancel(key);
        self.write(&key, value)
    }

    /// Deletes a key, as part of the running hook's commit. Deleting an absent key is no error.
    ///
    /// # Errors
    /// [`Error::Key`] and [`Error::Written`].
    pub fn delete(&self, key: &str) -> Result<(), Error> {
        check_key(key)?;
        self.write(key, None)
    }

    fn write(&self, key: &str, value: Option<Arc<str>>) -> Result<(), Error> {
        let mut buffer = self.buffer();
        let bytes = buffer.bytes + record_bytes(key, value.as_ref());
        if bytes > Self::MAX_WRITTEN_BYTES {
            return Err(Error::Written { bytes });
        }
        buffer.bytes = bytes;
        self.running.has_written.store(true, Ordering::Release);
        buffer.writes.insert(key.to_owned(), value);
        Ok(())
    }

    /// The keys that start with a prefix, in order; an empty prefix lists all.
    ///
    /// # Errors
    /// [`Error::Read`] if the store cannot be read.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        Ok(self.matching(prefix).await?.into_keys().collect())
    }

    /// The keys that start with a prefix, in order, with their values; an empty prefix selects all. It is one
    /// read of the store, where a [`get`](Self::get) of each key would be many.
    ///
    /// # Errors
    /// [`Error::Decode`] if one of the values is of another type, and [`Error::Read`] if the store cannot be
    /// read.
    pub async fn entries<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(String, T)>, Error> {
        let matching = self.matching(prefix).await?.into_iter();
        matching.map(|(key, json)| Ok((key, decode::json(&json).map_err(Error::Decode)?))).collect()
    }

    /// The keys that start with a prefix, with their values as JSON.
    async fn matching(&self, prefix: &str) -> Result<BTreeMap<String, Arc<str>>, Error> {
        let stored = self.provider.list(prefix).await.map_err(Error::Read)?;
        let stored = stored.into_iter().filter(|(key, _)| !key.starts_with(timers::RESERVED));
        let mut keys: BTreeMap<String, Arc<str>> = stored.collect();
        let buffer = self.buffer();
        let written = buffer.writes.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        for (key, value) in written.filter(|(key, _)| !key.starts_with(timers::RESERVED)) {
            match value {
                Some(value) => keys.insert(key.clone(), value.clone()),
                None => keys.remove(key),
            };
        }
        Ok(keys)
    }

    /// Packets of the meeting, oldest first.
    ///
    /// Returns packets of other sources up to the one that the hook runs on, without it, and all outputs of
    /// the instance's earlier hooks. The answer doesn't depend on what is committed already.
    ///
    /// # Errors
    /// [`Error::Read`] if the store cannot be read.
    pub async fn stream_history(&self, history: History) -> Result<Vec<Arc<DataPacket>>, Error> {
        let at = self.running.at.get();
        let mut history = history;
        if let (Some(within), Some((_, now))) = (history.within, at) {
            let since = jiff::SignedDuration::try_from(within)
                .ok()
                .and_then(|within| now.checked_sub(within).ok())
                .unwrap_or(Timestamp::MIN);
            history.not_before = Some(history.not_before.map_or(since, |at| at.max(since)));
        }
        let before = at.map_or(Seq::MAX, |(seq, _)| seq);
        self.provider.history(history, before).await.map_err(Error::Read)
    }

    /// Drops what was written and sets the packet that the next hook runs on.
    #[inline]
    pub(super) fn begin(&self, seq: Seq, timestamp: Timestamp) {
        self.running.at.set(seq, timestamp);
        if self.has_writes() {
            self.take_written();
        }
    }

    #[inline]
    pub(super) fn has_writes(&self) -> bool {
        self.running.has_written.load(Ordering::Acquire)
    }

    #[inline]
    pub(super) fn take_writes(&self) -> Vec<KeyValue> {
        if self.has_writes() { self.take_written() } else { Vec::new() }
    }

    /// Where it reads.
    pub(super) fn provider(&self) -> &dyn PersistenceProvider {
        &*self.provider
    }

    #[cold]
    fn take_written(&self) -> Vec<KeyValue> {
        let mut buffer = self.buffer();
        self.running.has_written.store(false, Ordering::Release);
        std::mem::take(&mut *buffer).writes.into_iter().collect()
    }
}

fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() || key.len() > Datastore::MAX_KEY_BYTES || key.starts_with(timers::RESERVED) {
        return Err(Error::Key { bytes: key.len() });
    }
    Ok(())
}
