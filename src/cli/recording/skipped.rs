//! The broken lines, or cues of a transcript, that a replay skips, and what it says about them.

use serde::Serialize;

use super::error::Broken;
use crate::cli::text::count;

/// How many broken lines are named; the rest are counted.
const NAMED: usize = 10;

/// How much was skipped.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct SkipCounts {
    /// Lines, or cues of a transcript.
    pub(crate) skipped: u64,
    /// The words of a transcript's cues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) skipped_words: Option<u64>,
}

/// Broken lines, or cues of a transcript, that were skipped.
#[derive(Debug, Default)]
pub(crate) struct Skipped {
    named: Vec<Broken>,
    count: u64,
    pub(super) is_transcript: bool,
    /// How many words the skipped cues have, as far as they can be read.
    pub(super) words: u64,
}

impl Skipped {
    /// How many lines or cues, and how many words of the cues.
    pub(crate) fn counts(&self) -> SkipCounts {
        SkipCounts { skipped: self.count, skipped_words: self.is_transcript.then_some(self.words) }
    }

    /// The warnings to print.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self.named.iter().map(|broken| format!("skipped {broken}")).collect();
        let more = self.count - u64::try_from(self.named.len()).unwrap_or(u64::MAX).min(self.count);
        let (one, many) = if self.is_transcript { ("cue", "cues") } else { ("line", "lines") };
        if more > 0 {
            warnings.push(format!("… and {more} more broken {}", if more == 1 { one } else { many }));
        }
        if self.count > 0 {
            let words = match (self.is_transcript, self.words) {
                (false, _) => String::new(),
                (true, words) => format!(" with {}", count(words, "word", "words")),
            };
            warnings.push(format!("skipped {}{words} in all", count(self.count, one, many)));
        }
        warnings
    }

    pub(super) fn into_first(self) -> Option<Broken> {
        self.named.into_iter().next()
    }

    pub(super) fn add(&mut self, broken: Broken) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(broken);
        }
    }
}
