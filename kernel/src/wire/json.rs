//! The JSON form of a packet: one form wherever a packet is JSON, in recordings, in what the program prints
//! and in what clients publish and read.
//!
//! ```json
//! {"type":"packet","meeting":"standup","seq":7,"source":"chat","timestamp":"2026-01-05T09:00:02.4Z",
//!  "received_at":"2026-01-05T09:00:02.6Z","participant":"Ada","payload":{"text":"hello"},"causes":[]}
//! ```
//!
//! | key | written | to publish | holds |
//! |---|---|---|---|
//! | `type` | always | may be left out | `"packet"` |
//! | `meeting` | always | ignored | the meeting's id |
//! | `seq` | always | ignored | the packet's seq: a number, from 1 |
//! | `source` | always | required | the source's name |
//! | `timestamp` | always | may be left out: now | when it happened: a time as in RFC 3339 |
//! | `received_at` | always | ignored | when it entered the system: a time as in RFC 3339 |
//! | `participant` | always | may be left out: null | who said or did it, or null |
//! | `payload` | of JSON | one of these four | the payload: any JSON value, inline |
//! | `payload_text` | of text | | the payload: a text |
//! | `payload_base64` | of bytes | | the payload: bytes, as base64 (RFC 4648, the standard alphabet) |
//! | `payload_malformed` | of JSON that cannot be parsed | rejected | the payload's text, which should have been JSON |
//! | `producer` | if numbered | may be left out | `{"id": "…", "number": 1}`: who numbers it, and its number there |
//! | `traceparent` | if traced | may be left out | where it is in a trace, as in W3C Trace Context |
//! | `causes` | always | ignored | the seqs of the packets that an output came from; empty from outside |
//!
//! Reading rejects every other key, so that a misspelt one is found. Null stands for a key that is left out,
//! but for `payload`, where it is the payload. The meeting that a packet is published to sets what is ignored
//! here; such keys are accepted, so that a packet that was read can be published elsewhere.
//!
//! **Serde.** [`DataPacket`] and [`Publish`] read and write this form themselves, so that an HTTP handler can
//! take the one and return the other. A [`Publish`] is written without the keys that are ignored to publish.
//! They may also be parts of larger values. Inside an enum that is tagged internally, an untagged enum or a
//! flattened struct, serde has parsed the payload before: then white space, repeated keys and digits beyond
//! 64 bits do not come through. Elsewhere they do.
//!
//! **Payloads** have a key for each kind, so that a JSON string and a text never look alike, and a reader
//! that knows only one kind doesn't take another for it. A payload of JSON passes through as text: numbers
//! keep their digits, keys their order, strings their escapes. Only white space around the value is dropped,
//! and line ends in it become spaces.
//!
//! **One line.** What is written holds no line end, so that it is a line of JSON Lines or of an event stream.
//!
//! **Numbers.** Seqs and a producer's numbers are JSON numbers, although JavaScript reads integers exactly
//! only up to 2⁵³: both count from 1, and a million packets each second take 285 years to get there.
//! Reading takes them as strings of digits too. Meetings and producers have ids, which are strings.
//!
//! **Old forms.** Recordings held a JSON payload under `data`, which is still read. Earlier versions printed
//! text as `"payload":"…"` and bytes as `"payload":{"base64":"…"}`, which look like JSON. A packet with `seq`
//! and without `received_at` was printed by such a version: a payload of these shapes is rejected there as
//! ambiguous, and every other payload is read.
//!
//! **Errors** name keys and kinds of values, and no values (see [`decode`]), but for a malformed meeting's id
//! or source's name, which they show shortened.

#[cfg(any(test, feature = "runtime"))]
mod dead_letter;
mod verbatim;

use std::borrow::Cow;

use base64::{
    Engine,
    alphabet::STANDARD as ALPHABET,
    display::Base64Display,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD as WRITES},
};
use bytes::Bytes;
use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{IgnoredAny, Unexpected, Visitor},
};
use serde_json::value::RawValue;

#[cfg(any(test, feature = "runtime"))]
pub use dead_letter::DeadLetter;

use crate::{
    DataPacket, DecodeError, InvalidTraceparent, JsonText, MeetingId, Name, Payload, Producer, Publish, Seq,
    TraceContext, decode, error_classes, name,
};
use verbatim::Verbatim;

/// What `type` says of a packet.
const PACKET: &str = "packet";

