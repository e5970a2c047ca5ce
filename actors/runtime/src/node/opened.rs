//! What became of a meeting that was opened.

use crate::meeting::MeetingRef;

/// A meeting that a node's `open` found or made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Opened {
    /// It is new, and was started.
    Started(MeetingRef),
    /// It was in the store, and was resumed.
    Resumed(MeetingRef),
    /// This node ran it already.
    Running(MeetingRef),
    /// It has ended: its handle reads what is stored, and nothing new can be published.
    Ended(MeetingRef),
}

impl Opened {
    /// The meeting.
    pub fn meeting(&self) -> &MeetingRef {
        match self {
            Self::Started(meeting)
            | Self::Resumed(meeting)
            | Self::Running(meeting)
            | Self::Ended(meeting) => meeting,
        }
    }

    /// The meeting.
    pub fn into_meeting(self) -> MeetingRef {
        match self {
            Self::Started(meeting)
            | Self::Resumed(meeting)
            | Self::Running(meeting)
            | Self::Ended(meeting) => meeting,
        }
    }

    /// Which it is, in a word: `started`, `resumed`, `running` or `ended`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Started(_) => "started",
            Self::Resumed(_) => "resumed",
            Self::Running(_) => "running",
            Self::Ended(_) => "ended",
        }
    }
}
