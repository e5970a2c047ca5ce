//! The actor that runs a meeting: it feeds the log and does what the log says.
//!
//! What is quick is done by whoever brings it, a publisher or an instance ([`MeetingState::drive_inline`]), so that a
//! packet's way to a hook is one wake of one thread; see [`combiner`](super::combiner). What writes, ends or
//! answers is the actor's.

mod instances;
mod redriving;
mod storing;

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use teammy_kernel::{
    DataPacket, Lifecycle, Name, Payload, Seq, Setup, chain,
    graph::Instance,
    log::{Append, Delivery, Due, Limits, MeetingLog, Slot, StoredMeeting},
    store::{InstanceStatus, MeetingRecord, MeetingStatus},
};
use tokio::{runtime::Handle, sync::oneshot, task::JoinSet};
use tracing::{debug, info};

use super::{
    Error, MeetingShared,
    ingress::SourceSet,
    message::{Event, InstanceReport, Message, RedriveTicket, Report, SubmittedEffects},
};
use crate::{
    clock, instance,
    kill_points::{self, KillPoint},
    memory::Share,
    node::Resources,
};
use instances::InstanceRuntime;

/// What a meeting's actor starts with.
pub(crate) struct Args {
    pub(crate) shared: Arc<MeetingShared>,
    pub(crate) resources: Arc<Resources>,
    pub(crate) start_from: StartFrom,
}

/// What a meeting comes from.
pub(crate) enum StartFrom {
    /// It was just made, or nothing of it but its row was ever stored, and it starts.
    New(MeetingRecord),
    /// It was claimed, and goes on from what is stored.
    StoredMeeting(StoredMeeting),
}

/// What those hear who come while, or after, the meeting is let go of.
const SHUTTING_DOWN: &str = "the node is shutting down";

/// How somebody who waits is answered.
type Reply = oneshot::Sender<Result<(), Error>>;

pub(crate) struct MeetingActor;

/// Has the meeting go with its actor, however that ends.
pub(crate) struct MeetingGuard(Arc<MeetingShared>);

impl Drop for MeetingGuard {
    fn drop(&mut self) {
        drop(self.0.meeting.replace(None));
    }
}

pub(crate) struct MeetingState {
    myself: ActorRef<Message>,
    /// The actor's: what is started here may be started from any thread.
    runtime: Handle,
    shared: Arc<MeetingShared>,
    resources: Arc<Resources>,
    log: MeetingLog,
    /// By slot.
    instances: Vec<InstanceRuntime>,
    flush_is_set: bool,
    /// What is to happen later; it goes with the meeting.
    timers: JoinSet<()>,
    /// What came in, on its way from the ingress to the log; empty between.
    inbox: VecDeque<Append>,
    /// What instances handed on, on its way to the log; empty between.
    handed_on: Vec<SubmittedEffects>,
    /// The actor has been called and has not come yet.
    actor_is_called: bool,
    /// What it keeps in memory.
    share: Share,
    /// The reservation that the next commit should write.
    wanted_reservation: Seq,
    /// Who waits for an instance to be out.
    leaving: Vec<(Slot, Reply)>,
    /// Who waits for the end.
    ending: Vec<Reply>,
    /// Who waits for redrives to be done with.
    redriving: Vec<(Vec<RedriveTicket>, Reply)>,
    /// Who waits for the instances to have worked off the log.
    catching_up: Vec<Reply>,
    /// Who waits for the meeting to be let go of.
    stopping: Option<oneshot::Sender<()>>,
}

