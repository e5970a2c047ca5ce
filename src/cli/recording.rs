//! A recorded meeting: read once to check every line, and once more to play it.
//!
//! It is packets as JSON lines, or a transcript as WebVTT or SubRip, compressed with gzip or not, which its
//! content tells. It is read in layers, each of which keeps a piece of it only: [`input`] unpacks and decodes
//! bytes, [`lines`] splits them, [`format`] recognises what they are, [`packet`] and [`cue`] read them, and
//! [`entries`] makes packets of either. The first reading learns what only the whole tells, for the second:
//! [`speakers`] who speaks, [`clock`] what times mean, [`pasted`] whether it is a transcript at all.
//!
//! A file is never held in memory. What cannot be read twice, such as a pipe, is: its lines are kept as they
//! are checked, unpacked and as UTF-8.
//!
//! A limit changes how much is played, and not who speaks or when: behind it a file is read on for these
//! alone. A pipe isn't, whose rest may be long in coming, so that it is learnt from what is read of it.

mod clock;
mod cue;
mod encoding;
mod entries;
mod error;
mod format;
mod gzip;
mod input;
mod lines;
mod packet;
mod pasted;
mod problem;
mod speakers;

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::fmt::temporal::Pieces;
use serde::Serialize;
use teammy::{Payload, Publish, Timestamp};

pub(crate) use self::{encoding::Encoding, error::Error, packet::Rules};
use self::{
    entries::{Entries, Entry, Heard, Told},
    error::{Broken, Nothing},
    input::{Failure, Input, Packing},
    lines::Lines,
    problem::Problem,
    speakers::LastSpeaker,
};
use super::text::count;

/// How many broken lines are named; the rest are counted.
const NAMED: usize = 10;

/// What to do about a line that is no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnBroken {
    Stop,
    Skip,
}

/// What was broken, and left out.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct LeftOut {
    /// Lines, or a transcript's cues.
    pub(crate) skipped: u64,
    /// A transcript's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) skipped_words: Option<u64>,
}

/// Broken lines, or cues of a transcript, that were skipped.
#[derive(Debug, Default)]
pub(crate) struct Skipped {
    named: Vec<Broken>,
    count: u64,
    is_transcript: bool,
    /// How many words skipped cues have, so far as they can be read.
    words: u64,
}

impl Skipped {
    /// How many lines or cues, and words of the latter.
    pub(crate) fn left_out(&self) -> LeftOut {
        LeftOut { skipped: self.count, skipped_words: self.is_transcript.then_some(self.words) }
    }

    /// What to tell of them.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self.named.iter().map(|broken| format!("skipped {broken}")).collect();
        let more = self.count - u64::try_from(self.named.len()).unwrap_or(u64::MAX).min(self.count);
        let (one, many) = if self.is_transcript { ("cue", "cues") } else { ("line", "lines") };
        if more > 0 {
            warnings.push(format!("… and {more} more broken {}", if more == 1 { one } else { many }));
        }
        if self.count > 0 {
            let words = match (self.is_transcript, self.words) {
                (false, _) => String::new(),
                (true, words) => format!(" with {}", count(words, "word", "words")),
            };
            warnings.push(format!("left out {}{words}", count(self.count, one, many)));
        }
        warnings
    }

    fn into_first(self) -> Option<Broken> {
        self.named.into_iter().next()
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
    /// How many packets are played; what is behind them isn't checked.
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
    /// How many packets they are at most.
    packets: u64,
    started_at: Timestamp,
    is_transcript: bool,
    told: Told,
    skipped: Skipped,
    /// How many packets a meeting makes by itself.
    made: u64,
}

