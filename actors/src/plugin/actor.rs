//! The actor that runs an instance's hooks.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use futures::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use teammy_kernel::{
    DataPacket, Error, KeyValue, Lifecycle, Llm, MeetingEngine, MeetingMetadata, Name, Seq, SharedLlm, Store,
    Tick,
    log::Batch,
    plugin::{Call, Hook, HookId, Hosted, Invocation, Ran, StateRef},
    store::DeadLetter,
};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{
    HookPolicy, InHand, Message, Output,
    outbox::{Made, Outbox},
    retry::Next,
    store::InstanceStore,
};
use crate::{
    clock,
    kill_points::{self, KillPoint},
    meeting::{Recorder, stats::Record},
};

/// What an instance's actor starts with.
pub(crate) struct Args {
    pub(crate) hosted: Hosted,
    pub(crate) routes: Routes,
    pub(crate) metadata: Arc<MeetingMetadata>,
    pub(crate) instance: Name,
    pub(crate) state: StateRef,
    pub(crate) outbox: Outbox,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) llm: SharedLlm,
    pub(crate) policy: HookPolicy,
    pub(crate) packet_limit: usize,
    pub(crate) recorder: Recorder,
    pub(crate) in_hand: InHand,
}

/// Which hook takes which source, as sources are called in this meeting.
#[derive(Debug, Clone)]
pub(crate) struct Routes {
    sources: Vec<Route>,
    tick: Option<HookId>,
}

#[derive(Debug, Clone)]
struct Route {
    source: Name,
    hook: HookId,
    max: usize,
    /// Whether a packet that is given up can be a dead letter.
    is_durable: bool,
}

impl Routes {
    /// The routes of a plugin; `actual` says what a source that it declares is called here.
    pub(crate) fn new(
        hosted: &Hosted,
        actual: impl Fn(&Name) -> Option<Name>,
        is_durable: impl Fn(&Name) -> bool,
    ) -> Self {
        let mut routes = Self { sources: Vec::new(), tick: None };
        for (id, hook) in hosted.hooks() {
            match hook {
                Hook::Source { source, max } => {
                    if let Some(source) = actual(source) {
                        let is_durable = is_durable(&source);
                        routes.sources.push(Route { source, hook: *id, max: *max, is_durable });
                    }
                }
                Hook::Every(_) => routes.tick = Some(*id),
                _ => {}
            }
        }
        routes
    }

    /// The first call to make for these packets: what to run, on how many of them, and whether they can be dead letters.
    fn plan(&self, packets: &[Arc<DataPacket>], one_by_one: bool) -> Option<Planned> {
        let first = packets.first()?;
        if let Some(route) = self.sources.iter().find(|route| route.source == first.source) {
            let max = if one_by_one { 1 } else { route.max };
            let same = packets.iter().take(max).take_while(|packet| packet.source == first.source);
            let what = Invocation::Hook(route.hook);
            return Some(Planned { what, count: same.count(), is_durable: route.is_durable });
        }
        if first.source == Tick::SOURCE {
            let what = Invocation::Hook(self.tick?);
            return Some(Planned { what, count: 1, is_durable: false });
        }
        let what = match Lifecycle::from_payload(&first.payload)? {
            Lifecycle::Start { .. } | Lifecycle::Join { .. } => Invocation::MeetingStart,
            Lifecycle::Leave { .. } | Lifecycle::Ending => Invocation::MeetingEnd,
            _ => return None,
        };
        Some(Planned { what, count: 1, is_durable: true })
    }
}

struct Planned {
    what: Invocation,
    count: usize,
    is_durable: bool,
}

pub(crate) struct PluginActor;

pub(crate) struct Runner {
    hosted: Hosted,
    routes: Routes,
    metadata: Arc<MeetingMetadata>,
    instance: Name,
    engine: MeetingEngine,
    outbox: Arc<Outbox>,
    policy: HookPolicy,
    packet_limit: usize,
    recorder: Recorder,
    record: Record,
    in_hand: InHand,
    /// What was lost before the next call and has not been told yet.
    gap: u64,
    state: StateRef,
    /// The state has changed since it was last handed on.
    state_changed: bool,
    cursor: Seq,
    cursor_handed_on: Seq,
}

