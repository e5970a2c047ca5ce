//! What can be wrong with a line of a recording.

use teammy::{PublishError, Timestamp, config::Size, name, wire::json};

const EXPECTED: &str = r#"{"source": …, "timestamp": …, "participant": …, "payload": …}"#;

/// What a recording may be, for messages.
pub(super) const READABLE: &str =
    "a recording is packets as JSON lines, a transcript as WebVTT or SubRip, or sound as WAV";

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("this is not {encoding} text; {}", advice(encoding))]
    NotText { encoding: &'static str, column: usize },
    #[error("the line is longer than any packet may be; the limit is {0} (limits.packet_bytes)")]
    TooLong(Size),
    #[error("expected one packet as JSON, {EXPECTED}: {0}")]
    Json(Box<json::Error>),
    #[error("{0}; {READABLE}")]
    Unrecognised(Box<Problem>),
    #[error(
        "this looks like a plain-text transcript, pasted or saved from a document; export it as .vtt or .srt; {READABLE}"
    )]
    Pasted,
    #[error(
        "\"timestamp\" is {shown}; it must be a time as in RFC 3339, such as \"2026-01-05T09:00:02.400Z\""
    )]
    Timestamp { shown: String },
    #[error(transparent)]
    Source(#[from] name::Error),
    #[error(transparent)]
    Packet(#[from] PublishError),
    #[error("expected a cue's times, such as 00:01:02.400 --> 00:01:05.900, before its text")]
    NoTimes,
    #[error("{shown:?} is not a cue's time; write hours, minutes and seconds, such as 00:01:02.400")]
    Time { shown: String },
    #[error("the cue's JSON must hold \"spokenText\", and \"speakerName\" if any, as strings")]
    NoSpokenText,
    #[error("the cue's JSON cannot be read; download the transcript again")]
    BrokenMetadata,
    #[error("the cue's times are beyond any date, counted from {from}")]
    BeyondDates { from: Timestamp },
    #[error("the cue's text is longer than any packet may be; the limit is {0} (limits.packet_bytes)")]
    CueTooLong(Size),
}

fn advice(encoding: &str) -> &'static str {
    match encoding {
        "UTF-8" => "save the file as UTF-8, or give its encoding, such as --encoding windows-1252",
        _ => "give another --encoding, or save the file as UTF-8",
    }
}

/// The beginning of a text, as a message shows it.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}

/// A text that was meant as a time, as a message shows it. A text that does not look like a time is not
/// shown: it may be words of the meeting.
pub(super) fn shown_time(text: &str) -> String {
    let is_time = text.chars().all(|c| c.is_ascii_digit() || "-+:.,/TZtz ".contains(c));
    if is_time { format!("{:?}", shown(text)) } else { "something else".to_owned() }
}

impl Problem {
    /// The column in the line, in bytes from 1, where it is known.
    pub(crate) fn column(&self) -> Option<usize> {
        match self {
            Self::NotText { column, .. } => Some(*column),
            Self::Json(error) => error.column(),
            Self::Unrecognised(problem) => problem.column(),
            _ => None,
        }
    }

    /// The same problem of a line that no format was recognised by, so that the message lists the formats. A
    /// line that is too long was not read, and may have any format.
    pub(super) fn unrecognised(self) -> Self {
        match self {
            Self::TooLong(_) => self,
            other => Self::Unrecognised(Box::new(other)),
        }
    }
}
