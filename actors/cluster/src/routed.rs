//! A meeting of the cluster, wherever it runs: what a publisher or a reader holds while the meeting moves.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use futures::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use parking_lot::Mutex;
use teammy_kernel::{
    DataPacket, Durability, MeetingId, MeetingMetadata, Publish, PublishError, RemoteError, Seq, Timestamp,
    chain,
    store::{DeadLetter, Incarnation},
    wire,
};
use teammy_runtime::{
    MeetingRef, MeetingStats,
    meeting::{
        self, Delivered, Instruction, RemoteMeeting, RemoteReceipt, Selection, StartAt, Subscribe, WhenFull,
    },
    node,
};

use crate::{
    gateway::instruct,
    handler::Call,
    links::CallError,
    protocol::{self, Answer, Ask, Item, SubscribeForm},
    router::{Place, Router, Tries, Unplaced},
};

/// What a handle knows of its meeting without asking.
#[derive(Debug)]
enum Known {
    Handle(MeetingRef),
    Row(MeetingMetadata, Option<Timestamp>),
}

/// A meeting that some node runs, this one or another.
#[derive(Debug, Clone)]
pub(crate) struct RoutedMeeting(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    router: Arc<Router>,
    known: Known,
    /// The node that ran it last, if that was not this one.
    hint: Mutex<Option<Incarnation>>,
}

/// Whether a call may be made again when nobody knows what became of it.
#[derive(Debug, Clone, Copy)]
enum Repeat<'a> {
    /// It has the same effect twice as once.
    Safe,
    /// As well, and the caller wants to know whether that was so.
    Noted(&'a AtomicBool),
    /// It would have its effect twice.
    Never,
}

/// An error that a call of a meeting ends with.
trait Failure: Sized {
    fn of(failure: RemoteError) -> Self;
    fn unknown(meeting: MeetingId, reason: Arc<str>) -> Self;
    /// This node can do nothing for the meeting any more, but others can.
    fn gone(meeting: MeetingId, reason: Arc<str>) -> Self;
    fn of_node(error: node::Error) -> Self;
    /// Whether the meeting left the node before the call had an effect.
    fn is_gone(&self) -> bool;
    /// Whether there is no room now, and the caller wants to wait for it.
    fn is_busy(&self) -> bool {
        false
    }
}

impl Failure for PublishError {
    fn of(failure: RemoteError) -> Self {
        Self::Remote(Arc::new(failure))
    }

    fn unknown(meeting: MeetingId, reason: Arc<str>) -> Self {
        Self::Unknown { meeting, reason }
    }

    fn gone(meeting: MeetingId, reason: Arc<str>) -> Self {
        Self::Gone { meeting, reason }
    }

    fn of_node(error: node::Error) -> Self {
        match error {
            node::Error::Ended(meeting) => Self::Ended(meeting),
            error => Self::Remote(Arc::new(RemoteError::new(error.class(), &error))),
        }
    }

    fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }

    fn is_busy(&self) -> bool {
        matches!(self, Self::Busy(_))
    }
}

impl Failure for meeting::Error {
    fn of(failure: RemoteError) -> Self {
        Self::Remote(Arc::new(failure))
    }

    fn unknown(meeting: MeetingId, reason: Arc<str>) -> Self {
        Self::Gone { meeting, reason }
    }

    fn gone(meeting: MeetingId, reason: Arc<str>) -> Self {
        Self::Gone { meeting, reason }
    }

    fn of_node(error: node::Error) -> Self {
        match error {
            node::Error::Ended(meeting) => Self::Ended(meeting),
            node::Error::Meeting(error) => error,
            error => Self::Remote(Arc::new(RemoteError::new(error.class(), &error))),
        }
    }

    fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }
}

fn not_reached(id: &MeetingId, why: &str) -> RemoteError {
    RemoteError::of(RemoteError::NOT_REACHED, format!("no node answers for meeting {id}: {why}"))
}

