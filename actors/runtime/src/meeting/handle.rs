//! The way to a meeting from outside.

use std::{fmt, sync::Arc};

use teammy_kernel::{
    MeetingId, MeetingMetadata, Publish, PublishError, Seq, Timestamp, log::JoinAt, store::DeadLetter,
};

use super::{
    committed_log::Packets,
    ended::EndedMeeting,
    error::Error,
    local::LocalMeeting,
    receipt::{Receipt, Receipts},
    remote::{Instruction, RemoteMeeting, Selection, WhenFull},
    stats::MeetingStats,
    subscription::{Subscribe, Subscription},
};

/// A meeting that runs, on this node or on another, or one that has ended. Cloning is cheap; dropping it changes
/// nothing about the meeting.
///
/// A handle of a meeting that has ended reads what is stored, and answers a repeat of a
/// [numbered](Publish::numbered) packet with the original's receipt. Whatever changes a meeting fails with
/// [`Error::Ended`]. The handle shows the meeting as it was when the handle was made: if a
/// [redrive](crate::Node::redrive) reopens the meeting, a later handle shows what came of it.
#[derive(Clone)]
pub struct MeetingRef(Form);

#[derive(Clone)]
enum Form {
    Local(LocalMeeting),
    Remote(Arc<dyn RemoteMeeting>),
    Ended(Arc<EndedMeeting>),
}

impl fmt::Debug for MeetingRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeetingRef").field("id", self.id()).finish_non_exhaustive()
    }
}

impl From<LocalMeeting> for MeetingRef {
    fn from(meeting: LocalMeeting) -> Self {
        Self(Form::Local(meeting))
    }
}

impl From<EndedMeeting> for MeetingRef {
    fn from(meeting: EndedMeeting) -> Self {
        Self(Form::Ended(Arc::new(meeting)))
    }
}

impl MeetingRef {
    /// A handle of a meeting that another node runs.
    pub fn remote(meeting: Arc<dyn RemoteMeeting>) -> Self {
        Self(Form::Remote(meeting))
    }

    /// The meeting's id.
    pub fn id(&self) -> &MeetingId {
        &self.metadata().id
    }

    /// What the meeting was started with.
    pub fn metadata(&self) -> &MeetingMetadata {
        match &self.0 {
            Form::Local(meeting) => meeting.metadata(),
            Form::Remote(meeting) => meeting.metadata(),
            Form::Ended(meeting) => meeting.metadata(),
        }
    }

    /// When the meeting was created, which tells it apart from an earlier one that had its id and was forgotten. None if that is
    /// not known, as of one that an older version made.
    pub fn created(&self) -> Option<Timestamp> {
        match &self.0 {
            Form::Local(meeting) => meeting.created(),
            Form::Remote(meeting) => meeting.created(),
            Form::Ended(meeting) => meeting.created(),
        }
    }

    /// The seq of its last stored packet; none if another node runs it.
    pub fn stored_up_to(&self) -> Option<Seq> {
        match &self.0 {
            Form::Local(meeting) => Some(meeting.stored_up_to()),
            Form::Remote(_) => None,
            Form::Ended(meeting) => Some(meeting.stored_up_to()),
        }
    }

    /// Whether it had ended when the handle was made.
    pub fn has_ended(&self) -> bool {
        matches!(self.0, Form::Ended(_))
    }

    /// Publishes a packet, waiting while the meeting's backlog is full. The receipt comes as soon as the packet
    /// has its seq.
    ///
    /// A [numbered](Publish::numbered) packet that the meeting has already is not accepted again: the receipt
    /// is the original's, also after the meeting's end and under another owner. So a publisher that lost the
    /// receipt publishes again.
    ///
    /// # Errors
    /// [`PublishError::UnknownSource`], [`PublishError::NotExternal`], [`PublishError::TooLarge`],
    /// [`PublishError::ParticipantTooLong`], [`PublishError::MalformedJson`], and [`PublishError::Ended`] or
    /// [`PublishError::Gone`] once the meeting is ending or gone.
    /// For a numbered packet [`PublishError::Expected`] if a number before it is missing,
    /// [`PublishError::BadNumber`] and [`PublishError::NumberedVolatile`].
    ///
    /// # Cancel safety
    /// A dropped call has either published the packet or not touched the meeting.
    pub async fn publish(&self, publish: Publish) -> Result<Receipt, PublishError> {
        match &self.0 {
            Form::Local(meeting) => {
                let accepted = meeting.publish(publish).await?;
                Ok(Receipt::local(accepted, meeting.shared().clone()))
            }
            Form::Remote(meeting) => {
                let receipt = meeting.publish(publish, WhenFull::Wait).await?;
                Ok(Receipt::remote(receipt, meeting.clone()))
            }
            Form::Ended(meeting) => Ok(Receipt::stored(meeting.publish(&publish).await?)),
        }
    }

