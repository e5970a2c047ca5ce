//! The packets of a recording in their order, whatever its format is.

use std::{collections::VecDeque, io, time::Duration};

use teammy::{Publish, Timestamp, data::Transcription};

use super::{
    clock::Clock,
    cue::{self, Cues, Moment, Span, Times, Voice},
    format::Format,
    lines::{Line, Lines},
    packet::Rules,
    pasted::{Shape, are_talk},
    problem::Problem,
    speakers::{self, LastSpeaker, SpeakerDetector, SpeakerNames, Turn},
};

/// What becomes packets.
#[derive(Debug)]
pub(super) struct Entry {
    /// The line that messages name.
    pub(super) line: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Packet(Box<Publish>),
    Spoken(Spoken),
}

/// What is said in a cue by one voice.
#[derive(Debug)]
struct Spoken {
    times: Times,
    identifier: Option<String>,
    span: Span,
}

/// What a whole recording tells, for its cues to be read by.
#[derive(Debug, Default)]
pub(super) struct Heard {
    speakers: SpeakerDetector,
    clock: Clock,
    shape: Shape,
}

impl Heard {
    /// What was heard, for packets to be made by.
    pub(super) fn told(self) -> Told {
        Told { names: self.speakers.finish(), clock: self.clock }
    }

    /// Whether it looks like something else than a transcript with cues.
    pub(super) fn is_pasted(&self) -> bool {
        self.shape.is_pasted()
    }

    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        self.speakers.footprint()
    }
}

/// What the cues of a transcript mean.
#[derive(Debug)]
pub(super) struct Told {
    names: SpeakerNames,
    clock: Clock,
}

impl Entry {
    /// Adds what this one tells of the whole.
    pub(super) fn introduce(&self, heard: &mut Heard) {
        match &self.content {
            Content::Packet(_) => heard.speakers.add_attributed_cue(),
            Content::Spoken(Spoken { times, identifier, span }) => {
                heard.clock.hear(*times);
                match span.voice {
                    Voice::Untold => heard.speakers.add_cue(identifier.as_deref(), &span.lines),
                    Voice::Named(_) | Voice::Nobody => heard.speakers.add_attributed_cue(),
                }
            }
        }
    }

    /// Whether it is a packet whoever speaks: it isn't if it may be a name alone.
    pub(super) fn is_certain(&self) -> bool {
        match &self.content {
            Content::Spoken(Spoken { span: Span { voice: Voice::Untold, lines }, .. }) => {
                !speakers::may_be_names_alone(lines)
            }
            _ => true,
        }
    }

    /// How many packets it is at most.
    pub(super) fn most(&self) -> u64 {
        match &self.content {
            Content::Spoken(Spoken { span: Span { voice: Voice::Untold, lines }, .. }) => {
                speakers::most_turns(lines)
            }
            _ => 1,
        }
    }

    /// When it happened, if it says so by itself.
    pub(super) fn timestamp(&self) -> Option<Timestamp> {
        match &self.content {
            Content::Packet(publish) => publish.timestamp,
            Content::Spoken(_) => None,
        }
    }

