//! The form in which errors cross a link. Those that programs tell apart come out as they went in; others as their text, code and
//! kind ([`RemoteError`]).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use teammy_kernel::{MeetingId, Name, PublishError, RemoteError};
use teammy_runtime::{meeting, node};

/// An error of publishing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PublishFailure {
    UnknownSource { source_name: Name, suggestion: Option<Name> },
    NotExternal(Name),
    TooLarge { bytes: u64, limit: u64 },
    ParticipantTooLong { bytes: u64 },
    Expected { producer: Arc<str>, expected: u64 },
    Repeated { producer: Arc<str>, number: u64 },
    BadNumber,
    NumberedVolatile(Name),
    Busy(MeetingId),
    Volatile(Name),
    Ended(MeetingId),
    Gone { meeting: MeetingId, reason: Arc<str> },
    Lost(MeetingId),
    Unknown { meeting: MeetingId, reason: Arc<str> },
    Other(RemoteError),
}

fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

fn narrow(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

impl From<PublishError> for PublishFailure {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::UnknownSource { source_name, suggestion } => {
                Self::UnknownSource { source_name, suggestion }
            }
            PublishError::NotExternal(source) => Self::NotExternal(source),
            PublishError::TooLarge { bytes, limit } => {
                Self::TooLarge { bytes: wide(bytes), limit: wide(limit) }
            }
            PublishError::ParticipantTooLong { bytes } => Self::ParticipantTooLong { bytes: wide(bytes) },
            PublishError::Expected { producer, expected } => Self::Expected { producer, expected },
            PublishError::Repeated { producer, number } => Self::Repeated { producer, number },
            PublishError::BadNumber => Self::BadNumber,
            PublishError::NumberedVolatile(source) => Self::NumberedVolatile(source),
            PublishError::Busy(meeting) => Self::Busy(meeting),
            PublishError::Volatile(source) => Self::Volatile(source),
            PublishError::Ended(meeting) => Self::Ended(meeting),
            PublishError::Gone { meeting, reason } => Self::Gone { meeting, reason },
            PublishError::Lost(meeting) => Self::Lost(meeting),
            PublishError::Unknown { meeting, reason } => Self::Unknown { meeting, reason },
            PublishError::Remote(error) => Self::Other((*error).clone()),
            error => Self::Other(RemoteError::new(error.class(), &error)),
        }
    }
}

impl From<PublishFailure> for PublishError {
    fn from(failure: PublishFailure) -> Self {
        match failure {
            PublishFailure::UnknownSource { source_name, suggestion } => {
                Self::UnknownSource { source_name, suggestion }
            }
            PublishFailure::NotExternal(source) => Self::NotExternal(source),
            PublishFailure::TooLarge { bytes, limit } => {
                Self::TooLarge { bytes: narrow(bytes), limit: narrow(limit) }
            }
            PublishFailure::ParticipantTooLong { bytes } => Self::ParticipantTooLong { bytes: narrow(bytes) },
            PublishFailure::Expected { producer, expected } => Self::Expected { producer, expected },
            PublishFailure::Repeated { producer, number } => Self::Repeated { producer, number },
            PublishFailure::BadNumber => Self::BadNumber,
            PublishFailure::NumberedVolatile(source) => Self::NumberedVolatile(source),
            PublishFailure::Busy(meeting) => Self::Busy(meeting),
            PublishFailure::Volatile(source) => Self::Volatile(source),
            PublishFailure::Ended(meeting) => Self::Ended(meeting),
            PublishFailure::Gone { meeting, reason } => Self::Gone { meeting, reason },
            PublishFailure::Lost(meeting) => Self::Lost(meeting),
            PublishFailure::Unknown { meeting, reason } => Self::Unknown { meeting, reason },
            PublishFailure::Other(error) => Self::Remote(Arc::new(error)),
        }
    }
}

