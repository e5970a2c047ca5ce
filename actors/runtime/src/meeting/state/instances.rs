//! A meeting's instances: their actors, their clocks, and their effects.

use std::{sync::Arc, time::Duration};

use ractor::{Actor, ActorId, ActorRef};
use teammy_kernel::{
    DataPacket, Name, Payload, Seq, Tick, Timestamp, chain,
    log::{ConsumerSpec, Effects, Slot},
    store::InstanceStatus,
};
use tokio::time::Instant;
use tracing::debug;

use super::{
    MeetingState,
    instance_runtime::{InstanceRuntime, Spawning},
    port::Port,
};
use crate::{
    clock,
    instance::{self, Incarnation, InstanceActor, Output, Recorder},
    kill_points::{self, KillPoint},
    meeting::{error::Error, message::Event, source_set::SourceSet},
};

impl MeetingState {
    pub(super) fn instance_runtime(&self, name: &Name) -> InstanceRuntime {
        let instance = self.resources.instance(name);
        let plugin = self.resources.plugins.get(name).expect("invariant: the node started every instance");
        let recorder = Recorder::new(name.clone(), self.resources.metrics.instance(name));
        self.shared.recorders.lock().push(recorder.clone());
        let mut sources = SourceSet::EMPTY;
        for source in instance.subscriptions.keys() {
            let view = self.resources.graph.source(source.as_str());
            sources.insert(view.expect("invariant: a checked graph has every source that is taken").place);
        }
        let interval = self.resources.settings.checkpoint_interval();
        InstanceRuntime::new(instance, plugin.open(), recorder, sources, &self.resources.graph, interval)
    }

    pub(super) fn subscription(&self, name: &Name) -> ConsumerSpec {
        let instance = self.resources.instance(name);
        let sources =
            instance.policies.iter().map(|(source, policy)| (source.clone(), policy.clone())).collect();
        ConsumerSpec { instance: name.clone(), sources }
    }

    /// Whether this is the newest incarnation of an instance's actor.
    pub(super) fn is_current(&self, slot: Slot, incarnation: Incarnation) -> bool {
        self.instances[slot.index()].incarnation == incarnation
    }

    /// Starts an instance's actor on the plugins' runtime. [`Event::InstanceStarted`] reports the result.
    pub(super) fn spawn(&mut self, slot: Slot) {
        let running = &mut self.instances[slot.index()];
        running.next_incarnation();
        running.activity = Arc::default();
        running.current = Arc::default();
        let incarnation = running.incarnation;
        self.shared.watch(slot, incarnation, &running.name, &running.activity);
        let resources = &self.resources;
        let instance = resources.instance(&running.name);
        let graph = &resources.graph;
        let actual = |declared: &Name| {
            let mut mapped = instance.subscriptions.iter().filter(|(_, source)| *source == declared);
            mapped.next().map(|(actual, _)| actual.clone())
        };
        let durability = |source: &Name| graph.durability(source.as_str());
        let port = Port { shared: self.shared.clone(), actor: self.myself.clone() };
        let args = Box::new(instance::Args {
            routes: instance::Routes::new(&running.hosted, actual, durability),
            hosted: running.hosted.with_new_scratch(),
            metadata: self.shared.metadata.clone(),
            instance: running.name.clone(),
            state: self.log.view(slot).state.clone(),
            cursor: self.log.view(slot).cursor,
            outbox: instance::Outbox::new(
                Arc::new(port),
                slot,
                incarnation,
                running.output,
                running.overlay.clone(),
                running.completion.clone(),
                self.log.view(slot).cursor,
            ),
            store: resources.store.clone(),
            llm: resources.llm.clone(),
            tenant: resources.tenant(&self.shared.metadata),
            needs_llm: instance.factory.needs_llm(),
            is_restarted: incarnation.0 > 1,
            policy: resources.settings.failure_policy(),
            deadline: resources.settings.hook_deadline(),
            packet_limit: resources.settings.packet_bytes(),
            recorder: running.recorder.clone(),
            current: running.current.clone(),
            activity: running.activity.clone(),
        });
        let myself = self.myself.clone();
        let spawning = Spawning::new(myself.clone(), slot, incarnation);
        resources.plugin_runtime.spawn(async move {
            let spawned = InstanceActor::spawn_linked(None, InstanceActor, args, myself.get_cell()).await;
            spawning.report(spawned.map(|(actor, _)| actor).map_err(|error| chain(&error)));
        });
    }

    pub(super) fn instance_started(
        &mut self,
        slot: Slot,
        incarnation: Incarnation,
        actor: Result<ActorRef<instance::Message>, String>,
    ) {
        let is_current = self.is_current(slot, incarnation);
        match actor {
            Ok(actor) if is_current => {
                self.instances[slot.index()].actor = Some(actor);
                self.log.set_ready(slot, true);
            }
            Ok(actor) => actor.stop(None),
            Err(error) if is_current => self.instance_failed(slot, &error),
            Err(_) => {}
        }
    }

