//! A meeting's state: it feeds the log and does what the log says.
//!
//! Quick work is done by the thread that brings it, a publisher's or an instance's
//! ([`drive_inline`](Drive::drive_inline)), so that a packet reaches a hook with one wake-up of one thread; see
//! [`combiner`](super::combiner). Commits, the meeting's end and replies are left to the actor
//! ([`drive`](MeetingState::drive)).

mod failures;
mod instance_runtime;
mod instances;
mod lifecycle;
mod membership;
mod port;
mod redriving;
mod storing;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use ractor::ActorRef;
use teammy_kernel::{
    DataPacket, Lifecycle, MeetingId, Name, Payload, Seq, Timestamp,
    log::{Append, Delivery, Due, MeetingLog, Slot, StoredMeeting},
    store::{InstanceStatus, MeetingRecord, MeetingStatus},
};
use tokio::{runtime::Handle, task::JoinSet, time::Instant};
use tracing::debug;

use super::{
    error::Error,
    message::{Command, Event, Message, RedriveTicket, Release, Reply},
    report::{InstanceProgress, LogReport},
    shared::{Drive, Shared},
    source_set::SourceSet,
};
use crate::{
    instance::{self, SubmittedEffects},
    kill_points::{self, KillPoint},
    memory::Share,
    resources::Resources,
};
use instance_runtime::InstanceRuntime;

/// What a meeting's actor starts with.
pub(crate) struct Args {
    pub(crate) shared: Arc<Shared<MeetingState>>,
    pub(crate) resources: Arc<Resources>,
    pub(crate) start_from: StartFrom,
}

/// What a meeting starts from.
pub(crate) enum StartFrom {
    /// A new meeting, or one of which only the row was ever stored.
    New(MeetingRecord),
    /// A meeting that was claimed, as it is stored.
    Stored(StoredMeeting),
}

/// The error of commands that come while, or after, the meeting is released.
const RELEASED: &str = "the node has released it";

/// The state of a meeting that this node runs.
pub(crate) struct MeetingState {
    myself: ActorRef<Message>,
    /// The actor's runtime. Tasks are spawned on it from whatever thread drives the meeting.
    runtime: Handle,
    shared: Arc<Shared<MeetingState>>,
    resources: Arc<Resources>,
    log: MeetingLog,
    /// By slot.
    instances: Vec<InstanceRuntime>,
    /// When this node began to run the meeting; failures are counted from here.
    began: Instant,
    /// A [`Event::CursorsDue`] is on its way.
    cursors_are_due_soon: bool,
    /// When a commit last took every cursor that had moved.
    cursors_taken: Instant,
    /// Timers end with the meeting.
    timers: JoinSet<()>,
    /// Packets on their way from the ingress to the log; empty between calls.
    inbox: VecDeque<Append>,
    /// Effects on their way from the instances to the log; empty between calls.
    submitted: Vec<SubmittedEffects>,
    /// A [`Message::Wake`] is on its way.
    is_actor_woken: bool,
    /// The meeting's share of the node's memory.
    share: Share,
    /// The reservation that the next commit should write.
    wanted_reservation: Seq,
    /// Waiters for an instance to leave.
    leaving: Vec<(Slot, Reply)>,
    /// Waiters for the end.
    ending: Vec<Reply>,
    /// Waiters for redrives to finish.
    redriving: Vec<(Vec<RedriveTicket>, Reply)>,
    /// Waiters for the instances to catch up with the log.
    catching_up: Vec<Reply>,
    /// Waiters for the meeting to be released: a hand-over and a shutdown may come together.
    releasing: Vec<Release>,
    /// The release does not wait for hooks that still run: another owner runs them again.
    cuts_hooks_off: bool,
}

impl Drive for MeetingState {
    fn drive_inline(&mut self) {
        self.route();
        if self.needs_the_actor() && !self.is_actor_woken {
            self.is_actor_woken = true;
            let _ = self.myself.cast(Message::Wake);
        }
    }
}