impl Actor for PluginActor {
    type Msg = Message;
    type State = Runner;
    type Arguments = Args;

    async fn pre_start(&self, _: ActorRef<Message>, args: Args) -> Result<Runner, ActorProcessingErr> {
        let outbox = Arc::new(args.outbox);
        let meeting = args.metadata.id.clone();
        let provider = InstanceStore {
            meeting: meeting.clone(),
            instance: args.instance.clone(),
            store: args.store,
            outbox: outbox.clone(),
        };
        let llm = Llm::new(args.llm, meeting, args.instance.clone());
        let datastore = teammy_kernel::Datastore::new(Arc::new(provider));
        Ok(Runner {
            hosted: args.hosted,
            routes: args.routes,
            metadata: args.metadata,
            instance: args.instance,
            engine: MeetingEngine::new(llm, datastore),
            outbox,
            policy: args.policy,
            packet_limit: args.packet_limit,
            recorder: args.recorder,
            record: Record::default(),
            in_hand: args.in_hand,
            gap: 0,
            state: args.state,
            state_changed: false,
            cursor: Seq::ZERO,
            cursor_handed_on: Seq::ZERO,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        runner: &mut Runner,
    ) -> Result<(), ActorProcessingErr> {
        let Message::Deliver(batch) = message;
        runner.run(batch).await;
        Ok(())
    }
}

/// The part of a hook's time that its questions to language models may take, so that it can still act on one that took too long.
const QUESTIONS: f64 = 0.95;

impl Runner {
    async fn run(&mut self, batch: Batch) {
        self.gap = batch.gap;
        let mut packets = &batch.packets[..];
        // One of these packets ended an actor: alone, it shows itself, and its neighbours stay out of it.
        let one_by_one = batch.tried.is_some();
        while let Some(first) = packets.first() {
            let Some(planned) = self.routes.plan(packets, one_by_one) else {
                self.cursor = first.seq;
                packets = &packets[1..];
                continue;
            };
            let (now, later) = packets.split_at(planned.count);
            let tried = batch.tried.filter(|(seq, _)| *seq == first.seq).map_or(0, |(_, tries)| tries);
            self.call(&planned, now, tried).await;
            packets = later;
        }
        self.in_hand.store(0, Ordering::Release);
        self.hand_on(true);
    }

    async fn call(&mut self, planned: &Planned, packets: &[Arc<DataPacket>], mut tries: u32) {
        let (first, last) = (&packets[0], &packets[packets.len() - 1]);
        self.in_hand.store(first.seq.0, Ordering::Release);
        loop {
            tries += 1;
            self.engine.datastore().begin(last.seq, last.timestamp);
            let started = Instant::now();
            let result = self.attempt(planned.what, packets).await;
            self.record.hooks.push(started.elapsed());
            let error = match result {
                Ok(ran) => return self.finish(planned, packets, ran, tries),
                Err(error) => error,
            };
            self.record.errors += 1;
            match self.policy.after(tries, error.is_reject()) {
                Next::TryAgainAfter(wait) => {
                    let (meeting, instance) = (&self.metadata.id, &self.instance);
                    debug!(%meeting, %instance, seq = %first.seq, tries, error = error.chain(), "hook failed, trying again");
                    self.hand_on(false);
                    tokio::time::sleep(wait).await;
                }
                Next::GiveUp => {
                    let dead_letters = packets
                        .iter()
                        .filter_map(|packet| self.give_up(planned, packet, tries, &error))
                        .collect();
                    return self.made(planned, packets, Vec::new(), None, dead_letters);
                }
            }
        }
    }

    /// Runs a handler once. Before it waits for anything, what is finished is handed on.
    async fn attempt(&mut self, what: Invocation, packets: &[Arc<DataPacket>]) -> Result<Ran, Error> {
        let hosted = self.hosted.clone();
        let (metadata, instance) = (self.metadata.clone(), self.instance.clone());
        let engine = self.engine.until(Instant::now() + self.policy.deadline.mul_f64(QUESTIONS));
        let (state, gap) = (self.state.clone(), self.gap);
        let call = Call { packets, gap, state, meeting: &metadata, instance: &instance, engine: &engine };
        // A hook that panics takes the actor with it, but not what the hooks before it made.
        let mut running = pin!(AssertUnwindSafe(hosted.run(what, call)).catch_unwind());
        let first = std::future::poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx))).await;
        let ran = match first {
            Poll::Ready(ran) => ran,
            Poll::Pending => {
                self.hand_on(false);
                match tokio::time::timeout(self.policy.deadline, running).await {
                    Ok(ran) => ran,
                    Err(_) => return Err(Error::retry(Deadline(self.policy.deadline))),
                }
            }
        };
        let ran = match ran {
            Ok(ran) => ran?,
            Err(panic) => {
                self.hand_on(false);
                std::panic::resume_unwind(panic);
            }
        };
        match &ran.output {
            Some(output) if output.len() > self.packet_limit => {
                Err(Error::reject(Oversized { bytes: output.len(), limit: self.packet_limit }))
            }
            _ => Ok(ran),
        }
    }

    fn finish(&mut self, planned: &Planned, packets: &[Arc<DataPacket>], ran: Ran, tries: u32) {
        kill_points::pass(KillPoint::HookEnded);
        let keys = self.engine.datastore().take_writes();
        let mut dead_letters = Vec::new();
        for rejected in &ran.rejected {
            self.record.errors += 1;
            dead_letters.extend(self.give_up(planned, &packets[rejected.index], tries, &rejected.error));
        }
        if !ran.state.ptr_eq(&self.state) {
            self.state = ran.state;
            self.state_changed = true;
        }
        let output = ran.output.map(|payload| {
            let rejected = |index: usize| ran.rejected.iter().any(|rejected| rejected.index == index);
            let taken = packets.iter().enumerate().filter(|(index, _)| !rejected(*index));
            let (causes, times): (Vec<_>, Vec<_>) =
                taken.map(|(_, packet)| (packet.seq, packet.timestamp)).unzip();
            let timestamp = times.into_iter().max().expect("invariant: an output has a cause");
            Output { payload, causes, timestamp }
        });
        self.made(planned, packets, keys, output, dead_letters);
    }

    fn give_up(
        &mut self,
        planned: &Planned,
        packet: &DataPacket,
        tries: u32,
        error: &Error,
    ) -> Option<DeadLetter> {
        let (meeting, instance) = (&self.metadata.id, &self.instance);
        let (seq, source, error) = (packet.seq, &packet.source, error.chain());
        warn!(%meeting, %instance, %seq, %source, tries, error, "packet given up");
        self.record.dead_letters += 1;
        planned.is_durable.then(|| DeadLetter::new(instance.clone(), packet, tries, &error, clock::now()))
    }

    /// A call is over: it ended well, or its packets are given up.
    fn made(
        &mut self,
        planned: &Planned,
        packets: &[Arc<DataPacket>],
        keys: Vec<KeyValue>,
        output: Option<Output>,
        dead_letters: Vec<DeadLetter>,
    ) {
        let cursor = packets[packets.len() - 1].seq;
        self.cursor = cursor;
        self.record.lost += std::mem::take(&mut self.gap);
        if matches!(planned.what, Invocation::Hook(_)) {
            self.record.delivered += packets.len() as u64;
        }
        if keys.is_empty() && output.is_none() && dead_letters.is_empty() {
            return;
        }
        self.record.outputs += u64::from(output.is_some());
        let state = std::mem::take(&mut self.state_changed).then(|| self.state.clone());
        self.cursor_handed_on = cursor;
        self.outbox.push(Made { cursor, state, keys, output, dead_letters });
    }

    fn hand_on(&mut self, done: bool) {
        // First the counts: who waits for what is handed on may ask for them.
        self.recorder.record(&mut self.record);
        let state = std::mem::take(&mut self.state_changed).then(|| self.state.clone());
        if done || state.is_some() || self.cursor > self.cursor_handed_on {
            self.cursor_handed_on = self.cursor;
            self.outbox.flush_up_to(self.cursor, state, done);
        } else {
            self.outbox.flush();
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the hook passed its deadline of {0:?}")]
struct Deadline(Duration);

#[derive(Debug, thiserror::Error)]
#[error("the output is {bytes} bytes; the limit is {limit} (limits.packet_bytes)")]
struct Oversized {
    bytes: usize,
    limit: usize,
}
