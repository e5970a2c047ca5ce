//! Cues out of lines: the blocks of WebVTT and SubRip.
//!
//! The two differ little: SubRip has a number over each cue, where WebVTT may have any identifier, a comma in
//! its times and other markup. So one reader does for both, and for what lies between them: a WebVTT file
//! without its header, a SubRip file with points. It is a state machine that takes a line at a time and hands
//! out a cue as soon as it is complete. It follows the parser of the WebVTT specification: only an empty line
//! ends a cue, and a line of blanks is text. It differs where the specification leaves words out in silence:
//!
//! * A block without times is broken, and so is one whose times cannot be read. Its words are counted as left
//!   out.
//! * Where an empty line follows a cue's times at once, the text behind it is the cue's, unless times follow
//!   that.
//! * An identifier is not taken for speech because no empty line is before it.
//! * A number is an identifier even if an empty line parts it from its times.

mod metadata;
mod text;
mod times;

use teammy::config::Size;

pub(super) use self::{
    text::{Span, Voice},
    times::{Moment, Times, are_in as holds_times, may_be_meant as may_be_times},
};
use super::problem::Problem;

/// How a cue's text is marked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Markup {
    WebVtt,
    SubRip,
}

/// A cue as it stands in a file.
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
    /// What is said in it; nothing, where it has no text.
    pub(super) fn spans(&self) -> Result<Vec<Span>, Problem> {
        match metadata::read(&self.text) {
            Some(said) => Ok(said?.into_iter().map(|said| Span::known(said.name, said.text)).collect()),
            None => Ok(text::spans(self.markup, &self.text)),
        }
    }
}

/// A cue, or the line of a broken one and what is wrong with it.
pub(super) type Found = Result<Cue, (u64, Problem)>;

/// Finds cues in lines.
#[derive(Debug)]
pub(super) struct Cues {
    /// What the file's header says; without one each cue's times tell.
    markup: Option<Markup>,
    state: State,
    /// How many bytes a cue's text may have with its markup, and the limit that this comes from.
    longest: usize,
    limit: Size,
    /// The words of broken cues so far.
    words_left_out: u64,
}

#[derive(Debug, Default)]
enum State {
    /// Behind an empty line, or at the start.
    #[default]
    Between,
    /// A block's first line has been read, and it is no times: it is an identifier, if times follow.
    Named { line: u64, identifier: String },
    /// A cue's times have been read, and some of its text.
    Cue(Cue),
    /// A cue's times and an empty line have been read, and perhaps a line behind it: the cue's text, or the
    /// identifier of the cue that follows.
    Open { cue: Cue, line: Option<String> },
    /// In the header: until an empty line or times, of which its last line is the identifier then.
    Header(Option<String>),
    /// In a comment or a style sheet; likewise, but nothing in it can be wrong.
    Comment(Option<String>),
    /// In what is left of something broken; likewise, but its words are counted.
    Broken(Option<String>),
}

impl Cues {
    /// Behind the line that says `WEBVTT`.
    pub(super) fn behind_header(longest: usize, limit: Size) -> Self {
        let markup = Some(Markup::WebVtt);
        Self { markup, state: State::Header(None), longest, limit, words_left_out: 0 }
    }

    /// Where there is no header.
    pub(super) fn without_header(longest: usize, limit: Size) -> Self {
        Self { markup: None, state: State::Between, longest, limit, words_left_out: 0 }
    }

    /// How many words broken cues had, so far as their lines could be read.
    pub(super) fn words_left_out(&self) -> u64 {
        self.words_left_out
    }