/// An error of a meeting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MeetingFailure {
    Ended(MeetingId),
    Gone { meeting: MeetingId, reason: Arc<str> },
    UnknownInstance { instance: String, suggestion: Option<Name> },
    NeedsLlm(Name),
    Assigned { instance: Name, meeting: MeetingId },
    NotAssigned { instance: Name, meeting: MeetingId },
    Suspended { instance: Name, meeting: MeetingId },
    WasHere { instance: Name, meeting: MeetingId },
    NotSuspended { instance: Name, meeting: MeetingId },
    Unreadable { instance: Name, meeting: MeetingId, reason: String },
    Ending(MeetingId),
    UnknownSource { source_name: String, suggestion: Option<Name> },
    TooSlow(MeetingId),
    Other(RemoteError),
}

impl From<meeting::Error> for MeetingFailure {
    fn from(error: meeting::Error) -> Self {
        use meeting::Error;
        match error {
            Error::Ended(meeting) => Self::Ended(meeting),
            Error::Gone { meeting, reason } => Self::Gone { meeting, reason },
            Error::UnknownInstance { instance, suggestion } => Self::UnknownInstance { instance, suggestion },
            Error::NeedsLlm(instance) => Self::NeedsLlm(instance),
            Error::Assigned { instance, meeting } => Self::Assigned { instance, meeting },
            Error::NotAssigned { instance, meeting } => Self::NotAssigned { instance, meeting },
            Error::Suspended { instance, meeting } => Self::Suspended { instance, meeting },
            Error::WasHere { instance, meeting } => Self::WasHere { instance, meeting },
            Error::NotSuspended { instance, meeting } => Self::NotSuspended { instance, meeting },
            Error::Unreadable { instance, meeting, reason } => Self::Unreadable { instance, meeting, reason },
            Error::Ending(meeting) => Self::Ending(meeting),
            Error::UnknownSource { source_name, suggestion } => {
                Self::UnknownSource { source_name, suggestion }
            }
            Error::TooSlow(meeting) => Self::TooSlow(meeting),
            Error::Remote(error) => Self::Other((*error).clone()),
            error => Self::Other(RemoteError::new(error.class(), &error)),
        }
    }
}

impl From<MeetingFailure> for meeting::Error {
    fn from(failure: MeetingFailure) -> Self {
        use MeetingFailure as Failure;
        match failure {
            Failure::Ended(meeting) => Self::Ended(meeting),
            Failure::Gone { meeting, reason } => Self::Gone { meeting, reason },
            Failure::UnknownInstance { instance, suggestion } => {
                Self::UnknownInstance { instance, suggestion }
            }
            Failure::NeedsLlm(instance) => Self::NeedsLlm(instance),
            Failure::Assigned { instance, meeting } => Self::Assigned { instance, meeting },
            Failure::NotAssigned { instance, meeting } => Self::NotAssigned { instance, meeting },
            Failure::Suspended { instance, meeting } => Self::Suspended { instance, meeting },
            Failure::WasHere { instance, meeting } => Self::WasHere { instance, meeting },
            Failure::NotSuspended { instance, meeting } => Self::NotSuspended { instance, meeting },
            Failure::Unreadable { instance, meeting, reason } => {
                Self::Unreadable { instance, meeting, reason }
            }
            Failure::Ending(meeting) => Self::Ending(meeting),
            Failure::UnknownSource { source_name, suggestion } => {
                Self::UnknownSource { source_name, suggestion }
            }
            Failure::TooSlow(meeting) => Self::TooSlow(meeting),
            Failure::Other(error) => Self::Remote(Arc::new(error)),
        }
    }
}

/// An error of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NodeFailure {
    NoMeeting(MeetingId),
    Ended(MeetingId),
    UnknownInstance { instance: String, suggestion: Option<Name> },
    NeedsLlm(Name),
    MissingInstance { meeting: MeetingId, instance: Name },
    MeetingExists(MeetingId),
    Meeting(MeetingFailure),
}

