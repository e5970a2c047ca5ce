//! A meeting that this node runs.

use std::{fmt, sync::Arc, time::Duration};

use ractor::{ActorId, ActorRef, ActorStatus};
use teammy_kernel::{
    MeetingId, MeetingMetadata, Name, Publish, PublishError, Seq, Timestamp,
    log::{JoinAt, Snapshot},
    store::{self, DeadLetter, Epoch},
};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{
    committed_log::Packets,
    error::{Closed, Error},
    ingress::{Accepted, Publisher, Wake},
    message::{Command, Message, RedriveTicket, Release, Reply},
    publish_span::PublishSpan,
    report::LogReport,
    shared::{Shared, WatchedInstance},
    state::MeetingState,
    stats::MeetingStats,
    subscription::{Subscribe, Subscription},
};
use crate::instance::{Recorder, RunningHook};

/// A meeting that this node runs. Cloning is cheap; dropping it changes nothing about the meeting.
#[derive(Clone)]
pub(crate) struct LocalMeeting {
    shared: Arc<Shared<MeetingState>>,
    actor: ActorRef<Message>,
}

impl fmt::Debug for LocalMeeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalMeeting").field("id", self.id()).finish_non_exhaustive()
    }
}

impl Wake for LocalMeeting {
    fn wake(&self) {
        self.shared.wake(&self.actor);
    }
}

impl LocalMeeting {
    pub(crate) fn new(shared: Arc<Shared<MeetingState>>, actor: ActorRef<Message>) -> Self {
        Self { shared, actor }
    }

    pub(crate) fn id(&self) -> &MeetingId {
        &self.shared.metadata.id
    }

    pub(crate) fn metadata(&self) -> &MeetingMetadata {
        &self.shared.metadata
    }

    pub(crate) fn created(&self) -> Option<Timestamp> {
        self.shared.created
    }

    /// The last stored seq.
    pub(crate) fn stored_up_to(&self) -> Seq {
        self.shared.committed_log.stored_up_to()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<MeetingState>> {
        &self.shared
    }

    fn publisher(&self) -> Publisher<'_, Self> {
        Publisher::new(&self.shared.ingress, self)
    }

    /// Publishes a packet, waiting for room. See [`MeetingRef::publish`](super::MeetingRef::publish).
    pub(crate) async fn publish(&self, mut publish: Publish) -> Result<Accepted, PublishError> {
        let span = PublishSpan::begin(&mut publish, self.shared.ingress.new_traces);
        let result = match self.publisher().publish(publish).await {
            Err(PublishError::Repeated { producer, number }) => {
                self.original(&producer, number).await.map(Accepted::repeated)
            }
            result => result,
        };
        if let Some(span) = span {
            span.end(self.id(), result.as_ref().copied());
        }
        result
    }

    pub(crate) fn try_publish(&self, mut publish: Publish) -> Result<Accepted, PublishError> {
        let span = PublishSpan::begin(&mut publish, self.shared.ingress.new_traces);
        let result = self.publisher().try_publish(publish);
        if let Some(span) = span {
            span.end(self.id(), result.as_ref().copied());
        }
        result
    }

    pub(crate) async fn publish_all(&self, mut packets: Vec<Publish>) -> Result<Vec<Accepted>, PublishError> {
        if packets.iter().all(|packet| packet.producer.is_none()) {
            let new_traces = self.shared.ingress.new_traces;
            let begin = |(index, packet)| Some((index, PublishSpan::begin(packet, new_traces)?));
            let spans: Vec<_> = packets.iter_mut().enumerate().filter_map(begin).collect();
            let result = self.publisher().publish_all(packets).await;
            for (index, span) in spans {
                span.end(self.id(), result.as_ref().map(|accepted| accepted[index]));
            }
            return result;
        }
        self.shared.ingress.check_all(&packets)?;
        let mut accepted = Vec::with_capacity(packets.len());
        for packet in packets {
            accepted.push(self.publish(packet).await?);
        }
        Ok(accepted)
    }

    pub(crate) fn expects(&self, producer: &str) -> u64 {
        self.shared.ingress.expects(producer)
    }

