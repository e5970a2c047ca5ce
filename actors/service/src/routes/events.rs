//! A meeting's packets as server-sent events, from a place on.

use std::{convert::Infallible, sync::Arc, time::Duration};

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
use teammy_kernel::{DataPacket, Name, Seq, chain};
use teammy_runtime::Packets;

use crate::{
    params::{Meeting, Params},
    problem::Problem,
    shared::{Shared, Stop},
};

/// A silent stream says so often that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Packets after `Last-Event-ID` or the parameter `after`. The header counts, because a browser sends it when it comes back.
pub(super) async fn events(
    State(shared): State<Shared>,
    Meeting(meeting): Meeting,
    mut params: Params,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let after = params.seq("after")?;
    let sources = params.sources()?;
    let outputs_only = params.flag("outputs")?;
    params.end()?;
    let after = last_event(&headers)?.or(after).unwrap_or(Seq::ZERO);
    let packets = if outputs_only { meeting.outputs_after(after) } else { meeting.packets_after(after) };
    let events = as_events(packets, sources, shared.stop.clone());
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

fn last_event(headers: &HeaderMap) -> Result<Option<Seq>, Problem> {
    let Some(last) = headers.get("last-event-id") else { return Ok(None) };
    let seq = last.to_str().ok().and_then(|last| last.parse().ok());
    let problem = || Problem::malformed(format!("Last-Event-ID is {last:?}; send back the id of an event"));
    seq.map(|seq| Some(Seq(seq))).ok_or_else(problem)
}

/// Each packet is an event with its seq as the id. The last event says why the stream ends: `end` (the meeting has ended),
/// `again` (the node stops; come back with the last id) or `error`.
fn as_events(
    packets: Packets,
    sources: Option<Vec<Name>>,
    stop: Stop,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let is_wanted =
        move |packet: &DataPacket| sources.as_ref().is_none_or(|sources| sources.contains(&packet.source));
    // None once the last event was given.
    stream::unfold(Some((packets, stop, is_wanted)), |state| async move {
        let (mut packets, stop, is_wanted) = state?;
        let last = |name: &str, data: &Value| Event::default().event(name).data(data.to_string());
        loop {
            let item = tokio::select! {
                item = packets.next() => item,
                () = stop.stopping() => break Some((Ok(last("again", &json!({}))), None)),
            };
            match item {
                Some(Ok(packet)) if is_wanted(&packet) => {
                    break Some((Ok(packet_event(&packet)), Some((packets, stop, is_wanted))));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => break Some((Ok(last("error", &json!({"title": chain(&error)}))), None)),
                None => break Some((Ok(last("end", &json!({}))), None)),
            }
        }
    })
}

fn packet_event(packet: &Arc<DataPacket>) -> Event {
    let event = Event::default().id(packet.seq.to_string());
    let failed = |error: axum::Error| Event::default().event("error").data(chain(&error));
    event.json_data(packet).unwrap_or_else(failed)
}
