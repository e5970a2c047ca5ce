//! Publishing: one packet, a list, lines as they come, or bytes.

use std::{fmt, sync::Arc};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{FromRequest, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::BytesMut;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt, stream};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use teammy_kernel::{ErrorClass, ErrorKind, Publish, PublishError, Timestamp, TraceContext, wire::json};
use teammy_runtime::{MeetingRef, Receipt};

use utoipa::ToSchema;

use crate::{
    access::Caller,
    bodies::PublishBody,
    limits::Quotas,
    params::{Meeting, Params, Whole, media_type, parse},
    problem::Problem,
    shared::Shared,
    trace::position,
};

/// How many packets of a stream of lines wait at once to be stored.
const UNSTORED: usize = 256;

/// The most packets of a list, which is answered as a whole.
const MOST_OF_LIST: usize = 10_000;

/// The packets of a list. What is longer is not read further: small items take many times their size.
struct List(Vec<Box<RawValue>>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = List;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of packets")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List, A::Error> {
                let mut packets = Vec::new();
                while let Some(packet) = items.next_element()? {
                    packets.push(packet);
                    if packets.len() > MOST_OF_LIST {
                        let error =
                            format!("the list is longer than {MOST_OF_LIST} packets; send lines instead");
                        return Err(serde::de::Error::custom(error));
                    }
                }
                Ok(List(packets))
            }
        }
        deserializer.deserialize_seq(Items)
    }
}

/// A packet, or a list of packets.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it only describes the body")]
pub(crate) enum PublishRequest {
    /// One packet.
    One(PublishBody),
    /// A list, of which each is answered by itself, whatever it is.
    Each(Vec<serde_json::Value>),
}

/// What became of one packet, or of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it only describes the answer")]
pub(crate) enum PublishedBody {
    /// Of one packet.
    One(Outcome),
    /// Of each packet of a list.
    Each {
        /// In the list's order.
        results: Vec<Outcome>,
    },
}

/// What became of one packet.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Outcome {
    /// It has its place.
    Published {
        /// The place in the meeting's log.
        #[schema(example = "65541")]
        seq: String,
        /// Whether the meeting had it before: then `seq` is the first one's.
        duplicate: bool,
    },
    /// It is not published.
    Failed {
        /// Why.
        problem: Problem,
    },
}

impl Outcome {
    fn of(receipt: &Receipt) -> Self {
        Self::Published { seq: receipt.seq().to_string(), duplicate: receipt.is_repeat() }
    }
}

impl From<Result<Outcome, Problem>> for Outcome {
    fn from(result: Result<Self, Problem>) -> Self {
        result.unwrap_or_else(|problem| Self::Failed { problem })
    }
}

/// Publishes what the body holds, as its type says: one packet or a list of them, a packet a line, or the bytes of one packet
/// with the rest in headers.
#[utoipa::path(post, path = "/v1/meetings/{meeting}/packets", tag = "packets", operation_id = "publish",
    params(("meeting" = String, Path),
        ("durable" = Option<bool>, Query, description = "answers once it is stored"),
        ("traceparent" = Option<String>, Header, description = "where in a trace the packets are that do not say so themselves")),
    request_body(content(
        (PublishRequest = "application/json", example = json!({"source": "chat", "payload": {"text": "Good morning."}})),
        (String = "application/x-ndjson"),
        (Vec<u8> = "application/octet-stream"))),
    responses((status = 200, description = "what became of each", content(
        (PublishedBody = "application/json"), (String = "application/x-ndjson")))))]
pub(crate) async fn publish(
    State(shared): State<Shared>,
    caller: Caller,
    Meeting(meeting): Meeting,
    mut params: Params,
    request: Request,
) -> Result<Response, Problem> {
    let durable = params.flag("durable")?;
    params.end()?;
    let headers = request.headers().clone();
    let meeting = Arc::new(Publisher { meeting, caller, shared, trace: position(&headers) });
    match media_type(&headers).as_str() {
        "application/json" => {
            let Whole(body) = Whole::from_request(request, &()).await?;
            json_body(&meeting, &body, durable).await
        }
        "application/x-ndjson" | "application/jsonl" => Ok(lines(meeting, request.into_body(), durable)),
        "application/octet-stream" => {
            let Whole(body) = Whole::from_request(request, &()).await?;
            let outcome = send(&meeting, of_bytes(&headers, body)?, durable, Room::MustBeThere).await?;
            Ok(Json(outcome).into_response())
        }
        _ => {
            let title = "the body is to be JSON (`application/json`), a JSON object a line (`application/x-ndjson`) or the bytes \
                         of one packet (`application/octet-stream`)";
            Err(Problem::malformed(title).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE))
        }
    }
}

