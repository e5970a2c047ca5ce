//! What can be wrong with a line of a recording.

use teammy::{PublishError, Timestamp, config::Size, name, wire::json};

const EXPECTED: &str = r#"{"source": …, "timestamp": …, "participant": …, "payload": …}"#;

/// What a recording may be.
pub(super) const READABLE: &str =
    "what can be read is packets as JSON lines, and transcripts as WebVTT or SubRip";

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("this is not {encoding} text; {}", advice(encoding))]
    NotText { encoding: &'static str, column: usize },
    #[error("the line is longer than any packet of the limit's size, {0} (limits.packet_bytes)")]
    TooLong(Size),
    #[error("expected one packet as JSON, {EXPECTED}: {0}")]
    Json(Box<json::Error>),
    #[error("{0}; {READABLE}")]
    Unrecognised(Box<Problem>),
    #[error(
        "this looks like a transcript as text, pasted or saved from a document; export it as .vtt or .srt; {READABLE}"
    )]
    Pasted,
    #[error(
        "\"timestamp\" is {shown}, but takes a time as in RFC 3339, such as \"2026-01-05T09:00:02.400Z\""
    )]
    Timestamp { shown: String },
    #[error(transparent)]
    Source(#[from] name::Error),
    #[error(transparent)]
    Packet(#[from] PublishError),
    #[error("expected a cue's times, such as 00:01:02.400 --> 00:01:05.900, before what is said")]
    NoTimes,
    #[error("a cue's time is {shown:?}, but takes hours, minutes and seconds, such as 00:01:02.400")]
    Time { shown: String },
    #[error("the cue's JSON says nothing of what was spoken: \"spokenText\" is missing or no text")]
    NoSpokenText,
    #[error("the cue holds JSON with \"spokenText\" that cannot be read; get the transcript once more")]
    BrokenMetadata,
    #[error("the cue's times are beyond any date, counted from {from}")]
    BeyondDates { from: Timestamp },
    #[error("the cue's text is longer than any packet of the limit's size, {0} (limits.packet_bytes)")]
    CueTooLong(Size),
}

fn advice(encoding: &str) -> &'static str {
    match encoding {
        "UTF-8" => "save the file as UTF-8, or say what it is, such as --encoding windows-1252",
        _ => "say what else it is with --encoding, or save the file as UTF-8",
    }
}

/// As much of a text as a message shows.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

/// A text that was meant as a time, as a message shows it: as it is, if it looks like one.
pub(super) fn shown_time(text: &str) -> String {
    let is_time = text.chars().all(|c| c.is_ascii_digit() || "-+:.,/TZtz ".contains(c));
    if is_time { format!("{:?}", shown(text)) } else { "something else".to_owned() }
}

impl Problem {
    /// Where in the line it is, in bytes from 1, where that is known.
    pub(crate) fn column(&self) -> Option<usize> {
        match self {
            Self::NotText { column, .. } => Some(*column),
            Self::Json(error) => error.column(),
            Self::Unrecognised(problem) => problem.column(),
            _ => None,
        }
    }

    /// The same of a line by which no format was recognised: it may have been meant as another one. Of a line
    /// that was too long to be looked at, nothing is known.
    pub(super) fn unrecognised(self) -> Self {
        match self {
            Self::TooLong(_) => self,
            other => Self::Unrecognised(Box::new(other)),
        }
    }
}
