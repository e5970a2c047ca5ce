//! Why a store failed.

use super::lease::Incarnation;
use crate::{MeetingId, error_classes};

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A meeting of this id exists.
    #[error("meeting {0} exists already")]
    Exists(MeetingId),
    /// No meeting of this id exists.
    #[error("there is no meeting {0}")]
    NotFound(MeetingId),
    /// A live node owns the meeting.
    #[error("meeting {meeting} is owned by node {owner}")]
    Owned {
        /// The meeting.
        meeting: MeetingId,
        /// Who owns it.
        owner: Incarnation,
    },
    /// The lease has ended, or its time is over: its holder may own nothing.
    #[error("the lease of node {0} has ended")]
    LeaseEnded(Incarnation),
    /// The store cannot be reached, or failed for a reason that may pass; whether it did the work is unknown.
    #[error("the store is unavailable while {doing}")]
    Unavailable {
        /// What was being done.
        doing: String,
        /// The store's own error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store failed for a reason that will not pass.
    #[error("the store failed while {doing}")]
    Failed {
        /// What was being done.
        doing: String,
        /// The store's own error.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

error_classes!(Error {
    Self::Exists(_) => "meeting-exists" Conflict,
    Self::NotFound(_) => "no-meeting" NotFound,
    Self::Owned { .. } => "owned" Conflict,
    Self::LeaseEnded(_) => "lease-ended" Gone,
    Self::Unavailable { .. } => "store-unavailable" Unavailable,
    Self::Failed { .. } => "store-failed" Internal,
});

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
