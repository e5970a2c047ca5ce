//! Counts the labels of one style over all cues of a transcript.

use std::collections::HashMap;

use super::{
    label::{Generic, generic, is_name_like, may_come_back},
    syntax::{label_ends, without_brackets},
    words::is_sound,
};

/// How many different labels are counted, which bounds the memory of each style to a few megabytes. In a
/// transcript with more labels a name ends at the first colon.
const MOST: usize = 10_000;

/// The labels of one style.
#[derive(Debug, Default)]
pub(super) struct Labels {
    /// Cues that have a label.
    pub(super) labelled: u64,
    /// Cues that have a label, follow the end of a sentence, and are not the first with a label.
    after_sentence: u64,
    /// Cues without a label directly after one with a label.
    pub(super) unlabelled_after_labelled: u64,
    /// How many cues precede the first one with a label that is no sound.
    pub(super) first_at: Option<u64>,
    /// Labels whose form alone shows that they are names.
    pub(super) certain: u64,
    /// The labels of the cue before.
    previous: Vec<String>,
    pub(super) by_label: HashMap<String, LabelCounts>,
    /// There were more labels than are counted.
    pub(super) overflowed: bool,
}

/// The cues that begin with one label.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct LabelCounts {
    pub(super) cues: u64,
    /// Cues that go on to a further colon.
    continued: u64,
    /// How many different longer labels the label goes on to.
    continuations: u64,
    /// Cues directly after another one with this label.
    pub(super) repeated: u64,
    /// Cues that hold nothing but the label.
    pub(super) alone: u64,
    /// Cues that follow the end of a sentence.
    after_sentence: u64,
}

impl LabelCounts {
    /// These counts, with `after_sentence` for this one cue only.
    pub(super) fn in_cue(self, is_after_sentence: bool) -> Self {
        Self { after_sentence: u64::from(is_after_sentence), ..self }
    }

    /// Whether the label is only the first part of longer ones: each of its cues, two at least, goes on to a
    /// further colon, and each continuation occurs twice on average.
    pub(super) fn is_only_a_prefix(&self) -> bool {
        self.cues >= 2 && self.continued == self.cues && self.continuations * 2 <= self.cues
    }

    /// Whether the label, in brackets, is a sound rather than a name.
    pub(super) fn is_sound(&self, label: &str) -> bool {
        is_sound(label) || self.alone * 2 >= self.cues
    }

    /// Whether the label is a name, in a transcript of which not all cues begin with names.
    pub(super) fn is_likely_name(&self, label: &str, has_sentences: bool) -> bool {
        // With a small letter a label is a user name or a turn of phrase, so it must occur once more.
        let often = if without_brackets(label).starts_with(char::is_lowercase) { 3 } else { 2 };
        match generic(label) {
            Some(Generic::Speaker) => true,
            Some(Generic::Numbered) => self.cues >= 2,
            None if self.cues >= often => may_come_back(label) || is_name_like(label),
            None => is_name_like(label) && (self.after_sentence > 0 || !has_sentences),
        }
    }
}

impl Labels {
    /// Counts a cue that begins with these labels, each of which is longer than the one before.
    pub(super) fn add_cue(&mut self, labels: &[&str], is_alone: bool, is_after_sentence: bool) {
        if labels.is_empty() {
            self.unlabelled_after_labelled += u64::from(!self.previous.is_empty());
            return self.previous.clear();
        }
        self.after_sentence += u64::from(is_after_sentence && self.labelled > 0);
        self.labelled += 1;
        let previous = std::mem::take(&mut self.previous);
        self.previous = labels.iter().map(|label| (*label).to_owned()).collect();
        if self.overflowed {
            return;
        }
        let mut shorter: Option<&str> = None;
        for (depth, label) in labels.iter().enumerate() {
            let is_new = !self.by_label.contains_key(*label);
            if is_new && self.by_label.len() == MOST {
                self.overflowed = true;
                self.by_label = HashMap::new();
                return;
            }
            if let Some(counts) = shorter.and_then(|shorter| self.by_label.get_mut(shorter)) {
                counts.continued += 1;
                counts.continuations += u64::from(is_new);
            }
            let counts = self.by_label.entry((*label).to_owned()).or_default();
            counts.cues += 1;
            counts.repeated += u64::from(previous.get(depth).is_some_and(|previous| previous == label));
            counts.alone += u64::from(is_alone && depth + 1 == labels.len());
            counts.after_sentence += u64::from(is_after_sentence);
            shorter = Some(label);
        }
    }

    /// Forgets the cue before: the next cue repeats nothing.
    pub(super) fn interrupt(&mut self) {
        self.previous.clear();
    }

    /// Whether labels begin where a sentence has ended, as they do in a transcript that has sentences.
    pub(super) fn has_sentences(&self) -> bool {
        self.labelled > 1 && self.after_sentence * 10 >= (self.labelled - 1) * 8
    }

    /// Whether no cue holds nothing but a label.
    pub(super) fn are_never_alone(&self) -> bool {
        self.by_label.values().all(|counts| counts.alone == 0)
    }

    /// Whether a name ends with this label, rather than with a shorter or a longer one.
    pub(super) fn is_whole_name(&self, label: &str, counts: &LabelCounts) -> bool {
        let shorter = |end| self.by_label.get(label[..end].trim());
        !counts.is_only_a_prefix()
            && label_ends(label).all(|end| shorter(end).is_none_or(LabelCounts::is_only_a_prefix))
    }

    /// How many bytes the labels take, beside the map itself.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        self.by_label.keys().map(String::capacity).sum()
    }
}