impl Actor for MeetingActor {
    type Msg = Message;
    type State = MeetingGuard;
    type Arguments = Args;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        args: Args,
    ) -> Result<MeetingGuard, ActorProcessingErr> {
        let settings = &args.resources.settings;
        let limits = Limits {
            batch_packets: settings.batch_packets,
            batch_bytes: settings.batch_bytes,
            tail_bytes: settings.tail_bytes,
            backlog_bytes: settings.backlog_bytes,
            block_bytes: settings.block_bytes,
        };
        let record = match &args.start_from {
            StartFrom::New(record) => record,
            StartFrom::StoredMeeting(stored) => &stored.record,
        };
        let log = MeetingLog::new(record, Seq::ZERO, limits);
        let mut meeting = MeetingState {
            myself,
            runtime: Handle::current(),
            share: Share::new(args.resources.memory.clone()),
            shared: args.shared.clone(),
            resources: args.resources,
            log,
            instances: Vec::new(),
            flush_is_set: false,
            timers: JoinSet::new(),
            inbox: VecDeque::new(),
            handed_on: Vec::new(),
            actor_is_called: false,
            wanted_reservation: Seq::ZERO,
            leaving: Vec::new(),
            ending: Vec::new(),
            redriving: Vec::new(),
            catching_up: Vec::new(),
            stopping: None,
        };
        match args.start_from {
            StartFrom::New(record) => meeting.start(&record.instances),
            StartFrom::StoredMeeting(stored) => meeting.resume(&stored, limits),
        }
        meeting.drive();
        args.shared.meeting.replace(Some(meeting));
        Ok(MeetingGuard(args.shared))
    }

    async fn handle(
        &self,
        _: ActorRef<Message>,
        message: Message,
        MeetingGuard(shared): &mut MeetingGuard,
    ) -> Result<(), ActorProcessingErr> {
        let handle = |meeting: &mut MeetingState| {
            // What was handed on before the message was sent comes before it.
            meeting.apply_submitted();
            meeting.handle(message);
            meeting.drive();
        };
        shared.meeting.combine(handle, MeetingState::drive);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Message>,
        event: SupervisionEvent,
        MeetingGuard(shared): &mut MeetingGuard,
    ) -> Result<(), ActorProcessingErr> {
        let (who, error) = match event {
            SupervisionEvent::ActorFailed(who, error) => (who, chain(&*error)),
            SupervisionEvent::ActorTerminated(who, _, _) => (who, "it stopped".to_owned()),
            _ => return Ok(()),
        };
        let note = |meeting: &mut MeetingState| {
            let ours = |running: &InstanceRuntime| {
                running.actor.as_ref().is_some_and(|actor| actor.get_id() == who.get_id())
            };
            if let Some(slot) = meeting.log.slots().find(|slot| ours(&meeting.instances[slot.index()])) {
                // Events overtake messages: those that are in the mailbox already come before this.
                let incarnation = meeting.instances[slot.index()].incarnation;
                let _ = myself.cast(Message::Instance { slot, incarnation, event: Event::Failed(error) });
            }
            // Somebody may have left what they brought to who is here.
            meeting.drive();
        };
        shared.meeting.combine(note, MeetingState::drive);
        Ok(())
    }
}

impl MeetingState {
    fn handle(&mut self, message: Message) {
        match message {
            Message::Wake => self.actor_is_called = false,
            Message::Instance { slot, incarnation, event } => self.instance(slot, incarnation, event),
            Message::Tick { slot } => self.tick(slot),
            Message::Fetched { slot, fetch, packets } => self.fetched(slot, &fetch, packets),
            Message::Redriven { slot, redrive, packet } => self.redriven(slot, redrive, packet),
            Message::Redrive { letters, reply } => {
                let result = self.redrive(letters);
                let _ = reply.send(result);
            }
            Message::Redriving { places, reply } => self.redriving.push((places, reply)),
            Message::Reinstate { instance, reply } => {
                let result = self.reinstate(&instance);
                let _ = reply.send(result);
            }
            Message::Stuck { slot, incarnation, hook, held } => self.stuck(slot, incarnation, &hook, held),
            Message::Committed(outcome) => self.committed(outcome),
            Message::Flush => {
                self.flush_is_set = false;
                self.want_completions(true);
                self.commit_now();
            }
            Message::Assign { instance, at, reply } => {
                let result = self.assign(&instance, at);
                let _ = reply.send(result);
            }
            Message::Unassign { instance, reply } => match self.unassign(&instance) {
                Ok(slot) => self.leaving.push((slot, reply)),
                Err(error) => {
                    let _ = reply.send(Err(error));
                }
            },
            Message::End { reply } => self.end(reply),
            Message::EndDeadline => self.end_deadline(),
            Message::Report { reply } => {
                self.drain_ingress(0);
                let _ = reply.send(self.report());
            }
            Message::CatchUp { reply } if self.is_over() => {
                let _ = reply.send(Err(Error::Ended(self.id().clone())));
            }
            Message::CatchUp { reply } => self.catching_up.push(reply),
            Message::Stop { reply } => {
                self.shared.close(SHUTTING_DOWN);
                self.stopping = Some(reply);
            }
            Message::Unstored { reply } => {
                self.drain_ingress(0);
                let _ = reply.send(self.log.unstored(|_| true));
            }
        }
    }

