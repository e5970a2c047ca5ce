//! A meeting's instances: their actors' lives, their ticks, and their coming and going.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use ractor::{Actor, ActorRef};
use teammy_kernel::{
    DataPacket, Lifecycle, Name, Payload, Policy, Seq, Tick, chain,
    graph::{Graph, Instance, PLUGIN_STATUS},
    log::{Append, HandOn, JoinAt, Slot, Subscription},
    plugin::{Durability, Hosted},
    store::{DeadLetter, InstanceStatus, MeetingStatus},
};
use tokio::{task::JoinHandle, time::Instant};
use tracing::{debug, error, info, warn};

use super::Meeting;
use crate::{
    clock,
    kill_points::{self, KillPoint},
    meeting::{
        Error, Recorder,
        door::{Door, Sources},
        message::{Event, Life, Message},
        restarts::{Decision, Restarts},
        stats::Record,
    },
    plugin::{self, Completion, InHand, Output, Overlay, PluginActor, Pulse},
};

/// What the meeting keeps of an instance beside what the log does.
pub(super) struct Seat {
    pub(super) name: Name,
    pub(super) hosted: Hosted,
    pub(super) output: Durability,
    /// The sources that it takes.
    pub(super) takes: Sources,
    /// What it holds up while it blocks, if it may.
    pub(super) blocks: Option<Blocks>,
    pub(super) life: Life,
    pub(super) actor: Option<ActorRef<plugin::Message>>,
    pub(super) overlay: Arc<Overlay>,
    pub(super) recorder: Recorder,
    pub(super) in_hand: InHand,
    /// Of the newest life.
    pub(super) completion: Arc<Completion>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) restarts: Restarts,
    pub(super) ticker: Option<JoinHandle<()>>,
    /// What is stored of its state cannot be read, and why.
    pub(super) unreadable: Option<String>,
}

/// What an instance holds up while it blocks.
pub(super) struct Blocks {
    /// The sources that it takes so.
    pub(super) sources: Sources,
    /// The places of the sources from outside that feed it.
    origins: Vec<u32>,
    is_blocking: std::cell::Cell<bool>,
}

impl Blocks {
    fn new(instance: &Instance, graph: &Graph) -> Option<Self> {
        let place = |name: &Name| graph.source(name.as_str()).map(|view| view.place);
        let (mut sources, mut origins) = (Sources::NONE, Vec::new());
        for (source, policy) in &instance.policies {
            if *policy == Policy::Block {
                if let Some(place) = place(source) {
                    sources.add(place);
                }
                origins.extend(graph.origins(source.as_str()).into_iter().filter_map(place));
            }
        }
        origins.sort_unstable();
        origins.dedup();
        (sources != Sources::NONE).then_some(Self { sources, origins, is_blocking: false.into() })
    }

    pub(super) fn set(&self, door: &Door, is_blocking: bool) {
        if self.is_blocking.replace(is_blocking) != is_blocking {
            door.block(&self.origins, is_blocking);
        }
    }
}

impl Seat {
    /// Forgets how often its actor has failed.
    pub(super) fn forgive(&mut self) {
        self.restarts = Restarts::default();
    }

    /// Ends the instance's actor and its ticks: nothing of this life is listened to any more.
    pub(super) fn vacate(&mut self) {
        self.life.0 += 1;
        self.completion = Arc::default();
        if let Some(actor) = self.actor.take() {
            actor.stop(None);
        }
        if let Some(ticker) = self.ticker.take() {
            ticker.abort();
        }
    }
}

/// An instance's actor that is on its way. The meeting is told what became of it, whatever does.
struct Spawning {
    meeting: ActorRef<Message>,
    slot: Slot,
    life: Life,
    is_told: bool,
}

impl Spawning {
    fn tell(mut self, spawned: Result<ActorRef<plugin::Message>, String>) {
        let actor = spawned.as_ref().ok().cloned();
        if self.send(spawned).is_err()
            && let Some(actor) = actor
        {
            // The meeting is gone.
            actor.stop(None);
        }
    }

