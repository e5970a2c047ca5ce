//! Meetings: opening, listing, showing, ending and forgetting them; their instances.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use teammy_kernel::{
    Charges, ErrorClass, ErrorKind, MeetingId, MeetingMetadata, Timestamp, log::JoinAt, store::MeetingQuery,
};
use teammy_runtime::{
    MeetingRef, Node,
    admin::{self, MeetingList, Redrive, Request, Response},
    meeting,
    node::{self, Opened},
};

use tokio::time::Duration;
use utoipa::ToSchema;

use crate::{
    access::Caller,
    bodies::{DeadLettersBody, MeetingBody, MeetingsBody, RedrivenBody, TokenBody, cursor_text, read_cursor},
    limits::Quotas,
    params::{Id, Instance, Meeting, Params, Whole, media_type, parse_object},
    problem::Problem,
    shared::Shared,
};

/// The header with which the same request can be sent again.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The largest title and labels, together, in bytes: each page of a list has those of many meetings.
const MAX_WORDS: usize = 16 << 10;

/// What a meeting is opened with. One that exists keeps its own.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Opening {
    /// The id: 1 to 190 bytes of text. Without it, it is made of the header `Idempotency-Key`, or a new one.
    #[schema(example = "standup")]
    id: Option<String>,
    /// The title that people see.
    title: Option<String>,
    /// When it began, if that was earlier than now.
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    /// Texts by which meetings are listed.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// The names of instances.
    #[serde(default)]
    plugins: Vec<String>,
}

/// Reads a JSON body. A body of another type is rejected, which also keeps simple forms of web pages out.
pub(super) fn read<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    if media_type(headers) != "application/json" {
        let problem = Problem::malformed("the body is to be JSON, with `Content-Type: application/json`");
        return Err(problem.with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    parse_object(body)
}

/// Reads a JSON body that may be left out, or be null.
pub(super) fn read_or_default<T>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem>
where
    T: DeserializeOwned + Default,
{
    if body.is_empty() || body.trim_ascii() == b"null" { Ok(T::default()) } else { read(headers, body) }
}

/// Opens a meeting: starts it if it is new, else resumes or joins it.
#[utoipa::path(post, path = "/v1/meetings", tag = "meetings", operation_id = "openMeeting",
    params(("Idempotency-Key" = Option<String>, Header, description = "makes the id of a meeting without one")),
    request_body = Opening,
    responses((status = 201, description = "it was started", body = MeetingBody),
        (status = 200, description = "it was resumed, ran already, or has ended: see `opened`", body = MeetingBody)))]