    /// Does what is quick, on whatever thread this is, and calls the actor if there is more.
    pub(super) fn drive_inline(&mut self) {
        self.route();
        if self.is_for_the_actor() && !self.actor_is_called {
            self.actor_is_called = true;
            let _ = self.myself.cast(Message::Wake);
        }
    }

    /// Does everything that can be done now.
    fn drive(&mut self) {
        self.route();
        if self.log.is_finished() {
            let packet = self.lifecycle(&Lifecycle::Ended);
            self.log.ended(packet);
            kill_points::pass(KillPoint::Ended);
        }
        if self.is_to_commit() {
            self.commit_now();
        }
        self.tell_who_catches_up();
        self.tell_who_redrives();
        self.stop_if_all_is_stored();
        self.update_wake_sources();
    }

    /// Takes what has come in and gives every instance that has credit its next batch.
    fn route(&mut self) {
        loop {
            self.drain_ingress(0);
            self.apply_submitted();
            self.collect_completions();
            if self.stopping.is_none() {
                for slot in self.log.slots() {
                    let delivery = self.log.deliver(slot);
                    self.dispatch(slot, delivery);
                }
            }
            // Who waits for all to be done waits for each batch.
            let of_all = self.stopping.is_some() || !self.catching_up.is_empty();
            if !self.want_completions(of_all) {
                break;
            }
        }
        self.update_wake_sources();
    }

    fn update_wake_sources(&mut self) {
        let ingress = &self.shared.ingress;
        self.share.set(self.log.tail_bytes() + self.shared.committed_log.bytes());
        if self.share.is_over() {
            self.log.squeeze();
            self.shared.committed_log.squeeze();
            self.share.set(self.log.tail_bytes() + self.shared.committed_log.bytes());
        }
        let mut wanted = if self.log.is_committing() { SourceSet::NONE } else { SourceSet::DURABLE };
        wanted.add_all(self.shared.taps.sources());
        let mut lag = 0;
        for slot in self.log.slots() {
            let running = &self.instances[slot.index()];
            let view = self.log.view(slot);
            if view.status == InstanceStatus::Active {
                lag = lag.max(self.log.end_seq().0.saturating_sub(view.cursor.0));
            }
            if self.log.is_open(slot) {
                wanted.add_all(running.takes);
            }
            if let Some(blocks) = &running.blocks {
                // Whoever publishes what it blocks on finds out at once whether it does.
                wanted.add_all(blocks.sources);
                blocks.set(ingress, self.log.is_blocking(slot));
            }
        }
        self.shared.lag.store(lag, Ordering::Relaxed);
        ingress.set_wake_sources(wanted);
    }

    /// Whether something is left that is not for any thread to do.
    fn is_for_the_actor(&mut self) -> bool {
        !self.catching_up.is_empty()
            || !self.redriving.is_empty()
            || self.stopping.is_some()
            || self.log.is_finished()
            || self.is_to_commit()
    }

    /// Whether it is time for a commit; sees to it that it will be.
    fn is_to_commit(&mut self) -> bool {
        // Who waits for all to be stored waits for the cursors, too.
        let in_haste = self.stopping.is_some() || !self.catching_up.is_empty() && self.log.is_worked_off();
        match self.log.due(self.wanted_reservation) {
            Due::Now => return true,
            Due::Soon if in_haste => return true,
            Due::Soon => self.set_flush(),
            // A batch may be done without a word, and its cursor is to be stored all the same.
            Due::Nothing if self.log.has_batches() => self.set_flush(),
            Due::Nothing => {}
        }
        false
    }