    /// Publishes packets in order, waiting while the meeting's backlog is full. It costs less than as many
    /// calls of [`publish`](Self::publish).
    ///
    /// All are checked before any is published.
    ///
    /// # Errors
    /// As [`publish`](Self::publish). If it is [`PublishError::Ended`], [`PublishError::Gone`] or
    /// [`PublishError::Read`], or concerns a number, the packets before the one at fault are published.
    ///
    /// # Cancel safety
    /// A dropped call has published some of them, from the first on.
    pub async fn publish_all(
        &self,
        packets: impl IntoIterator<Item = Publish>,
    ) -> Result<Receipts, PublishError> {
        let packets: Vec<_> = packets.into_iter().collect();
        match &self.0 {
            Form::Local(meeting) => {
                let accepted = meeting.publish_all(packets).await?;
                Ok(Receipts::local(accepted, meeting.shared().clone()))
            }
            Form::Remote(meeting) => {
                Ok(Receipts::remote(meeting.publish_all(packets).await?, meeting.clone()))
            }
            Form::Ended(meeting) => Ok(Receipts::stored(meeting.publish_all(&packets).await?)),
        }
    }

    /// Publishes a packet if there is room for it now. On a meeting that this node runs the future is ready
    /// when it is first polled, so a thread without a runtime may block on it.
    ///
    /// # Errors
    /// [`PublishError::Busy`] if there is not; [`PublishError::Repeated`] for a numbered packet before the
    /// producer's last one, which the meeting has; else as [`publish`](Self::publish).
    ///
    /// # Cancel safety
    /// As [`publish`](Self::publish).
    pub async fn try_publish(&self, publish: Publish) -> Result<Receipt, PublishError> {
        match &self.0 {
            Form::Local(meeting) => {
                let accepted = meeting.try_publish(publish)?;
                Ok(Receipt::local(accepted, meeting.shared().clone()))
            }
            Form::Remote(meeting) => {
                let receipt = meeting.publish(publish, WhenFull::Fail).await?;
                Ok(Receipt::remote(receipt, meeting.clone()))
            }
            Form::Ended(meeting) => Ok(Receipt::stored(meeting.publish(&publish).await?)),
        }
    }

    /// Waits until everything up to a packet of a durable source is stored, as [`Receipt::durable`] does. For
    /// callers that have the packet's seq and not its receipt: a node that serves a [`RemoteMeeting`] is one.
    ///
    /// # Errors
    /// [`PublishError::Gone`] or [`PublishError::Ended`] if the meeting was lost, or has ended, before the packet
    /// was stored.
    ///
    /// # Cancel safety
    /// Can be dropped and called again.
    pub async fn stored(&self, seq: Seq) -> Result<(), PublishError> {
        match &self.0 {
            Form::Local(meeting) => meeting.stored(seq).await,
            Form::Remote(meeting) => meeting.stored(seq).await,
            Form::Ended(meeting) => meeting.stored(seq),
        }
    }

    /// The number that a producer is to publish next; 1 for a producer that has published nothing.
    ///
    /// # Errors
    /// [`Error::Gone`] if another node runs the meeting and does not answer; [`Error::Read`] of a meeting that
    /// has ended.
    pub async fn expects(&self, producer: &str) -> Result<u64, Error> {
        match &self.0 {
            Form::Local(meeting) => Ok(meeting.expects(producer)),
            Form::Remote(meeting) => meeting.expects(producer.to_owned()).await,
            Form::Ended(meeting) => meeting.expects(producer).await,
        }
    }

