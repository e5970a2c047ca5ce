//! Tells of meetings that begin to run on a node.

use teammy_kernel::MeetingId;
use tokio::sync::broadcast::{Receiver, Sender, error::RecvError};

/// So many are kept for a listener that is slow; it is told that it missed some.
const KEPT: usize = 1024;

/// Of what [`Beginnings`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Beginning {
    /// A meeting began to run here: it was started, resumed, or reopened for a redrive. It may be over already.
    Of(MeetingId),
    /// The listener was slow, and did not hear of some. [`Node::meetings`](crate::Node::meetings) are those that run now.
    Missed,
}

/// The meetings that begin to run on a node, from the moment on in which it was made ([`Node::beginnings`]).
///
/// [`Node::beginnings`]: crate::Node::beginnings
#[derive(Debug)]
pub struct Beginnings(Receiver<MeetingId>);

impl Beginnings {
    /// The next one; none once the node is gone.
    ///
    /// # Cancel safety
    /// A dropped call loses nothing.
    pub async fn next(&mut self) -> Option<Beginning> {
        match self.0.recv().await {
            Ok(id) => Some(Beginning::Of(id)),
            Err(RecvError::Lagged(_)) => Some(Beginning::Missed),
            Err(RecvError::Closed) => None,
        }
    }
}

/// What a node tells its listeners.
#[derive(Debug, Clone)]
pub(super) struct Announcer(Sender<MeetingId>);

impl Default for Announcer {
    fn default() -> Self {
        Self(Sender::new(KEPT))
    }
}

impl Announcer {
    pub(super) fn listen(&self) -> Beginnings {
        Beginnings(self.0.subscribe())
    }

    pub(super) fn announce(&self, id: MeetingId) {
        // Without listeners nobody is told.
        let _ = self.0.send(id);
    }
}
