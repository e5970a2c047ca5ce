//! Connections between nodes, whatever carries them.

#[cfg(any(test, feature = "testing"))]
pub(crate) mod memory;
pub(crate) mod tcp;

use std::fmt;

use bytes::Bytes;
use futures::future::BoxFuture;
use teammy_kernel::store::Incarnation;
use tokio::sync::mpsc;

/// The largest frame, in bytes. Larger messages are cut by the link.
pub const MAX_FRAME: usize = 1 << 20;

/// The other side has gone, or the connection was closed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection has ended")]
pub struct Closed;

/// Why a node could not be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Its address cannot be used.
    #[error("the node's address {0} cannot be used")]
    Address(String),
    /// Nobody answers there, or not in time.
    #[error("cannot reach {address}")]
    Unreachable {
        /// Where.
        address: String,
        /// What the system says.
        #[source]
        cause: std::io::Error,
    },
    /// Somebody else answers there, or without a certificate that counts here.
    #[error("{address} is not {peer}: {reason}")]
    NotThePeer {
        /// Where.
        address: String,
        /// Who should be there.
        peer: Incarnation,
        /// What is wrong.
        reason: String,
    },
}

/// The sending half of a connection. Dropping it closes the connection.
pub trait FrameSender: fmt::Debug + Send + Sync + 'static {
    /// Hands a frame of at most [`MAX_FRAME`] bytes over, without waiting. Frames arrive in order and at most once. Success says
    /// nothing about arrival. How much may be under way is the caller's to bound: the link has a window.
    ///
    /// # Errors
    /// [`Closed`].
    fn send(&self, frame: Bytes) -> Result<(), Closed>;
}

/// A connection with another node.
#[derive(Debug)]
pub struct Connection {
    /// Who is at the other end, as far as the transport knows: by its certificate, for the name.
    pub peer: Incarnation,
    /// Sends frames.
    pub sender: Box<dyn FrameSender>,
    /// The frames that arrive. It ends with the connection. It has no bound of its own: the other side keeps to the link's window,
    /// and a link whose peer does not is closed.
    pub receiver: mpsc::UnboundedReceiver<Bytes>,
}

/// Makes connections. A transport has no state of its links: who dials whom, heartbeats, windows and new tries are the
/// [link](crate::Links)'s.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Makes a connection with a node. It takes a bounded time.
    ///
    /// # Errors
    /// Those of [`ConnectError`].
    fn connect<'a>(
        &'a self,
        peer: &'a Incarnation,
        address: &'a str,
    ) -> BoxFuture<'a, Result<Connection, ConnectError>>;

    /// The next connection that another node made; none once the transport is closed.
    fn accept(&self) -> BoxFuture<'_, Option<Connection>>;

    /// Where other nodes reach this one: a part of its [`NodeDocument`](crate::NodeDocument). None if they cannot.
    fn address(&self) -> Option<String>;
}
