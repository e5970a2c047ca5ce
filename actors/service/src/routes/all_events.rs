//! All meetings of a key in one stream of events: what a backend reads that was away for a while.
//!
//! The reader keeps a seq for each meeting, and comes back with all of them. There is no order between meetings.

use std::collections::{BTreeMap, HashMap, HashSet};

use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{StreamExt, stream::SelectAll};
use serde::Deserialize;
use serde_json::json;
use teammy_kernel::{
    MeetingId, Name, Seq, Timestamp,
    store::{MeetingQuery, MeetingRecord},
};
use teammy_runtime::{Node, node};
use tokio::{
    sync::mpsc,
    time::{Duration, Instant, MissedTickBehavior},
};
use utoipa::ToSchema;

use super::{
    events::{HEARTBEAT, named, packet_event, until_stopped},
    meetings::read_or_default,
};
use crate::{
    access::Caller,
    feed::{Item, Wanted, follow},
    params::{Params, Whole},
    problem::Problem,
    shared::Shared,
};

/// The most meetings of one stream.
const MOST: usize = 10_000;

/// How often it looks for meetings that were opened meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The store is listed at each so many looks.
const LIST_EACH: u32 = 8;

/// How far nodes' clocks may differ.
const OVERLAP: Duration = Duration::from_mins(1);

/// The first and the longest time until a meeting that could not be read is tried again.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How many events wait for a reader.
const WAITING: usize = 64;

/// What to read of all meetings.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AllWanted {
    /// The last seq that was read, by meeting. A meeting without one is read from its start.
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
    params(("after" = Option<Vec<String>>, Query, explode = true, description = "`MEETING:SEQ`, for each meeting that was read before"),
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
        let Some((meeting, seq)) = after.rsplit_once(':') else {
            return Err(Problem::malformed(format!("the parameter after is {after:?}; give MEETING:SEQ")));
        };
        wanted.after.insert(meeting.to_owned(), seq.to_owned());
    }
    wanted.since = params.one("since", "a time, such as 2026-01-05T09:00:00Z")?;
    wanted.sources = params.sources()?;
    wanted.outputs = params.flag("outputs")?;
    wanted.labels = params.labels()?;
    params.end()?;
    all_events(shared, caller, wanted).await
}

/// Follows all meetings of the key, with a body that may name many of them. Each event's id is `MEETING:SEQ`, and the data is
/// the packet; `end`, `gap` and `error` say which `meeting`. The stream ends with `again` when the node stops.
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

/// Which meetings of the caller are read, and from where.
struct Reading {
    shared: Shared,
    caller: Caller,
    wanted: Wanted,
    labels: BTreeMap<String, String>,
    after: BTreeMap<MeetingId, Seq>,
    since: Option<Timestamp>,
    /// Those that are read now.
    known: HashSet<MeetingId>,
    /// Those that were read to their end, as long as a look may find them.
    finished: HashSet<MeetingId>,
    /// Those that could not be read, and when they are tried again.
    failed: HashMap<MeetingId, Failed>,
    /// Meetings that were created after this time may not have been seen.
    looked: Timestamp,
}

/// When a meeting that could not be read is tried again.
#[derive(Clone, Copy)]
struct Failed {
    at: Instant,
    wait: Duration,
}

async fn all_events(shared: Shared, caller: Caller, wanted: AllWanted) -> Result<Response, Problem> {
    let slot = shared.quotas.stream(&caller)?;
    let AllWanted { after, since, sources, outputs, mut labels } = wanted;
    let mut cursors = BTreeMap::new();
    for (meeting, seq) in after {
        let problem = || Problem::malformed(format!("{seq:?} of meeting {meeting} is no seq, such as 65541"));
        cursors.insert(caller.inner(&meeting)?, Seq(seq.parse().map_err(|_| problem())?));
    }
    if let Some(sources) = &sources {
        // Checked before the answer begins.
        for name in sources {
            if shared.node.graph().source(name.as_str()).is_none() {
                let problem = Problem::malformed(format!("there is no source {name}"));
                return Err(problem.with_status(axum::http::StatusCode::UNPROCESSABLE_ENTITY));
            }
        }
    }
    if let Some(tenant) = caller.tenant() {
        labels.insert(shared.node.tenant_label().to_owned(), tenant.to_owned());
    }
    let buffer_bytes = shared.settings.service.buffer_bytes.as_usize();
    let mut reading = Reading {
        shared: shared.clone(),
        caller: caller.clone(),
        wanted: Wanted { sources, outputs_only: outputs, buffer_bytes },
        labels,
        after: cursors,
        since,
        known: HashSet::new(),
        finished: HashSet::new(),
        failed: HashMap::new(),
        looked: Timestamp::now(),
    };
    let first = reading.first().await?;
    let (events, waiting) = mpsc::channel(WAITING);
    // It ends when the reader is gone: then nothing takes its events.
    tokio::spawn(async move {
        tokio::select! {
            () = reading.run(first, &events) => {}
            () = events.closed() => {}
        }
    });
    let waiting = futures::stream::unfold(waiting, |mut waiting| async move {
        let event: (Event, bool) = waiting.recv().await?;
        Some((event, waiting))
    });
    let events = until_stopped(waiting, shared, caller, slot);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response())
}

type Feed = futures::stream::BoxStream<'static, (MeetingId, Item)>;

impl Reading {
    /// The meetings to begin with: those that have not ended, those since a time, and those that were read before.
    async fn first(&mut self) -> Result<Vec<MeetingId>, Problem> {
        let mut ids: Vec<MeetingId> = self.after.keys().cloned().collect();
        ids.extend(self.listed(MeetingQuery::open()).await?);
        if let Some(since) = self.since {
            ids.extend(self.listed(MeetingQuery::default().from(since)).await?);
        }
        let mut seen = HashSet::new();
        ids.retain(|id| seen.insert(id.clone()));
        if ids.len() > MOST {
            let title = format!(
                "{} meetings are more than the {MOST} of one stream; ask for fewer, by label",
                ids.len()
            );
            return Err(Problem::malformed(title).with_status(axum::http::StatusCode::UNPROCESSABLE_ENTITY));
        }
        Ok(ids)
    }

