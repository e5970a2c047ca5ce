//! Reads the entries of a recording in their order, whatever its format.

use std::{collections::VecDeque, io, time::Duration};

use teammy::Timestamp;

use super::{
    clock::Clock,
    cue::{CueResult, Cues, Moment, Voice},
    entry::{Entry, FirstPass, transcription},
    format::Format,
    lines::{Line, Lines},
    packet::Rules,
    pasted::{PastedDetector, are_dialogue},
    problem::Problem,
};

/// An entry, or the number of a broken line and what is wrong with it.
pub(super) type EntryResult = Result<Entry, (u64, Problem)>;

/// Reads entries out of lines.
pub(super) struct Entries<R> {
    lines: Lines<R>,
    encoding: &'static str,
    parser: Parser,
    ended: bool,
}

impl<R: io::BufRead> Entries<R> {
    /// Reads lines that had this encoding. A transcript's times count from `started_at`.
    pub(super) fn new(lines: Lines<R>, encoding: &'static str, rules: Rules, started_at: Timestamp) -> Self {
        Self { lines, encoding, parser: Parser::new(rules, started_at), ended: false }
    }

    /// Whether the recording is known to be a transcript.
    pub(super) fn is_transcript(&self) -> bool {
        matches!(self.parser.format, FormatState::Cues(_))
    }

    /// Whether some of the next lines look like a transcript as text. This reads the lines, so that no
    /// further entry can be read.
    pub(super) fn continues_as_dialogue(&mut self) -> bool {
        const LOOKED_AT: usize = 20;
        let mut before = String::new();
        for _ in 0..LOOKED_AT {
            let Ok(Some(Line::Text(line))) = self.lines.next() else { return false };
            if line.trim().is_empty() {
                continue;
            }
            if are_dialogue(&before, line) {
                return true;
            }
            line.clone_into(&mut before);
        }
        false
    }

    /// How many words the broken cues so far hold, as far as their lines can be read.
    pub(super) fn skipped_words(&self) -> u64 {
        match &self.parser.format {
            FormatState::Cues(cues) => cues.skipped_words() + self.parser.skipped_words,
            _ => self.parser.skipped_words,
        }
    }

    /// How many lines have been read.
    pub(super) fn lines(&self) -> u64 {
        self.lines.number()
    }

    /// How many packets were left out because a replay makes them anew.
    pub(super) fn derived(&self) -> u64 {
        self.parser.derived
    }

    /// The lines, if they were kept.
    pub(super) fn into_kept(self) -> Vec<u8> {
        self.lines.into_kept()
    }

    /// The next entry, or the next broken line.
    pub(super) fn next(&mut self) -> io::Result<Option<EntryResult>> {
        let limit = self.parser.rules.packet_bytes;
        while self.parser.ready.is_empty() && !self.ended {
            let number = self.lines.number() + 1;
            match self.lines.next()? {
                Some(Line::Text(text)) => self.parser.line(number, Ok(text)),
                Some(Line::NotText { column }) => {
                    self.parser.line(number, Err(Problem::NotText { encoding: self.encoding, column }));
                }
                Some(Line::TooLong) => self.parser.line(number, Err(Problem::TooLong(limit))),
                None => {
                    self.parser.end();
                    self.ended = true;
                }
            }
        }
        Ok(self.parser.ready.pop_front())
    }

    /// Reads to the end for the first pass alone. It passes over broken lines, and stops at an error.
    pub(super) fn add_rest_to(&mut self, first_pass: &mut FirstPass) {
        while let Ok(Some(result)) = self.next() {
            if let Ok(entry) = result {
                entry.add_to(first_pass);
            }
        }
    }

    /// Adds what the layout of the cues so far shows to the first pass.
    pub(super) fn add_layout_to(&self, first_pass: &mut FirstPass) {
        first_pass.set_layout(self.parser.pasted);
    }

    /// How many bytes are kept in memory.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        let kept = match &self.parser.format {
            FormatState::Undecided(first) => first.as_ref().map_or(0, |(_, line)| line.capacity()),
            FormatState::Packets { .. } => 0,
            FormatState::Cues(cues) => cues.footprint(),
        };
        self.lines.footprint() + kept + self.parser.ready.capacity() * size_of::<EntryResult>()
    }
}

/// Makes entries of lines.
struct Parser {
    rules: Rules,
    started_at: Timestamp,
    format: FormatState,
    /// Entries that have not been taken yet.
    ready: VecDeque<EntryResult>,
    pasted: PastedDetector,
    /// The words of cues that turned out to be broken only when they were complete.
    skipped_words: u64,
    /// How many packets were left out because a replay makes them anew.
    derived: u64,
}

