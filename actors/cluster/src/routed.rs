//! A meeting of the cluster, wherever it runs: what a publisher or a reader holds while the meeting moves.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use teammy_kernel::{
    DataPacket, MeetingId, MeetingMetadata, Publish, PublishError, RemoteError, Seq, Timestamp,
    store::{DeadLetter, Incarnation},
    wire,
};
use teammy_runtime::{
    MeetingRef, MeetingStats,
    meeting::{self, Delivered, Instruction, RemoteMeeting, RemoteReceipt, Selection, Subscribe, WhenFull},
};

use crate::{
    links::CallError,
    protocol::{self, Answer, Ask},
    router::{Place, Router},
};

mod follower;
mod outcome;
mod whereabouts;

use follower::{Follower, Following};
use outcome::{Failure, misread};
use whereabouts::Whereabouts;

/// What a handle knows of its meeting without asking.
#[derive(Debug)]
enum Known {
    Handle(MeetingRef),
    Row(MeetingMetadata, Option<Timestamp>),
}

/// A meeting that some node runs, this one or another.
#[derive(Debug)]
pub(crate) struct RoutedMeeting {
    known: Known,
    whereabouts: Arc<Whereabouts>,
}

/// Whether a call may be made again when nobody knows what became of it.
#[derive(Debug, Clone, Copy)]
enum Repeat<'a> {
    /// It has the same effect twice as once.
    Safe,
    /// As well; the flag is set if what became of an earlier try is unknown.
    Noted(&'a AtomicBool),
    /// It would have its effect twice.
    Never,
}

/// What came of one try of a call.
enum Attempt<T, E> {
    Over(Result<T, E>),
    /// The meeting is elsewhere: why it is believed so.
    Moved(String),
    /// There is no room, and the caller waits for it.
    NoRoom,
}

impl<T, E: Failure> Attempt<T, E> {
    fn of(result: Result<T, E>, waits_for_room: bool) -> Self {
        match result {
            Err(error) if error.is_busy() && waits_for_room => Self::NoRoom,
            Err(error) if error.is_gone() => Self::Moved("it has just been released".to_owned()),
            result => Self::Over(result),
        }
    }
}

impl RoutedMeeting {
    /// One that this node runs.
    pub(crate) fn here(router: Arc<Router>, meeting: MeetingRef) -> Self {
        let whereabouts = Whereabouts::new(router, meeting.id().clone(), None);
        Self { known: Known::Handle(meeting), whereabouts: Arc::new(whereabouts) }
    }

    /// One that another node runs, or none.
    pub(crate) fn of_row(
        router: Arc<Router>,
        metadata: MeetingMetadata,
        created: Option<Timestamp>,
        owner: Option<Incarnation>,
    ) -> Self {
        let whereabouts = Whereabouts::new(router, metadata.id.clone(), owner);
        Self { known: Known::Row(metadata, created), whereabouts: Arc::new(whereabouts) }
    }

    pub(crate) fn into_ref(self) -> MeetingRef {
        MeetingRef::remote(Arc::new(self))
    }

    fn id(&self) -> &MeetingId {
        self.whereabouts.id()
    }

    fn router(&self) -> &Arc<Router> {
        self.whereabouts.router()
    }

