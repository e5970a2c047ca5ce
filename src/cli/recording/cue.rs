//! Reads cues: the blocks of WebVTT and SubRip.
//!
//! The two formats differ little: SubRip has a number over each cue, where WebVTT may have any identifier, a
//! comma in its times, and other markup. So one reader reads both, and mixtures of them: a WebVTT file
//! without its header, a SubRip file with points in its times. The reader is a state machine that takes one
//! line at a time, and hands out a cue as soon as the cue is complete. It follows the parser of the WebVTT
//! specification: only an empty line ends a cue, and a line of blanks is text. It differs where the
//! specification drops words silently:
//!
//! * A block without times is broken, and so is a block whose times cannot be read. Its words are counted as
//!   skipped.
//! * Where an empty line directly follows a cue's times, the text after it is the cue's, unless times follow
//!   that text.
//! * An identifier without an empty line before it is not taken for speech.
//! * A number is an identifier even if an empty line separates it from its times.

mod markup;
mod metadata;
mod text;
mod times;

use teammy::config::Size;

use self::markup::Markup;
pub(super) use self::{
    text::{Span, Voice},
    times::{Moment, Times, holds_times, may_be_times},
};
use super::problem::Problem;

/// A cue as the file has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cue {
    /// The line with its times.
    pub(super) line: u64,
    pub(super) times: Times,
    markup: Markup,
    pub(super) identifier: Option<String>,
    text: String,
    /// Whether the file has a header.
    pub(super) is_headed: bool,
}

impl Cue {
    /// What is said in the cue, by each voice; empty if the cue has no text.
    pub(super) fn spans(&self) -> Result<Vec<Span>, Problem> {
        match metadata::read(&self.text) {
            Some(spoken) => {
                Ok(spoken?.into_iter().map(|spoken| Span::known(spoken.name, spoken.text)).collect())
            }
            None => Ok(text::spans(self.markup, &self.text)),
        }
    }
}

/// A cue, or the line number of a broken one and what is wrong with it.
pub(super) type CueResult = Result<Cue, (u64, Problem)>;

/// Reads cues out of lines.
#[derive(Debug)]
pub(super) struct Cues {
    /// The markup that the file's header shows; without a header each cue's times show its markup.
    markup: Option<Markup>,
    state: State,
    /// The most bytes of a cue's text with its markup, and the configured limit that this comes from.
    longest: usize,
    limit: Size,
    /// The words of broken cues so far.
    skipped_words: u64,
}

#[derive(Debug, Default)]
enum State {
    /// Behind an empty line, or at the start.
    #[default]
    Between,
    /// Behind a block's first line, which holds no times: an identifier, if times follow.
    Identifier { line: u64, identifier: String },
    /// Behind a cue's times, and some of its text.
    Cue(Cue),
    /// Behind a cue's times and an empty line, and perhaps one more line: the cue's text, or the identifier
    /// of the cue that follows.
    EmptyCue { cue: Cue, line: Option<String> },
    /// In the header, which an empty line or times end. Holds the last line: the identifier, if times follow.
    Header(Option<String>),
    /// In a comment or a style sheet; it ends as the header does. Nothing in it can be broken.
    Comment(Option<String>),
    /// In the rest of a broken block; it ends as the header does. Its words are counted.
    Broken(Option<String>),
}

impl Cues {
    /// Reads what follows the line `WEBVTT`.
    pub(super) fn behind_header(longest: usize, limit: Size) -> Self {
        let markup = Some(Markup::WebVtt);
        Self { markup, state: State::Header(None), longest, limit, skipped_words: 0 }
    }

    /// Reads a file without a header.
    pub(super) fn without_header(longest: usize, limit: Size) -> Self {
        Self { markup: None, state: State::Between, longest, limit, skipped_words: 0 }
    }

    /// How many words the broken cues had, as far as their lines could be read.
    pub(super) fn skipped_words(&self) -> u64 {
        self.skipped_words
    }