    /// Takes what instances have handed on.
    fn apply_submitted(&mut self) {
        std::mem::swap(&mut *self.shared.handed_on.lock(), &mut self.handed_on);
        let mut handed_on = std::mem::take(&mut self.handed_on);
        for SubmittedEffects { slot, incarnation, hand_on, outputs } in handed_on.drain(..) {
            if incarnation == self.instances[slot.index()].incarnation {
                self.handed_on(slot, hand_on, outputs);
            }
        }
        self.handed_on = handed_on;
    }

    /// Whether it has ended and all of that is stored: it was opened for redrives, and there are none.
    fn is_over(&self) -> bool {
        self.log.status() == MeetingStatus::Ended && self.log.is_stored(self.wanted_reservation)
    }

    fn report(&self) -> Report {
        let instance = |slot| {
            let view = self.log.view(slot);
            let (name, status, cursor, gap) = (view.name.clone(), view.status, view.cursor, view.gap);
            let (lag, spilled) = match status {
                InstanceStatus::Active => self.log.lag(slot),
                _ => (Vec::new(), None),
            };
            InstanceReport { name, status, cursor, gap, lag, spilled }
        };
        Report {
            status: self.log.status(),
            seq: self.log.end_seq(),
            stored: self.shared.committed_log.stored_up_to(),
            memory: self.log.tail_bytes() + self.shared.committed_log.bytes(),
            backlog: self.log.backlog_bytes(),
            instances: self.log.slots().map(instance).collect(),
        }
    }

    fn set_flush(&mut self) {
        if !self.flush_is_set {
            self.flush_is_set = true;
            self.after(self.resources.settings.cursor_interval, Message::Flush);
        }
    }

    fn id(&self) -> &teammy_kernel::MeetingId {
        &self.shared.metadata.id
    }

    /// Sends itself a message in a while, if there still is a meeting then.
    fn after(&mut self, wait: Duration, message: Message) {
        while self.timers.try_join_next().is_some() {}
        let myself = self.myself.clone();
        let timer = async move {
            tokio::time::sleep(wait).await;
            let _ = myself.cast(message);
        };
        self.timers.spawn_on(timer, &self.runtime);
    }

    /// Appends what is at the ingress, and gives `count` seqs right behind it.
    fn drain_ingress(&mut self, count: usize) -> Vec<Seq> {
        let found = self.shared.ingress.drain(&mut self.inbox, count);
        self.wanted_reservation = found.wanted_reservation;
        for append in self.inbox.drain(..) {
            self.shared.taps.pass(append.packet(), append.durability());
            self.log.append(append);
            kill_points::pass(KillPoint::Appended);
        }
        found.seqs
    }

    /// A lifecycle packet at the end of the log.
    fn lifecycle(&mut self, event: &Lifecycle) -> Arc<DataPacket> {
        self.own(Lifecycle::SOURCE, event.to_payload())
    }

    /// A packet of the runtime's own at the end of the log.
    fn own(&mut self, source: &'static str, payload: Payload) -> Arc<DataPacket> {
        let seq = self.drain_ingress(1)[0];
        let source = Name::new(source).expect("invariant: a well-formed name");
        self.shared.ingress.internal(seq, source, payload)
    }

    /// What an instance is configured as.
    fn setup(&self, name: &Name) -> Option<Setup> {
        self.resources.graph.instance(name.as_str()).map(Instance::setup)
    }

    fn start(&mut self, instances: &[Name]) {
        let at = self.shared.metadata.started_at.unwrap_or_else(clock::now);
        self.shared.ingress.set_time(at);
        let setups = instances.iter().filter_map(|name| Some((name.clone(), self.setup(name)?))).collect();
        let packet = self.lifecycle(&Lifecycle::Start { instances: instances.to_vec(), setups });
        let mut subscriptions = Vec::with_capacity(instances.len());
        self.instances.reserve_exact(instances.len());
        for name in instances {
            let running = self.running(name);
            subscriptions.push((self.subscription(name), running.hosted.initial_state()));
            self.instances.push(running);
        }
        self.log.start(packet, subscriptions);
        info!(meeting = %self.id(), instances = instances.len(), "meeting started");
        for slot in self.log.slots() {
            self.spawn(slot);
            self.start_ticks(slot);
        }
    }

