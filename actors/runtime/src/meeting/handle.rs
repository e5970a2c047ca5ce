//! The way to a meeting from outside.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use parking_lot::Mutex;
use ractor::{ActorRef, ActorStatus};
use teammy_kernel::{
    DataPacket, MeetingId, MeetingMetadata, Name, Publish, Seq,
    graph::Graph,
    log::{JoinAt, Slot},
};
use tokio::{sync::oneshot, time::Instant};
use tracing::error;

use crate::instance::{HookActivity, RunningHook};

use super::{
    Error, MeetingStats, Packets, PublishError, Recorder, Subscribe, Subscription, Taps,
    actor::MeetingState,
    combiner::{Combined, Combiner},
    committed_log::{Closed, CommittedLog},
    ingress::{Accepted, Ingress},
    message::{Incarnation, Message, RedriveTicket, Report, SubmittedEffects},
};

/// What an instance is at, in one incarnation of its actor.
#[derive(Debug, Clone)]
pub(crate) struct WatchedInstance {
    pub(crate) slot: Slot,
    pub(crate) incarnation: Incarnation,
    pub(crate) instance: Name,
    pub(crate) activity: Arc<HookActivity>,
}

/// What a meeting's actor shares with its handles.
#[derive(Debug)]
pub(crate) struct MeetingShared {
    pub(crate) metadata: Arc<MeetingMetadata>,
    pub(crate) graph: Arc<Graph>,
    pub(crate) ingress: Ingress,
    pub(crate) committed_log: Arc<CommittedLog>,
    pub(crate) recorders: Mutex<Vec<Recorder>>,
    pub(crate) taps: Taps,
    /// How far the instance that is furthest behind is behind, in places of the log.
    pub(crate) lag: AtomicU64,
    /// What the instances are at; by slot.
    pub(crate) watched: Mutex<Vec<WatchedInstance>>,
    /// What instances have handed on and nobody has taken into the log yet.
    pub(crate) handed_on: Mutex<Vec<SubmittedEffects>>,
    /// The meeting itself, while its actor lives.
    pub(crate) meeting: Combiner<MeetingState>,
}

impl MeetingShared {
    /// Has the meeting look at what has come in: here, or where somebody is at it.
    pub(crate) fn call(&self, actor: &ActorRef<Message>) {
        match self.meeting.try_combine(MeetingState::drive_inline) {
            Combined::Done => {}
            Combined::MoreRequested => {
                // An actor that is gone has closed the ingress, which is what the publisher hears.
                let _ = actor.cast(Message::Wake);
            }
            Combined::Panicked => {
                error!(meeting = %self.metadata.id, "meeting failed");
                self.gone("it failed");
                actor.kill();
            }
        }
    }

    /// An instance's actor is about to start.
    pub(crate) fn watch(
        &self,
        slot: Slot,
        incarnation: Incarnation,
        instance: &Name,
        activity: &Arc<HookActivity>,
    ) {
        let mut watched = self.watched.lock();
        watched.retain(|other| other.slot != slot);
        watched.push(WatchedInstance {
            slot,
            incarnation,
            instance: instance.clone(),
            activity: activity.clone(),
        });
    }

    /// This node is about to let go of the meeting: nothing more comes in.
    pub(crate) fn close(&self, reason: &str) -> Error {
        let error = Error::Gone { meeting: self.metadata.id.clone(), reason: reason.into() };
        self.ingress.close(error.clone());
        error
    }

    /// Waits until everything up to a seq is stored.
    async fn stored(&self, seq: Seq) -> Result<(), PublishError> {
        let meeting = || self.metadata.id.clone();
        let mut progress = self.committed_log.progress();
        let reached = progress.wait_for(|progress| progress.stored >= seq || progress.over.is_some()).await;
        match reached.map(|progress| progress.clone()) {
            Ok(progress) if progress.stored >= seq => Ok(()),
            Ok(progress) => match progress.over {
                Some(Closed::Gone(error)) => Err(error.into()),
                _ => Err(Error::Ended(meeting()).into()),
            },
            Err(_) => Err(Error::Gone { meeting: meeting(), reason: "its actor is gone".into() }.into()),
        }
    }

