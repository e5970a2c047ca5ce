//! Unpacks gzip data as it is read.
//!
//! A file may have several members, which together are one text, and zeros after the last member, as tapes
//! and disk images leave them. `gzip` warns of other data there and drops it. Here other data is an error,
//! because it may be the rest of the meeting.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// The first bytes of each member.
pub(super) const MAGIC: &[u8] = b"\x1f\x8b";

/// Other data follows the last member.
#[derive(Debug, thiserror::Error)]
#[error("other data follows the gzip data")]
struct Trailing;

/// Whether an error says that other data follows the last member.
pub(super) fn is_trailing(error: &io::Error) -> bool {
    error.get_ref().and_then(|error| error.downcast_ref::<Trailing>()).is_some()
}

/// Unpacks one member after another.
pub(super) struct Members<R> {
    /// `None` after the last member.
    member: Option<GzDecoder<R>>,
    is_first: bool,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { member: Some(GzDecoder::new(reader)), is_first: true }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !into.is_empty()
            && let Some(member) = &mut self.member
        {
            match member.read(into) {
                Ok(0) => {}
                // The data begins like a member, but has no member's header.
                Err(error)
                    if !self.is_first
                        && member.header().is_none()
                        && error.kind() == io::ErrorKind::InvalidInput =>
                {
                    return Err(trailing());
                }
                other => return other,
            }
            self.is_first = false;
            let rest = self.member.take().map(GzDecoder::into_inner);
            self.member = rest.map(next_member).transpose()?.flatten();
        }
        Ok(0)
    }
}

/// The next member; `None` if nothing but zeros follows.
fn next_member<R: BufRead>(mut rest: R) -> io::Result<Option<GzDecoder<R>>> {
    let mut padded = false;
    loop {
        let available = match rest.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let zeros = available.iter().take_while(|byte| **byte == 0).count();
        match available.get(zeros) {
            None if zeros == 0 => return Ok(None),
            None => {
                padded = true;
                rest.consume(zeros);
            }
            Some(first) if !padded && zeros == 0 && *first == MAGIC[0] => {
                return Ok(Some(GzDecoder::new(rest)));
            }
            Some(_) => return Err(trailing()),
        }
    }
}

fn trailing() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Trailing)
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    /// What the bytes of a first member and these unpack to.
    fn unpacked(rest: &[u8]) -> io::Result<String> {
        let bytes = [&gzip("one"), rest].concat();
        let whole = |capacity| {
            let mut text = String::new();
            Members::new(BufReader::with_capacity(capacity, &bytes[..])).read_to_string(&mut text)?;
            Ok::<_, io::Error>(text)
        };
        let little = whole(1);
        assert_eq!(little.as_ref().ok(), whole(8192).as_ref().ok(), "however little comes at a time");
        little
    }

    #[test]
    fn members_are_one_text_and_zeros_are_ignored() {
        assert_eq!(unpacked(b"").unwrap(), "one");
        assert_eq!(unpacked(&gzip(" two")).unwrap(), "one two");
        assert_eq!(unpacked(&[gzip(""), gzip(" two"), vec![0; 20_000]].concat()).unwrap(), "one two");
        assert_eq!(unpacked(&[0]).unwrap(), "one");
    }

    #[test]
    fn other_data_is_told_from_damage() {
        let behind_zeros = [&[0; 512], &gzip("two")[..]].concat();
        for rest in [&b"and more"[..], b"\x1fx and more, and more", &[0, 0, 7], &behind_zeros] {
            assert!(is_trailing(&unpacked(rest).unwrap_err()), "{rest:?}");
        }
        let second = gzip(" two");
        let damaged = [&second[..12], &[0xff; 20]].concat();
        for rest in [&second[..5], &second[..second.len() - 1], &damaged] {
            assert!(!is_trailing(&unpacked(rest).unwrap_err()), "{rest:?}");
        }
        let mut text = String::new();
        let error = Members::new(&b"and more, and more"[..]).read_to_string(&mut text).unwrap_err();
        assert!(!is_trailing(&error), "nothing is before it");
    }
}
