//! The datastore: an instance's keys and values in a meeting, and the meeting's history.
//!
//! Writes are buffered while a hook runs and become part of its commit, with the cursor, the state and the
//! output: a hook that fails has written nothing. Reads see the hook's own writes first, then those of
//! earlier hooks, committed or not.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

use crate::{DataPacket, DecodeError, EncodeError, Name, Seq, decode};

/// A failed read, from behind the provider.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct ReadError(pub String);

/// Why a read or a write failed. No message holds a key: keys are made of what is said, and of who says it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key is empty or too long.
    #[error("a key is {bytes} bytes long; keys are 1 to {} bytes", Datastore::MAX_KEY_BYTES)]
    Key {
        /// Its length in bytes.
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
        /// What it has written, this write included.
        bytes: usize,
    },
    /// The value has no JSON form.
    #[error("a key's value cannot be written as JSON")]
    Encode(#[source] EncodeError),
    /// What is stored is not of the type asked for.
    #[error("a key's value is not of the type asked for")]
    Decode(#[source] DecodeError),
    /// The store could not be read.
    #[error("reading the datastore")]
    Read(#[source] ReadError),
}

/// A key and what it is to hold: JSON text, or nothing any more.
pub type KeyValue = (String, Option<Arc<str>>);

/// The future that a provider's methods return.
pub type ReadFuture<'a, T> = BoxFuture<'a, Result<T, ReadError>>;

/// Which packets of the meeting's history to read. Without more it asks for all durable packets so far.
///
/// # Examples
/// ```
/// use teammy_kernel::History;
/// let last_ten = History::of("transcription")?.last(10);
/// # Ok::<(), teammy_kernel::name::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct History {
    /// Only this source.
    pub source: Option<Name>,
    /// Only the newest so many; they still come oldest first.
    pub last: Option<usize>,
    /// Only packets that tell of this moment or a later one.
    pub not_before: Option<Timestamp>,
    /// Only packets that tell of the last so long before the packet that the hook runs on.
    pub within: Option<Duration>,
    /// Only this place and later ones.
    pub from: Seq,
    /// Only this place and earlier ones.
    pub to: Seq,
}

impl Default for History {
    fn default() -> Self {
        Self::all()
    }
}

impl History {
    /// Every durable packet so far.
    pub fn all() -> Self {
        Self { source: None, last: None, not_before: None, within: None, from: Seq(1), to: Seq::MAX }
    }

    /// Every durable packet of one source so far; an instance's outputs are the source of its name.
    ///
    /// # Errors
    /// If the name is malformed.
    pub fn of(source: impl AsRef<str>) -> Result<Self, crate::name::Error> {
        Ok(Self { source: Some(Name::new(source)?), ..Self::all() })
    }

    /// Only the newest `count`.
    #[must_use]
    pub fn last(mut self, count: usize) -> Self {
        self.last = Some(count);
        self
    }

    /// Only what tells of `at` or later.
    #[must_use]
    pub fn not_before(mut self, at: Timestamp) -> Self {
        self.not_before = Some(at);
        self
    }

    /// Only what tells of the last `duration` before the packet that the hook runs on.
    #[must_use]
    pub fn within(mut self, duration: Duration) -> Self {
        self.within = Some(duration);
        self
    }

    /// Only places `from` to `to`, both included.
    #[must_use]
    pub fn seqs(mut self, from: Seq, to: Seq) -> Self {
        self.from = from;
        self.to = to;
        self
    }

    /// Whether a packet is one of those asked for, as far as one packet can tell (all but `last` and
    /// `within`).
    pub fn matches(&self, packet: &DataPacket) -> bool {
        packet.seq >= self.from
            && packet.seq <= self.to
            && self.source.as_ref().is_none_or(|source| *source == packet.source)
            && self.not_before.is_none_or(|at| packet.timestamp >= at)
    }
}

/// What stands behind a [`Datastore`]: the persistence actor and the meeting's log, or a map in a test.
///
/// A provider belongs to one instance in one meeting. It answers with what earlier hooks of that instance
/// handed on, committed or not; the running hook's own writes are the datastore's business.
pub trait PersistenceProvider: Send + Sync + 'static {
    /// A key's value as JSON text.
    fn get<'a>(&'a self, key: &'a str) -> ReadFuture<'a, Option<Arc<str>>>;

    /// The keys that start with a prefix, with their values, in key order.
    fn list<'a>(&'a self, prefix: &'a str) -> ReadFuture<'a, Vec<(String, Arc<str>)>>;

    /// Packets of the meeting, oldest first: of other sources those before `before`, of the instance itself
    /// all that its earlier hooks put out.
    fn history(&self, history: History, before: Seq) -> ReadFuture<'_, Vec<Arc<DataPacket>>>;
}

