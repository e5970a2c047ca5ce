//! Who speaks, where text or identifiers say so: `Ada: We must go.`, `[Ada] We must go.`
//!
//! Zoom writes `Ada: …` into each cue, and what is made from its transcripts does; other programs write a
//! name only where the speaker changes, or put it in brackets or into the cue's identifier. Nothing is
//! escaped, and both a name and what is said may hold a colon, so that a single cue tells little: `Ops:
//! Grace: we are live` may be Grace of Ops, or Ops who speaks to Grace. So the whole transcript is looked at
//! before it is played. There are four places for names; the one with the most labels that are taken for
//! names counts, and no other.
//!
//! **Colons.** A name may end at a colon of a line that white space or the line's end follows (`10:30` holds
//! none), if it has 100 characters at most. A cue's name ends at its first such colon, unless that is *no
//! name by itself*: at least two cues begin with it, every one of them goes on to a further colon, and what
//! they go on with comes back, each twice on average. Then the name ends at the next colon, of which the same
//! is asked. So `Ops: Grace` and `Ops: Linus` are two people, even if Linus says one thing only, as long as
//! nobody is just `Ops`. Ada who now and then says `Note: we must go` stays Ada, because other cues of hers
//! don't go on so. Who begins *every* cue with the same words and a colon gets them into the name; without
//! a list of names nothing tells that from a name.
//!
//! **Brackets.** `[Ada]` or `(Ada)` before what is said. Sounds are no names: `[Music]`, and whatever stands
//! alone as often as not.
//!
//! **Identifiers.** A name instead of a cue's number, or behind it, if names come back, or have two words, or
//! stand in quotes behind a number, as Webex writes them.
//!
//! **Which labels are names.** Where at least nine of ten cues have a label, all are. Elsewhere prose has
//! colons too, so that a label is a name only if it comes back (and is no more than a few words), or is
//! numbered as programs do for whom they don't know (`Speaker 1`), or looks like a name
//! ([`label::is_name_like`]) and stands where a sentence has ended, if labels in this transcript do. Words
//! that sentences begin with (`Note`, `First`) are none, and neither are chapters (`Lesson 1`, `Lesson 2`,
//! …). And a transcript has names at all only if
//! 1. at least half of its cues have such a label; or
//! 2. they are **written on change**: a cue hardly ever has the same as the one directly before it, and there
//!    are at least two that come back, each twice on average, in three of a hundred cues at least; or all are
//!    numbered; or, in a fifth of the cues, two are there, the first of them within the first three cues.
//!
//! **Carrying over.** Where names are written on change, a cue without one is the last speaker's, unless it
//! is a sound or begins with `>>`, as the turn of somebody unknown does. Where they are repeated from cue to
//! cue, a cue without one is nobody's.
//!
//! **Several in one cue.** A further line of a cue that begins with a name is another turn, if the name
//! begins a cue elsewhere, or the cue's first line has one too.
//!
//! **Names alone** in a cue say whose the next one is, and are no packet, if the name begins other cues with
//! text, or comes back. Anything else that ends in a colon is said.
//!
//! A name that a tag gives (`<v Ada>`) is beyond all this: such cues count among all cues, but aren't split.

mod label;

use std::{collections::HashMap, sync::Arc};

use label::{
    Nameless, bare, behind, bracketed, ends, ends_sentence, identified, is_change, is_sound, is_sound_alone,
    may_be_alone, may_begin, may_come_back, nameless, up_to,
};
pub(super) use label::{is_discourse, is_name_like, is_persons_name};

/// The brackets that names stand in.
const BRACKETS: [[char; 2]; 5] = [['[', ']'], ['(', ')'], ['【', '】'], ['（', '）'], ['［', '］']];

/// How many different labels are remembered for each place, which bounds the memory to a few megabytes. In a
/// transcript with more of them the first colon counts.
const MOST: usize = 10_000;

/// Where names may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Colon,
    Brackets([char; 2]),
    Identifier,
}

