//! What the plugin remembers of a meeting: bounded, however long the meeting is.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::key;

/// How many detected actions are remembered; an older one may be detected again.
pub const REMEMBERED: usize = 200;

/// How many characters the remembered actions hold together at most, as each question shows them. The newest
/// is always remembered.
pub const REMEMBERED_CHARS: usize = 20_000;

/// The most new actions that are taken from one answer.
pub const NEW: usize = 20;

/// The longest word that is left out whole where the context is cut.
const WORD_CHARS: usize = 40;

/// What the plugin remembers of a meeting.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// What was said last, a line for each packet.
    context: String,
    /// The newest actions that were detected, the newest last.
    detected: VecDeque<Call>,
}

/// An action with its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) action: Arc<str>,
    #[serde(default)]
    pub(crate) parameters: BTreeMap<Arc<str>, String>,
}

impl Call {
    /// What is the same of two that mean the same.
    fn key(&self) -> Vec<String> {
        let parameters = self.parameters.iter().flat_map(|(name, value)| [key(name), key(value)]);
        std::iter::once(key(&self.action)).chain(parameters).collect()
    }

    fn chars(&self) -> usize {
        let parameters = self.parameters.iter().flat_map(|(name, value)| [name.as_ref(), value.as_str()]);
        std::iter::once(self.action.as_ref()).chain(parameters).map(|text| text.chars().count()).sum()
    }
}

impl State {
    pub(crate) fn context(&self) -> &str {
        &self.context
    }

    pub(crate) fn detected(&self) -> &VecDeque<Call> {
        &self.detected
    }

    /// Adds lines to the context, and cuts it to its last `chars` characters.
    pub(crate) fn remember(&mut self, lines: &[String], chars: usize) {
        for line in lines {
            if !self.context.is_empty() {
                self.context.push('\n');
            }
            self.context.push_str(line);
        }
        let from = self.context.len() - tail(&self.context, chars).len();
        self.context.drain(..from);
    }

    /// Those that are new, in their order; from now on they are not.
    pub(crate) fn detect(&mut self, calls: Vec<Call>) -> Vec<Call> {
        let mut known: HashSet<Vec<String>> = self.detected.iter().map(Call::key).collect();
        let mut new: Vec<Call> = calls.into_iter().filter(|call| known.insert(call.key())).collect();
        new.truncate(NEW);
        self.detected.extend(new.iter().cloned());
        self.forget();
        new
    }

    fn forget(&mut self) {
        let mut chars: usize = self.detected.iter().map(Call::chars).sum();
        while self.detected.len() > REMEMBERED || (chars > REMEMBERED_CHARS && self.detected.len() > 1) {
            let oldest = self.detected.pop_front().expect("invariant: there are at least two");
            chars -= oldest.chars();
        }
    }
}

/// The end of a text, at most so many characters of it, from the beginning of a word where there is one
/// nearby.
fn tail(text: &str, chars: usize) -> &str {
    let Some(before) = text.char_indices().nth_back(chars) else { return text };
    let (place, previous) = before;
    let tail = &text[place + previous.len_utf8()..];
    if previous.is_whitespace() {
        return tail.trim_start();
    }
    let rest_of_word = tail.char_indices().take(WORD_CHARS).find(|(_, c)| c.is_whitespace());
    rest_of_word.map_or(tail, |(end, _)| tail[end..].trim_start())
}

#[cfg(test)]
mod tests;
