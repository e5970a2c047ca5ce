//! The actor that runs an instance's hooks.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures::FutureExt;
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use teammy_kernel::{
    DataPacket, Error, KeyValue, Lifecycle, Llm, MeetingEngine, MeetingMetadata, Name, Payload, Seq,
    SharedLlm, Store, Tick,
    log::Batch,
    plugin::{Call, HandlerOutcome, Hook, HookId, HookObserver, Hosted, Invocation, Pace, StateRef},
    store::DeadLetter,
};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{
    CurrentSeq, HookActivity, Message, Output, RetryPolicy,
    outbox::{HookEffects, Notified, Outbox},
    retry::Next,
    stopwatch::Stopwatch,
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
    pub(crate) policy: RetryPolicy,
    pub(crate) packet_limit: usize,
    pub(crate) recorder: Recorder,
    pub(crate) in_hand: CurrentSeq,
    pub(crate) activity: Arc<HookActivity>,
}

/// Which hook takes which source, as sources are called in this meeting.
#[derive(Debug, Clone)]
pub(crate) struct Routes {
    sources: Box<[Route]>,
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
        let (mut sources, mut tick) = (Vec::new(), None);
        for (id, hook) in hosted.hooks() {
            match hook {
                Hook::Source { source, max } => {
                    if let Some(source) = actual(source) {
                        let is_durable = is_durable(&source);
                        sources.push(Route { source, hook: *id, max: *max, is_durable });
                    }
                }
                Hook::Every(_) => tick = Some(*id),
                _ => {}
            }
        }
        Self { sources: sources.into(), tick }
    }

    /// The first call to make for these packets: what to run, on how many of them, and whether they can be
    /// dead letters.
    fn plan(&self, packets: &[Arc<DataPacket>], one_by_one: bool) -> Option<Planned> {
        let first = packets.first()?;
        if let Some(route) = self.sources.iter().find(|route| route.source == first.source) {
            let (what, max) = match route.max {
                1 => (What::Each(route.hook), usize::MAX),
                max => (What::Whole(Invocation::Hook(route.hook)), max),
            };
            let max = if one_by_one { 1 } else { max };
            let count = packets.iter().take(max).take_while(|packet| packet.source == first.source).count();
            return Some(Planned { what, count, is_durable: route.is_durable });
        }
        if first.source == Tick::SOURCE {
            let what = What::Whole(Invocation::Hook(self.tick?));
            return Some(Planned { what, count: 1, is_durable: false });
        }
        let what = match Lifecycle::from_payload(&first.payload)? {
            Lifecycle::Start { .. } | Lifecycle::Join { .. } => Invocation::MeetingStart,
            Lifecycle::Leave { .. } | Lifecycle::Ending => Invocation::MeetingEnd,
            _ => return None,
        };
        Some(Planned { what: What::Whole(what), count: 1, is_durable: true })
    }
}

/// How a handler runs on the packets that are planned for it.
#[derive(Clone, Copy)]
enum What {
    /// Once for each.
    Each(HookId),
    /// Once for all of them.
    Whole(Invocation),
}

struct Planned {
    what: What,
    count: usize,
    is_durable: bool,
}

impl Planned {
    /// How many deliveries these packets are: starts and ends are none.
    fn delivers(&self, packets: &[Arc<DataPacket>]) -> u64 {
        match self.what {
            What::Each(_) | What::Whole(Invocation::Hook(_)) => packets.len() as u64,
            What::Whole(_) => 0,
        }
    }
}

pub(crate) struct PluginActor;

pub(crate) struct Runner {
    shared: Arc<RunContext>,
    routes: Routes,
    policy: RetryPolicy,
    recorder: Recorder,
    activity: Arc<HookActivity>,
    record: Record,
    cursor_handed_on: Seq,
    /// It is time for others to have their turn.
    turn_is_over: bool,
    /// Before the next hook runs, those have their turn that were sent something from here: tokio keeps one
    /// of them for this thread alone, and it would wait for a hook that holds the thread.
    lets_others_first: bool,
}

