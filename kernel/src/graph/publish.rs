//! What may be published from outside.

use super::{Graph, SourceView};
use crate::{DataPacket, Durability, Name, Producer, Publish};

/// Why a packet may not be published.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishProblem {
    /// No source of this name exists.
    UnknownSource {
        /// The source, as given.
        source_name: Name,
        /// The source that is closest to it.
        suggestion: Option<Name>,
    },
    /// The source belongs to the runtime, or is an instance's output.
    NotExternal(Name),
    /// The payload is over the limit.
    TooLarge {
        /// The payload's size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The participant's name is longer than [`DataPacket::MAX_PARTICIPANT_BYTES`].
    ParticipantTooLong {
        /// Its length.
        bytes: usize,
    },
    /// The producer's id has no byte or more than [`Producer::MAX_ID_BYTES`], or the number is 0.
    BadNumber,
    /// The packet is numbered, and its source is volatile: there is no record that would tell a repeat.
    NumberedVolatile(Name),
}

impl Graph {
    /// Checks a packet that is to be published: its source is published from outside, and the packet is within
    /// the limits. `packet_bytes` limits the payload. Returns the source.
    ///
    /// # Errors
    /// See [`PublishProblem`].
    pub fn check_publish(
        &self,
        publish: &Publish,
        packet_bytes: usize,
    ) -> Result<SourceView, PublishProblem> {
        let source = &publish.source;
        let Some(view) = self.source(source.as_str()) else {
            let suggestion = self.closest_source(source.as_str()).cloned();
            return Err(PublishProblem::UnknownSource { source_name: source.clone(), suggestion });
        };
        if !view.is_external {
            return Err(PublishProblem::NotExternal(source.clone()));
        }
        let bytes = publish.payload.len();
        if bytes > packet_bytes {
            return Err(PublishProblem::TooLarge { bytes, limit: packet_bytes });
        }
        let bytes = publish.participant.as_ref().map_or(0, |participant| participant.len());
        if bytes > DataPacket::MAX_PARTICIPANT_BYTES {
            return Err(PublishProblem::ParticipantTooLong { bytes });
        }
        if let Some(Producer { id, number }) = &publish.producer {
            if id.is_empty() || id.len() > Producer::MAX_ID_BYTES || *number == 0 {
                return Err(PublishProblem::BadNumber);
            }
            if view.durability == Durability::Volatile {
                return Err(PublishProblem::NumberedVolatile(source.clone()));
            }
        }
        Ok(view)
    }
}