    fn send(&mut self, spawned: Result<ActorRef<plugin::Message>, String>) -> Result<(), ()> {
        self.is_told = true;
        let (slot, life, event) = (self.slot, self.life, Event::Spawned(spawned));
        self.meeting.cast(Message::Instance { slot, life, event }).map_err(drop)
    }
}

impl Drop for Spawning {
    fn drop(&mut self) {
        if !self.is_told {
            let _ = self.send(Err("the plugins' runtime dropped it".to_owned()));
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(ticker) = self.ticker.take() {
            ticker.abort();
        }
    }
}

impl Meeting {
    pub(super) fn seat(&self, name: &Name) -> Seat {
        let instance = self.resources.instance(name);
        let plugin = self.resources.plugins.get(name).expect("invariant: the node started every instance");
        let recorder = Recorder::new(name.clone(), self.resources.metrics.instance(name));
        self.shared.recorders.lock().push(recorder.clone());
        let mut takes = Sources::NONE;
        for source in instance.subscriptions.keys() {
            let view = self.resources.graph.source(source.as_str());
            takes.add(view.expect("invariant: a checked graph has every source that is taken").place);
        }
        Seat {
            name: name.clone(),
            hosted: plugin.open(),
            output: instance.output,
            takes,
            blocks: Blocks::new(instance, &self.resources.graph),
            life: Life(0),
            actor: None,
            overlay: Arc::default(),
            recorder,
            in_hand: Arc::new(AtomicU64::new(0)),
            completion: Arc::default(),
            pulse: Arc::default(),
            restarts: Restarts::default(),
            ticker: None,
            unreadable: None,
        }
    }

    pub(super) fn subscription(&self, name: &Name) -> Subscription {
        let instance = self.resources.instance(name);
        let sources =
            instance.policies.iter().map(|(source, policy)| (source.clone(), policy.clone())).collect();
        Subscription { instance: name.clone(), sources }
    }

    /// Starts an instance's actor on the plugins' runtime. It answers with [`Event::Spawned`].
    pub(super) fn spawn(&mut self, slot: Slot) {
        let seat = &mut self.seats[slot.index()];
        seat.life.0 += 1;
        let life = seat.life;
        seat.completion = Arc::default();
        seat.pulse = Arc::default();
        seat.in_hand = Arc::default();
        self.shared.watch(slot, life, &seat.name, &seat.pulse);
        let resources = &self.resources;
        let instance = resources.instance(&seat.name);
        let graph = &resources.graph;
        let actual = |declared: &Name| {
            let mut mapped = instance.subscriptions.iter().filter(|(_, source)| *source == declared);
            mapped.next().map(|(actual, _)| actual.clone())
        };
        let is_durable = |source: &Name| graph.durability(source.as_str()) == Some(Durability::Durable);
        let args = Box::new(plugin::Args {
            routes: plugin::Routes::new(&seat.hosted, actual, is_durable),
            hosted: seat.hosted.clone(),
            metadata: self.shared.metadata.clone(),
            instance: seat.name.clone(),
            state: self.log.view(slot).state.clone(),
            outbox: plugin::Outbox::new(
                self.shared.clone(),
                self.myself.clone(),
                slot,
                life,
                seat.output,
                seat.overlay.clone(),
                seat.completion.clone(),
            ),
            store: resources.store.clone(),
            llm: resources.llm.clone(),
            policy: resources.settings.hooks,
            packet_limit: resources.settings.packet_bytes,
            recorder: seat.recorder.clone(),
            in_hand: seat.in_hand.clone(),
            pulse: seat.pulse.clone(),
        });
        let myself = self.myself.clone();
        let spawning = Spawning { meeting: myself.clone(), slot, life, is_told: false };
        resources.plugin_runtime.spawn(async move {
            let spawned = PluginActor::spawn_linked(None, PluginActor, args, myself.get_cell()).await;
            spawning.tell(spawned.map(|(actor, _)| actor).map_err(|error| chain(&error)));
        });
    }