pub(crate) async fn open(
    State(shared): State<Shared>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<(StatusCode, Json<MeetingBody>), Problem> {
    params.end()?;
    let opening: Opening = read(&headers, &body)?;
    let key = headers.get(IDEMPOTENCY_KEY).map(axum::http::HeaderValue::as_bytes);
    let id = opening.id.map_or_else(|| id_of(key), |id| caller.inner(&id))?;
    let id = if caller.outer(&id).is_some() { id } else { caller.inner(id.as_str())? };
    let mut metadata = MeetingMetadata::new(id.clone());
    metadata.title = opening.title.map(Into::into);
    metadata.started_at = opening.started_at;
    metadata.labels = opening.labels;
    let label = shared.node.tenant_label();
    let labels = metadata.labels.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    if labels + metadata.title.as_ref().map_or(0, |title| title.len()) > MAX_WORDS {
        let title = format!("title and labels are together larger than {} KiB", MAX_WORDS >> 10);
        return Err(Problem::malformed(title).with_status(StatusCode::UNPROCESSABLE_ENTITY));
    }
    let mut turn = None;
    if let Some(tenant) = caller.tenant() {
        if let Some(other) = metadata.labels.insert(label.to_owned(), tenant.to_owned())
            && other != tenant
        {
            let title =
                format!("the label {label} names the tenant, which the key says already; leave it out");
            return Err(Problem::malformed(title).with_status(StatusCode::UNPROCESSABLE_ENTITY));
        }
        if let Some(most) = shared.quotas.meetings(&caller) {
            turn = Some(shared.quotas.opening(tenant).await);
            check_room(&shared, &id, tenant, most).await?;
        }
    }
    let opened = Node::open(&shared.node, metadata, opening.plugins).await.map_err(|error| {
        // The body names what is not there, and not the path.
        let is_of_body = matches!(error, node::Error::UnknownInstance { .. } | node::Error::NeedsLlm(_));
        let problem = Problem::from(error);
        if is_of_body { problem.with_status(StatusCode::UNPROCESSABLE_ENTITY) } else { problem }
    })?;
    drop(turn);
    let status = if matches!(opened, Opened::Started(_)) { StatusCode::CREATED } else { StatusCode::OK };
    let mut shown = shown(&shared.node, opened.meeting().id(), &caller).await?;
    shown.opened = Some(opened.as_str());
    Ok((status, Json(shown)))
}

/// Whether a tenant may have one more meeting that has not ended. One that exists is none more.
async fn check_room(shared: &Shared, id: &MeetingId, tenant: &str, most: usize) -> Result<(), Problem> {
    let store = shared.node.store();
    if store.meeting(id.clone()).await.map_err(node::Error::Store)?.is_some() {
        return Ok(());
    }
    let mut query = MeetingQuery::open().label(shared.node.tenant_label(), tenant);
    let mut count = 0;
    loop {
        query.limit = (most - count).clamp(1, MeetingQuery::MAX_LIMIT);
        let page = store.meetings(query.clone()).await.map_err(node::Error::Store)?;
        count += page.meetings.len();
        if count >= most {
            return Err(Quotas::too_many_meetings(most));
        }
        let Some(next) = page.next else { return Ok(()) };
        query.after = Some(next);
    }
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

/// Lists meetings, the one that was created last first.
#[utoipa::path(get, path = "/v1/meetings", tag = "meetings", operation_id = "listMeetings",
    params(("status" = Option<Vec<String>>, Query, explode = true, description = "`running`, `ending`, `ended`, each as often as needed"),
        ("label" = Option<Vec<String>>, Query, explode = true, description = "`KEY:VALUE`, as often as needed"),
        ("from" = Option<String>, Query, description = "created at this time or later"),
        ("to" = Option<String>, Query, description = "created before this time"),
        ("after" = Option<String>, Query, description = "the `next` of the page before"),
        ("limit" = Option<u32>, Query, description = "the most meetings of the page, up to 256")),
    responses((status = 200, description = "a page", body = MeetingsBody)))]
pub(crate) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    mut params: Params,
) -> Result<Json<MeetingsBody>, Problem> {
    let mut query = MeetingQuery::default();
    let statuses: Vec<_> = params.all("status").iter().map(|status| json!(status)).collect();
    if !statuses.is_empty() {
        let statuses = serde_json::from_value(Value::Array(statuses));
        let expected = "the parameter status is none of running, ending and ended";
        query.statuses = Some(statuses.map_err(|_| Problem::malformed(expected))?);
    }
    query.labels = params.labels()?;
    query.from = params.one("from", "a time, such as 2026-01-05T09:00:00Z")?;
    query.to = params.one("to", "a time, such as 2026-01-05T09:00:00Z")?;
    if let Some(after) = params.one::<String>("after", "the `next` of the page before")? {
        query.after = Some(read_cursor(&after, &caller)?);
    }
    let limit = params.limit()?.unwrap_or(MeetingQuery::default().limit);
    query.limit = limit.min(MeetingList::MAX_MEETINGS);
    params.end()?;
    let label = shared.node.tenant_label();
    if let Some(tenant) = caller.tenant()
        && query.labels.insert(label.to_owned(), tenant.to_owned()).is_some_and(|asked| asked != tenant)
    {
        return Ok(Json(MeetingsBody { meetings: Vec::new(), next: None }));
    }
    let page = shared.node.store().meetings(query).await.map_err(node::Error::Store)?;
    let next = page.next.and_then(|next| cursor_text(&next, &caller));
    let meetings = page.meetings.into_iter().filter_map(|row| MeetingBody::of(row, &caller, label)).collect();
    Ok(Json(MeetingsBody { meetings, next }))
}