/// What an instance's hooks run with. One future runs many of them, and holds this while it does.
struct RunContext {
    hosted: Hosted,
    metadata: Arc<MeetingMetadata>,
    instance: Name,
    engine: MeetingEngine,
    outbox: Arc<Outbox>,
    packet_limit: usize,
    in_hand: CurrentSeq,
    /// How many hooks of the running call have ended well.
    ended: AtomicUsize,
    /// The packet that the last hook finished with.
    cursor: AtomicU64,
    /// Where the packet in hand is delivered once more, if it is one that was given up; else 0.
    redriven_at: AtomicU64,
    /// What was lost before the next call and has not been told yet.
    gap: AtomicU64,
    /// Packets that hooks have finished with and that were lost, since they were last counted.
    delivered: AtomicU64,
    lost: AtomicU64,
    state: Mutex<Newest>,
    /// How many hooks end before the stopwatch is looked at.
    untimed: AtomicU32,
    stopwatch: Mutex<Stopwatch>,
}

/// An instance's newest state.
struct Newest {
    state: StateRef,
    /// It has changed since it was last handed on.
    is_changed: bool,
}

impl Actor for PluginActor {
    type Msg = Message;
    // Boxed both: an actor's task has room for them several times over.
    type State = Box<Runner>;
    type Arguments = Box<Args>;

    async fn pre_start(
        &self,
        _: ActorRef<Message>,
        args: Box<Args>,
    ) -> Result<Box<Runner>, ActorProcessingErr> {
        let args = *args;
        let outbox = Arc::new(args.outbox);
        let meeting = args.metadata.id.clone();
        let provider = InstanceStore {
            meeting: meeting.clone(),
            instance: args.instance.clone(),
            store: args.store,
            outbox: outbox.clone(),
        };
        let llm = Llm::new(args.llm, meeting, args.instance.clone());
        let llm = llm.limit(args.policy.deadline.mul_f64(QUESTIONS));
        let datastore = teammy_kernel::Datastore::new(Arc::new(provider));
        let shared = RunContext {
            hosted: args.hosted,
            metadata: args.metadata,
            instance: args.instance,
            engine: MeetingEngine::new(llm, datastore),
            outbox,
            packet_limit: args.packet_limit,
            in_hand: args.in_hand,
            ended: AtomicUsize::new(0),
            cursor: AtomicU64::new(0),
            redriven_at: AtomicU64::new(0),
            gap: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            state: Mutex::new(Newest { state: args.state, is_changed: false }),
            untimed: AtomicU32::new(1),
            stopwatch: Mutex::default(),
        };
        Ok(Box::new(Runner {
            shared: Arc::new(shared),
            routes: args.routes,
            policy: args.policy,
            recorder: args.recorder,
            activity: args.activity,
            record: Record::default(),
            cursor_handed_on: Seq::ZERO,
            turn_is_over: false,
            lets_others_first: false,
        }))
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        runner: &mut Box<Runner>,
    ) -> Result<(), ActorProcessingErr> {
        let Message::Deliver(batch) = message;
        // Boxed, so that an instance that has nothing to do keeps no room for it.
        Box::pin(runner.run(batch)).await;
        Ok(())
    }
}

/// The part of a hook's time that its questions to language models may take, so that it can still act on one
/// that took too long.
const QUESTIONS: f64 = 0.95;

/// How long hooks run one behind the other before what they made is handed on and other instances have their
/// turn.
const SLICE: Duration = Duration::from_millis(1);

impl RunContext {
    fn cursor(&self) -> Seq {
        Seq(self.cursor.load(Ordering::Relaxed))
    }

    /// A call is over: it ended well, or its packets are given up. So many packets were delivered with it.
    fn made(
        &self,
        cursor: Seq,
        delivered: u64,
        keys: Vec<KeyValue>,
        output: Option<Output>,
        dead_letters: Vec<DeadLetter>,
    ) {
        self.passed(cursor, delivered);
        // One that was given up and is finished with now is a dead letter no more.
        let redriven = (self.is_redrive() && dead_letters.is_empty()).then_some(cursor);
        if keys.is_empty() && output.is_none() && dead_letters.is_empty() && redriven.is_none() {
            return;
        }
        let (cursor, state) = (self.place(cursor), self.state.lock().take_changed());
        self.outbox.push(HookEffects { cursor, state, keys, output, dead_letters, redriven });
    }

    fn is_redrive(&self) -> bool {
        self.redriven_at.load(Ordering::Relaxed) > 0
    }

    /// Where the log is when this packet is done: at its own place, or at that of its redrive.
    fn place(&self, seq: Seq) -> Seq {
        match self.redriven_at.load(Ordering::Relaxed) {
            0 => seq,
            at => Seq(at),
        }
    }

