//! What was said and is not in the notes yet.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::text;

/// Who speaks where the packet doesn't say.
const UNKNOWN: &str = "Unknown";

/// The longest name, in characters; what is beyond is cut off.
const MAX_NAME_CHARS: usize = 80;

/// How a prompt learns that something is missing.
const MISSING: &str = "a part of the transcript is missing here";

/// Lines of speech and chat, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Transcript {
    lines: VecDeque<Line>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    /// Who says it; nobody in a remark of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    text: String,
}

/// How something was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Speech,
    Chat,
}

/// A part of a transcript, as a prompt shows it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// One line for each: `Ada: good morning`.
    pub(crate) text: String,
    /// How many words were said in it, names not included.
    pub(crate) words: usize,
}

/// A participant's name on one line and of a bounded length; none where nothing of it shows.
pub(crate) fn name(name: &str) -> Option<String> {
    let line = text::line(name);
    let mut chars = line.char_indices().skip(MAX_NAME_CHARS);
    match chars.next() {
        _ if line.is_empty() => None,
        None => Some(line),
        Some((end, _)) => Some(format!("{}…", &line[..end])),
    }
}

impl Line {
    /// Its words in a prompt.
    fn size(&self) -> usize {
        let mut line = String::new();
        self.write(&mut line);
        text::words(&line)
    }

    /// Its words that somebody said.
    fn said(&self) -> usize {
        if self.by.is_some() { text::words(&self.text) } else { 0 }
    }

    fn write(&self, out: &mut String) {
        let Self { by, text } = self;
        match by {
            Some(by) => out.extend([by, ": ", text, "\n"]),
            None => out.extend(["[", text, "]\n"]),
        }
    }
}

impl Part {
    fn push(&mut self, line: &Line) {
        line.write(&mut self.text);
        self.words += line.said();
    }
}

impl Transcript {
    /// Adds what somebody says; returns how many words that is. What follows from the same speaker is one
    /// line.
    pub(crate) fn say(&mut self, by: Option<&str>, way: Way, said: &str) -> usize {
        let text = text::line(said);
        if text.is_empty() {
            return 0;
        }
        let words = text::words(&text);
        let mut by = by.unwrap_or(UNKNOWN).to_owned();
        if way == Way::Chat {
            by.push_str(" (chat)");
        }
        match self.lines.back_mut() {
            Some(last) if last.by.as_deref() == Some(&by) => last.text.extend([" ", &text]),
            _ => self.lines.push_back(Line { by: Some(by), text }),
        }
        words
    }

    /// Adds a remark of ours.
    pub(crate) fn remark(&mut self, remark: &str) {
        self.lines.push_back(Line { by: None, text: text::line(remark) });
    }

    /// Something that was said never came here.
    pub(crate) fn remark_gap(&mut self) {
        self.remark(MISSING);
    }

    /// How many words were said in it.
    pub(crate) fn words(&self) -> usize {
        self.lines.iter().map(Line::said).sum()
    }

    /// How many words a prompt with all of it would hold.
    pub(crate) fn size(&self) -> usize {
        self.lines.iter().map(Line::size).sum()
    }

    /// Takes the oldest part, which makes at most `size` words of a prompt. A line that is too long is taken
    /// in parts.
    pub(crate) fn take(&mut self, size: usize) -> Part {
        let mut part = Part::default();
        let mut room = size;
        while let Some(line) = self.lines.pop_front_if(|line| line.size() <= room) {
            room -= line.size();
            part.push(&line);
        }
        // Of a remark a part would say something else.
        if let Some(Line { by: Some(by), text }) = self.lines.front_mut() {
            let line = |text: &str| Line { by: Some(by.clone()), text: text.to_owned() };
            let name = line("").size();
            let (now, later) = text::split(text, room.saturating_sub(name));
            if !now.is_empty() {
                part.push(&line(now));
                *text = later.to_owned();
            }
        }
        part
    }

    /// Leaves the oldest out until the rest makes at most `size` words of a prompt; returns how many words
    /// that were said are gone.
    pub(crate) fn leave_out(&mut self, size: usize) -> usize {
        if self.size() <= size {
            return 0;
        }
        // The remark takes room too, and a word that is cut in two may count for one more.
        let mut over = self.size() - size.saturating_sub(text::words(MISSING) + 1);
        let mut gone = 0;
        while over > 0
            && let Some(line) = self.lines.front_mut()
        {
            if line.size() <= over {
                over -= line.size();
                gone += line.said();
                self.lines.pop_front();
                continue;
            }
            let (left_out, kept) = text::split(&line.text, over);
            let kept = kept.to_owned();
            let words = text::words(left_out);
            gone += if line.by.is_some() { words } else { 0 };
            over -= words;
            line.text = kept;
            // What is left of a line may be its speaker's name and nothing that they said.
            if line.text.is_empty() {
                self.lines.pop_front();
            }
        }
        self.lines.push_front(Line { by: None, text: MISSING.to_owned() });
        gone
    }
}

#[cfg(test)]
mod tests;
