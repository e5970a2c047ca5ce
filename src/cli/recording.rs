//! A recorded meeting, read in two passes: the first checks every line, the second plays the packets.
//!
//! A recording is packets as JSON lines, a transcript as WebVTT or SubRip, or sound as WAV, plain or compressed
//! with gzip; its content tells which. It is read in layers, each of which holds only a piece of it: [`input`] unpacks
//! and decodes bytes, [`lines`] splits them, [`mod@format`] recognises the format, [`packet`] and [`cue`]
//! read it, and [`entries`] makes an [`entry`] of each packet or cue. The first pass also collects what
//! depends on the whole recording: [`speakers`] who speaks, [`clock`] what times mean, [`pasted`] whether it
//! is a transcript at all. Of what is no text, [`sound`] reads frames.
//!
//! A file is never held in memory. The lines of a pipe, which cannot be read twice, are: unpacked and as
//! UTF-8.
//!
//! A limit changes how many packets are played, and not who speaks or when: the first pass reads the rest of
//! a file for that alone. It does not read the rest of a pipe, which may take long to arrive, so that there
//! the names and times depend on what is read up to the limit.

mod clock;
mod cue;
mod encoding;
mod entries;
mod entry;
mod error;
mod format;
mod gzip;
mod input;
mod lines;
mod packet;
mod pasted;
mod problem;
mod skipped;
mod sound;
mod speakers;

use std::{
    collections::VecDeque,
    fmt,
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::fmt::temporal::Pieces;
use teammy::{Payload, Publish, Timestamp};

use super::text::count;

pub(crate) use self::{
    encoding::Encoding,
    error::Error,
    packet::Rules,
    skipped::{SkipCounts, Skipped},
};
use self::{
    entries::Entries,
    entry::{FirstPass, Interpretation},
    error::{Broken, Nothing},
    input::{Compression, InputError, Unpacked},
    lines::Lines,
    problem::Problem,
    sound::{Frames, Keeping, Spec, Voices, is_wave},
    speakers::LastSpeaker,
};

/// What to do about a broken line or cue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnBroken {
    Stop,
    Skip,
}

/// Where in a recording a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Line(u64),
    /// A frame of sound, from 1.
    Frame(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Frame(number) => write!(f, "frame {number}"),
        }
    }
}

/// A packet that is played.
type Played = Result<(Publish, Place), Error>;

/// How a recording is read.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// How many packets are played; the lines after them are not checked.
    pub(crate) limit: Option<u64>,
    pub(crate) on_broken: OnBroken,
    /// The encoding of a recording without a byte order mark; else UTF-8.
    pub(crate) encoding: Option<Encoding>,
    /// When the meeting of a transcript or of sound began; else now.
    pub(crate) started_at: Option<Timestamp>,
    /// Whose sound the channels are.
    pub(crate) participants: Vec<Arc<str>>,
}

/// A recording whose lines have been checked.
#[derive(Debug)]
pub(crate) struct Recording {
    name: Arc<str>,
    second_pass: SecondPass,
    content: Content,
    rules: Rules,
    options: Options,
    /// How many packets the content becomes at most.
    packets: u64,
    started_at: Timestamp,
    skipped: Skipped,
    /// How many packets were left out because a replay makes them anew: outputs and lifecycle packets.
    derived: u64,
}

/// What the second pass reads.
#[derive(Debug)]
enum Content {
    Text {
        /// How many entries there are.
        entries: u64,
        is_transcript: bool,
        interpretation: Interpretation,
    },
    Sound {
        /// How many frames there are.
        frames: u64,
        spec: Spec,
        voices: Voices,
    },
}

/// Where the second pass reads from.
#[derive(Debug)]
enum SecondPass {
    File(PathBuf),
    /// The lines or the sound that the first pass kept, and the original encoding of lines.
    Kept(Vec<u8>, &'static str),
}

impl Recording {
    /// Reads a file (`-` is standard input) and checks its lines, up to the last packet within the limit.
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

