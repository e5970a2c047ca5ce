//! Splits text into lines, with any line ends, and bounds their length.

use std::io::{self, BufRead};

/// Reads lines, and holds one of them in memory at a time. A line ends with LF, CRLF or a single CR, as in
/// WebVTT. Several CRs before an LF are one line end too: programs that write each LF as CRLF make them from
/// CRLF.
pub(super) struct Lines<R> {
    reader: R,
    longest: usize,
    number: u64,
    buffer: Vec<u8>,
    /// The last line ended with a CR. The line is handed out before it is known whether an LF follows that
    /// belongs to the same line end.
    after_cr: bool,
    /// How many further CRs follow that CR.
    more_crs: usize,
    /// The lines so far, if they are kept.
    kept: Option<Vec<u8>>,
}

/// A line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Text(&'a str),
    /// The line is not UTF-8 from this byte on, counted from 1.
    NotText {
        column: usize,
    },
    TooLong,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(reader: R, longest: usize) -> Self {
        Self { reader, longest, number: 0, buffer: Vec::new(), after_cr: false, more_crs: 0, kept: None }
    }

    /// Keeps the lines, for [`Lines::into_kept`].
    pub(super) fn keeping(self) -> Self {
        Self { kept: Some(Vec::new()), ..self }
    }

    /// The lines that were kept: read again, they are the same lines with the same numbers. A line that is
    /// too long is cut, but is still too long.
    pub(super) fn into_kept(self) -> Vec<u8> {
        self.kept.unwrap_or_default()
    }

    /// The number of the line that was read last, from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next line.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.buffer.clear();
        if !self.fill()? {
            return Ok(None);
        }
        self.number += 1;
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(&self.buffer);
            kept.push(b'\n');
        }
        if self.buffer.len() > self.longest {
            return Ok(Some(Line::TooLong));
        }
        Ok(Some(match std::str::from_utf8(&self.buffer) {
            Ok(text) => Line::Text(text),
            Err(error) => Line::NotText { column: error.valid_up_to() + 1 },
        }))
    }

    /// Reads a line into the buffer, cut to one byte more than the longest line. Returns whether there was a
    /// line.
    fn fill(&mut self) -> io::Result<bool> {
        let mut found = false;
        loop {
            if !self.after_cr && self.more_crs > 0 {
                // No LF followed the CRs, so each of them ends an empty line.
                self.more_crs -= 1;
                return Ok(true);
            }
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                if std::mem::take(&mut self.after_cr) && self.more_crs > 0 {
                    continue;
                }
                return Ok(found);
            }
            if self.after_cr {
                match available[0] {
                    b'\r' => {
                        self.more_crs += 1;
                        self.reader.consume(1);
                    }
                    b'\n' => {
                        (self.after_cr, self.more_crs) = (false, 0);
                        self.reader.consume(1);
                    }
                    _ => self.after_cr = false,
                }
                continue;
            }
            found = true;
            let end = line_end(available);
            let piece = &available[..end.unwrap_or(available.len())];
            let room = self.longest.saturating_add(1).saturating_sub(self.buffer.len());
            self.buffer.extend_from_slice(&piece[..piece.len().min(room)]);
            let Some(end) = end else {
                let read = available.len();
                self.reader.consume(read);
                continue;
            };
            self.after_cr = available[end] == b'\r';
            self.reader.consume(end + 1);
            return Ok(true);
        }
    }

    /// How many bytes are kept in memory.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        self.buffer.capacity() + self.kept.as_ref().map_or(0, Vec::capacity)
    }
}

/// The position of the first line end. Most files hold no CR, and the standard library searches for one byte
/// much faster than for two.
fn line_end(mut bytes: &[u8]) -> Option<usize> {
    let all = bytes;
    let up_to_lf = bytes.skip_until(b'\n').expect("invariant: a slice can be read");
    let line = &all[..up_to_lf];
    if line.contains(&b'\r') {
        line.iter().position(|byte| *byte == b'\r')
    } else {
        line.ends_with(b"\n").then(|| up_to_lf - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn all<R: BufRead>(mut lines: Lines<R>) -> (Vec<(u64, String)>, Vec<u8>) {
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let line = match line {
                Line::Text(text) => text.to_owned(),
                other => format!("{other:?}"),
            };
            found.push((lines.number(), line));
        }
        (found, lines.into_kept())
    }

    #[track_caller]
    fn are(text: &[u8], expected: &[(u64, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(number, line)| (*number, (*line).to_owned())).collect();
        // However little comes at a time.
        for capacity in [1, 2, 3, 8192] {
            let (found, kept) = all(Lines::new(BufReader::with_capacity(capacity, text), 5).keeping());
            assert_eq!(found, expected, "{capacity} at a time");
            assert_eq!(all(Lines::new(&kept[..], 5)).0, expected, "kept");
        }
    }

    #[test]
    fn lines_are_counted_and_bounded() {
        are("ab\nxxxxx\n\nläs".as_bytes(), &[(1, "ab"), (2, "xxxxx"), (3, ""), (4, "läs")]);
        are(b"123456\nb", &[(1, "TooLong"), (2, "b")]);
        are(b"1234567890123456", &[(1, "TooLong")]);
        are(b"ab\xff\nb", &[(1, "NotText { column: 3 }"), (2, "b")]);
        are(b"", &[]);
    }

    #[test]
    fn a_line_ends_with_lf_crlf_or_cr() {
        are(b"a\r\nb\rc\nd\n\n\r", &[(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, ""), (6, "")]);
        are(b"a\r\rb\r\r\rc\r\r", &[(1, "a"), (2, ""), (3, "b"), (4, ""), (5, ""), (6, "c"), (7, "")]);
    }

    #[test]
    fn crs_before_an_lf_are_one_end() {
        are(b"a\r\r\nb\r\r\n\r\r\nc\r\r\r\n", &[(1, "a"), (2, "b"), (3, ""), (4, "c")]);
    }
}