    /// A call that ended well has made what is not nothing.
    fn made_by_one(
        &self,
        packet: &DataPacket,
        state: Option<StateRef>,
        output: Option<Payload>,
    ) -> Result<(), Error> {
        self.within_limit(output.as_ref())?;
        kill_points::pass(KillPoint::HookEnded);
        if let Some(state) = state {
            self.changed(state);
        }
        let output =
            output.map(|payload| Output { payload, causes: vec![packet.seq], timestamp: packet.timestamp });
        self.made(packet.seq, 1, self.engine.datastore().take_writes(), output, Vec::new());
        Ok(())
    }

    /// A call is over, up to a cursor; so many packets were delivered with it.
    fn passed(&self, cursor: Seq, delivered: u64) {
        // Nobody else writes these while a hook runs: no addition needs to be atomic.
        self.cursor.store(self.place(cursor).0, Ordering::Relaxed);
        self.delivered.store(self.delivered.load(Ordering::Relaxed) + delivered, Ordering::Relaxed);
        let gap = self.gap.load(Ordering::Relaxed);
        if gap > 0 {
            self.gap.store(0, Ordering::Relaxed);
            self.lost.store(self.lost.load(Ordering::Relaxed) + gap, Ordering::Relaxed);
        }
    }

    /// Tells the stopwatch how many hooks have ended, and something more, and asks it when it wants to hear
    /// again.
    fn time(&self, tell: impl FnOnce(&mut Stopwatch, u32)) {
        let mut stopwatch = self.stopwatch.lock();
        let ended = stopwatch.run() - self.untimed.load(Ordering::Relaxed);
        tell(&mut stopwatch, ended);
        self.untimed.store(stopwatch.run(), Ordering::Relaxed);
    }

    fn changed(&self, state: StateRef) {
        let mut newest = self.state.lock();
        if !newest.state.ptr_eq(&state) {
            *newest = Newest { state, is_changed: true };
        }
    }

    fn within_limit(&self, output: Option<&Payload>) -> Result<(), Error> {
        match output {
            Some(output) if output.len() > self.packet_limit => {
                Err(Error::reject(Oversized { bytes: output.len(), limit: self.packet_limit }))
            }
            _ => Ok(()),
        }
    }

    fn call<'a>(&'a self, packets: &'a [Arc<DataPacket>]) -> Call<'a> {
        let state = self.state.lock().state.clone();
        let gap = self.gap.load(Ordering::Relaxed);
        let (meeting, instance, engine) = (&*self.metadata, &self.instance, &self.engine);
        Call { packets, gap, state, meeting, instance, engine }
    }

    fn begin(&self, packet: &DataPacket) {
        self.engine.begin(packet.seq, packet.timestamp);
    }
}

impl Newest {
    fn take_changed(&mut self) -> Option<StateRef> {
        std::mem::take(&mut self.is_changed).then(|| self.state.clone())
    }
}

impl HookObserver for RunContext {
    fn begins(&self, packet: &Arc<DataPacket>) {
        self.in_hand.store(packet.seq.0, Ordering::Release);
        self.begin(packet);
    }

    fn ended(
        &self,
        packet: &Arc<DataPacket>,
        state: Option<StateRef>,
        output: Option<Payload>,
    ) -> Result<Pace, Error> {
        let is_nothing = state.is_none() && output.is_none() && !self.engine.datastore().has_writes();
        if is_nothing && !self.is_redrive() {
            kill_points::pass(KillPoint::HookEnded);
            self.passed(packet.seq, 1);
        } else {
            self.made_by_one(packet, state, output)?;
        }
        self.ended.store(self.ended.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        let untimed = self.untimed.load(Ordering::Relaxed) - 1;
        self.untimed.store(untimed, Ordering::Relaxed);
        if untimed > 0 {
            return Ok(Pace::Continue);
        }
        let mut is_long = false;
        self.time(|stopwatch, ended| is_long = stopwatch.lap(ended) >= SLICE);
        Ok(if is_long { Pace::Yield } else { Pace::Continue })
    }

    fn resumes(&self) {
        self.time(Stopwatch::start_turn);
    }
}

impl Runner {
    async fn run(&mut self, batch: Batch) {
        if std::mem::take(&mut self.lets_others_first) {
            tokio::task::yield_now().await;
        }
        self.shared.gap.store(batch.gap, Ordering::Relaxed);
        self.shared.redriven_at.store(batch.redriven_at.map_or(0, |at| at.0), Ordering::Relaxed);
        self.shared.time(Stopwatch::start);
        let mut packets = &batch.packets[..];
        // One of these packets ended an actor: alone, it shows itself, and its neighbours stay out of it.
        let one_by_one = batch.tried.is_some();
        while let Some(first) = packets.first() {
            let Some(planned) = self.routes.plan(packets, one_by_one) else {
                self.shared.cursor.store(self.shared.place(first.seq).0, Ordering::Relaxed);
                packets = &packets[1..];
                continue;
            };
            self.activity.hook(&first.source);
            let (now, later) = packets.split_at(planned.count);
            let tried = batch.tried.filter(|(seq, _)| *seq == first.seq).map_or(0, |(_, tries)| tries);
            self.call(&planned, now, tried).await;
            packets = later;
            if std::mem::take(&mut self.turn_is_over) {
                tokio::task::yield_now().await;
                self.shared.resumes();
            }
        }
        self.shared.in_hand.store(0, Ordering::Release);
        self.hand_on(true);
    }

