//! A meeting's instances: their actors' lives, their ticks, and their coming and going.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use ractor::{Actor, ActorRef};
use teammy_kernel::{
    DataPacket, DeliveryPolicy, Lifecycle, Name, Payload, Seq, Tick, chain,
    graph::{Graph, Instance, PLUGIN_STATUS},
    log::{Append, Effects, JoinAt, Slot, Subscription},
    plugin::{Durability, Hosted},
    store::{DeadLetter, InstanceStatus, MeetingStatus},
};
use tokio::{task::JoinHandle, time::Instant};
use tracing::{debug, error, info, warn};

use super::MeetingState;
use crate::{
    clock,
    instance::{self, Completion, CurrentSeq, HookActivity, Output, Overlay, PluginActor},
    kill_points::{self, KillPoint},
    meeting::{
        Error, Recorder,
        ingress::{Ingress, SourceSet},
        message::{Event, Incarnation, Message},
        restarts::{Decision, Restarts},
        stats::Record,
    },
};

/// What the meeting keeps of an instance beside what the log does.
pub(super) struct InstanceRuntime {
    pub(super) name: Name,
    pub(super) hosted: Hosted,
    pub(super) output: Durability,
    /// The sources that it takes.
    pub(super) takes: SourceSet,
    /// What it holds up while it blocks, if it may.
    pub(super) blocks: Option<Blocks>,
    pub(super) incarnation: Incarnation,
    pub(super) actor: Option<ActorRef<instance::Message>>,
    pub(super) overlay: Arc<Overlay>,
    pub(super) recorder: Recorder,
    pub(super) in_hand: CurrentSeq,
    /// Of the newest incarnation.
    pub(super) completion: Arc<Completion>,
    pub(super) activity: Arc<HookActivity>,
    pub(super) restarts: Restarts,
    pub(super) ticker: Option<JoinHandle<()>>,
    /// What is stored of its state cannot be read, and why.
    pub(super) unreadable: Option<String>,
}

/// What an instance holds up while it blocks.
pub(super) struct Blocks {
    /// The sources that it takes so.
    pub(super) sources: SourceSet,
    /// The places of the sources from outside that feed it.
    origins: Vec<u32>,
    is_blocking: std::cell::Cell<bool>,
}

impl Blocks {
    fn new(instance: &Instance, graph: &Graph) -> Option<Self> {
        let place = |name: &Name| graph.source(name.as_str()).map(|view| view.place);
        let (mut sources, mut origins) = (SourceSet::NONE, Vec::new());
        for (source, policy) in &instance.policies {
            if *policy == DeliveryPolicy::Block {
                if let Some(place) = place(source) {
                    sources.add(place);
                }
                origins.extend(graph.origins(source.as_str()).into_iter().filter_map(place));
            }
        }
        origins.sort_unstable();
        origins.dedup();
        (sources != SourceSet::NONE).then_some(Self { sources, origins, is_blocking: false.into() })
    }

    pub(super) fn set(&self, ingress: &Ingress, is_blocking: bool) {
        if self.is_blocking.replace(is_blocking) != is_blocking {
            ingress.block(&self.origins, is_blocking);
        }
    }
}

impl InstanceRuntime {
    /// Forgets how often its actor has failed.
    pub(super) fn forgive(&mut self) {
        self.restarts = Restarts::default();
    }

    /// Ends the instance's actor and its ticks: nothing of this incarnation is listened to any more.
    pub(super) fn vacate(&mut self) {
        self.incarnation.0 += 1;
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
    incarnation: Incarnation,
    is_told: bool,
}

impl Spawning {
    fn tell(mut self, spawned: Result<ActorRef<instance::Message>, String>) {
        let actor = spawned.as_ref().ok().cloned();
        if self.send(spawned).is_err()
            && let Some(actor) = actor
        {
            // The meeting is gone.
            actor.stop(None);
        }
    }