    /// The packets; none if there is nothing said but a name. Times count from the meeting's start.
    pub(super) fn packets(
        self,
        told: &Told,
        last: &mut LastSpeaker,
        started_at: Timestamp,
    ) -> Result<Vec<Publish>, Problem> {
        let Spoken { times, identifier, span: Span { voice, lines } } = match self.content {
            Content::Packet(publish) => return Ok(vec![*publish]),
            Content::Spoken(spoken) => spoken,
        };
        let turns = match voice {
            Voice::Untold => told.names.turns(last, identifier.as_deref(), &lines),
            Voice::Named(name) => {
                last.forget();
                vec![Turn { name: Some(name.into()), text: lines.join(" ") }]
            }
            Voice::Nobody => {
                last.forget();
                vec![Turn { name: None, text: lines.join(" ") }]
            }
        };
        let (start_ms, end_ms) = told.clock.read(times);
        let at = started_at.checked_add(Duration::from_millis(end_ms));
        let at = at.map_err(|_| Problem::BeyondDates { from: started_at })?;
        let publish = |Turn { name, text }| {
            let publish = transcription(&text, start_ms, end_ms).timestamp(at);
            match name {
                Some(name) => publish.participant(name),
                None => publish,
            }
        };
        Ok(turns.into_iter().map(publish).collect())
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

    /// Whether some of the next lines look like a transcript as text. They are read, and lost to whoever asks
    /// further.
    pub(super) fn go_on_as_talk(&mut self) -> bool {
        const LOOKED_AT: usize = 20;
        let mut before = String::new();
        for _ in 0..LOOKED_AT {
            let Ok(Some(Line::Text(line))) = self.lines.next() else { return false };
            if line.trim().is_empty() {
                continue;
            }
            if are_talk(&before, line) {
                return true;
            }
            line.clone_into(&mut before);
        }
        false
    }

    /// How many words were left out with what is broken, so far as it can be read.
    pub(super) fn words_left_out(&self) -> u64 {
        match &self.finder.reader {
            Reader::Cues(cues) => cues.words_left_out() + self.finder.words_left_out,
            _ => self.finder.words_left_out,
        }
    }

    /// How many lines have been read.
    pub(super) fn lines(&self) -> u64 {
        self.lines.number()
    }

    /// How many packets were left out that a meeting makes by itself.
    pub(super) fn made(&self) -> u64 {
        self.finder.made
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

    /// Reads to the end for what the whole tells, and nothing else: what is broken is nobody's concern, and
    /// what cannot be read ends it.
    pub(super) fn introduce_rest(&mut self, heard: &mut Heard) {
        while let Ok(Some(found)) = self.next() {
            if let Ok(entry) = found {
                entry.introduce(heard);
            }
        }
    }

    /// Adds what the form of the cues so far tells.
    pub(super) fn introduce_shape(&self, heard: &mut Heard) {
        heard.shape = self.finder.shape;
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
    shape: Shape,
    /// The words of cues that came to be known as broken only when they were complete.
    words_left_out: u64,
    /// Packets of a log that a meeting makes by itself.
    made: u64,
}

/// What the lines are read as.
enum Reader {
    /// It isn't known yet. The first line that isn't blank is kept if it didn't tell.
    Undecided(Option<(u64, String)>),
    Packets {
        /// The line by which no format was recognised.
        unknown: Option<(u64, Unknown)>,
    },
    Cues(Cues),
}

/// What a text looks like in which no format was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unknown {
    Anything,
    /// A transcript as text.
    Pasted,
}

impl Finder {
    fn new(rules: Rules, started_at: Timestamp) -> Self {
        let (reader, found) = (Reader::Undecided(None), VecDeque::new());
        Self { rules, started_at, reader, found, shape: Shape::default(), words_left_out: 0, made: 0 }
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
            (Some((at, first)), Ok(second)) if second.trim().is_empty() && Format::may_be_parted(&first) => {
                // A number, or a line of something else: the next line that isn't blank tells.
                self.reader = Reader::Undecided(Some((at, first)));
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
            self.decide(Format::by_second(&first, ""), at);
            self.read(at, Ok(&first));
        }
        let Self { reader, .. } = self;
        if let Reader::Cues(cues) = reader {
            let mut complete = Vec::new();
            cues.end(|cue| complete.push(cue));
            for cue in complete {
                self.spoken(cue);
            }
        }
    }

    fn decide(&mut self, format: Format, first: u64) {
        let (longest, limit) = (self.rules.longest_line(), self.rules.packet_bytes);
        self.reader = match format {
            Format::Packets => Reader::Packets { unknown: None },
            Format::Unknown => Reader::Packets { unknown: Some((first, Unknown::Anything)) },
            Format::Pasted => Reader::Packets { unknown: Some((first, Unknown::Pasted)) },
            Format::WebVtt => Reader::Cues(Cues::behind_header(longest, limit)),
            Format::Cues => Reader::Cues(Cues::without_header(longest, limit)),
        };
    }

    fn read(&mut self, number: u64, line: Result<&str, Problem>) {
        let Self { rules, reader, found, made, .. } = self;
        match reader {
            Reader::Undecided(_) => {}
            Reader::Packets { unknown } => {
                let packet = match line {
                    Ok(text) if text.trim().is_empty() => return,
                    Ok(text) => rules.packet(text),
                    Err(problem) => Err(problem),
                };
                found.push_back(match packet {
                    Ok(Some(publish)) => {
                        Ok(Entry { line: number, content: Content::Packet(Box::new(publish)) })
                    }
                    Ok(None) => {
                        *made += 1;
                        return;
                    }
                    Err(problem) => Err((
                        number,
                        match unknown {
                            Some((at, Unknown::Pasted)) if *at == number => Problem::Pasted,
                            Some((at, Unknown::Anything)) if *at == number => problem.unrecognised(),
                            _ => problem,
                        },
                    )),
                });
            }
            Reader::Cues(cues) => {
                let mut complete = Vec::new();
                cues.line(number, line, |cue| complete.push(cue));
                for cue in complete {
                    self.spoken(cue);
                }
            }
        }
    }

    /// Adds what is said in a cue: an entry for each voice.
    fn spoken(&mut self, cue: cue::Found) {
        let Self { rules, started_at, found, shape, words_left_out, .. } = self;
        let cue = match cue {
            Ok(cue) => cue,
            Err(broken) => return found.push_back(Err(broken)),
        };
        let (line, times) = (cue.line, cue.times);
        let is_dated = |moment: Moment| {
            let seconds = Duration::from_secs(moment.seconds);
            started_at.checked_add(seconds).is_ok()
        };
        let spans = if is_dated(times.start) && is_dated(times.end) {
            cue.spans()
        } else {
            Err(Problem::BeyondDates { from: *started_at })
        };
        let spans = match spans {
            Ok(spans) => spans,
            Err(problem) => {
                *words_left_out += cue.words();
                return found.push_back(Err((line, problem)));
            }
        };
        shape.see(&cue, &spans);
        for span in spans {
            let identifier = cue.identifier.clone();
            // What a cue's times are in the end changes no more than some digits; they are looked at again
            // when it is played.
            let (start_ms, end_ms) = Clock::default().read(times);
            let publish = transcription(&span.lines.join(" "), start_ms, end_ms);
            let publish = match &span.voice {
                Voice::Named(name) => publish.participant(name.as_str()),
                _ => publish,
            };
            let checked = rules.check(&publish).map_err(|problem| (line, problem));
            if checked.is_err() {
                *words_left_out +=
                    span.lines.iter().map(|line| line.split_whitespace().count() as u64).sum::<u64>();
            }
            let content = Content::Spoken(Spoken { times, identifier, span });
            found.push_back(checked.map(|()| Entry { line, content }));
        }
    }
}