    async fn call(&mut self, planned: &Planned, mut packets: &[Arc<DataPacket>], mut tries: u32) {
        while !packets.is_empty() {
            self.shared.ended.store(0, Ordering::Relaxed);
            let result = match planned.what {
                What::Each(hook) => self.attempt_each(hook, packets).await.map(|()| None),
                What::Whole(what) => self.attempt(what, packets).await.map(Some),
            };
            // What is done with: single hooks that ended well, or the whole.
            let ended = self.shared.ended.load(Ordering::Relaxed);
            if ended > 0 {
                packets = &packets[ended..];
                tries = 0;
            }
            let error = match result {
                Ok(None) => return,
                Ok(Some(ran)) => return self.finish(planned, packets, ran, tries + 1),
                Err(error) => error,
            };
            tries += 1;
            self.record.errors += 1;
            // What failed: the one hook that began last, or the whole.
            let failed = match planned.what {
                What::Each(_) => &packets[..1],
                What::Whole(_) => packets,
            };
            match self.policy.after(tries, error.is_reject()) {
                Next::TryAgainAfter(wait) => {
                    let (meeting, instance) = (&self.shared.metadata.id, &self.shared.instance);
                    let seq = failed[0].seq;
                    debug!(%meeting, %instance, %seq, tries, error = error.chain(), "hook failed, trying again");
                    self.hand_on(false);
                    tokio::time::sleep(wait).await;
                    self.shared.time(Stopwatch::start);
                }
                Next::GiveUp => {
                    let dead_letters = failed
                        .iter()
                        .filter_map(|packet| self.give_up(planned, packet, tries, &error))
                        .collect();
                    let cursor = failed[failed.len() - 1].seq;
                    self.shared.made(cursor, planned.delivers(failed), Vec::new(), None, dead_letters);
                    packets = &packets[failed.len()..];
                    tries = 0;
                }
            }
        }
    }

    /// Runs a hook on each packet until one fails.
    async fn attempt_each(&mut self, hook: HookId, packets: &[Arc<DataPacket>]) -> Result<(), Error> {
        let shared = self.shared.clone();
        let running = shared.hosted.each(hook, shared.call(packets), &*shared);
        self.drive(running).await
    }

    /// Runs a handler once on all packets.
    async fn attempt(
        &mut self,
        what: Invocation,
        packets: &[Arc<DataPacket>],
    ) -> Result<HandlerOutcome, Error> {
        let shared = self.shared.clone();
        shared.in_hand.store(packets[0].seq.0, Ordering::Release);
        shared.begin(&packets[packets.len() - 1]);
        let ran = self.drive(shared.hosted.run(what, shared.call(packets))).await;
        // Starts and ends are no packets' hooks, and an instance that had none costs no histogram.
        let mut took = Duration::ZERO;
        match what {
            Invocation::Hook(_) => shared.time(|stopwatch, ended| took = stopwatch.lap(ended + 1)),
            _ => shared.time(Stopwatch::start),
        }
        self.turn_is_over = took >= SLICE;
        let ran = ran?;
        shared.within_limit(ran.output.as_ref())?;
        Ok(ran)
    }