    /// Handles a supervision event of an instance's actor. Events of one that was replaced are dropped.
    pub(super) fn instance(&mut self, slot: Slot, life: Life, event: Event) {
        let seat = &mut self.seats[slot.index()];
        let is_current = life == seat.life;
        match event {
            Event::Spawned(Ok(actor)) if !is_current => actor.stop(None),
            _ if !is_current => {}
            Event::Spawned(Ok(actor)) => {
                seat.actor = Some(actor);
                self.log.set_ready(slot, true);
            }
            Event::Spawned(Err(error)) | Event::Failed(error) => self.failed(slot, &error),
            Event::Restart => self.spawn(slot),
        }
    }

    /// Notes for every instance whose actor left word of it that it is done with its batch. Says whether one
    /// did.
    pub(super) fn collect_completions(&mut self) -> bool {
        let mut any = false;
        for slot in self.log.slots() {
            if let Some(cursor) = self.seats[slot.index()].completion.take() {
                self.completed(slot, cursor);
                any = true;
            }
        }
        any
    }

    /// Asks instances for a message when they are done with their batch: those for which something is to be
    /// done then, or all of them. Says whether one was done already.
    pub(super) fn want_completions(&mut self, of_all: bool) -> bool {
        let mut any = false;
        for slot in self.log.slots() {
            // While it blocks, publishers wait for it.
            let is_waited_for = of_all || self.log.is_blocking(slot);
            let wanted = is_waited_for && self.log.view(slot).has_batch || self.log.waits_for(slot);
            if wanted && let Some(cursor) = self.seats[slot.index()].completion.want() {
                self.completed(slot, cursor);
                any = true;
            }
        }
        any
    }

    fn completed(&mut self, slot: Slot, cursor: Seq) {
        // What it handed on before it was done comes before that.
        self.take_handed_on();
        self.handed_on(slot, HandOn { cursor, done: true, ..HandOn::default() }, Vec::new());
    }

    /// An instance's actor is gone. Its packet in hand is tried again, or given up; the actor is started
    /// again, or the instance suspended.
    pub(super) fn failed(&mut self, slot: Slot, error: &str) {
        if let Some(cursor) = self.seats[slot.index()].completion.take() {
            self.completed(slot, cursor);
        }
        let seat = &mut self.seats[slot.index()];
        let in_hand = Seq(seat.in_hand.swap(0, Ordering::AcqRel));
        seat.actor = None;
        seat.life.0 += 1;
        seat.completion = Arc::default();
        let life = seat.life;
        seat.recorder.record(&mut Record { errors: 1, ..Record::default() });
        let name = seat.name.clone();
        let policy = &self.resources.settings.restarts;
        let decision = seat.restarts.failed(Instant::now(), policy);
        warn!(meeting = %self.id(), instance = %name, seq = %in_hand, error, "plugin actor failed");
        if self.log.view(slot).status != InstanceStatus::Active {
            return;
        }
        self.log.set_ready(slot, false);
        if in_hand > Seq::ZERO {
            let tries = self.log.count_try(slot, in_hand);
            if tries >= self.resources.settings.hooks.tries {
                self.give_up(slot, in_hand, tries, error);
            }
        }
        if self.log.view(slot).status != InstanceStatus::Active {
            return;
        }
        match decision {
            Decision::RestartAfter(wait) => {
                self.after(wait, Message::Instance { slot, life, event: Event::Restart });
            }
            Decision::Suspend => self.suspend(slot, error),
        }
    }