impl Place {
    const ALL: [Self; 2 + BRACKETS.len()] = [
        Self::Colon,
        Self::Brackets(BRACKETS[0]),
        Self::Brackets(BRACKETS[1]),
        Self::Brackets(BRACKETS[2]),
        Self::Brackets(BRACKETS[3]),
        Self::Brackets(BRACKETS[4]),
        Self::Identifier,
    ];
}

/// What a transcript's cues begin with.
#[derive(Debug, Default)]
pub(super) struct Speakers {
    cues: u64,
    /// The last cue did not end one.
    goes_on: bool,
    labels: [Labels; Place::ALL.len()],
}

/// What cues begin with at one place.
#[derive(Debug, Default)]
struct Labels {
    /// Cues that have a label.
    labelled: u64,
    /// Cues with a label that are not the first and stand behind the end of a sentence.
    begin: u64,
    /// Cues without a label directly behind one with a label.
    bare_behind: u64,
    /// How many cues are before the first that has one and is no sound.
    first_at: Option<u64>,
    /// Labels whose form alone shows that they are names.
    certain: u64,
    /// What the cue before began with.
    before: Vec<String>,
    heard: HashMap<String, Heard>,
    /// There were more labels than can be remembered.
    overflowed: bool,
}

/// The cues that begin alike.
#[derive(Debug, Default, Clone, Copy)]
struct Heard {
    cues: u64,
    /// Those that go on to a further colon.
    go_on: u64,
    /// How many different texts they go on with.
    ways: u64,
    /// Those directly behind another that begins so.
    again: u64,
    /// Those in which nothing else stands.
    alone: u64,
    /// Those behind the end of a sentence.
    begin: u64,
}

impl Heard {
    fn is_no_name_by_itself(&self) -> bool {
        self.cues >= 2 && self.go_on == self.cues && self.ways * 2 <= self.cues
    }

    /// Whether it is a sound rather than somebody, if it stands in brackets.
    fn is_sound(&self, label: &str) -> bool {
        is_sound(label) || self.alone * 2 >= self.cues
    }

    /// Whether it is somebody, in a transcript with or without sentences, of which not all cues begin with
    /// somebody.
    fn is_somebody(&self, label: &str, has_sentences: bool) -> bool {
        match nameless(label) {
            Some(Nameless::StandIn) => true,
            Some(Nameless::Numbered) => self.cues >= 2,
            // Small letters need more to be a user's name than a turn of phrase.
            None if self.cues >= if bare(label).starts_with(char::is_lowercase) { 3 } else { 2 } => {
                may_come_back(label) || is_name_like(label)
            }
            None => is_name_like(label) && (self.begin > 0 || !has_sentences),
        }
    }
}

/// Whether what is said in lines may be names and nothing else.
pub(super) fn may_be_names_alone(lines: &[String]) -> bool {
    lines.iter().all(|line| may_be_alone(line))
}

/// How many turns lines hold at most.
pub(super) fn most_turns(lines: &[String]) -> u64 {
    1 + lines.iter().skip(1).filter(|line| may_begin(line)).count() as u64
}

impl Speakers {
    /// Counts a cue whose speaker is known.
    pub(super) fn hear_known(&mut self) {
        self.cues += 1;
        self.goes_on = false;
        for labels in &mut self.labels {
            labels.before.clear();
        }
    }

    /// Counts a cue by its identifier and its lines.
    pub(super) fn hear(&mut self, identifier: Option<&str>, lines: &[String]) {
        let at = self.cues;
        self.cues += 1;
        let begins =
            !std::mem::replace(&mut self.goes_on, lines.last().is_some_and(|line| !ends_sentence(line)));
        let Some(line) = lines.first() else { return };
        for (place, labels) in Place::ALL.into_iter().zip(&mut self.labels) {
            let mut is_alone = false;
            let chain: Vec<&str> = match place {
                Place::Colon => {
                    let ends: Vec<usize> = ends(line).collect();
                    is_alone = lines.len() == 1
                        && ends.last().is_some_and(|end| line[behind(line, *end)..].trim().is_empty());
                    ends.into_iter().map(|end| up_to(line, end)).collect()
                }
                Place::Brackets(pair) => bracketed(line, pair)
                    .map(|(label, said)| {
                        is_alone = said == line.len() && lines.len() == 1;
                        label
                    })
                    .into_iter()
                    .collect(),
                Place::Identifier => identifier
                    .and_then(identified)
                    .map(|(name, is_certain)| {
                        labels.certain += u64::from(is_certain);
                        name
                    })
                    .into_iter()
                    .collect(),
            };
            if chain.first().is_some_and(|label| !is_sound(label)) {
                labels.first_at.get_or_insert(at);
            }
            labels.hear(&chain, is_alone, begins);
        }
    }