    /// The seq of the packet to which a producer gave this number; none if the meeting has no such packet.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Gone`] if another node runs the meeting and does not answer.
    pub async fn numbered(&self, producer: &str, number: u64) -> Result<Option<Seq>, Error> {
        let producer: Arc<str> = producer.into();
        let found = match &self.0 {
            Form::Local(meeting) => meeting.numbered(&producer, number).await,
            Form::Remote(meeting) => return meeting.numbered(producer, number).await,
            Form::Ended(meeting) => meeting.numbered(producer, number).await,
        };
        found.map_err(|cause| Error::Read { meeting: self.id().clone(), cause: Arc::new(cause) })
    }

    /// All outputs of the meeting's instances, from the first on, as they are stored.
    pub fn outputs(&self) -> Packets {
        self.outputs_after(Seq::ZERO)
    }

    /// The outputs after a seq, for a reader that resumes.
    pub fn outputs_after(&self, seq: Seq) -> Packets {
        match &self.0 {
            Form::Local(meeting) => meeting.outputs_after(seq),
            Form::Remote(meeting) => Packets::from_stream(meeting.packets(Selection::Outputs, seq)),
            Form::Ended(meeting) => meeting.outputs_after(seq),
        }
    }

    /// All durable packets of the meeting, from the first on, as they are stored: published packets, outputs,
    /// and the meeting's own lifecycle.
    pub fn packets(&self) -> Packets {
        self.packets_after(Seq::ZERO)
    }

    /// The durable packets after a seq, for a reader that resumes.
    pub fn packets_after(&self, seq: Seq) -> Packets {
        match &self.0 {
            Form::Local(meeting) => meeting.packets_after(seq),
            Form::Remote(meeting) => Packets::from_stream(meeting.packets(Selection::All, seq)),
            Form::Ended(meeting) => meeting.packets_after(seq),
        }
    }

