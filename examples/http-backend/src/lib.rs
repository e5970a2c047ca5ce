//! A meeting backend over HTTP, for clients in any language: the routes are in [`router`].
//!
//! A packet has one JSON form in requests, answers and streams, which `samples/README.md` describes. An error is a
//! problem document (RFC 9457) with Teammy's `code`, its `kind`, and whether the same request may succeed later.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{
        DefaultBodyLimit, FromRequest, FromRequestParts, State,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::{StatusCode, header, request::Parts},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::{get, post},
};
use futures::{StreamExt, future::ready, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use teammy::{
    ErrorKind, MeetingId, MeetingMetadata, MeetingRef, Node, Packets, Payload, Publish, PublishError, Seq,
    admin, meeting, name,
    node::{self, Opened},
};

/// The largest body of a request, in bytes.
const MAX_BODY: usize = 16 << 20;

/// The routes of a node.
///
/// | request | does | answers |
/// |---|---|---|
/// | `POST /meetings` | opens the meeting that an [`Opening`] describes: starts, resumes or joins it | which of these |
/// | `POST /meetings/{id}/packets` | publishes the packets of a list; waits until they are stored | their seqs |
/// | `POST /meetings/{id}/audio?participant=` | publishes the bytes of an audio frame, which are not stored | nothing |
/// | `GET /meetings/{id}/packets` | follows the meeting to its end, after `Last-Event-ID` | server-sent events |
/// | `GET /meetings/{id}/outputs` | the same for what its plugins put out | server-sent events |
/// | `POST /meetings/{id}/end` | ends it, and waits for the plugins | nothing |
/// | `POST /admin` | does what an [`admin::Request`] asks: list, history, status, dead letters, redrive, forget | its response |
pub fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route("/meetings", post(open))
        .route("/meetings/{id}/packets", get(packets).post(publish))
        .route("/meetings/{id}/audio", post(audio))
        .route("/meetings/{id}/outputs", get(outputs))
        .route("/meetings/{id}/end", post(end))
        .route("/admin", post(administer))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(node)
}

type Answer<T> = Result<T, Problem>;

/// An error as an HTTP answer.
struct Problem {
    status: StatusCode,
    title: String,
    code: String,
    kind: ErrorKind,
}

impl Problem {
    fn of_teammy(error: impl Into<teammy::Error>) -> Self {
        let error = error.into();
        let kind = error.kind();
        let status = StatusCode::from_u16(kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, title: teammy::chain(&error), code: error.code().to_owned(), kind }
    }

    /// The request could not be read.
    fn of_request(status: StatusCode, title: String) -> Self {
        Self { status, title, code: "request-malformed".to_owned(), kind: ErrorKind::Invalid }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, title, code, kind } = self;
        let body = json!({
            "status": status.as_u16(), "title": title, "code": code, "kind": kind, "can_retry": kind.can_retry(),
        });
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body.to_string()).into_response()
    }
}

/// Axum's extractors, with a [`Problem`] for what they cannot read.
#[derive(FromRequest)]
#[from_request(via(Json), rejection(Problem))]
struct Body<T>(T);

#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
struct Path<T>(T);

#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
struct Query<T>(T);

macro_rules! problems {
    ($($error:ty),* => $problem:expr) => {$(
        impl From<$error> for Problem {
            fn from(error: $error) -> Self {
                $problem(error)
            }
        }
    )*};
}
problems!(node::Error, meeting::Error, PublishError, admin::Error, name::Error => Self::of_teammy);
problems!(JsonRejection => |error: JsonRejection| Self::of_request(error.status(), error.body_text()));
problems!(PathRejection => |error: PathRejection| Self::of_request(error.status(), error.body_text()));
problems!(QueryRejection => |error: QueryRejection| Self::of_request(error.status(), error.body_text()));

/// What a new meeting is started with. A meeting that exists keeps its own.
#[derive(Deserialize)]
pub struct Opening {
    /// Its id, title and labels.
    #[serde(flatten)]
    metadata: MeetingMetadata,
    /// The names of its plugin instances.
    instances: Vec<String>,
}

async fn open(State(node): State<Arc<Node>>, Body(new): Body<Opening>) -> Answer<(StatusCode, Json<Value>)> {
    let id = new.metadata.id.clone();
    let opened = node.open(new.metadata, new.instances).await?;
    let status = if matches!(opened, Opened::Started(_)) { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(json!({"id": id, "opened": opened.as_str()}))))
}

/// The meeting that a path names, if it runs here or has ended. There is no other that this node could read of:
/// it resumed all meetings when it started.
struct Meeting(MeetingRef);

impl FromRequestParts<Arc<Node>> for Meeting {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Answer<Self> {
        let Path(id) = Path::<MeetingId>::from_request_parts(parts, node).await?;
        Ok(Self(node.find_meeting(&id).await?))
    }
}

async fn publish(Meeting(meeting): Meeting, Body(packets): Body<Vec<Publish>>) -> Answer<Json<Vec<Seq>>> {
    let receipts = meeting.publish_all(packets).await?;
    receipts.durable().await?;
    Ok(Json(receipts.seqs().collect()))
}

#[derive(Deserialize)]
struct Speaker {
    participant: Option<String>,
}

async fn audio(Meeting(meeting): Meeting, Query(by): Query<Speaker>, frame: Bytes) -> Answer<StatusCode> {
    let mut packet = Publish::new("audio", Payload::Bytes(frame))?;
    if let Some(participant) = by.participant {
        packet = packet.participant(participant);
    }
    meeting.publish(packet).await?;
    Ok(StatusCode::ACCEPTED)
}

/// The seq of the last event that a client has seen, which a browser sends when it comes back.
struct Last(Seq);

impl<S: Sync> FromRequestParts<S> for Last {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Answer<Self> {
        let Some(last) = parts.headers.get("last-event-id") else { return Ok(Self(Seq::ZERO)) };
        let seq = last.to_str().ok().and_then(|text| text.parse().ok());
        let problem =
            || Problem::of_request(StatusCode::BAD_REQUEST, format!("Last-Event-ID {last:?} is no seq"));
        seq.map(|seq| Self(Seq(seq))).ok_or_else(problem)
    }
}

async fn packets(Meeting(meeting): Meeting, Last(seq): Last) -> impl IntoResponse {
    events(meeting.packets_after(seq))
}

async fn outputs(Meeting(meeting): Meeting, Last(seq): Last) -> impl IntoResponse {
    events(meeting.outputs_after(seq))
}

/// Each packet is an event with its seq as the id. The last event is `end`, or `error` with a message.
fn events(packets: Packets) -> impl IntoResponse {
    let mut has_failed = false;
    let items = packets.map(Some).chain(stream::once(ready(None)));
    let events = items.filter_map(move |item| {
        ready(match item {
            Some(Ok(packet)) => Some(Event::default().id(packet.seq.to_string()).json_data(&packet)),
            Some(Err(error)) => {
                has_failed = true;
                Some(Ok(Event::default().event("error").data(teammy::chain(&error))))
            }
            None => (!has_failed).then(|| Ok(Event::default().event("end").data(""))),
        })
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

async fn end(Meeting(meeting): Meeting) -> Answer<StatusCode> {
    meeting.end().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn administer(
    State(node): State<Arc<Node>>,
    Body(request): Body<admin::Request>,
) -> Answer<Json<admin::Response>> {
    Ok(Json(admin::handle(&node, request).await?))
}
