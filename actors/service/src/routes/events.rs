//! A meeting's packets as server-sent events, from a place on.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use teammy_kernel::{DataPacket, Seq, chain};
use tokio::time::Duration;

use crate::{
    access::Caller,
    feed::{Item, Wanted, follow},
    limits::Slot,
    params::{Meeting, Params},
    problem::Problem,
    shared::Shared,
};

/// A silent stream says so often that it is alive.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);

/// Follows the meeting: each packet after `Last-Event-ID`, or the parameter `after`, is an event with its seq as the id. The
/// header counts, because a browser sends it when it comes back. `gap` says how many packets of sources that are not stored
/// were dropped; the last event says why the stream ends: `end`, `again` (come back with the last id) or `error`.
#[utoipa::path(get, path = "/v1/meetings/{meeting}/events", tag = "packets", operation_id = "events",
    params(("meeting" = String, Path),
        ("Last-Event-ID" = Option<String>, Header, description = "the id of the last event that was read"),
        ("after" = Option<String>, Query, description = "only packets after this seq"),
        ("sources" = Option<String>, Query, description = "only these sources, with commas between them; also those that are not stored"),
        ("outputs" = Option<bool>, Query, description = "only what plugins put out")),
    responses((status = 200, description = "events, whose data is a packet", body = String, content_type = "text/event-stream")))]
pub(crate) async fn events(
    State(shared): State<Shared>,
    caller: Caller,
    Meeting(meeting): Meeting,
    mut params: Params,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let after = params.seq("after")?;
    let sources = params.sources()?;
    let outputs_only = params.flag("outputs")?;
    params.end()?;
    let slot = shared.quotas.stream(&caller)?;
    let after = last_event(&headers)?.or(after).unwrap_or(Seq::ZERO);
    let buffer_bytes = shared.settings.service.buffer_bytes.as_usize();
    let wanted = Wanted { sources, outputs_only, buffer_bytes, budget: None };
    let items = follow(&shared.node, &meeting, after, wanted, caller.clone()).await?;
    let events = items.map(|item| {
        let is_last = matches!(item, Item::End | Item::Broken(_));
        (as_event(item), is_last)
    });
    Ok(Sse::new(until_stopped(events, shared, caller, slot)).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

fn last_event(headers: &HeaderMap) -> Result<Option<Seq>, Problem> {
    let Some(last) = headers.get("last-event-id") else { return Ok(None) };
    let seq = last.to_str().ok().and_then(|last| last.parse().ok());
    let problem = || Problem::malformed(format!("Last-Event-ID is {last:?}; send back the id of an event"));
    seq.map(|seq| Some(Seq(seq))).ok_or_else(problem)
}

/// Events, each with whether it is the last one, until the node stops or the key ends.
pub(super) fn until_stopped(
    events: impl Stream<Item = (Event, bool)> + Send + 'static,
    shared: Shared,
    caller: Caller,
    slot: Slot<String>,
) -> impl Stream<Item = Result<Event, Infallible>> + Send + 'static {
    let stop = {
        let shared = shared.clone();
        async move { shared.stop.stopping().await }
    };
    let over = async move { shared.over(&caller).await };
    let state = (Box::pin(events), Box::pin(stop), Box::pin(over), slot);
    // None once the last event was given.
    stream::unfold(Some(state), |state| async move {
        let (mut events, mut stop, mut over, slot) = state?;
        tokio::select! {
            event = events.next() => {
                let (event, is_last) = event?;
                Some((Ok(event), (!is_last).then_some((events, stop, over, slot))))
            }
            () = &mut stop => Some((Ok(named("again", &json!({}))), None)),
            () = &mut over => Some((Ok(named("error", &json!(Problem::key_ended()))), None)),
        }
    })
}

pub(super) fn named(name: &str, data: &Value) -> Event {
    Event::default().event(name).data(data.to_string())
}

fn as_event(item: Item) -> Event {
    match item {
        Item::Packet { packet, is_stored } => {
            let id = is_stored.then(|| packet.seq.to_string());
            packet_event(&packet, id)
        }
        Item::Gap(packets) => named("gap", &json!({"packets": packets})),
        Item::End => named("end", &json!({})),
        Item::Broken(title) => named("error", &json!({"title": title})),
    }
}

/// A packet as an event. One that the reader cannot come back to has no id.
pub(super) fn packet_event(packet: &Arc<DataPacket>, id: Option<String>) -> Event {
    let event = id.map_or_else(Event::default, |id| Event::default().id(id));
    let failed = |error: axum::Error| Event::default().event("error").data(chain(&error));
    event.json_data(packet).unwrap_or_else(failed)
}
