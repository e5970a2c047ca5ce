//! The wire forms: here a version byte, then bincode, for what crosses from process to process; in [`json`]
//! JSON, for people and other programs. The one place that names bincode.
//!
//! Every type that leaves the process states the version of its layout. A reader knows the layouts that it
//! was built with, which is the newest one and where it says so the one before, and rejects others with both
//! versions, so that two builds never misread each other.
//! Decoding is bounded: a length field is checked against [`LIMIT`] before anything is allocated.

pub mod json;

use std::sync::Arc;

use bincode::config::{self, Configuration, Fixint, Limit, LittleEndian};
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{DataPacket, JsonText, MeetingId, Name, Payload, Producer, Publish, Seq, TraceContext};

/// The largest message in bytes, its version byte included.
pub const LIMIT: usize = 8 * 1024 * 1024;

const CONFIG: Configuration<LittleEndian, Fixint, Limit<LIMIT>> =
    config::standard().with_fixed_int_encoding().with_limit::<LIMIT>();

/// A type with a layout on the wire.
pub trait Wire: Serialize + DeserializeOwned {
    /// The layout's version. Raise it with every change, and keep golden bytes of the old layouts.
    const VERSION: u8;

    /// Reads an older layout. By default none is read.
    ///
    /// # Errors
    /// [`Error::Version`] if this build doesn't read that layout, else those of [`decode`].
    fn decode_older(version: u8, body: &[u8]) -> Result<Self, Error> {
        let _ = body;
        Err(Error::Version { expected: Self::VERSION, got: version })
    }
}

/// Why bytes could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There are no bytes to read.
    #[error("empty message")]
    Empty,
    /// A build with another layout wrote the message.
    #[error("message is of layout {got}, this build reads layout {expected}")]
    Version {
        /// The layout that this build reads.
        expected: u8,
        /// The layout that the message states.
        got: u8,
    },
    /// Bytes are left over after the value.
    #[error("{0} bytes follow the message")]
    Trailing(usize),
    /// The value is too large, or has no form in bincode.
    #[error("cannot encode")]
    Encode(#[source] bincode::error::EncodeError),
    /// The message is cut off, too large, or not of the stated layout.
    #[error("cannot decode")]
    Decode(#[source] bincode::error::DecodeError),
}

/// Writes a value.
///
/// # Errors
/// [`Error::Encode`] if a part of the value has no form in bincode.
pub fn encode<T: Wire>(value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![T::VERSION];
    bincode::serde::encode_into_std_write(value, &mut bytes, CONFIG).map_err(Error::Encode)?;
    Ok(bytes)
}

/// Reads a value.
///
/// # Errors
/// Every variant of [`Error`]; never panics, whatever the bytes.
pub fn decode<T: Wire>(bytes: &[u8]) -> Result<T, Error> {
    let (&version, body) = bytes.split_first().ok_or(Error::Empty)?;
    if version != T::VERSION {
        return T::decode_older(version, body);
    }
    read(body)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    let (value, read) = bincode::serde::decode_from_slice(body, CONFIG).map_err(Error::Decode)?;
    match body.len() - read {
        0 => Ok(value),
        left => Err(Error::Trailing(left)),
    }
}

/// A packet on the wire: layout 2, which is layout 1 and then the position in a trace.
#[derive(Serialize, Deserialize)]
struct PacketV2 {
    packet: PacketV1,
    trace: Option<TraceContext>,
}

/// A packet to publish on the wire, as above.
#[derive(Serialize, Deserialize)]
struct PublishV2 {
    publish: PublishV1,
    trace: Option<TraceContext>,
}

/// A packet on the wire. Times are seconds and nanoseconds, which take half the bytes of their text.
#[derive(Serialize, Deserialize)]
struct PacketV1 {
    meeting: MeetingId,
    seq: Seq,
    source: Name,
    timestamp: (i64, i32),
    received_at: (i64, i32),
    participant: Option<Arc<str>>,
    payload: PayloadV1,
    producer: Option<Producer>,
    causes: Vec<Seq>,
}

/// A packet to publish on the wire.
#[derive(Serialize, Deserialize)]
struct PublishV1 {
    source: Name,
    timestamp: Option<(i64, i32)>,
    participant: Option<Arc<str>>,
    payload: PayloadV1,
    producer: Option<Producer>,
}

/// A payload on the wire. Earlier versions wrote texts as JSON without checking them, so a malformed one is
/// read and written as they did.
#[derive(Serialize, Deserialize)]
enum PayloadV1 {
    Bytes(Bytes),
    Text(Arc<str>),
    Json(Arc<str>),
}

impl From<&Payload> for PayloadV1 {
    fn from(payload: &Payload) -> Self {
        match payload {
            Payload::Bytes(bytes) => Self::Bytes(bytes.clone()),
            Payload::Text(text) => Self::Text(text.clone()),
            Payload::Json(text) => Self::Json(text.clone().into()),
            Payload::Malformed(malformed) => Self::Json(malformed.shared()),
        }
    }
}

impl From<PayloadV1> for Payload {
    fn from(payload: PayloadV1) -> Self {
        match payload {
            PayloadV1::Bytes(bytes) => Self::Bytes(bytes),
            PayloadV1::Text(text) => Self::Text(text),
            PayloadV1::Json(text) => JsonText::new(text).into(),
        }
    }
}

fn split(time: Timestamp) -> (i64, i32) {
    (time.as_second(), time.subsec_nanosecond())
}

fn join<E: serde::de::Error>((seconds, nanos): (i64, i32)) -> Result<Timestamp, E> {
    Timestamp::new(seconds, nanos).map_err(E::custom)
}

// In bincode as `PacketV2`, in JSON as `json::Packet`.
impl Serialize for DataPacket {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return json::Packet(self).serialize(serializer);
        }
        let packet = PacketV1 {
            meeting: self.meeting.clone(),
            seq: self.seq,
            source: self.source.clone(),
            timestamp: split(self.timestamp),
            received_at: split(self.received_at),
            participant: self.participant.clone(),
            payload: (&self.payload).into(),
            producer: self.producer.clone(),
            causes: self.causes.clone(),
        };
        PacketV2 { packet, trace: self.trace }.serialize(serializer)
    }
}