    pub(super) fn give_up(&mut self, slot: Slot, seq: Seq, tries: u32, error: &str) {
        let Some(packet) = self.log.in_hand(slot, seq).cloned() else { return };
        let seat = &self.seats[slot.index()];
        seat.recorder.record(&mut Record { dead_letters: 1, ..Record::default() });
        warn!(meeting = %self.id(), instance = %seat.name, %seq, source = %packet.source, tries, error, "packet given up");
        let graph = &self.resources.graph;
        let is_durable = packet.source == Lifecycle::SOURCE
            || graph.durability(packet.source.as_str()) == Some(Durability::Durable);
        let name = seat.name.clone();
        let dead_letter = is_durable.then(|| DeadLetter::new(name, &packet, tries, error, clock::now()));
        self.log.give_up(slot, seq, dead_letter);
        self.settle_seat(slot);
    }

    /// An instance had its time to finish with the meeting's end. Its cursor stays: what is behind it was not
    /// seen.
    pub(super) fn expire(&mut self, slot: Slot, ending: &DataPacket) {
        let seat = &self.seats[slot.index()];
        seat.recorder.record(&mut Record { dead_letters: 1, ..Record::default() });
        let cursor = self.log.view(slot).cursor;
        let error = format!(
            "it did not finish before the end's deadline (meeting.end_deadline); it has seen the log up to seq {cursor}"
        );
        warn!(meeting = %self.id(), instance = %seat.name, seq = %cursor, "instance cut off at the meeting's end");
        let dead_letter = DeadLetter::new(seat.name.clone(), ending, 0, &error, clock::now());
        self.log.expire(slot, dead_letter);
        self.settle_seat(slot);
    }

    pub(super) fn suspend(&mut self, slot: Slot, reason: &str) {
        self.take_handed_on();
        let seat = &mut self.seats[slot.index()];
        seat.vacate();
        // A hook that goes on all the same writes to what nobody reads any more.
        seat.overlay = Arc::new(Overlay::of(self.log.unstored_keys(slot)));
        let instance = seat.name.clone();
        self.log.suspend(slot);
        error!(meeting = %self.id(), %instance, reason, "instance suspended");
        let packet = self.plugin_status(
            &serde_json::json!({"instance": instance, "status": "suspended", "reason": reason}),
        );
        self.log.append(Append::new(packet, Durability::Durable, false));
        let error = Error::Suspended { instance, meeting: self.id().clone() };
        self.answer_leaving(slot, &Err(error));
    }

    pub(super) fn plugin_status(&mut self, status: &serde_json::Value) -> Arc<DataPacket> {
        self.own(PLUGIN_STATUS, Payload::Json(status.to_string().into()))
    }

    pub(super) fn start_ticks(&mut self, slot: Slot) {
        let seat = &mut self.seats[slot.index()];
        let Some(period) = seat.hosted.every().map(|period| period.min(clock::FOREVER)) else { return };
        let myself = self.myself.clone();
        let ticks = async move {
            let mut interval = tokio::time::interval_at(Instant::now() + period, period);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                if myself.cast(Message::Tick { slot }).is_err() {
                    return;
                }
            }
        };
        if let Some(earlier) = seat.ticker.replace(self.runtime.spawn(ticks)) {
            earlier.abort();
        }
    }

    pub(super) fn tick(&mut self, slot: Slot) {
        if self.stopping.is_none() && self.log.takes_tick(slot) {
            let packet = self.own(Tick::SOURCE, Payload::Text("".into()));
            self.log.tick(slot, packet);
        }
    }

    pub(super) fn handed_on(&mut self, slot: Slot, mut hand_on: HandOn, outputs: Vec<Output>) {
        if !outputs.is_empty() {
            let seqs = self.take_in(outputs.len());
            let source = self.seats[slot.index()].name.clone();
            let received_at = clock::now();
            let packets = outputs.into_iter().zip(seqs).map(|(output, seq)| {
                Arc::new(DataPacket {
                    meeting: self.shared.metadata.id.clone(),
                    seq,
                    source: source.clone(),
                    timestamp: output.timestamp,
                    received_at,
                    participant: None,
                    payload: output.payload,
                    producer: None,
                    causes: output.causes,
                })
            });
            hand_on.outputs = packets.collect();
            for packet in &hand_on.outputs {
                self.shared.taps.pass(packet, hand_on.output);
            }
        }
        self.log.hand_on(slot, hand_on);
        kill_points::pass(KillPoint::HandedOn);
        if self.log.view(slot).status == InstanceStatus::Finished {
            kill_points::pass(KillPoint::InstanceEnded);
        }
        self.settle_seat(slot);
    }