    /// Calls the meeting where it runs, and follows it if it moves. `here` does it on this node, `ask` asks another one.
    async fn run<T, E, F>(
        &self,
        repeat: Repeat<'_>,
        waits_for_room: bool,
        ask: impl FnOnce() -> Result<(Bytes, bool), wire::Error>,
        here: impl Fn(MeetingRef) -> F,
        read: impl Fn(Answer) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: Failure,
        F: Future<Output = Result<T, E>>,
    {
        let (mut ask, mut body) = (Some(ask), None);
        let mut tries = self.router().tries();
        loop {
            let attempt = match self.whereabouts.place::<E>(&mut tries).await? {
                Place::Here(meeting) => Attempt::of(here(meeting).await, waits_for_room),
                Place::Over(meeting) => return here(meeting).await,
                Place::There(owner) => {
                    if let Some(ask) = ask.take() {
                        let encoded =
                            ask().map_err(|error| E::of(RemoteError::new(RemoteError::NOT_SENT, &error)))?;
                        body = Some(encoded);
                    }
                    let (body, is_ordered) = body.clone().expect("invariant: it was made above");
                    match self.router().call(&owner, Some(self.id()), is_ordered, body).await {
                        Ok(Answer::NotHere | Answer::OwnedBy(_)) => {
                            Attempt::Moved(format!("node {owner} does not run it"))
                        }
                        Ok(Answer::Unread(reason)) => {
                            let text = format!("node {owner} cannot read the call: {reason}");
                            return Err(E::of(RemoteError::of(RemoteError::CALL_NOT_READ, text)));
                        }
                        Ok(answer) => Attempt::of(read(answer), waits_for_room),
                        Err(CallError::Unknown { reason, .. }) if matches!(repeat, Repeat::Never) => {
                            self.whereabouts.forget();
                            return Err(E::unknown(self.id().clone(), reason));
                        }
                        Err(error) => {
                            if let (Repeat::Noted(is_unknown), CallError::Unknown { .. }) = (repeat, &error) {
                                is_unknown.store(true, Ordering::Relaxed);
                            }
                            Attempt::Moved(error.to_string())
                        }
                    }
                }
            };
            match attempt {
                Attempt::Over(result) => return result,
                Attempt::Moved(why) => self.whereabouts.again(&mut tries, &why).await?,
                Attempt::NoRoom => {
                    // It waits as long as the publisher does.
                    tries.began_anew(self.router().patience);
                    self.whereabouts.wait(&mut tries, "there is no room").await?;
                }
            }
        }
    }

    /// As [`run`](Self::run), of a short question.
    async fn read<T, F>(
        &self,
        ask: Ask,
        here: impl Fn(MeetingRef) -> F,
        read: impl Fn(Answer) -> Option<T>,
    ) -> Result<T, meeting::Error>
    where
        F: Future<Output = Result<T, meeting::Error>>,
    {
        let answered = |answer| match answer {
            Answer::Failed(failure) => Err(failure.into()),
            answer => read(answer).ok_or_else(misread),
        };
        self.run(Repeat::Safe, false, || Ok((protocol::encode(&ask)?, false)), here, answered).await
    }

    /// `is_unknown` tells whether nobody knows what became of an earlier try.
    async fn instruct_once(
        &self,
        instruction: &Instruction,
        is_unknown: &AtomicBool,
    ) -> Result<(), meeting::Error> {
        let here = |meeting: MeetingRef| {
            let instruction = instruction.clone();
            async move {
                let done = meeting.instruct(instruction).await;
                // Released during the call: the instruction may have taken effect or not.
                is_unknown.fetch_or(done.as_ref().is_err_and(Failure::is_gone), Ordering::Relaxed);
                done
            }
        };
        let ask = Ask::Instruct(instruction.clone().into());
        let answered = |answer| match answer {
            Answer::Done => Ok(()),
            Answer::Failed(failure) => {
                let error = meeting::Error::from(failure);
                is_unknown.fetch_or(error.is_gone(), Ordering::Relaxed);
                Err(error)
            }
            _ => Err(misread()),
        };
        let encoded = || Ok((protocol::encode(&ask)?, false));
        self.run(Repeat::Noted(is_unknown), false, encoded, here, answered).await
    }
}

fn receipts(answer: Answer) -> Result<Vec<RemoteReceipt>, PublishError> {
    match answer {
        Answer::Receipts(receipts) => Ok(receipts.into_iter().map(Into::into).collect()),
        Answer::NotPublished(failure) => Err(failure.into()),
        Answer::Failed(failure) => Err(PublishError::of_node(meeting::Error::from(failure).into())),
        _ => Err(PublishError::of_node(misread().into())),
    }
}

impl RemoteMeeting for RoutedMeeting {
    fn metadata(&self) -> &MeetingMetadata {
        match &self.known {
            Known::Handle(meeting) => meeting.metadata(),
            Known::Row(metadata, _) => metadata,
        }
    }

    fn created(&self) -> Option<Timestamp> {
        match &self.known {
            Known::Handle(meeting) => meeting.created(),
            Known::Row(_, created) => *created,
        }
    }

    fn publish(
        &self,
        publish: Publish,
        when_full: WhenFull,
    ) -> BoxFuture<'_, Result<RemoteReceipt, PublishError>> {
        async move {
            let repeat = if publish.producer.is_some() { Repeat::Safe } else { Repeat::Never };
            let waits = when_full == WhenFull::Wait;
            let ask = || {
                let packet = protocol::packet(&publish)?;
                Ok((protocol::encode(&Ask::Publish { packet, waits })?, true))
            };
            let here = |meeting: MeetingRef| {
                let publish = publish.clone();
                async move {
                    let receipt = if waits {
                        meeting.publish(publish).await?
                    } else {
                        meeting.try_publish(publish).await?
                    };
                    Ok(RemoteReceipt::from(&receipt))
                }
            };
            let read = |answer| {
                let one = receipts(answer)?.pop();
                one.ok_or_else(|| PublishError::of_node(misread().into()))
            };
            self.run(repeat, waits, ask, here, read).await
        }
        .boxed()
    }