/// One packet, or a list.
async fn json_body(meeting: &Publisher, body: &[u8], durable: bool) -> Result<Response, Problem> {
    if !body.trim_ascii_start().starts_with(b"[") {
        let text = str::from_utf8(body).map_err(|_| Problem::malformed("the body is not UTF-8"))?;
        let outcome = send(meeting, json::parse(text)?.publish, durable, Room::MustBeThere).await?;
        return Ok(Json(outcome).into_response());
    }
    let List(packets) = parse(body)?;
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(packets.len());
    let mut receipts = Vec::new();
    for (number, packet) in packets.into_iter().enumerate() {
        if number % 256 == 255 {
            tokio::task::yield_now().await;
        }
        let accepted = async { meeting.accept(json::parse(packet.get())?.publish, Room::MustBeThere).await };
        outcomes.push(match accepted.await {
            Ok(receipt) => {
                let outcome = Outcome::of(&receipt);
                receipts.push((outcomes.len(), receipt));
                outcome
            }
            Err(problem) => Outcome::Failed { problem: meeting.shown(problem) },
        });
    }
    if durable {
        for (index, receipt) in receipts {
            if let Err(error) = stored(&receipt).await {
                outcomes[index] = Outcome::Failed { problem: meeting.shown(error) };
            }
        }
    }
    Ok(Json(PublishedBody::Each { results: outcomes }).into_response())
}

/// A JSON object a line, of any number. Each is answered by a line as soon as it is published or, with `durable`, stored.
fn lines(meeting: Arc<Publisher>, body: Body, durable: bool) -> Response {
    let publisher = meeting.clone();
    let until = meeting.clone();
    // What was read before is still answered, and the last line says why no more is read.
    let over = async move { until.over().await }.boxed().shared();
    let why = over.clone();
    let last = stream::once(async move { why.peek().cloned() });
    let lines = split(body, meeting.shared.settings.packet_text_bytes())
        .take_until(over)
        .chain(last.filter_map(|problem| std::future::ready(problem.map(Err))));
    let outcomes = lines
        .then(move |line| {
            let meeting = meeting.clone();
            async move {
                let line = line?;
                let text = str::from_utf8(&line).map_err(|_| Problem::malformed("the line is not UTF-8"))?;
                meeting.accept(json::parse(text)?.publish, Room::IsWaitedFor).await
            }
        })
        .map(move |accepted: Result<Receipt, Problem>| async move {
            let receipt = accepted?;
            if durable {
                stored(&receipt).await?;
            }
            Ok(Outcome::of(&receipt))
        })
        .buffered(UNSTORED)
        .map(move |outcome: Result<Outcome, Problem>| {
            let outcome = outcome.map_err(|problem| publisher.shown(problem));
            let mut line = serde_json::to_vec(&Outcome::from(outcome))?;
            line.push(b'\n');
            Ok::<_, serde_json::Error>(line)
        });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(outcomes)).into_response()
}

/// The lines of a body that are not blank. One that is too long, and a body that breaks off, is the last item.
fn split(body: Body, longest: usize) -> impl Stream<Item = Result<Bytes, Problem>> + Send {
    struct State {
        body: axum::body::BodyDataStream,
        read: BytesMut,
        /// How much of `read` holds no line's end.
        searched: usize,
        is_over: bool,
    }
    let state = State { body: body.into_data_stream(), read: BytesMut::new(), searched: 0, is_over: false };
    stream::try_unfold(state, move |mut state| async move {
        loop {
            if let Some(at) = state.read[state.searched..].iter().position(|byte| *byte == b'\n') {
                let line = state.read.split_to(state.searched + at + 1).freeze();
                state.searched = 0;
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(Some((line, state)));
            }
            state.searched = state.read.len();
            if state.searched > longest {
                let title =
                    format!("a line is longer than {longest} bytes; limits.packet_bytes bounds packets");
                return Err(Problem::malformed(title).with_status(StatusCode::PAYLOAD_TOO_LARGE));
            }
            if state.is_over {
                let rest = std::mem::take(&mut state.read).freeze();
                state.searched = 0;
                let is_blank = rest.iter().all(u8::is_ascii_whitespace);
                return Ok((!is_blank).then_some((rest, state)));
            }
            match state.body.try_next().await {
                Ok(Some(more)) => state.read.extend_from_slice(&more),
                Ok(None) => state.is_over = true,
                Err(_) => return Err(Problem::malformed("the body broke off")),
            }
        }
    })
}

