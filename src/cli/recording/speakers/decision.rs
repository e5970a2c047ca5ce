//! Decides whether the labels of one style are names, and which of them.
//!
//! [`RULES`] is a table: the first row whose style is the labels' and whose condition holds decides. Each
//! condition is a named method of [`Evidence`].

use super::{
    counts::{LabelCounts, Labels},
    label::{Generic, generic, is_name_like},
    syntax::LabelStyle,
    words::is_discourse,
};

/// Labels of one style that are names.
#[derive(Debug)]
pub(super) struct Candidate {
    /// How many cues have one.
    pub(super) labelled: u64,
    /// Whether a cue without a label is the last speaker's.
    pub(super) carries_over: bool,
    pub(super) accepted: Accepted,
}

/// Which labels are names.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepted {
    EveryLabel,
    #[default]
    LikelyNames,
}

/// When labels of some style are names.
struct Rule {
    applies_to: fn(LabelStyle) -> bool,
    holds: fn(&Evidence<'_>) -> bool,
    accepted: Accepted,
}

const RULES: [Rule; 4] = [
    Rule {
        applies_to: |style| style == LabelStyle::Colon,
        holds: |evidence| evidence.nearly_all_cues_are_labelled() && evidence.is_more_than_one_sentence(),
        accepted: Accepted::EveryLabel,
    },
    Rule {
        applies_to: |style| style != LabelStyle::Identifier,
        holds: |evidence| evidence.half_of_the_cues_are_named(),
        accepted: Accepted::LikelyNames,
    },
    Rule {
        applies_to: |style| style != LabelStyle::Identifier,
        holds: |evidence| {
            evidence.names_are_hardly_repeated()
                && (evidence.all_names_are_generic()
                    || evidence.names_come_back_often_enough()
                    || evidence.names_begin_early())
        },
        accepted: Accepted::LikelyNames,
    },
    Rule {
        applies_to: |style| style == LabelStyle::Identifier,
        holds: |evidence| {
            evidence.half_of_the_cues_are_labelled()
                && (evidence.half_of_the_labels_are_certain()
                    || evidence.labels_come_back()
                    || evidence.all_labels_have_two_words())
        },
        accepted: Accepted::EveryLabel,
    },
];

/// Decides about the labels of a style, in a transcript of this many cues.
pub(super) fn decide(labels: &Labels, style: LabelStyle, cues: u64) -> Option<Candidate> {
    if labels.labelled == 0 {
        return None;
    }
    if labels.overflowed {
        let are_names = style == LabelStyle::Colon && labels.labelled * 2 >= cues;
        return are_names.then_some(Candidate {
            labelled: labels.labelled,
            carries_over: false,
            accepted: Accepted::EveryLabel,
        });
    }
    let evidence = Evidence::new(labels, style, cues);
    let rule = RULES.iter().find(|rule| (rule.applies_to)(style) && (rule.holds)(&evidence))?;
    let labelled = match rule.accepted {
        Accepted::EveryLabel => evidence.all.cues(),
        Accepted::LikelyNames => evidence.names.cues(),
    };
    let carries_over = evidence.names_are_hardly_repeated() && evidence.unlabelled_cues_go_on(labelled);
    Some(Candidate { labelled, carries_over, accepted: rule.accepted })
}

/// Some labels with their counts.
struct Group<'a>(Vec<(&'a str, LabelCounts)>);

impl Group<'_> {
    fn cues(&self) -> u64 {
        self.0.iter().map(|(_, counts)| counts.cues).sum()
    }

    fn different(&self) -> u64 {
        self.0.len() as u64
    }
}

/// What a decision rests on.
struct Evidence<'a> {
    labels: &'a Labels,
    style: LabelStyle,
    /// All cues of the transcript.
    cues: u64,
    /// All labels that can be names.
    all: Group<'a>,
    /// Those of them that are likely names.
    names: Group<'a>,
}

