//! Files that are larger than the memory that may be used. They are generated while they are read.

use std::io::Read;

use super::*;

/// Repeats a text.
struct Repeated<'a> {
    unit: &'a [u8],
    left: usize,
    at: usize,
}

impl Read for Repeated<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let piece = &self.unit[self.at..];
        let read = piece.len().min(into.len()).min(self.left);
        into[..read].copy_from_slice(&piece[..read]);
        self.at = (self.at + read) % self.unit.len();
        self.left -= read;
        Ok(read)
    }
}

const LARGE: usize = 100 << 20;

/// The entries of 100 MB, how many are broken, and the most memory that reading them took.
fn of_large(head: &str, unit: &[u8]) -> (u64, Vec<String>, usize) {
    let text = head.as_bytes().chain(BufReader::new(Repeated { unit, left: LARGE, at: 0 }));
    let rules = rules(1 << 20);
    let input = Unpacked::new(text).and_then(|unpacked| unpacked.into_text(None));
    let input = input.unwrap_or_else(|error| panic!("{error:?}"));
    let lines = Lines::new(input.text, rules.longest_line());
    let mut entries = Entries::new(lines, input.encoding, rules, Timestamp::UNIX_EPOCH);
    let mut first_pass = FirstPass::default();
    let (mut count, mut broken, mut most) = (0, Vec::new(), 0);
    while let Some(found) = entries.next().unwrap() {
        match found {
            Ok(entry) => {
                count += 1;
                entry.add_to(&mut first_pass);
            }
            Err((line, problem)) => broken.push(format!("{line}: {problem}")),
        }
        most = most.max(entries.footprint() + first_pass.footprint());
    }
    (count, broken, most)
}

#[test]
fn a_hundred_megabytes_of_cues_take_little_memory() {
    let said = "and so on ".repeat(3200);
    let unit = format!("00:00:01.000 --> 00:00:02.000\nAda: {said}\n\n");
    let (count, broken, most) = of_large("WEBVTT\n\n", unit.as_bytes());
    assert_eq!((count, broken.len()), (LARGE.div_ceil(unit.len()) as u64, 0));
    assert!(most < 1 << 20, "{most}");
}

#[test]
fn a_hundred_megabytes_without_a_line_end_are_an_error() {
    let long = "the line is longer than any packet may be; the limit is 1MiB (limits.packet_bytes)";
    for (head, line) in [("", 1), ("WEBVTT\n", 2), ("WEBVTT\n\n", 3), ("1\n00:01.000 --> 00:02.000\n", 3)] {
        let (count, broken, most) = of_large(head, &[b'x'; 64]);
        assert_eq!((count, broken), (0, vec![format!("{line}: {long}")]), "{head}");
        assert!(most < 4 << 20, "{most}");
    }
    // A cue with endless lines is not kept either.
    let (count, broken, most) = of_large(
        "1\n00:01.000 --> 00:02.000\n",
        &[b'x'; 1024].map(|x| x).into_iter().chain(*b"\n").collect::<Vec<_>>(),
    );
    assert_eq!((count, broken.len()), (0, 1));
    assert!(broken[0].starts_with("2: the cue's text is longer"), "{broken:?}");
    assert!(most < 4 << 20, "{most}");
}
