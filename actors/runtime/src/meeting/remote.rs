//! A meeting that another node runs, as this crate knows it.

use std::{fmt, sync::Arc};

use futures::{future::BoxFuture, stream::BoxStream};
use teammy_kernel::{DataPacket, MeetingMetadata, Name, Publish, Seq, log::JoinAt};

use super::{
    error::{Error, PublishError},
    stats::MeetingStats,
    subscription::{Delivered, Subscribe},
};

/// Whether a publish waits for room in the meeting's backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// It waits.
    Wait,
    /// It fails with [`PublishError::Busy`].
    Fail,
}

/// Which stored packets of a meeting to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// All of them.
    All,
    /// The outputs of its instances.
    Outputs,
}

/// What a meeting can be asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Instruction {
    /// Add an instance.
    Assign {
        /// The instance.
        instance: String,
        /// Where it begins.
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
}

/// A packet that a remote meeting has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteReceipt {
    /// The packet's seq.
    pub seq: Seq,
    /// Its source, if the source is volatile.
    pub volatile: Option<Name>,
}

/// A meeting that another node runs: what stands behind a [`MeetingRef`](super::MeetingRef) that was made with
/// [`MeetingRef::remote`](super::MeetingRef::remote).
///
/// Each method does what the method of its name does there, with the same errors. A call whose fate is unknown,
/// because the link broke, fails with [`Error::Gone`].
pub trait RemoteMeeting: fmt::Debug + Send + Sync + 'static {
    /// What the meeting was started with.
    fn metadata(&self) -> &MeetingMetadata;

    /// Publishes a packet.
    fn publish(
        &self,
        publish: Publish,
        when_full: WhenFull,
    ) -> BoxFuture<'_, Result<RemoteReceipt, PublishError>>;

    /// Publishes packets in order.
    fn publish_all(&self, publishes: Vec<Publish>)
    -> BoxFuture<'_, Result<Vec<RemoteReceipt>, PublishError>>;

    /// Waits until everything up to a seq is stored.
    fn stored(&self, seq: Seq) -> BoxFuture<'_, Result<(), PublishError>>;

    /// The number that a producer is to publish next.
    fn expects(&self, producer: String) -> BoxFuture<'_, Result<u64, Error>>;

    /// Stored packets after a seq, as they are stored.
    fn packets(&self, selection: Selection, after: Seq)
    -> BoxStream<'static, Result<Arc<DataPacket>, Error>>;

    /// Packets of some sources.
    fn subscribe(
        &self,
        subscribe: Subscribe,
    ) -> BoxFuture<'_, Result<BoxStream<'static, Result<Delivered, Error>>, Error>>;

    /// Does something and waits until it is done.
    fn instruct(&self, instruction: Instruction) -> BoxFuture<'_, Result<(), Error>>;

    /// What the meeting has done so far.
    fn stats(&self) -> BoxFuture<'_, Result<MeetingStats, Error>>;
}