    /// An actor that this meeting supervises has ended.
    pub(in crate::meeting) fn instance_actor_ended(&mut self, actor: ActorId, error: String) {
        let is_it =
            |running: &InstanceRuntime| running.actor.as_ref().is_some_and(|one| one.get_id() == actor);
        if let Some(slot) = self.log.slots().find(|slot| is_it(&self.instances[slot.index()])) {
            // Supervision events overtake messages. As a message, this one comes after those in the mailbox.
            let incarnation = self.instances[slot.index()].incarnation;
            let _ = self.myself.cast(Event::InstanceFailed { slot, incarnation, error }.into());
        }
    }

    /// Applies the completion flags that instances have set. Returns whether one was.
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

    /// Requests completion messages from instances that have a batch: from those that the meeting or a
    /// publisher waits for, or from all. Returns whether one had completed already.
    pub(super) fn request_completions(&mut self, of_all: bool) -> bool {
        let mut any = false;
        for slot in self.log.slots() {
            // Publishers wait for an instance that blocks them.
            let is_awaited = of_all || self.log.is_blocking(slot);
            let wanted = is_awaited && self.log.view(slot).has_batch || self.log.needs_completion(slot);
            if wanted && let Some(cursor) = self.instances[slot.index()].completion.request() {
                self.completed(slot, cursor);
                any = true;
            }
        }
        any
    }

    pub(super) fn completed(&mut self, slot: Slot, cursor: Seq) {
        // The instance submitted its effects before it set the flag.
        self.apply_submitted();
        self.apply(slot, Effects { cursor, done: true, ..Effects::default() }, Vec::new());
    }

    /// An instance's next timer is due at this time of the meeting.
    pub(super) fn wake_at(&mut self, slot: Slot, incarnation: Incarnation, at: Option<Timestamp>) {
        if self.is_current(slot, incarnation) {
            self.instances[slot.index()].wake_at = at;
            self.shared.ingress.keep_exact_time();
        }
    }

    /// Moves an instance's clock by a packet, if the meeting's has reached its next timer: the instance may get no
    /// other packet. If not, looks again when the clock will have, unless a packet comes first.
    pub(super) fn check_clock(&mut self, slot: Slot) {
        let Some(at) = self.instances[slot.index()].wake_at else { return };
        if !self.releasing.is_empty() || !self.log.can_tick(slot) {
            return;
        }
        let Some(wait) = self.shared.ingress.time_until(at) else { return };
        if wait == Duration::ZERO {
            let packet = self.runtime_packet(Tick::SOURCE, Payload::Text("".into()));
            self.log.tick(slot, packet);
            return;
        }
        let due = Instant::now() + wait.min(clock::FOREVER);
        let running = &mut self.instances[slot.index()];
        if running.clock_check.is_none_or(|check| due < check) {
            running.clock_check = Some(due);
            self.after(wait.min(clock::FOREVER), Event::WakeDue { slot });
        }
    }

    /// Applies effects to the log. Outputs get their seqs here.
    pub(super) fn apply(&mut self, slot: Slot, mut effects: Effects, outputs: Vec<Output>) {
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
                    participant: output.participant,
                    payload: output.payload,
                    producer: None,
                    causes: output.causes,
                    trace: output.trace,
                })
            });
            effects.outputs = packets.collect();
            for packet in &effects.outputs {
                self.shared.taps.pass(packet, effects.output);
            }
        }
        self.log.apply(slot, effects);
        kill_points::pass(KillPoint::EffectsApplied);
        self.start_checkpoint(slot);
        if self.log.view(slot).status == InstanceStatus::Finished {
            kill_points::pass(KillPoint::InstanceEnded);
        }
        self.stop_if_inactive(slot);
    }

    /// Stops the actor of an instance that has finished or left, and replies to the waiters for that.
    pub(super) fn stop_if_inactive(&mut self, slot: Slot) {
        let view = self.log.view(slot);
        if view.status != InstanceStatus::Active {
            debug!(meeting = %self.id(), instance = %view.name, status = ?view.status, "instance stopped");
            self.instances[slot.index()].stop();
            self.reply_to_leaving(slot, &Ok(()));
        }
    }

    pub(super) fn reply_to_leaving(&mut self, slot: Slot, answer: &Result<(), Error>) {
        let leaving = std::mem::take(&mut self.leaving);
        let (ours, others) = leaving.into_iter().partition::<Vec<_>, _>(|(leaving, _)| *leaving == slot);
        self.leaving = others;
        for (_, reply) in ours {
            let _ = reply.send(answer.clone());
        }
    }
}
