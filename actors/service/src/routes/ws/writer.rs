//! The half of a WebSocket that writes: answers first, then packets as the client takes them.

use std::{collections::VecDeque, future, pin::Pin};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures::{
    SinkExt, StreamExt,
    future::BoxFuture,
    stream::{BoxStream, FuturesOrdered, SplitSink},
};
use parking_lot::Mutex;
use serde::Serialize as _;
use teammy_kernel::Seq;
use teammy_runtime::Receipt;
use tokio::time::{Duration, Instant, MissedTickBehavior, Sleep};

use super::super::publish::{Publisher, stored};
use super::{
    answers::Answers,
    closing::Closing,
    frame,
    messages::{Hello, ToClient},
};
use crate::{feed::Item, problem::Problem};

/// How often a client is asked whether it is there.
const PING: Duration = Duration::from_secs(20);

/// How long acknowledgements of packets that are not stored wait for more, if the client has not said: a client that sends a frame
/// each 20 ms saves the node most writes so, and what is not stored cannot be more certain later.
const VOLATILE_ACK: Duration = Duration::from_millis(100);

/// How many packets may wait to be stored before no more is read of the client.
const UNSTORED: usize = 1024;

/// What the other half has for the client.
pub(super) enum ToWriter {
    /// A packet has its place.
    Done { number: u64, seq: Seq, duplicate: bool, is_volatile: bool },
    /// A packet has its place, and is to be stored before the client is told.
    Accepted { number: u64, receipt: Box<Receipt> },
    /// A packet is not published, or another message was wrong.
    Failed { number: Option<u64>, problem: Problem },
    /// The client wants these packets.
    Follow { items: BoxStream<'static, Item>, credit: Option<u64>, binary: bool },
    /// The client wants no more packets.
    Unfollow,
    /// The client takes so many packets more.
    Credit(u64),
}

/// What became of one packet.
struct Outcome {
    number: u64,
    result: Result<Published, Problem>,
}

struct Published {
    seq: Seq,
    duplicate: bool,
    is_volatile: bool,
}

/// Consecutive successes, which one message acknowledges.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Acks {
    number: u64,
    seq: Seq,
    duplicates: u64,
}

struct Following {
    items: BoxStream<'static, Item>,
    credit: Option<u64>,
    binary: bool,
}

/// When the client last took something.
#[derive(Debug)]
pub(super) struct Alive(Mutex<Instant>);

impl Default for Alive {
    fn default() -> Self {
        Self(Mutex::new(Instant::now()))
    }
}

impl Alive {
    fn took(&self) {
        *self.0.lock() = Instant::now();
    }

    /// Whether it took something within a time.
    pub(super) fn is_taking(&self, within: Duration) -> bool {
        self.0.lock().elapsed() < within
    }
}

pub(super) struct Writer<'a> {
    sink: SplitSink<WebSocket, Message>,
    answers: &'a Answers<ToWriter>,
    publisher: &'a Publisher,
    alive: &'a Alive,
    durable: bool,
    /// In the packets' order.
    unstored: FuturesOrdered<BoxFuture<'static, Outcome>>,
    acks: Option<Acks>,
    /// How long acknowledgements wait for more, if the client has said so.
    ack_within: Option<Duration>,
    due: Due,
    /// Runs while acknowledgements wait.
    timer: Pin<Box<Sleep>>,
    following: Option<Following>,
    texts: VecDeque<Message>,
    /// The bytes of those.
    bytes: usize,
}

/// When acknowledgements are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Now,
    /// When the timer ends.
    Later,
}

/// The client is gone.
struct Gone;

impl<'a> Writer<'a> {
    pub(super) fn new(
        sink: SplitSink<WebSocket, Message>,
        answers: &'a Answers<ToWriter>,
        publisher: &'a Publisher,
        durable: bool,
        alive: &'a Alive,
    ) -> Self {
        let (unstored, texts) = (FuturesOrdered::new(), VecDeque::new());
        Self {
            sink,
            answers,
            publisher,
            alive,
            durable,
            unstored,
            acks: None,
            ack_within: None,
            due: Due::Later,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            following: None,
            texts,
            bytes: 0,
        }
    }

    /// Has acknowledgements wait so long for more.
    pub(super) fn ack_within(mut self, within: Option<Duration>) -> Self {
        self.ack_within = within;
        self
    }

    /// Sends what is there for the client, and why the connection is closed. Without a reason the client closed it, and its
    /// close is answered.
    pub(super) async fn finish(&mut self, frame: Option<CloseFrame>) -> Result<(), axum::Error> {
        while let Some(message) = self.answers.take() {
            self.take(message);
        }
        while let Some(outcome) = self.unstored.next().await {
            self.done(outcome);
        }
        if self.flush().await.is_ok() && frame.is_some() {
            self.sink.send(Message::Close(frame)).await?;
        }
        Ok(())
    }

    pub(super) async fn run(&mut self, hello: &Hello) -> Closing {
        match self.try_run(hello).await {
            Ok(closing) => closing,
            Err(Gone) => Closing::Gone,
        }
    }