/// What is read a second time.
#[derive(Debug)]
enum Text {
    File(PathBuf),
    /// Lines, and how they were encoded.
    Held(Vec<u8>, &'static str),
}

impl Recording {
    /// Reads a file (`-` is standard input) and checks its lines, up to the one with the packet that the
    /// limit says.
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
    pub(crate) fn read(
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
        let mut heard = Heard::default();
        let mut first = None;
        let (mut taken, mut certain, mut packets) = (0, 0, 0);
        while options.limit.is_none_or(|limit| certain < limit) {
            let next = entries.next().map_err(|error| Failure::of(error, input.packing));
            match next.map_err(|failure| Error::of(failure, &name))? {
                None => break,
                Some(Ok(entry)) => {
                    taken += 1;
                    // What may be a name alone isn't known to be played before all names are, so it doesn't
                    // use up the limit.
                    certain += u64::from(entry.is_certain());
                    packets += entry.most();
                    first = first.or(entry.timestamp());
                    entry.introduce(&mut heard);
                }
                Some(Err((line, problem))) => {
                    let broken = Broken { name: name.clone(), line, problem };
                    match options.on_broken {
                        OnBroken::Stop if !broken.is_recognised() && entries.go_on_as_talk() => {
                            return Err(Error::Broken(Broken { problem: Problem::Pasted, ..broken }));
                        }
                        OnBroken::Stop => return Err(Error::Broken(broken)),
                        OnBroken::Skip => skipped.add(broken),
                    }
                }
            }
        }
        let transcript = entries.is_transcript();
        skipped.is_transcript = transcript;
        skipped.words = entries.words_left_out();
        let started_at = match first {
            None if transcript && taken > 0 => now,
            Some(_) if options.started_at.is_some() => return Err(Error::Dated(name)),
            Some(first) => first,
            None if entries.lines() == 0 => return Err(Error::Empty(name)),
            None => {
                let broken = skipped.count;
                let nothing = if transcript {
                    Nothing::of_cues(broken)
                } else {
                    Nothing::of_lines(broken, entries.made())
                };
                return Err(Error::NoPacket { name, nothing, source: skipped.into_first() });
            }
        };
        if transcript && again.is_some() {
            entries.introduce_rest(&mut heard);
        }
        entries.introduce_shape(&mut heard);
        if heard.is_pasted() {
            return Err(Error::Pasted(name));
        }
        let made = entries.made();
        let text = match again {
            Some(path) => Text::File(path),
            None => Text::Held(entries.into_held(), input.encoding),
        };
        let recording = Self {
            name,
            text,
            rules,
            options,
            entries: taken,
            packets,
            started_at,
            is_transcript: transcript,
            told: heard.told(),
            skipped,
            made,
        };
        if certain == 0 && recording.play()?.next().transpose()?.is_none() {
            let Self { name, skipped, .. } = recording;
            return Err(Error::NoPacket { name, nothing: Nothing::Names, source: skipped.into_first() });
        }
        Ok(recording)
    }