    /// Says where names stand, and which labels are names.
    pub(super) fn names(mut self) -> Names {
        let found = Place::ALL.into_iter().enumerate().filter_map(|(n, place)| {
            let verdict = self.labels[n].verdict(place, self.cues)?;
            Some((verdict, n, place))
        });
        // Of places with as many names, the first counts.
        let best = found.min_by_key(|(verdict, n, _)| (std::cmp::Reverse(verdict.labelled), *n));
        match best {
            Some((Verdict { carries, which, .. }, n, place)) => {
                let has_sentences = self.labels[n].has_sentences();
                let heard = std::mem::take(&mut self.labels[n].heard);
                let are_all_alone = heard.values().map(|heard| heard.alone).sum::<u64>() >= self.cues;
                Names { place: Some(place), carries, which, has_sentences, are_all_alone, heard }
            }
            None => Names::default(),
        }
    }

    /// How many bytes it keeps, beside what maps take.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        let of = |labels: &Labels| labels.heard.keys().map(String::capacity).sum::<usize>();
        self.labels.iter().map(of).sum()
    }
}

/// That the labels at one place are names.
struct Verdict {
    /// How many cues have one.
    labelled: u64,
    /// Cues without one are the last speaker's.
    carries: bool,
    which: Which,
}

/// Which labels are names.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Which {
    Every,
    /// Those that are heard as names are.
    #[default]
    Heard,
}

impl Labels {
    /// Counts a cue that begins with these, each of which is longer than the one before.
    fn hear(&mut self, chain: &[&str], is_alone: bool, begins: bool) {
        if chain.is_empty() {
            self.bare_behind += u64::from(!self.before.is_empty());
            return self.before.clear();
        }
        self.begin += u64::from(begins && self.labelled > 0);
        self.labelled += 1;
        let before = std::mem::take(&mut self.before);
        self.before = chain.iter().map(|label| (*label).to_owned()).collect();
        if self.overflowed {
            return;
        }
        let mut shorter: Option<&str> = None;
        for (depth, label) in chain.iter().enumerate() {
            let is_new = !self.heard.contains_key(*label);
            if is_new && self.heard.len() == MOST {
                self.overflowed = true;
                self.heard = HashMap::new();
                return;
            }
            if let Some(heard) = shorter.and_then(|shorter| self.heard.get_mut(shorter)) {
                heard.go_on += 1;
                heard.ways += u64::from(is_new);
            }
            let heard = self.heard.entry((*label).to_owned()).or_default();
            heard.cues += 1;
            heard.again += u64::from(before.get(depth).is_some_and(|before| before == label));
            heard.alone += u64::from(is_alone && depth + 1 == chain.len());
            heard.begin += u64::from(begins);
            shorter = Some(label);
        }
    }