/// The bytes of one packet, with what else belongs to it in headers.
fn of_bytes(headers: &HeaderMap, body: Bytes) -> Result<Publish, Problem> {
    let header = |name: &str| -> Result<Option<&str>, Problem> {
        let Some(value) = headers.get(name) else { return Ok(None) };
        let wrong = |_| Problem::malformed(format!("the header {name} is not UTF-8"));
        str::from_utf8(value.as_bytes()).map(Some).map_err(wrong)
    };
    let mut publish = Publish::bytes(header("teammy-source")?.unwrap_or("audio"), body)?;
    if let Some(participant) = header("teammy-participant")? {
        publish = publish.participant(participant);
    }
    if let Some(timestamp) = header("teammy-timestamp")? {
        let wrong = "the header teammy-timestamp is no time, such as 2026-01-05T09:00:00Z";
        publish = publish.timestamp(timestamp.parse::<Timestamp>().map_err(|_| Problem::malformed(wrong))?);
    }
    match (header("teammy-producer")?, header("teammy-number")?) {
        (None, None) => Ok(publish),
        (Some(producer), Some(number)) => {
            let wrong = "the header teammy-number is no number from 1 on";
            let number = number.parse().map_err(|_| Problem::malformed(wrong))?;
            Ok(publish.numbered(producer, number))
        }
        _ => Err(Problem::malformed("the headers teammy-producer and teammy-number belong together")),
    }
}

/// What happens while the meeting's backlog is full.
#[derive(Debug, Clone, Copy)]
pub(super) enum Room {
    /// The client is told to come back.
    MustBeThere,
    /// The client's lines are not read.
    IsWaitedFor,
}

/// Who publishes into a meeting.
pub(super) struct Publisher {
    pub(super) meeting: MeetingRef,
    pub(super) caller: Caller,
    pub(super) shared: Shared,
    /// Where packets are in a trace that do not say so themselves.
    pub(super) trace: Option<TraceContext>,
}

/// Waits until a packet is stored. One of a source that is not stored need not wait.
pub(super) async fn stored(receipt: &Receipt) -> Result<(), Problem> {
    match receipt.durable().await {
        Ok(()) | Err(PublishError::Volatile(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Publisher {
    /// A problem as the client knows its meetings.
    pub(super) fn shown(&self, problem: Problem) -> Problem {
        self.shared.shown(problem, &self.caller)
    }

    /// Waits until nothing more may be published, and says why.
    async fn over(&self) -> Problem {
        tokio::select! {
            () = self.shared.over(&self.caller) => Problem::key_ended(),
            () = self.shared.stop.stopping() => {
                let class = ErrorClass::new("not-ready", ErrorKind::Unavailable);
                Problem::new(class, "the node stops; send the rest again")
            }
        }
    }

    /// Publishes a packet.
    pub(super) async fn accept(&self, mut packet: Publish, room: Room) -> Result<Receipt, Problem> {
        packet.trace = packet.trace.or(self.trace);
        loop {
            let wait = self.shared.quotas.packet(&self.caller, packet.payload.len());
            match room {
                _ if wait.is_zero() => break,
                Room::MustBeThere => return Err(Quotas::too_fast(wait)),
                Room::IsWaitedFor => tokio::time::sleep(wait).await,
            }
        }
        match self.meeting.try_publish(packet.clone()).await {
            // The place of an earlier one must be looked up.
            Err(PublishError::Repeated { .. }) => Ok(self.meeting.publish(packet).await?),
            Err(PublishError::Busy { .. }) if matches!(room, Room::IsWaitedFor) => {
                Ok(self.meeting.publish(packet).await?)
            }
            accepted => Ok(accepted?),
        }
    }
}

async fn send(publisher: &Publisher, packet: Publish, durable: bool, room: Room) -> Result<Outcome, Problem> {
    let receipt = publisher.accept(packet, room).await?;
    if durable {
        stored(&receipt).await?;
    }
    Ok(Outcome::of(&receipt))
}