    /// Takes the next line, and hands out the cues that it completes.
    pub(super) fn line(
        &mut self,
        number: u64,
        line: Result<&str, Problem>,
        mut found: impl FnMut(CueResult),
    ) {
        match line {
            Ok("") => self.empty_line(found),
            Ok(line) if holds_times(line) => {
                let identifier = self.complete_before_times(&mut found);
                match Times::read(line) {
                    Ok((times, by_times)) => {
                        let markup = self.markup.unwrap_or(by_times);
                        let (is_headed, text) = (self.markup.is_some(), String::new());
                        self.state =
                            State::Cue(Cue { line: number, times, markup, identifier, text, is_headed });
                    }
                    Err(problem) => {
                        self.state = State::Broken(None);
                        found(Err((number, problem)));
                    }
                }
            }
            Ok(line) => {
                if let Err(broken) = self.text(number, line) {
                    self.skip_block(Some(line));
                    found(Err(broken));
                }
            }
            Err(_) if matches!(self.state, State::Comment(_) | State::Broken(_)) => {}
            Err(problem) => {
                self.skip_block(None);
                found(Err((number, problem)));
            }
        }
    }

    /// Hands out what is complete at the end of the file, or of a block.
    pub(super) fn end(&mut self, mut found: impl FnMut(CueResult)) {
        match std::mem::take(&mut self.state) {
            State::Cue(cue) | State::EmptyCue { cue, line: None } => found(Ok(cue)),
            State::EmptyCue { cue, line: Some(line) } => found(Ok(cue.with_text(&line))),
            State::Identifier { line, identifier } => {
                self.skipped_words += words(&identifier);
                found(Err((line, Problem::NoTimes)));
            }
            State::Between | State::Header(_) | State::Comment(_) | State::Broken(_) => {}
        }
    }

    /// Ends a block, unless it may continue after the empty line.
    fn empty_line(&mut self, found: impl FnMut(CueResult)) {
        match std::mem::take(&mut self.state) {
            State::Cue(cue) if cue.text.trim().is_empty() => {
                self.state = State::EmptyCue { cue, line: None };
            }
            State::EmptyCue { cue, line: None } => self.state = State::EmptyCue { cue, line: None },
            State::Identifier { line, identifier } if is_number(&identifier) => {
                self.state = State::Identifier { line, identifier };
            }
            state => {
                self.state = state;
                self.end(found);
            }
        }
    }

    /// Skips the rest of a broken block, and counts the words of its lines so far and of this line.
    fn skip_block(&mut self, line: Option<&str>) {
        let before = match std::mem::replace(&mut self.state, State::Broken(None)) {
            State::Identifier { identifier, .. } => words(&identifier),
            State::Cue(cue) => words(&cue.text),
            State::EmptyCue { line, .. } => line.as_deref().map_or(0, words),
            _ => 0,
        };
        self.skipped_words += before + line.map_or(0, words);
    }

    /// Ends what stands before a line of times, and returns the identifier of the cue that begins.
    fn complete_before_times(&mut self, mut found: impl FnMut(CueResult)) -> Option<String> {
        match std::mem::take(&mut self.state) {
            State::Cue(mut cue) => {
                let identifier = cue.take_identifier();
                found(Ok(cue));
                identifier
            }
            State::EmptyCue { cue, line: Some(line) } if cue.is_followed_by(&line) => {
                found(Ok(cue));
                Some(line)
            }
            State::EmptyCue { cue, line } => {
                found(Ok(line.iter().fold(cue, |cue, line| cue.with_text(line))));
                None
            }
            State::Identifier { identifier, .. } => Some(identifier),
            State::Broken(Some(last)) => {
                // The line's words were counted as the broken block's, but it is the next cue's identifier.
                self.skipped_words -= words(&last);
                Some(last)
            }
            State::Header(last) | State::Comment(last) => last,
            State::Between | State::Broken(None) => None,
        }
    }