impl RoutedMeeting {
    /// One that this node runs.
    pub(crate) fn here(router: Arc<Router>, meeting: MeetingRef) -> Self {
        Self(Arc::new(Inner { router, known: Known::Handle(meeting), hint: Mutex::default() }))
    }

    /// One that another node runs, or none.
    pub(crate) fn of_row(
        router: Arc<Router>,
        metadata: MeetingMetadata,
        created: Option<Timestamp>,
        owner: Option<Incarnation>,
    ) -> Self {
        Self(Arc::new(Inner { router, known: Known::Row(metadata, created), hint: Mutex::new(owner) }))
    }

    pub(crate) fn into_ref(self) -> MeetingRef {
        MeetingRef::remote(Arc::new(self))
    }

    fn id(&self) -> &MeetingId {
        &self.metadata().id
    }

    fn router(&self) -> &Arc<Router> {
        &self.0.router
    }

    /// Where it runs now. Waits while that may change by itself.
    async fn place<E: Failure>(&self, tries: &mut Tries) -> Result<Place, E> {
        loop {
            let hint = self.0.hint.lock().clone();
            let why = match self.router().place(self.id(), hint.as_ref()).await {
                Ok(place) => {
                    *self.0.hint.lock() = match &place {
                        Place::There(owner) => Some(owner.clone()),
                        _ => None,
                    };
                    return Ok(place);
                }
                Err(Unplaced::Never(error @ (node::Error::NoMember(_) | node::Error::ShutDown))) => {
                    return Err(E::gone(self.id().clone(), chain(&error).into()));
                }
                Err(Unplaced::Never(error)) => return Err(E::of_node(error)),
                Err(Unplaced::Later(why)) => why,
            };
            self.forget();
            if !tries.wait(&why).await {
                return Err(E::of(not_reached(self.id(), &why)));
            }
        }
    }

    /// Where it ran last is not where it runs.
    fn forget(&self) {
        *self.0.hint.lock() = None;
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
            let (result, mut why) = match self.place::<E>(&mut tries).await? {
                Place::Here(meeting) => (here(meeting).await, String::new()),
                Place::Over(meeting) => return here(meeting).await,
                Place::There(owner) => {
                    if let Some(ask) = ask.take() {
                        let encoded =
                            ask().map_err(|error| E::of(RemoteError::new(RemoteError::NOT_SENT, &error)))?;
                        body = Some(encoded);
                    }
                    let (body, is_ordered) = body.clone().expect("invariant: it was made above");
                    match self.router().call(&owner, Some(self.id()), is_ordered, body).await {
                        Ok(Answer::NotHere | Answer::OwnedBy(_)) => (
                            Err(E::unknown(self.id().clone(), "".into())),
                            format!("node {owner} does not run it"),
                        ),
                        Ok(Answer::Unread(reason)) => {
                            let text = format!("node {owner} cannot read the call: {reason}");
                            return Err(E::of(RemoteError::of(RemoteError::CALL_NOT_READ, text)));
                        }
                        Ok(answer) => (read(answer), String::new()),
                        Err(CallError::Unknown { reason, .. }) if matches!(repeat, Repeat::Never) => {
                            self.forget();
                            return Err(E::unknown(self.id().clone(), reason));
                        }
                        Err(error) => {
                            if let (Repeat::Noted(is_unknown), CallError::Unknown { .. }) = (repeat, &error) {
                                is_unknown.store(true, Ordering::Relaxed);
                            }
                            (Err(E::unknown(self.id().clone(), "".into())), error.to_string())
                        }
                    }
                }
            };
            let error = match result {
                Ok(value) => return Ok(value),
                Err(error) if !why.is_empty() => error,
                Err(error) if error.is_busy() && waits_for_room => {
                    // It waits as long as the publisher does.
                    tries.began_anew(self.router().patience);
                    "there is no room".clone_into(&mut why);
                    error
                }
                Err(error) if error.is_gone() => {
                    "it has just been released".clone_into(&mut why);
                    error
                }
                Err(error) => return Err(error),
            };
            if !error.is_busy() {
                self.forget();
            }
            if !tries.wait(&why).await {
                return Err(E::of(not_reached(self.id(), &why)));
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
                let done = instruct(&meeting, instruction).await;
                // It was released meanwhile, before or after.
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

    /// Packets that follow the meeting where it runs.
    fn follow(&self, form: Following) -> BoxStream<'static, Result<Delivered, meeting::Error>> {
        let follower = Follower { meeting: self.clone(), form, items: None, was_cut: false };
        stream::unfold(Some(follower), |follower| async move {
            let mut follower = follower?;
            let item = follower.next().await?;
            let is_last = item.is_err();
            Some((item, (!is_last).then_some(follower)))
        })
        .boxed()
    }
}

/// A node answered something that does not belong to the question.
fn misread() -> meeting::Error {
    let text = "the node's answer does not belong to the question; is it of another version?".to_owned();
    meeting::Error::Remote(Arc::new(RemoteError::of(RemoteError::ANSWER_NOT_READ, text)))
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
        match &self.0.known {
            Known::Handle(meeting) => meeting.metadata(),
            Known::Row(metadata, _) => metadata,
        }
    }