    /// Checks the lines of a reader. Without a path to read them from `again`, they are kept.
    pub(crate) fn read(
        name: Arc<str>,
        reader: impl BufRead + Send,
        again: Option<PathBuf>,
        rules: Rules,
        options: Options,
    ) -> Result<Self, Error> {
        // Both passes count times from the same moment.
        let now = options.started_at.unwrap_or_else(Timestamp::now);
        let unpacked = Unpacked::new(reader).map_err(|error| Error::new(error, &name))?;
        if is_wave(&unpacked.head) {
            return Self::read_sound(name, unpacked, again, rules, options, now);
        }
        if !options.participants.is_empty() {
            return Err(Error::Named(name));
        }
        let input = unpacked.into_text(options.encoding).map_err(|error| Error::new(error, &name))?;
        let lines = Lines::new(input.text, rules.longest_line());
        let lines = if again.is_none() { lines.keeping() } else { lines };
        let mut entries = Entries::new(lines, input.encoding, rules.clone(), now);
        let mut skipped = Skipped::default();
        let mut first_pass = FirstPass::default();
        let mut first = None;
        let (mut taken, mut certain, mut packets) = (0, 0, 0);
        while options.limit.is_none_or(|limit| certain < limit) {
            let next = entries.next().map_err(|error| InputError::new(error, input.compression));
            match next.map_err(|error| Error::new(error, &name))? {
                None => break,
                Some(Ok(entry)) => {
                    taken += 1;
                    // A name alone becomes a packet or not depending on all names, so it does not count
                    // towards the limit.
                    certain += u64::from(entry.is_certain());
                    packets += entry.most_packets();
                    first = first.or(entry.timestamp());
                    entry.add_to(&mut first_pass);
                }
                Some(Err((line, problem))) => {
                    let broken = Broken { name: name.clone(), line, problem };
                    match options.on_broken {
                        OnBroken::Stop if !broken.is_recognised() && entries.continues_as_dialogue() => {
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
        skipped.words = entries.skipped_words();
        let started_at = match first {
            None if transcript && taken > 0 => now,
            Some(_) if options.started_at.is_some() => return Err(Error::Dated(name)),
            Some(first) => first,
            None if entries.lines() == 0 => return Err(Error::Empty(name)),
            None => {
                let broken = skipped.counts().skipped;
                let nothing = if transcript {
                    Nothing::of_cues(broken)
                } else {
                    Nothing::of_lines(broken, entries.derived())
                };
                return Err(Error::NoPacket { name, nothing, source: skipped.into_first() });
            }
        };
        if transcript && again.is_some() {
            entries.add_rest_to(&mut first_pass);
        }
        entries.add_layout_to(&mut first_pass);
        if first_pass.is_pasted() {
            return Err(Error::Pasted(name));
        }
        let derived = entries.derived();
        let second_pass = match again {
            Some(path) => SecondPass::File(path),
            None => SecondPass::Kept(entries.into_kept(), input.encoding),
        };
        let recording = Self {
            name,
            second_pass,
            content: Content::Text {
                entries: taken,
                is_transcript: transcript,
                interpretation: first_pass.finish(),
            },
            rules,
            options,
            packets,
            started_at,
            skipped,
            derived,
        };
        if certain == 0 && recording.play()?.next().transpose()?.is_none() {
            let Self { name, skipped, .. } = recording;
            return Err(Error::NoPacket { name, nothing: Nothing::Names, source: skipped.into_first() });
        }
        Ok(recording)
    }

    /// Checks the frames of a WAV file.
    fn read_sound(
        name: Arc<str>,
        unpacked: Unpacked<'_>,
        again: Option<PathBuf>,
        rules: Rules,
        options: Options,
        started_at: Timestamp,
    ) -> Result<Self, Error> {
        if options.encoding.is_some() {
            return Err(Error::Encoded(name));
        }
        let compression = unpacked.compression;
        let failed = |error| Error::frame(error, compression, &name);
        let mut bytes = Vec::new();
        let kept = again.is_none().then_some(&mut bytes);
        let mut frames = Frames::new(Keeping { reader: unpacked.reader, kept }).map_err(failed)?;
        let voices = Voices::new(&options.participants, frames.spec().channels)
            .map_err(|problem| failed(problem.into()))?;
        let mut count = 0;
        while options.limit.is_none_or(|limit| count * voices.count() < limit)
            && let Some(samples) = frames.next().map_err(failed)?
        {
            let packets = voices.packets(count, &samples, frames.spec(), started_at);
            count += 1;
            for packet in packets.map_err(|problem| failed(problem.into()))? {
                let checked = rules.check(&packet);
                checked.map_err(|problem| Error::Frame { name: name.clone(), frame: count, problem })?;
            }
        }
        let spec = frames.spec();
        drop(frames);
        let second_pass = match again {
            Some(path) => SecondPass::File(path),
            None => SecondPass::Kept(bytes, ""),
        };
        Ok(Self {
            name,
            second_pass,
            packets: count * voices.count(),
            content: Content::Sound { frames: count, spec, voices },
            rules,
            options,
            started_at,
            skipped: Skipped::default(),
            derived: 0,
        })
    }

    /// How many packets it plays at most. It plays fewer where a cue holds a name alone, or where a line does
    /// not begin a turn after all.
    pub(crate) fn len(&self) -> u64 {
        self.options.limit.map_or(self.packets, |limit| limit.min(self.packets))
    }

    /// The recording's name in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// When the meeting began: the time of its first packet, or the moment that times count from.
    pub(crate) fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Whether its times count from the meeting's start, because it says no date.
    pub(crate) fn counts_from_start(&self) -> bool {
        matches!(self.content, Content::Sound { .. } | Content::Text { is_transcript: true, .. })
    }

    /// Whether it is sound.
    pub(crate) fn is_sound(&self) -> bool {
        matches!(self.content, Content::Sound { .. })
    }

    /// The lines or cues that are skipped.
    pub(crate) fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// What to tell people about packets that are left out because a replay makes them anew.
    pub(crate) fn note(&self) -> Option<String> {
        let packets = count(self.derived, "packet", "packets");
        let note = || format!("left out {packets} that plugins had put out; a replay makes them anew");
        (self.derived > 0).then(note)
    }

    /// The producer id of this recording: a digest of its packets, which does not depend on where they are
    /// read from. It leaves out timestamps that depend on when the meeting began.
    pub(crate) fn producer(&self) -> Result<String, Error> {
        let mut digest = blake3::Hasher::new();
        for packet in self.play()? {
            let (packet, _) = packet?;
            let at = packet.timestamp.filter(|_| !self.counts_from_start()).map(|at| at.to_string());
            let payload = match &packet.payload {
                Payload::Bytes(bytes) => bytes.as_ref(),
                other => other.as_text().unwrap_or_default().as_bytes(),
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

    /// Plays it: reads it again, and returns each packet with its place. Ends with the first error.
    pub(crate) fn play(&self) -> Result<Box<dyn Iterator<Item = Played> + '_>, Error> {
        self.play_from(self.started_at)
    }

    /// As [`play`](Self::play), but with times counted from another moment.
    pub(crate) fn play_from(&self, start: Timestamp) -> Result<Box<dyn Iterator<Item = Played> + '_>, Error> {
        match &self.content {
            Content::Text { entries, is_transcript, interpretation } => {
                Ok(Box::new(self.play_text(start, *entries, *is_transcript, interpretation)?))
            }
            Content::Sound { frames, spec, voices } => {
                Ok(Box::new(self.play_sound(start, *frames, *spec, voices)?))
            }
        }
    }

    /// Reads a file again, unpacked.
    fn unpacked_again(&self, path: &Path) -> Result<Unpacked<'_>, Error> {
        let file = BufReader::new(open(path, &self.name)?);
        Unpacked::new(file).map_err(|error| Error::new(error, &self.name))
    }

    fn play_sound<'a>(
        &'a self,
        start: Timestamp,
        mut left: u64,
        spec: Spec,
        voices: &'a Voices,
    ) -> Result<impl Iterator<Item = Played> + 'a, Error> {
        let (reader, compression): (Box<dyn BufRead + Send + '_>, _) = match &self.second_pass {
            SecondPass::File(path) => {
                let unpacked = self.unpacked_again(path)?;
                (unpacked.reader, unpacked.compression)
            }
            SecondPass::Kept(sound, _) => (Box::new(&sound[..]), Compression::None),
        };
        let failed = move |error| Error::frame(error, compression, &self.name);
        let mut frames = Frames::new(reader).map_err(failed)?;
        if frames.spec() != spec {
            return Err(Error::Changed(self.name.clone()));
        }
        let (mut index, mut wanted) = (0, self.len());
        let mut ready = VecDeque::new();
        Ok(std::iter::from_fn(move || {
            if wanted == 0 {
                return None;
            }
            if ready.is_empty() && left > 0 {
                left -= 1;
                let packets = match frames.next() {
                    Ok(Some(samples)) => {
                        voices.packets(index, &samples, spec, start).map_err(|problem| failed(problem.into()))
                    }
                    Ok(None) => Err(Error::Changed(self.name.clone())),
                    Err(error) => Err(failed(error)),
                };
                index += 1;
                match packets {
                    Ok(packets) => ready.extend(packets),
                    Err(error) => {
                        wanted = 0;
                        return Some(Err(error));
                    }
                }
            }
            wanted -= 1;
            ready.pop_front().map(|packet| Ok((packet, Place::Frame(index))))
        }))
    }

    fn play_text<'a>(
        &'a self,
        start: Timestamp,
        mut left: u64,
        is_transcript: bool,
        interpretation: &'a Interpretation,
    ) -> Result<impl Iterator<Item = Played> + 'a, Error> {
        let (text, encoding, compression): (Box<dyn BufRead + Send + '_>, _, _) = match &self.second_pass {
            SecondPass::File(path) => {
                let input = self.unpacked_again(path)?.into_text(self.options.encoding);
                let input = input.map_err(|error| Error::new(error, &self.name))?;
                (input.text, input.encoding, input.compression)
            }
            SecondPass::Kept(lines, encoding) => (Box::new(&lines[..]), encoding, Compression::None),
        };
        let lines = Lines::new(text, self.rules.longest_line());
        let mut entries = Entries::new(lines, encoding, self.rules.clone(), start);
        // `left` counts entries, some of which may not become packets; `wanted` counts packets.
        let mut wanted = self.len();
        let mut last = LastSpeaker::default();
        let mut ready: VecDeque<(Publish, Place)> = VecDeque::new();
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
                        return Some(Err(Error::new(InputError::new(error, compression), &self.name)));
                    }
                };
                left -= 1;
                let line = entry.line;
                let packets = entry.into_packets(interpretation, &mut last, start).and_then(|packets| {
                    // Packets as JSON lines are checked as they are read.
                    if is_transcript {
                        packets.iter().try_for_each(|packet| self.rules.check(packet))?;
                    }
                    Ok(packets)
                });
                match packets {
                    Ok(packets) => {
                        ready.extend(packets.into_iter().map(|publish| (publish, Place::Line(line))));
                    }
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
}

/// Reads the time of an option.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, &'static str> {
    text.parse().map_err(|_| match Pieces::parse(text) {
        Ok(pieces) if pieces.time().is_some() && pieces.offset().is_some() => {
            "the time is out of range: it must be from the year -9999 to 9999-12-30T22:00:00Z"
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