impl From<node::Error> for NodeFailure {
    fn from(error: node::Error) -> Self {
        use node::Error;
        match error {
            Error::NoMeeting(meeting) => Self::NoMeeting(meeting),
            Error::Ended(meeting) => Self::Ended(meeting),
            Error::UnknownInstance { instance, suggestion } => Self::UnknownInstance { instance, suggestion },
            Error::NeedsLlm(instance) => Self::NeedsLlm(instance),
            Error::MissingInstance { meeting, instance } => Self::MissingInstance { meeting, instance },
            Error::MeetingExists(meeting) => Self::MeetingExists(meeting),
            Error::Meeting(error) => Self::Meeting(error.into()),
            error => Self::Meeting(MeetingFailure::Other(RemoteError::new(error.class(), &error))),
        }
    }
}

impl From<NodeFailure> for node::Error {
    fn from(failure: NodeFailure) -> Self {
        use NodeFailure as Failure;
        match failure {
            Failure::NoMeeting(meeting) => Self::NoMeeting(meeting),
            Failure::Ended(meeting) => Self::Ended(meeting),
            Failure::UnknownInstance { instance, suggestion } => {
                Self::UnknownInstance { instance, suggestion }
            }
            Failure::NeedsLlm(instance) => Self::NeedsLlm(instance),
            Failure::MissingInstance { meeting, instance } => Self::MissingInstance { meeting, instance },
            Failure::MeetingExists(meeting) => Self::MeetingExists(meeting),
            Failure::Meeting(error) => Self::Meeting(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> MeetingId {
        MeetingId::new("m").unwrap()
    }

    fn name() -> Name {
        Name::new("n").unwrap()
    }

    #[test]
    fn errors_of_publishing_say_the_same_on_the_other_side() {
        for error in [
            PublishError::UnknownSource { source_name: name(), suggestion: Some(name()) },
            PublishError::NotExternal(name()),
            PublishError::TooLarge { bytes: 2, limit: 1 },
            PublishError::ParticipantTooLong { bytes: 300 },
            PublishError::Expected { producer: "p".into(), expected: 3 },
            PublishError::Repeated { producer: "p".into(), number: 3 },
            PublishError::BadNumber,
            PublishError::NumberedVolatile(name()),
            PublishError::Busy(id()),
            PublishError::Volatile(name()),
            PublishError::Ended(id()),
            PublishError::Gone { meeting: id(), reason: "r".into() },
            PublishError::Lost(id()),
            PublishError::Unknown { meeting: id(), reason: "r".into() },
        ] {
            let (says, class) = (error.to_string(), error.class());
            let came = PublishError::from(PublishFailure::from(error));
            assert_eq!((came.to_string(), came.class()), (says, class));
        }
    }

    #[test]
    fn errors_of_meetings_and_nodes_say_the_same_on_the_other_side() {
        use meeting::Error;
        for error in [
            Error::Ended(id()),
            Error::Gone { meeting: id(), reason: "r".into() },
            Error::UnknownInstance { instance: "i".into(), suggestion: None },
            Error::NeedsLlm(name()),
            Error::Assigned { instance: name(), meeting: id() },
            Error::NotAssigned { instance: name(), meeting: id() },
            Error::Suspended { instance: name(), meeting: id() },
            Error::WasHere { instance: name(), meeting: id() },
            Error::NotSuspended { instance: name(), meeting: id() },
            Error::Unreadable { instance: name(), meeting: id(), reason: "r".into() },
            Error::Ending(id()),
            Error::UnknownSource { source_name: "s".into(), suggestion: Some(name()) },
            Error::TooSlow(id()),
        ] {
            let error = node::Error::Meeting(error);
            let (says, class) = (error.to_string(), error.class());
            let came = node::Error::from(NodeFailure::from(error));
            assert_eq!((came.to_string(), came.class()), (says, class));
        }
        for error in [
            node::Error::NoMeeting(id()),
            node::Error::Ended(id()),
            node::Error::MissingInstance { meeting: id(), instance: name() },
            node::Error::MeetingExists(id()),
            node::Error::ShutDown,
            node::Error::NoRoom { meeting: id(), reason: "r".into() },
        ] {
            let (says, class) = (error.to_string(), error.class());
            let came = node::Error::from(NodeFailure::from(error));
            assert_eq!((came.to_string(), came.class()), (says, class));
        }
    }
}