/// The format as far as it is known.
enum FormatState {
    /// Holds the first line that isn't blank, if that line did not settle the format.
    Undecided(Option<(u64, String)>),
    Packets {
        /// The first line, if it matched no known format; the text is read as packets.
        unrecognised: Option<(u64, Unrecognised)>,
    },
    Cues(Cues),
}

/// What a text without a recognised format looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unrecognised {
    Anything,
    /// A transcript as text.
    Pasted,
}

impl Parser {
    fn new(rules: Rules, started_at: Timestamp) -> Self {
        Self {
            rules,
            started_at,
            format: FormatState::Undecided(None),
            ready: VecDeque::new(),
            pasted: PastedDetector::default(),
            skipped_words: 0,
            derived: 0,
        }
    }

    /// Takes the next line.
    fn line(&mut self, number: u64, line: Result<&str, Problem>) {
        let FormatState::Undecided(first) = &mut self.format else { return self.read(number, line) };
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
                // The next line that isn't blank tells whether the number is a cue's.
                self.format = FormatState::Undecided(Some((at, first)));
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

    /// Makes entries of what is left after the last line.
    fn end(&mut self) {
        if let FormatState::Undecided(first) = &mut self.format
            && let Some((at, first)) = first.take()
        {
            self.decide(Format::by_second(&first, ""), at);
            self.read(at, Ok(&first));
        }
        let Self { format, .. } = self;
        if let FormatState::Cues(cues) = format {
            let mut complete = Vec::new();
            cues.end(|cue| complete.push(cue));
            for cue in complete {
                self.cue(cue);
            }
        }
    }

    fn decide(&mut self, format: Format, first: u64) {
        let (longest, limit) = (self.rules.longest_line(), self.rules.packet_bytes);
        let unrecognised = |as_what| FormatState::Packets { unrecognised: Some((first, as_what)) };
        self.format = match format {
            Format::Packets => FormatState::Packets { unrecognised: None },
            Format::Unknown => unrecognised(Unrecognised::Anything),
            Format::Pasted => unrecognised(Unrecognised::Pasted),
            Format::WebVtt => FormatState::Cues(Cues::behind_header(longest, limit)),
            Format::Cues => FormatState::Cues(Cues::without_header(longest, limit)),
        };
    }

    fn read(&mut self, number: u64, line: Result<&str, Problem>) {
        let Self { rules, format, ready, derived, .. } = self;
        match format {
            FormatState::Undecided(_) => {}
            FormatState::Packets { unrecognised } => {
                let packet = match line {
                    Ok(text) if text.trim().is_empty() => return,
                    Ok(text) => rules.packet(text),
                    Err(problem) => Err(problem),
                };
                ready.push_back(match packet {
                    Ok(Some(publish)) => Ok(Entry::packet(number, publish)),
                    Ok(None) => {
                        *derived += 1;
                        return;
                    }
                    Err(problem) => Err((
                        number,
                        match unrecognised {
                            Some((at, Unrecognised::Pasted)) if *at == number => Problem::Pasted,
                            Some((at, Unrecognised::Anything)) if *at == number => problem.unrecognised(),
                            _ => problem,
                        },
                    )),
                });
            }
            FormatState::Cues(cues) => {
                let mut complete = Vec::new();
                cues.line(number, line, |cue| complete.push(cue));
                for cue in complete {
                    self.cue(cue);
                }
            }
        }
    }

    /// Adds an entry for each voice of a cue.
    fn cue(&mut self, cue: CueResult) {
        let Self { rules, started_at, ready, pasted, skipped_words, .. } = self;
        let cue = match cue {
            Ok(cue) => cue,
            Err(broken) => return ready.push_back(Err(broken)),
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
                *skipped_words += cue.words();
                return ready.push_back(Err((line, problem)));
            }
        };
        pasted.add_cue(&cue, &spans);
        for span in spans {
            // The final times differ from these by some digits at most, and the second pass checks the packet
            // again.
            let (start_ms, end_ms) = Clock::default().read(times);
            let publish = transcription(&span.lines.join(" "), start_ms, end_ms);
            let publish = match &span.voice {
                Voice::Named(name) => publish.participant(name.as_str()),
                _ => publish,
            };
            let checked = rules.check(&publish).map_err(|problem| (line, problem));
            if checked.is_err() {
                *skipped_words +=
                    span.lines.iter().map(|line| line.split_whitespace().count() as u64).sum::<u64>();
            }
            let identifier = cue.identifier.clone();
            ready.push_back(checked.map(|()| Entry::speech(line, times, identifier, span)));
        }
    }
}
