//! Publishing into a meeting and reading it over one WebSocket.
//!
//! Two halves run side by side: one reads what the client sends and publishes it, the other writes answers and packets. The
//! queue between them is short, so a client that takes no answers is not read further.

mod answers;
mod closing;
mod frame;
mod messages;
mod writer;

use std::{ops::ControlFlow, pin::pin, sync::Arc};

use axum::{
    Extension,
    body::Bytes,
    extract::{
        State,
        ws::{Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    response::Response,
};
use futures::{StreamExt, stream::SplitStream};
use teammy_kernel::{Name, Publish, Seq, wire::json};
use teammy_runtime::keys::Scope;
use tokio::time::{Duration, Instant};

use self::{
    answers::Answers,
    closing::Closing,
    messages::{FromClient, Hello, Subscribe},
    writer::{Alive, ToWriter, Writer},
};
use super::publish::{Publisher, Room};
use crate::{
    access::Caller,
    feed::{Wanted, follow},
    limits::{Owner, Slot},
    params::{Meeting, Params},
    problem::Problem,
    room::Room as ConnectionRoom,
    shared::Shared,
};

/// A client that sends nothing for so long, not even the answer to a ping, is gone.
const SILENCE: Duration = Duration::from_mins(1);

/// How many answers wait for a client before no more is read of it.
const ANSWERS: usize = 256;

/// The longest that acknowledgements may wait for more, far below [`SILENCE`].
const LONGEST_ACK: Duration = Duration::from_secs(10);

/// How long a client may take to take the last frame.
const GOODBYE: Duration = Duration::from_secs(1);

/// Opens a WebSocket to publish and to read. docs/http.md describes its messages.
#[utoipa::path(get, path = "/v1/meetings/{meeting}/ws", tag = "packets", operation_id = "webSocket",
    params(("meeting" = String, Path),
        ("durable" = Option<bool>, Query, description = "acknowledges a packet once it is stored"),
        ("ack_ms" = Option<u32>, Query, description = "acknowledgements wait up to so many milliseconds for more, up to 10000")),
    responses((status = 101, description = "the connection is a WebSocket"),
        (status = 426, description = "the request asks for no WebSocket", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn open(
    State(shared): State<Shared>,
    caller: Caller,
    Meeting(meeting): Meeting,
    mut params: Params,
    room: Option<Extension<ConnectionRoom>>,
    key_slot: Option<Extension<Arc<Slot<Owner>>>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let durable = params.flag("durable")?;
    let ack_within = params.one("ack_ms", "a number of milliseconds")?.map(Duration::from_millis);
    if ack_within > Some(LONGEST_ACK) {
        let title = format!("the parameter ack_ms takes up to {}", LONGEST_ACK.as_millis());
        return Err(Problem::malformed(title));
    }
    params.end()?;
    let upgrade = upgrade?;
    let slot = shared.quotas.stream(&caller)?;
    let largest = shared.settings.packet_text_bytes();
    let upgrade = upgrade
        .max_message_size(largest)
        .max_frame_size(largest)
        .read_buffer_size(8 << 10)
        .write_buffer_size(16 << 10)
        .max_write_buffer_size(largest.saturating_mul(2));
    let publisher = Publisher { meeting, caller, shared: shared.clone(), trace: None };
    Ok(upgrade.on_upgrade(move |socket| async move {
        Connection { shared, publisher, durable, ack_within }.run(socket).await;
        // What it takes of the limits is free again.
        drop((slot, room, key_slot));
    }))
}

/// One connection.
struct Connection {
    shared: Shared,
    publisher: Publisher,
    durable: bool,
    /// How long acknowledgements wait for more.
    ack_within: Option<Duration>,
}

impl Connection {
    async fn run(self, socket: WebSocket) {
        let Self { shared, publisher, durable, ack_within } = self;
        let caller = publisher.caller.clone();
        let (sink, mut stream) = socket.split();
        let answers = Answers::new(ANSWERS);
        let hello = Hello {
            meeting: caller.outer(publisher.meeting.id()).unwrap_or_default().to_owned(),
            frame_bytes: shared.settings.packet_text_bytes(),
        };
        let alive = Alive::default();
        let mut writer = Writer::new(sink, &answers, &publisher, durable, &alive).ack_within(ack_within);
        let reader =
            Reader { shared: &shared, publisher: &publisher, answers: &answers, published: 0, durable };
        let closing = tokio::select! {
            // The writing half sees what the reading half has just put into `answers`.
            biased;
            closing = reader.run(&mut stream, &alive) => closing,
            closing = writer.run(&hello) => closing,
            () = shared.stop.stopping() => Closing::Again,
            () = shared.over(&caller) => Closing::KeyEnded,
        };
        // Whoever does not take it is gone.
        let goodbye = async {
            if writer.finish(closing.frame()).await.is_ok() {
                // What the client sent meanwhile is read away: with it unread, the system would cut the connection, and the
                // client might not see why.
                while stream.next().await.is_some_and(|message| message.is_ok()) {}
            }
        };
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    }
}

/// The half that reads.
struct Reader<'a> {
    shared: &'a Shared,
    publisher: &'a Publisher,
    answers: &'a Answers<ToWriter>,
    /// How many packets the client has sent: the last one's number.
    published: u64,
    durable: bool,
}

impl Reader<'_> {
    async fn run(mut self, stream: &mut SplitStream<WebSocket>, alive: &Alive) -> Closing {
        let mut heard = Instant::now();
        // It is set again when it ends, not with each message.
        let mut silence = pin!(tokio::time::sleep(SILENCE));
        loop {
            let message = tokio::select! {
                biased;
                message = stream.next() => match message {
                    None => return Closing::Gone,
                    Some(Err(error)) => return Closing::of(error),
                    Some(Ok(message)) => message,
                },
                () = silence.as_mut() => {
                    let is_silent = heard.elapsed() >= SILENCE;
                    // A slow reader's answer to a ping comes behind all that it has still to take.
                    if is_silent && !alive.is_taking(SILENCE) {
                        return Closing::Silent;
                    }
                    let since = if is_silent { Instant::now() } else { heard };
                    silence.as_mut().reset(since + SILENCE);
                    continue;
                }
            };
            heard = Instant::now();
            let went_on = match message {
                Message::Text(text) => self.text(&text).await,
                Message::Binary(bytes) => self.binary(bytes).await,
                Message::Close(_) => ControlFlow::Break(Closing::Gone),
                // A ping was answered already.
                Message::Ping(_) | Message::Pong(_) => ControlFlow::Continue(()),
            };
            if let ControlFlow::Break(closing) = went_on {
                return closing;
            }
        }
    }

    async fn answer(&self, answer: ToWriter) -> ControlFlow<Closing> {
        self.answers.put(answer).await;
        ControlFlow::Continue(())
    }

    async fn text(&mut self, text: &str) -> ControlFlow<Closing> {
        match FromClient::read(text) {
            Ok(FromClient::Publish { packet }) => {
                let read = packet
                    .map_err(|error| Problem::malformed(format!("the message cannot be read: {error}")));
                let read = read.and_then(|packet| Ok(json::parse(packet.get())?.publish));
                self.publish(read).await
            }
            Ok(FromClient::Subscribe(subscribe)) => {
                let Subscribe { after, sources, outputs, credit, binary, .. } = subscribe;
                match self.follow(after, sources, outputs).await {
                    Ok(items) => self.answer(ToWriter::Follow { items, credit, binary }).await,
                    Err(problem) => self.answer(ToWriter::Failed { number: None, problem }).await,
                }
            }
            Ok(FromClient::Credit { packets }) => self.answer(ToWriter::Credit(packets)).await,
            Ok(FromClient::Unsubscribe) => self.answer(ToWriter::Unfollow).await,
            Err(error) if error.is_data() => {
                let problem = Problem::malformed(format!("the message cannot be read: {error}"));
                self.answer(ToWriter::Failed { number: None, problem }).await
            }
            Err(_) => ControlFlow::Break(Closing::Malformed),
        }
    }

    async fn binary(&mut self, frame: Bytes) -> ControlFlow<Closing> {
        let read = frame::read(frame).map_err(|error| Problem::malformed(error.to_string()));
        self.publish(read).await
    }

    async fn publish(&mut self, read: Result<Publish, Problem>) -> ControlFlow<Closing> {
        self.published += 1;
        let number = self.published;
        let accepted = match read {
            Err(problem) => Err(problem),
            Ok(_) if !self.publisher.caller.may(Scope::Publish) => {
                Err(Problem::forbidden("no-scope", "the key does not have scope publish"))
            }
            Ok(packet) => self.publisher.accept(packet, Room::IsWaitedFor).await,
        };
        match accepted {
            Ok(receipt) if self.durable => {
                self.answer(ToWriter::Accepted { number, receipt: Box::new(receipt) }).await
            }
            Ok(receipt) => {
                let (seq, duplicate, is_volatile) =
                    (receipt.seq(), receipt.is_repeat(), receipt.is_volatile());
                self.answer(ToWriter::Done { number, seq, duplicate, is_volatile }).await
            }
            Err(problem) => self.answer(ToWriter::Failed { number: Some(number), problem }).await,
        }
    }

    async fn follow(
        &self,
        after: Option<String>,
        sources: Option<Vec<Name>>,
        outputs_only: bool,
    ) -> Result<futures::stream::BoxStream<'static, crate::feed::Item>, Problem> {
        let after = match after {
            None => Seq::ZERO,
            Some(after) => {
                let problem =
                    |_| Problem::malformed(format!("after is {after:?}, but takes a seq, such as \"65541\""));
                Seq(after.parse().map_err(problem)?)
            }
        };
        let buffer_bytes = self.shared.settings.service.buffer_bytes.as_usize();
        let wanted = Wanted { sources, outputs_only, buffer_bytes, budget: None };
        let Publisher { meeting, caller, .. } = self.publisher;
        follow(&self.shared.node, meeting, after, wanted, caller.clone()).await
    }
}
