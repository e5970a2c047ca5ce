//! Runs an instance's hooks over a batch: retries, deadlines, dead letters, and when effects are submitted.

use std::{
    future::Future,
    iter,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
    time::Duration,
};

use futures::FutureExt;
use teammy_kernel::{
    DataPacket, Error, Name, Payload, Publish, Seq, Tick, Timestamp, Wake,
    log::{
        Batch,
        failure::{self, FailurePolicy, HookDecision},
    },
    plugin::{HandlerOutcome, HookId, HookOutput, Invocation, Tries},
    store::DeadLetter,
    timers::DueTimer,
};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{
    activity::HookActivity,
    effects::Output,
    outbox::Notified,
    recorder::{Counts, Recorder},
    routes::{Execution, PlannedCall, Routes},
    run_context::{RunContext, SLICE},
    stopwatch::Stopwatch,
};
use crate::{
    clock,
    kill_points::{self, KillPoint},
};

/// The share of a hook's deadline that its requests to language models may take, so that the hook can still
/// act when a request took too long.
pub(super) const LLM_SHARE: f64 = 0.95;

/// An instance's actor's state.
pub(crate) struct Runner {
    context: Arc<RunContext>,
    routes: Routes,
    policy: FailurePolicy,
    /// How long a hook may take.
    deadline: Duration,
    recorder: Recorder,
    activity: Arc<HookActivity>,
    /// What happened since the recorder was last told.
    counts: Counts,
    submitted_cursor: Seq,
    /// Hooks have run for [`SLICE`]: other instances get the thread next.
    is_slice_over: bool,
    /// The last submission woke other instances from this thread. They run before the next hook: tokio keeps
    /// one of them for this thread alone, and a hook that holds the thread would delay it.
    yields_first: bool,
    /// When the meeting expects the next timer.
    told_timer: Option<Timestamp>,
}

/// Whether a call is the instance's first: `on_meeting_start`.
fn is_start(planned: &PlannedCall) -> bool {
    matches!(planned.execution, Execution::Once(Invocation::MeetingStart))
}

#[derive(Debug, thiserror::Error)]
#[error("the hook passed its deadline of {0:?}")]
struct Deadline(Duration);

impl Runner {
    pub(super) fn new(
        context: Arc<RunContext>,
        routes: Routes,
        policy: FailurePolicy,
        deadline: Duration,
        recorder: Recorder,
        activity: Arc<HookActivity>,
    ) -> Self {
        Self {
            context,
            routes,
            policy,
            deadline,
            recorder,
            activity,
            counts: Counts::default(),
            submitted_cursor: Seq::ZERO,
            is_slice_over: false,
            yields_first: false,
            told_timer: None,
        }
    }

    pub(super) async fn run(&mut self, batch: Batch) {
        if std::mem::take(&mut self.yields_first) {
            tokio::task::yield_now().await;
        }
        self.context.start_batch(batch.gap, batch.redriven_at);
        let mut packets = &batch.packets[..];
        // An earlier actor panicked on a packet of this batch. Run one by one, only the bad packet fails.
        let one_by_one = batch.tried.is_some();
        while let Some(first) = packets.first() {
            if batch.redriven_at.is_none()
                && let Some(timer) = self.context.due_timer(first.timestamp)
            {
                self.fire(&timer).await;
                self.yield_after_slice().await;
                continue;
            }
            let Some(planned) = self.routes.plan(packets, one_by_one) else {
                self.context.skip(first);
                packets = &packets[1..];
                continue;
            };
            self.activity.begin(&first.source);
            let mut now = &packets[..planned.count];
            if matches!(planned.execution, Execution::Once(_)) {
                now = &now[..self.context.count_before_timer(now)];
            }
            let done = self.call(&planned, now, batch.tries_of(first.seq)).await;
            packets = &packets[done..];
            self.yield_after_slice().await;
        }
        self.context.current.store(0, Ordering::Release);
        self.submit(true);
        self.tell_timer();
    }

    async fn yield_after_slice(&mut self) {
        if std::mem::take(&mut self.is_slice_over) {
            tokio::task::yield_now().await;
            self.context.time(Stopwatch::start_turn);
        }
    }

