//! Packets: what flows through a meeting.
//!
//! A [`DataPacket`] is immutable and shared as `Arc`; nothing on its way copies the payload. JSON is carried
//! as text and parsed by the hook that wants it, so that routing costs the same for every payload.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{EncodeError, Error, MeetingId, Name, decode, name, participant};

/// A packet's place in its meeting's log: from 1, never used twice, not without holes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first packet.
    pub const ZERO: Self = Self(0);
    /// Above every packet.
    pub const MAX: Self = Self(u64::MAX);

    /// The place after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The place before this one; [`Seq::ZERO`] stays where it is.
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

/// Who numbered a packet, and its number there: what makes a repeated publish recognisable.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Producer {
    /// The producer's own identifier.
    pub id: Arc<str>,
    /// The packet's number at that producer, from 1 without holes.
    pub number: u64,
}

impl Producer {
    /// The longest identifier, in bytes; the shortest is one byte.
    pub const MAX_ID_BYTES: usize = 255;
}

/// What a packet carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// Opaque bytes, such as audio.
    Bytes(Bytes),
    /// Plain text.
    Text(Arc<str>),
    /// A JSON document, as text.
    Json(Arc<str>),
}

impl Payload {
    /// A JSON payload from a value.
    ///
    /// # Errors
    /// If the value cannot be written as JSON, for example a map whose keys are not strings.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, EncodeError> {
        decode::to_json(value).map(|text| Self::Json(text.into()))
    }

    /// Its size in bytes, as the limits count it.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Text(text) | Self::Json(text) => text.len(),
        }
    }

    /// Whether it holds nothing at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The form's name as messages show it: `bytes`, `text` or `JSON`.
    pub fn form(&self) -> &'static str {
        match self {
            Self::Bytes(_) => "bytes",
            Self::Text(_) => "text",
            Self::Json(_) => "JSON",
        }
    }
}

/// One datum on a meeting's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataPacket {
    /// The meeting it belongs to.
    pub meeting: MeetingId,
    /// Its place in the meeting's log.
    pub seq: Seq,
    /// The kind of data: a well-known source, a declared one, or the name of the instance whose output it
    /// is.
    pub source: Name,
    /// When what it tells of happened. An output's is the latest of its causes'.
    pub timestamp: Timestamp,
    /// When it entered this system; set once, kept by redelivery.
    pub received_at: Timestamp,
    /// Who said or did it, where somebody did: without white space around the name and in Unicode's normal
    /// form C, so that names that look alike are one, and never empty.
    pub participant: Option<Arc<str>>,
    /// The data.
    pub payload: Payload,
    /// Who numbered it, where it was published with a number.
    pub producer: Option<Producer>,
    /// The packets that an output came from, in their order; empty for what came from outside.
    pub causes: Vec<Seq>,
}

impl DataPacket {
    /// What it counts against limits in bytes: its payload and a flat rate for the rest.
    pub fn cost(&self) -> usize {
        let participant = self.participant.as_ref().map_or(0, |name| name.len());
        let producer = self.producer.as_ref().map_or(0, |producer| producer.id.len());
        Self::ENVELOPE + self.payload.len() + participant + producer + 8 * self.causes.len()
    }

    const ENVELOPE: usize = 160;

    /// The longest participant, in bytes.
    pub const MAX_PARTICIPANT_BYTES: usize = 1024;

    /// What a packet from outside counts at most, if its payload is at most so large.
    pub const fn max_cost(payload: usize) -> usize {
        Self::ENVELOPE + Self::MAX_PARTICIPANT_BYTES + Producer::MAX_ID_BYTES + payload
    }
}

/// A packet on its way in: what a publisher says. The meeting adds its place in the log.
///
/// # Examples
/// ```
/// use teammy_kernel::{Publish, data::Chat};
/// let publish = Publish::json("chat", &Chat::new("hello"))?.participant("Ada");
/// assert_eq!(publish.source.as_str(), "chat");
/// # Ok::<(), teammy_kernel::packet::PublishError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Publish {
    /// The source to publish on.
    pub source: Name,
    /// When it happened; the time of arrival where it isn't said.
    pub timestamp: Option<Timestamp>,
    /// Who said or did it. What is blank is nobody.
    pub participant: Option<Arc<str>>,
    /// The data.
    pub payload: Payload,
    /// Who numbers it, and its number there.
    pub producer: Option<Producer>,
}

/// Why something to publish could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The source's name is not of the form that names take.
    #[error("cannot publish")]
    Source(#[from] name::Error),
    /// The value cannot be written as JSON.
    #[error("cannot publish on {source_name}: the value cannot be written as JSON")]
    Json {
        /// The source.
        source_name: Name,
        /// What serialisation said.
        #[source]
        error: EncodeError,
    },
}

