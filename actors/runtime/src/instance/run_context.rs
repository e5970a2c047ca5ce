//! What an instance's hooks run with: the plugin, its newest state, the engine, and the counts of a call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use teammy_kernel::{
    DataPacket, EngineControl, Error, KeyValue, MeetingMetadata, Name, Payload, Seq, Tick, Timestamp,
    plugin::{Call, HookObserver, HookOutput, Hosted, Outputs, Pace, StateRef, Tries},
    store::DeadLetter,
    timers::{DueTimer, Timers},
};

use super::{
    effects::{CurrentSeq, Output},
    hook_trace::HookTrace,
    models::InstanceModels,
    outbox::{HookEffects, Outbox},
    stopwatch::Stopwatch,
};
use crate::kill_points::{self, KillPoint};

/// How long hooks run without a pause before their effects are submitted and other instances get the thread.
pub(super) const SLICE: Duration = Duration::from_millis(1);

/// Shared by the runner and by the one future that runs the hooks of a call.
///
/// Only one of them writes at a time, so the counters need no atomic additions.
pub(super) struct RunContext {
    pub(super) hosted: Hosted,
    pub(super) metadata: Arc<MeetingMetadata>,
    pub(super) instance: Name,
    pub(super) engine: EngineControl,
    /// The language models, if any is configured.
    models: Option<Arc<InstanceModels>>,
    pub(super) trace: Arc<HookTrace>,
    pub(super) outbox: Arc<Outbox>,
    /// The largest output, in bytes of its payload.
    packet_limit: usize,
    pub(super) current: CurrentSeq,
    /// How many hooks of the running call have ended well.
    ended: AtomicUsize,
    /// Whether the running call is `on_meeting_end`.
    is_end: AtomicBool,
    /// The position in the log up to which hooks have finished.
    cursor: AtomicU64,
    /// The last packet that a hook has finished with, or that none takes; not one that only moved the clock.
    last_packet: AtomicU64,
    /// If the current packet is a redriven one, the seq of its redrive; else 0.
    redriven_at: AtomicU64,
    /// How many packets were lost before the next call.
    gap: AtomicU64,
    /// How many packets hooks have finished with since the counts were last taken.
    delivered: AtomicU64,
    /// How many packets were lost since the counts were last taken.
    lost: AtomicU64,
    newest: Mutex<NewestState>,
    /// The instance's timers, if its plugin takes any.
    timers: Option<Mutex<Timers>>,
    /// How many more hooks end before the stopwatch is read.
    untimed: AtomicU32,
    stopwatch: Mutex<Stopwatch>,
}

struct NewestState {
    state: StateRef,
    /// Whether it has changed since it was last submitted.
    is_changed: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the output is {bytes} bytes; the limit is {limit} (limits.packet_bytes)")]
struct Oversized {
    bytes: usize,
    limit: usize,
}

impl NewestState {
    fn take_changed(&mut self) -> Option<StateRef> {
        std::mem::take(&mut self.is_changed).then(|| self.state.clone())
    }
}

impl RunContext {
    #[allow(clippy::too_many_arguments, reason = "it is made in one place")]
    pub(super) fn new(
        hosted: Hosted,
        metadata: Arc<MeetingMetadata>,
        instance: Name,
        engine: EngineControl,
        models: Option<Arc<InstanceModels>>,
        trace: Arc<HookTrace>,
        outbox: Arc<Outbox>,
        packet_limit: usize,
        current: CurrentSeq,
        state: StateRef,
        cursor: Seq,
        timers: Option<Timers>,
    ) -> Self {
        Self {
            hosted,
            metadata,
            instance,
            engine,
            models,
            trace,
            outbox,
            packet_limit,
            current,
            ended: AtomicUsize::new(0),
            is_end: AtomicBool::new(false),
            cursor: AtomicU64::new(cursor.0),
            last_packet: AtomicU64::new(cursor.0),
            redriven_at: AtomicU64::new(0),
            gap: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            newest: Mutex::new(NewestState { state, is_changed: false }),
            timers: timers.map(Mutex::new),
            untimed: AtomicU32::new(1),
            stopwatch: Mutex::default(),
        }
    }

    /// A batch begins: how many packets were lost before it, and where its redrive stands if it is one.
    pub(super) fn start_batch(&self, gap: u64, redriven_at: Option<Seq>) {
        self.gap.store(gap, Ordering::Relaxed);
        self.redriven_at.store(redriven_at.map_or(0, |at| at.0), Ordering::Relaxed);
        self.time(Stopwatch::start);
    }

    /// A call begins: none of its hooks has ended. `is_end` says whether it is `on_meeting_end`.
    pub(super) fn start_call(&self, is_end: bool) {
        self.ended.store(0, Ordering::Relaxed);
        self.is_end.store(is_end, Ordering::Relaxed);
    }

