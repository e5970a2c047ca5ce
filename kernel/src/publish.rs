//! Packets to publish.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;

use crate::{DataPacket, MeetingId, Name, Payload, Producer, PublishError, Seq, TraceContext, participant};

/// A packet to publish. The meeting adds its sequence number.
///
/// # Examples
/// ```
/// use teammy_kernel::{Publish, data::Chat};
/// let publish = Publish::json("chat", &Chat::new("hello"))?.participant("Ada");
/// assert_eq!(publish.source.as_str(), "chat");
/// # Ok::<(), teammy_kernel::PublishError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Publish {
    /// The source to publish on.
    pub source: Name,
    /// When the event happened; `None` stands for the time of arrival.
    pub timestamp: Option<Timestamp>,
    /// The participant's name. A blank one counts as `None`.
    pub participant: Option<Arc<str>>,
    /// The data.
    pub payload: Payload,
    /// The publisher's number, if there is one.
    pub producer: Option<Producer>,
    /// The publisher's position in a trace, if it traces.
    pub trace: Option<TraceContext>,
}

impl Publish {
    /// A packet with any payload.
    ///
    /// # Errors
    /// [`PublishError::Source`] if the source's name is malformed.
    pub fn new(source: impl AsRef<str>, payload: Payload) -> Result<Self, PublishError> {
        Ok(Self::on(Name::new(source)?, payload))
    }

    /// A packet with any payload, on a source whose name is checked already.
    pub fn on(source: Name, payload: Payload) -> Self {
        Self { source, timestamp: None, participant: None, payload, producer: None, trace: None }
    }

    /// A packet that carries a value as JSON.
    ///
    /// # Errors
    /// [`PublishError::Source`] as above, [`PublishError::Encode`] if the value cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(source: impl AsRef<str>, value: &T) -> Result<Self, PublishError> {
        let source = Name::new(source)?;
        match Payload::json(value) {
            Ok(payload) => Ok(Self::on(source, payload)),
            Err(error) => Err(PublishError::Encode { source_name: source, error }),
        }
    }

    /// A packet that carries JSON which is text already.
    ///
    /// # Errors
    /// [`PublishError::Source`] as above, [`PublishError::MalformedJson`] if the text isn't JSON.
    pub fn json_text(source: impl AsRef<str>, text: impl Into<Arc<str>>) -> Result<Self, PublishError> {
        let source = Name::new(source)?;
        match Payload::json_text(text) {
            Ok(payload) => Ok(Self::on(source, payload)),
            Err(error) => Err(PublishError::MalformedJson { source_name: source, error }),
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

    /// Sets the participant's name.
    #[must_use]
    pub fn participant(mut self, participant: impl Into<Arc<str>>) -> Self {
        self.participant = Some(participant.into());
        self
    }

    /// Sets when the event happened.
    #[must_use]
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Numbers the packet, so that it can be published again if the answer was lost. A meeting accepts each
    /// number of a producer once, in order, from 1. For durable sources only.
    #[must_use]
    pub fn numbered(mut self, producer: impl Into<Arc<str>>, number: u64) -> Self {
        self.producer = Some(Producer { id: producer.into(), number });
        self
    }

    /// Says where in a trace the packet is published: what comes of it belongs to that trace.
    #[must_use]
    pub fn traced(mut self, trace: TraceContext) -> Self {
        self.trace = Some(trace);
        self
    }

    /// The packet with its sequence number in a meeting's log.
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
            trace: self.trace,
        }
    }
}
