//! Decodes text to UTF-8.
//!
//! A decoder that replaces what it cannot read, as `encoding_rs_io` does, would turn a damaged file into one
//! with other words. This decoder puts a byte that no UTF-8 text holds in such a place, so that the check of
//! the lines finds and names the line.

use std::{
    io::{self, BufRead, Read},
    str::FromStr,
};

use encoding_rs::{Decoder, DecoderResult, UTF_8};

/// Stands for bytes that could not be decoded.
const NOT_UTF8: u8 = 0xff;

/// How many bytes are decoded at a time.
const BLOCK: usize = 8 << 10;

/// How a text is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Encoding(&'static encoding_rs::Encoding);

impl FromStr for Encoding {
    type Err = &'static str;

    /// Reads a label of the WHATWG Encoding Standard.
    fn from_str(label: &str) -> Result<Self, Self::Err> {
        encoding_rs::Encoding::for_label_no_replacement(label.as_bytes())
            .map(Self)
            .ok_or("unknown encoding; write one such as utf-8, utf-16le, latin1, windows-1252 or shift_jis")
    }
}

impl Encoding {
    pub(super) const UTF_8: Self = Self(UTF_8);

    /// The encoding by the byte order mark at the start of a text, and the mark's length.
    pub(super) fn by_mark(head: &[u8]) -> Option<(Self, usize)> {
        encoding_rs::Encoding::for_bom(head).map(|(encoding, length)| (Self(encoding), length))
    }

    pub(super) fn name(self) -> &'static str {
        self.0.name()
    }

    /// Decodes a text without its byte order mark to UTF-8. UTF-8 is passed through unchecked.
    pub(super) fn decode<'a>(self, reader: impl BufRead + Send + 'a) -> Box<dyn BufRead + Send + 'a> {
        if self == Self::UTF_8 {
            return Box::new(reader);
        }
        let decoder = self.0.new_decoder_without_bom_handling();
        Box::new(io::BufReader::new(Decoded { reader, decoder, text: Vec::new(), taken: 0, ended: false }))
    }
}

struct Decoded<R> {
    reader: R,
    decoder: Decoder,
    text: Vec<u8>,
    taken: usize,
    ended: bool,
}

impl<R: BufRead> Decoded<R> {
    fn decode(&mut self) -> io::Result<()> {
        let input = self.reader.fill_buf()?;
        let last = input.is_empty();
        self.taken = 0;
        self.text.resize(BLOCK, 0);
        let (result, read, written) =
            self.decoder.decode_to_utf8_without_replacement(input, &mut self.text, last);
        self.reader.consume(read);
        self.text.truncate(written);
        match result {
            DecoderResult::InputEmpty => self.ended = last,
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => self.text.push(NOT_UTF8),
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Decoded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.text.len() && !self.ended {
            self.decode()?;
        }
        let read = (&self.text[self.taken..]).read(into)?;
        self.taken += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn decoded(label: &str, bytes: &[u8]) -> Vec<u8> {
        let encoding: Encoding = label.parse().unwrap();
        let whole = |capacity| {
            let mut text = Vec::new();
            encoding.decode(BufReader::with_capacity(capacity, bytes)).read_to_end(&mut text).unwrap();
            text
        };
        assert_eq!(whole(1), whole(8192), "however little comes at a time");
        whole(1)
    }

    #[test]
    fn text_becomes_utf8() {
        let utf16: Vec<u8> = "a→😀\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(decoded("UTF-16LE", &utf16), "a→😀\r\n".as_bytes());
        assert_eq!(decoded("latin1", b"J\xfcrgen \x80"), "Jürgen €".as_bytes());
        assert_eq!(decoded("shift_jis", b"\x93\xfa\x96\x7b"), "日本".as_bytes());
        let long = "ü".repeat(50_000);
        let latin = vec![0xfc; 50_000];
        assert_eq!(decoded("windows-1252", &latin), long.as_bytes());
    }

    #[test]
    fn what_cannot_be_decoded_is_marked() {
        assert_eq!(decoded("utf-16le", b"a\0\0\xd8b\0"), b"a\xffb");
        assert_eq!(decoded("utf-16le", b"a\0b"), b"a\xff", "half a character at the end");
        assert_eq!(decoded("shift_jis", b"a\x93"), b"a\xff");
    }

    #[test]
    fn labels_and_marks() {
        for (label, name) in [("Latin1", "windows-1252"), ("utf8", "UTF-8"), (" utf-16 ", "UTF-16LE")] {
            assert_eq!(label.parse::<Encoding>().unwrap().name(), name);
        }
        for label in ["", "klingon", "replacement", "iso-2022-kr", "windows-1252\0"] {
            assert!(label.parse::<Encoding>().unwrap_err().contains("such as utf-8"), "{label}");
        }
        let mark = |head| Encoding::by_mark(head).map(|(encoding, length)| (encoding.name(), length));
        assert_eq!(mark(b"\xef\xbb\xbfa"), Some(("UTF-8", 3)));
        assert_eq!(mark(b"\xfe\xff\0a"), Some(("UTF-16BE", 2)));
        assert_eq!(mark(b"a"), None);
    }
}
