//! Recognises what a text is: packets as JSON lines, or a transcript as WebVTT or SubRip. The first two lines
//! tell, not the file's name.

use super::{
    cue::{begins_passage, holds_times, is_header, may_be_times},
    pasted::are_dialogue,
};

/// What a recording is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Packets, a line of JSON each.
    Packets,
    /// WebVTT with its header.
    WebVtt,
    /// SubRip, or WebVTT without its header.
    Cues,
    /// A plain-text transcript, such as one that was pasted from a document.
    Pasted,
    /// None of these; perhaps a broken JSON line.
    Unknown,
}

impl Format {
    /// The format by the first line that isn't blank; `None` if the next line must decide.
    pub(super) fn by_first(line: &str) -> Option<Self> {
        let line = line.trim_start();
        if line.starts_with('{') {
            Some(Self::Packets)
        } else if is_header(line) {
            Some(Self::WebVtt)
        } else if holds_times(line) || begins_passage(line) {
            Some(Self::Cues)
        } else {
            None
        }
    }

    /// The format by the first two lines: a cue's times may have a number or another identifier before them.
    pub(super) fn by_second(first: &str, line: &str) -> Self {
        let numbered = first.trim().bytes().all(|byte| byte.is_ascii_digit());
        if holds_times(line) || (numbered && may_be_times(line)) {
            Self::Cues
        } else if are_dialogue(first, line) {
            Self::Pasted
        } else {
            Self::Unknown
        }
    }

    /// Whether a first line, because it is a number, may have an empty line between it and a cue's times.
    pub(super) fn may_be_parted(first: &str) -> bool {
        first.trim().bytes().all(|byte| byte.is_ascii_digit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lines_tell() {
        for (first, second, format) in [
            ("{\"source\":\"chat\"}", "", Format::Packets),
            ("  {", "", Format::Packets),
            ("WEBVTT", "1", Format::WebVtt),
            ("WEBVTT - a title", "", Format::WebVtt),
            ("WEBVTT\tX", "", Format::WebVtt),
            ("WEBVTTX", "", Format::Unknown),
            ("webvtt", "00:01.000 -> 00:02.000", Format::Pasted),
            ("1", "00:00:01,000 --> 00:00:02,000", Format::Cues),
            ("1", "00:00:99,000 --> 00:00:02,000", Format::Cues),
            ("1", "00:01 -> 00:02", Format::Cues),
            ("00:01.000 --> 00:02.000", "Hello.", Format::Cues),
            ("a0f8-3c/12-0", "00:00:01.000 --> 00:00:02.000", Format::Cues),
            ("7", "{\"source\":\"chat\"}", Format::Unknown),
            ("7", "8", Format::Unknown),
            ("NOTE duration: 1800", "", Format::Cues),
            ("NOTE: tomorrow", "", Format::Unknown),
            ("1", "0:0:5.320 --> 0:0:6.0", Format::Cues),
            ("00:00:01.000 --> soon", "x", Format::Pasted),
            ("hello", "Ada: 10:30 --> 11:00", Format::Pasted),
            ("hello", "10:30 Ada: hello", Format::Pasted),
            ("Nadia Berg", "0:05", Format::Pasted),
            ("Nadia Berg   0:05", "We open.", Format::Pasted),
            ("[00:00:01.000 --> 00:00:05.420]  So", "", Format::Pasted),
            ("Ada: good morning", "Bo: hello", Format::Pasted),
            ("\"a --> b\"", "", Format::Unknown),
        ] {
            let found = Format::by_first(first).unwrap_or_else(|| Format::by_second(first, second));
            assert_eq!(found, format, "{first} / {second}");
        }
    }
}
