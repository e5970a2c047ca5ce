//! The provider of a plugin under test: a log and a map.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{FutureExt, future::BoxFuture};

use crate::{
    DataPacket, Durability, History, Name, ReadError, Seq,
    engine::provider::{KeyValue, PersistenceProvider},
    timers,
};

#[derive(Default)]
struct Inner {
    log: Vec<(Durability, Arc<DataPacket>)>,
    keys: BTreeMap<String, Arc<str>>,
    /// The calls that read keys or history.
    reads: u64,
    /// So many of the next reads fail.
    failing: u64,
}

impl Inner {
    /// Counts a read, which fails if it shall.
    fn read(&mut self) -> Result<(), ReadError> {
        self.reads += 1;
        if self.failing == 0 {
            return Ok(());
        }
        self.failing -= 1;
        Err(ReadError("the test has this read fail".to_owned()))
    }
}

/// A meeting's packets and one instance's keys.
#[derive(Clone)]
pub(super) struct Memory {
    instance: Name,
    inner: Arc<Mutex<Inner>>,
}

impl Memory {
    pub(super) fn of(instance: Name) -> Self {
        Self { instance, inner: Arc::default() }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn next_seq(&self) -> Seq {
        self.inner().log.last().map_or(Seq(1), |(_, packet)| packet.seq.next())
    }

    pub(super) fn append(&self, packet: Arc<DataPacket>, durability: Durability) {
        self.inner().log.push((durability, packet));
    }

    pub(super) fn log(&self) -> Vec<Arc<DataPacket>> {
        self.inner().log.iter().map(|(_, packet)| packet.clone()).collect()
    }

    pub(super) fn write(&self, writes: Vec<KeyValue>) {
        let mut inner = self.inner();
        for (key, value) in writes {
            match value {
                Some(value) => inner.keys.insert(key, value),
                None => inner.keys.remove(&key),
            };
        }
    }

    /// How often keys or history were read.
    pub(super) fn reads(&self) -> u64 {
        self.inner().reads
    }

    pub(super) fn fail_reads(&self, reads: u64) {
        self.inner().failing = reads;
    }

    pub(super) fn value(&self, key: &str) -> Option<Arc<str>> {
        self.inner().keys.get(key).cloned()
    }

    /// The plugin's own keys.
    pub(super) fn keys(&self) -> Vec<String> {
        self.inner().keys.keys().filter(|key| !key.starts_with(timers::RESERVED)).cloned().collect()
    }

    /// The runtime's own keys.
    pub(super) fn reserved(&self) -> Vec<(String, Arc<str>)> {
        let inner = self.inner();
        let reserved = inner.keys.iter().filter(|(key, _)| key.starts_with(timers::RESERVED));
        reserved.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    pub(super) fn last_seq(&self) -> Seq {
        self.inner().log.last().map_or(Seq::ZERO, |(_, packet)| packet.seq)
    }
}

impl PersistenceProvider for Memory {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Arc<str>>, ReadError>> {
        async move {
            let mut inner = self.inner();
            inner.read()?;
            Ok(inner.keys.get(key).cloned())
        }
        .boxed()
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<(String, Arc<str>)>, ReadError>> {
        async move {
            let mut inner = self.inner();
            inner.read()?;
            let from = inner.keys.range(prefix.to_owned()..);
            let found = from.take_while(|(key, _)| key.starts_with(prefix));
            Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
        }
        .boxed()
    }

    fn history(
        &self,
        history: History,
        before: Seq,
    ) -> BoxFuture<'_, Result<Vec<Arc<DataPacket>>, ReadError>> {
        async move {
            let mut inner = self.inner();
            inner.read()?;
            let mut found: Vec<_> = inner
                .log
                .iter()
                .filter(|(durability, packet)| {
                    *durability == Durability::Durable
                        && (packet.seq < before || packet.source == self.instance)
                        && history.matches(packet)
                })
                .map(|(_, packet)| packet.clone())
                .collect();
            if let Some(last) = history.last {
                found.drain(..found.len().saturating_sub(last));
            }
            Ok(found)
        }
        .boxed()
    }
}
