//! Cues out of lines: the blocks of WebVTT and SubRip.
//!
//! The two differ little: SubRip has a number over each cue, where WebVTT may have any identifier, a comma in its times and
//! other markup. So one reader does for both, and for what lies between them: a WebVTT file without its header, a SubRip file
//! with points. It is a state machine that takes a line at a time and hands out a cue as soon as it is complete. It follows
//! the parser of the WebVTT specification, and differs where that leaves words out in silence: a block without times is
//! broken here, and so is an unreadable one. Nor is an identifier taken for speech because no blank line is before it.

mod text;
mod times;

use teammy::config::Size;

pub(super) use self::{
    text::Span,
    times::{Times, are_in as holds_times, may_be_meant as may_be_times},
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
    identifier: Option<String>,
    text: String,
}

impl Cue {
    /// What is said in it; nothing, where it has no text.
    pub(super) fn spans(&self) -> Vec<Span> {
        text::spans(self.markup, &self.text)
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
}

#[derive(Debug, Default)]
enum State {
    /// Behind a blank line, or at the start.
    #[default]
    Between,
    /// A block's first line has been read, and it is no times: it is an identifier, if times follow.
    Named { line: u64, identifier: String },
    /// A cue's times have been read, and some of its text.
    Cue(Cue),
    /// In the header: until a blank line or times, of which its last line is the identifier then.
    Header(Option<String>),
    /// In a comment, a style sheet, or what is left of something broken; likewise, but nothing in it can be wrong.
    Passing(Option<String>),
}

impl Cues {
    /// Behind the line that says `WEBVTT`.
    pub(super) fn behind_header(longest: usize, limit: Size) -> Self {
        Self { markup: Some(Markup::WebVtt), state: State::Header(None), longest, limit }
    }

    /// Where there is no header.
    pub(super) fn without_header(longest: usize, limit: Size) -> Self {
        Self { markup: None, state: State::Between, longest, limit }
    }

    /// Takes the next line, and hands out what is complete with it.
    pub(super) fn line(&mut self, number: u64, line: Result<&str, Problem>, mut found: impl FnMut(Found)) {
        match line {
            Ok(line) if line.trim().is_empty() => self.end(found),
            Ok(line) if times::are_in(line) => {
                let identifier = self.complete_before_times(&mut found);
                match Times::read(line) {
                    Ok((times, by_times)) => {
                        let markup = self.markup.unwrap_or(by_times);
                        self.state =
                            State::Cue(Cue { line: number, times, markup, identifier, text: String::new() });
                    }
                    Err(problem) => found(Err((number, problem))),
                }
            }
            Ok(line) => {
                if let Err(broken) = self.text(number, line) {
                    self.state = State::Passing(None);
                    found(Err(broken));
                }
            }
            Err(_) if matches!(self.state, State::Passing(_)) => {}
            Err(problem) => {
                self.state = State::Passing(None);
                found(Err((number, problem)));
            }
        }
    }

    /// A block ends, with a blank line or with the file.
    pub(super) fn end(&mut self, mut found: impl FnMut(Found)) {
        match std::mem::take(&mut self.state) {
            State::Cue(cue) => found(Ok(cue)),
            State::Named { line, .. } => found(Err((line, Problem::NoTimes))),
            State::Between | State::Header(_) | State::Passing(_) => {}
        }
    }

    /// Times come: what is before them ends, but for their identifier. What follows is passed over unless they are right.
    fn complete_before_times(&mut self, mut found: impl FnMut(Found)) -> Option<String> {
        match std::mem::replace(&mut self.state, State::Passing(None)) {
            State::Cue(mut cue) => {
                let identifier = cue.take_identifier();
                found(Ok(cue));
                identifier
            }
            State::Named { identifier, .. } => Some(identifier),
            State::Header(last) | State::Passing(last) => last,
            State::Between => None,
        }
    }

    /// Takes a line that is neither blank nor times.
    fn text(&mut self, number: u64, line: &str) -> Result<(), (u64, Problem)> {
        match &mut self.state {
            State::Header(last) | State::Passing(last) => {
                *last = Some(line.to_owned());
                Ok(())
            }
            State::Between if begins_passage(line) => {
                self.state = State::Passing(None);
                Ok(())
            }
            State::Between => {
                self.state = State::Named { line: number, identifier: line.to_owned() };
                Ok(())
            }
            State::Named { line: first, identifier } => {
                let meant = !times::may_be_meant(identifier) && times::may_be_meant(line);
                Err((if meant { number } else { *first }, Problem::NoTimes))
            }
            State::Cue(cue) if cue.text.len() + line.len() >= self.longest => {
                Err((cue.line, Problem::CueTooLong(self.limit)))
            }
            State::Cue(cue) => {
                cue.text.push_str(line);
                cue.text.push('\n');
                Ok(())
            }
        }
    }

    /// How many bytes it keeps.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        match &self.state {
            State::Cue(cue) => cue.text.capacity() + cue.identifier.as_ref().map_or(0, String::capacity),
            State::Named { identifier, .. } => identifier.capacity(),
            State::Header(last) | State::Passing(last) => last.as_ref().map_or(0, String::capacity),
            State::Between => 0,
        }
    }
}

impl Cue {
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

/// Whether a line is an identifier of the kind that the cue before has: a number, or one with the same start up to a slash, as
/// Teams counts them.
fn follows(line: &str, identifier: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let identifier = identifier.trim();
    let starts_alike = match (line.rsplit_once('/'), identifier.rsplit_once('/')) {
        (Some((line, _)), Some((identifier, _))) => line == identifier,
        _ => false,
    };
    starts_alike || (is_number(line) && is_number(identifier))
}

/// Whether a block's first line begins a comment, a style sheet or a region of WebVTT.
pub(super) fn begins_passage(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    word == "NOTE" || matches!(line.trim_end(), "STYLE" | "REGION")
}

#[cfg(test)]
mod tests;