impl Publish {
    /// A packet with any payload.
    ///
    /// # Errors
    /// [`PublishError::Source`] if the source's name is malformed.
    pub fn new(source: impl AsRef<str>, payload: Payload) -> Result<Self, PublishError> {
        Ok(Self::on(Name::new(source)?, payload))
    }

    /// A packet with any payload on a source whose name has been checked.
    pub fn on(source: Name, payload: Payload) -> Self {
        Self { source, timestamp: None, participant: None, payload, producer: None }
    }

    /// A packet that carries a value as JSON.
    ///
    /// # Errors
    /// [`PublishError::Source`] as above, [`PublishError::Json`] if the value cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(source: impl AsRef<str>, value: &T) -> Result<Self, PublishError> {
        let source = Name::new(source)?;
        match Payload::json(value) {
            Ok(payload) => Ok(Self::on(source, payload)),
            Err(error) => Err(PublishError::Json { source_name: source, error }),
        }
    }

    /// A packet that carries plain text.
    ///
    /// # Errors
    /// [`PublishError::Source`] if the source's name is malformed.
    pub fn text(source: impl AsRef<str>, text: impl Into<Arc<str>>) -> Result<Self, PublishError> {
        Self::new(source, Payload::Text(text.into()))
    }

    /// A packet that carries bytes.
    ///
    /// # Errors
    /// [`PublishError::Source`] if the source's name is malformed.
    pub fn bytes(source: impl AsRef<str>, bytes: impl Into<Bytes>) -> Result<Self, PublishError> {
        Self::new(source, Payload::Bytes(bytes.into()))
    }

    /// Says who said or did it.
    #[must_use]
    pub fn participant(mut self, participant: impl Into<Arc<str>>) -> Self {
        self.participant = Some(participant.into());
        self
    }

    /// Says when it happened.
    #[must_use]
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Numbers it, so that it can be published again where the answer was lost: a meeting takes each number
    /// of a producer once, in their order, from 1. For durable sources.
    #[must_use]
    pub fn numbered(mut self, producer: impl Into<Arc<str>>, number: u64) -> Self {
        self.producer = Some(Producer { id: producer.into(), number });
        self
    }

    /// The packet that this becomes at a place in a meeting's log.
    pub fn into_packet(self, meeting: MeetingId, seq: Seq, received_at: Timestamp) -> DataPacket {
        DataPacket {
            meeting,
            seq,
            source: self.source,
            timestamp: self.timestamp.unwrap_or(received_at),
            received_at,
            participant: self.participant.and_then(participant::normalized),
            payload: self.payload,
            producer: self.producer,
            causes: Vec::new(),
        }
    }
}

/// What a hook can take: something that is read off a packet.
pub trait FromPacket: Sized + Send + 'static {
    /// Reads it.
    ///
    /// # Errors
    /// [`Error::reject`] if the packet carries something else: trying again would not help.
    fn from_packet(packet: &Arc<DataPacket>) -> Result<Self, Error>;
}

/// What a plugin can put out: something that becomes a payload.
pub trait IntoPayload: Send + 'static {
    /// Turns into a payload.
    ///
    /// # Errors
    /// [`Error::reject`] if it cannot be written.
    fn into_payload(self) -> Result<Payload, Error>;

    /// The JSON Schema of what it becomes, for people who consume it; `None` where it isn't JSON.
    fn schema() -> Option<schemars::Schema> {
        None
    }
}

/// A value that travels as JSON: `Json<T>` in a hook parses it, `Json<T>` as an output writes it.
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

impl<T: DeserializeOwned + Send + 'static> FromPacket for Json<T> {
    fn from_packet(packet: &Arc<DataPacket>) -> Result<Self, Error> {
        match &packet.payload {
            Payload::Json(text) => decode::json(text).map(Self).map_err(Error::reject),
            other => Err(wrong_form("JSON", other)),
        }
    }
}

impl FromPacket for String {
    fn from_packet(packet: &Arc<DataPacket>) -> Result<Self, Error> {
        match &packet.payload {
            Payload::Text(text) => Ok(text.as_ref().to_owned()),
            other => Err(wrong_form("text", other)),
        }
    }
}

impl FromPacket for Bytes {
    fn from_packet(packet: &Arc<DataPacket>) -> Result<Self, Error> {
        match &packet.payload {
            Payload::Bytes(bytes) => Ok(bytes.clone()),
            other => Err(wrong_form("bytes", other)),
        }
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

    fn schema() -> Option<schemars::Schema> {
        Some(schemars::schema_for!(T))
    }
}

impl IntoPayload for String {
    fn into_payload(self) -> Result<Payload, Error> {
        Ok(Payload::Text(self.into()))
    }
}

impl IntoPayload for Bytes {
    fn into_payload(self) -> Result<Payload, Error> {
        Ok(Payload::Bytes(self))
    }
}

/// For a plugin that only watches: a value of this type cannot exist, so it has no output.
impl IntoPayload for std::convert::Infallible {
    fn into_payload(self) -> Result<Payload, Error> {
        match self {}
    }
}