    /// How many packets it plays at most; fewer where somebody is named who says nothing, or where what looks
    /// like a name isn't one.
    pub(crate) fn len(&self) -> u64 {
        self.options.limit.map_or(self.packets, |limit| limit.min(self.packets))
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

    /// What to tell of packets that are left out because a meeting makes them by itself.
    pub(crate) fn note(&self) -> Option<String> {
        let packets = count(self.made, "packet", "packets");
        let note = || format!("left out {packets} that plugins had put out; a replay makes them anew");
        (self.made > 0).then(note)
    }

    /// What a meeting calls whoever plays this: the same for the same packets, wherever they are read from. A
    /// transcript's packets are the same whenever it is taken to begin.
    pub(crate) fn producer(&self) -> Result<String, Error> {
        let mut digest = blake3::Hasher::new();
        for packet in self.play()? {
            let (packet, _) = packet?;
            let at = packet.timestamp.filter(|_| !self.is_transcript).map(|at| at.to_string());
            let payload = match &packet.payload {
                Payload::Bytes(bytes) => bytes.as_ref(),
                Payload::Text(text) | Payload::Json(text) => text.as_bytes(),
            };
            let participant = packet.participant.as_deref().unwrap_or_default();
            let parts = [packet.source.as_str(), participant, at.as_deref().unwrap_or_default()];
            // JSON adds no part: recordings of old, in which all payloads are JSON, keep their producers.
            let form = match &packet.payload {
                Payload::Json(_) => None,
                other => Some(other.form().as_bytes()),
            };
            for part in parts.map(str::as_bytes).into_iter().chain([payload]).chain(form) {
                digest.update(&(part.len() as u64).to_le_bytes());
                digest.update(part);
            }
        }
        Ok(format!("replay:{}", &digest.finalize().to_hex()[..32]))
    }

    /// Reads it once more, to play it: each packet and its line's number. It ends with the first error.
    pub(crate) fn play(&self) -> Result<impl Iterator<Item = Result<(Publish, u64), Error>>, Error> {
        self.play_from(self.started_at)
    }

    /// As [`play`](Self::play), with a transcript's times counted from another moment.
    pub(crate) fn play_from(
        &self,
        start: Timestamp,
    ) -> Result<impl Iterator<Item = Result<(Publish, u64), Error>>, Error> {
        let (text, encoding, packing): (Box<dyn BufRead + Send + '_>, _, _) = match &self.text {
            Text::File(path) => {
                let file = BufReader::new(open(path, &self.name)?);
                let input = Input::new(file, self.options.encoding);
                let input = input.map_err(|failure| Error::of(failure, &self.name))?;
                (input.text, input.encoding, input.packing)
            }
            Text::Held(lines, encoding) => (Box::new(&lines[..]), encoding, Packing::Plain),
        };
        let lines = Lines::new(text, self.rules.longest_line());
        let mut entries = Entries::new(lines, encoding, self.rules.clone(), start);
        // Entries that were checked, of which some may be no packets, and packets.
        let (mut left, mut wanted) = (self.entries, self.len());
        let mut last = LastSpeaker::default();
        let mut ready: VecDeque<(Publish, u64)> = VecDeque::new();
        Ok(std::iter::from_fn(move || {
            while wanted > 0 {
                if let Some(packet) = ready.pop_front() {
                    wanted -= 1;
                    return Some(Ok(packet));
                }
                if left == 0 {
                    break;
                }
                let entry = match entries.next() {
                    Ok(Some(Ok(entry))) => entry,
                    Ok(Some(Err(_))) if self.options.on_broken == OnBroken::Skip => continue,
                    Ok(Some(Err(_)) | None) => {
                        wanted = 0;
                        return Some(Err(Error::Changed(self.name.clone())));
                    }
                    Err(error) => {
                        wanted = 0;
                        return Some(Err(Error::of(Failure::of(error, packing), &self.name)));
                    }
                };
                left -= 1;
                let line = entry.line;
                match self.packets(entry, &mut last, start) {
                    Ok(packets) => ready.extend(packets.into_iter().map(|publish| (publish, line))),
                    Err(_) if self.options.on_broken == OnBroken::Skip => {}
                    Err(problem) => {
                        wanted = 0;
                        return Some(Err(Error::Broken(Broken { name: self.name.clone(), line, problem })));
                    }
                }
            }
            None
        }))
    }

    /// The packets of an entry, which a meeting will take.
    fn packets(
        &self,
        entry: Entry,
        last: &mut LastSpeaker,
        start: Timestamp,
    ) -> Result<Vec<Publish>, Problem> {
        let packets = entry.packets(&self.told, last, start)?;
        if self.is_transcript {
            packets.iter().try_for_each(|packet| self.rules.check(packet))?;
        }
        Ok(packets)
    }
}

/// Reads a time that an option gives.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, &'static str> {
    text.parse().map_err(|_| match Pieces::parse(text) {
        Ok(pieces) if pieces.time().is_some() && pieces.offset().is_some() => {
            "it is out of range, which goes from the year -9999 to 9999-12-30T22:00:00Z"
        }
        _ => "write a time as in RFC 3339, with its offset, such as 2026-01-05T09:00:00Z",
    })
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
