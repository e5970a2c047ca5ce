//! Packets on the wire, and packets to publish.

use std::{borrow::Cow, fmt, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};

use super::{Error, Wire, json, read};
use crate::{DataPacket, JsonText, MeetingId, Name, Payload, Producer, Publish, Seq, TraceContext};

/// A packet on the wire: layout 2, which is layout 1 and then the position in a trace.
///
/// What is written is borrowed, and what was read is owned.
#[derive(Serialize, Deserialize)]
struct PacketV2<'a> {
    packet: PacketV1<'a>,
    trace: Option<TraceContext>,
}

/// A packet to publish on the wire, as above.
#[derive(Serialize, Deserialize)]
struct PublishV2<'a> {
    publish: PublishV1<'a>,
    trace: Option<TraceContext>,
}

/// A packet on the wire. Times are seconds and nanoseconds, which take half the bytes of their text.
#[derive(Serialize, Deserialize)]
struct PacketV1<'a> {
    meeting: Cow<'a, MeetingId>,
    seq: Seq,
    source: Cow<'a, Name>,
    timestamp: (i64, i32),
    received_at: (i64, i32),
    participant: Option<Text<'a>>,
    payload: PayloadV1<'a>,
    producer: Option<ProducerV1<'a>>,
    causes: Cow<'a, [Seq]>,
}

/// A packet to publish on the wire.
#[derive(Serialize, Deserialize)]
struct PublishV1<'a> {
    source: Cow<'a, Name>,
    timestamp: Option<(i64, i32)>,
    participant: Option<Text<'a>>,
    payload: PayloadV1<'a>,
    producer: Option<ProducerV1<'a>>,
}

/// A publisher's number on the wire.
#[derive(Serialize, Deserialize)]
struct ProducerV1<'a> {
    id: Text<'a>,
    number: u64,
}

/// A payload on the wire. Earlier versions wrote texts as JSON without checking them, so a malformed one is
/// read and written as they did.
#[derive(Serialize, Deserialize)]
enum PayloadV1<'a> {
    Bytes(Data<'a>),
    Text(Text<'a>),
    Json(Text<'a>),
}

/// A text on the wire, which is copied once when it is read.
enum Text<'a> {
    Written(&'a str),
    Read(Arc<str>),
}

impl From<Text<'_>> for Arc<str> {
    fn from(text: Text<'_>) -> Self {
        match text {
            Text::Written(text) => text.into(),
            Text::Read(text) => text,
        }
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Written(text) => serializer.serialize_str(text),
            Self::Read(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Text<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Copies;
        impl Visitor<'_> for Copies {
            type Value = Arc<str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Arc<str>, E> {
                Ok(text.into())
            }
        }
        deserializer.deserialize_str(Copies).map(Self::Read)
    }
}

/// Bytes on the wire.
enum Data<'a> {
    Written(&'a [u8]),
    Read(Bytes),
}

impl From<Data<'_>> for Bytes {
    fn from(data: Data<'_>) -> Self {
        match data {
            Data::Written(bytes) => Self::copy_from_slice(bytes),
            Data::Read(bytes) => bytes,
        }
    }
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Written(bytes) => serializer.serialize_bytes(bytes),
            Self::Read(bytes) => serializer.serialize_bytes(bytes),
        }
    }
}

impl<'de> Deserialize<'de> for Data<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Bytes::deserialize(deserializer).map(Self::Read)
    }
}

impl<'a> From<&'a Payload> for PayloadV1<'a> {
    fn from(payload: &'a Payload) -> Self {
        match payload {
            Payload::Bytes(bytes) => Self::Bytes(Data::Written(bytes)),
            Payload::Text(text) => Self::Text(Text::Written(text)),
            Payload::Json(text) => Self::Json(Text::Written(text)),
            Payload::Malformed(malformed) => Self::Json(Text::Written(malformed.text())),
        }
    }
}

impl From<PayloadV1<'_>> for Payload {
    fn from(payload: PayloadV1<'_>) -> Self {
        match payload {
            PayloadV1::Bytes(bytes) => Self::Bytes(bytes.into()),
            PayloadV1::Text(text) => Self::Text(text.into()),
            PayloadV1::Json(text) => JsonText::new(text).into(),
        }
    }
}

impl<'a> From<&'a Producer> for ProducerV1<'a> {
    fn from(producer: &'a Producer) -> Self {
        Self { id: Text::Written(&producer.id), number: producer.number }
    }
}

impl From<ProducerV1<'_>> for Producer {
    fn from(producer: ProducerV1<'_>) -> Self {
        Self { id: producer.id.into(), number: producer.number }
    }
}

/// The bytes of a text, or of other bytes, on the wire.
const fn size_of_bytes(length: usize) -> usize {
    8 + length
}

