//! Packets: what flows through a meeting.
//!
//! A [`DataPacket`] is immutable and shared as `Arc`, so routing never copies a payload. JSON is carried as
//! text and parsed by the hook that takes it, so routing costs the same for every payload.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{DataType, EncodeError, Error, JsonText, MalformedJson, MeetingId, Name, TraceContext, decode};

/// A packet's sequence number in its meeting's log: from 1, rising, never used twice. Numbers may be skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first packet.
    pub const ZERO: Self = Self(0);
    /// Above every packet.
    pub const MAX: Self = Self(u64::MAX);

    /// The next number; that of [`Seq::MAX`] is itself.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The number before; that of [`Seq::ZERO`] is itself.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A publisher's own number for a packet, by which a meeting recognises a repeated publish.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Producer {
    /// The publisher's identifier.
    pub id: Arc<str>,
    /// The packet's number, from 1, without skipping one.
    pub number: u64,
}

impl Producer {
    /// The longest identifier, in bytes; the shortest is one byte.
    pub const MAX_ID_BYTES: usize = 255;
}

/// The data of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Opaque bytes, such as audio.
    Bytes(Bytes),
    /// Plain text.
    Text(Arc<str>),
    /// A JSON document, as text.
    Json(JsonText),
    /// A text that should be JSON and is not. Meetings accept none; one that was stored by a version that did
    /// not check can still be read.
    Malformed(MalformedJson),
}

impl Payload {
    /// A JSON payload from a value.
    ///
    /// # Errors
    /// If the value cannot be written as JSON, for example a map whose keys are not strings.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        JsonText::of(value).map(Self::Json)
    }

    /// A JSON payload from text, such as a plugin in another language makes.
    ///
    /// # Errors
    /// [`MalformedJson`] says where the text stops being JSON.
    pub fn json_text(text: impl Into<Arc<str>>) -> Result<Self, MalformedJson> {
        JsonText::new(text).map(Self::Json)
    }

    /// The text of a payload of text or JSON; none of bytes.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Bytes(_) => None,
            Self::Text(text) => Some(text),
            Self::Json(text) => Some(text),
            Self::Malformed(malformed) => Some(malformed.text()),
        }
    }

    /// The size in bytes, as limits count it.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Text(text) => text.len(),
            Self::Json(text) => text.len(),
            Self::Malformed(malformed) => malformed.text().len(),
        }
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The form's name for messages: `bytes`, `text`, `JSON` or `malformed JSON`.
    pub fn form(&self) -> &'static str {
        match self {
            Self::Bytes(_) => "bytes",
            Self::Text(_) => "text",
            Self::Json(_) => "JSON",
            Self::Malformed(_) => "malformed JSON",
        }
    }
}

impl From<JsonText> for Payload {
    fn from(text: JsonText) -> Self {
        Self::Json(text)
    }
}

/// For a text that is stored as JSON: a store passes on what [`JsonText::new`] says of it.
impl From<Result<JsonText, MalformedJson>> for Payload {
    fn from(checked: Result<JsonText, MalformedJson>) -> Self {
        checked.map_or_else(Self::Malformed, Self::Json)
    }
}

/// One packet of a meeting's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataPacket {
    /// The packet's meeting.
    pub meeting: MeetingId,
    /// The packet's sequence number in the meeting's log.
    pub seq: Seq,
    /// The source: a well-known one, a declared one, or for an output the instance's name.
    pub source: Name,
    /// When the event happened that the packet describes. An output has the latest timestamp of its causes.
    pub timestamp: Timestamp,
    /// When the packet entered this system. Redelivery keeps this time.
    pub received_at: Timestamp,
    /// The participant's name, if there is one: never empty, trimmed, and in Unicode's normal form C, so
    /// that names that look alike are equal.
    pub participant: Option<Arc<str>>,
    /// The data.
    pub payload: Payload,
    /// The publisher's number, if the packet was published with one.
    pub producer: Option<Producer>,
    /// The packets that led to an output, in order; empty for packets of publishers.
    pub causes: Vec<Seq>,
    /// Where the packet is in a trace: its publisher's position, or that of the hook that made it.
    pub trace: Option<TraceContext>,
}

impl DataPacket {
    /// The packet's size in bytes, as limits count it: payload, names, causes, position in a trace, and a flat rate for the rest.
    pub fn cost(&self) -> usize {
        let participant = self.participant.as_ref().map_or(0, |name| name.len());
        let producer = self.producer.as_ref().map_or(0, |producer| producer.id.len());
        let trace = self.trace.map_or(0, |_| TraceContext::TEXT_BYTES);
        Self::ENVELOPE + self.payload.len() + participant + producer + trace + 8 * self.causes.len()
    }

    const ENVELOPE: usize = 160;

    /// The longest participant's name, in bytes.
    pub const MAX_PARTICIPANT_BYTES: usize = 1024;