    fn publish_all(
        &self,
        publishes: Vec<Publish>,
    ) -> BoxFuture<'_, Result<Vec<RemoteReceipt>, PublishError>> {
        async move {
            let is_numbered = publishes.iter().all(|publish| publish.producer.is_some());
            let repeat = if is_numbered { Repeat::Safe } else { Repeat::Never };
            let ask = || {
                let packets = publishes.iter().map(protocol::packet).collect::<Result<_, _>>()?;
                Ok((protocol::encode(&Ask::PublishAll { packets })?, true))
            };
            let here = |meeting: MeetingRef| {
                let publishes = publishes.clone();
                async move {
                    let receipts = meeting.publish_all(publishes).await?;
                    Ok(receipts.iter().map(|receipt| RemoteReceipt::from(&receipt)).collect())
                }
            };
            // Some of them may be in the log already.
            let id = self.id();
            let cut = |error: PublishError| match error {
                PublishError::Gone { reason, .. } if !is_numbered && publishes.len() > 1 => {
                    PublishError::Unknown { meeting: id.clone(), reason }
                }
                error => error,
            };
            let here = |meeting| here(meeting).map(|result: Result<_, PublishError>| result.map_err(&cut));
            self.run(repeat, true, ask, here, |answer| receipts(answer).map_err(&cut)).await
        }
        .boxed()
    }

    fn stored(&self, seq: Seq) -> BoxFuture<'_, Result<(), PublishError>> {
        async move {
            let read = |answer| match answer {
                Answer::Done => Ok(()),
                Answer::NotPublished(failure) => Err(failure.into()),
                _ => Err(PublishError::of_node(misread().into())),
            };
            let ask = || Ok((protocol::encode(&Ask::Stored { seq })?, false));
            let here = |meeting: MeetingRef| async move { meeting.stored(seq).await };
            self.run(Repeat::Safe, false, ask, here, read).await
        }
        .boxed()
    }

    fn expects(&self, producer: String) -> BoxFuture<'_, Result<u64, meeting::Error>> {
        async move {
            let producer: Arc<str> = producer.into();
            let here = |meeting: MeetingRef| {
                let producer = producer.clone();
                async move { meeting.expects(&producer).await }
            };
            let read = |answer| if let Answer::Number(number) = answer { Some(number) } else { None };
            self.read(Ask::Expects { producer: producer.clone() }, here, read).await
        }
        .boxed()
    }

    fn numbered(
        &self,
        producer: Arc<str>,
        number: u64,
    ) -> BoxFuture<'_, Result<Option<Seq>, meeting::Error>> {
        async move {
            let here = |meeting: MeetingRef| {
                let producer = producer.clone();
                async move { meeting.numbered(&producer, number).await }
            };
            let read = |answer| if let Answer::Seq(seq) = answer { Some(seq) } else { None };
            self.read(Ask::Numbered { producer: producer.clone(), number }, here, read).await
        }
        .boxed()
    }

    fn packets(
        &self,
        selection: Selection,
        after: Seq,
    ) -> BoxStream<'static, Result<Arc<DataPacket>, meeting::Error>> {
        let following = Following::Packets { is_outputs: selection == Selection::Outputs, after };
        let packets = Follower::new(self.whereabouts.clone(), following).into_stream();
        packets.map(|item| item.map(|delivered| delivered.packet)).boxed()
    }

    fn subscribe(
        &self,
        subscribe: Subscribe,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Delivered, meeting::Error>>, meeting::Error>> {
        async move {
            let graph = self.router().node.graph();
            for source in &subscribe.sources {
                if graph.durability(source).is_none() {
                    let suggestion = graph.closest_source(source).cloned();
                    return Err(meeting::Error::UnknownSource { source_name: source.clone(), suggestion });
                }
            }
            let following = Following::Subscription(subscribe);
            let mut follower = Follower::new(self.whereabouts.clone(), following);
            // Where the subscription begins is settled before this returns.
            follower.connect().await?;
            Ok(follower.into_stream())
        }
        .boxed()
    }

    fn instruct(&self, instruction: Instruction) -> BoxFuture<'_, Result<(), meeting::Error>> {
        async move {
            // An earlier try may have done it, before its answer was lost: then what was asked for holds.
            let is_unknown = AtomicBool::new(false);
            match self.instruct_once(&instruction, &is_unknown).await {
                Err(
                    meeting::Error::Assigned { .. }
                    | meeting::Error::NotAssigned { .. }
                    | meeting::Error::NotSuspended { .. }
                    | meeting::Error::Ended(_),
                ) if is_unknown.load(Ordering::Relaxed) => Ok(()),
                result => result,
            }
        }
        .boxed()
    }

    fn dead_letters(&self) -> BoxFuture<'_, Result<Vec<DeadLetter>, meeting::Error>> {
        async move {
            let here = |meeting: MeetingRef| async move { meeting.dead_letters().await };
            self.read(Ask::DeadLetters, here, from_json).await
        }
        .boxed()
    }

    fn stats(&self) -> BoxFuture<'_, Result<MeetingStats, meeting::Error>> {
        async move {
            let here = |meeting: MeetingRef| async move { meeting.stats().await };
            self.read(Ask::Stats, here, from_json).await
        }
        .boxed()
    }
}

fn from_json<T: serde::de::DeserializeOwned>(answer: Answer) -> Option<T> {
    if let Answer::Json(text) = answer { serde_json::from_str(&text).ok() } else { None }
}
