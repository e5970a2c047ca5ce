//! A recorded meeting: read once to check every line, and once more to play it.
//!
//! It is packets as JSON lines, or a transcript as WebVTT or SubRip, compressed with gzip or not, which its content tells.
//! It is read in layers, each of which keeps a piece of it only: [`input`] unpacks and decodes bytes, [`lines`] splits them,
//! [`format`] recognises what they are, [`packet`] and [`cue`] read them, and [`entries`] makes packets of either.
//! [`speakers`] learns in the first reading who speaks, for the second.
//!
//! A file is never held in memory. What cannot be read twice, such as a pipe, is: its lines are kept as they are checked.

mod cue;
mod encoding;
mod entries;
mod format;
mod input;
mod lines;
mod packet;
mod problem;
mod speakers;

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use teammy::{Publish, Timestamp};

pub(crate) use self::{encoding::Encoding, packet::Rules};
use self::{
    entries::Entries,
    input::{Failure, Input},
    lines::Lines,
    problem::Problem,
    speakers::Speakers,
};
use super::count;

/// How many broken lines are named; the rest are counted.
const NAMED: usize = 10;

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
    #[error("{0} is empty; a recording holds one packet a line")]
    Empty(Arc<str>),
    #[error("{name} holds no packet: {}", nothing(*.transcript, *.broken))]
    NoPacket { name: Arc<str>, transcript: bool, broken: u64 },
    #[error("{0} changed while it was played")]
    Changed(Arc<str>),
    #[error("cannot unpack {name}: it is compressed with gzip, and damaged or cut off; get it once more")]
    Damaged { name: Arc<str>, source: io::Error },
    #[error("{name} is {what}, and not text; export the meeting's transcript as .vtt and replay that")]
    NoText { name: Arc<str>, what: &'static str },
    #[error("{0} is not text; if it is UTF-16 without a byte order mark, say so: --encoding utf-16le")]
    Zeros(Arc<str>),
    #[error("{0} says of each packet when it happened; leave out --started-at, which is for transcripts")]
    Dated(Arc<str>),
}

impl Error {
    fn of(failure: Failure, name: &Arc<str>) -> Self {
        let name = name.clone();
        match failure {
            Failure::Read(source) => Self::Read { name, source },
            Failure::Damaged(source) => Self::Damaged { name, source },
            Failure::NoText(what) => Self::NoText { name, what },
            Failure::Zeros => Self::Zeros(name),
        }
    }
}

fn nothing(transcript: bool, broken: u64) -> String {
    match (transcript, broken) {
        (false, 0) => "all its lines are blank".to_owned(),
        (false, 1) => "its only line is broken".to_owned(),
        (false, many) => format!("all its {many} lines are broken"),
        (true, 0) => "it has no cue with text".to_owned(),
        (true, 1) => "its only cue is broken".to_owned(),
        (true, many) => format!("all its {many} cues are broken"),
    }
}

/// A line that is no packet.
#[derive(Debug)]
pub(crate) struct Broken {
    name: Arc<str>,
    line: u64,
    problem: Problem,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, line, problem } = self;
        match problem.column() {
            Some(column) => write!(f, "{name}, line {line}, column {column}: {problem}"),
            None => write!(f, "{name}, line {line}: {problem}"),
        }
    }
}

/// What to do about a line that is no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnBroken {
    Stop,
    Skip,
}

/// Broken lines that were skipped.
#[derive(Debug, Default)]
pub(crate) struct Skipped {
    named: Vec<Broken>,
    count: u64,
}

impl Skipped {
    /// How many.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// What to tell of them.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self.named.iter().map(|broken| format!("skipped {broken}")).collect();
        let more = self.count - u64::try_from(self.named.len()).unwrap_or(u64::MAX).min(self.count);
        if more > 0 {
            warnings.push(format!("… and {}", count(more, "more broken line", "more broken lines")));
        }
        warnings
    }

    fn add(&mut self, broken: Broken) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(broken);
        }
    }
}

/// How a recording is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// How many packets are played; nothing behind them is looked at.
    pub(crate) limit: Option<u64>,
    pub(crate) on_broken: OnBroken,
    /// How it is encoded, where no byte order mark says it; else UTF-8.
    pub(crate) encoding: Option<Encoding>,
    /// When the meeting began, of a transcript; else now.
    pub(crate) started_at: Option<Timestamp>,
}

/// A recording whose lines have been checked.
#[derive(Debug)]
pub(crate) struct Recording {
    name: Arc<str>,
    text: Text,
    rules: Rules,
    options: Options,
    entries: u64,
    started_at: Timestamp,
    speakers: Speakers,
    skipped: Skipped,
}

