//! What a node does for the others: it serves the meetings that it runs.

use std::sync::{Arc, Weak, atomic::Ordering};

use bytes::Bytes;
use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use teammy_kernel::{
    MeetingId, Publish, PublishError, RemoteError, Seq, chain, log::Snapshot, store::Incarnation, wire,
};
use teammy_runtime::{
    MeetingRef, admin,
    meeting::{self, Delivered, RemoteReceipt, StartAt},
    node::Error,
};
use tokio::time::{Duration, timeout};

use crate::{
    handler::{Call, Handler, Opening},
    protocol::{self, Answer, Ask, Item},
    router::{Place, Router},
};

/// How long a publisher of another node waits here for room, before it gets `Busy` and tries again: a call that waits takes a
/// part of the link's window.
const WAITS: Duration = Duration::from_millis(200);

/// Does things that are not about one meeting that runs here.
pub(crate) trait Operations: std::fmt::Debug + Send + Sync + 'static {
    /// Takes a meeting over that has been passed on to this node, from a snapshot where there is one.
    fn take_over(&self, id: MeetingId, snapshot: Option<Snapshot>) -> BoxFuture<'_, Answer>;

    /// Hands a meeting over.
    fn hand_over(&self, id: MeetingId, to: Incarnation) -> BoxFuture<'_, Answer>;

    /// Hands all over.
    fn drain(&self) -> BoxFuture<'_, Answer>;
}

/// Answers the calls of other nodes.
#[derive(Debug)]
pub(crate) struct Gateway {
    router: Arc<Router>,
    operations: Weak<dyn Operations>,
}

impl Gateway {
    pub(crate) fn new(router: Arc<Router>, operations: Weak<dyn Operations>) -> Self {
        Self { router, operations }
    }

    async fn answer(&self, call: Call) -> Answer {
        let ask = match wire::decode::<Ask>(&call.body) {
            Ok(ask) => ask,
            Err(error) => return Answer::Unread(chain(&error)),
        };
        match (ask, call.meeting) {
            (Ask::Drain, _) => match self.operations.upgrade() {
                Some(operations) => operations.drain().await,
                None => Answer::Full("the node is stopping".to_owned()),
            },
            (ask, Some(id)) => self.answer_of(id, ask).await,
            (ask, None) => Answer::Unread(format!("{ask:?} names no meeting")),
        }
    }

    async fn answer_of(&self, id: MeetingId, ask: Ask) -> Answer {
        let router = &self.router;
        match ask {
            Ask::Run { opening } => {
                let opening = match opening {
                    None => None,
                    Some(opening) => match serde_json::from_str(&opening.metadata) {
                        Ok(metadata) => Some((metadata, opening.instances)),
                        Err(error) => return Answer::Unread(error.to_string()),
                    },
                };
                router.run_here(&id, opening).await
            }
            Ask::Offer => match router.promise() {
                Ok(_) => Answer::Done,
                Err(reason) => Answer::Full(reason),
            },
            Ask::TakeOver | Ask::TakeOverFrom { .. } | Ask::HandOver { .. } => {
                let Some(operations) = self.operations.upgrade() else {
                    return Answer::Full("the node is stopping".to_owned());
                };
                match ask {
                    Ask::HandOver { to } => operations.hand_over(id, to).await,
                    // One that cannot be read is of another version: the store has all of it.
                    Ask::TakeOverFrom { snapshot } => {
                        operations.take_over(id, serde_json::from_str(&snapshot).ok()).await
                    }
                    _ => operations.take_over(id, None).await,
                }
            }
            Ask::Admin { request } => self.admin(&request).await,
            ask => {
                if let Some(meeting) = self.meeting(&id).await {
                    return serve(&meeting, ask).await;
                }
                router.counts.misses.fetch_add(1, Ordering::Relaxed);
                Answer::NotHere
            }
        }
    }

    /// A meeting that this node runs, or that has been passed on to it.
    async fn meeting(&self, id: &MeetingId) -> Option<MeetingRef> {
        if let Some(meeting) = self.router.node.running(id) {
            return Some(meeting);
        }
        let row = self.router.node.store().meeting(id.clone()).await.ok()??;
        if row.owner.as_ref() != Some(&self.router.me) {
            return None;
        }
        match self.router.resume_own(id).await {
            Ok(Place::Here(meeting) | Place::Over(meeting)) => Some(meeting),
            _ => None,
        }
    }

    async fn admin(&self, request: &str) -> Answer {
        let request: admin::Request = match serde_json::from_str(request) {
            Ok(request) => request,
            Err(error) => return Answer::Unread(error.to_string()),
        };
        match admin::handle_here(&self.router.node, request).await {
            Ok(response) => json(&response),
            Err(admin::Error::NoMeeting(id)) => Answer::NodeFailed(Error::NoMeeting(id).into()),
            Err(admin::Error::NotRunning(_)) => Answer::NotHere,
            Err(admin::Error::Node(error)) => Answer::NodeFailed(error.into()),
            Err(error) => Answer::Unread(chain(&error)),
        }
    }

