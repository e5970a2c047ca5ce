//! The part of the transcript that the running summary doesn't cover yet.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::text;

/// The name of the speaker if the packet names none.
const UNKNOWN: &str = "Unknown";

/// The longest name, in characters; longer ones are cut off.
const MAX_NAME_CHARS: usize = 80;

/// The remark in a prompt where a part of the transcript is missing.
const MISSING: &str = "a part of the transcript is missing here";

/// Lines of speech and chat, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Transcript {
    lines: VecDeque<Line>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    /// The speaker or author; `None` for a remark by the plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    text: String,
}

/// How a message was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    Speech,
    Chat,
}

/// A part of the transcript, formatted for a prompt.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Excerpt {
    /// Lines such as `Ada: good morning`.
    pub(crate) text: String,
    /// How many words participants said, names and remarks not included.
    pub(crate) words: usize,
}

/// Puts a participant's name on one line and limits its length; `None` if nothing visible is left.
pub(crate) fn clean_name(name: &str) -> Option<String> {
    let line = text::line(name);
    let mut chars = line.char_indices().skip(MAX_NAME_CHARS);
    match chars.next() {
        _ if line.is_empty() => None,
        None => Some(line),
        Some((end, _)) => Some(format!("{}…", &line[..end])),
    }
}

impl Line {
    /// Counts the words of this line in a prompt, the name included.
    fn size(&self) -> usize {
        let mut line = String::new();
        self.write(&mut line);
        text::words(&line)
    }

    /// Counts the words that the participant said.
    fn spoken_words(&self) -> usize {
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

impl Excerpt {
    fn push(&mut self, line: &Line) {
        line.write(&mut self.text);
        self.words += line.spoken_words();
    }
}

impl Transcript {
    /// Adds a message, and returns its number of words. Consecutive messages of one speaker share a line.
    pub(crate) fn add_message(&mut self, by: Option<&str>, medium: Medium, message: &str) -> usize {
        let text = text::line(message);
        if text.is_empty() {
            return 0;
        }
        let words = text::words(&text);
        let mut by = by.unwrap_or(UNKNOWN).to_owned();
        if medium == Medium::Chat {
            by.push_str(" (chat)");
        }
        match self.lines.back_mut() {
            Some(last) if last.by.as_deref() == Some(&by) => last.text.extend([" ", &text]),
            _ => self.lines.push_back(Line { by: Some(by), text }),
        }
        words
    }

    /// Adds a remark by the plugin.
    pub(crate) fn add_remark(&mut self, remark: &str) {
        self.lines.push_back(Line { by: None, text: text::line(remark) });
    }

    /// Adds a remark that a part of the transcript is missing.
    pub(crate) fn add_missing_remark(&mut self) {
        self.add_remark(MISSING);
    }

    /// Counts the words that participants said.
    pub(crate) fn words(&self) -> usize {
        self.lines.iter().map(Line::spoken_words).sum()
    }

    /// Counts the words that the whole transcript has in a prompt, names and remarks included.
    pub(crate) fn size(&self) -> usize {
        self.lines.iter().map(Line::size).sum()
    }

    /// Counts the words that the whole transcript adds in a prompt to one whose last line is by this speaker.
    pub(crate) fn size_after(&self, by: Option<&str>) -> usize {
        let shared = self.lines.front().filter(|first| first.by.is_some() && first.by.as_deref() == by);
        let name = shared.map_or(0, |first| Line { by: first.by.clone(), text: String::new() }.size());
        self.size() - name
    }

    /// Returns who said the last line, if it is no remark.
    pub(crate) fn last_by(&self) -> Option<&str> {
        self.lines.back()?.by.as_deref()
    }

    /// Adds what came later. A speaker who goes on talking shares a line.
    pub(crate) fn append(&mut self, later: Self) {
        for line in later.lines {
            match self.lines.back_mut() {
                Some(last) if last.by.is_some() && last.by == line.by => last.text.extend([" ", &line.text]),
                _ => self.lines.push_back(line),
            }
        }
    }

    /// Removes and returns the oldest part, of at most `size` words in a prompt. Splits a line that is too
    /// long.
    pub(crate) fn take_oldest(&mut self, size: usize) -> Excerpt {
        let mut excerpt = Excerpt::default();
        let mut room = size;
        while let Some(line) = self.lines.pop_front_if(|line| line.size() <= room) {
            room -= line.size();
            excerpt.push(&line);
        }
        // A remark is never split: a part of it would be misleading.
        if let Some(Line { by: Some(by), text }) = self.lines.front_mut() {
            let line = |text: &str| Line { by: Some(by.clone()), text: text.to_owned() };
            let name = line("").size();
            let (now, later) = text::split(text, room.saturating_sub(name));
            if !now.is_empty() {
                excerpt.push(&line(now));
                *text = later.to_owned();
            }
        }
        excerpt
    }

    /// Drops the oldest words until the rest has at most `size` words in a prompt, and adds a remark. Returns
    /// how many words of participants were dropped.
    pub(crate) fn drop_oldest(&mut self, size: usize) -> usize {
        if self.size() <= size {
            return 0;
        }
        // The remark needs room too, and a word that is cut in two may count as two.
        let mut over = self.size() - size.saturating_sub(text::words(MISSING) + 1);
        let mut dropped = 0;
        while over > 0
            && let Some(line) = self.lines.front_mut()
        {
            if line.size() <= over {
                over -= line.size();
                dropped += line.spoken_words();
                self.lines.pop_front();
                continue;
            }
            let (removed, kept) = text::split(&line.text, over);
            let kept = kept.to_owned();
            let words = text::words(removed);
            dropped += if line.by.is_some() { words } else { 0 };
            over -= words;
            line.text = kept;
            // Drop a line of which only the name is left.
            if line.text.is_empty() {
                self.lines.pop_front();
            }
        }
        self.lines.push_front(Line { by: None, text: MISSING.to_owned() });
        dropped
    }
}

#[cfg(test)]
mod tests;