#[derive(Default)]
struct Buffer {
    writes: BTreeMap<String, Option<Arc<str>>>,
    /// What was written, overwritten values included.
    bytes: usize,
}

/// The packet that the hook runs on: what history is counted back from. Written before each hook and read in
/// it, so that its parts need not be written as one; seq 0 stands for no packet.
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
    /// Whether there is anything in the buffer: most hooks write nothing, and so lock nothing.
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
    /// The most that one hook may write, in bytes of keys and values and 1 KiB for each: it is stored in one
    /// piece.
    pub const MAX_WRITTEN_BYTES: usize = 4 * 1024 * 1024;

    /// A datastore over a provider.
    pub fn new(provider: Arc<dyn PersistenceProvider>) -> Self {
        Self { provider, running: Arc::default() }
    }

    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.running.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a key; `None` where it was never set or is deleted.
    ///
    /// # Errors
    /// [`Error::Decode`] if the value is of another type, [`Error::Read`] if the store cannot be read.
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
    /// [`Error::Key`], [`Error::Value`], [`Error::Written`] and [`Error::Encode`] as they say.
    pub fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), Error> {
        check_key(key)?;
        let json = decode::to_json(value).map_err(Error::Encode)?;
        if json.len() > Self::MAX_VALUE_BYTES {
            return Err(Error::Value { bytes: json.len() });
        }
        self.write(key, Some(json.into()))
    }

    /// Deletes a key, as part of the running hook's commit; one that isn't there is no error.
    ///
    /// # Errors
    /// [`Error::Key`] and [`Error::Written`].
    pub fn delete(&self, key: &str) -> Result<(), Error> {
        check_key(key)?;
        self.write(key, None)
    }

    fn write(&self, key: &str, value: Option<Arc<str>>) -> Result<(), Error> {
        let mut buffer = self.buffer();
        let bytes = buffer.bytes + bytes(key, value.as_ref());
        if bytes > Self::MAX_WRITTEN_BYTES {
            return Err(Error::Written { bytes });
        }
        buffer.bytes = bytes;
        self.running.has_written.store(true, Ordering::Release);
        buffer.writes.insert(key.to_owned(), value);
        Ok(())
    }

    /// The keys that start with a prefix (an empty one: all), in order.
    ///
    /// # Errors
    /// [`Error::Read`] if the store cannot be read.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let stored = self.provider.list(prefix).await.map_err(Error::Read)?;
        let mut keys: std::collections::BTreeSet<String> = stored.into_iter().map(|(key, _)| key).collect();
        for (key, value) in &self.buffer().writes {
            if key.starts_with(prefix) {
                match value {
                    Some(_) => keys.insert(key.clone()),
                    None => keys.remove(key),
                };
            }
        }
        Ok(keys.into_iter().collect())
    }

    /// Packets of the meeting, oldest first.
    ///
    /// Of other sources it reads those before the packet that the hook runs on; of the instance's own outputs
    /// all that earlier hooks made. The answer doesn't depend on what was committed when.
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

    /// What a write counts against limits: the bytes of key and value, and 1 KiB for the record.
    pub fn cost((key, value): &KeyValue) -> usize {
        bytes(key, value.as_ref())
    }

    /// Forgets what was written and says on which packet the next hook runs; the runtime's.
    #[inline]
    pub fn begin(&self, seq: Seq, timestamp: Timestamp) {
        self.running.at.set(seq, timestamp);
        if self.has_writes() {
            self.take_written();
        }
    }

    /// Whether the hook wrote anything; the runtime's.
    #[inline]
    pub fn has_writes(&self) -> bool {
        self.running.has_written.load(Ordering::Acquire)
    }

    /// Takes what the hook wrote; the runtime's.
    #[inline]
    pub fn take_writes(&self) -> Vec<KeyValue> {
        if self.has_writes() { self.take_written() } else { Vec::new() }
    }

    #[cold]
    fn take_written(&self) -> Vec<KeyValue> {
        let mut buffer = self.buffer();
        self.running.has_written.store(false, Ordering::Release);
        std::mem::take(&mut *buffer).writes.into_iter().collect()
    }
}

fn bytes(key: &str, value: Option<&Arc<str>>) -> usize {
    /// What a store needs for a record beside its key and value.
    const RECORD: usize = 1024;
    RECORD + key.len() + value.map_or(0, |value| value.len())
}

fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() || key.len() > Datastore::MAX_KEY_BYTES {
        return Err(Error::Key { bytes: key.len() });
    }
    Ok(())
}
