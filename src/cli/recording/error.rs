//! Why a recording cannot be played.

use std::{fmt, io, path::PathBuf, sync::Arc};

use super::{
    input::{Failure, LAYERS},
    problem::{Problem, READABLE},
};

/// Why a recording cannot be played.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("there is no file {}; check the path", .0.display())]
    Missing(PathBuf),
    #[error("{} is a directory; give the recording's file", .0.display())]
    Directory(PathBuf),
    #[error("cannot read {name}")]
    Read { name: Arc<str>, source: io::Error },
    #[error("{0}")]
    Broken(Broken),
    #[error(
        "{0} looks like a Teams transcript pasted from its document: a name stands on a line of its own under each time; \
         download the meeting's transcript as .vtt and replay that; {READABLE}"
    )]
    Pasted(Arc<str>),
    #[error("{0} is empty; a recording holds one packet a line")]
    Empty(Arc<str>),
    #[error("{name} holds no packet: {nothing}")]
    NoPacket {
        name: Arc<str>,
        nothing: Nothing,
        /// The first that was skipped.
        source: Option<Broken>,
    },
    #[error("{0} changed while it was played")]
    Changed(Arc<str>),
    #[error("cannot unpack {name}: it is compressed with gzip, and damaged or cut off; get it once more")]
    Damaged { name: Arc<str>, source: io::Error },
    #[error(
        "cannot unpack {0}: something else follows what is compressed with gzip; unpack it with `gzip -d`, which leaves \
         that out, and replay the result"
    )]
    Trailing(Arc<str>),
    #[error("{0} is compressed with gzip more than {LAYERS} times over; unpack it first, with `gzip -d`")]
    Nested(Arc<str>),
    #[error("{name} is {what}, and not text; export the meeting's transcript as .vtt and replay that")]
    NoText { name: Arc<str>, what: &'static str },
    #[error("{0} is not text; if it is UTF-16 without a byte order mark, say so: --encoding utf-16le")]
    Zeros(Arc<str>),
    #[error("{0} says of each packet when it happened; leave out --started-at, which is for transcripts")]
    Dated(Arc<str>),
}

impl Error {
    pub(super) fn of(failure: Failure, name: &Arc<str>) -> Self {
        let name = name.clone();
        match failure {
            Failure::Read(source) => Self::Read { name, source },
            Failure::Damaged(source) => Self::Damaged { name, source },
            Failure::Trailing => Self::Trailing(name),
            Failure::Nested => Self::Nested(name),
            Failure::NoText(what) => Self::NoText { name, what },
            Failure::Zeros => Self::Zeros(name),
        }
    }
}

/// What a recording holds that holds no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nothing {
    BlankLines,
    BrokenLines(u64),
    /// Packets that a meeting makes by itself.
    Made,
    Cues,
    BrokenCues(u64),
    /// Cues that name somebody who says nothing.
    Names,
}

impl Nothing {
    /// Of lines: so many are broken, so many are packets that a meeting makes by itself, the others are blank.
    pub(super) fn of_lines(broken: u64, made: u64) -> Self {
        match (broken, made) {
            (0, 0) => Self::BlankLines,
            (_, 0) => Self::BrokenLines(broken),
            _ => Self::Made,
        }
    }

    /// Of cues, of which so many are broken and the others have no text.
    pub(super) fn of_cues(broken: u64) -> Self {
        if broken == 0 { Self::Cues } else { Self::BrokenCues(broken) }
    }
}

impl fmt::Display for Nothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlankLines => f.write_str("all its lines are blank"),
            Self::BrokenLines(1) => f.write_str("its only line is broken"),
            Self::BrokenLines(many) => write!(f, "all its {many} lines are broken"),
            Self::Made => f.write_str("nothing in it was published; it has what plugins put out"),
            Self::Cues => f.write_str("it has no cue with text"),
            Self::BrokenCues(1) => f.write_str("its only cue is broken"),
            Self::BrokenCues(many) => write!(f, "all its {many} cues are broken"),
            Self::Names => f.write_str("its cues name somebody, and nothing is said"),
        }
    }
}

/// A line that is no packet.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(super) name: Arc<str>,
    pub(super) line: u64,
    pub(super) problem: Problem,
}

impl Broken {
    /// Whether it is known what the line was meant to be, so that it can be corrected.
    pub(crate) fn is_recognised(&self) -> bool {
        !matches!(self.problem, Problem::Unrecognised(_) | Problem::Pasted)
    }
}

impl std::error::Error for Broken {}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, line, problem } = self;
        match problem.column() {
            Some(column) => write!(f, "{name}, line {line}, column {column}: {problem}"),
            None => write!(f, "{name}, line {line}: {problem}"),
        }
    }
}
