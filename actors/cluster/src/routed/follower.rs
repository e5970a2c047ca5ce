//! A reader that goes on wherever its meeting runs.

use std::sync::Arc;

use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use teammy_kernel::{DataPacket, Durability, Seq, chain, wire};
use teammy_runtime::meeting::{self, Delivered, StartAt, Subscribe};
use tracing::debug;

use super::{
    outcome::{Failure, misread},
    whereabouts::Whereabouts,
};
use crate::{
    gateway::{settled, stored_packets},
    handler::Call,
    links::CallError,
    protocol::{self, Answer, Ask, Item, SubscribeForm},
    router::Place,
};

/// What is followed.
#[derive(Debug, Clone)]
pub(crate) enum Following {
    Subscription(Subscribe),
    Packets { is_outputs: bool, after: Seq },
}

/// A reader that goes on wherever the meeting runs, after the last stored packet that it has seen.
pub(crate) struct Follower {
    meeting: Arc<Whereabouts>,
    form: Following,
    items: Option<BoxStream<'static, Result<Delivered, Cut>>>,
    /// The stream was cut since the last packet, so volatile packets may be missing.
    was_cut: bool,
}

/// Why a stream ended.
enum Cut {
    /// The meeting moved, or the link broke: it goes on elsewhere.
    Moved(String),
    Failed(meeting::Error),
    /// The meeting has ended.
    Over,
}

impl From<meeting::Error> for Cut {
    fn from(error: meeting::Error) -> Self {
        if error.is_gone() { Self::Moved(error.to_string()) } else { Self::Failed(error) }
    }
}

impl Follower {
    pub(crate) fn new(meeting: Arc<Whereabouts>, form: Following) -> Self {
        Self { meeting, form, items: None, was_cut: false }
    }

    /// What it reads, up to the first error.
    pub(crate) fn into_stream(self) -> BoxStream<'static, Result<Delivered, meeting::Error>> {
        stream::unfold(Some(self), |follower| async move {
            let mut follower = follower?;
            let item = follower.next().await?;
            let is_last = item.is_err();
            Some((item, (!is_last).then_some(follower)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<Delivered, meeting::Error>> {
        loop {
            if self.items.is_none()
                && let Err(error) = self.connect().await
            {
                return Some(Err(error));
            }
            let item = self.items.as_mut().expect("invariant: it was made above").next().await;
            match item {
                Some(Ok(mut delivered)) => {
                    self.seen(&delivered.packet);
                    if std::mem::take(&mut self.was_cut) && self.has_volatile() {
                        delivered.gap += 1;
                    }
                    return Some(Ok(delivered));
                }
                Some(Err(Cut::Failed(error))) => return Some(Err(error)),
                Some(Err(Cut::Over)) | None => return None,
                Some(Err(Cut::Moved(why))) => {
                    debug!(meeting = %self.meeting.id(), why, "a reader follows its meeting");
                    self.items = None;
                    self.was_cut = true;
                    self.meeting.forget();
                }
            }
        }
    }

    fn has_volatile(&self) -> bool {
        let graph = self.meeting.router().node.graph();
        match &self.form {
            Following::Packets { .. } => false,
            Following::Subscription(subscribe) => {
                subscribe.sources.iter().any(|source| graph.durability(source) == Some(Durability::Volatile))
            }
        }
    }

    /// Notes how far the reader has come in the log.
    fn seen(&mut self, packet: &DataPacket) {
        match &mut self.form {
            Following::Packets { after, .. } => *after = packet.seq,
            Following::Subscription(subscribe) => {
                let graph = self.meeting.router().node.graph();
                if graph.durability(packet.source.as_str()) == Some(Durability::Durable) {
                    subscribe.from = StartAt::After(packet.seq);
                }
            }
        }
    }

    /// Opens the stream where the meeting runs, from where this reader is.
    pub(crate) async fn connect(&mut self) -> Result<(), meeting::Error> {
        let mut tries = self.meeting.router().tries();
        loop {
            let place = self.meeting.place::<meeting::Error>(&mut tries).await?;
            let why = match self.open(place).await {
                Ok(()) => return Ok(()),
                Err(Cut::Failed(error)) => return Err(error),
                Err(Cut::Over) => return Err(meeting::Error::Ended(self.meeting.id().clone())),
                Err(Cut::Moved(why)) => why,
            };
            self.meeting.again::<meeting::Error>(&mut tries, &why).await?;
        }
    }

    async fn open(&mut self, place: Place) -> Result<(), Cut> {
        match place {
            Place::Here(meeting) | Place::Over(meeting) => {
                let items = match &self.form {
                    Following::Packets { is_outputs, after } => stored_packets(&meeting, *is_outputs, *after),
                    Following::Subscription(subscribe) => {
                        let subscribe =
                            subscribe.clone().from(settled(subscribe.from, meeting.stored_up_to()));
                        let items = meeting.subscribe(subscribe.clone()).await?.boxed();
                        self.form = Following::Subscription(subscribe);
                        items
                    }
                };
                self.items = Some(items.map(|item| item.map_err(Cut::from)).boxed());
                Ok(())
            }
            Place::There(owner) => {
                let ask = match &self.form {
                    Following::Packets { is_outputs, after } => {
                        Ask::Packets { is_outputs: *is_outputs, after: *after }
                    }
                    Following::Subscription(subscribe) => Ask::Subscribe(SubscribeForm::from(subscribe)),
                };
                let body = protocol::encode(&ask).map_err(|error| Cut::Moved(chain(&error)))?;
                let id = self.meeting.id().clone();
                let call = Call { meeting: Some(id), epoch: 0, is_ordered: false, trace: None, body };
                let opened = self.meeting.router().links().open(&owner, call).await;
                let (answer, items) = opened.map_err(|error| Cut::Moved(error.to_string()))?;
                let answer = wire::decode(&answer).map_err(|error| Cut::Moved(chain(&error)))?;
                let (stored, items) = match (answer, items) {
                    (Answer::Streams { stored }, Some(items)) => (stored, items),
                    (Answer::NotHere | Answer::OwnedBy(_), _) => {
                        return Err(Cut::Moved(format!("node {owner} does not run it")));
                    }
                    (Answer::Failed(failure), _) => return Err(meeting::Error::from(failure).into()),
                    _ => return Err(Cut::Failed(misread())),
                };
                if let Following::Subscription(subscribe) = &mut self.form {
                    subscribe.from = settled(subscribe.from, Some(stored));
                }
                self.items = Some(items.map(read_item).boxed());
                Ok(())
            }
        }
    }
}

fn read_item(item: Result<Bytes, CallError>) -> Result<Delivered, Cut> {
    let item = item.map_err(|error| Cut::Moved(error.to_string()))?;
    match wire::decode::<Item>(&item) {
        Ok(Item::Packet { packet, gap }) => Item::delivered(&packet, gap).map_err(|_| Cut::Failed(misread())),
        Ok(Item::Failed(failure)) => Err(meeting::Error::from(failure).into()),
        Ok(Item::End) => Err(Cut::Over),
        Err(_) => Err(Cut::Failed(misread())),
    }
}