/// A meeting as its row has it, with how it runs, if it does here.
async fn shown(node: &Node, id: &MeetingId, caller: &Caller) -> Result<MeetingBody, Problem> {
    let row = node.store().meeting(id.clone()).await.map_err(node::Error::Store)?;
    let shown = row.and_then(|row| MeetingBody::of(row, caller, node.tenant_label()));
    let mut shown = shown.ok_or_else(|| admin::Error::NoMeeting(id.clone()))?;
    // One that does not answer is shown as it is stored.
    let report = admin::handle(node, Request::Report { meeting: id.clone() }).await;
    if let Ok(Response::Report { report: Some(report) }) = report {
        shown.runs_as(&report);
    }
    Ok(shown)
}

/// Shows a meeting: how it runs, if it does on this node, and what it has cost.
#[utoipa::path(get, path = "/v1/meetings/{meeting}", tag = "meetings", operation_id = "showMeeting",
    params(("meeting" = String, Path)),
    responses((status = 200, description = "the meeting", body = MeetingBody)))]
pub(crate) async fn show(
    State(shared): State<Shared>,
    caller: Caller,
    Id(id): Id,
    params: Params,
) -> Result<Json<MeetingBody>, Problem> {
    params.end()?;
    let mut shown = shown(&shared.node, &id, &caller).await?;
    let usage = admin::usage(&**shared.node.store(), Some(&id), None).await.map_err(node::Error::Store)?;
    let mut spend = Charges::default();
    for row in usage {
        spend += row.charges;
    }
    shown.spend = Some(spend);
    Ok(Json(shown))
}

/// Forgets a meeting: deletes all that is stored of it.
#[utoipa::path(delete, path = "/v1/meetings/{meeting}", tag = "meetings", operation_id = "forgetMeeting",
    params(("meeting" = String, Path)),
    responses((status = 204, description = "it is forgotten")))]
pub(crate) async fn forget(
    State(shared): State<Shared>,
    Id(meeting): Id,
    params: Params,
) -> Result<StatusCode, Problem> {
    params.end()?;
    admin::handle(&shared.node, Request::Forget { meeting }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How a meeting is ended.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Ending {
    /// Whether the answer waits until all instances have finished.
    wait: bool,
}

/// Ends a meeting. Again is no error.
#[utoipa::path(post, path = "/v1/meetings/{meeting}/end", tag = "meetings", operation_id = "endMeeting",
    params(("meeting" = String, Path)),
    request_body(content = Option<Ending>),
    responses((status = 200, description = "all instances have finished", body = MeetingBody),
        (status = 202, description = "it ends", body = MeetingBody)))]
pub(crate) async fn end(
    State(shared): State<Shared>,
    caller: Caller,
    Meeting(meeting): Meeting,
    params: Params,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<(StatusCode, Json<MeetingBody>), Problem> {
    params.end()?;
    let Ending { wait } = read_or_default(&headers, &body)?;
    let id = meeting.id().clone();
    let status = if wait {
        ended(&meeting).await?;
        StatusCode::OK
    } else {
        // It goes on when the client is gone.
        tokio::spawn(async move { ended(&meeting).await });
        StatusCode::ACCEPTED
    };
    Ok((status, Json(shown(&shared.node, &id, &caller).await?)))
}

/// Ends a meeting. One that has ended is no error: the client may have sent the request before.
async fn ended(meeting: &MeetingRef) -> Result<(), Problem> {
    match meeting.end().await {
        Ok(()) | Err(meeting::Error::Ended(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Has an instance join the meeting.
#[utoipa::path(put, path = "/v1/meetings/{meeting}/instances/{instance}", tag = "instances", operation_id = "assignInstance",
    params(("meeting" = String, Path), ("instance" = String, Path),
        ("from" = Option<String>, Query, description = "`now`, or `start` to read the log from there")),
    responses((status = 204, description = "it takes part")))]
pub(crate) async fn assign(
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

/// Has an instance leave the meeting.
#[utoipa::path(delete, path = "/v1/meetings/{meeting}/instances/{instance}", tag = "instances", operation_id = "unassignInstance",
    params(("meeting" = String, Path), ("instance" = String, Path)),
    responses((status = 204, description = "it leaves")))]
pub(crate) async fn unassign(
    Meeting(meeting): Meeting,
    Instance(instance): Instance,
    params: Params,
) -> Result<StatusCode, Problem> {
    params.end()?;
    meeting.unassign(&instance).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delivers to a suspended instance again.
#[utoipa::path(post, path = "/v1/meetings/{meeting}/instances/{instance}/resume", tag = "instances", operation_id = "resumeInstance",
    params(("meeting" = String, Path), ("instance" = String, Path)),
    responses((status = 204, description = "it gets packets again")))]
pub(crate) async fn resume_instance(
    Meeting(meeting): Meeting,
    Instance(instance): Instance,
    params: Params,
) -> Result<StatusCode, Problem> {
    params.end()?;
    meeting.resume_instance(&instance).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the meeting's instances gave up.
#[utoipa::path(get, path = "/v1/meetings/{meeting}/dead-letters", tag = "instances", operation_id = "listDeadLetters",
    params(("meeting" = String, Path)),
    responses((status = 200, description = "by seq, then instance", body = DeadLettersBody)))]
