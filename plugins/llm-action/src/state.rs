//! The plugin's state in one meeting. Its size is bounded, however long the meeting is.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use teammy_kernel::{Datastore, DatastoreError};

use crate::text::comparison_key;

/// The most detected actions that the plugin remembers; an older one may be detected again.
pub const MAX_REMEMBERED: usize = 200;

/// The most characters of all remembered actions together, because each prompt contains them. The newest
/// action is always remembered.
pub const MAX_REMEMBERED_CHARS: usize = 20_000;

/// The most new actions that one answer can add.
pub const MAX_NEW_ACTIONS: usize = 20;

/// The most packets in one prompt. When so many are new, the model is asked at once.
pub const MAX_NEW_LINES: usize = 16;

/// The most bytes of new words that the state holds between prompts.
const MAX_NEW_BYTES: usize = 16 * 1024;

/// The longest word, in characters, that is removed completely when the context is cut inside it.
const WORD_CHARS: usize = 40;

/// The most of the remembered actions that the state itself holds, and the most characters of them.
const MAX_NEWEST: usize = 10;
const MAX_NEWEST_CHARS: usize = 2_000;

/// The key of the remembered actions that the state doesn't hold.
const EARLIER: &str = "earlier-actions";

/// The plugin's state in one meeting.
///
/// The context changes with every prompt, and a changed state is stored whole. So the state holds only the
/// newest of the remembered actions, and a key holds the others, which change rarely.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The end of the conversation so far, one line for each packet.
    context: String,
    /// The newest of the remembered actions, oldest first. A state of an earlier version holds all of them.
    detected: VecDeque<ActionCall>,
    /// What was said since the last prompt.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    new_lines: Vec<NewLine>,
    /// How many packets no prompt held, because a model refused or failed, or a budget was used up.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) left_out: u64,
    /// How many answers were no list of actions, after their repair turn.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) unreadable: u64,
    /// Whether the key holds any.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    has_earlier: bool,
    /// What the key holds, once it was read. It isn't stored with the state, so it costs a change nothing.
    #[serde(skip)]
    earlier: Option<Arc<VecDeque<ActionCall>>>,
}

/// A packet's words, for the next prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NewLine {
    /// A line `Name: text`.
    pub(crate) text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<Arc<str>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
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

    /// The remembered actions, oldest first, once [`load`](Self::load) has read the key.
    pub(crate) fn detected(&self) -> impl Iterator<Item = &ActionCall> + Clone {
        let all = self.earlier.iter().flat_map(|earlier| earlier.iter()).chain(&self.detected);
        let forgotten = all.clone().count() - remembered(all.clone());
        all.skip(forgotten)
    }

    /// Reads the remembered actions that the state doesn't hold, unless they were read before.
    pub(crate) async fn load(&mut self, datastore: &Datastore) -> Result<(), DatastoreError> {
        if self.has_earlier && self.earlier.is_none() {
            self.earlier = Some(datastore.get(EARLIER).await?.unwrap_or_default());
        }
        Ok(())
    }

    /// Moves the remembered actions to the key if the state holds too many.
    pub(crate) fn make_room(&mut self, datastore: &Datastore) -> Result<(), DatastoreError> {
        let chars: usize = self.detected.iter().map(ActionCall::chars).sum();
        if self.detected.len() <= MAX_NEWEST && chars <= MAX_NEWEST_CHARS {
            return Ok(());
        }
        let all: VecDeque<ActionCall> = self.detected().cloned().collect();
        datastore.set(EARLIER, &all)?;
        self.detected.clear();
        self.earlier = Some(Arc::new(all));
        self.has_earlier = true;
        Ok(())
    }

    pub(crate) fn new_lines(&self) -> &[NewLine] {
        &self.new_lines
    }

    /// Adds a packet's words to the next prompt.
    pub(crate) fn add_new_line(&mut self, line: NewLine) {
        self.new_lines.push(line);
    }

    /// Whether the next prompt holds so much that it must not wait.
    pub(crate) fn is_prompt_full(&self) -> bool {
        self.new_lines.len() >= MAX_NEW_LINES || self.new_bytes() > MAX_NEW_BYTES
    }

    fn new_bytes(&self) -> usize {
        self.new_lines.iter().map(|line| line.text.len()).sum()
    }

    /// Leaves out all new lines, and returns how many that are.
    pub(crate) fn leave_out_new_lines(&mut self) -> usize {
        self.leave_out(self.new_lines.len())
    }

    /// Leaves out the oldest new lines until the next prompt can wait, and returns how many that are.
    pub(crate) fn leave_out_oldest(&mut self) -> usize {
        let mut count = 0;
        while self.is_prompt_full() {
            count += self.leave_out(1);
        }
        count
    }

    fn leave_out(&mut self, count: usize) -> usize {
        self.new_lines.drain(..count);
        self.left_out += u64::try_from(count).unwrap_or(u64::MAX);
        count
    }

    /// Moves the new lines to the end of the context, which is shortened to its last `chars` characters. Returns who
    /// said them, each once.
    pub(crate) fn take_new_lines_into_context(&mut self, chars: usize) -> Vec<Arc<str>> {
        let mut said_by = Vec::new();
        for line in std::mem::take(&mut self.new_lines) {
            if !self.context.is_empty() {
                self.context.push('\n');
            }
            self.context.push_str(&line.text);
            said_by.extend(line.by.filter(|name| !said_by.contains(name)));
        }
        let from = self.context.len() - last_words(&self.context, chars).len();
        self.context.drain(..from);
        said_by
    }

    /// Remembers the calls that are new, and returns them in their order.
    pub(crate) fn add_new(&mut self, calls: Vec<ActionCall>) -> Vec<ActionCall> {
        if calls.is_empty() {
            return calls;
        }
        let mut known: HashSet<Vec<String>> = self.detected().map(ActionCall::key).collect();
        let mut new: Vec<ActionCall> = calls.into_iter().filter(|call| known.insert(call.key())).collect();
        new.truncate(MAX_NEW_ACTIONS);
        self.detected.extend(new.iter().cloned());
        new
    }
}

/// How many of these actions, the newest, are remembered.
fn remembered<'a>(all: impl DoubleEndedIterator<Item = &'a ActionCall>) -> usize {
    let mut chars = 0;
    let mut fits = |index: usize, call: &ActionCall| {
        chars += call.chars();
        index == 0 || (index < MAX_REMEMBERED && chars <= MAX_REMEMBERED_CHARS)
    };
    all.rev().enumerate().take_while(|(index, call)| fits(*index, call)).count()
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