/// Base64 with and without padding.
const READS: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A packet to be written as JSON: `serde_json::to_string(&Packet(&packet))`. The payload is not copied,
/// unless it is JSON over several lines.
///
/// # Examples
/// ```
/// use teammy_kernel::{MeetingId, Publish, Seq, Timestamp, wire::json};
/// let publish = Publish::text("notes", "hello")?;
/// let packet = publish.into_packet(MeetingId::new("standup")?, Seq(7), Timestamp::UNIX_EPOCH);
/// let text = serde_json::to_string(&json::Packet(&packet))?;
/// assert!(text.contains(r#""source":"notes""#) && text.contains(r#""payload_text":"hello""#));
/// assert_eq!(json::parse(&text)?.into_packet()?, packet);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a>(pub &'a DataPacket);

impl Serialize for Packet<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(packet) = *self;
        let written = Written {
            meeting: Some(&packet.meeting),
            seq: Some(packet.seq),
            timestamp: Some(packet.timestamp),
            received_at: Some(packet.received_at),
            participant: packet.participant.as_deref(),
            producer: packet.producer.as_ref(),
            causes: Some(&packet.causes),
            traceparent: packet.trace.map(Traceparent),
            ..Written::new(&packet.source, &packet.payload)
        };
        written.serialize(serializer)
    }
}

/// A packet to publish, to be written as JSON: the keys of a [`Packet`] without those that its meeting adds,
/// and without `timestamp` if that is to be the time of arrival. [`Publish`] itself is written so.
#[derive(Debug, Clone, Copy)]
pub struct Publishing<'a>(pub &'a Publish);

impl Serialize for Publishing<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(publish) = *self;
        let written = Written {
            timestamp: publish.timestamp,
            participant: publish.participant.as_deref(),
            producer: publish.producer.as_ref(),
            traceparent: publish.trace.map(Traceparent),
            ..Written::new(&publish.source, &publish.payload)
        };
        written.serialize(serializer)
    }
}

#[derive(Serialize)]
struct Written<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    meeting: Option<&'a MeetingId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<Seq>,
    source: &'a Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received_at: Option<Timestamp>,
    participant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Cow<'a, RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<Base64<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_malformed: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    producer: Option<&'a Producer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<Traceparent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causes: Option<&'a [Seq]>,
}

/// A position in a trace that is written as its text.
struct Traceparent(TraceContext);

impl Serialize for Traceparent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'a> Written<'a> {
    fn new(source: &'a Name, payload: &'a Payload) -> Self {
        let mut written = Self {
            r#type: PACKET,
            meeting: None,
            seq: None,
            source,
            timestamp: None,
            received_at: None,
            participant: None,
            payload: None,
            payload_text: None,
            payload_base64: None,
            payload_malformed: None,
            producer: None,
            traceparent: None,
            causes: None,
        };
        match payload {
            Payload::Json(text) => written.payload = Some(on_one_line(text)),
            Payload::Text(text) => written.payload_text = Some(text),
            Payload::Bytes(bytes) => written.payload_base64 = Some(Base64(bytes)),
            Payload::Malformed(malformed) => written.payload_malformed = Some(malformed.text()),
        }
        written
    }
}

/// Bytes that are written as base64, piece by piece.
struct Base64<'a>(&'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Base64Display::new(self.0, &WRITES))
    }
}

/// A JSON text without line ends.
fn on_one_line(text: &JsonText) -> Cow<'_, RawValue> {
    let json: &RawValue = serde_json::from_str(text).expect("invariant: the text was checked");
    if !json.get().contains(['\n', '\r']) {
        return Cow::Borrowed(json);
    }
    // Strings hold line ends as escapes, so these are white space.
    let spaced = json.get().replace(['\n', '\r'], " ");
    Cow::Owned(RawValue::from_string(spaced).expect("invariant: white space may be any white space"))
}