/// What is read a second time.
#[derive(Debug)]
enum Text {
    File(PathBuf),
    /// Lines, and how they were encoded.
    Held(Vec<u8>, &'static str),
}

impl Recording {
    /// Reads a file (`-` is standard input) and checks its lines, up to the one with the packet that the limit says.
    pub(crate) fn check(path: &Path, rules: Rules, options: Options) -> Result<Self, Error> {
        if is_stdin(path) {
            let stdin = BufReader::new(io::stdin());
            return Self::read("standard input".into(), stdin, None, rules, options);
        }
        let name: Arc<str> = path.display().to_string().into();
        let file = open(path, &name)?;
        let metadata = file.metadata().map_err(|source| Error::Read { name: name.clone(), source })?;
        if metadata.is_dir() {
            return Err(Error::Directory(path.to_owned()));
        }
        let again = metadata.is_file().then(|| path.to_owned());
        Self::read(name, BufReader::new(file), again, rules, options)
    }

    /// Checks what a reader gives. Without a path to read it from `again`, it is kept.
    fn read(
        name: Arc<str>,
        reader: impl BufRead + Send,
        again: Option<PathBuf>,
        rules: Rules,
        options: Options,
    ) -> Result<Self, Error> {
        // Both readings count a transcript's times from the same moment.
        let now = options.started_at.unwrap_or_else(Timestamp::now);
        let input = Input::new(reader, options.encoding).map_err(|failure| Error::of(failure, &name))?;
        let lines = Lines::new(input.text, rules.longest_line());
        let lines = if again.is_none() { lines.holding() } else { lines };
        let mut entries = Entries::new(lines, input.encoding, rules.clone(), now);
        let mut skipped = Skipped::default();
        let mut speakers = Speakers::default();
        let mut first = None;
        let mut taken = 0;
        while options.limit.is_none_or(|limit| taken < limit) {
            let next = entries.next().map_err(|error| Failure::of(error, input.compressed));
            match next.map_err(|failure| Error::of(failure, &name))? {
                None => break,
                Some(Ok(entry)) => {
                    taken += 1;
                    first = first.or(entry.timestamp());
                    entry.introduce(&mut speakers);
                }
                Some(Err((line, problem))) => {
                    let broken = Broken { name: name.clone(), line, problem };
                    match options.on_broken {
                        OnBroken::Stop => return Err(Error::Broken(broken)),
                        OnBroken::Skip => skipped.add(broken),
                    }
                }
            }
        }
        let transcript = entries.is_transcript();
        let started_at = match first {
            Some(_) if transcript => now,
            Some(_) if options.started_at.is_some() => return Err(Error::Dated(name)),
            Some(first) => first,
            None if entries.lines() == 0 => return Err(Error::Empty(name)),
            None => return Err(Error::NoPacket { name, transcript, broken: skipped.count }),
        };
        let text = match again {
            Some(path) => Text::File(path),
            None => Text::Held(entries.into_held(), input.encoding),
        };
        Ok(Self { name, text, rules, options, entries: taken, started_at, speakers, skipped })
    }

    /// How many packets it plays at most; fewer where somebody is named who says nothing.
    pub(crate) fn len(&self) -> u64 {
        self.entries
    }

    /// What messages call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// When the meeting began: with its first packet, or when its transcript's times count from.
    pub(crate) fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// The lines that are left out.
    pub(crate) fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// Reads it once more, to play it: each packet and its line's number. It ends with the first error.
    pub(crate) fn play(&self) -> Result<impl Iterator<Item = Result<(Publish, u64), Error>>, Error> {
        let (text, encoding, compressed): (Box<dyn BufRead + Send + '_>, _, _) = match &self.text {
            Text::File(path) => {
                let file = BufReader::new(open(path, &self.name)?);
                let input = Input::new(file, self.options.encoding);
                let input = input.map_err(|failure| Error::of(failure, &self.name))?;
                (input.text, input.encoding, input.compressed)
            }
            Text::Held(lines, encoding) => (Box::new(&lines[..]), encoding, false),
        };
        let lines = Lines::new(text, self.rules.longest_line());
        let mut entries = Entries::new(lines, encoding, self.rules.clone(), self.started_at);
        let mut left = self.entries;
        Ok(std::iter::from_fn(move || {
            while left > 0 {
                let entry = match entries.next() {
                    Ok(Some(Ok(entry))) => entry,
                    Ok(Some(Err(_))) if self.options.on_broken == OnBroken::Skip => continue,
                    Ok(Some(Err(_)) | None) => {
                        left = 0;
                        return Some(Err(Error::Changed(self.name.clone())));
                    }
                    Err(error) => {
                        left = 0;
                        return Some(Err(Error::of(Failure::of(error, compressed), &self.name)));
                    }
                };
                left -= 1;
                let line = entry.line;
                if let Some(publish) = entry.publish(&self.speakers) {
                    return Some(Ok((publish, line)));
                }
            }
            None
        }))
    }
}

/// Reads a time that an option gives.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, &'static str> {
    text.parse().map_err(|_| "write a time as in RFC 3339, with its offset, such as 2026-01-05T09:00:00Z")
}

/// Whether a path stands for standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn open(path: &Path, name: &Arc<str>) -> Result<File, Error> {
    File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing(path.to_owned()),
        _ => Error::Read { name: name.clone(), source },
    })
}

#[cfg(test)]
mod tests;
