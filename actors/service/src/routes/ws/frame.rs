//! The binary frames of a WebSocket: the bytes of one packet behind a small header.
//!
//! | bytes | what | |
//! |---|---|---|
//! | 1 | version | 1 |
//! | 8 | timestamp | microseconds since 1970-01-01T00:00:00Z, signed; the lowest value means none |
//! | 8 | producer's number | 0 means none; from a node the packet's seq |
//! | 1, then so many | source | |
//! | 2, then so many | participant | none if empty |
//! | 1, then so many | producer's id | none if empty |
//! | the rest | payload | |
//!
//! Numbers are big-endian, texts UTF-8.

use std::sync::Arc;

use axum::body::Bytes;
use bytes::{Buf, BufMut, BytesMut};
use teammy_kernel::{DataPacket, Payload, Publish, Timestamp};

const VERSION: u8 = 1;
const NO_TIME: i64 = i64::MIN;

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the frame ends within its header")]
    Short,
    #[error("the frame's version is {0}, and this node reads version 1")]
    Version(u8),
    #[error("the frame's {0} is not UTF-8")]
    Text(&'static str),
    #[error("the frame's timestamp is out of range")]
    Time,
    #[error("the frame has a producer's id without a number, or a number without an id")]
    Producer,
    #[error("the frame's source cannot be a source's name")]
    Source,
}

fn text(frame: &mut Bytes, length: usize, what: &'static str) -> Result<Option<String>, FrameError> {
    if frame.remaining() < length {
        return Err(FrameError::Short);
    }
    let text = String::from_utf8(frame.split_to(length).to_vec()).map_err(|_| FrameError::Text(what))?;
    Ok((!text.is_empty()).then_some(text))
}

/// Reads a packet to publish.
pub(crate) fn read(mut frame: Bytes) -> Result<Publish, FrameError> {
    let version = frame.try_get_u8().map_err(|_| FrameError::Short)?;
    if version != VERSION {
        return Err(FrameError::Version(version));
    }
    let time = frame.try_get_i64().map_err(|_| FrameError::Short)?;
    let number = frame.try_get_u64().map_err(|_| FrameError::Short)?;
    let length = frame.try_get_u8().map_err(|_| FrameError::Short)?;
    let source = text(&mut frame, length.into(), "source")?.ok_or(FrameError::Source)?;
    let length = frame.try_get_u16().map_err(|_| FrameError::Short)?;
    let participant = text(&mut frame, length.into(), "participant")?;
    let length = frame.try_get_u8().map_err(|_| FrameError::Short)?;
    let producer = text(&mut frame, length.into(), "producer's id")?;
    let mut publish = Publish::bytes(source, frame).map_err(|_| FrameError::Source)?;
    if let Some(participant) = participant {
        publish = publish.participant(participant);
    }
    if time != NO_TIME {
        publish = publish.timestamp(Timestamp::from_microsecond(time).map_err(|_| FrameError::Time)?);
    }
    match (producer, number) {
        (None, 0) => Ok(publish),
        (Some(producer), number) if number > 0 => Ok(publish.numbered(producer, number)),
        _ => Err(FrameError::Producer),
    }
}

/// Writes a packet of bytes; none if it carries something else.
pub(crate) fn write(packet: &Arc<DataPacket>) -> Option<Bytes> {
    let Payload::Bytes(payload) = &packet.payload else { return None };
    let participant = packet.participant.as_deref().unwrap_or_default();
    let source = packet.source.as_str();
    let mut frame = BytesMut::with_capacity(21 + source.len() + participant.len() + payload.len());
    frame.put_u8(VERSION);
    frame.put_i64(packet.timestamp.as_microsecond());
    frame.put_u64(packet.seq.0);
    frame.put_u8(u8::try_from(source.len()).ok()?);
    frame.put_slice(source.as_bytes());
    frame.put_u16(u16::try_from(participant.len()).ok()?);
    frame.put_slice(participant.as_bytes());
    frame.put_u8(0);
    frame.put_slice(payload);
    Some(frame.freeze())
}

#[cfg(test)]
mod tests {
    use teammy_kernel::Producer;

    use super::*;

    const FRAME: &[u8] =
        b"\x01\0\x06\x4b\xda\x1f\x1c\x40\0\0\0\0\0\0\0\0\x07\x05audio\0\x03Ada\x02b7\xff\x00\x01";

    #[test]
    fn a_frame_is_read_byte_by_byte() {
        let publish = read(Bytes::from_static(FRAME)).unwrap();
        assert_eq!(publish.source, "audio");
        assert_eq!(publish.participant.as_deref(), Some("Ada"));
        assert_eq!(publish.timestamp.unwrap().as_microsecond(), 0x0006_4bda_1f1c_4000_i64);
        assert_eq!(publish.producer, Some(Producer { id: "b7".into(), number: 7 }));
        assert_eq!(publish.payload, Payload::Bytes(Bytes::from_static(b"\xff\x00\x01")));
    }

    #[test]
    fn what_is_cut_or_wrong_is_refused() {
        for length in 0..FRAME.len() - 3 {
            assert_eq!(read(Bytes::from_static(&FRAME[..length])), Err(FrameError::Short), "{length}");
        }
        let changed = |at: usize, byte: u8| {
            let mut frame = FRAME.to_vec();
            frame[at] = byte;
            read(frame.into())
        };
        assert_eq!(changed(0, 2), Err(FrameError::Version(2)));
        assert_eq!(changed(16, 0), Err(FrameError::Producer));
        assert_eq!(changed(18, b' '), Err(FrameError::Source));
        assert_eq!(changed(25, 0xff), Err(FrameError::Text("participant")));
        assert_eq!(changed(1, 0x7f), Err(FrameError::Time));
    }
}
