//! Finds out who speaks, where the text or the cues' identifiers name the speakers: `Ada: We must go.`,
//! `[Ada] We must go.`
//!
//! Zoom writes `Ada: …` into each cue, and so do tools that work on its transcripts; other programs write a
//! name only where the speaker changes, or put it in brackets or into the cue's identifier. Nothing is
//! escaped, and both a name and speech may hold a colon, so that one cue tells little: `Ops: Grace: we are
//! live` may be Grace of Ops, or Ops who speaks to Grace. So all cues are counted before the first is played.
//!
//! A *label* is the beginning of a cue that may be a name. A transcript writes its labels in one of three
//! styles: before a colon, in brackets (of five kinds), or in identifiers. The style in which most cues have
//! a name counts, and no other.
//!
//! **Colons.** A label has 100 characters at most, and ends at a colon that white space, the line's end or a
//! script without spaces follows (`10:30` holds none). A name ends at the first such colon, unless the label
//! up to there is *only a prefix*: at least two cues begin with it, each of them goes on to a further colon,
//! and each continuation occurs twice on average. Then the same test decides about the next colon. So `Ops:
//! Grace` and `Ops: Linus` are two people, even if Linus says one thing only, as long as nobody is just
//! `Ops`. Ada, who sometimes says `Note: we must go`, stays Ada, because other cues of hers do not go on to a
//! colon. A speaker who begins *every* cue with the same words and a colon gets these words into the name;
//! without a list of names nothing tells the two apart.
//!
//! **Brackets.** `[Ada]` or `(Ada)` before speech. Sounds are no names: `[Music]`, and any label that is
//! alone in at least half of its cues.
//!
//! **Identifiers.** A name instead of a cue's number, or after the number. Identifiers are names if
//! at least half of the cues have one, and they come back, or all have two words, or stand in quotes after a
//! number, as Webex writes them.
//!
//! **Which labels are names.** With colons, if at least nine of ten cues have a label, all labels are names.
//! Elsewhere prose has colons too. There, a label is a name if it comes back (and has no more than a few
//! words), or is numbered as programs number unknown speakers (`Speaker 1`), or looks like a name
//! ([`label::is_name_like`]) and follows the end of a sentence, where labels in this transcript do. Words
//! that sentences begin with (`Note`, `First`) are no names, and neither are chapters (`Lesson 1`,
//! `Lesson 2`, …). And such a transcript has names only if
//! 1. at least half of its cues have one; or
//! 2. they are **written on change**: a cue hardly ever has the same name as the cue directly before it, and
//!    there are at least two names that come back, each twice on average, in three of a hundred cues at
//!    least; or all stand for unknown speakers; or a fifth of the cues have one of at least two names, and
//!    the first label has at most three cues before it.
//!
//! [`decision`] has these conditions as a table.
//!
//! **Carrying over.** Where names are written on change, a cue without a name is the last speaker's, unless
//! it is a sound or begins with `>>`, as the turn of an unknown speaker does. Where names are repeated from
//! cue to cue, a cue without one is nobody's.
//!
//! **Several turns in one cue.** A further line of a cue that begins with a name is another turn, if the name
//! begins a cue elsewhere, or the cue's first line begins with a name too.
//!
//! **Names alone.** A cue that holds nothing but a name says who speaks in the next cue, and is no packet, if
//! the name begins other cues with text, or comes back. Any other line that ends in a colon is speech.
//!
//! A cue whose speaker a tag names (`<v Ada>`) is not split; it counts among all cues.

mod counts;
mod decision;
mod label;
mod syntax;
mod turns;
mod words;

#[cfg(test)]
pub(super) use self::words::is_discourse;
use self::{
    counts::Labels,
    decision::{Candidate, decide},
    label::name_in_identifier,
    syntax::{
        LabelStyle, behind_colon, bracketed, ends_sentence, label_before, label_ends, may_be_label_only,
        may_begin_with_label,
    },
    words::is_sound,
};
pub(super) use self::{
    label::{is_name_like, is_persons_name},
    turns::{LastSpeaker, SpeakerNames, Turn},
};