pub(crate) async fn dead_letters(
    State(shared): State<Shared>,
    Id(meeting): Id,
    params: Params,
) -> Result<Json<DeadLettersBody>, Problem> {
    params.end()?;
    match admin::handle(&shared.node, Request::DeadLetters { meeting }).await? {
        Response::DeadLetters { letters } => Ok(Json(DeadLettersBody { letters })),
        other => Err(Problem::unexpected(&other)),
    }
}

/// Delivers dead letters again: all of them, or those of a body such as `{"instance": "minutes", "seqs": [7]}`.
#[utoipa::path(post, path = "/v1/meetings/{meeting}/dead-letters", tag = "instances", operation_id = "redrive",
    params(("meeting" = String, Path)),
    request_body(content = Option<Object>),
    responses((status = 200, description = "they are done", body = RedrivenBody)))]
pub(crate) async fn redrive(
    State(shared): State<Shared>,
    Id(meeting): Id,
    params: Params,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Json<RedrivenBody>, Problem> {
    params.end()?;
    let which: Redrive = read_or_default(&headers, &body)?;
    match admin::handle(&shared.node, Request::Redrive { meeting, which }).await? {
        Response::Redriven { count } => Ok(Json(RedrivenBody { count })),
        other => Err(Problem::unexpected(&other)),
    }
}

/// How long a token holds.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TokenWish {
    /// For so many seconds, up to a day.
    #[schema(value_type = u32, minimum = 1, maximum = 86400)]
    seconds: f64,
}

impl Default for TokenWish {
    fn default() -> Self {
        Self { seconds: 600.0 }
    }
}

/// Makes a token with which a browser can read this meeting for a short time.
#[utoipa::path(post, path = "/v1/meetings/{meeting}/tokens", tag = "meetings", operation_id = "makeToken",
    params(("meeting" = String, Path)),
    request_body(content = Option<TokenWish>),
    responses((status = 201, description = "the token", body = TokenBody)))]
pub(crate) async fn token(
    State(shared): State<Shared>,
    caller: Caller,
    Id(meeting): Id,
    params: Params,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<(StatusCode, Json<TokenBody>), Problem> {
    params.end()?;
    let wish: TokenWish = read_or_default(&headers, &body)?;
    if !(1.0..=86_400.0).contains(&wish.seconds) {
        let title = format!("seconds is {}, but takes 1 to 86400", wish.seconds);
        return Err(Problem::malformed(title).with_status(StatusCode::UNPROCESSABLE_ENTITY));
    }
    let Some(access) = caller.access() else {
        let title = "without keys nobody needs a token; `teammy key create` makes a key";
        return Err(Problem::new(ErrorClass::new("no-keys", ErrorKind::Conflict), title));
    };
    // To make a token for a meeting that is not there yet would be of no use to anybody.
    shown(&shared.node, &meeting, &caller).await?;
    let expires = Timestamp::now() + Duration::from_secs_f64(wish.seconds);
    let token = shared.node.keys().token(&access.key, &meeting, expires)?;
    Ok((StatusCode::CREATED, Json(TokenBody { token, expires })))
}
