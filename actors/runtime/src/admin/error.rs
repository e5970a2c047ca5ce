//! Why a node did not do what an operator asked.

use serde::{Deserialize, Serialize};
use teammy_kernel::MeetingId;

use crate::{meeting, node};

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
    /// The node failed.
    #[error(transparent)]
    Node(node::Error),
}

/// The kinds of [`Error`], for programs. The names do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// No meeting of this id is in the store.
    NoMeeting,
    /// The node does not run the meeting.
    NotRunning,
    /// The meeting has ended, or is ending.
    Ended,
    /// The instance is not configured, or takes no part in the meeting.
    NoInstance,
    /// The instance is suspended, or is not.
    InstanceStatus,
    /// The node lost the meeting.
    Gone,
    /// The store failed.
    Store,
    /// Anything else.
    Other,
}

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

impl Error {
    /// The kind of this error.
    pub fn code(&self) -> ErrorCode {
        use meeting::Error as Meeting;
        use node::Error as Node;
        match self {
            Self::NoMeeting(_) => ErrorCode::NoMeeting,
            Self::NotRunning(_) => ErrorCode::NotRunning,
            Self::Node(error) => match error {
                Node::Ended(_) | Node::Meeting(Meeting::Ended(_) | Meeting::Ending(_)) => ErrorCode::Ended,
                Node::UnknownInstance { .. }
                | Node::MissingInstance { .. }
                | Node::Meeting(Meeting::UnknownInstance { .. } | Meeting::NotAssigned { .. }) => {
                    ErrorCode::NoInstance
                }
                Node::Meeting(
                    Meeting::Suspended { .. } | Meeting::NotSuspended { .. } | Meeting::Unreadable { .. },
                ) => ErrorCode::InstanceStatus,
                Node::Meeting(Meeting::Gone { .. }) => ErrorCode::Gone,
                Node::Store(_) | Node::Meeting(Meeting::Read { .. }) => ErrorCode::Store,
                _ => ErrorCode::Other,
            },
        }
    }

    /// Whether the same request may succeed later, without anything being changed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Node(node::Error::Store(error)) => error.is_transient(),
            Self::Node(node::Error::Meeting(meeting::Error::Read { cause, .. })) => cause.is_transient(),
            Self::Node(node::Error::Meeting(meeting::Error::Ending(_) | meeting::Error::Gone { .. })) => true,
            _ => false,
        }
    }
}