    /// Tells the meeting when the next timer is due, if it does not know.
    pub(super) fn tell_timer(&mut self) {
        let next = self.context.next_timer();
        if next != self.told_timer {
            self.told_timer = next;
            self.context.outbox.wake_at(next);
        }
    }

    /// Runs the hook of a timer until it is done with.
    async fn fire(&mut self, timer: &DueTimer) {
        let (source, key, cause) = match timer {
            DueTimer::Tick { .. } => (Tick::SOURCE, "", self.context.last_packet()),
            DueTimer::Wake { key, set_by, .. } => (Wake::SOURCE, key.as_str(), *set_by),
        };
        let source = Name::new(source).expect("invariant: the reserved names are well formed");
        let Some(planned) = self.routes.plan_timer(timer) else {
            // An earlier version of the plugin asked for it.
            let mut keys = Vec::new();
            self.context.timer_fired(timer, &mut keys, true);
            return self.context.finish(self.context.cursor(), 0, keys, iter::empty(), Vec::new());
        };
        self.activity.begin(&source);
        let publish = Publish::on(source, Payload::Text(key.into())).timestamp(timer.at());
        let packet = publish.into_packet(self.context.metadata.id.clone(), cause, clock::now());
        self.call(&planned, &[Arc::new(packet)], 0).await;
    }

    /// Runs a handler until its packets are done with: handled, or given up. Returns how many are; fewer than all
    /// if a timer comes before the others.
    async fn call(&mut self, planned: &PlannedCall, all: &[Arc<DataPacket>], mut tries: u32) -> usize {
        let mut packets = all;
        while !packets.is_empty() {
            self.context.start_call(matches!(planned.execution, Execution::Once(Invocation::MeetingEnd)));
            let result = match planned.execution {
                Execution::PerPacket(hook) => self.attempt_each(hook, packets, tries).await.map(|()| None),
                Execution::Once(handler) => self.attempt(planned, handler, packets, tries).await.map(Some),
            };
            let ended = self.context.ended_hooks();
            if ended > 0 {
                packets = &packets[ended..];
                tries = 0;
            }
            let error = match result {
                Ok(None) => return all.len() - packets.len(),
                Ok(Some(outcome)) => {
                    self.finish(planned, packets, outcome, tries + 1);
                    return all.len();
                }
                Err(error) => error,
            };
            tries += 1;
            self.context.hook_failed(&error);
            self.counts.errors += 1;
            // A hook that takes one packet at a time has failed on the first packet that is left.
            let failed = match planned.execution {
                Execution::PerPacket(_) => &packets[..1],
                Execution::Once(_) => packets,
            };
            match self.policy.hook_failed(tries, &error) {
                HookDecision::RetryAfter(delay) => {
                    let (meeting, instance) = (&self.context.metadata.id, &self.context.instance);
                    let seq = failed[0].seq;
                    debug!(%meeting, %instance, %seq, tries, error = error.chain(), "hook failed, retrying");
                    self.submit(false);
                    tokio::time::sleep(delay).await;
                    self.context.time(Stopwatch::start);
                }
                HookDecision::GiveUp => {
                    let dead_letters = failed
                        .iter()
                        .filter_map(|packet| self.give_up(planned, packet, tries, &error))
                        .collect();
                    let cursor = self.cursor_after(planned, failed);
                    let deliveries = planned.deliveries(failed);
                    let mut keys = Vec::new();
                    if let Some(timer) = &planned.timer {
                        self.context.timer_fired(timer, &mut keys, true);
                    }
                    if is_start(planned) {
                        self.context.start_ticks(&failed[0], &mut keys);
                    }
                    self.context.finish(cursor, deliveries, keys, iter::empty(), dead_letters);
                    return all.len() - packets.len() + failed.len();
                }
            }
        }
        all.len()
    }

    /// The cursor once a call is done with its packets. A timer's packet is in no log.
    fn cursor_after(&self, planned: &PlannedCall, packets: &[Arc<DataPacket>]) -> Seq {
        match planned.timer {
            Some(_) => self.context.cursor(),
            None => packets[packets.len() - 1].seq,
        }
    }

