//! The plugin's state in one meeting: what was left out, and why.

use serde::{Deserialize, Serialize};

/// What the plugin could not transcribe in one meeting. Sound itself is not in the state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// How many segments of speech have no text, because the model failed or refused.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) left_out: u64,
    /// How many frames the meeting dropped before the plugin got them.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) lost: u64,
    /// How many frames had no channel, or a sample rate that no sound has.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) unreadable: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl State {
    /// Adds what was counted since.
    pub(crate) fn add(&mut self, counts: Self) {
        self.left_out = self.left_out.saturating_add(counts.left_out);
        self.lost = self.lost.saturating_add(counts.lost);
        self.unreadable = self.unreadable.saturating_add(counts.unreadable);
    }
}