/// Why JSON is not a packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is no JSON, or a key is missing, unknown, doubled or of another type.
    #[error(transparent)]
    Json(#[from] DecodeError),
    /// It is a list or a single value.
    #[error("a packet is an object, not a list or a single value")]
    NotAnObject,
    /// Its `type` is that of something else.
    #[error("`type` is not \"packet\": this is something else, so leave it out")]
    OtherType,
    /// What isn't needed to publish is missing.
    #[error("missing field `{0}`")]
    Missing(&'static str),
    /// A time is not of the form that times take.
    #[error("`{0}` takes a time as in RFC 3339, such as \"2026-01-05T09:00:02.400Z\"")]
    Time(&'static str),
    /// The meeting's id or the source's name is not of the form that these take.
    #[error(transparent)]
    Name(#[from] name::Error),
    /// It has no payload.
    #[error("missing payload: give `payload` (any JSON), `payload_text` (text) or `payload_base64` (bytes)")]
    NoPayload,
    /// It has more than one payload.
    #[error("`{0}` and `{1}` are both there: give one payload")]
    TwoPayloads(&'static str, &'static str),
    /// The bytes are no base64.
    #[error("`payload_base64` takes base64 in the standard alphabet: A-Z, a-z, 0-9, + and /")]
    Base64,
    /// It is no position in a trace.
    #[error("`traceparent` {}", InvalidTraceparent)]
    Traceparent,
    /// An earlier version printed it, and its payload may be text, bytes or JSON.
    #[error(
        "an earlier version wrote this `payload`, in which text and bytes look like JSON: put text under `payload_text`, \
         base64 under `payload_base64`, and give JSON a `received_at` beside its `seq`"
    )]
    Ambiguous,
}

impl Error {
    /// The column at which the parser gave up, in bytes from 1; none if the text could be parsed.
    pub fn column(&self) -> Option<usize> {
        match self {
            Self::Json(error) => Some(error.column()),
            _ => None,
        }
    }
}

error_classes!(Error {
    Self::NotAnObject | Self::OtherType | Self::Missing(_) | Self::Time(_) | Self::NoPayload
    | Self::TwoPayloads(..) | Self::Base64 | Self::Traceparent | Self::Ambiguous => "not-a-packet" Invalid,
} else {
    Self::Json(error) => error.class(),
    Self::Name(error) => error.class(),
});

/// What JSON says of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parsed {
    /// What a publisher says of it.
    pub publish: Publish,
    /// The meeting.
    pub meeting: Option<MeetingId>,
    /// Its seq, if a meeting has taken it.
    pub seq: Option<Seq>,
    /// When a meeting has taken it.
    pub received_at: Option<Timestamp>,
    /// The packets that it came from, if it is an output.
    pub causes: Vec<Seq>,
}

impl Parsed {
    /// The packet of a meeting's log.
    ///
    /// # Errors
    /// [`Error::Missing`] if it lacks what every packet of a log has.
    pub fn into_packet(self) -> Result<DataPacket, Error> {
        let Self { publish, meeting, seq, received_at, causes } = self;
        let meeting = meeting.ok_or(Error::Missing("meeting"))?;
        let seq = seq.ok_or(Error::Missing("seq"))?;
        let received_at = received_at.ok_or(Error::Missing("received_at"))?;
        if publish.timestamp.is_none() {
            return Err(Error::Missing("timestamp"));
        }
        Ok(DataPacket { causes, ..publish.into_packet(meeting, seq, received_at) })
    }
}

/// Reads a packet, to publish it or as it stands in a log; in the form of this module or an older one.
///
/// # Errors
/// Every variant of [`Error`]; never panics, whatever the text.
///
/// # Examples
/// ```
/// use teammy_kernel::{Payload, wire::json};
/// let packet = json::parse(r#"{"source":"chat","participant":"Ada","payload":{"text":"hello"}}"#)?;
/// assert_eq!(packet.publish.payload, Payload::json_text(r#"{"text":"hello"}"#)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn parse(text: &str) -> Result<Parsed, Error> {
    // A list would be read as the fields in their order. What is no JSON at all is for the parser to say.
    if !text.trim_start().starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok() {
        return Err(Error::NotAnObject);
    }
    let object: Object<'_> = decode::json(text)
        .map_err(|error| if is_something_else(text) { Error::OtherType } else { Error::Json(error) })?;
    if object.r#type.as_ref().is_some_and(|r#type| r#type != PACKET) {
        return Err(Error::OtherType);
    }
    let payload = object.payload()?;
    let Object {
        source,
        timestamp,
        received_at,
        participant,
        meeting,
        seq,
        producer,
        causes,
        traceparent,
        ..
    } = object;
    let time = |key, text: Option<Cow<'_, str>>| {
        text.map(|text| text.parse::<Timestamp>()).transpose().map_err(|_| Error::Time(key))
    };
    let (timestamp, received_at) = (time("timestamp", timestamp)?, time("received_at", received_at)?);
    let mut publish = Publish::on(Name::new(source)?, payload);
    publish.timestamp = timestamp;
    publish.participant = participant.map(Into::into);
    publish.producer = producer.map(|Numbered { id, number }| Producer { id: id.into(), number: number.0 });
    publish.trace = traceparent.map(|text| text.parse()).transpose().map_err(|_| Error::Traceparent)?;
    Ok(Parsed {
        publish,
        meeting: meeting.map(MeetingId::new).transpose()?,
        seq: seq.map(|Number(seq)| Seq(seq)),
        received_at,
        causes: causes.into_iter().flatten().map(|Number(seq)| Seq(seq)).collect(),
    })
}