    /// How many hooks of the running call have ended well.
    pub(super) fn ended_hooks(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }

    /// The position in the log up to which hooks have finished.
    pub(super) fn cursor(&self) -> Seq {
        Seq(self.cursor.load(Ordering::Relaxed))
    }

    /// The instance's first timer that comes before a packet of this time.
    pub(super) fn due_timer(&self, by: Timestamp) -> Option<DueTimer> {
        self.timers.as_ref()?.lock().due(by)
    }

    /// When the instance's next timer is due.
    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        self.timers.as_ref()?.lock().next()
    }

    /// How many of these packets come before the next timer: the first one at least.
    pub(super) fn count_before_timer(&self, packets: &[Arc<DataPacket>]) -> usize {
        let Some(next) = self.next_timer() else { return packets.len() };
        let before = packets.iter().skip(1).take_while(|packet| packet.timestamp < next);
        1 + before.count()
    }

    /// The instance's first handler runs on this packet: its ticks are counted from here. Adds to `keys` what says
    /// so in the store.
    pub(super) fn start_ticks(&self, packet: &DataPacket, keys: &mut Vec<KeyValue>) {
        if let Some(timers) = &self.timers {
            keys.extend(timers.lock().start(packet.timestamp));
        }
    }

    /// A timer's call is done. Adds to `keys` what says so in the store.
    pub(super) fn timer_fired(&self, timer: &DueTimer, keys: &mut Vec<KeyValue>, has_effects: bool) {
        if let Some(timers) = &self.timers {
            timers.lock().fired(timer, keys, has_effects);
        }
    }

    /// The last packet that the instance has finished with, but for those that only moved its clock: they depend on
    /// how fast the others came.
    pub(super) fn last_packet(&self) -> Seq {
        Seq(self.last_packet.load(Ordering::Relaxed))
    }

    /// Passes a packet that no hook takes.
    pub(super) fn skip(&self, packet: &DataPacket) {
        let seq = packet.seq;
        if packet.source != *Tick::SOURCE {
            self.last_packet.store(seq.0, Ordering::Relaxed);
        }
        self.cursor.store(self.position(seq).0, Ordering::Relaxed);
    }

    /// Puts the effects of a call into the outbox. The call ended well, or its packets were given up.
    pub(super) fn finish(
        &self,
        cursor: Seq,
        deliveries: u64,
        mut keys: Vec<KeyValue>,
        outputs: impl Iterator<Item = Output>,
        dead_letters: Vec<DeadLetter>,
    ) {
        if let Some(models) = &self.models {
            models.ended(&mut keys);
        }
        self.advance(cursor, deliveries);
        if let Some(timers) = &self.timers {
            timers.lock().written(&keys);
        }
        // A redriven packet that did not fail again is no dead letter any more.
        let redriven = (self.is_redrive() && dead_letters.is_empty()).then_some(cursor);
        let mut outputs = outputs.peekable();
        if keys.is_empty() && outputs.peek().is_none() && dead_letters.is_empty() && redriven.is_none() {
            return;
        }
        let (cursor, state) = (self.position(cursor), self.take_changed_state());
        let is_end = self.is_end.load(Ordering::Relaxed);
        self.outbox.push(HookEffects { cursor, state, keys, dead_letters, redriven, is_end }, outputs);
    }

    /// The newest state, if it has changed since it was last submitted.
    pub(super) fn take_changed_state(&self) -> Option<StateRef> {
        self.newest.lock().take_changed()
    }

    /// Sets the newest state. Returns whether it is another one.
    pub(super) fn set_state(&self, state: StateRef) -> bool {
        let mut newest = self.newest.lock();
        let is_other = !newest.state.ptr_eq(&state);
        if is_other {
            *newest = NewestState { state, is_changed: true };
        }
        is_other
    }

    /// Takes the counts since the last time: packets delivered, and packets lost.
    pub(super) fn take_counts(&self) -> (u64, u64) {
        (self.delivered.swap(0, Ordering::Relaxed), self.lost.swap(0, Ordering::Relaxed))
    }

    /// Reports the hooks that ended since the last reading to the stopwatch, through `report`, and notes when
    /// the next reading is due.
    pub(super) fn time(&self, report: impl FnOnce(&mut Stopwatch, u32)) {
        let mut stopwatch = self.stopwatch.lock();
        let ended = stopwatch.run() - self.untimed.load(Ordering::Relaxed);
        report(&mut stopwatch, ended);
        self.untimed.store(stopwatch.run(), Ordering::Relaxed);
    }

