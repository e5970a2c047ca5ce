//! Lines of JSON, as they are sent and as they come.

use bytes::{Buf, BytesMut};
use teammy_kernel::Publish;

/// Packets, one a line.
pub(super) fn write(packets: &[Publish]) -> Vec<u8> {
    let mut lines = Vec::new();
    for packet in packets {
        serde_json::to_writer(&mut lines, packet).expect("invariant: a packet has a JSON form");
        lines.push(b'\n');
    }
    lines
}

/// Lines of bytes that come in pieces. What is left without a line's end is no line: the answer broke off in it.
#[derive(Debug, Default)]
pub(super) struct Lines {
    read: BytesMut,
    /// How much of it holds no line's end.
    searched: usize,
}

impl Lines {
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.read.extend_from_slice(piece);
    }

    /// The next line that is whole and not blank.
    pub(super) fn next(&mut self) -> Option<BytesMut> {
        loop {
            let Some(at) = self.read[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.read.len();
                return None;
            };
            let line = self.read.split_to(self.searched + at);
            self.read.advance(1);
            self.searched = 0;
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_however_they_are_cut() {
        let text = "{\"a\":\"ü\"}\n\n  \r\nsecond\nrest";
        for piece in 1..text.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in text.as_bytes().chunks(piece) {
                lines.push(piece);
                found.extend(std::iter::from_fn(|| lines.next()));
            }
            assert_eq!(found, ["{\"a\":\"ü\"}", "second"], "{piece}");
        }
    }
}
