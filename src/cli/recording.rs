//! A recorded meeting: read once to check every line, and once more to play it.
//!
//! A file is never held in memory. What cannot be read twice, such as a pipe, is: its lines are kept as they are checked.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor},
    path::{Path, PathBuf},
    sync::Arc,
};

use teammy::{Publish, Timestamp};

use super::{
    count,
    lines::{Lines, Problem, Read1, Rules},
};

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
    #[error("{name} holds no packet: {}", nothing(*.broken))]
    NoPacket { name: Arc<str>, broken: u64 },
    #[error("{0} changed while it was played")]
    Changed(Arc<str>),
}

fn nothing(broken: u64) -> String {
    match broken {
        0 => "all its lines are blank".to_owned(),
        1 => "its only line is broken".to_owned(),
        many => format!("all its {many} lines are broken"),
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

/// A recording whose lines have been checked.
#[derive(Debug)]
pub(crate) struct Recording {
    name: Arc<str>,
    text: Text,
    rules: Rules,
    on_broken: OnBroken,
    packets: u64,
    first: Timestamp,
    skipped: Skipped,
}

#[derive(Debug)]
enum Text {
    File(PathBuf),
    Held(Vec<u8>),
}

impl Recording {
    /// Reads a file (`-` is standard input) and checks its lines, up to the one with the packet that `limit` says.
    pub(crate) fn check(
        path: &Path,
        rules: Rules,
        limit: Option<u64>,
        on_broken: OnBroken,
    ) -> Result<Self, Error> {
        if is_stdin(path) {
            return Self::read("standard input".into(), io::stdin().lock(), None, rules, limit, on_broken);
        }
        let name: Arc<str> = path.display().to_string().into();
        let file = open(path, &name)?;
        let metadata = file.metadata().map_err(|source| Error::Read { name: name.clone(), source })?;
        if metadata.is_dir() {
            return Err(Error::Directory(path.to_owned()));
        }
        let again = metadata.is_file().then(|| path.to_owned());
        Self::read(name, BufReader::new(file), again, rules, limit, on_broken)
    }

    /// Checks what a reader gives. Without a path to read it from `again`, it is kept.
    fn read(
        name: Arc<str>,
        reader: impl BufRead,
        again: Option<PathBuf>,
        rules: Rules,
        limit: Option<u64>,
        on_broken: OnBroken,
    ) -> Result<Self, Error> {
        let mut packets = Packets::new(name.clone(), reader, rules.clone());
        let mut held = again.is_none().then(Vec::new);
        let mut skipped = Skipped::default();
        let mut first = None;
        let mut taken = 0;
        while limit.is_none_or(|limit| taken < limit) {
            match packets.next_line()? {
                None => break,
                Some(Ok(publish)) => {
                    taken += 1;
                    first = first.or(publish.timestamp);
                    if let Some(held) = &mut held {
                        held.extend_from_slice(&packets.line);
                        held.push(b'\n');
                    }
                }
                Some(Err(broken)) if on_broken == OnBroken::Stop => return Err(Error::Broken(broken)),
                Some(Err(broken)) => skipped.add(broken),
            }
        }
        let Some(first) = first else {
            return Err(match packets.lines.number() {
                0 => Error::Empty(name),
                _ => Error::NoPacket { name, broken: skipped.count },
            });
        };
        let text = match (again, held) {
            (Some(path), _) => Text::File(path),
            (None, held) => Text::Held(held.unwrap_or_default()),
        };
        Ok(Self { name, text, rules, on_broken, packets: taken, first, skipped })
    }

    /// How many packets it plays.
    pub(crate) fn len(&self) -> u64 {
        self.packets
    }

    /// What messages call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The first packet's time.
    pub(crate) fn first(&self) -> Timestamp {
        self.first
    }

    /// The lines that are left out.
    pub(crate) fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// Reads it once more, to play it: each packet and its line's number. It ends with the first error.
    pub(crate) fn play(&self) -> Result<impl Iterator<Item = Result<(Publish, u64), Error>>, Error> {
        let reader: Box<dyn BufRead + Send + '_> = match &self.text {
            Text::File(path) => Box::new(BufReader::new(open(path, &self.name)?)),
            Text::Held(text) => Box::new(Cursor::new(text)),
        };
        let mut packets = Packets::new(self.name.clone(), reader, self.rules.clone());
        let mut left = self.packets;
        Ok(std::iter::from_fn(move || {
            while left > 0 {
                let next = match packets.next_line() {
                    Ok(Some(Ok(publish))) => Ok((publish, packets.lines.number())),
                    Ok(Some(Err(_))) if self.on_broken == OnBroken::Skip => continue,
                    Ok(Some(Err(_)) | None) => Err(Error::Changed(self.name.clone())),
                    Err(error) => Err(error),
                };
                left = if next.is_ok() { left - 1 } else { 0 };
                return Some(next);
            }
            None
        }))
    }
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

/// Packets as they stand in a text.
struct Packets<R> {
    name: Arc<str>,
    lines: Lines<R>,
    rules: Rules,
    /// The line of the packet that was read last.
    line: Vec<u8>,
}

impl<R: BufRead> Packets<R> {
    fn new(name: Arc<str>, reader: R, rules: Rules) -> Self {
        Self { name, lines: Lines::new(reader, rules.longest_line()), rules, line: Vec::new() }
    }

    /// The next packet, or the next line that is none; blank lines are passed over.
    fn next_line(&mut self) -> Result<Option<Result<Publish, Broken>>, Error> {
        loop {
            let line = self.lines.next().map_err(|source| Error::Read { name: self.name.clone(), source })?;
            let read = match line {
                None => return Ok(None),
                Some(Read1::TooLong) => Err(Problem::TooLong(self.rules.packet_bytes)),
                Some(Read1::Line(line)) => {
                    self.line.clear();
                    self.line.extend_from_slice(line);
                    self.rules.packet(line)
                }
            };
            let line = self.lines.number();
            match read {
                Ok(None) => {}
                Ok(Some(publish)) => return Ok(Some(Ok(publish))),
                Err(problem) => return Ok(Some(Err(Broken { name: self.name.clone(), line, problem }))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use teammy::{Node, config::Config};

    use super::*;

    fn rules() -> Rules {
        let config = Config::from_toml("[limits]\npacket_bytes = 64").unwrap();
        let packet_bytes = config.limits.packet_bytes;
        Rules { graph: Node::builder(config).check().unwrap(), packet_bytes }
    }

    fn recording(text: &str, limit: Option<u64>, on_broken: OnBroken) -> Result<Recording, Error> {
        Recording::read("x".into(), text.as_bytes(), None, rules(), limit, on_broken)
    }

    fn line(n: usize) -> String {
        format!("{{\"source\":\"chat\",\"timestamp\":\"2026-01-05T09:00:0{n}Z\",\"data\":{n}}}\n")
    }

    fn played(recording: &Recording) -> Vec<String> {
        recording.play().unwrap().map(|packet| packet.unwrap().0.timestamp.unwrap().to_string()).collect()
    }

    #[test]
    fn a_recording_is_checked_and_played() {
        let text = format!("{}\n{}{}", line(3), line(1), line(2));
        let all = recording(&text, None, OnBroken::Stop).unwrap();
        assert_eq!((all.len(), all.first().to_string().as_str()), (3, "2026-01-05T09:00:03Z"));
        assert_eq!(played(&all), ["2026-01-05T09:00:03Z", "2026-01-05T09:00:01Z", "2026-01-05T09:00:02Z"]);
        let two = recording(&format!("{text}broken"), Some(2), OnBroken::Stop).unwrap();
        assert_eq!(played(&two).len(), 2);
    }

    #[test]
    fn broken_lines_stop_it_or_are_skipped() {
        let text = format!("{}oops\n{}{}\n", line(1), "x".repeat(1 << 20), line(2)) + &line(3);
        let error = recording(&text, None, OnBroken::Stop).unwrap_err().to_string();
        assert!(error.starts_with("x, line 2, column 1: expected one packet as JSON"), "{error}");
        let some = recording(&text, None, OnBroken::Skip).unwrap();
        assert_eq!((some.len(), some.skipped().count()), (2, 2));
        assert!(some.skipped().warnings()[1].starts_with("skipped x, line 3: the line is longer"));
        assert_eq!(played(&some), ["2026-01-05T09:00:01Z", "2026-01-05T09:00:03Z"]);
    }

    #[test]
    fn only_some_broken_lines_are_named() {
        let some = recording(&("x\n".repeat(25) + &line(1)), None, OnBroken::Skip).unwrap();
        let warnings = some.skipped().warnings();
        assert_eq!((some.skipped().count(), warnings.len()), (25, 11));
        assert_eq!(warnings[10], "… and 15 more broken lines");
    }

    #[test]
    fn nothing_to_play_is_an_error() {
        for (text, on_broken, says) in [
            ("", OnBroken::Stop, "x is empty"),
            ("\n \n", OnBroken::Stop, "all its lines are blank"),
            ("a", OnBroken::Skip, "its only line is broken"),
            ("a\nb\n", OnBroken::Skip, "all its 2 lines are broken"),
        ] {
            let error = recording(text, None, on_broken).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_file_that_changes_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("meeting.jsonl");
        std::fs::write(&path, line(1) + &line(2)).unwrap();
        let recording = Recording::check(&path, rules(), None, OnBroken::Stop).unwrap();
        std::fs::write(&path, line(1)).unwrap();
        let last = recording.play().unwrap().last();
        assert!(matches!(last, Some(Err(Error::Changed(_)))), "{last:?}");
    }
}
