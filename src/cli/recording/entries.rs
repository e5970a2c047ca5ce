//! The packets of a recording in their order, whatever its format is.

use std::{collections::VecDeque, io, time::Duration};

use teammy::{Publish, Timestamp, data::Transcription};

use super::{
    cue::{self, Cues, Span, Times},
    format::Format,
    lines::{Line, Lines},
    packet::Rules,
    problem::Problem,
    speakers::{self, Speakers},
};

/// What becomes a packet.
#[derive(Debug)]
pub(super) struct Entry {
    /// The line that messages name.
    pub(super) line: u64,
    publish: Publish,
    /// What is said, if nobody is named who says it: it may begin with a name.
    unnamed: Option<Unnamed>,
}

#[derive(Debug)]
struct Unnamed {
    text: String,
    first_line: usize,
    start_ms: u64,
    end_ms: u64,
}

impl Entry {
    /// Adds what this one tells of who speaks.
    pub(super) fn introduce(&self, speakers: &mut Speakers) {
        match &self.unnamed {
            Some(unnamed) => speakers.hear(&unnamed.text[..unnamed.first_line]),
            None => speakers.hear_known(),
        }
    }

    /// Whether it is a packet whoever speaks: it isn't if it may be a name alone.
    pub(super) fn is_certain(&self) -> bool {
        self.unnamed.as_ref().is_none_or(|Unnamed { text, first_line, .. }| {
            *first_line < text.len() || !speakers::may_be_name_alone(text)
        })
    }

    /// When it happened.
    pub(super) fn timestamp(&self) -> Option<Timestamp> {
        self.publish.timestamp
    }

    /// The packet; `None` if there is nothing said but a name.
    pub(super) fn publish(self, speakers: &Speakers) -> Option<Publish> {
        let Self { mut publish, unnamed, .. } = self;
        if let Some(Unnamed { text, first_line, start_ms, end_ms }) = unnamed
            && let Some((name, length)) = speakers.name(&text[..first_line])
        {
            let said = text[length..].trim();
            if said.is_empty() {
                return None;
            }
            publish.payload = transcription(said, start_ms, end_ms).payload;
            publish.participant = Some(name.into());
        }
        Some(publish)
    }
}

fn transcription(text: &str, start_ms: u64, end_ms: u64) -> Publish {
    Publish::json("transcription", &Transcription::new(text, start_ms, end_ms))
        .expect("invariant: a transcription has a JSON form")
}

/// An entry, or a broken line and what is wrong with it.
pub(super) type Found = Result<Entry, (u64, Problem)>;

/// Reads entries.
pub(super) struct Entries<R> {
    lines: Lines<R>,
    encoding: &'static str,
    finder: Finder,
    ended: bool,
}

impl<R: io::BufRead> Entries<R> {
    /// Reads them out of lines that were encoded so. A transcript's times count from `started_at`.
    pub(super) fn new(lines: Lines<R>, encoding: &'static str, rules: Rules, started_at: Timestamp) -> Self {
        Self { lines, encoding, finder: Finder::new(rules, started_at), ended: false }
    }

    /// Whether it is known to be a transcript.
    pub(super) fn is_transcript(&self) -> bool {
        matches!(self.finder.reader, Reader::Cues(_))
    }

    /// How many lines have been read.
    pub(super) fn lines(&self) -> u64 {
        self.lines.number()
    }

    /// The lines, if they were held.
    pub(super) fn into_held(self) -> Vec<u8> {
        self.lines.into_held()
    }

    /// The next entry, or the next broken line.
    pub(super) fn next(&mut self) -> io::Result<Option<Found>> {
        let limit = self.finder.rules.packet_bytes;
        while self.finder.found.is_empty() && !self.ended {
            let number = self.lines.number() + 1;
            match self.lines.next()? {
                Some(Line::Text(text)) => self.finder.line(number, Ok(text)),
                Some(Line::NotText { column }) => {
                    self.finder.line(number, Err(Problem::NotText { encoding: self.encoding, column }));
                }
                Some(Line::TooLong) => self.finder.line(number, Err(Problem::TooLong(limit))),
                None => {
                    self.finder.end();
                    self.ended = true;
                }
            }
        }
        Ok(self.finder.found.pop_front())
    }

    /// Reads to the end for who speaks, and nothing else: what is broken is nobody's concern, and what cannot be read ends it.
    pub(super) fn introduce_rest(&mut self, speakers: &mut Speakers) {
        while let Ok(Some(found)) = self.next() {
            if let Ok(entry) = found {
                entry.introduce(speakers);
            }
        }
    }

