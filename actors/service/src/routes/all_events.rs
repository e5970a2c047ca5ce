//! All meetings of a key in one stream of events: what a backend reads that was away for a while.
//!
//! The reader keeps a seq for each meeting, and comes back with all of them. There is no order between meetings.

mod outlet;
mod place;
mod reading;
mod source;

use std::collections::BTreeMap;

use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{KeepAlive, Sse},
    },
};
use serde::Deserialize;
use teammy_kernel::{Name, Timestamp};
use teammy_runtime::meeting::ReadBudget;
use utoipa::ToSchema;

use super::{
    events::{HEARTBEAT, until_stopped},
    meetings::read_or_default,
};
use crate::{
    access::Caller,
    feed::{Wanted, check_sources},
    params::{Params, Whole},
    problem::Problem,
    shared::Shared,
};
use outlet::Outlet;
use place::Place;
use reading::Reading;
use source::Source;

/// What to read of all meetings.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AllWanted {
    /// The place of the last packet that was read, by meeting: what its event's id has after the colon. A meeting without one is
    /// read from its start.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    after: BTreeMap<String, String>,
    /// Also meetings that have ended, if they were created at this time or later. Without it, of those only the ones in
    /// `after`.
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Only these sources.
    #[schema(value_type = Option<Vec<String>>)]
    sources: Option<Vec<Name>>,
    /// Only what plugins put out.
    outputs: bool,
    /// Only meetings with these labels.
    labels: BTreeMap<String, String>,
}

/// Follows all meetings of the key. The parameters say the same as the body of a POST.
#[utoipa::path(get, path = "/v1/events", tag = "packets", operation_id = "allEvents",
    params(("after" = Option<Vec<String>>, Query, explode = true, description = "the last event's id of each meeting that was read before"),
        ("since" = Option<String>, Query, description = "also meetings that have ended, if they were created at this time or later"),
        ("sources" = Option<String>, Query, description = "only these sources, with commas between them"),
        ("label" = Option<Vec<String>>, Query, explode = true, description = "`KEY:VALUE`"),
        ("outputs" = Option<bool>, Query, description = "only what plugins put out")),
    responses((status = 200, description = "events, whose data is a packet", body = String, content_type = "text/event-stream")))]
pub(crate) async fn get(
    State(shared): State<Shared>,
    caller: Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let mut wanted = AllWanted::default();
    for after in params.all("after") {
        let Some((meeting, place)) = after.rsplit_once(':') else {
            let title =
                format!("the parameter after is {after:?}; give the id of an event, MEETING:SEQ.CREATED");
            return Err(Problem::malformed(title));
        };
        wanted.after.insert(meeting.to_owned(), place.to_owned());
    }
    wanted.since = params.one("since", "a time, such as 2026-01-05T09:00:00Z")?;
    wanted.sources = params.sources()?;
    wanted.outputs = params.flag("outputs")?;
    wanted.labels = params.labels()?;
    params.end()?;
    all_events(shared, caller, wanted).await
}

/// Follows all meetings of the key, with a body that may name many of them. Each event's id is `MEETING:SEQ.CREATED`, and the
/// data is the packet; `end`, `gap`, `reset` and `error` say which `meeting`. The stream ends with `again` when the node stops.
#[utoipa::path(post, path = "/v1/events", tag = "packets", operation_id = "allEventsFrom",
    request_body(content = Option<AllWanted>),
    responses((status = 200, description = "events, whose data is a packet", body = String, content_type = "text/event-stream")))]
pub(crate) async fn post(
    State(shared): State<Shared>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    Whole(body): Whole,
) -> Result<Response, Problem> {
    params.end()?;
    let wanted: AllWanted = read_or_default(&headers, &body)?;
    all_events(shared, caller, wanted).await
}

async fn all_events(shared: Shared, caller: Caller, wanted: AllWanted) -> Result<Response, Problem> {
    let slot = shared.quotas.stream(&caller)?;
    let AllWanted { after, since, sources, outputs, mut labels } = wanted;
    let mut places = BTreeMap::new();
    for (meeting, place) in after {
        let problem = || {
            Problem::malformed(format!(
                "{place:?} of meeting {meeting} is no place, such as 65541.1767603600000000"
            ))
        };
        places.insert(caller.inner(&meeting)?, Place::parse(&place).ok_or_else(problem)?);
    }
    if let Some(sources) = &sources {
        // Checked before the answer begins.
        check_sources(shared.node.graph(), sources)?;
    }
    if let Some(tenant) = caller.tenant() {
        labels.insert(shared.node.tenant_label().to_owned(), tenant.to_owned());
    }
    // For stored packets that were read, for others that wait to be read, and for events.
    let buffer_bytes = shared.settings.service.buffer_bytes.as_usize();
    let third = buffer_bytes / 3;
    let wanted =
        Wanted { sources, outputs_only: outputs, buffer_bytes, budget: Some(ReadBudget::new(third)) };
    let source = Source { shared: shared.clone(), caller: caller.clone(), wanted, labels, since };
    let reading = Reading::new(source, places).await?;
    let (outlet, events) = Outlet::new(third);
    // It ends when the reader is gone: then nothing takes its events.
    tokio::spawn(async move {
        tokio::select! {
            () = reading.run(&outlet) => {}
            () = outlet.closed() => {}
        }
    });
    let events = until_stopped(events, shared, caller, slot);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response())
}
