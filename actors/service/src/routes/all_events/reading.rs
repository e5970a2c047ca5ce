//! Which meetings a stream of all of them reads, from where, and how many at once.
//!
//! Meetings that run here are all followed: one that has nothing new is a cursor. Of the others, which have ended, a few are
//! open at a time, and the rest are ids in a queue. What all of them hold is bounded together, by [`ReadBudget`].
//!
//! The node [tells](teammy_runtime::node::Beginnings) of each meeting that begins to run here: a new one, one that was forgotten
//! and is opened again, and one that is reopened for a redrive. What happens on other nodes is looked for in the store.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque, hash_map::Entry},
    sync::Arc,
};

use futures::{
    FutureExt, StreamExt,
    stream::{BoxStream, SelectAll},
};
use serde_json::{Value, json};
use teammy_kernel::{
    MeetingId, Seq, Timestamp,
    store::{MeetingQuery, MeetingStatus},
};
use teammy_runtime::{
    meeting::ReadBudget,
    node::{Beginning, Beginnings},
};
use tokio::time::{Duration, Instant, MissedTickBehavior, interval_at};

use super::{
    outlet::{Out, Outlet},
    place::{Created, Place, created},
    source::{MOST, Source, Step},
};
use crate::{
    feed::Item,
    problem::Problem,
    routes::events::{named, packet_event},
};

/// How many meetings that do not run here are open at a time.
const OLD_AT_ONCE: usize = 2 * ReadBudget::TURNS;

/// How often meetings that could not be read are looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The store is looked at each so many looks.
const LIST_EACH: u32 = 2;

/// Of how many meetings that have ended a look at the store reads the row.
const REVISITED: usize = 16;

/// How far nodes' clocks may differ.
const OVERLAP: Duration = Duration::from_mins(1);

/// The first and the longest time until a meeting that could not be read is tried again.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// About how many bytes an event takes beside its packet.
const ENVELOPE: usize = 256;

/// What a stream reads now.
pub(super) struct Reading {
    source: Arc<Source>,
    beginnings: Beginnings,
    feeds: SelectAll<BoxStream<'static, (MeetingId, Step)>>,
    meetings: HashMap<MeetingId, Known>,
    /// Those that are to be opened.
    waiting: VecDeque<MeetingId>,
    /// How many are open that did not run here.
    old: usize,
    /// Those that could not be read.
    failed: HashSet<MeetingId>,
    /// Those that were read to their end, the first one first.
    ended: VecDeque<MeetingId>,
    /// How many of those were revisited.
    revisited: usize,
    /// A meeting that is not known and was created up to here is none of this stream.
    horizon: Created,
    /// Meetings that were created after this time may not have been seen.
    looked: Timestamp,
}

/// A meeting of the stream.
struct Known {
    place: Place,
    state: State,
    /// Whether it is not yet known to be one of the stream's.
    is_guess: bool,
    /// Whether it began to run again after it was opened.
    begins_again: bool,
    /// Whether something came after its last `end`.
    has_news: bool,
    /// The last seq that it had when it was opened after its end.
    last: Option<Seq>,
    /// How long it was left alone after it could not be read.
    wait: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Open { is_old: bool },
    Failed { until: Instant },
    Ended,
}

impl Known {
    fn at(place: Place) -> Self {
        Self {
            place,
            state: State::Waiting,
            is_guess: false,
            begins_again: false,
            has_news: true,
            last: None,
            wait: None,
        }
    }
}

fn event(name: &str, data: &Value) -> Out {
    Out { event: named(name, data), bytes: ENVELOPE, is_last: false }
}

/// The stream has as many meetings as it can.
fn too_many() -> Out {
    let title = format!("{MOST} meetings are the most of one stream");
    Out { is_last: true, ..event("error", &json!({"title": title, "code": "too-many-meetings"})) }
}

impl Reading {
    /// Begins with the meetings that have not ended, those since a time, and those that were read before.
    pub(super) async fn new(source: Source, places: BTreeMap<MeetingId, Place>) -> Result<Self, Problem> {
        let looked = Timestamp::now();
        let mut reading = Self {
            // Before the listing, so that none is missed between the two.
            beginnings: source.shared.node.beginnings(),
            source: Arc::new(source),
            feeds: SelectAll::new(),
            meetings: HashMap::new(),
            waiting: VecDeque::new(),
            old: 0,
            failed: HashSet::new(),
            ended: VecDeque::new(),
            revisited: 0,
            horizon: created(looked.checked_sub(OVERLAP).unwrap_or(looked)),
            looked,
        };
        let mut rows = reading.source.listed(MeetingQuery::open()).await?;
        if let Some(since) = reading.source.since {
            rows.extend(reading.source.listed(MeetingQuery::default().from(since)).await?);
        }
        let listed = rows.into_iter().map(|row| (row.metadata.id, Place::default()));
        for (id, place) in places.into_iter().chain(listed) {
            if let Entry::Vacant(entry) = reading.meetings.entry(id.clone()) {
                entry.insert(Known::at(place));
                reading.waiting.push_back(id);
            }
        }
        let count = reading.meetings.len();
        if count > MOST {
            let title =
                format!("{count} meetings are more than the {MOST} of one stream; ask for fewer, by label");
            return Err(Problem::malformed(title).with_status(axum::http::StatusCode::UNPROCESSABLE_ENTITY));
        }
        let (runs, old) = reading.waiting.drain(..).partition(|id| reading.source.runs(id));
        reading.waiting = old;
        let runs: VecDeque<MeetingId> = runs;
        for id in runs {
            reading.open(&id, false);
        }
        Ok(reading)
    }