    /// Takes the next line, and hands out what is complete with it.
    pub(super) fn line(&mut self, number: u64, line: Result<&str, Problem>, mut found: impl FnMut(Found)) {
        match line {
            Ok("") => self.empty_line(found),
            Ok(line) if times::are_in(line) => {
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
                    self.leave_out(Some(line));
                    found(Err(broken));
                }
            }
            Err(_) if matches!(self.state, State::Comment(_) | State::Broken(_)) => {}
            Err(problem) => {
                self.leave_out(None);
                found(Err((number, problem)));
            }
        }
    }

    /// The file ends.
    pub(super) fn end(&mut self, mut found: impl FnMut(Found)) {
        match std::mem::take(&mut self.state) {
            State::Cue(cue) | State::Open { cue, line: None } => found(Ok(cue)),
            State::Open { cue, line: Some(line) } => found(Ok(cue.with_text(&line))),
            State::Named { line, identifier } => {
                self.words_left_out += words(&identifier);
                found(Err((line, Problem::NoTimes)));
            }
            State::Between | State::Header(_) | State::Comment(_) | State::Broken(_) => {}
        }
    }

    /// A block ends, unless what there is of it may go on behind the empty line.
    fn empty_line(&mut self, found: impl FnMut(Found)) {
        match std::mem::take(&mut self.state) {
            State::Cue(cue) if cue.text.trim().is_empty() => self.state = State::Open { cue, line: None },
            State::Open { cue, line: None } => self.state = State::Open { cue, line: None },
            State::Named { line, identifier } if is_number(&identifier) => {
                self.state = State::Named { line, identifier };
            }
            state => {
                self.state = state;
                self.end(found);
            }
        }
    }

    /// What there is of a block is broken, and so is the line that showed it.
    fn leave_out(&mut self, line: Option<&str>) {
        let before = match std::mem::replace(&mut self.state, State::Broken(None)) {
            State::Named { identifier, .. } => words(&identifier),
            State::Cue(cue) => words(&cue.text),
            State::Open { line, .. } => line.as_deref().map_or(0, words),
            _ => 0,
        };
        self.words_left_out += before + line.map_or(0, words);
    }

    /// Times come: what is before them ends, but for their identifier.
    fn complete_before_times(&mut self, mut found: impl FnMut(Found)) -> Option<String> {
        match std::mem::take(&mut self.state) {
            State::Cue(mut cue) => {
                let identifier = cue.take_identifier();
                found(Ok(cue));
                identifier
            }
            State::Open { cue, line: Some(line) } if cue.is_followed_by(&line) => {
                found(Ok(cue));
                Some(line)
            }
            State::Open { cue, line } => {
                found(Ok(line.iter().fold(cue, |cue, line| cue.with_text(line))));
                None
            }
            State::Named { identifier, .. } => Some(identifier),
            State::Broken(Some(last)) => {
                // Its words were counted as they came; an identifier has none.
                self.words_left_out -= words(&last);
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
            State::Between | State::Named { .. } | State::Open { .. } if is_blank => state,
            State::Header(_) => State::Header(Some(line.to_owned())),
            State::Comment(_) => State::Comment(Some(line.to_owned())),
            State::Broken(_) => {
                self.words_left_out += words(line);
                State::Broken(Some(line.to_owned()))
            }
            // An empty cue before a comment says nothing, so nobody waits for it.
            State::Between | State::Open { line: None, .. } if begins_passage(line) => State::Comment(None),
            // Transcripts in pieces are put together with their headers.
            State::Between if is_header(line) => State::Header(None),
            State::Between => State::Named { line: number, identifier: line.to_owned() },
            State::Named { line: first, identifier } => {
                let meant = !times::may_be_meant(&identifier) && times::may_be_meant(line);
                self.state = State::Named { line: first, identifier };
                return Err((if meant { number } else { first }, Problem::NoTimes));
            }
            State::Open { cue, line: None } => State::Open { cue, line: Some(line.to_owned()) },
            State::Open { cue, line: Some(first) } => State::Cue(self.within(cue.with_text(&first), line)?),
            State::Cue(cue) => State::Cue(self.within(cue, line)?),
        };
        Ok(())
    }

    /// A cue with one more line, if it isn't too long.
    fn within(&mut self, cue: Cue, line: &str) -> Result<Cue, (u64, Problem)> {
        if cue.text.len() + line.len() >= self.longest {
            let problem = (cue.line, Problem::CueTooLong(self.limit));
            self.state = State::Cue(cue);
            return Err(problem);
        }
        Ok(cue.with_text(line))
    }

    /// How many bytes it keeps.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        let of_cue = |cue: &Cue| cue.text.capacity() + cue.identifier.as_ref().map_or(0, String::capacity);
        match &self.state {
            State::Cue(cue) => of_cue(cue),
            State::Open { cue, line } => of_cue(cue) + line.as_ref().map_or(0, String::capacity),
            State::Named { identifier, .. } => identifier.capacity(),
            State::Header(last) | State::Comment(last) | State::Broken(last) => {
                last.as_ref().map_or(0, String::capacity)
            }
            State::Between => 0,
        }
    }
}

impl Cue {
    /// How many words it has, with its markup.
    pub(super) fn words(&self) -> u64 {
        words(&self.text)
    }

    fn with_text(mut self, line: &str) -> Self {
        self.text.push_str(line);
        self.text.push('\n');
        self
    }

    /// Whether a line behind an empty one, with times below it, is the identifier of the cue that follows,
    /// rather than this one's text: it is, where cues have identifiers, and else if it is a number or one
    /// word.
    fn is_followed_by(&self, line: &str) -> bool {
        self.identifier.is_some() || is_number(line) || !line.trim().contains(char::is_whitespace)
    }

    /// Takes off the text's last line if it is the identifier of the cue that follows.
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

/// Whether a line is an identifier of the kind that the cue before has: a number, or one with the same start
/// up to a slash, as Teams counts them.
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