impl PacketV1 {
    fn into_packet<E: serde::de::Error>(self, trace: Option<TraceContext>) -> Result<DataPacket, E> {
        Ok(DataPacket {
            meeting: self.meeting,
            seq: self.seq,
            source: self.source,
            timestamp: join(self.timestamp)?,
            received_at: join(self.received_at)?,
            participant: self.participant,
            payload: self.payload.into(),
            producer: self.producer,
            causes: self.causes,
            trace,
        })
    }
}

impl<'de> Deserialize<'de> for DataPacket {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return json::deserialize(deserializer)?.into_packet().map_err(serde::de::Error::custom);
        }
        let PacketV2 { packet, trace } = PacketV2::deserialize(deserializer)?;
        packet.into_packet(trace)
    }
}

impl Wire for DataPacket {
    const VERSION: u8 = 2;

    fn decode_older(version: u8, body: &[u8]) -> Result<Self, Error> {
        match version {
            1 => read::<PacketV1>(body)?.into_packet(None).map_err(Error::Decode),
            _ => Err(Error::Version { expected: Self::VERSION, got: version }),
        }
    }
}

// In bincode as `PublishV2`, in JSON as `json::Publishing`.
impl Serialize for Publish {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return json::Publishing(self).serialize(serializer);
        }
        let publish = PublishV1 {
            source: self.source.clone(),
            timestamp: self.timestamp.map(split),
            participant: self.participant.clone(),
            payload: (&self.payload).into(),
            producer: self.producer.clone(),
        };
        PublishV2 { publish, trace: self.trace }.serialize(serializer)
    }
}

impl PublishV1 {
    fn into_publish<E: serde::de::Error>(self, trace: Option<TraceContext>) -> Result<Publish, E> {
        let mut publish = Publish::on(self.source, self.payload.into());
        publish.timestamp = self.timestamp.map(join).transpose()?;
        publish.participant = self.participant;
        publish.producer = self.producer;
        publish.trace = trace;
        Ok(publish)
    }
}

impl<'de> Deserialize<'de> for Publish {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Ok(json::deserialize(deserializer)?.publish);
        }
        let PublishV2 { publish, trace } = PublishV2::deserialize(deserializer)?;
        publish.into_publish(trace)
    }
}

impl Wire for Publish {
    const VERSION: u8 = 2;

    fn decode_older(version: u8, body: &[u8]) -> Result<Self, Error> {
        match version {
            1 => read::<PublishV1>(body)?.into_publish(None).map_err(Error::Decode),
            _ => Err(Error::Version { expected: Self::VERSION, got: version }),
        }
    }
}

#[cfg(test)]
mod tests;