    /// How many bytes it keeps.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        let kept = match &self.finder.reader {
            Reader::Undecided(first) => first.as_ref().map_or(0, |(_, line)| line.capacity()),
            Reader::Packets { .. } => 0,
            Reader::Cues(cues) => cues.footprint(),
        };
        self.lines.footprint() + kept + self.finder.found.capacity() * size_of::<Found>()
    }
}

/// Finds entries in lines that it is given.
struct Finder {
    rules: Rules,
    started_at: Timestamp,
    reader: Reader,
    found: VecDeque<Found>,
}

/// What the lines are read as.
enum Reader {
    /// It isn't known yet. The first line that isn't blank is kept if it didn't tell.
    Undecided(Option<(u64, String)>),
    Packets {
        /// The line by which no format was recognised.
        unknown: Option<u64>,
    },
    Cues(Cues),
}

impl Finder {
    fn new(rules: Rules, started_at: Timestamp) -> Self {
        Self { rules, started_at, reader: Reader::Undecided(None), found: VecDeque::new() }
    }

    /// Takes the next line.
    fn line(&mut self, number: u64, line: Result<&str, Problem>) {
        let Reader::Undecided(first) = &mut self.reader else { return self.read(number, line) };
        match (first.take(), &line) {
            (None, Ok(text)) if text.trim().is_empty() => {}
            (None, Ok(text)) => match Format::by_first(text) {
                None => *first = Some((number, (*text).to_owned())),
                Some(format) => {
                    self.decide(format, number);
                    if format != Format::WebVtt {
                        self.read(number, line);
                    }
                }
            },
            (None, Err(_)) => {
                self.decide(Format::Unknown, number);
                self.read(number, line);
            }
            (Some((at, first)), second) => {
                let format =
                    second.as_ref().map_or(Format::Unknown, |second| Format::by_second(&first, second));
                self.decide(format, at);
                self.read(at, Ok(&first));
                self.read(number, line);
            }
        }
    }

    /// There are no more lines.
    fn end(&mut self) {
        if let Reader::Undecided(first) = &mut self.reader
            && let Some((at, first)) = first.take()
        {
            self.decide(Format::Unknown, at);
            self.read(at, Ok(&first));
        }
        let Self { rules, started_at, reader, found } = self;
        if let Reader::Cues(cues) = reader {
            cues.end(|cue| spoken(cue, rules, *started_at, found));
        }
    }

    fn decide(&mut self, format: Format, first: u64) {
        let (longest, limit) = (self.rules.longest_line(), self.rules.packet_bytes);
        self.reader = match format {
            Format::Packets => Reader::Packets { unknown: None },
            Format::Unknown => Reader::Packets { unknown: Some(first) },
            Format::WebVtt => Reader::Cues(Cues::behind_header(longest, limit)),
            Format::Cues => Reader::Cues(Cues::without_header(longest, limit)),
        };
    }

    fn read(&mut self, number: u64, line: Result<&str, Problem>) {
        let Self { rules, started_at, reader, found } = self;
        match reader {
            Reader::Undecided(_) => {}
            Reader::Packets { unknown } => {
                let packet = match line {
                    Ok(text) if text.trim().is_empty() => return,
                    Ok(text) => rules.packet(text),
                    Err(problem) => Err(problem),
                };
                found.push_back(match packet {
                    Ok(publish) => Ok(Entry { line: number, publish, unnamed: None }),
                    Err(problem) if *unknown == Some(number) => Err((number, problem.unrecognised())),
                    Err(problem) => Err((number, problem)),
                });
            }
            Reader::Cues(cues) => cues.line(number, line, |cue| spoken(cue, rules, *started_at, found)),
        }
    }
}

/// Adds what is said in a cue: an entry for each voice.
fn spoken(cue: cue::Found, rules: &Rules, started_at: Timestamp, found: &mut VecDeque<Found>) {
    let cue = match cue {
        Ok(cue) => cue,
        Err(broken) => return found.push_back(Err(broken)),
    };
    let (line, Times { start_ms, end_ms }) = (cue.line, cue.times);
    let Ok(timestamp) = started_at.checked_add(Duration::from_millis(end_ms)) else {
        return found.push_back(Err((line, Problem::BeyondDates { from: started_at })));
    };
    for Span { voice, text, first_line } in cue.spans() {
        let publish = transcription(&text, start_ms, end_ms).timestamp(timestamp);
        let (publish, unnamed) = match voice {
            Some(voice) => (publish.participant(voice), None),
            None => (publish, Some(Unnamed { text, first_line, start_ms, end_ms })),
        };
        let checked = rules.check(&publish).map_err(|problem| (line, problem));
        found.push_back(checked.map(|()| Entry { line, publish, unnamed }));
    }
}
