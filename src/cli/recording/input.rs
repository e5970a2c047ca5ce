//! Unpacks a file's bytes, if they are compressed, and turns them into text: decodes other encodings to UTF-8.
//!
//! The bytes decide which layers there are, and each layer streams. Files that are clearly not text are
//! rejected here; read as lines, they would only be reported as a broken line.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use super::{
    encoding::Encoding,
    gzip::{self, Members},
};

/// How many times a text may be compressed: people compress what their program has compressed already.
pub(super) const LAYERS: usize = 3;

/// How many bytes are read to recognise what a text is.
const HEAD: usize = 16;

/// Other files that people have of a meeting: the offset of known bytes, these bytes, and what the file is.
const OTHER_FILES: [(usize, &[u8], &str); 11] = [
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

/// Bytes that are being read, unpacked.
pub(super) struct Unpacked<'a> {
    /// The first bytes, which the reader will return, too.
    pub(super) head: Vec<u8>,
    pub(super) reader: Box<dyn BufRead + Send + 'a>,
    pub(super) compression: Compression,
}

/// A text that is being read.
pub(super) struct Input<'a> {
    pub(super) text: Box<dyn BufRead + Send + 'a>,
    /// The original encoding, for messages.
    pub(super) encoding: &'static str,
    pub(super) compression: Compression,
}

/// Whether a text is unpacked as it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
}

/// Why a file cannot be read as text.
#[derive(Debug)]
pub(super) enum InputError {
    Read(io::Error),
    /// The gzip data cannot be unpacked.
    Damaged(io::Error),
    /// Other data follows the gzip data.
    Trailing,
    /// The file is compressed more than [`LAYERS`] times.
    Nested,
    /// The file is of another kind.
    NotText(&'static str),
    /// The file holds zero bytes, which only UTF-16 text does.
    Zeros,
}

impl InputError {
    /// What an error means that occurred while a text was read.
    pub(super) fn new(error: io::Error, compression: Compression) -> Self {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        match (compression, error.kind()) {
            (Compression::Gzip, _) if gzip::is_trailing(&error) => Self::Trailing,
            (Compression::Gzip, InvalidData | InvalidInput | UnexpectedEof) => Self::Damaged(error),
            _ => Self::Read(error),
        }
    }
}

impl<'a> Unpacked<'a> {
    /// Begins to read.
    pub(super) fn new(reader: impl BufRead + Send + 'a) -> Result<Self, InputError> {
        let (mut head, reader) = self::head(reader, HEAD).map_err(InputError::Read)?;
        let mut reader: Box<dyn BufRead + Send + 'a> = Box::new(reader);
        let mut layers = 0;
        while head.starts_with(gzip::MAGIC) {
            layers += 1;
            if layers > LAYERS {
                return Err(InputError::Nested);
            }
            let unpacked = self::head(BufReader::new(Members::new(reader)), HEAD);
            let (inner_head, inner) = unpacked.map_err(|error| InputError::new(error, Compression::Gzip))?;
            (head, reader) = (inner_head, Box::new(inner));
        }
        let compression = if layers > 0 { Compression::Gzip } else { Compression::None };
        Ok(Self { head, reader, compression })
    }

    /// Reads it as text. The encoding is that of the byte order mark, or else `encoding`, or else UTF-8.
    pub(super) fn into_text(self, encoding: Option<Encoding>) -> Result<Input<'a>, InputError> {
        let Self { head, mut reader, compression } = self;
        if let Some((.., what)) = OTHER_FILES
            .iter()
            .find(|(at, bytes, _)| head.get(*at..).is_some_and(|head| head.starts_with(bytes)))
        {
            return Err(InputError::NotText(what));
        }
        let encoding = match (Encoding::by_mark(&head), encoding) {
            (Some((encoding, mark)), _) => {
                reader.consume(mark);
                encoding
            }
            (None, Some(encoding)) => encoding,
            // Bytes that are not UTF-8 are reported with their line and column instead.
            (None, None) if head.contains(&0) && starts_as_utf8(&head) => return Err(InputError::Zeros),
            (None, None) => Encoding::UTF_8,
        };
        Ok(Input { text: encoding.decode(reader), encoding: encoding.name(), compression })
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
