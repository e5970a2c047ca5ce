//! The plugin's state in one meeting. Its size is bounded, however long the meeting is.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::text::comparison_key;

/// The most detected actions that the state holds; an older one may be detected again.
pub const MAX_REMEMBERED: usize = 200;

/// The most characters of all remembered actions together, because each prompt contains them. The newest
/// action is always remembered.
pub const MAX_REMEMBERED_CHARS: usize = 20_000;

/// The most new actions that one answer can add.
pub const MAX_NEW_ACTIONS: usize = 20;

/// The longest word, in characters, that is removed completely when the context is cut inside it.
const WORD_CHARS: usize = 40;

/// The plugin's state in one meeting.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The end of the conversation so far, one line for each packet.
    context: String,
    /// The remembered actions, oldest first.
    detected: VecDeque<ActionCall>,
}

/// An action with the values of its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ActionCall {
    pub(crate) action: Arc<str>,
    #[serde(default)]
    pub(crate) parameters: BTreeMap<Arc<str>, String>,
}

impl ActionCall {
    /// Returns a key that is equal for two calls with the same meaning.
    fn key(&self) -> Vec<String> {
        let parameters =
            self.parameters.iter().flat_map(|(name, value)| [comparison_key(name), comparison_key(value)]);
        std::iter::once(comparison_key(&self.action)).chain(parameters).collect()
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

    pub(crate) fn detected(&self) -> &VecDeque<ActionCall> {
        &self.detected
    }

    /// Appends lines to the context, and shortens it to its last `chars` characters.
    pub(crate) fn add_context(&mut self, lines: &[String], chars: usize) {
        for line in lines {
            if !self.context.is_empty() {
                self.context.push('\n');
            }
            self.context.push_str(line);
        }
        let from = self.context.len() - last_words(&self.context, chars).len();
        self.context.drain(..from);
    }

    /// Remembers the calls that are new, and returns them in their order.
    pub(crate) fn add_new(&mut self, calls: Vec<ActionCall>) -> Vec<ActionCall> {
        let mut known: HashSet<Vec<String>> = self.detected.iter().map(ActionCall::key).collect();
        let mut new: Vec<ActionCall> = calls.into_iter().filter(|call| known.insert(call.key())).collect();
        new.truncate(MAX_NEW_ACTIONS);
        self.detected.extend(new.iter().cloned());
        self.drop_oldest();
        new
    }

    fn drop_oldest(&mut self) {
        let mut chars: usize = self.detected.iter().map(ActionCall::chars).sum();
        while self.detected.len() > MAX_REMEMBERED
            || (chars > MAX_REMEMBERED_CHARS && self.detected.len() > 1)
        {
            let oldest = self.detected.pop_front().expect("invariant: there are at least two");
            chars -= oldest.chars();
        }
    }
}

/// Returns the last `chars` characters of a text, without the part of a word at their beginning if that part
/// is at most [`WORD_CHARS`] long.
fn last_words(text: &str, chars: usize) -> &str {
    let Some((index, previous)) = text.char_indices().nth_back(chars) else { return text };
    let tail = &text[index + previous.len_utf8()..];
    if previous.is_whitespace() {
        return tail.trim_start();
    }
    let rest_of_word = tail.char_indices().take(WORD_CHARS).find(|(_, c)| c.is_whitespace());
    rest_of_word.map_or(tail, |(end, _)| tail[end..].trim_start())
}

#[cfg(test)]
mod tests;
