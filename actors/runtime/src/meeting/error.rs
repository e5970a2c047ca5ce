//! The errors of a meeting. Those of publishing to it are the kernel's [`PublishError`].

use std::sync::Arc;

use teammy_kernel::{MeetingId, Name, PublishError, RemoteError, error_classes, store};

/// Why a meeting could not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The meeting is ending or has ended.
    #[error("meeting {0} has ended")]
    Ended(MeetingId),
    /// This node no longer runs the meeting.
    #[error("meeting {meeting} is no longer run by this node: {reason}")]
    Gone {
        /// The meeting.
        meeting: MeetingId,
        /// Why.
        reason: Arc<str>,
    },
    /// No instance of this name is configured.
    #[error("there is no plugin instance {instance}{}", did_you_mean(suggestion.as_ref()))]
    UnknownInstance {
        /// The name as given.
        instance: String,
        /// The configured name that is closest to it.
        suggestion: Option<Name>,
    },
    /// The instance's plugin needs a language model, and none is configured.
    #[error("plugin instance {0} needs a language model, and none is configured")]
    NeedsLlm(Name),
    /// The instance already takes part.
    #[error("{instance} takes part in meeting {meeting} already")]
    Assigned {
        /// The instance.
        instance: Name,
        /// The meeting.
        meeting: MeetingId,
    },
    /// The instance does not take part.
    #[error("{instance} does not take part in meeting {meeting}")]
    NotAssigned {
        /// The instance.
        instance: Name,
        /// The meeting.
        meeting: MeetingId,
    },
    /// The instance was suspended because it failed too often.
    #[error("{instance} is suspended in meeting {meeting}")]
    Suspended {
        /// The instance.
        instance: Name,
        /// The meeting.
        meeting: MeetingId,
    },
    /// The instance took part before. It cannot read the log from the start again: its outputs would be
    /// duplicates.
    #[error("{instance} took part in meeting {meeting} before, so it can only join it from now on")]
    WasHere {
        /// The instance.
        instance: Name,
        /// The meeting.
        meeting: MeetingId,
    },
    /// The instance is not suspended.
    #[error("{instance} is not suspended in meeting {meeting}")]
    NotSuspended {
        /// The instance.
        instance: Name,
        /// The meeting.
        meeting: MeetingId,
    },
    /// This build cannot read the instance's stored state.
    #[error("{instance} cannot be resumed in meeting {meeting}: {reason}")]
    Unreadable {
        /// The instance.
        instance: Name,
        /// The meeting.
        meeting: MeetingId,
        /// What is wrong with the state.
        reason: String,
    },
    /// The meeting is ending, and a redrive must wait until it has ended.
    #[error("meeting {0} is ending; try again when it has ended")]
    Ending(MeetingId),
    /// The source is not declared.
    #[error("there is no source {source_name}{}", did_you_mean(suggestion.as_ref()))]
    UnknownSource {
        /// The source as given.
        source_name: String,
        /// The declared source that is closest to it.
        suggestion: Option<Name>,
    },
    /// A subscriber was too slow, and [`Slow::End`](super::Slow::End) ended its subscription.
    #[error("the subscriber to meeting {0} was too slow")]
    TooSlow(MeetingId),
    /// Another node could not do it.
    #[error(transparent)]
    Remote(Arc<RemoteError>),
    /// The store could not be read.
    #[error("cannot read the history of meeting {meeting}")]
    Read {
        /// The meeting.
        meeting: MeetingId,
        /// The store's error.
        #[source]
        cause: Arc<store::Error>,
    },
}

pub(crate) fn did_you_mean(suggestion: Option<&Name>) -> String {
    suggestion.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

error_classes!(Error {
    Self::Ended(_) => "ended" Gone,
    Self::Gone { .. } => "gone" Gone,
    Self::UnknownInstance { .. } => "unknown-instance" NotFound,
    Self::NeedsLlm(_) => "needs-llm" Invalid,
    Self::Assigned { .. } => "already-assigned" Conflict,
    Self::NotAssigned { .. } => "not-assigned" NotFound,
    Self::Suspended { .. } => "suspended" Conflict,
    Self::WasHere { .. } => "took-part-before" Conflict,
    Self::NotSuspended { .. } => "not-suspended" Conflict,
    Self::Unreadable { .. } => "state-unreadable" Conflict,
    Self::Ending(_) => "ending" Busy,
    Self::UnknownSource { .. } => "unknown-source" NotFound,
    Self::TooSlow(_) => "too-slow" Gone,
} else {
    Self::Remote(error) => error.class(&[Self::CLASSES, store::Error::CLASSES]),
    Self::Read { cause, .. } => cause.class(),
});

/// Why a meeting accepts nothing more here.
#[derive(Debug, Clone)]
pub(crate) enum Closed {
    /// It is ending or has ended.
    Ended(MeetingId),
    /// This node no longer runs it.
    Gone { meeting: MeetingId, reason: Arc<str> },
}

impl From<Closed> for Error {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::Ended(meeting) => Self::Ended(meeting),
            Closed::Gone { meeting, reason } => Self::Gone { meeting, reason },
        }
    }
}

impl From<Closed> for PublishError {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::Ended(meeting) => Self::Ended(meeting),
            Closed::Gone { meeting, reason } => Self::Gone { meeting, reason },
        }
    }
}