/// Reads a packet from any format that people can read, such as a JSON text or a part of one.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Parsed, D::Error> {
    let Verbatim(text) = Verbatim::deserialize(deserializer)?;
    parse(&text).map_err(serde::de::Error::custom)
}

/// Whether it is an object of another type, with other keys.
fn is_something_else(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Typed {
        r#type: String,
    }
    serde_json::from_str::<Typed>(text).is_ok_and(|Typed { r#type }| r#type != PACKET)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object<'a> {
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(borrow)]
    timestamp: Option<Cow<'a, str>>,
    participant: Option<String>,
    #[serde(borrow, default, deserialize_with = "value")]
    payload: Option<&'a RawValue>,
    payload_text: Option<String>,
    #[serde(borrow)]
    payload_base64: Option<Cow<'a, str>>,
    producer: Option<Numbered>,
    #[serde(borrow)]
    traceparent: Option<Cow<'a, str>>,
    #[serde(borrow)]
    r#type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    meeting: Option<Cow<'a, str>>,
    seq: Option<Number>,
    #[serde(borrow)]
    received_at: Option<Cow<'a, str>>,
    causes: Option<Vec<Number>>,
    payload_malformed: Option<String>,
    /// What recordings called the payload.
    #[serde(borrow, default, deserialize_with = "value")]
    data: Option<&'a RawValue>,
}

/// Any value, null included.
fn value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl Object<'_> {
    fn payload(&self) -> Result<Payload, Error> {
        let json = |value: &RawValue| Payload::Json(value.into());
        let bytes = |text: &str| READS.decode(text).map(|bytes| Payload::Bytes(Bytes::from(bytes)));
        let mut given = [
            ("payload", self.payload.map(|value| self.checked(value).map(json))),
            ("payload_text", self.payload_text.as_deref().map(|text| Ok(Payload::Text(text.into())))),
            (
                "payload_base64",
                self.payload_base64.as_deref().map(|text| bytes(text).map_err(|_| Error::Base64)),
            ),
            (
                "payload_malformed",
                self.payload_malformed.as_deref().map(|text| Ok(JsonText::new(text).into())),
            ),
            ("data", self.data.map(|value| Ok(json(value)))),
        ]
        .into_iter()
        .filter_map(|(key, payload)| Some((key, payload?)));
        let (key, payload) = given.next().ok_or(Error::NoPayload)?;
        match given.next() {
            Some((other, _)) => Err(Error::TwoPayloads(key, other)),
            None => payload,
        }
    }

    /// A value, unless an earlier version may have meant something else by it.
    fn checked<'v>(&self, value: &'v RawValue) -> Result<&'v RawValue, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Old {
            Base64(IgnoredAny),
            Malformed(IgnoredAny),
        }
        let is_old = self.seq.is_some() && self.received_at.is_none();
        let looks_alike = || value.get().starts_with('"') || serde_json::from_str::<Old>(value.get()).is_ok();
        if is_old && looks_alike() { Err(Error::Ambiguous) } else { Ok(value) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbered {
    id: String,
    number: Number,
}

/// A whole number, as a number or as its digits.
struct Number(u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Number;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a whole number, or its digits as a string")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number))
            }

            /// JSON has one kind of number, so `7.0` is a whole one. Above 2^53 nobody can say which was meant.
            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Number, E> {
                const LIMIT: f64 = 9_007_199_254_740_992.0;
                if number.fract() != 0.0 || !(0.0..LIMIT).contains(&number) {
                    return Err(E::invalid_value(Unexpected::Float(number), &self));
                }
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "it is whole and in range"
                )]
                let number = number as u64;
                Ok(Number(number))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Number, E> {
                let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
                let number = text.parse().ok().filter(|_| is_digits);
                number.map(Number).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Digits)
    }
}

#[cfg(test)]
mod tests;
