//! The errors that a call of a meeting ends with, whichever node it went to.

use std::sync::Arc;

use teammy_kernel::{MeetingId, PublishError, RemoteError};
use teammy_runtime::{meeting, node};

/// An error that a call of a meeting ends with.
pub(crate) trait Failure: Sized {
    fn of(failure: RemoteError) -> Self;
    fn unknown(meeting: MeetingId, reason: Arc<str>) -> Self;
    /// This node can do nothing for the meeting any more, but others can.
    fn gone(meeting: MeetingId, reason: Arc<str>) -> Self;
    fn of_node(error: node::Error) -> Self;
    /// Whether the meeting left the node before the call had an effect.
    fn is_gone(&self) -> bool;
    /// Whether there is no room now, and the caller wants to wait for it.
    fn is_busy(&self) -> bool {
        false
    }
}

impl Failure for PublishError {
    fn of(failure: RemoteError) -> Self {
        Self::Remote(Arc::new(failure))
    }

    fn unknown(meeting: MeetingId, reason: Arc<str>) -> Self {
        Self::Unknown { meeting, reason }
    }

    fn gone(meeting: MeetingId, reason: Arc<str>) -> Self {
        Self::Gone { meeting, reason }
    }

    fn of_node(error: node::Error) -> Self {
        match error {
            node::Error::Ended(meeting) => Self::Ended(meeting),
            error => Self::Remote(Arc::new(RemoteError::new(error.class(), &error))),
        }
    }

    fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }

    fn is_busy(&self) -> bool {
        matches!(self, Self::Busy(_))
    }
}

impl Failure for meeting::Error {
    fn of(failure: RemoteError) -> Self {
        Self::Remote(Arc::new(failure))
    }

    fn unknown(meeting: MeetingId, reason: Arc<str>) -> Self {
        Self::Gone { meeting, reason }
    }

    fn gone(meeting: MeetingId, reason: Arc<str>) -> Self {
        Self::Gone { meeting, reason }
    }

    fn of_node(error: node::Error) -> Self {
        match error {
            node::Error::Ended(meeting) => Self::Ended(meeting),
            node::Error::Meeting(error) => error,
            error => Self::Remote(Arc::new(RemoteError::new(error.class(), &error))),
        }
    }

    fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }
}

/// A node answered something that does not belong to the question.
pub(crate) fn misread() -> meeting::Error {
    let text = "unexpected answer from the node; it may run another version of Teammy".to_owned();
    meeting::Error::Remote(Arc::new(RemoteError::of(RemoteError::ANSWER_NOT_READ, text)))
}
