//! The links of a node to the others.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream::BoxStream;
use teammy_kernel::store::Incarnation;
use tokio::sync::watch;

use crate::{
    handler::{Call, Handler},
    membership::View,
    transport::Transport,
};

/// How links behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSettings {
    /// From one heartbeat to the next.
    pub heartbeat: Duration,
    /// After how many heartbeats without anything from the peer a link counts as broken.
    pub misses: u32,
    /// How many bytes may be under way to a peer that it has not taken, in each direction.
    pub window: usize,
    /// How many bytes of a stream may wait at the reader's.
    pub stream_window: usize,
    /// The longest time between two tries to reach a node.
    pub longest_backoff: Duration,
}

/// Why a call got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// It was not sent: the node did not see it.
    #[error("{peer} cannot be reached: {reason}")]
    NotSent {
        /// The node.
        peer: Incarnation,
        /// Why.
        reason: Arc<str>,
    },
    /// It was sent, and the link broke before the answer: the node may have done it or not.
    #[error("the link to {peer} broke before it answered: {reason}")]
    Unknown {
        /// The node.
        peer: Incarnation,
        /// Why.
        reason: Arc<str>,
    },
}

/// The state of a link, for people and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStatus {
    /// The node at the other end.
    pub peer: Incarnation,
    /// Whether it is up.
    pub is_up: bool,
    /// How long ago something came from the peer, if it is up.
    pub silence: Option<Duration>,
    /// Bytes under way that the peer has not taken.
    pub under_way: usize,
    /// Calls and streams that wait for it.
    pub waiting: usize,
    /// How often it broke.
    pub breaks: u64,
    /// Why it is down.
    pub reason: Option<Arc<str>>,
}

/// The links of a node to all other members. Dropping it closes them.
pub struct Links {}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").finish_non_exhaustive()
    }
}

impl Links {
    /// Keeps a link with each member of `view` that has an address, or that reaches this node: of two nodes the one with the
    /// smaller incarnation dials.
    pub fn start(
        me: Incarnation,
        transport: Arc<dyn Transport>,
        handler: Arc<dyn Handler>,
        view: watch::Receiver<View>,
        settings: LinkSettings,
    ) -> Self {
        todo!()
    }

    /// Asks a node for something and waits for its answer. It waits while the window is full, and for a link that is being made no
    /// longer than a heartbeat.
    ///
    /// # Errors
    /// Those of [`CallError`].
    ///
    /// # Cancel safety
    /// A dropped call may have been sent.
    pub async fn call(&self, to: &Incarnation, call: Call) -> Result<Bytes, CallError> {
        todo!()
    }

    /// Asks a node for a stream: its answer, and the items until the first error. Items come as fast as they are taken.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn open(
        &self,
        to: &Incarnation,
        call: Call,
    ) -> Result<(Bytes, Option<BoxStream<'static, Result<Bytes, CallError>>>), CallError> {
        todo!()
    }

    /// The state of each link.
    pub fn status(&self) -> Vec<LinkStatus> {
        todo!()
    }
}