    /// The try that follows so many tries.
    fn next_try(&self, tries: u32) -> Tries {
        Tries { attempt: tries.saturating_add(1), most: self.policy.tries }
    }

    /// Runs a hook on each packet until one fails. The first packet was tried so often before.
    async fn attempt_each(
        &mut self,
        hook: HookId,
        packets: &[Arc<DataPacket>],
        tries: u32,
    ) -> Result<(), Error> {
        let context = self.context.clone();
        let running = context.hosted.each(hook, context.call(packets, self.next_try(tries)), &*context);
        self.drive(running, false).await
    }

    /// Runs a handler once on all packets, which were tried so often before.
    async fn attempt(
        &mut self,
        planned: &PlannedCall,
        handler: Invocation,
        packets: &[Arc<DataPacket>],
        tries: u32,
    ) -> Result<HandlerOutcome, Error> {
        let context = self.context.clone();
        if let Some(timer) = &planned.timer {
            context.current.store(0, Ordering::Release);
            context.begin_timer(timer.at());
        } else {
            context.current.store(packets[0].seq.0, Ordering::Release);
            context.begin_hook(packets);
        }
        let call = context.call(packets, self.next_try(tries));
        let outcome = self.drive(context.hosted.run(handler, call), planned.timer.is_some()).await;
        // `on_meeting_start` and `on_meeting_end` are not timed: an instance that never ran a hook needs no
        // histogram.
        let mut took = Duration::ZERO;
        match handler {
            Invocation::Hook(_) => context.time(|stopwatch, ended| took = stopwatch.lap(ended + 1)),
            _ => context.time(Stopwatch::start),
        }
        self.is_slice_over = took >= SLICE;
        let outcome = outcome?;
        context.check_outputs(&outcome.outputs)?;
        Ok(outcome)
    }

