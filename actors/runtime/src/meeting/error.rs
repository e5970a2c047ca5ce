//! What can go wrong with a meeting and with publishing to it.

use std::sync::Arc;

use teammy_kernel::{MeetingId, Name, graph::PublishProblem, store};

/// Why a meeting did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is ending or has ended.
    #[error("meeting {0} has ended")]
    Ended(MeetingId),
    /// This node no longer runs it.
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
    /// The instance's plugin needs a language model, and there is none.
    #[error("plugin instance {0} needs a language model, and none is configured")]
    NeedsLlm(Name),
    /// The instance takes part already.
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
    /// The instance was here before, so that it cannot read the log from its start again: its outputs would
    /// double.
    #[error("{instance} was part of meeting {meeting} before and can only go on from now")]
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
    /// What is stored of the instance's state cannot be read by this build, so that it cannot go on.
    #[error("{instance} cannot go on in meeting {meeting}: {reason}")]
    Unreadable {
        /// The instance.
        instance: Name,
        /// The meeting.
        meeting: MeetingId,
        /// What is wrong with it.
        reason: String,
    },
    /// It is ending, and what was asked for has to wait until it has ended.
    #[error("meeting {0} is ending; ask again when it has ended")]
    Ending(MeetingId),
    /// Nobody declares the source.
    #[error("there is no source {source_name}{}", did_you_mean(suggestion.as_ref()))]
    UnknownSource {
        /// The source as given.
        source_name: String,
        /// The declared source that is closest to it.
        suggestion: Option<Name>,
    },
    /// A subscriber did not keep up, and was to be told so.
    #[error("the subscriber to meeting {0} was too slow")]
    TooSlow(MeetingId),
    /// The store could not be read.
    #[error("reading the history of meeting {meeting}")]
    Read {
        /// The meeting.
        meeting: MeetingId,
        /// What the store said.
        #[source]
        cause: Arc<store::Error>,
    },
}

pub(crate) fn did_you_mean(suggestion: Option<&Name>) -> String {
    suggestion.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

/// Why a packet was not taken.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Nobody declares the source.
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
    /// A producer's numbers run on without holes: this one is to come first.
    #[error("producer {producer} has come to {}: number {expected} is expected next", expected - 1)]
    Expected {
        /// The producer.
        producer: Arc<str>,
        /// The number that the meeting takes next.
        expected: u64,
    },
    /// The meeting has the packet of this number already; [`publish`](super::MeetingRef::publish) gives its
    /// receipt.
    #[error("producer {producer} has published number {number} already")]
    Repeated {
        /// The producer.
        producer: Arc<str>,
        /// The number.
        number: u64,
    },
    /// The producer or the number is none.
    #[error(
        "a producer's identifier takes 1 to {} bytes, and its numbers start at 1",
        teammy_kernel::Producer::MAX_ID_BYTES
    )]
    BadNumber,
    /// The packet's source is volatile: its packets are not kept, so they cannot be told from repeats.
    #[error("source {0} is volatile: its packets cannot be numbered")]
    NumberedVolatile(Name),
    /// The meeting has as much as it may hold that is not stored yet; try again later, or wait with
    /// `publish`.
    #[error("meeting {0} is busy: its backlog is full")]
    Busy(MeetingId),
    /// The packet's source is volatile: there is nothing to wait for.
    #[error("source {0} is volatile: its packets are never stored")]
    Volatile(Name),
    /// The meeting does not take packets.
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