/// The bytes of a value that may be missing.
const fn size_of_option(value: Option<usize>) -> usize {
    match value {
        Some(size) => 1 + size,
        None => 1,
    }
}

const SIZE_OF_TIME: usize = 8 + 4;
const SIZE_OF_TRACE: usize = 16 + 8 + 1;

/// The bytes of what all packets have.
fn size_of_parts(
    source: &Name,
    participant: Option<&Arc<str>>,
    payload: &Payload,
    producer: Option<&Producer>,
    trace: Option<TraceContext>,
) -> usize {
    size_of_bytes(source.as_str().len())
        + size_of_option(participant.map(|name| size_of_bytes(name.len())))
        + 4
        + size_of_bytes(payload.len())
        + size_of_option(producer.map(|producer| size_of_bytes(producer.id.len()) + 8))
        + size_of_option(trace.map(|_| SIZE_OF_TRACE))
}

fn split(time: Timestamp) -> (i64, i32) {
    (time.as_second(), time.subsec_nanosecond())
}

fn join<E: serde::de::Error>((seconds, nanos): (i64, i32)) -> Result<Timestamp, E> {
    Timestamp::new(seconds, nanos).map_err(E::custom)
}

// In bincode as `PacketV2`, in JSON as `json::Packet`.
impl Serialize for DataPacket {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return json::Packet(self).serialize(serializer);
        }
        let packet = PacketV1 {
            meeting: Cow::Borrowed(&self.meeting),
            seq: self.seq,
            source: Cow::Borrowed(&self.source),
            timestamp: split(self.timestamp),
            received_at: split(self.received_at),
            participant: self.participant.as_deref().map(Text::Written),
            payload: (&self.payload).into(),
            producer: self.producer.as_ref().map(Into::into),
            causes: Cow::Borrowed(&self.causes),
        };
        PacketV2 { packet, trace: self.trace }.serialize(serializer)
    }
}

impl PacketV1<'_> {
    fn into_packet<E: serde::de::Error>(self, trace: Option<TraceContext>) -> Result<DataPacket, E> {
        Ok(DataPacket {
            meeting: self.meeting.into_owned(),
            seq: self.seq,
            source: self.source.into_owned(),
            timestamp: join(self.timestamp)?,
            received_at: join(self.received_at)?,
            participant: self.participant.map(Into::into),
            payload: self.payload.into(),
            producer: self.producer.map(Into::into),
            causes: self.causes.into_owned(),
            trace,
        })
    }
}

impl<'de> Deserialize<'de> for DataPacket {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
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
            1 => read::<PacketV1<'_>>(body)?.into_packet(None).map_err(Error::Decode),
            _ => Err(Error::Version { expected: Self::VERSION, got: version }),
        }
    }

    fn size_hint(&self) -> usize {
        let Self { meeting, source, participant, payload, producer, causes, trace, .. } = self;
        size_of_bytes(meeting.as_str().len())
            + 8
            + 2 * SIZE_OF_TIME
            + size_of_parts(source, participant.as_ref(), payload, producer.as_ref(), *trace)
            + size_of_bytes(8 * causes.len())
    }
}

// In bincode as `PublishV2`, in JSON as `json::Publishing`.
impl Serialize for Publish {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return json::Publishing(self).serialize(serializer);
        }
        let publish = PublishV1 {
            source: Cow::Borrowed(&self.source),
            timestamp: self.timestamp.map(split),
            participant: self.participant.as_deref().map(Text::Written),
            payload: (&self.payload).into(),
            producer: self.producer.as_ref().map(Into::into),
        };
        PublishV2 { publish, trace: self.trace }.serialize(serializer)
    }
}

impl PublishV1<'_> {
    fn into_publish<E: serde::de::Error>(self, trace: Option<TraceContext>) -> Result<Publish, E> {
        let mut publish = Publish::on(self.source.into_owned(), self.payload.into());
        publish.timestamp = self.timestamp.map(join).transpose()?;
        publish.participant = self.participant.map(Into::into);
        publish.producer = self.producer.map(Into::into);
        publish.trace = trace;
        Ok(publish)
    }
}

impl<'de> Deserialize<'de> for Publish {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
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
            1 => read::<PublishV1<'_>>(body)?.into_publish(None).map_err(Error::Decode),
            _ => Err(Error::Version { expected: Self::VERSION, got: version }),
        }
    }

    fn size_hint(&self) -> usize {
        let Self { source, timestamp, participant, payload, producer, trace } = self;
        size_of_option(timestamp.map(|_| SIZE_OF_TIME))
            + size_of_parts(source, participant.as_ref(), payload, producer.as_ref(), *trace)
    }
}
