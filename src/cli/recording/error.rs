//! Why a recording cannot be played.

use std::{fmt, io, path::PathBuf, sync::Arc};

use super::{
    input::{Compression, InputError, LAYERS},
    problem::{Problem, READABLE},
    sound::{self, FrameError},
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
        "{0} looks like a Teams transcript pasted from a document: each name is on a line of its own under a time; download \
         the meeting's transcript as .vtt and replay that; {READABLE}"
    )]
    Pasted(Arc<str>),
    #[error("{0} is empty; {READABLE}")]
    Empty(Arc<str>),
    #[error("{name} holds no packet: {nothing}")]
    NoPacket {
        name: Arc<str>,
        nothing: Nothing,
        /// The first line or cue that was skipped.
        source: Option<Broken>,
    },
    #[error("{0} changed while it was played")]
    Changed(Arc<str>),
    #[error("cannot unpack {name}: its gzip data is damaged or cut off; get the file again")]
    Damaged { name: Arc<str>, source: io::Error },
    #[error(
        "cannot unpack {0}: other data follows its gzip data; unpack it with `gzip -d`, which drops the other data, and \
         replay the result"
    )]
    Trailing(Arc<str>),
    #[error("{0} is compressed with gzip more than {LAYERS} times; unpack it first with `gzip -d`")]
    Nested(Arc<str>),
    #[error(
        "{name} is {what}, not text; export the meeting's transcript as .vtt, or its sound as .wav, and replay that"
    )]
    NotText { name: Arc<str>, what: &'static str },
    #[error("{0} is not text; if it is UTF-16 without a byte order mark, use --encoding utf-16le")]
    Zeros(Arc<str>),
    #[error("{0} has a timestamp in each packet; leave out --started-at, which is for transcripts and sound")]
    Dated(Arc<str>),
    #[error("cannot play {name}: {problem}")]
    Sound { name: Arc<str>, problem: sound::Problem },
    #[error("cannot play {name}, frame {frame}: {problem}")]
    Frame { name: Arc<str>, frame: u64, problem: Problem },
    #[error("{0} is sound, which has no encoding; leave out --encoding")]
    Encoded(Arc<str>),
    #[error("{0} says itself who speaks; leave out --participant, which is for sound")]
    Named(Arc<str>),
}

impl Error {
    pub(super) fn frame(error: FrameError, compression: Compression, name: &Arc<str>) -> Self {
        match error {
            FrameError::Read(error) => Self::new(InputError::new(error, compression), name),
            FrameError::Problem(problem) => Self::Sound { name: name.clone(), problem },
        }
    }

    pub(super) fn new(error: InputError, name: &Arc<str>) -> Self {
        let name = name.clone();
        match error {
            InputError::Read(source) => Self::Read { name, source },
            InputError::Damaged(source) => Self::Damaged { name, source },
            InputError::Trailing => Self::Trailing(name),
            InputError::Nested => Self::Nested(name),
            InputError::NotText(what) => Self::NotText { name, what },
            InputError::Zeros => Self::Zeros(name),
        }
    }
}

/// What a recording without a packet holds instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nothing {
    BlankLines,
    BrokenLines(u64),
    /// Packets that a replay makes anew.
    Derived,
    Cues,
    BrokenCues(u64),
    /// Cues that hold names alone.
    Names,
}

impl Nothing {
    /// Lines, of which `broken` are broken, `derived` are packets that a replay makes anew, and the others are
    /// blank.
    pub(super) fn of_lines(broken: u64, derived: u64) -> Self {
        match (broken, derived) {
            (0, 0) => Self::BlankLines,
            (_, 0) => Self::BrokenLines(broken),
            _ => Self::Derived,
        }
    }

    /// Cues, of which `broken` are broken and the others have no text.
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
            Self::Derived => f.write_str("nothing in it was published; it has what plugins put out"),
            Self::Cues => f.write_str("it has no cue with text"),
            Self::BrokenCues(1) => f.write_str("its only cue is broken"),
            Self::BrokenCues(many) => write!(f, "all its {many} cues are broken"),
            Self::Names => f.write_str("its cues hold names alone, and no speech"),
        }
    }
}

/// A line or cue that cannot be read, or is not a packet that the meeting accepts.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(super) name: Arc<str>,
    pub(super) line: u64,
    pub(super) problem: Problem,
}

impl Broken {
    /// Whether the line's format is known, so that a user can correct the line.
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