    /// This node no longer runs the meeting: says so to everybody who waits for something of it.
    pub(crate) fn gone(&self, reason: &str) -> Error {
        let error = self.close(reason);
        self.committed_log.over(Closed::Gone(error.clone()));
        error
    }
}

/// A running meeting. Cloning is cheap; dropping it changes nothing about the meeting.
#[derive(Clone)]
pub struct MeetingRef {
    shared: Arc<MeetingShared>,
    actor: ActorRef<Message>,
}

impl fmt::Debug for MeetingRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeetingRef").field("id", self.id()).finish_non_exhaustive()
    }
}

impl MeetingRef {
    pub(crate) fn new(shared: Arc<MeetingShared>, actor: ActorRef<Message>) -> Self {
        Self { shared, actor }
    }

    /// The meeting's id.
    pub fn id(&self) -> &MeetingId {
        &self.shared.metadata.id
    }

    /// What the meeting was started with.
    pub fn metadata(&self) -> &MeetingMetadata {
        &self.shared.metadata
    }

    fn call(&self) -> impl FnMut() + '_ {
        || self.shared.call(&self.actor)
    }

    /// Publishes a packet, waiting while the meeting's backlog is full. The receipt comes as soon as the
    /// packet has its place in the log.
    ///
    /// A [numbered](Publish::numbered) packet that the meeting has already is not taken again: the receipt is
    /// the original's, also after the meeting's end and under another owner. So a publisher that lost the
    /// answer publishes again.
    ///
    /// # Errors
    /// [`PublishError::UnknownSource`], [`PublishError::NotExternal`], [`PublishError::TooLarge`], and
    /// [`PublishError::MeetingState`] once the meeting is ending or gone. For a numbered packet
    /// [`PublishError::Expected`] if a number before it is missing, [`PublishError::BadNumber`] and
    /// [`PublishError::NumberedVolatile`].
    ///
    /// # Cancel safety
    /// A dropped call has either published the packet or not touched the meeting.
    pub async fn publish(&self, publish: Publish) -> Result<Receipt, PublishError> {
        match self.shared.ingress.take(publish, self.call()).await {
            Ok(taken) => Ok(self.receipt(taken)),
            Err(PublishError::Repeated { producer, number }) => {
                let seq = self.original(&producer, number).await?;
                // Only packets that are stored have numbers.
                Ok(self.receipt(Accepted { seq, volatile: None }))
            }
            Err(error) => Err(error),
        }
    }

    /// Publishes packets one behind the other, waiting while the meeting's backlog is full. Many at once cost
    /// less than as many calls of [`publish`](Self::publish).
    ///
    /// All are checked before any is published.
    ///
    /// # Errors
    /// As [`publish`](Self::publish). If it is [`PublishError::MeetingState`] or concerns a number, those before
    /// the one at fault are published.
    ///
    /// # Cancel safety
    /// A dropped call has published a part of them, from the first on.
    pub async fn publish_all(
        &self,
        packets: impl IntoIterator<Item = Publish>,
    ) -> Result<Receipts, PublishError> {
        let packets: Vec<_> = packets.into_iter().collect();
        let taken = if packets.iter().all(|packet| packet.producer.is_none()) {
            self.shared.ingress.take_all(packets, self.call()).await?
        } else {
            self.shared.ingress.check_all(&packets)?;
            let mut taken = Vec::with_capacity(packets.len());
            for packet in packets {
                taken.push(self.publish(packet).await?.accepted);
            }
            taken
        };
        Ok(Receipts { taken, shared: self.shared.clone() })
    }

    /// The number that a producer is to publish next: 1 from one that has published nothing.
    pub fn expects(&self, producer: &str) -> u64 {
        self.shared.ingress.expects(producer)
    }

    /// Where the packet is that has this number, among those that are not stored yet, and then in the store:
    /// on its way from one to the other it cannot be missed.
    async fn original(&self, producer: &Arc<str>, number: u64) -> Result<Seq, PublishError> {
        let (reply, unstored) = oneshot::channel();
        if self.actor.cast(Message::Unstored { reply }).is_ok()
            && let Ok(packets) = unstored.await
        {
            let is_it = |packet: &Arc<DataPacket>| {
                packet.producer.as_ref().is_some_and(|one| one.id == *producer && one.number == number)
            };
            if let Some(packet) = packets.iter().find(|packet| is_it(packet)) {
                return Ok(packet.seq);
            }
        }
        let meeting = self.id().clone();
        match self.shared.committed_log.numbered(producer.clone(), number).await? {
            Some(seq) => Ok(seq),
            // Its owner has lost it before it was stored.
            None => Err(Error::Gone { meeting, reason: "it was lost before it was stored".into() }.into()),
        }
    }

    /// Publishes a packet if there is room for it now.
    ///
    /// # Errors
    /// [`PublishError::Busy`] if there is not; [`PublishError::Repeated`] for a numbered packet before the
    /// producer's last one, which is there; else as [`publish`](Self::publish).
    pub fn try_publish(&self, publish: Publish) -> Result<Receipt, PublishError> {
        let taken = self.shared.ingress.try_take(publish, self.call())?;
        Ok(self.receipt(taken))
    }

    fn receipt(&self, accepted: Accepted) -> Receipt {
        Receipt { accepted, shared: self.shared.clone() }
    }

    /// All outputs of the meeting's instances, from the first on, as they are stored.
    pub fn outputs(&self) -> Packets {
        self.outputs_after(Seq::ZERO)
    }

    /// As [`outputs`](Self::outputs), those behind a place in the log: for a reader that knows how far it
    /// came.
    pub fn outputs_after(&self, seq: Seq) -> Packets {
        let graph = self.shared.graph.clone();
        let is_output =
            move |packet: &teammy_kernel::DataPacket| graph.instance(packet.source.as_str()).is_some();
        Packets::new(self.shared.committed_log.clone(), seq, is_output)
    }

    /// All durable packets of the meeting, from the first on, as they are stored: what was published,
    /// outputs, and the meeting's own lifecycle.
    pub fn packets(&self) -> Packets {
        self.packets_after(Seq::ZERO)
    }

    /// As [`packets`](Self::packets), those behind a place in the log: for a reader that knows how far it
    /// came.
    pub fn packets_after(&self, seq: Seq) -> Packets {
        Packets::new(self.shared.committed_log.clone(), seq, |_| true)
    }

    /// Packets of some sources, as they come: those that are stored from a place on, without a hole or a
    /// double, and then as they are stored; those that are never stored as they come. See
    /// [`Subscription`].
    ///
    /// # Errors
    /// [`Error::UnknownSource`].
    pub fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription, Error> {
        // What waits at the ingress came before.
        self.shared.call(&self.actor);
        let subscription = Subscription::new(self.shared.clone(), subscribe)?;
        // What nobody wanted before may be wanted now.
        self.shared.call(&self.actor);
        Ok(subscription)
    }

    /// Goes on delivering to an instance that was suspended, from where it was, with the state it had. What
    /// it missed meanwhile of sources that are not stored is lost.
    ///
    /// # Errors
    /// [`Error::UnknownInstance`], [`Error::NotAssigned`], [`Error::NotSuspended`], [`Error::Unreadable`],
    /// [`Error::Ended`], [`Error::Gone`].
    pub async fn resume_instance(&self, instance: &str) -> Result<(), Error> {
        let instance = self.instance(instance)?;
        self.ask(|reply| Message::Reinstate { instance, reply }).await
    }

    /// Has instances get packets once more that they gave up, and says where those are. Whoever is to have
    /// them gets each at the end of the log; its dead letter goes with what comes of it.
    pub(crate) async fn redrive(&self, letters: Vec<(Name, Seq)>) -> Result<Vec<RedriveTicket>, Error> {
        self.ask(|reply| Message::Redrive { letters, reply }).await
    }

    /// Waits until redrives are done with, and what came of them is stored.
    pub(crate) async fn redriven(&self, places: Vec<RedriveTicket>) -> Result<(), Error> {
        self.ask(|reply| Message::Redriving { places, reply }).await
    }

    async fn ask<T>(
        &self,
        message: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Message,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        // A message that could not be sent comes back with its reply, which must go before the answer is
        // waited for.
        self.actor.cast(message(reply)).map_err(|_| self.why_over())?;
        answer.await.unwrap_or_else(|_| Err(self.why_over()))
    }

    /// Why the actor does not answer.
    fn why_over(&self) -> Error {
        match self.shared.committed_log.progress().borrow().over.clone() {
            Some(Closed::Gone(error)) => error,
            Some(Closed::Ended) => Error::Ended(self.id().clone()),
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

    /// Adds an instance, which takes part from the next packet on.
    ///
    /// # Errors
    /// [`Error::UnknownInstance`], [`Error::NeedsLlm`], [`Error::Assigned`], [`Error::Suspended`],
    /// [`Error::Ended`], [`Error::Gone`].
    pub async fn assign(&self, instance: &str) -> Result<(), Error> {
        self.assign_at(instance, JoinAt::Now).await
    }

    /// Adds an instance, which takes part from the next packet or from the meeting's first one on.
    ///
    /// # Errors
    /// As [`assign`](Self::assign), and [`Error::WasHere`] if it is to begin at the start and was here
    /// before.
    pub async fn assign_at(&self, instance: &str, at: JoinAt) -> Result<(), Error> {
        let instance = self.instance(instance)?;
        self.ask(|reply| Message::Assign { instance, at, reply }).await
    }

    /// Takes an instance out: it finishes what came before, then its `on_meeting_end` runs. Waits for that.
    ///
    /// # Errors
    /// [`Error::UnknownInstance`], [`Error::NotAssigned`], [`Error::Suspended`], [`Error::Ended`],
    /// [`Error::Gone`].
    ///
    /// # Cancel safety
    /// A dropped call does not call the instance back.
    pub async fn unassign(&self, instance: &str) -> Result<(), Error> {
        let instance = self.instance(instance)?;
        self.ask(|reply| Message::Unassign { instance, reply }).await
    }

    /// Ends the meeting: nothing more is published, the instances finish, upstream before downstream, and the
    /// log is completed. Waits until all of it is stored; calling it again waits for the same.
    ///
    /// # Errors
    /// [`Error::Ended`] if it had ended before, [`Error::Gone`].
    ///
    /// # Cancel safety
    /// A dropped call does not call the end off.
    pub async fn end(&self) -> Result<(), Error> {
        self.ask(|reply| Message::End { reply }).await
    }

    /// Waits until every instance has worked off all that is in the log now and comes in until then, and what
    /// it made of that is stored; once the meeting's end has begun, until it has ended. For one that was
    /// [resumed] and that nobody publishes to, this is when nothing is left to do.
    ///
    /// [resumed]: crate::Node::resume_meeting
    ///
    /// # Errors
    /// [`Error::Ended`] if it had ended before, [`Error::Gone`].
    ///
    /// # Cancel safety
    /// Can be dropped and called again.
    pub async fn caught_up(&self) -> Result<(), Error> {
        self.ask(|reply| Message::CatchUp { reply }).await
    }

    /// What the meeting and its instances have done so far; also after its end.
    pub fn stats(&self) -> MeetingStats {
        MeetingStats {
            packets: self.shared.ingress.taken(),
            instances: self.shared.recorders.lock().iter().map(Recorder::read).collect(),
        }
    }

    /// Lets go of the meeting without ending it: batches in flight finish, all is stored. Another owner can
    /// go on.
    pub(crate) async fn stop(&self) {
        let (reply, stopped) = oneshot::channel();
        if self.actor.cast(Message::Stop { reply }).is_ok() {
            // An actor that ends without an answer is what was asked for, too.
            let _ = stopped.await;
        }
    }

    /// Has the meeting look at what there is to do.
    pub(crate) fn wake(&self) {
        self.shared.call(&self.actor);
    }

    /// Shows what each instance is at.
    pub(crate) fn watched(&self, show: impl FnMut(&WatchedInstance)) {
        self.shared.watched.lock().iter().for_each(show);
    }

    /// How it stands; none if its actor is gone.
    pub(crate) async fn report(&self) -> Option<Report> {
        let (reply, report) = oneshot::channel();
        self.actor.cast(Message::Report { reply }).ok()?;
        report.await.ok()
    }

    /// Shows every hook that runs.
    pub(crate) fn beats(&self, mut show: impl FnMut(&Name, &RunningHook)) {
        let now = Instant::now();
        self.watched(|watched| {
            if let Some(beat) = watched.activity.read(now) {
                show(&watched.instance, &beat);
            }
        });
    }

    /// A hook holds its thread past its deadline.
    pub(crate) fn stuck(&self, watched: &WatchedInstance, hook: &Name, held: Duration) {
        let (slot, incarnation, hook) = (watched.slot, watched.incarnation, hook.clone());
        let _ = self.actor.cast(Message::Stuck { slot, incarnation, hook, held });
    }

    pub(crate) fn kill(&self, reason: &str) {
        self.shared.gone(reason);
        self.actor.kill();
    }

    pub(crate) fn has_stopped(&self) -> bool {
        matches!(self.actor.get_status(), ActorStatus::Stopping | ActorStatus::Stopped)
    }

    pub(crate) fn shared(&self) -> &MeetingShared {
        &self.shared
    }

    pub(crate) fn actor_id(&self) -> ractor::ActorId {
        self.actor.get_id()
    }
}

/// A packet's place in the log, and a way to wait until it is stored.
#[derive(Debug, Clone)]
pub struct Receipt {
    accepted: Accepted,
    shared: Arc<MeetingShared>,
}

/// The places of packets that were [published together](MeetingRef::publish_all), in their order.
#[derive(Debug, Clone)]
pub struct Receipts {
    taken: Vec<Accepted>,
    shared: Arc<MeetingShared>,
}

impl Receipts {
    /// A receipt for each packet.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Receipt> + '_ {
        self.taken.iter().map(|accepted| Receipt { accepted: *accepted, shared: self.shared.clone() })
    }

    /// The packets' places in the log.
    pub fn seqs(&self) -> impl ExactSizeIterator<Item = Seq> + '_ {
        self.taken.iter().map(|taken| taken.seq)
    }

    /// Waits until all packets of sources that are stored are stored; those of other sources are not waited
    /// for.
    ///
    /// # Errors
    /// [`PublishError::MeetingState`] if this node lost the meeting before they were.
    ///
    /// # Cancel safety
    /// Can be dropped and called again.
    pub async fn durable(&self) -> Result<(), PublishError> {
        let durable = self.taken.iter().filter(|taken| taken.volatile.is_none());
        match durable.map(|taken| taken.seq).max() {
            Some(seq) => self.shared.stored(seq).await,
            None => Ok(()),
        }
    }
}

impl Receipt {
    /// The packet's place in the log.
    pub fn seq(&self) -> Seq {
        self.accepted.seq
    }

    /// Waits until the packet is stored: from then on no crash loses it.
    ///
    /// # Errors
    /// [`PublishError::Volatile`] if its source is never stored; [`PublishError::MeetingState`] if this node lost
    /// the meeting before it was.
    ///
    /// # Cancel safety
    /// Can be dropped and called again.
    pub async fn durable(&self) -> Result<(), PublishError> {
        if let Some(source) = self.accepted.volatile {
            return Err(PublishError::Volatile(self.shared.graph.source_name(source).clone()));
        }
        self.shared.stored(self.seq()).await
    }
}
