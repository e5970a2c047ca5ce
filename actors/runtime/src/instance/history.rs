//! The provider behind an instance's datastore: the store, overlaid with what is not stored yet.

use std::{collections::BTreeMap, sync::Arc};

use super::outbox::Outbox;
use futures::FutureExt;
use teammy_kernel::{
    DataPacket, History, MeetingId, Name, PersistenceProvider, ReadError, ReadFuture, Seq, Store, chain,
    store::{PacketQuery, Take},
};

pub(crate) struct InstanceStore {
    pub(crate) meeting: MeetingId,
    pub(crate) instance: Name,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) outbox: Arc<Outbox>,
}

fn failed(error: &teammy_kernel::store::Error) -> ReadError {
    ReadError(chain(error))
}

impl InstanceStore {
    /// Durable packets that the store may not have yet.
    async fn unstored(&self) -> Result<Vec<Arc<DataPacket>>, ReadError> {
        let unstored = self.outbox.meeting().unstored().await;
        unstored.ok_or_else(|| ReadError("the meeting is gone".to_owned()))
    }

    async fn read(
        &self,
        history: &History,
        sources: Option<Vec<Name>>,
        from: Seq,
        to: Seq,
    ) -> Result<Vec<Arc<DataPacket>>, ReadError> {
        if from > to {
            return Ok(Vec::new());
        }
        let mut query = PacketQuery::range(from, to);
        query.sources = sources;
        query.not_before = history.not_before;
        query.take = history.last.map_or(Take::All, Take::Last);
        self.store.packets(self.meeting.clone(), query).await.map_err(|error| failed(&error))
    }
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
            // The overlay is read before the store: a write that is stored in between is in either.
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
            let own = |source: &Name| *source == self.instance;
            let others_up_to = history.to.min(before.previous());
            // The meeting is asked before the store: a packet that is stored in between is in either.
            let unstored = self.unstored().await?;
            let stored = match &history.source {
                Some(source) if own(source) => {
                    self.read(&history, Some(vec![source.clone()]), history.from, history.to).await?
                }
                Some(source) => {
                    self.read(&history, Some(vec![source.clone()]), history.from, others_up_to).await?
                }
                None => {
                    let mut all = self.read(&history, None, history.from, others_up_to).await?;
                    let mine = Some(vec![self.instance.clone()]);
                    let from = history.from.max(others_up_to.next());
                    all.extend(self.read(&history, mine, from, history.to).await?);
                    all
                }
            };
            let mut packets: BTreeMap<Seq, Arc<DataPacket>> =
                stored.into_iter().map(|packet| (packet.seq, packet)).collect();
            for packet in unstored {
                let visible = own(&packet.source) || packet.seq < before;
                if visible && history.matches(&packet) {
                    packets.insert(packet.seq, packet);
                }
            }
            let skip = history.last.map_or(0, |last| packets.len().saturating_sub(last));
            Ok(packets.into_values().skip(skip).collect())
        }
        .boxed()
    }
}