    /// Runs hooks. Before one waits for anything, what is finished is handed on; from then on it has its
    /// deadline.
    async fn drive<T>(&mut self, running: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let shared = self.shared.clone();
        // A hook that panics takes the actor with it, but not what the hooks before it made.
        let mut running = pin!(AssertUnwindSafe(running).catch_unwind());
        let activity = self.activity.clone();
        activity.holds(Instant::now());
        let mut next = std::future::poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx))).await;
        let ran = loop {
            if let Poll::Ready(ran) = next {
                break ran;
            }
            self.hand_on(false);
            let now = Instant::now();
            activity.waits(now);
            let deadline = now + self.policy.deadline;
            shared.engine.until(now + self.policy.deadline.mul_f64(QUESTIONS));
            let ended = shared.ended.load(Ordering::Relaxed);
            // It has just been polled, and wakes this task when it is to be polled again: it may have wanted
            // others to have their turn.
            let mut is_polled = true;
            let step = std::future::poll_fn(|cx| {
                if std::mem::take(&mut is_polled) {
                    return Poll::Pending;
                }
                activity.holds(Instant::now());
                let next = running.as_mut().poll(cx);
                if next.is_pending() {
                    activity.waits(now);
                }
                match next {
                    // Another hook waits now, which has a deadline of its own.
                    Poll::Pending if shared.ended.load(Ordering::Relaxed) != ended => {
                        Poll::Ready(Poll::Pending)
                    }
                    Poll::Pending => Poll::Pending,
                    ran @ Poll::Ready(_) => Poll::Ready(ran),
                }
            });
            let Ok(stepped) = tokio::time::timeout_at(deadline, step).await else {
                activity.rests();
                return Err(Error::retry(Deadline(self.policy.deadline)));
            };
            next = stepped;
        };
        activity.rests();
        match ran {
            Ok(ran) => ran,
            Err(panic) => {
                self.hand_on(false);
                // A message that was put together may quote the packet; one that stands in the program
                // doesn't.
                let said = panic.downcast_ref::<&'static str>().copied();
                let said = said
                    .unwrap_or("the hook panicked with a message that may quote the packet, and is left out");
                std::panic::resume_unwind(Box::new(said.to_owned()));
            }
        }
    }

    /// A handler that ran on all packets at once has ended well.
    fn finish(&mut self, planned: &Planned, packets: &[Arc<DataPacket>], ran: HandlerOutcome, tries: u32) {
        kill_points::pass(KillPoint::HookEnded);
        let keys = self.shared.engine.datastore().take_writes();
        let mut dead_letters = Vec::new();
        for rejected in &ran.rejected {
            self.record.errors += 1;
            dead_letters.extend(self.give_up(planned, &packets[rejected.index], tries, &rejected.error));
        }
        self.shared.changed(ran.state);
        let output = ran.output.map(|payload| {
            let rejected = |index: usize| ran.rejected.iter().any(|rejected| rejected.index == index);
            let taken = packets.iter().enumerate().filter(|(index, _)| !rejected(*index));
            let (causes, times): (Vec<_>, Vec<_>) =
                taken.map(|(_, packet)| (packet.seq, packet.timestamp)).unzip();
            let timestamp = times.into_iter().max().expect("invariant: an output has a cause");
            Output { payload, causes, timestamp }
        });
        let cursor = packets[packets.len() - 1].seq;
        self.shared.made(cursor, planned.delivers(packets), keys, output, dead_letters);
    }

    fn give_up(
        &mut self,
        planned: &Planned,
        packet: &DataPacket,
        tries: u32,
        error: &Error,
    ) -> Option<DeadLetter> {
        let (meeting, instance) = (&self.shared.metadata.id, &self.shared.instance);
        let (seq, source, error) = (packet.seq, &packet.source, error.chain());
        warn!(%meeting, %instance, %seq, %source, tries, error, "packet given up");
        self.record.dead_letters += 1;
        planned.is_durable.then(|| DeadLetter::new(instance.clone(), packet, tries, &error, clock::now()))
    }

    fn hand_on(&mut self, done: bool) {
        // First the counts: who waits for what is handed on may ask for them.
        self.record.outputs += self.shared.outbox.take_count();
        self.record.delivered += self.shared.delivered.swap(0, Ordering::Relaxed);
        self.record.lost += self.shared.lost.swap(0, Ordering::Relaxed);
        let laps = &mut self.record.hooks;
        self.shared.time(|stopwatch, ended| stopwatch.read(ended, laps));
        self.recorder.record(&mut self.record);
        let state = self.shared.state.lock().take_changed();
        let cursor = self.shared.cursor();
        if done || state.is_some() || cursor > self.cursor_handed_on {
            self.cursor_handed_on = cursor;
            let told = self.shared.outbox.flush_up_to(cursor, state, done);
            self.lets_others_first = done && told == Notified::Woken;
        } else {
            self.shared.outbox.flush();
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
