//! What can go wrong with one request to one model.

use std::time::Duration;

use teammy_kernel::{LlmError, Usage};

/// The classes of failures, by what helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// The server has too much to do, or the account has asked too often: waiting helps.
    Busy,
    /// The server or the way to it failed: another try may help.
    Unavailable,
    /// Nothing useful came for too long.
    Stalled,
    /// What came is no answer: another try may give one.
    Malformed,
    /// The server does not take the request as it is configured: somebody must mend that.
    Misconfigured,
    /// The server or the model refuses this request.
    Refused,
    /// The answer was cut off before it began.
    CutOff,
    /// The time of the request is over.
    TooLate,
}

/// A failure. Its text holds nothing of the request or the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) class: Class,
    /// What happened, and what to do about it.
    pub(crate) text: String,
    /// How long the server wants to be left alone.
    pub(crate) retry_after: Option<Duration>,
    /// What the failed try cost all the same.
    pub(crate) usage: Usage,
    /// Whether a piece of the answer was passed on, so that there is no other try.
    pub(crate) has_given: bool,
}

impl Problem {
    pub(crate) fn new(class: Class, text: impl Into<String>) -> Self {
        Self { class, text: text.into(), retry_after: None, usage: Usage::default(), has_given: false }
    }

    /// The error that a plugin gets. `text` names the models that were asked.
    pub(crate) fn into_error(self, text: String) -> LlmError {
        match self.class {
            Class::Busy | Class::Unavailable | Class::Stalled | Class::Malformed | Class::TooLate => {
                LlmError::Failed(text)
            }
            Class::Misconfigured => LlmError::Misconfigured(text),
            Class::Refused => LlmError::Refused(text),
            Class::CutOff => LlmError::CutOff { text: String::new() },
        }
    }
}