    fn created(&self) -> Option<Timestamp> {
        match &self.0.known {
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
        self.follow(following).map(|item| item.map(|delivered| delivered.packet)).boxed()
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
            let mut follower = Follower {
                meeting: self.clone(),
                form: Following::Subscription(subscribe),
                items: None,
                was_cut: false,
            };
            // Where the subscription begins is settled before this returns.
            follower.connect().await?;
            Ok(stream::unfold(Some(follower), |follower| async move {
                let mut follower = follower?;
                let item = follower.next().await?;
                let is_last = item.is_err();
                Some((item, (!is_last).then_some(follower)))
            })
            .boxed())
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

/// What is followed.
#[derive(Debug, Clone)]
enum Following {
    Subscription(Subscribe),
    Packets { is_outputs: bool, after: Seq },
}

/// A reader that goes on wherever the meeting runs, after the last stored packet that it has seen.
struct Follower {
    meeting: RoutedMeeting,
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
                    tracing::debug!(meeting = %self.meeting.id(), why, "a reader follows its meeting");
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
    async fn connect(&mut self) -> Result<(), meeting::Error> {
        let mut tries = self.meeting.router().tries();
        loop {
            let place = self.meeting.place::<meeting::Error>(&mut tries).await?;
            let why = match self.open(place).await {
                Ok(()) => return Ok(()),
                Err(Cut::Failed(error)) => return Err(error),
                Err(Cut::Over) => return Err(meeting::Error::Ended(self.meeting.id().clone())),
                Err(Cut::Moved(why)) => why,
            };
            self.meeting.forget();
            if !tries.wait(&why).await {
                return Err(meeting::Error::of(not_reached(self.meeting.id(), &why)));
            }
        }
    }

    async fn open(&mut self, place: Place) -> Result<(), Cut> {
        let router = self.meeting.router().clone();
        match place {
            Place::Here(meeting) | Place::Over(meeting) => {
                let items = match &self.form {
                    Following::Packets { is_outputs: true, after } => meeting
                        .outputs_after(*after)
                        .map(|item| item.map(|packet| Delivered::new(packet, 0)))
                        .boxed(),
                    Following::Packets { is_outputs: false, after } => meeting
                        .packets_after(*after)
                        .map(|item| item.map(|packet| Delivered::new(packet, 0)))
                        .boxed(),
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
                let opened = router.links().open(&owner, call).await;
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

/// Where a subscription begins: one from now on after what is stored now, wherever it goes on later.
pub(crate) fn settled(from: StartAt, stored: Option<Seq>) -> StartAt {
    match (from, stored) {
        (StartAt::Now, Some(stored)) => StartAt::After(stored),
        (from, _) => from,
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