    /// The seq of the packet that was accepted with this number.
    async fn original(&self, producer: &Arc<str>, number: u64) -> Result<Seq, PublishError> {
        let meeting = self.id().clone();
        match self.numbered(producer, number).await {
            Ok(Some(seq)) => Ok(seq),
            // Its owner lost it before it was stored.
            Ok(None) => {
                Err(Closed::Gone { meeting, reason: "it was lost before it was stored".into() }.into())
            }
            Err(cause) => Err(PublishError::Read { meeting, cause: Arc::new(cause) }),
        }
    }

    /// The seq of the packet with this number. The unstored packets are asked before the store: a packet that
    /// is stored in between is in at least one of the answers.
    pub(crate) async fn numbered(
        &self,
        producer: &Arc<str>,
        number: u64,
    ) -> Result<Option<Seq>, store::Error> {
        let (reply, unstored) = oneshot::channel();
        let command = Command::UnstoredNumber { producer: producer.clone(), number, reply };
        if self.actor.cast(command.into()).is_ok()
            && let Ok(Some(seq)) = unstored.await
        {
            return Ok(Some(seq));
        }
        self.shared.committed_log.numbered(producer.clone(), number).await
    }

    pub(crate) fn outputs_after(&self, seq: Seq) -> Packets {
        Packets::outputs(self.shared.committed_log.clone(), self.shared.graph.clone(), seq)
    }

    pub(crate) fn packets_after(&self, seq: Seq) -> Packets {
        Packets::new(self.shared.committed_log.clone(), seq, |_| true)
    }

    pub(crate) fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription, Error> {
        let shared = &self.shared;
        // What is in the ingress came before the subscription.
        self.wake();
        let (graph, committed_log, taps) = (&shared.graph, &shared.committed_log, shared.taps.clone());
        let subscription = Subscription::new(self.id().clone(), graph, committed_log, taps, subscribe)?;
        // The new tap's sources must wake the meeting.
        self.wake();
        Ok(subscription)
    }

    pub(crate) async fn assign(&self, instance: &str, at: JoinAt) -> Result<(), Error> {
        let instance = self.instance(instance)?;
        self.command(|reply| Command::Assign { instance, at, reply }).await
    }

    pub(crate) async fn unassign(&self, instance: &str) -> Result<(), Error> {
        let instance = self.instance(instance)?;
        self.command(|reply| Command::Unassign { instance, reply }).await
    }

    pub(crate) async fn resume_instance(&self, instance: &str) -> Result<(), Error> {
        let instance = self.instance(instance)?;
        self.command(|reply| Command::ResumeInstance { instance, reply }).await
    }

    pub(crate) async fn end(&self) -> Result<(), Error> {
        self.command(|reply| Command::End { reply }).await
    }

    pub(crate) fn hold_clock(&self, at: Timestamp) {
        self.shared.ingress.hold_clock(at);
        self.shared.wake(&self.actor);
    }

    pub(crate) async fn caught_up(&self) -> Result<(), Error> {
        self.command(|reply| Command::CatchUp { reply }).await
    }

    /// Redrives dead letters. Each comes to its instance at the end of the log; the dead letter goes in the
    /// commit of its effects.
    pub(crate) async fn redrive(&self, letters: Vec<(Name, Seq)>) -> Result<Vec<RedriveTicket>, Error> {
        self.command(|reply| Command::Redrive { letters, reply }).await
    }

    /// Waits until redrives are finished and their effects are stored.
    pub(crate) async fn redriven(&self, tickets: Vec<RedriveTicket>) -> Result<(), Error> {
        self.command(|reply| Command::AwaitRedrives { tickets, reply }).await
    }