    /// Whether labels here are names, in a transcript with so many cues.
    fn verdict(&self, place: Place, cues: u64) -> Option<Verdict> {
        if self.labelled == 0 {
            return None;
        }
        let has_sentences = self.has_sentences();
        if self.overflowed {
            let counts = place == Place::Colon && self.labelled * 2 >= cues;
            return counts.then_some(Verdict {
                labelled: self.labelled,
                carries: false,
                which: Which::Every,
            });
        }
        let all = self.heard.iter().map(|(label, heard)| (label.as_str(), *heard));
        let all: Vec<(&str, Heard)> = all
            .filter(|(label, heard)| match place {
                Place::Colon => self.ends_a_name(label, heard) && !is_discourse(label),
                Place::Brackets(_) => !heard.is_sound(label),
                Place::Identifier => true,
            })
            .collect();
        let somebody: Vec<(&str, Heard)> =
            all.iter().copied().filter(|(label, heard)| heard.is_somebody(label, has_sentences)).collect();
        let sum = |of: &[(&str, Heard)], what: fn(&Heard) -> u64| {
            of.iter().map(|(_, heard)| what(heard)).sum::<u64>()
        };
        let (labelled, different) = (sum(&somebody, |heard| heard.cues), somebody.len() as u64);
        let again = sum(&somebody, |heard| heard.again);
        // Of so few cues that all begin so, one sentence with a colon would be half.
        let takes_all = place == Place::Colon
            && !all.is_empty()
            && self.labelled * 10 >= cues * 9
            && (cues > 3
                || all.iter().any(|(label, heard)| {
                    heard.cues >= 2 || is_name_like(label) || label.split_whitespace().count() < 3
                }));
        let is_half = labelled > 0 && labelled * 2 >= cues;
        let come_back = different >= 2 && labelled >= 2 * different;
        let are_unknown = !somebody.is_empty()
            && somebody.iter().all(|(label, _)| nameless(label) == Some(Nameless::StandIn));
        let is_early = self.first_at.is_some_and(|at| at <= 3)
            && different >= 2
            && labelled * 5 >= cues
            && (!matches!(place, Place::Brackets(_)) || self.alone_nowhere());
        let hardly_again = again * 2 <= self.bare_behind || again * 20 <= labelled;
        let on_change = hardly_again && (are_unknown || come_back && labelled * 33 >= cues || is_early);
        let are_names = match place {
            Place::Colon | Place::Brackets(_) => takes_all || is_half || on_change,
            Place::Identifier => {
                let have_two_words = all
                    .iter()
                    .all(|(name, _)| name.contains(char::is_whitespace) && nameless(name).is_none());
                let (labelled, different) = (sum(&all, |heard| heard.cues), all.len() as u64);
                labelled * 2 >= cues
                    && (self.certain * 2 >= labelled || labelled > different || have_two_words)
            }
        };
        let (which, labelled) = if takes_all || place == Place::Identifier {
            (Which::Every, sum(&all, |heard| heard.cues))
        } else {
            (Which::Heard, labelled)
        };
        let without = cues.saturating_sub(labelled);
        // A few cues without a name among many that have one are nobody's, if speakers have several in a row.
        let carries = hardly_again && (again == 0 || without * 4 >= labelled);
        are_names.then_some(Verdict { labelled, carries, which })
    }

    /// Whether speakers change where a sentence ends, which they do in any transcript that has sentences.
    fn has_sentences(&self) -> bool {
        self.labelled > 1 && self.begin * 10 >= (self.labelled - 1) * 8
    }

    /// Whether no label is ever all that stands in a cue.
    fn alone_nowhere(&self) -> bool {
        self.heard.values().all(|heard| heard.alone == 0)
    }

    /// Whether a name ends with these words, rather than before or behind them.
    fn ends_a_name(&self, label: &str, heard: &Heard) -> bool {
        let shorter = |end| self.heard.get(label[..end].trim());
        !heard.is_no_name_by_itself()
            && ends(label).all(|end| shorter(end).is_none_or(Heard::is_no_name_by_itself))
    }
}

/// Who speaks in a transcript, as the whole of it tells.
#[derive(Debug, Default)]
pub(super) struct Names {
    place: Option<Place>,
    carries: bool,
    which: Which,
    has_sentences: bool,
    /// No cue has anything but a label.
    are_all_alone: bool,
    heard: HashMap<String, Heard>,
}

/// What one participant says in a cue.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) name: Option<Arc<str>>,
    pub(super) text: String,
}

/// Whose the cues without a name are.
#[derive(Debug, Default)]
pub(super) struct LastSpeaker {
    name: Option<Arc<str>>,
    /// The last line did not end a sentence.
    goes_on: bool,
}