    async fn listed(&self, mut query: MeetingQuery) -> Result<Vec<MeetingId>, Problem> {
        query.labels = self.labels.clone();
        query.limit = MeetingQuery::MAX_LIMIT;
        let mut ids = Vec::new();
        loop {
            let page = self.shared.node.store().meetings(query.clone()).await.map_err(node::Error::Store)?;
            let is_own = |row: &MeetingRecord| self.caller.outer(&row.metadata.id).is_some();
            ids.extend(page.meetings.into_iter().filter(is_own).map(|row| row.metadata.id));
            query.after = match page.next {
                Some(next) if ids.len() <= MOST => Some(next),
                _ => return Ok(ids),
            };
        }
    }

    async fn run(mut self, first: Vec<MeetingId>, events: &mpsc::Sender<(Event, bool)>) {
        let mut feeds: SelectAll<Feed> = SelectAll::new();
        let mut ticks = tokio::time::interval(LOOK_AGAIN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for id in first {
            self.add(id, &mut feeds, events).await;
        }
        for look in 1_u32.. {
            // Until the next look.
            loop {
                tokio::select! {
                    Some((id, item)) = feeds.next() => {
                        if events.send((self.event(&id, item), false)).await.is_err() {
                            return;
                        }
                    }
                    _ = ticks.tick() => break,
                }
            }
            for id in self.look(look.is_multiple_of(LIST_EACH)).await {
                if self.known.len() >= MOST {
                    let data = json!({"title": format!("{MOST} meetings are the most of one stream"), "code": "too-many-meetings"});
                    let _ = events.send((named("error", &data), true)).await;
                    return;
                }
                self.add(id, &mut feeds, events).await;
            }
        }
    }

    /// Meetings to read from now on: that this node runs, that were created since the last look, or that could not be read
    /// before. The store is listed for those that began and ended between two looks, and less often.
    async fn look(&mut self, lists: bool) -> Vec<MeetingId> {
        let is_wanted = |meeting: &teammy_runtime::MeetingRef| {
            let labels = &meeting.metadata().labels;
            self.caller.outer(meeting.id()).is_some()
                && self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
        };
        let running = self.shared.node.meetings().into_iter().filter(is_wanted);
        let mut found: HashSet<MeetingId> = running.map(|meeting| meeting.id().clone()).collect();
        if lists {
            let now = Timestamp::now();
            // Nodes' clocks differ a little.
            let since = self.looked.checked_sub(OVERLAP).unwrap_or(self.looked);
            if let Ok(listed) = self.listed(MeetingQuery::default().from(since)).await {
                found.extend(listed);
                self.looked = now;
                self.finished.retain(|id| found.contains(id));
            }
        }
        let now = Instant::now();
        found.extend(self.failed.keys().cloned());
        let is_new = |id: &MeetingId| {
            let is_due = self.failed.get(id).is_none_or(|failed| failed.at <= now);
            is_due && !self.known.contains(id) && !self.finished.contains(id)
        };
        found.into_iter().filter(is_new).collect()
    }

    async fn add(
        &mut self,
        id: MeetingId,
        feeds: &mut SelectAll<Feed>,
        events: &mpsc::Sender<(Event, bool)>,
    ) {
        let after = self.after.get(&id).copied().unwrap_or(Seq::ZERO);
        let opened = async {
            let meeting = Node::find_meeting(&self.shared.node, &id).await?;
            follow(&self.shared.node, &meeting, after, self.wanted.clone(), self.caller.clone()).await
        };
        match opened.await {
            Ok(items) => {
                self.known.insert(id.clone());
                feeds.push(items.map(move |item| (id.clone(), item)).boxed());
            }
            Err(problem) => {
                let is_first = !self.failed.contains_key(&id);
                if problem.is_not_found() {
                    self.failed.remove(&id);
                    self.finished.insert(id.clone());
                } else {
                    self.fail(&id);
                }
                if is_first {
                    let problem = self.shared.shown(problem, &self.caller);
                    let data = json!({"meeting": self.caller.outer(&id), "problem": problem});
                    let _ = events.send((named("error", &data), false)).await;
                }
            }
        }
    }

    /// A meeting cannot be read now: it is tried again, later each time.
    fn fail(&mut self, id: &MeetingId) {
        let wait = self.failed.get(id).map_or(FIRST_WAIT, |failed| (failed.wait * 2).min(LONGEST_WAIT));
        self.failed.insert(id.clone(), Failed { at: Instant::now() + wait, wait });
    }

    fn event(&mut self, id: &MeetingId, item: Item) -> Event {
        let outer = self.caller.outer(id).unwrap_or_default();
        match item {
            Item::Packet { packet, is_stored } => {
                self.failed.remove(id);
                if is_stored {
                    self.after.insert(id.clone(), packet.seq);
                }
                packet_event(&packet, is_stored.then(|| format!("{outer}:{}", packet.seq)))
            }
            Item::Gap(packets) => named("gap", &json!({"meeting": outer, "packets": packets})),
            Item::End => {
                let event = named("end", &json!({"meeting": outer}));
                self.known.remove(id);
                self.failed.remove(id);
                self.finished.insert(id.clone());
                event
            }
            Item::Broken(title) => {
                let event = named("error", &json!({"meeting": outer, "title": title}));
                self.known.remove(id);
                self.fail(id);
                event
            }
        }
    }
}