    async fn command<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        // A message that could not be sent comes back with its reply, which must be dropped before the answer
        // is awaited.
        self.actor.cast(command(reply).into()).map_err(|_| self.why_closed())?;
        answer.await.unwrap_or_else(|_| Err(self.why_closed()))
    }

    /// Why the actor does not answer.
    fn why_closed(&self) -> Error {
        match self.shared.committed_log.progress().borrow().closed.clone() {
            Some(closed) => closed.into(),
            None => Error::Gone { meeting: self.id().clone(), reason: "its actor is gone".into() },
        }
    }

    fn instance(&self, name: &str) -> Result<Name, Error> {
        let graph = &self.shared.graph;
        match graph.instance(name) {
            Some(instance) => Ok(instance.name.clone()),
            None => Err(Error::UnknownInstance {
                instance: name.to_owned(),
                suggestion: graph.closest_instance(name).cloned(),
            }),
        }
    }

    pub(crate) fn stats(&self) -> MeetingStats {
        MeetingStats {
            packets: self.shared.ingress.accepted(),
            instances: self.shared.recorders.lock().iter().map(Recorder::read).collect(),
        }
    }

    /// Releases the meeting without ending it: batches in flight finish, and everything is stored. Another
    /// owner can take it over. Hooks that still run after `grace` are cut off: the next owner runs them again.
    pub(crate) async fn release_within(&self, grace: Duration) {
        self.release(grace, false).await;
    }

    /// As [`release_within`](Self::release_within), for another owner that goes on at once: with what that one need not
    /// read from the store.
    pub(crate) async fn hand_over_within(&self, grace: Duration) -> Option<Snapshot> {
        self.release(grace, true).await
    }

    async fn release(&self, grace: Duration, hands_over: bool) -> Option<Snapshot> {
        let (reply, mut released) = oneshot::channel();
        self.actor.cast(Command::Release(Release { hands_over, reply }).into()).ok()?;
        // An actor that ends without a reply has released the meeting, too.
        if let Ok(reply) = timeout(grace, &mut released).await {
            return reply.ok().flatten();
        }
        self.actor.cast(Command::ReleaseNow.into()).ok()?;
        released.await.ok().flatten()
    }

    /// Which ownership of the meeting this is.
    pub(crate) fn epoch(&self) -> Epoch {
        self.shared.epoch
    }

    /// Waits until everything up to a seq is stored. A packet of an earlier owner is stored, or was lost with it.
    pub(crate) async fn stored(&self, seq: Seq) -> Result<(), PublishError> {
        if seq >= self.shared.first_seq {
            return self.shared.stored(seq).await;
        }
        let meeting = || self.id().clone();
        match self.shared.committed_log.has(seq).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(PublishError::Lost(meeting())),
            Err(cause) => Err(PublishError::Read { meeting: meeting(), cause: Arc::new(cause) }),
        }
    }

    /// Shows the activity of each instance.
    pub(crate) fn watched(&self, show: impl FnMut(&WatchedInstance)) {
        self.shared.watched.lock().iter().for_each(show);
    }

    /// Shows every hook that is running.
    pub(crate) fn running_hooks(&self, mut show: impl FnMut(&Name, &RunningHook)) {
        let now = Instant::now();
        self.watched(|watched| {
            if let Some(hook) = watched.activity.read(now) {
                show(&watched.instance, &hook);
            }
        });
    }

    /// What the log says; none if the meeting's actor is gone.
    pub(crate) async fn report(&self) -> Option<LogReport> {
        let (reply, report) = oneshot::channel();
        self.actor.cast(Command::Report { reply }.into()).ok()?;
        report.await.ok()
    }

    /// Suspends an instance whose hook has held its thread past its deadline.
    pub(crate) fn suspend_stuck(&self, watched: &WatchedInstance, hook: &Name, held: Duration) {
        let (slot, incarnation, hook) = (watched.slot, watched.incarnation, hook.clone());
        let _ = self.actor.cast(Command::SuspendStuck { slot, incarnation, hook, held }.into());
    }

    pub(crate) fn kill(&self, reason: &str) {
        self.shared.gone(reason);
        self.actor.kill();
    }

    /// Whether it is neither lost nor released nor ended.
    pub(crate) fn is_open(&self) -> bool {
        self.shared.committed_log.progress().borrow().closed.is_none()
    }

    /// Its dead letters.
    pub(crate) async fn dead_letters(&self) -> Result<Vec<DeadLetter>, Error> {
        self.shared.committed_log.dead_letters().await
    }

    pub(crate) fn has_stopped(&self) -> bool {
        matches!(self.actor.get_status(), ActorStatus::Stopping | ActorStatus::Stopped)
    }

    pub(crate) fn actor_id(&self) -> ActorId {
        self.actor.get_id()
    }
}
