//! The well-known data types: what the well-known sources carry.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    DataPacket, Error, FromPacket, IntoPayload, Payload, participant,
    wire::{self, Wire},
};
use std::sync::Arc;

mod milliseconds;

const fn yes() -> bool {
    true
}

/// A piece of recognised speech, on source `transcription`, as JSON. The packet says who spoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Transcription {
    /// What was said.
    pub text: String,
    /// When it began, in milliseconds from the meeting's start. Read from any JSON number: fractions are
    /// rounded, what is before the start is 0, and so is null.
    #[serde(default, deserialize_with = "milliseconds::deserialize")]
    pub start_ms: u64,
    /// When it ended, in milliseconds from the meeting's start. Read as `start_ms` is.
    #[serde(default, deserialize_with = "milliseconds::deserialize")]
    pub end_ms: u64,
    /// Whether the recogniser is done with it; a partial one is replaced by a later one. Final where not
    /// said.
    #[serde(default = "yes")]
    pub is_final: bool,
    /// Its language as a BCP 47 tag, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

impl Transcription {
    /// A final transcription of something said between two moments, in milliseconds from the meeting's start.
    pub fn new(text: impl Into<String>, start_ms: u64, end_ms: u64) -> Self {
        Self { text: text.into(), start_ms, end_ms, is_final: true, language: None }
    }

    /// How long it took to say, in milliseconds; none where the times are the wrong way round.
    pub fn duration_ms(&self) -> u64 {
        self.end_ms.saturating_sub(self.start_ms)
    }
}

/// A chat message, on source `chat`, as JSON. The packet says who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Chat {
    /// The message.
    pub text: String,
    /// Whom it was written to, where not to everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl Chat {
    /// A message to everybody.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), to: None }
    }
}

/// Somebody comes or goes, on source `participant`, as JSON. The packet says who.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ParticipantEvent {
    /// Is in the meeting from now on.
    Joined,
    /// Is no longer in the meeting.
    Left,
    /// Goes by another name from now on.
    Renamed {
        /// The new name, in the form in which packets hold names.
        #[serde(deserialize_with = "participant::deserialize")]
        to: String,
    },
}

/// A stretch of sound, on source `audio`, as bytes: what [`IntoPayload`] makes of this type and
/// [`FromPacket`] reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioFrame {
    /// Samples per second and channel, in hertz.
    pub sample_rate: u32,
    /// How many channels are interleaved.
    pub channels: u16,
    /// The samples: signed 16-bit, little-endian, interleaved.
    pub samples: Bytes,
}

impl Wire for AudioFrame {
    const VERSION: u8 = 1;
}

impl FromPacket for AudioFrame {
    fn from_packet(packet: &Arc<DataPacket>) -> Result<Self, Error> {
        let bytes = Bytes::from_packet(packet)?;
        wire::decode(&bytes).map_err(Error::reject)
    }
}

impl IntoPayload for AudioFrame {
    fn into_payload(self) -> Result<Payload, Error> {
        let bytes = wire::encode(&self).map_err(Error::reject)?;
        Ok(Payload::Bytes(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcription_needs_only_its_text() {
        let said: Transcription = serde_json::from_str(r#"{"text":"hi"}"#).unwrap();
        assert_eq!(said, Transcription::new("hi", 0, 0));
        assert!(serde_json::from_str::<Transcription>(r#"{"txt":"hi"}"#).is_err());
    }

    #[test]
    fn a_new_name_is_as_packets_hold_it() {
        let event = r#"{"event":"renamed","to":" Jose\u0301 "}"#;
        let event: ParticipantEvent = serde_json::from_str(event).unwrap();
        assert_eq!(event, ParticipantEvent::Renamed { to: "José".into() });
    }

    #[test]
    fn durations_never_underflow() {
        assert_eq!(Transcription::new("", 5, 2).duration_ms(), 0);
        assert_eq!(Transcription::new("", 2, 5).duration_ms(), 3);
    }

    #[test]
    fn participant_events_are_tagged() {
        let json = serde_json::to_string(&ParticipantEvent::Renamed { to: "Bo".into() }).unwrap();
        assert_eq!(json, r#"{"event":"renamed","to":"Bo"}"#);
    }
}