    /// The largest [cost](Self::cost) of a publisher's packet whose payload is at most so many bytes.
    pub const fn max_cost(payload: usize) -> usize {
        let names = Self::MAX_PARTICIPANT_BYTES + Producer::MAX_ID_BYTES;
        Self::ENVELOPE + names + TraceContext::TEXT_BYTES + payload
    }
}

/// A hook's input, read from a packet.
#[diagnostic::on_unimplemented(
    message = "a hook cannot take `{Self}`: it is not read from a packet",
    label = "not read from a packet",
    note = "a hook takes `Json<{Self}>` if `{Self}` implements serde's `Deserialize` and schemars' `JsonSchema`: wrap it in `Json`",
    note = "a hook also takes `String`, `Bytes`, `AudioFrame`, and `Arc<DataPacket>` for the whole packet"
)]
pub trait FromPacket: Sized + Send + 'static {
    /// Reads the input.
    ///
    /// # Errors
    /// [`Error::reject`] if the packet carries something else, as another try would not help.
    fn from_packet(packet: &Arc<DataPacket>) -> Result<Self, Error>;

    /// What a packet must carry to be read; the default says that it is not known, and is then not checked before a
    /// meeting starts.
    fn reads() -> DataType {
        DataType::Any
    }
}

/// A plugin's output, which becomes a payload.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an output: it is not written to a packet",
    label = "not written to a packet",
    note = "`Json<{Self}>` can, if `{Self}` implements serde's `Serialize` and schemars' `JsonSchema`: wrap it in `Json`",
    note = "`String`, `Bytes`, `AudioFrame` and `Payload` can too; a plugin without outputs has `std::convert::Infallible`"
)]
pub trait IntoPayload: Send + 'static {
    /// Writes the payload.
    ///
    /// # Errors
    /// [`Error::reject`] if the output has no such form.
    fn into_payload(self) -> Result<Payload, Error>;

    /// What the payload carries, for those who consume it; the default says that it is not known.
    fn writes() -> DataType {
        DataType::Any
    }
}

/// A value that packets carry as JSON. As a hook's input `Json<T>` is parsed, as an output it is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

#[derive(Debug, thiserror::Error)]
#[error("expected a {expected} payload, got {got}")]
struct WrongForm {
    expected: &'static str,
    got: &'static str,
}

fn wrong_form(expected: &'static str, payload: &Payload) -> Error {
    Error::reject(WrongForm { expected, got: payload.form() })
}

impl<T: DeserializeOwned + JsonSchema + Send + 'static> FromPacket for Json<T> {
    fn from_packet(packet: &Arc<DataPacket>) -> Result<Self, Error> {
        match &packet.payload {
            Payload::Json(text) => decode::json(text).map(Self).map_err(Error::reject),
            Payload::Malformed(malformed) => Err(Error::reject(malformed.clone())),
            other => Err(wrong_form("JSON", other)),
        }
    }

    fn reads() -> DataType {
        DataType::read_by::<T>()
    }
}

impl FromPacket for String {
    fn from_packet(packet: &Arc<DataPacket>) -> Result<Self, Error> {
        match &packet.payload {
            Payload::Text(text) => Ok(text.as_ref().to_owned()),
            other => Err(wrong_form("text", other)),
        }
    }

    fn reads() -> DataType {
        DataType::Text
    }
}

impl FromPacket for Bytes {
    fn from_packet(packet: &Arc<DataPacket>) -> Result<Self, Error> {
        match &packet.payload {
            Payload::Bytes(bytes) => Ok(bytes.clone()),
            other => Err(wrong_form("bytes", other)),
        }
    }

    fn reads() -> DataType {
        DataType::Bytes
    }
}

/// The packet itself, for a hook that takes any payload.
impl FromPacket for Arc<DataPacket> {
    fn from_packet(packet: &Arc<DataPacket>) -> Result<Self, Error> {
        Ok(packet.clone())
    }
}

impl<T: Serialize + JsonSchema + Send + 'static> IntoPayload for Json<T> {
    fn into_payload(self) -> Result<Payload, Error> {
        Payload::json(&self.0).map_err(Error::reject)
    }

    fn writes() -> DataType {
        DataType::written_by::<T>()
    }
}

impl IntoPayload for String {
    fn into_payload(self) -> Result<Payload, Error> {
        Ok(Payload::Text(self.into()))
    }

    fn writes() -> DataType {
        DataType::Text
    }
}

impl IntoPayload for Bytes {
    fn into_payload(self) -> Result<Payload, Error> {
        Ok(Payload::Bytes(self))
    }

    fn writes() -> DataType {
        DataType::Bytes
    }
}

/// For a plugin whose outputs have several forms.
impl IntoPayload for Payload {
    fn into_payload(self) -> Result<Payload, Error> {
        Ok(self)
    }
}

/// For a plugin without outputs: no value of this type exists.
impl IntoPayload for std::convert::Infallible {
    fn into_payload(self) -> Result<Payload, Error> {
        match self {}
    }
}
