//! Frames of the protocol: a head in JSON, and blobs. See `docs/python-host.md`.

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The most bytes of a frame behind its first length.
pub(crate) const MAX_BYTES: usize = 64 << 20;

/// A frame that cannot be sent or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It is too large.
    #[error("a frame of {0} bytes; the limit is {MAX_BYTES}")]
    TooLarge(usize),
    /// Its lengths do not fit together, or its head is not what the protocol says.
    #[error("a frame that is not of this protocol")]
    Malformed,
}

/// A message and its blobs' lengths, as a head has them.
#[derive(Serialize, Deserialize)]
struct Head<T> {
    #[serde(flatten)]
    message: T,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    blobs: Vec<usize>,
}

/// Writes a frame.
pub(crate) fn encode<T: Serialize>(message: &T, blobs: &[&[u8]]) -> Result<Vec<u8>, Error> {
    let lengths: Vec<usize> = blobs.iter().map(|blob| blob.len()).collect();
    let content: usize = lengths.iter().sum();
    let head = serde_json::to_vec(&Head { message, blobs: lengths }).map_err(|_| Error::Malformed)?;
    let rest = 4 + head.len() + content;
    let (Some(rest_field), Ok(head_field)) =
        (u32::try_from(rest).ok().filter(|_| rest <= MAX_BYTES), u32::try_from(head.len()))
    else {
        return Err(Error::TooLarge(rest));
    };
    let mut frame = Vec::with_capacity(4 + rest);
    frame.extend_from_slice(&rest_field.to_le_bytes());
    frame.extend_from_slice(&head_field.to_le_bytes());
    frame.extend_from_slice(&head);
    for blob in blobs {
        frame.extend_from_slice(blob);
    }
    Ok(frame)
}

/// The blobs of a frame that was read, in order. They share its memory.
#[derive(Debug)]
pub(crate) struct Blobs {
    rest: Bytes,
    lengths: std::vec::IntoIter<usize>,
}

impl Blobs {
    /// The next blob.
    pub(crate) fn next(&mut self) -> Result<Bytes, Error> {
        let length = self.lengths.next().filter(|length| *length <= self.rest.len());
        Ok(self.rest.split_to(length.ok_or(Error::Malformed)?))
    }

    /// The next blob, as text.
    pub(crate) fn next_text(&mut self) -> Result<String, Error> {
        String::from_utf8(self.next()?.to_vec()).map_err(|_| Error::Malformed)
    }
}

/// Cuts what is read into frames.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    pub(crate) buffer: BytesMut,
}

impl Decoder {
    /// The next whole frame, if it is there.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<(T, Blobs)>, Error> {
        let Some(rest) = self.buffer.first_chunk().map(|rest| u32::from_le_bytes(*rest) as usize) else {
            return Ok(None);
        };
        if rest > MAX_BYTES {
            return Err(Error::TooLarge(rest));
        }
        if self.buffer.len() < 4 + rest {
            self.buffer.reserve(4 + rest - self.buffer.len());
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(4 + rest).freeze();
        frame.advance(4);
        let head =
            frame.first_chunk().map(|head| u32::from_le_bytes(*head) as usize).ok_or(Error::Malformed)?;
        frame.advance(4);
        if head > frame.len() {
            return Err(Error::Malformed);
        }
        let head: Head<T> = serde_json::from_slice(&frame.split_to(head)).map_err(|_| Error::Malformed)?;
        let total = head.blobs.iter().try_fold(0_usize, |sum, length| sum.checked_add(*length));
        if total != Some(frame.len()) {
            return Err(Error::Malformed);
        }
        Ok(Some((head.message, Blobs { rest: frame, lengths: head.blobs.into_iter() })))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_in_pieces_of_any_size(
            frames in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4), 1..5),
            piece in 1_usize..30,
        ) {
            let mut written = Vec::new();
            for (index, blobs) in frames.iter().enumerate() {
                let blobs: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
                written.extend(encode(&json!({"type": "run", "call": index}), &blobs).unwrap());
            }
            let mut decoder = Decoder::default();
            let mut read = Vec::new();
            for piece in written.chunks(piece) {
                decoder.buffer.extend_from_slice(piece);
                while let Some((message, mut blobs)) = decoder.next::<Value>().unwrap() {
                    prop_assert_eq!(&message["call"], read.len());
                    let of_this: Vec<Vec<u8>> = std::iter::from_fn(|| blobs.next().ok()).map(|blob| blob.to_vec()).collect();
                    read.push(of_this);
                }
            }
            prop_assert_eq!(read, frames);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::default();
            decoder.buffer.extend_from_slice(&bytes);
            while let Ok(Some(_)) = decoder.next::<Value>() {}
        }
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        let whole = encode(&json!({"type": "pong"}), &[b"abc"]).unwrap();
        for (at, byte) in [(0, 0), (4, 250), (whole.len() - 5, b'9')] {
            let mut broken = whole.clone();
            broken[at] = byte;
            let mut decoder = Decoder { buffer: BytesMut::from(&broken[..]) };
            assert!(!matches!(decoder.next::<Value>(), Ok(Some(_))), "{at}");
        }
        let mut decoder = Decoder { buffer: BytesMut::from(&u32::MAX.to_le_bytes()[..]) };
        assert!(matches!(decoder.next::<Value>(), Err(Error::TooLarge(_))));
        let large = vec![0; MAX_BYTES];
        assert!(matches!(encode(&json!({}), &[&large]), Err(Error::TooLarge(_))));
    }
}
