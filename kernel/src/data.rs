//! The well-known data types: what the well-known sources carry.

mod milliseconds;
pub(crate) mod well_known;

use std::sync::Arc;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    DataPacket, DataType, Error, FromPacket, IntoPayload, Name, Payload, Publish, participant,
    wire::{self, Wire},
};

const fn yes() -> bool {
    true
}

/// A piece of recognised speech, on source `transcription`, as JSON. The packet says who spoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Transcription {
    /// What was said.
    pub text: String,
    /// The beginning, in milliseconds from the meeting's start. Any JSON number is read: fractions are
    /// rounded, and negative numbers and null are 0.
    #[serde(default, deserialize_with = "milliseconds::deserialize")]
    #[schemars(schema_with = "milliseconds::schema")]
    pub start_ms: u64,
    /// The end, in milliseconds from the meeting's start. Read as `start_ms` is.
    #[serde(default, deserialize_with = "milliseconds::deserialize")]
    #[schemars(schema_with = "milliseconds::schema")]
    pub end_ms: u64,
    /// Whether the recogniser has finished this piece; a later one replaces a partial one. True if absent.
    #[serde(default = "yes")]
    pub is_final: bool,
    /// The language as a BCP 47 tag, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

impl Transcription {
    /// A final transcription from `start_ms` to `end_ms`, in milliseconds from the meeting's start.
    pub fn new(text: impl Into<String>, start_ms: u64, end_ms: u64) -> Self {
        Self { text: text.into(), start_ms, end_ms, is_final: true, language: None }
    }

    /// The duration in milliseconds; 0 if the end is before the start.
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
    /// The recipient of a private message; `None` for everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl Chat {
    /// A message to everybody.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), to: None }
    }
}

/// A participant joins, leaves or is renamed, on source `participant`, as JSON. The packet says who.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ParticipantEvent {
    /// The participant is in the meeting from now on.
    Joined,
    /// The participant is no longer in the meeting.
    Left,
    /// The participant has another name from now on.
    Renamed {
        /// The new name, in the form in which packets hold names.
        #[serde(deserialize_with = "participant::deserialize")]
        to: String,
    },
}

/// An instance is suspended in a meeting or resumed, on source `plugin-status`, as JSON. The runtime publishes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct PluginStatus {
    /// The instance.
    #[schemars(with = "String")]
    pub instance: Name,
    /// What it is from now on.
    pub status: InstanceStatus,
    /// Why, if it is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether an instance gets packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InstanceStatus {
    /// It gets none until it is resumed.
    Suspended,
    /// It gets packets again.
    Resumed,
}

impl PluginStatus {
    /// An instance is suspended.
    pub fn suspended(instance: Name, reason: impl Into<String>) -> Self {
        Self { instance, status: InstanceStatus::Suspended, reason: Some(reason.into()) }
    }

    /// An instance is resumed.
    pub fn resumed(instance: Name) -> Self {
        Self { instance, status: InstanceStatus::Resumed, reason: None }
    }
}

/// A stretch of sound, on source `audio`, as bytes. [`Publish::audio`] makes a packet of it, and a hook that takes
/// this type reads it.
///
/// # The payload, byte by byte
/// A program in any language can write it. Numbers are unsigned and little-endian:
///
/// | bytes | hold |
/// |---|---|
/// | 0 | the version of this layout: 1 |
/// | 1 to 4 | `sample_rate` |
/// | 5 and 6 | `channels` |
/// | 7 to 14 | the number of bytes that follow |
/// | from 15 on | `samples` |
///
/// Nothing may follow the samples. So 20 ms at 16 kHz in one channel are 320 samples of two bytes, and 655 bytes.
///
/// The packet's timestamp is the time of the first sample. One that is dated when it is published is late by its length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioFrame {
    /// Samples per second and channel, in hertz. Nothing checks that it is a rate that sound has.
    pub sample_rate: u32,
    /// How many channels are interleaved: 1 is mono. Nothing checks that it is not 0.
    pub channels: u16,
    /// The samples: signed 16-bit integers, little-endian, so two bytes each. The channels are interleaved: first
    /// one sample of each channel, then the next of each. Nothing checks that the last ones are complete.
    pub samples: Bytes,
}