impl<'a> Evidence<'a> {
    fn new(labels: &'a Labels, style: LabelStyle, cues: u64) -> Self {
        let has_sentences = labels.has_sentences();
        let all = labels.by_label.iter().map(|(label, counts)| (label.as_str(), *counts));
        let all: Vec<_> = all
            .filter(|(label, counts)| match style {
                LabelStyle::Colon => labels.is_whole_name(label, counts) && !is_discourse(label),
                LabelStyle::Brackets(_) => !counts.is_sound(label),
                LabelStyle::Identifier => true,
            })
            .collect();
        let names = all.iter().copied();
        let names: Vec<_> =
            names.filter(|(label, counts)| counts.is_likely_name(label, has_sentences)).collect();
        Self { labels, style, cues, all: Group(all), names: Group(names) }
    }
}

impl Evidence<'_> {
    /// Nine of ten cues have a label.
    fn nearly_all_cues_are_labelled(&self) -> bool {
        !self.all.0.is_empty() && self.labels.labelled * 10 >= self.cues * 9
    }

    /// In a transcript of three cues or fewer, one sentence with a colon is already a third of the labels. So
    /// one label at least must come back, look like a name, or have fewer than three words.
    fn is_more_than_one_sentence(&self) -> bool {
        self.cues > 3
            || self.all.0.iter().any(|(label, counts)| {
                counts.cues >= 2 || is_name_like(label) || label.split_whitespace().count() < 3
            })
    }

    /// Half of the cues begin with a likely name.
    fn half_of_the_cues_are_named(&self) -> bool {
        let named = self.names.cues();
        named > 0 && named * 2 >= self.cues
    }

    /// A cue hardly ever has the same name as the cue directly before it: names are written where the speaker
    /// changes.
    fn names_are_hardly_repeated(&self) -> bool {
        let repeated: u64 = self.names.0.iter().map(|(_, counts)| counts.repeated).sum();
        repeated * 2 <= self.labels.unlabelled_after_labelled || repeated * 20 <= self.names.cues()
    }

    /// All names stand for unknown speakers, as `Speaker 1` does.
    fn all_names_are_generic(&self) -> bool {
        !self.names.0.is_empty()
            && self.names.0.iter().all(|(label, _)| generic(label) == Some(Generic::Speaker))
    }

    /// There are two names at least, each occurs twice on average, and three of a hundred cues have one.
    fn names_come_back_often_enough(&self) -> bool {
        let (named, different) = (self.names.cues(), self.names.different());
        different >= 2 && named >= 2 * different && named * 33 >= self.cues
    }

    /// There are two names at least, the first label stands within the first cues, and a fifth of the cues
    /// have a name. In brackets a label may not be all of a cue, as a sound often is.
    fn names_begin_early(&self) -> bool {
        self.labels.first_at.is_some_and(|at| at <= 3)
            && self.names.different() >= 2
            && self.names.cues() * 5 >= self.cues
            && (!matches!(self.style, LabelStyle::Brackets(_)) || self.labels.are_never_alone())
    }

    /// Half of the cues have a label.
    fn half_of_the_cues_are_labelled(&self) -> bool {
        self.all.cues() * 2 >= self.cues
    }

    /// Half of the labels have a form that only names have.
    fn half_of_the_labels_are_certain(&self) -> bool {
        self.labels.certain * 2 >= self.all.cues()
    }

    /// There are fewer different labels than cues with one.
    fn labels_come_back(&self) -> bool {
        self.all.cues() > self.all.different()
    }

    /// All labels have two words or more, and none is generic.
    fn all_labels_have_two_words(&self) -> bool {
        let mut labels = self.all.0.iter();
        labels.all(|(name, _)| name.contains(char::is_whitespace) && generic(name).is_none())
    }

    /// Whether cues without a name are the last speaker's, if `labelled` cues have one: speakers never have
    /// two cues in a row, or a good part of the cues has no name. A few cues without a name are nobody's.
    fn unlabelled_cues_go_on(&self, labelled: u64) -> bool {
        let unlabelled = self.cues.saturating_sub(labelled);
        self.names.0.iter().all(|(_, counts)| counts.repeated == 0) || unlabelled * 4 >= labelled
    }
}
