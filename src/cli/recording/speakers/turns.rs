//! Splits a cue's lines into turns, with the name of who speaks in each.

use std::{collections::HashMap, sync::Arc};

use super::{
    counts::LabelCounts,
    decision::Accepted,
    label::{Generic, generic, is_only_sound, name_in_identifier},
    syntax::{
        LabelStyle, behind_colon, bracketed, ends_sentence, is_speaker_change, label_before, label_ends,
        without_brackets,
    },
    words::{is_discourse, is_sound},
};

/// The names in a transcript, as all of its cues together show them.
#[derive(Debug, Default)]
pub(in crate::cli::recording) struct SpeakerNames {
    /// `None` where the transcript has no names.
    pub(super) style: Option<LabelStyle>,
    pub(super) carries_over: bool,
    pub(super) accepted: Accepted,
    pub(super) has_sentences: bool,
    /// Every cue is a label and nothing else.
    pub(super) are_all_alone: bool,
    pub(super) by_label: HashMap<String, LabelCounts>,
}

/// What one participant says in a cue.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli::recording) struct Turn {
    pub(in crate::cli::recording) name: Option<Arc<str>>,
    pub(in crate::cli::recording) text: String,
}

/// The last speaker, to whom the next cue without a name belongs.
#[derive(Debug, Default)]
pub(in crate::cli::recording) struct LastSpeaker {
    name: Option<Arc<str>>,
    /// The last line did not end a sentence.
    is_mid_sentence: bool,
}

impl LastSpeaker {
    /// Makes the next cue without a name nobody's.
    pub(in crate::cli::recording) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl SpeakerNames {
    /// Splits a cue's lines into turns; none where the lines are names alone.
    pub(in crate::cli::recording) fn turns(
        &self,
        last: &mut LastSpeaker,
        identifier: Option<&str>,
        lines: &[String],
    ) -> Vec<Turn> {
        let in_identifier = || match self.style {
            Some(LabelStyle::Identifier) => identifier.and_then(name_in_identifier).map(|(name, _)| name),
            _ => None,
        };
        let mut name: Option<Arc<str>> = in_identifier().map(Into::into);
        let mut turns = Vec::new();
        let mut said: Vec<&str> = Vec::new();
        let mut begins_named = false;
        for (n, line) in lines.iter().enumerate() {
            let is_last = n + 1 == lines.len();
            let found = self.name_at_start(line, !last.is_mid_sentence).filter(|(name, length)| {
                let is_elsewhere = self.by_label.get(*name).is_some_and(|counts| counts.cues > counts.alone);
                let has_text = !line[*length..].trim().is_empty() || !is_last;
                // Within a cue, a line may begin with any words.
                let here = LabelCounts::default().in_cue(!last.is_mid_sentence);
                let is_turn = || begins_named && here.is_likely_name(name, self.has_sentences);
                (n == 0 || is_elsewhere || is_turn()) && (has_text || self.may_be_alone(name, is_elsewhere))
            });
            let text = match found {
                Some((found, length)) => {
                    if n > 0 {
                        self.add(&mut turns, last, name.take(), &said);
                        said.clear();
                    }
                    begins_named |= n == 0;
                    name = Some(without_brackets(found).into());
                    &line[length..]
                }
                None if n == 0 && name.is_none() && is_speaker_change(line) => {
                    last.name = None;
                    line
                }
                None => line,
            };
            last.is_mid_sentence = !ends_sentence(line);
            said.push(text.trim());
        }
        self.add(&mut turns, last, name, &said);
        turns
    }

    /// Whether a line may hold nothing but this name.
    fn may_be_alone(&self, name: &str, is_elsewhere: bool) -> bool {
        let comes_back = self.by_label.get(name).is_some_and(|counts| counts.cues >= 2);
        self.are_all_alone || is_elsewhere || comes_back || generic(name) == Some(Generic::Speaker)
    }

    fn add(&self, turns: &mut Vec<Turn>, last: &mut LastSpeaker, name: Option<Arc<str>>, said: &[&str]) {
        let said: Vec<&str> = said.iter().copied().filter(|line| !line.is_empty()).collect();
        let name = match name {
            Some(name) => {
                last.name = Some(name.clone());
                Some(name)
            }
            // A sound is nobody's, and does not end the last speaker's turn.
            None if said.iter().all(|line| is_only_sound(line)) => None,
            None => last.name.clone().filter(|_| self.carries_over),
        };
        if !said.is_empty() {
            turns.push(Turn { name, text: said.join(" ") });
        }
    }

    /// The name at a line's start, and how many bytes of the line it takes with its marks.
    pub(super) fn name_at_start<'a>(
        &self,
        line: &'a str,
        is_after_sentence: bool,
    ) -> Option<(&'a str, usize)> {
        let (label, length) = match self.style? {
            LabelStyle::Colon => {
                let ends = label_ends(line);
                let mut labels = ends.map(|end| (label_before(line, end), behind_colon(line, end)));
                let mut name = labels.next()?;
                while self.by_label.get(name.0).is_some_and(LabelCounts::is_only_a_prefix) {
                    match labels.next() {
                        Some(longer) => name = longer,
                        None => break,
                    }
                }
                name
            }
            LabelStyle::Brackets(pair) => bracketed(line, pair).filter(|(label, _)| {
                !is_sound(label) && !self.by_label.get(*label).is_some_and(|counts| counts.is_sound(label))
            })?,
            LabelStyle::Identifier => return None,
        };
        let counts = self.by_label.get(label).copied().unwrap_or_default();
        // A label that occurs once is judged by this line alone.
        let counts = if counts.cues <= 1 { counts.in_cue(is_after_sentence) } else { counts };
        let is_name = match self.accepted {
            Accepted::EveryLabel => !is_discourse(label),
            Accepted::LikelyNames => counts.is_likely_name(label, self.has_sentences),
        };
        is_name.then_some((label, length))
    }
}