    /// Takes a line that is neither empty nor times.
    fn text(&mut self, number: u64, line: &str) -> Result<(), (u64, Problem)> {
        let (state, is_blank) = (std::mem::take(&mut self.state), line.trim().is_empty());
        self.state = match state {
            State::Between | State::Identifier { .. } | State::EmptyCue { .. } if is_blank => state,
            State::Header(_) => State::Header(Some(line.to_owned())),
            State::Comment(_) => State::Comment(Some(line.to_owned())),
            State::Broken(_) => {
                self.skipped_words += words(line);
                State::Broken(Some(line.to_owned()))
            }
            // A cue without text before a comment stays without text, and is dropped.
            State::Between | State::EmptyCue { line: None, .. } if begins_passage(line) => {
                State::Comment(None)
            }
            // A transcript that was joined from pieces has the header of each piece.
            State::Between if is_header(line) => State::Header(None),
            State::Between => State::Identifier { line: number, identifier: line.to_owned() },
            State::Identifier { line: first, identifier } => {
                let is_meant = !may_be_times(&identifier) && may_be_times(line);
                self.state = State::Identifier { line: first, identifier };
                return Err((if is_meant { number } else { first }, Problem::NoTimes));
            }
            State::EmptyCue { cue, line: None } => State::EmptyCue { cue, line: Some(line.to_owned()) },
            State::EmptyCue { cue, line: Some(first) } => {
                State::Cue(self.within(cue.with_text(&first), line)?)
            }
            State::Cue(cue) => State::Cue(self.within(cue, line)?),
        };
        Ok(())
    }

    /// Adds a line to a cue, if the cue does not become too long.
    fn within(&mut self, cue: Cue, line: &str) -> Result<Cue, (u64, Problem)> {
        if cue.text.len() + line.len() >= self.longest {
            let problem = (cue.line, Problem::CueTooLong(self.limit));
            self.state = State::Cue(cue);
            return Err(problem);
        }
        Ok(cue.with_text(line))
    }

    /// How many bytes are kept in memory.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        let of_cue = |cue: &Cue| cue.text.capacity() + cue.identifier.as_ref().map_or(0, String::capacity);
        match &self.state {
            State::Cue(cue) => of_cue(cue),
            State::EmptyCue { cue, line } => of_cue(cue) + line.as_ref().map_or(0, String::capacity),
            State::Identifier { identifier, .. } => identifier.capacity(),
            State::Header(last) | State::Comment(last) | State::Broken(last) => {
                last.as_ref().map_or(0, String::capacity)
            }
            State::Between => 0,
        }
    }
}

impl Cue {
    /// How many words the cue's text has, with its markup.
    pub(super) fn words(&self) -> u64 {
        words(&self.text)
    }

    fn with_text(mut self, line: &str) -> Self {
        self.text.push_str(line);
        self.text.push('\n');
        self
    }

    /// Whether a line between an empty line and times is the identifier of the cue that follows, and not this
    /// cue's text. It is where cues have identifiers; elsewhere if the line is a number or one word.
    fn is_followed_by(&self, line: &str) -> bool {
        self.identifier.is_some() || is_number(line) || !line.trim().contains(char::is_whitespace)
    }

    /// Removes the text's last line if that is the identifier of the cue that follows.
    fn take_identifier(&mut self) -> Option<String> {
        let identifier = self.identifier.as_deref()?;
        let text = self.text.trim_end();
        let start = text.rfind('\n').map_or(0, |end| end + 1);
        let next = text[start..].trim();
        if !follows(next, identifier) {
            return None;
        }
        let next = next.to_owned();
        self.text.truncate(start);
        Some(next)
    }
}

/// Whether a line is an identifier of the same kind as the one before: a number, or an identifier with the
/// same start up to a slash, as Teams numbers its cues.
fn follows(line: &str, identifier: &str) -> bool {
    let identifier = identifier.trim();
    let starts_alike = match (line.rsplit_once('/'), identifier.rsplit_once('/')) {
        (Some((line, _)), Some((identifier, _))) => line == identifier,
        _ => false,
    };
    starts_alike || (is_number(line) && is_number(identifier))
}

fn is_number(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// Whether a line is the header of a WebVTT file.
pub(super) fn is_header(line: &str) -> bool {
    let behind = line.trim_start().strip_prefix("WEBVTT");
    behind.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

/// Whether a block's first line begins a comment, a style sheet or a region of WebVTT.
pub(super) fn begins_passage(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    word == "NOTE" || matches!(line.trim_end(), "STYLE" | "REGION")
}

/// Reads a line of times.
#[cfg(test)]
pub(super) fn times(line: &str) -> Times {
    Times::read(line).unwrap().0
}

#[cfg(test)]
mod tests;