/// Whether lines may be names and nothing else.
pub(super) fn may_be_names_alone(lines: &[String]) -> bool {
    lines.iter().all(|line| may_be_label_only(line))
}

/// How many turns lines hold at most.
pub(super) fn most_turns(lines: &[String]) -> u64 {
    1 + lines.iter().skip(1).filter(|line| may_begin_with_label(line)).count() as u64
}

/// Counts the labels of a transcript, cue by cue.
#[derive(Debug, Default)]
pub(super) struct SpeakerDetector {
    cues: u64,
    /// The last cue did not end a sentence.
    is_mid_sentence: bool,
    /// In the order of [`LabelStyle::ALL`].
    labels: [Labels; LabelStyle::ALL.len()],
}

impl SpeakerDetector {
    /// Counts a cue whose speaker is known.
    pub(super) fn add_attributed_cue(&mut self) {
        self.cues += 1;
        self.is_mid_sentence = false;
        self.labels.iter_mut().for_each(Labels::interrupt);
    }

    /// Counts a cue by its identifier and its lines.
    pub(super) fn add_cue(&mut self, identifier: Option<&str>, lines: &[String]) {
        let at = self.cues;
        self.cues += 1;
        let is_mid_sentence = lines.last().is_some_and(|line| !ends_sentence(line));
        let is_after_sentence = !std::mem::replace(&mut self.is_mid_sentence, is_mid_sentence);
        let Some(line) = lines.first() else { return };
        for (style, labels) in LabelStyle::ALL.into_iter().zip(&mut self.labels) {
            let mut is_alone = false;
            let found: Vec<&str> = match style {
                LabelStyle::Colon => {
                    let ends: Vec<usize> = label_ends(line).collect();
                    is_alone = lines.len() == 1
                        && ends.last().is_some_and(|end| line[behind_colon(line, *end)..].trim().is_empty());
                    ends.into_iter().map(|end| label_before(line, end)).collect()
                }
                LabelStyle::Brackets(pair) => bracketed(line, pair)
                    .map(|(label, said)| {
                        is_alone = said == line.len() && lines.len() == 1;
                        label
                    })
                    .into_iter()
                    .collect(),
                LabelStyle::Identifier => identifier
                    .and_then(name_in_identifier)
                    .map(|(name, is_certain)| {
                        labels.certain += u64::from(is_certain);
                        name
                    })
                    .into_iter()
                    .collect(),
            };
            if found.first().is_some_and(|label| !is_sound(label)) {
                labels.first_at.get_or_insert(at);
            }
            labels.add_cue(&found, is_alone, is_after_sentence);
        }
    }

    /// Chooses the style of the transcript's names, and which labels are names.
    pub(super) fn finish(mut self) -> SpeakerNames {
        let candidates = LabelStyle::ALL.into_iter().enumerate().filter_map(|(n, style)| {
            let candidate = decide(&self.labels[n], style, self.cues)?;
            Some((candidate, n, style))
        });
        // Of styles with as many names, the first counts.
        let best = candidates.min_by_key(|(candidate, n, _)| (std::cmp::Reverse(candidate.labelled), *n));
        match best {
            Some((Candidate { carries_over, accepted, .. }, n, style)) => {
                let has_sentences = self.labels[n].has_sentences();
                let by_label = std::mem::take(&mut self.labels[n].by_label);
                let are_all_alone = by_label.values().map(|counts| counts.alone).sum::<u64>() >= self.cues;
                SpeakerNames {
                    style: Some(style),
                    carries_over,
                    accepted,
                    has_sentences,
                    are_all_alone,
                    by_label,
                }
            }
            None => SpeakerNames::default(),
        }
    }

    /// How many bytes the labels take.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        self.labels.iter().map(Labels::footprint).sum()
    }
}

#[cfg(test)]
mod tests;