    async fn stream(&self, call: Call) -> Opening {
        let refused = |answer: Answer| Opening { body: encoded(&answer), items: None };
        let ask = match wire::decode::<Ask>(&call.body) {
            Ok(ask) => ask,
            Err(error) => return refused(Answer::Unread(chain(&error))),
        };
        let Some(id) = call.meeting else { return refused(Answer::Unread("no meeting is named".to_owned())) };
        let Some(meeting) = self.meeting(&id).await else { return refused(Answer::NotHere) };
        // What is stored later comes in the stream.
        let stored = meeting.stored_up_to().unwrap_or(Seq::ZERO);
        let items = match ask {
            Ask::Subscribe(form) => {
                let subscribe = form.into_subscribe();
                let from = settled(subscribe.from, Some(stored));
                match meeting.subscribe(subscribe.from(from)).await {
                    Ok(subscription) => subscription.boxed(),
                    Err(error) => return refused(Answer::Failed(error.into())),
                }
            }
            Ask::Packets { is_outputs, after } => stored_packets(&meeting, is_outputs, after),
            ask => return refused(Answer::Unread(format!("{ask:?} is no stream"))),
        };
        let items = items.map(|item| match item {
            Ok(delivered) => Item::of(&delivered).unwrap_or_else(|error| unsendable(&error)),
            Err(error) => Item::Failed(error.into()),
        });
        let items = items.chain(stream::once(async { Item::End })).map(|item| encoded(&item));
        Opening { body: encoded(&Answer::Streams { stored }), items: Some(items.boxed()) }
    }
}

/// The stored packets of a meeting after a seq, then new ones.
pub(crate) fn stored_packets(
    meeting: &MeetingRef,
    is_outputs: bool,
    after: Seq,
) -> BoxStream<'static, Result<Delivered, meeting::Error>> {
    let packets = if is_outputs { meeting.outputs_after(after) } else { meeting.packets_after(after) };
    packets.map(|item| item.map(|packet| Delivered::new(packet, 0))).boxed()
}

/// Where a subscription begins: one from now on after what is stored now, wherever it goes on later.
pub(crate) fn settled(from: StartAt, stored: Option<Seq>) -> StartAt {
    match (from, stored) {
        (StartAt::Now, Some(stored)) => StartAt::After(stored),
        (from, _) => from,
    }
}

fn unsendable(error: &wire::Error) -> Item {
    let error = RemoteError::new(RemoteError::NOT_SENT, error);
    Item::Failed(meeting::Error::Remote(Arc::new(error)).into())
}

fn encoded<T: wire::Wire>(value: &T) -> Bytes {
    // Encoding fails only if the value is too large: it fails at the reader, with the sizes.
    protocol::encode(value).unwrap_or_default()
}

impl Handler for Gateway {
    fn call(self: Arc<Self>, _: Incarnation, call: Call) -> BoxFuture<'static, Bytes> {
        async move {
            let answer = self.answer(call).await;
            protocol::encode(&answer).unwrap_or_else(|error| encoded(&Answer::Unread(chain(&error))))
        }
        .boxed()
    }

    fn open(self: Arc<Self>, _: Incarnation, call: Call) -> BoxFuture<'static, Opening> {
        async move { self.stream(call).await }.boxed()
    }
}

/// Does what is asked of a meeting that this node runs.
async fn serve(meeting: &MeetingRef, ask: Ask) -> Answer {
    match ask {
        Ask::Publish { packet, waits } => match wire::decode::<Publish>(&packet) {
            Ok(publish) => published(publish_one(meeting, publish, waits).await.map(|receipt| vec![receipt])),
            Err(error) => Answer::Unread(chain(&error)),
        },
        Ask::PublishAll { packets } => {
            let packets: Result<Vec<Publish>, _> =
                packets.iter().map(|packet| wire::decode(packet)).collect();
            match packets {
                Ok(packets) => {
                    published(meeting.publish_all(packets).await.map(|receipts| {
                        receipts.iter().map(|receipt| RemoteReceipt::from(&receipt)).collect()
                    }))
                }
                Err(error) => Answer::Unread(chain(&error)),
            }
        }
        Ask::Stored { seq } => match meeting.stored(seq).await {
            Ok(()) => Answer::Done,
            Err(error) => Answer::NotPublished(error.into()),
        },
        Ask::Expects { producer } => read(meeting.expects(&producer).await, Answer::Number),
        Ask::Numbered { producer, number } => read(meeting.numbered(&producer, number).await, Answer::Seq),
        Ask::Instruct(form) => read(meeting.instruct(form.into()).await, |()| Answer::Done),
        Ask::DeadLetters => read(meeting.dead_letters().await, |letters| json(&letters)),
        Ask::Stats => read(meeting.stats().await, |stats| json(&stats)),
        ask => Answer::Unread(format!("{ask:?} is not asked of a meeting")),
    }
}

async fn publish_one(
    meeting: &MeetingRef,
    publish: Publish,
    waits: bool,
) -> Result<RemoteReceipt, PublishError> {
    let receipt = if waits {
        // A publish that still waits has not touched the meeting.
        let busy = || PublishError::Busy(meeting.id().clone());
        timeout(WAITS, meeting.publish(publish)).await.map_err(|_| busy())??
    } else {
        meeting.try_publish(publish).await?
    };
    Ok(RemoteReceipt::from(&receipt))
}

fn published(result: Result<Vec<RemoteReceipt>, PublishError>) -> Answer {
    match result {
        Ok(receipts) => Answer::Receipts(receipts.into_iter().map(Into::into).collect()),
        Err(error) => Answer::NotPublished(error.into()),
    }
}

fn read<T>(result: Result<T, meeting::Error>, answer: impl FnOnce(T) -> Answer) -> Answer {
    result.map_or_else(|error| Answer::Failed(error.into()), answer)
}

fn json<T: serde::Serialize>(value: &T) -> Answer {
    Answer::Json(serde_json::to_string(value).expect("invariant: it has a JSON form"))
}