impl MeetingState {
    pub(super) fn new(myself: ActorRef<Message>, args: &Args) -> Self {
        let record = match &args.start_from {
            StartFrom::New(record) => record,
            StartFrom::Stored(stored) => &stored.record,
        };
        let limits = args.resources.settings.log_limits();
        Self {
            myself,
            runtime: Handle::current(),
            shared: args.shared.clone(),
            resources: args.resources.clone(),
            log: MeetingLog::new(record, Seq::ZERO, limits),
            instances: Vec::new(),
            began: Instant::now(),
            cursors_are_due_soon: false,
            cursors_taken: Instant::now(),
            timers: JoinSet::new(),
            inbox: VecDeque::new(),
            submitted: Vec::new(),
            is_actor_woken: false,
            share: Share::new(args.resources.memory.clone()),
            wanted_reservation: Seq::ZERO,
            leaving: Vec::new(),
            ending: Vec::new(),
            redriving: Vec::new(),
            catching_up: Vec::new(),
            releasing: Vec::new(),
            cuts_hooks_off: false,
        }
    }

    pub(super) fn handle(&mut self, message: Message) {
        match message {
            Message::Wake => self.is_actor_woken = false,
            Message::Command(command) => self.handle_command(command),
            Message::Event(event) => self.handle_event(event),
        }
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Assign { instance, at, reply } => {
                let result = self.assign(&instance, at);
                let _ = reply.send(result);
            }
            Command::Unassign { instance, reply } => match self.unassign(&instance) {
                Ok(slot) => self.leaving.push((slot, reply)),
                Err(error) => {
                    let _ = reply.send(Err(error));
                }
            },
            Command::Redrive { letters, reply } => {
                let result = self.redrive(letters);
                let _ = reply.send(result);
            }
            Command::AwaitRedrives { tickets, reply } => self.redriving.push((tickets, reply)),
            Command::ResumeInstance { instance, reply } => {
                let result = self.resume_instance(&instance);
                let _ = reply.send(result);
            }
            Command::SuspendStuck { slot, incarnation, hook, held } => {
                self.suspend_stuck(slot, incarnation, &hook, held);
            }
            Command::End { reply } => self.end(reply),
            Command::CatchUp { reply } if self.is_over() => {
                let _ = reply.send(Err(Error::Ended(self.id().clone())));
            }
            Command::CatchUp { reply } => self.catching_up.push(reply),
            Command::Release(release) => {
                self.shared.close(RELEASED);
                self.releasing.push(release);
            }
            Command::ReleaseNow => self.cuts_hooks_off = true,
            Command::Report { reply } => {
                self.drain_ingress(0);
                let _ = reply.send(self.report());
            }
            Command::UnstoredHistory { read, reply } => {
                self.drain_ingress(0);
                let _ = reply.send(self.log.unstored_history(&read));
            }
            Command::UnstoredNumber { producer, number, reply } => {
                self.drain_ingress(0);
                let _ = reply.send(self.log.unstored_number(&producer, number));
            }
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::InstanceStarted { slot, incarnation, actor } => {
                self.instance_started(slot, incarnation, actor);
            }
            Event::InstanceFailed { slot, incarnation, error } => {
                if self.is_current(slot, incarnation) {
                    self.instance_failed(slot, &error);
                }
            }
            Event::RestartDue { slot, incarnation } => {
                if self.is_current(slot, incarnation) {
                    self.spawn(slot);
                }
            }
            Event::WakeAt { slot, incarnation, at } => self.wake_at(slot, incarnation, at),
            // Whoever drives next looks at the clock.
            Event::WakeDue { slot } => self.instances[slot.index()].clock_check = None,
            Event::Fetched { slot, fetch, packets } => self.fetched(slot, &fetch, packets),
            Event::RedriveFetched { slot, redrive, packet } => self.redrive_fetched(slot, redrive, packet),
            Event::Committed(outcome) => self.committed(outcome),
            Event::CheckpointDue { slot } => self.checkpoint_due(slot),
            Event::CursorsDue => self.cursors_due(),
            Event::EndDeadlinePassed => self.end_deadline_passed(),
        }
    }

    /// Does everything that can be done now. For the actor alone: it commits and replies.
    pub(super) fn drive(&mut self) {
        self.route();
        if self.log.is_finished() {
            let packet = self.lifecycle_packet(&Lifecycle::Ended);
            self.log.ended(packet);
            kill_points::pass(KillPoint::Ended);
        }
        if self.is_commit_due() {
            self.commit_now();
        }
        self.reply_to_caught_up();
        self.reply_to_redriven();
        self.release_if_stored();
        self.update_wake_sources();
    }

    /// Appends what has come in, applies submitted effects, and sends each instance that has credit its next
    /// batch.
    fn route(&mut self) {
        loop {
            self.drain_ingress(0);
            self.apply_submitted();
            self.collect_completions();
            if self.releasing.is_empty() {
                for slot in self.log.slots() {
                    self.check_clock(slot);
                    let delivery = self.log.deliver(slot);
                    self.dispatch(slot, delivery);
                }
            }
            // A release and a catch-up wait for every batch.
            let of_all = !self.releasing.is_empty() || !self.catching_up.is_empty();
            if !self.request_completions(of_all) {
                break;
            }
        }
        self.update_wake_sources();
    }

    /// Tells the ingress which sources wake the meeting from now on, and updates what others read of the
    /// meeting: its memory, its lag, and which sources are blocked.
    fn update_wake_sources(&mut self) {
        let ingress = &self.shared.ingress;
        self.share.set(self.log.tail_bytes() + self.shared.committed_log.bytes());
        if self.share.is_over() {
            self.log.squeeze();
            self.shared.committed_log.squeeze();
            self.share.set(self.log.tail_bytes() + self.shared.committed_log.bytes());
        }
        let mut wake = if self.log.is_committing() { SourceSet::EMPTY } else { SourceSet::DURABLE };
        wake.insert_all(self.shared.taps.sources());
        for slot in self.log.slots() {
            let running = &self.instances[slot.index()];
            let view = self.log.view(slot);
            running.recorder.set_lag(match view.status {
                InstanceStatus::Active => self.log.end_seq().0.saturating_sub(view.cursor.0),
                _ => 0,
            });
            if self.log.wakes_on_append(slot) {
                wake.insert_all(running.sources);
            }
            if let Some(blocking) = &running.blocking {
                // A publisher of a blocking source must notice at once when the instance begins to block.
                wake.insert_all(blocking.sources);
                blocking.set(ingress, self.log.is_blocking(slot));
            }
        }
        ingress.set_wake_sources(wake);
    }

    /// Whether something is left that only the actor may do.
    fn needs_the_actor(&mut self) -> bool {
        !self.catching_up.is_empty()
            || !self.redriving.is_empty()
            || !self.releasing.is_empty()
            || self.log.is_finished()
            || self.is_commit_due()
    }

    /// Whether a commit is due now. If only cursors have moved, starts the timer for theirs.
    fn is_commit_due(&mut self) -> bool {
        // A release and a catch-up need the cursors stored, too, so they do not wait for the timer.
        let hurries = !self.releasing.is_empty() || !self.catching_up.is_empty() && self.log.is_caught_up();
        if hurries {
            self.log.slots().for_each(|slot| self.log.checkpoint_due(slot));
        }
        match self.log.due(self.wanted_reservation) {
            Due::Now => return true,
            Due::Soon if hurries => return true,
            Due::Soon => self.start_cursor_timer(),
            // An instance may set its completion flag without a message; its cursor must be stored, too.
            Due::Nothing if self.log.has_batches() => self.start_cursor_timer(),
            Due::Nothing => {}
        }
        false
    }

    fn start_cursor_timer(&mut self) {
        if !self.cursors_are_due_soon {
            self.cursors_are_due_soon = true;
            self.after(self.resources.settings.cursor_interval(), Event::CursorsDue);
        }
    }

    /// Applies effects that instances have submitted.
    pub(super) fn apply_submitted(&mut self) {
        std::mem::swap(&mut *self.shared.submitted.lock(), &mut self.submitted);
        let mut submitted = std::mem::take(&mut self.submitted);
        for SubmittedEffects { slot, incarnation, effects, outputs } in submitted.drain(..) {
            if self.is_current(slot, incarnation) {
                self.apply(slot, effects, outputs);
            }
        }
        self.submitted = submitted;
    }

    /// Whether the meeting has ended and that is stored: it was reopened for redrives, and none is left.
    fn is_over(&self) -> bool {
        self.log.status() == MeetingStatus::Ended && self.log.is_stored(self.wanted_reservation)
    }

    fn report(&self) -> LogReport {
        let instance = |slot| {
            let view = self.log.view(slot);
            let (name, status, cursor, gap) = (view.name.clone(), view.status, view.cursor, view.gap);
            let (lag, spilled) = match status {
                InstanceStatus::Active => self.log.lag(slot),
                _ => (Vec::new(), None),
            };
            InstanceProgress { name, status, cursor, gap, lag, spilled }
        };
        LogReport {
            status: self.log.status(),
            seq: self.log.end_seq(),
            stored: self.shared.committed_log.stored_up_to(),
            memory: self.log.tail_bytes() + self.shared.committed_log.bytes(),
            backlog: self.log.backlog_bytes(),
            instances: self.log.slots().map(instance).collect(),
        }
    }

    fn id(&self) -> &MeetingId {
        &self.shared.metadata.id
    }

    /// Sends itself an event after a while, if the meeting is still here then.
    fn after(&mut self, wait: Duration, event: Event) {
        while self.timers.try_join_next().is_some() {}
        let myself = self.myself.clone();
        let timer = async move {
            tokio::time::sleep(wait).await;
            let _ = myself.cast(event.into());
        };
        self.timers.spawn_on(timer, &self.runtime);
    }

    /// Appends what is in the ingress, and takes `count` seqs directly behind it.
    fn drain_ingress(&mut self, count: usize) -> Vec<Seq> {
        let drained = self.shared.ingress.drain(&mut self.inbox, count);
        self.wanted_reservation = drained.wanted_reservation;
        for append in self.inbox.drain(..) {
            self.shared.taps.pass(append.packet(), append.durability());
            self.log.append(append);
            kill_points::pass(KillPoint::Appended);
        }
        drained.seqs
    }

    /// A lifecycle packet for the end of the log.
    fn lifecycle_packet(&mut self, event: &Lifecycle) -> Arc<DataPacket> {
        self.runtime_packet(Lifecycle::SOURCE, event.to_payload())
    }

    /// A packet of the runtime's own for the end of the log.
    fn runtime_packet(&mut self, source: &'static str, payload: Payload) -> Arc<DataPacket> {
        let seq = self.drain_ingress(1)[0];
        self.dated_packet(self.shared.ingress.now(), seq, source, payload)
    }

    /// A packet of the runtime's own that has a seq.
    fn dated_packet(&self, at: Timestamp, seq: Seq, source: &str, payload: Payload) -> Arc<DataPacket> {
        let source = Name::new(source).expect("invariant: a well-formed name");
        self.shared.ingress.internal(at, seq, source, payload)
    }

    fn dispatch(&mut self, slot: Slot, delivery: Delivery) {
        match delivery {
            Delivery::Idle => {}
            Delivery::Batch(batch) => {
                let running = &self.instances[slot.index()];
                debug!(meeting = %self.id(), instance = %running.name, packets = batch.packets.len(), "batch sent");
                if let Some(actor) = &running.actor {
                    // If the actor is gone, a supervision event reports it, and its next incarnation gets the
                    // batch.
                    let _ = actor.cast(instance::Message::Deliver(batch));
                }
            }
            Delivery::Fetch(fetch) => self.fetch(slot, fetch, Duration::ZERO),
            Delivery::Redrive(redrive) => self.fetch_redriven(slot, redrive, Duration::ZERO),
        }
    }
}
