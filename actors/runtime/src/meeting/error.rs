//! The errors of a meeting, and of publishing to it.

use std::sync::Arc;

use teammy_kernel::{MeetingId, Name, graph::PublishProblem, store};

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

/// Why a packet was not accepted, or is not stored.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The source is not declared.
    #[error(
        "there is no source {source_name}{}; declare it with [[source]] in the configuration",
        did_you_mean(suggestion.as_ref())
    )]
    UnknownSource {
        /// The source as given.
        source_name: Name,
        /// The declared source that is closest to it.
        suggestion: Option<Name>,
    },
    /// The source belongs to the runtime or to a plugin's instance.
    #[error("source {0} is not published from outside: it belongs to the runtime or a plugin's instance")]
    NotExternal(Name),
    /// The packet is over the limit.
    #[error("the packet carries {bytes} bytes; the limit is {limit} (limits.packet_bytes)")]
    TooLarge {
        /// The payload's size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The participant's name is too long.
    #[error(
        "the participant is {bytes} bytes long; the limit is {}",
        teammy_kernel::DataPacket::MAX_PARTICIPANT_BYTES
    )]
    ParticipantTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A number before this one is missing: a producer's numbers have no gaps.
    #[error("the last number of producer {producer} is {}; number {expected} is expected next", expected - 1)]
    Expected {
        /// The producer.
        producer: Arc<str>,
        /// The number that the meeting accepts next.
        expected: u64,
    },
    /// The meeting already has the packet of this number; [`publish`](super::MeetingRef::publish) returns its
    /// receipt.
    #[error("producer {producer} has already published number {number}")]
    Repeated {
        /// The producer.
        producer: Arc<str>,
        /// The number.
        number: u64,
    },
    /// The producer's id or the number is invalid.
    #[error(
        "a producer's id is 1 to {} bytes long, and its numbers start at 1",
        teammy_kernel::Producer::MAX_ID_BYTES
    )]
    BadNumber,
    /// The source is volatile: its packets are not stored, so a repeat could not be recognised.
    #[error("source {0} is volatile: its packets cannot be numbered")]
    NumberedVolatile(Name),
    /// The backlog is full. Try again later, or wait with [`publish`](super::MeetingRef::publish).
    #[error("meeting {0} is busy: its backlog is full")]
    Busy(MeetingId),
    /// The source is volatile, so there is nothing to wait for.
    #[error("source {0} is volatile: its packets are never stored")]
    Volatile(Name),
    /// The meeting accepts no packets, or was lost.
    #[error(transparent)]
    Meeting(#[from] Error),
}

impl From<PublishProblem> for PublishError {
    fn from(problem: PublishProblem) -> Self {
        match problem {
            PublishProblem::UnknownSource { source_name, suggestion } => {
                Self::UnknownSource { source_name, suggestion }
            }
            PublishProblem::NotExternal(source) => Self::NotExternal(source),
            PublishProblem::TooLarge { bytes, limit } => Self::TooLarge { bytes, limit },
            PublishProblem::ParticipantTooLong { bytes } => Self::ParticipantTooLong { bytes },
            PublishProblem::NumberedVolatile(source) => Self::NumberedVolatile(source),
            // `BadNumber`, and whatever a later kernel adds: the numbers are all that is left.
            _ => Self::BadNumber,
        }
    }
}
