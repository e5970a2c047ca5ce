//! From a file's bytes to text: what is compressed is unpacked, what is encoded otherwise becomes UTF-8.
//!
//! Each layer is chosen by the bytes that it finds, and hands on what it reads as it reads it. What is
//! plainly no text is told here; looked at as lines, it would only be a broken one.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use super::{
    encoding::Encoding,
    gzip::{self, Members},
};

/// How many times over a text may be compressed: people compress what their program had compressed already.
pub(super) const LAYERS: usize = 3;

/// How many bytes of a text are looked at to see what it is.
const HEAD: usize = 16;

/// Files that people have beside a transcript, by the bytes at some place.
const NO_TEXT: [(usize, &[u8], &str); 11] = [
    (0, b"PK\x03\x04", "a ZIP archive or a Word document"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Word document"),
    (0, b"{\\rtf", "an RTF document"),
    (0, b"%PDF-", "a PDF document"),
    (4, b"ftyp", "a sound or video file"),
    (0, b"\x1a\x45\xdf\xa3", "a sound or video file"),
    (0, b"RIFF", "a sound or video file"),
    (0, b"OggS", "a sound or video file"),
    (0, b"ID3", "a sound or video file"),
    (0, b"\xff\xfb", "a sound or video file"),
    (0, b"fLaC", "a sound or video file"),
];

/// A text as it is read.
pub(super) struct Input<'a> {
    pub(super) text: Box<dyn BufRead + Send + 'a>,
    /// What it was, for messages.
    pub(super) encoding: &'static str,
    pub(super) packing: Packing,
}

/// Whether a text had to be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
}

/// Why something cannot be read as text.
#[derive(Debug)]
pub(super) enum Failure {
    Read(io::Error),
    /// It cannot be unpacked.
    Damaged(io::Error),
    /// Something else follows what is compressed.
    Trailing,
    /// It is compressed over and over.
    Nested,
    NoText(&'static str),
    /// It holds zeros, as no text but UTF-16 does.
    Zeros,
}

impl Failure {
    /// What an error means that came when a text was read.
    pub(super) fn of(error: io::Error, packing: Packing) -> Self {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        match (packing, error.kind()) {
            (Packing::Gzip, _) if gzip::is_trailing(&error) => Self::Trailing,
            (Packing::Gzip, InvalidData | InvalidInput | UnexpectedEof) => Self::Damaged(error),
            _ => Self::Read(error),
        }
    }
}

impl<'a> Input<'a> {
    /// Begins to read. A byte order mark says how the text is encoded, else `encoding` does, else it is
    /// UTF-8.
    pub(super) fn new(reader: impl BufRead + Send + 'a, encoding: Option<Encoding>) -> Result<Self, Failure> {
        let (mut head, reader) = self::head(reader, HEAD).map_err(Failure::Read)?;
        let mut reader: Box<dyn BufRead + Send + 'a> = Box::new(reader);
        let mut layers = 0;
        while head.starts_with(gzip::MAGIC) {
            layers += 1;
            if layers > LAYERS {
                return Err(Failure::Nested);
            }
            let unpacked = self::head(BufReader::new(Members::new(reader)), HEAD);
            let (inner_head, inner) = unpacked.map_err(|error| Failure::of(error, Packing::Gzip))?;
            (head, reader) = (inner_head, Box::new(inner));
        }
        let packing = if layers > 0 { Packing::Gzip } else { Packing::Plain };
        if let Some((.., what)) =
            NO_TEXT.iter().find(|(at, bytes, _)| head.get(*at..).is_some_and(|head| head.starts_with(bytes)))
        {
            return Err(Failure::NoText(what));
        }
        let encoding = match (Encoding::by_mark(&head), encoding) {
            (Some((encoding, mark)), _) => {
                reader.consume(mark);
                encoding
            }
            (None, Some(encoding)) => encoding,
            // What isn't UTF-8 either is told with its place.
            (None, None) if head.contains(&0) && starts_as_utf8(&head) => return Err(Failure::Zeros),
            (None, None) => Encoding::UTF_8,
        };
        Ok(Self { text: encoding.decode(reader), encoding: encoding.name(), packing })
    }
}

fn starts_as_utf8(head: &[u8]) -> bool {
    std::str::from_utf8(head).map_or_else(|error| error.error_len().is_none(), |_| true)
}

/// The first bytes, and a reader that begins with them again.
fn head<R: BufRead>(mut reader: R, length: usize) -> io::Result<(Vec<u8>, impl BufRead + use<R>)> {
    let mut head = Vec::with_capacity(length);
    reader.by_ref().take(length as u64).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(reader)))
}