    fn send(&mut self, spawned: Result<ActorRef<instance::Message>, String>) -> Result<(), ()> {
        self.is_told = true;
        let (slot, incarnation, event) = (self.slot, self.incarnation, Event::Spawned(spawned));
        self.meeting.cast(Message::Instance { slot, incarnation, event }).map_err(drop)
    }
}

impl Drop for Spawning {
    fn drop(&mut self) {
        if !self.is_told {
            let _ = self.send(Err("the plugins' runtime dropped it".to_owned()));
        }
    }
}

impl Drop for InstanceRuntime {
    fn drop(&mut self) {
        if let Some(ticker) = self.ticker.take() {
            ticker.abort();
        }
    }
}

impl MeetingState {
    pub(super) fn running(&self, name: &Name) -> InstanceRuntime {
        let instance = self.resources.instance(name);
        let plugin = self.resources.plugins.get(name).expect("invariant: the node started every instance");
        let recorder = Recorder::new(name.clone(), self.resources.metrics.instance(name));
        self.shared.recorders.lock().push(recorder.clone());
        let mut takes = SourceSet::NONE;
        for source in instance.subscriptions.keys() {
            let view = self.resources.graph.source(source.as_str());
            takes.add(view.expect("invariant: a checked graph has every source that is taken").place);
        }
        InstanceRuntime {
            name: name.clone(),
            hosted: plugin.open(),
            output: instance.output,
            takes,
            blocks: Blocks::new(instance, &self.resources.graph),
            incarnation: Incarnation(0),
            actor: None,
            overlay: Arc::default(),
            recorder,
            in_hand: Arc::new(AtomicU64::new(0)),
            completion: Arc::default(),
            activity: Arc::default(),
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
        let running = &mut self.instances[slot.index()];
        running.incarnation.0 += 1;
        let incarnation = running.incarnation;
        running.completion = Arc::default();
        running.activity = Arc::default();
        running.in_hand = Arc::default();
        self.shared.watch(slot, incarnation, &running.name, &running.activity);
        let resources = &self.resources;
        let instance = resources.instance(&running.name);
        let graph = &resources.graph;
        let actual = |declared: &Name| {
            let mut mapped = instance.subscriptions.iter().filter(|(_, source)| *source == declared);
            mapped.next().map(|(actual, _)| actual.clone())
        };
        let is_durable = |source: &Name| graph.durability(source.as_str()) == Some(Durability::Durable);
        let args = Box::new(instance::Args {
            routes: instance::Routes::new(&running.hosted, actual, is_durable),
            hosted: running.hosted.clone(),
            metadata: self.shared.metadata.clone(),
            instance: running.name.clone(),
            state: self.log.view(slot).state.clone(),
            outbox: instance::Outbox::new(
                self.shared.clone(),
                self.myself.clone(),
                slot,
                incarnation,
                running.output,
                running.overlay.clone(),
                running.completion.clone(),
            ),
            store: resources.store.clone(),
            llm: resources.llm.clone(),
            policy: resources.settings.hooks,
            packet_limit: resources.settings.packet_bytes,
            recorder: running.recorder.clone(),
            in_hand: running.in_hand.clone(),
            activity: running.activity.clone(),
        });
        let myself = self.myself.clone();
        let spawning = Spawning { meeting: myself.clone(), slot, incarnation, is_told: false };
        resources.plugin_runtime.spawn(async move {
            let spawned = PluginActor::spawn_linked(None, PluginActor, args, myself.get_cell()).await;
            spawning.tell(spawned.map(|(actor, _)| actor).map_err(|error| chain(&error)));
        });
    }

    /// Handles a supervision event of an instance's actor. Events of one that was replaced are dropped.
    pub(super) fn instance(&mut self, slot: Slot, incarnation: Incarnation, event: Event) {
        let running = &mut self.instances[slot.index()];
        let is_current = incarnation == running.incarnation;
        match event {
            Event::Spawned(Ok(actor)) if !is_current => actor.stop(None),
            _ if !is_current => {}
            Event::Spawned(Ok(actor)) => {
                running.actor = Some(actor);
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
            if let Some(cursor) = self.instances[slot.index()].completion.take() {
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
            if wanted && let Some(cursor) = self.instances[slot.index()].completion.want() {
                self.completed(slot, cursor);
                any = true;
            }
        }
        any
    }

    fn completed(&mut self, slot: Slot, cursor: Seq) {
        // What it handed on before it was done comes before that.
        self.apply_submitted();
        self.handed_on(slot, Effects { cursor, done: true, ..Effects::default() }, Vec::new());
    }

    /// An instance's actor is gone. Its packet in hand is tried again, or given up; the actor is started
    /// again, or the instance suspended.
    pub(super) fn failed(&mut self, slot: Slot, error: &str) {
        if let Some(cursor) = self.instances[slot.index()].completion.take() {
            self.completed(slot, cursor);
        }
        let running = &mut self.instances[slot.index()];
        let in_hand = Seq(running.in_hand.swap(0, Ordering::AcqRel));
        running.actor = None;
        running.incarnation.0 += 1;
        running.completion = Arc::default();
        let incarnation = running.incarnation;
        running.recorder.record(&mut Record { errors: 1, ..Record::default() });
        let name = running.name.clone();
        let policy = &self.resources.settings.restarts;
        let decision = running.restarts.failed(Instant::now(), policy);
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
                self.after(wait, Message::Instance { slot, incarnation, event: Event::Restart });
            }
            Decision::Suspend => self.suspend(slot, error),
        }
    }

    pub(super) fn give_up(&mut self, slot: Slot, seq: Seq, tries: u32, error: &str) {
        let Some(packet) = self.log.in_hand(slot, seq).cloned() else { return };
        let running = &self.instances[slot.index()];
        running.recorder.record(&mut Record { dead_letters: 1, ..Record::default() });
        warn!(meeting = %self.id(), instance = %running.name, %seq, source = %packet.source, tries, error, "packet given up");
        let graph = &self.resources.graph;
        let is_durable = packet.source == Lifecycle::SOURCE
            || graph.durability(packet.source.as_str()) == Some(Durability::Durable);
        let name = running.name.clone();
        let dead_letter = is_durable.then(|| DeadLetter::new(name, &packet, tries, error, clock::now()));
        self.log.give_up(slot, seq, dead_letter);
        self.settle_seat(slot);
    }

    /// An instance had its time to finish with the meeting's end. Its cursor stays: what is behind it was not
    /// seen.
    pub(super) fn expire(&mut self, slot: Slot, ending: &DataPacket) {
        let running = &self.instances[slot.index()];
        running.recorder.record(&mut Record { dead_letters: 1, ..Record::default() });
        let cursor = self.log.view(slot).cursor;
        let error = format!(
            "it did not finish before the end's deadline (meeting.end_deadline); it has seen the log up to seq {cursor}"
        );
        warn!(meeting = %self.id(), instance = %running.name, seq = %cursor, "instance cut off at the meeting's end");
        let dead_letter = DeadLetter::new(running.name.clone(), ending, 0, &error, clock::now());
        self.log.expire(slot, dead_letter);
        self.settle_seat(slot);
    }

    pub(super) fn suspend(&mut self, slot: Slot, reason: &str) {
        self.apply_submitted();
        let running = &mut self.instances[slot.index()];
        running.vacate();
        // A hook that goes on all the same writes to what nobody reads any more.
        running.overlay = Arc::new(Overlay::of(self.log.unstored_keys(slot)));
        let instance = running.name.clone();
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
        let running = &mut self.instances[slot.index()];
        let Some(period) = running.hosted.every().map(|period| period.min(clock::FOREVER)) else { return };
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
        if let Some(earlier) = running.ticker.replace(self.runtime.spawn(ticks)) {
            earlier.abort();
        }
    }

    pub(super) fn tick(&mut self, slot: Slot) {
        if self.stopping.is_none() && self.log.takes_tick(slot) {
            let packet = self.own(Tick::SOURCE, Payload::Text("".into()));
            self.log.tick(slot, packet);
        }
    }

    pub(super) fn handed_on(&mut self, slot: Slot, mut hand_on: Effects, outputs: Vec<Output>) {
        if !outputs.is_empty() {
            let seqs = self.drain_ingress(outputs.len());
            let source = self.instances[slot.index()].name.clone();
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
        self.log.apply(slot, hand_on);
        kill_points::pass(KillPoint::EffectsApplied);
        if self.log.view(slot).status == InstanceStatus::Finished {
            kill_points::pass(KillPoint::InstanceEnded);
        }
        self.settle_seat(slot);
    }

    /// Stops the actor of an instance that is done, and tells who waits for it to be out.
    pub(super) fn settle_seat(&mut self, slot: Slot) {
        let view = self.log.view(slot);
        if view.status != InstanceStatus::Active {
            debug!(meeting = %self.id(), instance = %view.name, status = ?view.status, "instance is done");
            self.instances[slot.index()].vacate();
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
            let running = &mut self.instances[slot.index()];
            let plugin =
                self.resources.plugins.get(name).expect("invariant: the node started every instance");
            running.hosted = plugin.open();
            let state = self.log.view(slot).state.clone();
            self.log.join(subscription, state, at, packet)
        } else {
            let running = self.running(name);
            let state = running.hosted.initial_state();
            self.instances.push(running);
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
        if let Some(ticker) = self.instances[slot.index()].ticker.take() {
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