    /// Rejects outputs if one is over the limit.
    pub(super) fn check_outputs(&self, outputs: &Outputs) -> Result<(), Error> {
        match outputs.iter().map(Payload::len).find(|bytes| *bytes > self.packet_limit) {
            Some(bytes) => Err(Error::reject(Oversized { bytes, limit: self.packet_limit })),
            None => Ok(()),
        }
    }

    pub(super) fn call<'a>(&'a self, packets: &'a [Arc<DataPacket>], tries: Tries) -> Call<'a> {
        let state = self.newest.lock().state.clone();
        let gap = self.gap.load(Ordering::Relaxed);
        let (meeting, instance, engine) = (&*self.metadata, &self.instance, self.engine.engine());
        Call { packets, gap, tries, state, meeting, instance, engine }
    }

    /// A hook is about to run on these packets.
    pub(super) fn begin_hook(&self, packets: &[Arc<DataPacket>]) {
        let last = &packets[packets.len() - 1];
        self.trace.begin(packets);
        self.begin_at(last.seq, last.timestamp);
    }

    fn begin_at(&self, seq: Seq, timestamp: Timestamp) {
        self.engine.begin(seq, timestamp);
        if let Some(models) = &self.models {
            models.begin(seq);
        }
    }

    /// The running hook has failed.
    pub(super) fn hook_failed(&self, error: &Error) {
        self.trace.end(Some(if error.is_reject() { "rejected" } else { "failed" }));
        if let Some(models) = &self.models {
            models.failed();
        }
    }

    /// A hook is about to run for a timer of this time. It reads all that the instance has finished with.
    pub(super) fn begin_timer(&self, at: Timestamp) {
        self.trace.begin(&[]);
        self.begin_at(self.cursor().next(), at);
    }

    fn is_redrive(&self) -> bool {
        self.redriven_at.load(Ordering::Relaxed) > 0
    }

    /// The position in the log once this packet is done: its own seq, or that of its redrive.
    fn position(&self, seq: Seq) -> Seq {
        match self.redriven_at.load(Ordering::Relaxed) {
            0 => seq,
            at => Seq(at),
        }
    }

    /// A hook on a single packet ended well and has effects.
    fn finish_one(
        &self,
        packet: &DataPacket,
        state: Option<StateRef>,
        outputs: Option<Outputs>,
    ) -> Result<(), Error> {
        outputs.as_ref().map_or(Ok(()), |outputs| self.check_outputs(outputs))?;
        kill_points::pass(KillPoint::HookEnded);
        if let Some(state) = state {
            self.set_state(state);
        }
        let output = |output: HookOutput| Output {
            payload: output.payload,
            participant: output.participant,
            causes: vec![packet.seq],
            timestamp: packet.timestamp,
            trace: self.trace.context(),
        };
        let outputs = outputs.into_iter().flatten().map(output);
        self.finish(packet.seq, 1, self.engine.take_writes(), outputs, Vec::new());
        Ok(())
    }

    /// Moves the cursor and counts deliveries and losses.
    fn advance(&self, cursor: Seq, deliveries: u64) {
        if cursor != self.cursor() {
            self.last_packet.store(cursor.0, Ordering::Relaxed);
        }
        self.cursor.store(self.position(cursor).0, Ordering::Relaxed);
        self.delivered.store(self.delivered.load(Ordering::Relaxed) + deliveries, Ordering::Relaxed);
        let gap = self.gap.load(Ordering::Relaxed);
        if gap > 0 {
            self.gap.store(0, Ordering::Relaxed);
            self.lost.store(self.lost.load(Ordering::Relaxed) + gap, Ordering::Relaxed);
        }
    }
}

impl HookObserver for RunContext {
    fn begins(&self, packet: &Arc<DataPacket>) {
        self.current.store(packet.seq.0, Ordering::Release);
        self.begin_hook(std::slice::from_ref(packet));
    }

    fn has_timers(&self) -> bool {
        self.timers.is_some()
    }

    fn stops_before(&self, packet: &DataPacket) -> bool {
        self.next_timer().is_some_and(|at| at <= packet.timestamp)
    }

    fn ended(
        &self,
        packet: &Arc<DataPacket>,
        state: Option<StateRef>,
        outputs: Option<Outputs>,
    ) -> Result<Pace, Error> {
        let has_answers = self.models.as_ref().is_some_and(|models| models.has_effects());
        let has_effects = state.is_some() || outputs.is_some() || self.engine.has_writes() || has_answers;
        if has_effects || self.is_redrive() {
            self.finish_one(packet, state, outputs)?;
        } else {
            kill_points::pass(KillPoint::HookEnded);
            self.advance(packet.seq, 1);
        }
        self.trace.end(None);
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