impl Wire for AudioFrame {
    const VERSION: u8 = 1;

    fn size_hint(&self) -> usize {
        4 + 2 + 8 + self.samples.len()
    }
}

impl FromPacket for AudioFrame {
    fn from_packet(packet: &Arc<DataPacket>) -> Result<Self, Error> {
        let bytes = Bytes::from_packet(packet)?;
        wire::decode(&bytes).map_err(Error::reject)
    }

    fn reads() -> DataType {
        DataType::Bytes
    }
}

impl IntoPayload for AudioFrame {
    fn into_payload(self) -> Result<Payload, Error> {
        let bytes = wire::encode(&self).map_err(Error::reject)?;
        Ok(Payload::Bytes(bytes.into()))
    }

    fn writes() -> DataType {
        DataType::Bytes
    }
}

impl Publish {
    /// A packet of source `audio`: a stretch of a participant's sound.
    ///
    /// # Examples
    /// ```
    /// use teammy_kernel::{Publish, data::AudioFrame};
    /// let silence = AudioFrame { sample_rate: 16_000, channels: 1, samples: vec![0; 640].into() };
    /// let publish = Publish::audio(silence).participant("Ada");
    /// assert_eq!(publish.source.as_str(), "audio");
    /// ```
    pub fn audio(frame: AudioFrame) -> Self {
        let source = Name::new("audio").expect("invariant: the name is well-formed");
        Self::on(source, frame.into_payload().expect("invariant: numbers and bytes have a form in bincode"))
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

    /// Programs in other languages write these bytes: a change of them needs a new version.
    #[test]
    fn a_frame_is_written_byte_by_byte() {
        // 16 kHz, two channels, one sample of each: 1 and -2.
        let samples = Bytes::from_static(&[0x01, 0x00, 0xfe, 0xff]);
        let frame = AudioFrame { sample_rate: 16_000, channels: 2, samples };
        let bytes = [
            0x01, // the layout's version
            0x80, 0x3e, 0x00, 0x00, // the sample rate
            0x02, 0x00, // the channels
            0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // the bytes that follow
            0x01, 0x00, 0xfe, 0xff, // the samples
        ];
        let publish = Publish::audio(frame.clone());
        assert_eq!(publish.source, "audio");
        assert_eq!(publish.payload, Payload::Bytes(Bytes::copy_from_slice(&bytes)));
        assert_eq!(frame.clone().into_payload().unwrap(), publish.payload);

        let read = |bytes: &[u8]| {
            let publish = Publish::bytes("audio", bytes.to_vec()).unwrap();
            let meeting = crate::MeetingId::new("m").unwrap();
            let packet = publish.into_packet(meeting, crate::Seq(1), crate::Timestamp::UNIX_EPOCH);
            AudioFrame::from_packet(&Arc::new(packet))
        };
        assert_eq!(read(&bytes).unwrap(), frame);
        assert!(read(&bytes[..18]).unwrap_err().is_reject(), "a byte less");
        assert!(read(&[&bytes[..], &[0]].concat()).unwrap_err().is_reject(), "a byte more");
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

    #[test]
    fn any_number_is_read() {
        for (written, ms) in [
            ("1200", 1200),
            ("0.0", 0),
            ("1200.0", 1200),
            ("1200.5", 1201),
            ("1200.4", 1200),
            ("1e3", 1000),
            ("-20", 0),
            ("-0.6", 0),
            ("null", 0),
            ("18446744073709551615", u64::MAX),
        ] {
            let json = format!(r#"{{"text":"a","start_ms":{written}}}"#);
            let said: Transcription = serde_json::from_str(&json).unwrap();
            assert_eq!(said.start_ms, ms, "{written}");
        }
        for other in ["\"5\"", "true", "[1]", "1e30", "-1e400"] {
            let json = format!(r#"{{"text":"a","end_ms":{other}}}"#);
            assert!(serde_json::from_str::<Transcription>(&json).is_err(), "{other}");
        }
    }
}