impl LastSpeaker {
    /// Nobody's, from here on.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Names {
    /// What a cue's lines say, and who; nothing where they are names alone.
    pub(super) fn turns(
        &self,
        last: &mut LastSpeaker,
        identifier: Option<&str>,
        lines: &[String],
    ) -> Vec<Turn> {
        let named_by_identifier = || match self.place {
            Some(Place::Identifier) => identifier.and_then(identified).map(|(name, _)| name),
            _ => None,
        };
        let mut name: Option<Arc<str>> = named_by_identifier().map(Into::into);
        let mut turns = Vec::new();
        let mut said: Vec<&str> = Vec::new();
        let mut begins_named = false;
        for (n, line) in lines.iter().enumerate() {
            let is_last = n + 1 == lines.len();
            let found = self.name(line, !last.goes_on).filter(|(name, length)| {
                let is_elsewhere = self.heard.get(*name).is_some_and(|heard| heard.cues > heard.alone);
                let has_text = !line[*length..].trim().is_empty() || !is_last;
                // Within a cue, a line may begin with any words.
                let here = Heard { begin: u64::from(!last.goes_on), ..Heard::default() };
                let is_turn = || begins_named && here.is_somebody(name, self.has_sentences);
                (n == 0 || is_elsewhere || is_turn()) && (has_text || self.stands_alone(name, is_elsewhere))
            });
            let text = match found {
                Some((found, length)) => {
                    if n > 0 {
                        self.add(&mut turns, last, name.take(), &said);
                        said.clear();
                    }
                    begins_named |= n == 0;
                    name = Some(bare(found).into());
                    &line[length..]
                }
                None if n == 0 && name.is_none() && is_change(line) => {
                    last.name = None;
                    line
                }
                None => line,
            };
            last.goes_on = !ends_sentence(line);
            said.push(text.trim());
        }
        self.add(&mut turns, last, name, &said);
        turns
    }

    /// Whether a name may be all that a line says.
    fn stands_alone(&self, name: &str, is_elsewhere: bool) -> bool {
        let comes_back = self.heard.get(name).is_some_and(|heard| heard.cues >= 2);
        self.are_all_alone || is_elsewhere || comes_back || nameless(name) == Some(Nameless::StandIn)
    }

    fn add(&self, turns: &mut Vec<Turn>, last: &mut LastSpeaker, name: Option<Arc<str>>, said: &[&str]) {
        let said: Vec<&str> = said.iter().copied().filter(|line| !line.is_empty()).collect();
        let name = match name {
            Some(name) => {
                last.name = Some(name.clone());
                Some(name)
            }
            // Nobody makes a sound, and whoever spoke goes on.
            None if said.iter().all(|line| is_sound_alone(line)) => None,
            None => last.name.clone().filter(|_| self.carries),
        };
        if !said.is_empty() {
            turns.push(Turn { name, text: said.join(" ") });
        }
    }

    /// Whom a line names at its start, and how many bytes of it say so. A line begins a sentence or goes on
    /// with one.
    fn name<'a>(&self, line: &'a str, begins: bool) -> Option<(&'a str, usize)> {
        let (label, length) = match self.place? {
            Place::Colon => {
                let mut ends = ends(line).map(|end| (up_to(line, end), behind(line, end)));
                let mut name = ends.next()?;
                while self.heard.get(name.0).is_some_and(Heard::is_no_name_by_itself) {
                    match ends.next() {
                        Some(longer) => name = longer,
                        None => break,
                    }
                }
                name
            }
            Place::Brackets(pair) => bracketed(line, pair).filter(|(label, _)| {
                !is_sound(label) && !self.heard.get(*label).is_some_and(|heard| heard.is_sound(label))
            })?,
            Place::Identifier => return None,
        };
        let heard = self.heard.get(label).copied().unwrap_or_default();
        // What came once is somebody only where it stands.
        let heard = if heard.cues <= 1 { Heard { begin: u64::from(begins), ..heard } } else { heard };
        let is_name = match self.which {
            Which::Every => !is_discourse(label),
            Which::Heard => heard.is_somebody(label, self.has_sentences),
        };
        is_name.then_some((label, length))
    }
}

#[cfg(test)]
mod tests;
