//! An error of another process.

use serde::{Deserialize, Serialize};

use crate::{ErrorClass, ErrorKind};

/// An error of another node, as that node said it: its text, with what caused it, its code and its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{text}")]
pub struct RemoteError {
    /// Its [code](ErrorClass::code).
    pub code: String,
    /// Its kind.
    pub kind: ErrorKind,
    /// What it says.
    pub text: String,
}

impl RemoteError {
    /// Classes of errors that come of a call to another node, and of that node's errors that callers here have no type for.
    #[doc(hidden)]
    pub const CLASSES: &'static [ErrorClass] = &[
        Self::NOT_REACHED,
        Self::NOT_SENT,
        Self::CALL_NOT_READ,
        Self::ANSWER_NOT_READ,
        ErrorClass::new("no-room", ErrorKind::Busy),
        ErrorClass::new("no-member", ErrorKind::Gone),
        ErrorClass::new("shut-down", ErrorKind::Gone),
        ErrorClass::new("missing-instance", ErrorKind::Conflict),
    ];

    /// No node answers for the meeting now.
    pub const NOT_REACHED: ErrorClass = ErrorClass::new("not-reached", ErrorKind::Unavailable);

    /// The packet is too large for a link.
    pub const NOT_SENT: ErrorClass = ErrorClass::new("packet-not-sent", ErrorKind::Invalid);

    /// The other node, of another version, could not read the call.
    pub const CALL_NOT_READ: ErrorClass = ErrorClass::new("call-not-read", ErrorKind::Internal);

    /// The answer could not be read: the other node is of another version.
    pub const ANSWER_NOT_READ: ErrorClass = ErrorClass::new("answer-not-read", ErrorKind::Internal);

    /// An error of this class, which says this.
    pub fn of(class: ErrorClass, text: String) -> Self {
        Self { code: class.code().to_owned(), kind: class.kind(), text }
    }

    /// The form of an error that another process is told.
    pub fn new(class: ErrorClass, error: &(dyn std::error::Error + 'static)) -> Self {
        Self { code: class.code().to_owned(), kind: class.kind(), text: crate::chain(error) }
    }

    /// Its class: the one of `known`, or of [`Self::CLASSES`], that has its code. Of a code that is not known here the kind is kept.
    pub fn class(&self, known: &[&[ErrorClass]]) -> ErrorClass {
        let class =
            known.iter().chain([&Self::CLASSES]).copied().flatten().find(|class| class.code() == self.code);
        class.copied().unwrap_or(ErrorClass::new("of-another-node", self.kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PublishError;

    #[test]
    fn a_known_code_stays_and_an_unknown_one_keeps_its_kind() {
        let error = PublishError::Busy(crate::MeetingId::new("m").unwrap());
        let remote = RemoteError::new(error.class(), &error);
        let (text, class) = (remote.to_string(), remote.class(&[PublishError::CLASSES]));
        assert_eq!((text.as_str(), class), ("meeting m is busy: its backlog is full", error.class()));
        let newer = RemoteError { code: "of-a-later-version".to_owned(), ..remote };
        let class = newer.class(&[PublishError::CLASSES]);
        assert_eq!((class.code(), class.kind()), ("of-another-node", ErrorKind::Busy));
    }
}
