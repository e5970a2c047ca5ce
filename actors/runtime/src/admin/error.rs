//! Why a node did not do what an operator asked.

use teammy_kernel::{MeetingId, error_classes};

use crate::{keys, meeting, node};

/// Why a node did not do what an operator asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No meeting of this id is in the store.
    #[error("there is no meeting {0}")]
    NoMeeting(MeetingId),
    /// The meeting is in the store, and this node does not run it.
    #[error("meeting {0} does not run on this node")]
    NotRunning(MeetingId),
    /// The node is in no cluster.
    #[error("this node is in no cluster; give it a name in `[cluster] node`")]
    NoCluster,
    /// The keys could not be read or changed.
    #[error(transparent)]
    Keys(#[from] keys::Error),
    /// The node failed.
    #[error(transparent)]
    Node(node::Error),
}

error_classes!(Error {
    Self::NoMeeting(_) => "no-meeting" NotFound,
    Self::NotRunning(_) => "not-running" Conflict,
    Self::NoCluster => "no-cluster" Invalid,
} else {
    Self::Keys(error) => error.class(),
    Self::Node(error) => error.class(),
});

impl From<node::Error> for Error {
    fn from(error: node::Error) -> Self {
        match error {
            node::Error::NoMeeting(id) => Self::NoMeeting(id),
            node::Error::NotRunning(id) => Self::NotRunning(id),
            error => Self::Node(error),
        }
    }
}

impl From<meeting::Error> for Error {
    fn from(error: meeting::Error) -> Self {
        Self::Node(error.into())
    }
}