    /// Packets of some sources: of durable ones from a seq on, without a hole or a duplicate, then as they are
    /// stored; of volatile ones as they come. See [`Subscription`].
    ///
    /// # Errors
    /// [`Error::UnknownSource`]; [`Error::Gone`] if another node runs the meeting and does not answer.
    pub async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription, Error> {
        match &self.0 {
            Form::Local(meeting) => meeting.subscribe(subscribe),
            Form::Remote(meeting) => {
                let stream = meeting.subscribe(subscribe).await?;
                Ok(Subscription::from_stream(self.id().clone(), stream))
            }
            Form::Ended(meeting) => meeting.subscribe(subscribe),
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

    /// Adds an instance, which takes part from the next packet on or from the meeting's first.
    ///
    /// # Errors
    /// As [`assign`](Self::assign), and [`Error::WasHere`] if it is to begin at the start and was part of the
    /// meeting before.
    pub async fn assign_at(&self, instance: &str, at: JoinAt) -> Result<(), Error> {
        match &self.0 {
            Form::Local(meeting) => meeting.assign(instance, at).await,
            Form::Remote(meeting) => {
                meeting.instruct(Instruction::Assign { instance: instance.to_owned(), at }).await
            }
            Form::Ended(meeting) => Err(meeting.ended()),
        }
    }

    /// Removes an instance: it finishes what came before, then its `on_meeting_end` runs. Waits until it has
    /// left.
    ///
    /// # Errors
    /// [`Error::UnknownInstance`], [`Error::NotAssigned`], [`Error::Suspended`], [`Error::Ended`],
    /// [`Error::Gone`].
    ///
    /// # Cancel safety
    /// A dropped call does not take the removal back.
    pub async fn unassign(&self, instance: &str) -> Result<(), Error> {
        match &self.0 {
            Form::Local(meeting) => meeting.unassign(instance).await,
            Form::Remote(meeting) => {
                meeting.instruct(Instruction::Unassign { instance: instance.to_owned() }).await
            }
            Form::Ended(meeting) => Err(meeting.ended()),
        }
    }

    /// Delivers to a suspended instance again, from its cursor, with the state that it had. Packets of volatile
    /// sources that came meanwhile are lost.
    ///
    /// # Errors
    /// [`Error::UnknownInstance`], [`Error::NotAssigned`], [`Error::NotSuspended`], [`Error::Unreadable`],
    /// [`Error::Ended`], [`Error::Gone`].
    pub async fn resume_instance(&self, instance: &str) -> Result<(), Error> {
        match &self.0 {
            Form::Local(meeting) => meeting.resume_instance(instance).await,
            Form::Remote(meeting) => {
                meeting.instruct(Instruction::ResumeInstance { instance: instance.to_owned() }).await
            }
            Form::Ended(meeting) => Err(meeting.ended()),
        }
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
        match &self.0 {
            Form::Local(meeting) => meeting.end().await,
            Form::Remote(meeting) => meeting.instruct(Instruction::End).await,
            Form::Ended(meeting) => Err(meeting.ended()),
        }
    }

    /// Waits until every instance has finished with everything in the log, including what comes in meanwhile,
    /// and its effects are stored; once the meeting's end has begun, until it has ended. For a meeting that was
    /// [resumed] and that nobody publishes to, nothing is left to do then.
    ///
    /// [resumed]: crate::Node::resume_meeting
    ///
    /// # Errors
    /// [`Error::Ended`] if it had ended before, [`Error::Gone`].
    ///
    /// # Cancel safety
    /// Can be dropped and called again.
    pub async fn caught_up(&self) -> Result<(), Error> {
        match &self.0 {
            Form::Local(meeting) => meeting.caught_up().await,
            Form::Remote(meeting) => meeting.instruct(Instruction::CatchUp).await,
            Form::Ended(meeting) => Err(meeting.ended()),
        }
    }

    /// Carries out an instruction, by the method that it stands for. For a node that serves a [`RemoteMeeting`].
    ///
    /// # Errors
    /// Those of that method.
    ///
    /// # Cancel safety
    /// As that method.
    pub async fn instruct(&self, instruction: Instruction) -> Result<(), Error> {
        match instruction {
            Instruction::Assign { instance, at } => self.assign_at(&instance, at).await,
            Instruction::Unassign { instance } => self.unassign(&instance).await,
            Instruction::ResumeInstance { instance } => self.resume_instance(&instance).await,
            Instruction::End => self.end().await,
            Instruction::CatchUp => self.caught_up().await,
            Instruction::HoldClock { at } => self.hold_clock(at).await,
        }
    }

    /// Keeps the meeting's clock from passing a time by itself: from here on only a packet carries it further, until
    /// the next call. Who plays a recording says so before waiting for its next packet, and so gets the same ticks
    /// and wakes at any speed.
    ///
    /// # Errors
    /// [`Error::Ended`], [`Error::Gone`].
    pub async fn hold_clock(&self, at: Timestamp) -> Result<(), Error> {
        match &self.0 {
            Form::Local(meeting) => {
                meeting.hold_clock(at);
                Ok(())
            }
            Form::Remote(meeting) => meeting.instruct(Instruction::HoldClock { at }).await,
            Form::Ended(meeting) => Err(meeting.ended()),
        }
    }

    /// The packets that instances of the meeting gave up, by seq, then instance, as far as they are stored.
    /// [`Node::redrive`](crate::Node::redrive) delivers them again.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Gone`] if another node runs the meeting and does not answer.
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>, Error> {
        match &self.0 {
            Form::Local(meeting) => meeting.dead_letters().await,
            Form::Remote(meeting) => meeting.dead_letters().await,
            Form::Ended(meeting) => meeting.dead_letters().await,
        }
    }

    /// What the meeting and its instances have done since this node runs it; also after its end. Nothing of a
    /// meeting that had ended before the handle was made.
    ///
    /// # Errors
    /// [`Error::Gone`] if another node runs the meeting and does not answer.
    pub async fn stats(&self) -> Result<MeetingStats, Error> {
        match &self.0 {
            Form::Local(meeting) => Ok(meeting.stats()),
            Form::Remote(meeting) => meeting.stats().await,
            Form::Ended(_) => Ok(MeetingStats { packets: 0, instances: Vec::new() }),
        }
    }
}
