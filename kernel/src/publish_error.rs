//! The one error of publishing: of making a packet, of handing it to a meeting, and of waiting until it is
//! stored.

use std::sync::Arc;

use crate::{DataPacket, EncodeError, MalformedJson, MeetingId, Name, Producer, name};
#[cfg(any(test, feature = "runtime"))]
use crate::{RemoteError, error_classes, store};

/// Why a packet cannot be made, was not accepted, or is not stored.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The source's name is malformed.
    #[error("cannot publish")]
    Source(#[from] name::Error),
    /// The value cannot be written as JSON.
    #[error("cannot publish on {source_name}: the value cannot be written as JSON")]
    Encode {
        /// The source.
        source_name: Name,
        /// Why not.
        #[source]
        error: EncodeError,
    },
    /// The payload should be JSON and is not.
    #[error("cannot publish on {source_name}: the payload is not JSON")]
    MalformedJson {
        /// The source.
        source_name: Name,
        /// What is wrong, and where.
        #[source]
        error: MalformedJson,
    },
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
    /// The participant's name is longer than [`DataPacket::MAX_PARTICIPANT_BYTES`].
    #[error("the participant is {bytes} bytes long; the limit is {}", DataPacket::MAX_PARTICIPANT_BYTES)]
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
    /// The meeting already has the packet of this number; `MeetingRef::publish` returns its receipt.
    #[error("producer {producer} has already published number {number}")]
    Repeated {
        /// The producer.
        producer: Arc<str>,
        /// The number.
        number: u64,
    },
    /// The producer's id has no byte or more than [`Producer::MAX_ID_BYTES`], or the number is 0.
    #[error("a producer's id is 1 to {} bytes long, and its numbers start at 1", Producer::MAX_ID_BYTES)]
    BadNumber,
    /// The source is volatile: its packets are not stored, so a repeat could not be recognised.
    #[error("source {0} is volatile: its packets cannot be numbered")]
    NumberedVolatile(Name),
    /// The backlog is full. Try again later, or wait with `MeetingRef::publish`.
    #[error("meeting {0} is busy: its backlog is full")]
    Busy(MeetingId),
    /// The source is volatile, so there is nothing to wait for.
    #[error("source {0} is volatile: its packets are never stored")]
    Volatile(Name),
    /// The meeting is ending or has ended.
    #[error("meeting {0} has ended")]
    Ended(MeetingId),
    /// This node no longer runs the meeting. Whether the packet is stored is unknown: publish it again, with
    /// the same number, once the meeting is resumed.
    #[error("meeting {meeting} is no longer run by this node: {reason}")]
    Gone {
        /// The meeting.
        meeting: MeetingId,
        /// Why.
        reason: Arc<str>,
    },
    /// The packet was accepted by an earlier owner of the meeting, which was lost before it stored the packet. Publish it again.
    #[error("meeting {0} lost the packet with the node that had accepted it, before it was stored")]
    Lost(MeetingId),
    /// Another node runs the meeting, and the link to it broke before it answered: the packet may have been published or not. With a
    /// [number](crate::Publish::numbered) it can be published again.
    #[error(
        "whether meeting {meeting} got the packet is unknown: {reason}; only a numbered packet can be published again without a double"
    )]
    Unknown {
        /// The meeting.
        meeting: MeetingId,
        /// Why.
        reason: Arc<str>,
    },
    /// Another node failed to publish it.
    #[cfg(any(test, feature = "runtime"))]
    #[error(transparent)]
    Remote(Arc<RemoteError>),
    /// The store could not be asked for the original of a repeated packet.
    #[cfg(any(test, feature = "runtime"))]
    #[error("cannot read the history of meeting {meeting}")]
    Read {
        /// The meeting.
        meeting: MeetingId,
        /// The store's error.
        #[source]
        cause: Arc<store::Error>,
    },
}

fn did_you_mean(suggestion: Option<&Name>) -> String {
    suggestion.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

#[cfg(any(test, feature = "runtime"))]
error_classes!(PublishError {
    Self::Encode { .. } => "no-json-form" Invalid,
    Self::MalformedJson { .. } => "malformed-json" Invalid,
    Self::UnknownSource { .. } => "unknown-source" NotFound,
    Self::NotExternal(_) => "source-not-external" Invalid,
    Self::TooLarge { .. } => "packet-too-large" Invalid,
    Self::ParticipantTooLong { .. } => "participant-too-long" Invalid,
    Self::Expected { .. } => "number-gap" Conflict,
    Self::Repeated { .. } => "number-repeated" Conflict,
    Self::BadNumber => "bad-number" Invalid,
    Self::NumberedVolatile(_) => "numbered-volatile" Invalid,
    Self::Busy(_) => "busy" Busy,
    Self::Volatile(_) => "volatile" Invalid,
    Self::Ended(_) => "ended" Gone,
    Self::Gone { .. } => "gone" Gone,
    Self::Lost(_) => "lost" Gone,
    Self::Unknown { .. } => "fate-unknown" Internal,
} else {
    Self::Remote(error) => error.class(&[Self::CLASSES, store::Error::CLASSES]),
    Self::Source(error) => error.class(),
    Self::Read { cause, .. } => cause.class(),
});
