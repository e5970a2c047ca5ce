//! The provider behind an instance's datastore. It reads the store, and lays over the result what is not
//! stored yet.

use std::{collections::BTreeMap, sync::Arc};

use futures::{FutureExt, future::try_join_all};
use teammy_kernel::{
    DataPacket, History, MeetingId, Name, PersistenceProvider, ReadError, ReadFuture, Seq, Store, chain,
    log::HistoryRead, store,
};

use super::outbox::Outbox;

pub(crate) struct InstanceStore {
    pub(crate) meeting: MeetingId,
    pub(crate) instance: Name,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) outbox: Arc<Outbox>,
}

fn failed(error: &store::Error) -> ReadError {
    ReadError(chain(error))
}

impl PersistenceProvider for InstanceStore {
    fn get<'a>(&'a self, key: &'a str) -> ReadFuture<'a, Option<Arc<str>>> {
        async move {
            self.outbox.flush();
            if let Some((_, value)) = self.outbox.overlay().get(key) {
                return Ok(value);
            }
            let (meeting, instance) = (self.meeting.clone(), self.instance.clone());
            self.store.get(meeting, instance, key.to_owned()).await.map_err(|error| failed(&error))
        }
        .boxed()
    }

    fn list<'a>(&'a self, prefix: &'a str) -> ReadFuture<'a, Vec<(String, Arc<str>)>> {
        async move {
            self.outbox.flush();
            // The overlay is read before the store, so that no write is missed that is stored in between.
            let unstored = self.outbox.overlay().list(prefix);
            let (meeting, instance) = (self.meeting.clone(), self.instance.clone());
            let stored = self
                .store
                .list(meeting, instance, prefix.to_owned())
                .await
                .map_err(|error| failed(&error))?;
            let mut keys: BTreeMap<String, Arc<str>> = stored.into_iter().collect();
            for (key, value) in unstored {
                match value {
                    Some(value) => keys.insert(key, value),
                    None => keys.remove(&key),
                };
            }
            Ok(keys.into_iter().collect())
        }
        .boxed()
    }

    fn history(&self, history: History, before: Seq) -> ReadFuture<'_, Vec<Arc<DataPacket>>> {
        async move {
            self.outbox.flush();
            let read = HistoryRead::new(history, self.instance.clone(), before);
            // The meeting is asked before the store: a packet that is stored in between is in at
            // least one of the answers.
            let unstored = self.outbox.meeting().unstored(read.clone()).await;
            let unstored = unstored.ok_or_else(|| ReadError("the meeting is gone".to_owned()))?;
            let queries = read.stored().into_iter();
            let stored = try_join_all(queries.map(|query| self.store.packets(self.meeting.clone(), query)));
            Ok(read.merge(stored.await.map_err(|error| failed(&error))?.into_iter().flatten(), unstored))
        }
        .boxed()
    }
}
