//! A meeting that another node runs: the trait that a transport implements, and what crosses the link.

use std::{fmt, sync::Arc};

use futures::{future::BoxFuture, stream::BoxStream};
use teammy_kernel::{
    DataPacket, MeetingMetadata, Name, Publish, PublishError, Seq, Timestamp, log::JoinAt, store::DeadLetter,
};

use super::{
    error::Error,
    stats::MeetingStats,
    subscription::{Delivered, Subscribe},
};

/// What a publish does while the meeting's backlog is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Wait for room, as [`MeetingRef::publish`](super::MeetingRef::publish).
    Wait,
    /// Fail with [`PublishError::Busy`], as [`MeetingRef::try_publish`](super::MeetingRef::try_publish).
    Fail,
}

/// Which stored packets of a meeting to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// All stored packets.
    All,
    /// The outputs of its instances.
    Outputs,
}

/// What a meeting can be asked to do. An implementation of [`RemoteMeeting`] must handle each instruction, so
/// the enum is exhaustive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// Add an instance.
    Assign {
        /// The instance.
        instance: String,
        /// Where in the log it begins.
        at: JoinAt,
    },
    /// Remove an instance, and wait until it has left.
    Unassign {
        /// The instance.
        instance: String,
    },
    /// Deliver to a suspended instance again.
    ResumeInstance {
        /// The instance.
        instance: String,
    },
    /// End the meeting, and wait until it has ended.
    End,
    /// Wait until every instance has caught up with the log.
    CatchUp,
    /// Keep the meeting's clock from passing a time by itself.
    HoldClock {
        /// The time.
        at: Timestamp,
    },
}

/// A packet that a remote meeting has accepted. The node that runs the meeting makes it from a
/// [`Receipt`](super::Receipt).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteReceipt {
    /// The packet's seq.
    pub seq: Seq,
    /// Its source, if the source is volatile.
    pub volatile: Option<Name>,
    /// Whether the meeting had the packet before, by its producer and number.
    pub is_repeat: bool,
}

/// A meeting that another node runs. A [`MeetingRef`](super::MeetingRef) made with
/// [`MeetingRef::remote`](super::MeetingRef::remote) calls it.
///
/// Each method does what its counterpart on [`MeetingRef`](super::MeetingRef) does, with the same errors. If
/// the link breaks, so that the result of a call is unknown, the call fails with [`Error::Gone`] or
/// [`PublishError::Gone`].
pub trait RemoteMeeting: fmt::Debug + Send + Sync + 'static {
    /// What the meeting was started with.
    fn metadata(&self) -> &MeetingMetadata;

    /// When it was created, if that is known.
    fn created(&self) -> Option<Timestamp>;

    /// Publishes a packet: [`publish`](super::MeetingRef::publish) or
    /// [`try_publish`](super::MeetingRef::try_publish).
    fn publish(
        &self,
        publish: Publish,
        when_full: WhenFull,
    ) -> BoxFuture<'_, Result<RemoteReceipt, PublishError>>;

    /// Publishes packets in order, waiting for room.
    fn publish_all(&self, publishes: Vec<Publish>)
    -> BoxFuture<'_, Result<Vec<RemoteReceipt>, PublishError>>;

    /// Waits until everything up to a packet of a durable source is stored.
    fn stored(&self, seq: Seq) -> BoxFuture<'_, Result<(), PublishError>>;

    /// The number that a producer is to publish next.
    fn expects(&self, producer: String) -> BoxFuture<'_, Result<u64, Error>>;

    /// The seq of the packet to which a producer gave this number.
    fn numbered(&self, producer: Arc<str>, number: u64) -> BoxFuture<'_, Result<Option<Seq>, Error>>;

    /// Stored packets after a seq, then new ones as they are stored:
    /// [`packets_after`](super::MeetingRef::packets_after) or
    /// [`outputs_after`](super::MeetingRef::outputs_after).
    fn packets(&self, selection: Selection, after: Seq)
    -> BoxStream<'static, Result<Arc<DataPacket>, Error>>;

    /// Packets of some sources. Dropping the stream ends the subscription.
    fn subscribe(
        &self,
        subscribe: Subscribe,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Delivered, Error>>, Error>>;

    /// Carries out an instruction and waits until it is done.
    fn instruct(&self, instruction: Instruction) -> BoxFuture<'_, Result<(), Error>>;

    /// The packets that its instances gave up.
    fn dead_letters(&self) -> BoxFuture<'_, Result<Vec<DeadLetter>, Error>>;

    /// What the meeting has done so far.
    fn stats(&self) -> BoxFuture<'_, Result<MeetingStats, Error>>;
}
