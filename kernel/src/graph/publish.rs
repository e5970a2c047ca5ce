//! What may be published from outside.

use super::{Graph, SourceView};
use crate::{DataPacket, Durability, Payload, Producer, Publish, PublishError};

impl Graph {
    /// Checks a packet that is to be published: its source is published from outside, and the packet is within
    /// the limits. `packet_bytes` limits the payload. Returns the source.
    ///
    /// # Errors
    /// [`PublishError::UnknownSource`], [`PublishError::NotExternal`], [`PublishError::MalformedJson`],
    /// [`PublishError::TooLarge`], [`PublishError::ParticipantTooLong`], [`PublishError::BadNumber`] and
    /// [`PublishError::NumberedVolatile`].
    pub fn check_publish(&self, publish: &Publish, packet_bytes: usize) -> Result<SourceView, PublishError> {
        let source = &publish.source;
        let Some(view) = self.source(source.as_str()) else {
            let suggestion = self.closest_source(source.as_str()).cloned();
            return Err(PublishError::UnknownSource { source_name: source.clone(), suggestion });
        };
        if !view.is_external {
            return Err(PublishError::NotExternal(source.clone()));
        }
        if let Payload::Malformed(error) = &publish.payload {
            return Err(PublishError::MalformedJson { source_name: source.clone(), error: error.clone() });
        }
        let bytes = publish.payload.len();
        if bytes > packet_bytes {
            return Err(PublishError::TooLarge { bytes, limit: packet_bytes });
        }
        let bytes = publish.participant.as_ref().map_or(0, |participant| participant.len());
        if bytes > DataPacket::MAX_PARTICIPANT_BYTES {
            return Err(PublishError::ParticipantTooLong { bytes });
        }
        if let Some(Producer { id, number }) = &publish.producer {
            if id.is_empty() || id.len() > Producer::MAX_ID_BYTES || *number == 0 {
                return Err(PublishError::BadNumber);
            }
            if view.durability == Durability::Volatile {
                return Err(PublishError::NumberedVolatile(source.clone()));
            }
        }
        Ok(view)
    }
}