    /// Drives hooks to their end. When one waits for the first time, finished effects are submitted and its
    /// deadline begins. A panic ends the actor, which the meeting counts by the packet; that of a timer's hook is an
    /// error of that hook.
    async fn drive<T>(
        &mut self,
        running: impl Future<Output = Result<T, Error>>,
        is_for_timer: bool,
    ) -> Result<T, Error> {
        let context = self.context.clone();
        // A hook that panics ends the actor, but not before the effects of earlier hooks are submitted.
        let mut running = pin!(AssertUnwindSafe(running).catch_unwind());
        let activity = self.activity.clone();
        activity.set_running(Instant::now());
        let mut next = std::future::poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx))).await;
        let ended = loop {
            if let Poll::Ready(ended) = next {
                break ended;
            }
            self.submit(false);
            let now = Instant::now();
            activity.set_waiting(now);
            let deadline = now + self.deadline;
            context.engine.until(now + self.deadline.mul_f64(LLM_SHARE));
            let ended_hooks = context.ended_hooks();
            // It has just been polled and will wake this task. Returning pending once lets other tasks run
            // first, which is what a hook that yields wants.
            let mut is_polled = true;
            let step = std::future::poll_fn(|cx| {
                if std::mem::take(&mut is_polled) {
                    return Poll::Pending;
                }
                activity.set_running(Instant::now());
                let next = running.as_mut().poll(cx);
                if next.is_pending() {
                    activity.set_waiting(now);
                }
                match next {
                    // Another hook waits now, with a deadline of its own.
                    Poll::Pending if context.ended_hooks() != ended_hooks => Poll::Ready(Poll::Pending),
                    Poll::Pending => Poll::Pending,
                    ended @ Poll::Ready(_) => Poll::Ready(ended),
                }
            });
            let Ok(stepped) = tokio::time::timeout_at(deadline, step).await else {
                activity.set_idle();
                return Err(Error::retry(Deadline(self.deadline)));
            };
            next = stepped;
        };
        activity.set_idle();
        match ended {
            // What ran the hook is gone: as if it had panicked, which a restart of the actor follows.
            Ok(Err(error)) if error.is_crash() && !is_for_timer => {
                context.trace.end(Some("crash"));
                self.submit(false);
                std::panic::resume_unwind(Box::new(error.chain()));
            }
            Ok(result) => result,
            Err(panic) => {
                context.trace.end(Some("panic"));
                self.submit(false);
                // A formatted panic message may quote the packet. A literal one cannot.
                let message = panic.downcast_ref::<&'static str>().copied();
                let message = message
                    .unwrap_or("the hook panicked with a message that may quote the packet, and is left out");
                if is_for_timer {
                    return Err(Error::retry(message));
                }
                std::panic::resume_unwind(Box::new(message.to_owned()));
            }
        }
    }

    /// A handler that ran once on all packets has ended well.
    fn finish(
        &mut self,
        planned: &PlannedCall,
        packets: &[Arc<DataPacket>],
        outcome: HandlerOutcome,
        tries: u32,
    ) {
        kill_points::pass(KillPoint::HookEnded);
        let mut keys = self.context.engine.take_writes();
        if is_start(planned) {
            self.context.start_ticks(&packets[0], &mut keys);
        }
        let mut dead_letters = Vec::new();
        for rejected in &outcome.rejected {
            self.counts.errors += 1;
            dead_letters.extend(self.give_up(planned, &packets[rejected.index], tries, &rejected.error));
        }
        let has_new_state = self.context.set_state(outcome.state);
        if let Some(timer) = &planned.timer {
            let has_effects = has_new_state || !keys.is_empty() || !outcome.outputs.is_empty();
            self.context.timer_fired(timer, &mut keys, has_effects);
        }
        let rejected = outcome.rejected;
        let outputs = outcome.outputs.into_iter().map(|HookOutput { payload, participant, .. }| {
            let is_rejected = |index: usize| rejected.iter().any(|rejected| rejected.index == index);
            let handled = packets.iter().enumerate().filter(|(index, _)| !is_rejected(*index));
            let (causes, times): (Vec<_>, Vec<_>) =
                handled.map(|(_, packet)| (packet.seq, packet.timestamp)).unzip();
            let timestamp = times.into_iter().max().expect("invariant: an output has a cause");
            Output { payload, participant, causes, timestamp, trace: self.context.trace.context() }
        });
        let cursor = self.cursor_after(planned, packets);
        self.context.finish(cursor, planned.deliveries(packets), keys, outputs, dead_letters);
        self.context.trace.end(None);
    }

    /// Logs and counts a packet that is given up. It becomes a dead letter if its source is durable.
    fn give_up(
        &mut self,
        planned: &PlannedCall,
        packet: &DataPacket,
        tries: u32,
        error: &Error,
    ) -> Option<DeadLetter> {
        let (meeting, instance) = (&self.context.metadata.id, &self.context.instance);
        let (seq, source, error) = (packet.seq, &packet.source, error.chain());
        let trace_id = packet.trace.map(|trace| trace.shown_id());
        warn!(%meeting, %instance, %seq, %source, trace_id, tries, error, "packet given up");
        self.counts.dead_letters += 1;
        failure::dead_letter(instance, packet, planned.durability, tries, &error, clock::now())
    }

    /// Submits what hooks have finished since the last time. With `done` the batch is finished.
    fn submit(&mut self, done: bool) {
        // The counts come first: a waiter that sees the effects may ask for them.
        self.counts.outputs += self.context.outbox.take_output_count();
        let (delivered, lost) = self.context.take_counts();
        self.counts.delivered += delivered;
        self.counts.lost += lost;
        let timings = &mut self.counts.hooks;
        self.context.time(|stopwatch, ended| stopwatch.read(ended, timings));
        self.recorder.record(&mut self.counts);
        let state = self.context.take_changed_state();
        let cursor = self.context.cursor();
        if done || state.is_some() || cursor > self.submitted_cursor {
            self.submitted_cursor = cursor;
            let notified = self.context.outbox.flush_up_to(cursor, state, done);
            self.yields_first = done && notified == Notified::Woken;
        } else {
            self.context.outbox.flush();
        }
    }
}