    async fn try_run(&mut self, hello: &Hello) -> Result<Closing, Gone> {
        self.queue(&ToClient::Hello(hello));
        self.flush().await?;
        let mut pings = tokio::time::interval(PING);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.reset();
        loop {
            let has_room = self.unstored.len() < UNSTORED;
            let has_acks = self.acks.is_some();
            let sends = !self.texts.is_empty() || (has_acks && self.due == Due::Now);
            let next = next_packet(&mut self.following);
            tokio::select! {
                biased;
                Some(outcome) = self.unstored.next(), if !self.unstored.is_empty() => self.done(outcome),
                message = self.answers.next(), if has_room => self.take(message),
                item = next => {
                    if let Some(closing) = self.item(item) {
                        self.flush().await?;
                        return Ok(closing);
                    }
                }
                _ = pings.tick() => self.texts.push_back(Message::Ping(axum::body::Bytes::new())),
                // It is ready once nothing above is, and there is something to send.
                () = future::ready(()), if sends => self.flush().await?,
                () = self.timer.as_mut(), if has_acks => self.flush().await?,
            }
            if self.texts.len() >= 64 || self.bytes >= 256 << 10 {
                self.flush().await?;
            }
        }
    }

    fn take(&mut self, message: ToWriter) {
        match message {
            ToWriter::Done { number, seq, duplicate, is_volatile } => {
                self.done(Outcome { number, result: Ok(Published { seq, duplicate, is_volatile }) });
            }
            ToWriter::Accepted { number, receipt } => self.unstored.push_back(Box::pin(async move {
                let (seq, duplicate, is_volatile) =
                    (receipt.seq(), receipt.is_repeat(), receipt.is_volatile());
                let stored = stored(&receipt).await;
                Outcome { number, result: stored.map(|()| Published { seq, duplicate, is_volatile }) }
            })),
            // In the packets' order, behind those that are to be stored.
            ToWriter::Failed { number: Some(number), problem } if self.durable => {
                let outcome = Outcome { number, result: Err(problem) };
                self.unstored.push_back(Box::pin(future::ready(outcome)));
            }
            ToWriter::Failed { number: Some(number), problem } => {
                self.done(Outcome { number, result: Err(problem) });
            }
            ToWriter::Failed { number: None, problem } => self.problem(None, problem),
            ToWriter::Follow { items, credit, binary } => {
                self.following = Some(Following { items, credit, binary });
            }
            ToWriter::Unfollow => self.following = None,
            ToWriter::Credit(packets) => {
                if let Some(Following { credit: Some(credit), .. }) = &mut self.following {
                    *credit = credit.saturating_add(packets);
                }
            }
        }
    }

    fn done(&mut self, Outcome { number, result }: Outcome) {
        match result {
            Ok(Published { seq, duplicate, is_volatile }) => {
                let usual = if is_volatile { VOLATILE_ACK } else { Duration::ZERO };
                let within = self.ack_within.unwrap_or(usual);
                if within.is_zero() {
                    self.due = Due::Now;
                } else if self.acks.is_none() {
                    self.due = Due::Later;
                    self.timer.as_mut().reset(Instant::now() + within);
                }
                let duplicates = self.acks.map_or(0, |acks| acks.duplicates) + u64::from(duplicate);
                self.acks = Some(Acks { number, seq, duplicates });
            }
            Err(problem) => self.problem(Some(number), problem),
        }
    }

    fn problem(&mut self, number: Option<u64>, problem: Problem) {
        self.queue_acks();
        let problem = self.publisher.shown(problem);
        self.queue(&ToClient::Problem { number, problem });
    }

    /// Takes the next item of the meeting; a reason to close is returned.
    fn item(&mut self, item: Item) -> Option<Closing> {
        match item {
            Item::Packet { packet, .. } => {
                let binary = self.following.as_ref().is_some_and(|following| following.binary);
                match binary.then(|| frame::write(&packet)).flatten() {
                    Some(frame) => {
                        self.bytes += frame.len();
                        self.texts.push_back(Message::Binary(frame));
                    }
                    None => self.queue(&ToClient::Packet { packet: &packet }),
                }
                None
            }
            Item::Gap(packets) => {
                self.queue(&ToClient::Gap { packets });
                None
            }
            Item::End => Some(Closing::Ended),
            Item::Broken(_) => Some(Closing::Broken),
        }
    }

    fn queue_acks(&mut self) {
        if let Some(Acks { number, seq, duplicates }) = self.acks.take() {
            self.queue(&ToClient::Ack { number, seq: seq.to_string(), duplicates });
        }
    }

    fn queue(&mut self, message: &ToClient<'_>) {
        let mut text = Vec::with_capacity(128);
        let written = message.serialize(&mut serde_json::Serializer::new(&mut text));
        let text = written.ok().and_then(|()| String::from_utf8(text).ok());
        self.bytes += text.as_ref().map_or(0, String::len);
        self.texts.extend(text.map(|text| Message::Text(text.into())));
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        self.queue_acks();
        while let Some(message) = self.texts.pop_front() {
            self.sink.feed(message).await.map_err(|_| Gone)?;
            self.alive.took();
        }
        self.bytes = 0;
        self.sink.flush().await.map_err(|_| Gone)?;
        self.alive.took();
        Ok(())
    }
}

/// The next item, once the client takes one.
async fn next_packet(following: &mut Option<Following>) -> Item {
    match following {
        Some(Following { credit: Some(0), .. }) | None => future::pending().await,
        Some(Following { items, credit, .. }) => match items.next().await {
            Some(item) => {
                if let (Some(credit), Item::Packet { .. }) = (credit, &item) {
                    *credit -= 1;
                }
                item
            }
            None => future::pending().await,
        },
    }
}
