//! Meetings: opening, listing, showing, ending and forgetting them; their instances.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use teammy_kernel::{MeetingId, MeetingMetadata, Timestamp, log::JoinAt, store::MeetingQuery};
use teammy_runtime::{
    MeetingRef, Node,
    admin::{self, Redrive, Request},
    meeting,
    node::{self, Opened},
};

use crate::{
    params::{Id, Instance, Meeting, Params, Whole, media_type, parse},
    problem::Problem,
    shared::{Shared, ask},
};

/// The header with which the same request can be sent again.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What a meeting is opened with. One that exists keeps its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Opening {
    id: Option<MeetingId>,
    title: Option<String>,
    started_at: Option<Timestamp>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// The names of instances.
    #[serde(default)]
    plugins: Vec<String>,
}

/// Reads a JSON body. A body of another type is rejected, which also keeps simple forms of web pages out.
fn read<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    if media_type(headers) != "application/json" {
        let problem = Problem::malformed("the body is to be JSON, with `Content-Type: application/json`");
        return Err(problem.with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    parse(body)
}

pub(super) async fn open(
    State(shared): State<Shared>,
    params: Params,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<(StatusCode, Json<Value>), Problem> {
    params.end()?;
    let opening: Opening = read(&headers, &body)?;
    let key = headers.get(IDEMPOTENCY_KEY).map(axum::http::HeaderValue::as_bytes);
    let id = opening.id.map_or_else(|| id_of(key), Ok)?;
    let mut metadata = MeetingMetadata::new(id);
    metadata.title = opening.title.map(Into::into);
    metadata.started_at = opening.started_at;
    metadata.labels = opening.labels;
    let opened = Node::open(&shared.node, metadata, opening.plugins).await.map_err(|error| {
        // The body names what is not there, and not the path.
        let is_of_body = matches!(error, node::Error::UnknownInstance { .. } | node::Error::NeedsLlm(_));
        let problem = Problem::from(error);
        if is_of_body { problem.with_status(StatusCode::UNPROCESSABLE_ENTITY) } else { problem }
    })?;
    let status = if matches!(opened, Opened::Started(_)) { StatusCode::CREATED } else { StatusCode::OK };
    let mut shown = shown(&shared.node, opened.meeting().id()).await?;
    shown["opened"] = opened.as_str().into();
    Ok((status, Json(shown)))
}

/// The id of a meeting whose client names none: the same for the same key, else a new one.
fn id_of(key: Option<&[u8]>) -> Result<MeetingId, Problem> {
    let digest = if let Some(key) = key {
        blake3::derive_key("teammy meeting of an idempotency key", key)
    } else {
        let mut random = [0; 16];
        random.fill_with(|| fastrand::u8(..));
        blake3::derive_key("teammy meeting without an id", &random)
    };
    Ok(MeetingId::new(format!("m-{}", &blake3::Hash::from(digest).to_hex()[..24]))?)
}

pub(super) async fn list(State(shared): State<Shared>, mut params: Params) -> Result<Json<Value>, Problem> {
    let mut query = MeetingQuery::default();
    let statuses: Vec<_> = params.all("status").iter().map(|status| json!(status)).collect();
    if !statuses.is_empty() {
        let statuses = serde_json::from_value(Value::Array(statuses));
        let expected = "the parameter status is none of running, ending and ended";
        query.statuses = Some(statuses.map_err(|_| Problem::malformed(expected))?);
    }
    for label in params.all("label") {
        let Some((key, value)) = label.split_once(':') else {
            return Err(Problem::malformed(format!("the parameter label is {label:?}; give KEY:VALUE")));
        };
        query.labels.insert(key.to_owned(), value.to_owned());
    }
    query.from = params.one("from", "a time, such as 2026-01-05T09:00:00Z")?;
    query.to = params.one("to", "a time, such as 2026-01-05T09:00:00Z")?;
    if let Some(after) = params.all("after").pop() {
        let cursor = serde_json::from_str(&after).or_else(|_| serde_json::from_value(json!(after)));
        let expected = "the parameter after is no cursor; give the `next` of the page before";
        query.after = Some(cursor.map_err(|_| Problem::malformed(expected))?);
    }
    if let Some(limit) = params.one("limit", "a number")? {
        query.limit = limit;
    }
    params.end()?;
    ask(&shared.node, Request::Meetings { query }).await
}

/// A meeting as its row has it, with what its instances do if it runs here.
async fn shown(node: &Node, id: &MeetingId) -> Result<Value, Problem> {
    let row = node.store().meeting(id.clone()).await.map_err(node::Error::Store)?;
    let row = row.ok_or_else(|| admin::Error::NoMeeting(id.clone()))?;
    let last_seq = row.last.to_string();
    let mut shown = json!(admin::MeetingSummary::from(row));
    shown["last_seq"] = last_seq.into();
    if let Some(meeting) = node.meeting(id) {
        shown["stats"] = json!(meeting.stats().await?);
    }
    Ok(shown)
}

pub(super) async fn show(
    State(shared): State<Shared>,
    Id(id): Id,
    params: Params,
) -> Result<Json<Value>, Problem> {
    params.end()?;
    Ok(Json(shown(&shared.node, &id).await?))
}

pub(super) async fn forget(
    State(shared): State<Shared>,
    Id(meeting): Id,
    params: Params,
) -> Result<StatusCode, Problem> {
    params.end()?;
    admin::handle(&shared.node, Request::Forget { meeting }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How a meeting is ended.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Ending {
    /// Whether the answer waits until all instances have finished.
    wait: bool,
}

pub(super) async fn end(
    State(shared): State<Shared>,
    Meeting(meeting): Meeting,
    params: Params,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<(StatusCode, Json<Value>), Problem> {
    params.end()?;
    let Ending { wait } = if body.is_empty() { Ending::default() } else { read(&headers, &body)? };
    let id = meeting.id().clone();
    let status = if wait {
        ended(&meeting).await?;
        StatusCode::OK
    } else {
        // It goes on when the client is gone.
        tokio::spawn(async move { ended(&meeting).await });
        StatusCode::ACCEPTED
    };
    Ok((status, Json(shown(&shared.node, &id).await?)))
}

/// Ends a meeting. One that has ended is no error: the client may have sent the request before.
async fn ended(meeting: &MeetingRef) -> Result<(), Problem> {
    match meeting.end().await {
        Ok(()) | Err(meeting::Error::Ended(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn assign(
    Meeting(meeting): Meeting,
    Instance(instance): Instance,
    mut params: Params,
) -> Result<StatusCode, Problem> {
    let at = match params.all("from").pop().as_deref() {
        None | Some("now") => JoinAt::Now,
        Some("start") => JoinAt::Start,
        Some(_) => return Err(Problem::malformed("the parameter from is neither now nor start")),
    };
    params.end()?;
    meeting.assign_at(&instance, at).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn unassign(
    Meeting(meeting): Meeting,
    Instance(instance): Instance,
    params: Params,
) -> Result<StatusCode, Problem> {
    params.end()?;
    meeting.unassign(&instance).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn resume_instance(
    Meeting(meeting): Meeting,
    Instance(instance): Instance,
    params: Params,
) -> Result<StatusCode, Problem> {
    params.end()?;
    meeting.resume_instance(&instance).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn dead_letters(
    State(shared): State<Shared>,
    Id(meeting): Id,
    params: Params,
) -> Result<Json<Value>, Problem> {
    params.end()?;
    ask(&shared.node, Request::DeadLetters { meeting }).await
}

/// Delivers dead letters again: all of them, or those of a body such as `{"instance": "minutes"}`.
pub(super) async fn redrive(
    State(shared): State<Shared>,
    Id(meeting): Id,
    params: Params,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Json<Value>, Problem> {
    params.end()?;
    let which: Redrive = if body.is_empty() { Redrive::default() } else { read(&headers, &body)? };
    ask(&shared.node, Request::Redrive { meeting, which }).await
}