    /// Goes on with what another owner has left: every instance from its cursor, with its state.
    fn resume(&mut self, stored: &StoredMeeting, limits: Limits) {
        if let Some(last) = &stored.last {
            self.shared.ingress.set_time(last.timestamp);
        }
        let mut opened = Vec::new();
        let mut unreadable = Vec::new();
        for member in stored.members() {
            if self.resources.graph.instance(member.name.as_str()).is_none() {
                // It is done with the meeting, or the node would not have taken it; its rows stay as they
                // are.
                continue;
            }
            let running = self.running(&member.name);
            let state = match member.state.as_deref().map(|json| running.hosted.decode_state(json)) {
                None => running.hosted.initial_state(),
                Some(Ok(state)) => state,
                Some(Err(error)) => {
                    unreadable.push((opened.len(), chain(&error)));
                    running.hosted.initial_state()
                }
            };
            let subscription = self.subscription(&member.name);
            opened.push((member, subscription, state));
            self.instances.push(running);
        }
        self.log = MeetingLog::recover(stored, limits, opened);
        let (epoch, status, last) = (stored.record.epoch, self.log.status(), stored.last_seq());
        info!(meeting = %self.id(), %epoch, ?status, seq = %last, "meeting goes on");
        let slots: Vec<Slot> = self.log.slots().collect();
        for (index, reason) in unreadable {
            self.instances[slots[index].index()].unreadable = Some(reason.clone());
            // What is stored of the state stays as it is, for a build that can read it.
            if self.log.view(slots[index]).status == InstanceStatus::Active {
                self.suspend(slots[index], &reason);
            }
        }
        for slot in slots {
            if self.log.view(slot).status != InstanceStatus::Active {
                continue;
            }
            self.spawn(slot);
            if status == MeetingStatus::Running {
                self.start_ticks(slot);
            }
        }
        kill_points::pass(KillPoint::Resumed);
        if status != MeetingStatus::Running {
            self.shared.ingress.close(Error::Ended(self.id().clone()));
        }
        if status == MeetingStatus::Ending {
            self.after(self.resources.settings.end_deadline, Message::EndDeadline);
        }
    }

    fn dispatch(&mut self, slot: Slot, delivery: Delivery) {
        match delivery {
            Delivery::Idle => {}
            Delivery::Batch(batch) => {
                let running = &self.instances[slot.index()];
                debug!(meeting = %self.id(), instance = %running.name, packets = batch.packets.len(), "batch sent");
                if let Some(actor) = &running.actor {
                    // An actor that is gone is reported by its supervision event, and gets the batch in its
                    // next incarnation.
                    let _ = actor.cast(instance::Message::Deliver(batch));
                }
            }
            Delivery::Fetch(fetch) => self.fetch(slot, fetch, Duration::ZERO),
            Delivery::Redrive(redrive) => self.fetch_redriven(slot, redrive, Duration::ZERO),
        }
    }

    fn end(&mut self, reply: Reply) {
        if self.is_over() {
            let _ = reply.send(Err(Error::Ended(self.id().clone())));
            return;
        }
        self.ending.push(reply);
        if self.log.status() != MeetingStatus::Running {
            return;
        }
        self.shared.ingress.close(Error::Ended(self.id().clone()));
        let packet = self.lifecycle(&Lifecycle::Ending);
        self.log.end(packet);
        kill_points::pass(KillPoint::Ending);
        for running in &mut self.instances {
            if let Some(ticker) = running.ticker.take() {
                ticker.abort();
            }
        }
        info!(meeting = %self.id(), "meeting ends");
        self.after(self.resources.settings.end_deadline, Message::EndDeadline);
    }

    fn end_deadline(&mut self) {
        let Some(ending) = self.log.ending().cloned() else { return };
        let late: Vec<Slot> = self.log.unfinished().collect();
        for slot in late {
            let running = &mut self.instances[slot.index()];
            if let Some(actor) = running.actor.take() {
                actor.kill();
            }
            if self.log.is_reopened() {
                self.log.give_up_redrives(slot);
                self.settle_seat(slot);
            } else {
                self.expire(slot, &ending);
            }
        }
    }
}