    /// Empties the seat of an instance that is done, and tells who waits for it to be out.
    pub(super) fn settle_seat(&mut self, slot: Slot) {
        let view = self.log.view(slot);
        if view.status != InstanceStatus::Active {
            debug!(meeting = %self.id(), instance = %view.name, status = ?view.status, "instance is done");
            self.seats[slot.index()].vacate();
            self.answer_leaving(slot, &Ok(()));
        }
    }

    fn answer_leaving(&mut self, slot: Slot, answer: &Result<(), Error>) {
        let leaving = std::mem::take(&mut self.leaving);
        let (out, others) = leaving.into_iter().partition::<Vec<_>, _>(|(leaving, _)| *leaving == slot);
        self.leaving = others;
        for (_, reply) in out {
            let _ = reply.send(answer.clone());
        }
    }

    pub(super) fn assign(&mut self, name: &Name, at: JoinAt) -> Result<(), Error> {
        self.check_running()?;
        if self.resources.lacks_llm(self.resources.instance(name)) {
            return Err(Error::NeedsLlm(name.clone()));
        }
        let meeting = self.id().clone();
        let known = self.log.slot(name.as_str());
        if let Some(slot) = known {
            match self.log.view(slot).status {
                InstanceStatus::Left if at == JoinAt::Start => {
                    return Err(Error::WasHere { instance: name.clone(), meeting });
                }
                InstanceStatus::Left => {}
                InstanceStatus::Suspended => {
                    return Err(Error::Suspended { instance: name.clone(), meeting });
                }
                _ => return Err(Error::Assigned { instance: name.clone(), meeting }),
            }
        }
        let packet = self.lifecycle(&Lifecycle::Join { instance: name.clone(), setup: self.setup(name) });
        let subscription = self.subscription(name);
        let slot = if let Some(slot) = known {
            let seat = &mut self.seats[slot.index()];
            let plugin =
                self.resources.plugins.get(name).expect("invariant: the node started every instance");
            seat.hosted = plugin.open();
            let state = self.log.view(slot).state.clone();
            self.log.join(subscription, state, at, packet)
        } else {
            let seat = self.seat(name);
            let state = seat.hosted.initial_state();
            self.seats.push(seat);
            self.log.join(subscription, state, at, packet)
        };
        info!(meeting = %self.id(), instance = %name, "instance joined");
        self.spawn(slot);
        self.start_ticks(slot);
        Ok(())
    }

    pub(super) fn unassign(&mut self, name: &Name) -> Result<Slot, Error> {
        self.check_running()?;
        let meeting = self.id().clone();
        let instance = name.clone();
        let Some(slot) = self.log.slot(name.as_str()) else {
            return Err(Error::NotAssigned { instance, meeting });
        };
        let view = self.log.view(slot);
        match view.status {
            InstanceStatus::Active if !view.is_leaving => {}
            InstanceStatus::Active => return Ok(slot),
            InstanceStatus::Suspended => return Err(Error::Suspended { instance, meeting }),
            _ => return Err(Error::NotAssigned { instance, meeting }),
        }
        let packet = self.lifecycle(&Lifecycle::Leave { instance });
        self.log.leave(slot, packet);
        if let Some(ticker) = self.seats[slot.index()].ticker.take() {
            ticker.abort();
        }
        info!(meeting = %self.id(), instance = %name, "instance leaves");
        Ok(slot)
    }

    pub(super) fn check_running(&self) -> Result<(), Error> {
        if self.log.status() == MeetingStatus::Running && self.stopping.is_none() {
            Ok(())
        } else {
            Err(Error::Ended(self.id().clone()))
        }
    }
}
