//! What one participant, or several together, have said.

use serde::{Deserialize, Serialize};
use teammy_kernel::data::Transcription;

/// What one participant, or several together, have said so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) turns: u64,
    pub(crate) words: u64,
    pub(crate) ms: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, said: &Transcription) {
        let words = said.text.split_whitespace().count();
        let words = u64::try_from(words).unwrap_or(u64::MAX);
        self.add(&Self { turns: 1, words, ms: said.duration_ms() });
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.turns = self.turns.saturating_add(other.turns);
        self.words = self.words.saturating_add(other.words);
        self.ms = self.ms.saturating_add(other.ms);
    }

    pub(crate) fn subtract(&mut self, other: &Self) {
        self.turns = self.turns.saturating_sub(other.turns);
        self.words = self.words.saturating_sub(other.words);
        self.ms = self.ms.saturating_sub(other.ms);
    }

    pub(crate) fn seconds(&self) -> f64 {
        // Exact up to 2^53 milliseconds, which is 285,000 years.
        #[allow(clippy::cast_precision_loss)]
        let seconds = self.ms as f64 / 1000.0;
        seconds
    }
}