    /// Reads until the reader is gone, or the stream is over.
    pub(super) async fn run(mut self, outlet: &Outlet) {
        let mut ticks = interval_at(Instant::now() + LOOK_AGAIN, LOOK_AGAIN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = 0_u32;
        loop {
            self.open_old();
            let out = tokio::select! {
                Some((id, step)) = self.feeds.next() => self.take(&id, step),
                Some(beginning) = self.beginnings.next() => self.began(beginning),
                _ = ticks.tick() => {
                    looks = looks.wrapping_add(1);
                    self.look(looks.is_multiple_of(LIST_EACH)).await
                }
            };
            let Some(out) = out else { continue };
            let is_last = out.is_last;
            if !outlet.send(out).await || is_last {
                return;
            }
        }
    }

    /// Opens meetings that do not run here, as long as there are few.
    fn open_old(&mut self) {
        while self.old < OLD_AT_ONCE
            && let Some(id) = self.waiting.pop_front()
        {
            let is_old = !self.source.runs(&id);
            self.open(&id, is_old);
        }
    }

    fn open(&mut self, id: &MeetingId, is_old: bool) {
        let Some(known) = self.meetings.get_mut(id) else { return };
        self.old += usize::from(is_old);
        known.state = State::Open { is_old };
        known.begins_again = false;
        let horizon = known.is_guess.then_some(self.horizon);
        let steps = self.source.clone().open(id.clone(), known.place, horizon).into_stream().flatten();
        let id = id.clone();
        self.feeds.push(steps.map(move |step| (id.clone(), step)).boxed());
    }

    /// One that is not open is to be opened: at once if it runs here, else in its turn.
    fn open_soon(&mut self, id: &MeetingId) {
        let Some(known) = self.meetings.get_mut(id) else { return };
        match known.state {
            State::Waiting | State::Open { .. } => return,
            State::Failed { .. } => {
                self.failed.remove(id);
            }
            State::Ended => self.ended.retain(|other| other != id),
        }
        known.state = State::Waiting;
        self.enqueue(id);
    }

    fn enqueue(&mut self, id: &MeetingId) {
        if self.source.runs(id) {
            self.open(id, false);
        } else {
            self.waiting.push_back(id.clone());
        }
    }

    /// A meeting that was found: it is read unless it is known. A guess is checked once it is opened.
    fn found(&mut self, id: &MeetingId, is_guess: bool) -> Option<Out> {
        if self.meetings.contains_key(id) {
            return None;
        }
        if self.meetings.len() - self.ended.len() >= MOST {
            return Some(too_many());
        }
        self.meetings.insert(id.clone(), Known { is_guess, ..Known::at(Place::default()) });
        self.enqueue(id);
        None
    }

    fn began(&mut self, beginning: Beginning) -> Option<Out> {
        let ids = if let Beginning::Of(id) = beginning {
            vec![id]
        } else {
            // It may be any: one that runs now, or one that has ended again.
            let running = self.source.shared.node.meetings();
            let running = running.iter().map(|meeting| meeting.id().clone());
            running.chain(self.ended.iter().cloned()).collect()
        };
        for id in ids {
            if self.source.caller.outer(&id).is_none() {
                continue;
            }
            match self.meetings.get_mut(&id) {
                Some(known) if matches!(known.state, State::Open { .. }) => known.begins_again = true,
                Some(_) => self.open_soon(&id),
                None => {
                    if let Some(out) = self.found(&id, true) {
                        return Some(out);
                    }
                }
            }
        }
        None
    }

    /// Looks for what nobody tells of: meetings that could not be read, and with `lists` those of other nodes.
    async fn look(&mut self, lists: bool) -> Option<Out> {
        let now = Instant::now();
        let is_due = |id: &&MeetingId| match self.meetings.get(*id).map(|known| known.state) {
            Some(State::Failed { until }) => until <= now,
            _ => true,
        };
        let due: Vec<MeetingId> = self.failed.iter().filter(is_due).cloned().collect();
        for id in due {
            self.open_soon(&id);
        }
        if !lists {
            return None;
        }
        self.revisit().await;
        let now = Timestamp::now();
        // Nodes' clocks differ a little.
        let since = self.looked.checked_sub(OVERLAP).unwrap_or(self.looked);
        let Ok(listed) = self.source.listed(MeetingQuery::default().from(since)).await else { return None };
        self.looked = now;
        for row in listed {
            if row.created.is_some_and(|at| created(at) > self.horizon)
                && let Some(out) = self.found(&row.metadata.id, false)
            {
                return Some(out);
            }
        }
        None
    }

    /// Looks at some of the meetings that have ended: another node may have redriven or replaced them.
    async fn revisit(&mut self) {
        let some = self.ended.iter().cycle().skip(self.revisited).take(REVISITED.min(self.ended.len()));
        let some: Vec<MeetingId> = some.cloned().collect();
        self.revisited = (self.revisited + some.len()).checked_rem(self.ended.len()).unwrap_or(0);
        for id in some {
            let Ok(Some(row)) = self.source.shared.node.store().meeting(id.clone()).await else { continue };
            let Some(known) = self.meetings.get(&id) else { continue };
            let is_other = known.place.created != row.created.map(created);
            let is_longer = row.status == MeetingStatus::Ended && known.last != Some(row.last);
            if is_other || is_longer {
                self.open_soon(&id);
            }
        }
    }

    /// Takes what came of a meeting, and returns what the reader is told.
    fn take(&mut self, id: &MeetingId, step: Step) -> Option<Out> {
        let source = self.source.clone();
        let outer = source.caller.outer(id).unwrap_or_default();
        let known = self.meetings.get_mut(id)?;
        match step {
            Step::Opened { created, last, is_other } => {
                (known.place.created, known.last, known.is_guess) = (created, last, false);
                if !is_other {
                    return None;
                }
                (known.place.seq, known.has_news) = (Seq::ZERO, true);
                Some(event("reset", &json!({"meeting": outer})))
            }
            Step::Item(Item::Packet { packet, is_stored }) => {
                (known.wait, known.has_news) = (None, true);
                if is_stored {
                    known.place.seq = packet.seq;
                }
                let bytes = packet.cost() / 3 * 4 + ENVELOPE;
                let place = is_stored.then(|| format!("{outer}:{}", known.place));
                Some(Out { event: packet_event(&packet, place), bytes, is_last: false })
            }
            Step::Item(Item::Gap(packets)) => {
                Some(event("gap", &json!({"meeting": outer, "packets": packets})))
            }
            Step::Item(Item::End) => {
                known.wait = None;
                let has_news = std::mem::take(&mut known.has_news);
                self.closed(id, State::Ended);
                has_news.then(|| event("end", &json!({"meeting": outer})))
            }
            Step::Item(Item::Broken(title)) => {
                let state = known.failed();
                self.closed(id, state);
                Some(event("error", &json!({"meeting": outer, "title": title})))
            }
            Step::Unwanted => {
                self.closed(id, State::Waiting);
                self.meetings.remove(id);
                None
            }
            Step::Failed(problem) => {
                let is_first = known.wait.is_none();
                let state = if problem.is_not_found() { State::Ended } else { known.failed() };
                let is_guess = known.is_guess;
                self.closed(id, state);
                let problem = source.shared.shown(problem, &source.caller);
                // Of one that may be none of the stream's nothing is said.
                (is_first && !is_guess)
                    .then(|| event("error", &json!({"meeting": outer, "problem": problem})))
            }
        }
    }

    /// A meeting is not read any more, for now.
    fn closed(&mut self, id: &MeetingId, state: State) {
        let Some(known) = self.meetings.get_mut(id) else { return };
        if known.state == (State::Open { is_old: true }) {
            self.old -= 1;
        }
        known.state = state;
        match state {
            State::Ended => self.ended.push_back(id.clone()),
            State::Failed { .. } => drop(self.failed.insert(id.clone())),
            _ => return,
        }
        if std::mem::take(&mut known.begins_again) {
            self.open_soon(id);
        }
        if self.ended.len() > MOST
            && let Some(first) = self.ended.pop_front()
            && let Some(known) = self.meetings.remove(&first)
        {
            self.horizon = self.horizon.max(known.place.created.unwrap_or(self.horizon));
        }
    }
}

impl Known {
    /// It cannot be read now: it is tried again, later each time.
    fn failed(&mut self) -> State {
        let wait = self.wait.map_or(FIRST_WAIT, |wait| (wait * 2).min(LONGEST_WAIT));
        self.wait = Some(wait);
        State::Failed { until: Instant::now() + wait }
    }
}

#[cfg(test)]
mod tests;
