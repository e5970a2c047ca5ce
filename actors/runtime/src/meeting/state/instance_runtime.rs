//! An instance as its meeting runs it: its actor, timers, overlay and counters.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use ractor::ActorRef;
use teammy_kernel::{
    DeliveryPolicy, Name, Timestamp,
    graph::{Graph, Instance},
    log::Slot,
    plugin::{Durability, Hosted},
};
use tokio::time::Instant;

use crate::{
    instance::{self, Completion, CurrentSeq, HookActivity, Incarnation, Overlay, Recorder},
    meeting::{
        ingress::Ingress,
        message::{Event, Message},
        source_set::SourceSet,
    },
};

/// An instance as its meeting runs it. Its cursor, state and credit are in the log.
pub(super) struct InstanceRuntime {
    pub(super) name: Name,
    pub(super) hosted: Hosted,
    /// Whether its outputs are stored.
    pub(super) output: Durability,
    /// The sources that it takes.
    pub(super) sources: SourceSet,
    /// The sources that it may block.
    pub(super) blocking: Option<Blocking>,
    pub(super) incarnation: Incarnation,
    pub(super) actor: Option<ActorRef<instance::Message>>,
    pub(super) overlay: Arc<Overlay>,
    pub(super) recorder: Recorder,
    pub(super) current: CurrentSeq,
    /// The completion flag of this incarnation.
    pub(super) completion: Arc<Completion>,
    pub(super) activity: Arc<HookActivity>,
    /// When its next timer is due, by the meeting's clock.
    pub(super) wake_at: Option<Timestamp>,
    /// When the clock is looked at for it. An [`Event::WakeDue`] is on its way.
    pub(super) clock_check: Option<Instant>,
    /// How long its checkpoint may wait.
    pub(super) checkpoint_interval: Duration,
    /// When its checkpoint is due. An [`Event::CheckpointDue`] is on its way.
    pub(super) checkpoint_at: Option<Instant>,
    /// The error if this build cannot read its stored state.
    pub(super) unreadable: Option<String>,
}

/// The sources that an instance takes with [`DeliveryPolicy::Block`].
pub(super) struct Blocking {
    pub(super) sources: SourceSet,
    /// The indices, in the graph, of the external sources that feed them.
    origins: Vec<u32>,
    is_on: std::cell::Cell<bool>,
}

impl Blocking {
    fn new(instance: &Instance, graph: &Graph) -> Option<Self> {
        let index = |name: &Name| graph.source(name.as_str()).map(|view| view.place);
        let (mut sources, mut origins) = (SourceSet::EMPTY, Vec::new());
        for (source, policy) in &instance.policies {
            if *policy == DeliveryPolicy::Block {
                if let Some(index) = index(source) {
                    sources.insert(index);
                }
                origins.extend(graph.origins(source.as_str()).into_iter().filter_map(index));
            }
        }
        origins.sort_unstable();
        origins.dedup();
        (sources != SourceSet::EMPTY).then_some(Self { sources, origins, is_on: false.into() })
    }

    pub(super) fn set(&self, ingress: &Ingress, is_blocking: bool) {
        if self.is_on.replace(is_blocking) != is_blocking {
            ingress.block(&self.origins, is_blocking);
        }
    }
}

impl InstanceRuntime {
    pub(super) fn new(
        instance: &Instance,
        hosted: Hosted,
        recorder: Recorder,
        sources: SourceSet,
        graph: &Graph,
        checkpoint_interval: Duration,
    ) -> Self {
        Self {
            name: instance.name.clone(),
            hosted,
            output: instance.output,
            sources,
            blocking: Blocking::new(instance, graph),
            incarnation: Incarnation::default(),
            actor: None,
            overlay: Arc::default(),
            recorder,
            current: Arc::new(AtomicU64::new(0)),
            completion: Arc::default(),
            activity: Arc::default(),
            wake_at: None,
            clock_check: None,
            checkpoint_interval: instance.checkpoint_interval.unwrap_or(checkpoint_interval),
            checkpoint_at: None,
            unreadable: None,
        }
    }

    /// Stops the actor. The meeting drops what this incarnation still submits.
    pub(super) fn stop(&mut self) {
        self.next_incarnation();
        if let Some(actor) = self.actor.take() {
            actor.stop(None);
        }
    }

    pub(super) fn next_incarnation(&mut self) {
        self.incarnation.0 += 1;
        self.completion = Arc::default();
        self.wake_at = None;
    }
}

/// An instance's actor that is being started. The meeting gets exactly one [`Event::InstanceStarted`], also
/// if the plugins' runtime drops the task.
pub(super) struct Spawning {
    meeting: ActorRef<Message>,
    slot: Slot,
    incarnation: Incarnation,
    is_reported: bool,
}

impl Spawning {
    pub(super) fn new(meeting: ActorRef<Message>, slot: Slot, incarnation: Incarnation) -> Self {
        Self { meeting, slot, incarnation, is_reported: false }
    }

    pub(super) fn report(mut self, spawned: Result<ActorRef<instance::Message>, String>) {
        let actor = spawned.as_ref().ok().cloned();
        if self.send(spawned).is_err()
            && let Some(actor) = actor
        {
            // The meeting is gone.
            actor.stop(None);
        }
    }

    fn send(&mut self, actor: Result<ActorRef<instance::Message>, String>) -> Result<(), ()> {
        self.is_reported = true;
        let (slot, incarnation) = (self.slot, self.incarnation);
        self.meeting.cast(Event::InstanceStarted { slot, incarnation, actor }.into()).map_err(drop)
    }
}

impl Drop for Spawning {
    fn drop(&mut self) {
        if !self.is_reported {
            let _ = self.send(Err("the plugins' runtime dropped it".to_owned()));
        }
    }
}
