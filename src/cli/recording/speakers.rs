//! Who speaks, where text or identifiers say so: `Ada: We must go.`, `[Ada] We must go.`
//!
//! Zoom writes `Ada: …` into each cue, and what is made from its transcripts does; other programs write a name only where the
//! speaker changes, or put it in brackets or into the cue's identifier. Nothing is escaped, and both a name and what is said
//! may hold a colon, so that a single cue tells little: `Ops: Grace: we are live` may be Grace of Ops, or Ops who speaks to
//! Grace. So the whole transcript is looked at before it is played. There are four places for names; the one with the most
//! labels that are taken for names counts, and no other.
//!
//! **Colons.** A name may end at a colon of a line that white space or the line's end follows (`10:30` holds none), if it has
//! 100 characters at most. A cue's name ends at its first such colon, unless that is *no name by itself*: at least two cues
//! begin with it, every one of them goes on to a further colon, and what they go on with comes back, each twice on average.
//! Then the name ends at the next colon, of which the same is asked. So `Ops: Grace` and `Ops: Linus` are two people, even if
//! Linus says one thing only, as long as nobody is just `Ops`. Ada who now and then says `Note: we must go` stays Ada, because
//! other cues of hers don't go on so. Who begins *every* cue with the same words and a colon gets them into the name; without
//! a list of names nothing tells that from a name.
//!
//! **Brackets.** `[Ada]` or `(Ada)` before what is said. Sounds are no names: `[Music]`, and whatever stands alone as often as not.
//!
//! **Identifiers.** A name instead of a cue's number, or behind it, if names come back, or have two words, or stand in quotes
//! behind a number, as Webex writes them.
//!
//! Labels are names
//! 1. if at least half of the cues have one; prose has some colons; or
//! 2. if they are **written on change**: the first cue has one, they look like names ([`label::is_name_like`]), there are at
//!    least two different ones, or `Speaker 1` and the like, and hardly ever has a cue directly behind another the same.
//!
//! **Carrying over.** Where a cue hardly ever has the same label as the one directly before it, a cue without a label is the
//! last speaker's. Where labels are repeated from cue to cue, a cue without one is nobody's.
//!
//! **Several in one cue.** A further line of a cue that begins with a label is another turn, if the label begins a cue
//! elsewhere, or looks like a name and the cue's first line has one too.
//!
//! A name that a tag gives (`<v Ada>`) is beyond all this: such cues count among all cues, but aren't split.

mod label;

use std::{collections::HashMap, sync::Arc};

pub(super) use label::is_name_like;
use label::{bare, bracketed, ends, identified, is_numbered, is_sound, may_be_alone, may_begin, up_to};

const SQUARE: [char; 2] = ['[', ']'];
const ROUND: [char; 2] = ['(', ')'];

/// How many different labels are remembered for each place, which bounds the memory to a few megabytes. In a transcript with
/// more of them the first colon counts.
const MOST: usize = 10_000;

/// Where names may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Colon,
    Brackets([char; 2]),
    Identifier,
}

impl Place {
    const ALL: [Self; 4] = [Self::Colon, Self::Brackets(SQUARE), Self::Brackets(ROUND), Self::Identifier];
}

/// What a transcript's cues begin with.
#[derive(Debug, Default)]
pub(super) struct Speakers {
    cues: u64,
    labels: [Labels; Place::ALL.len()],
}

/// What cues begin with at one place.
#[derive(Debug, Default)]
struct Labels {
    /// Cues that have a label.
    labelled: u64,
    /// The very first cue has one.
    has_first: bool,
    /// Cues with a label directly behind a cue with a label.
    adjacent: u64,
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
}

impl Heard {
    fn is_no_name_by_itself(&self) -> bool {
        self.cues >= 2 && self.go_on == self.cues && self.ways * 2 <= self.cues
    }

    /// Whether it is a sound rather than somebody, if it stands in brackets.
    fn is_sound(&self, label: &str) -> bool {
        is_sound(label) || self.alone * 2 >= self.cues
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
        for labels in &mut self.labels {
            labels.before.clear();
        }
    }

    /// Counts a cue by its identifier and its lines.
    pub(super) fn hear(&mut self, identifier: Option<&str>, lines: &[String]) {
        let is_first = self.cues == 0;
        self.cues += 1;
        let Some(line) = lines.first() else { return };
        for (place, labels) in Place::ALL.into_iter().zip(&mut self.labels) {
            let mut is_alone = false;
            let chain: Vec<&str> = match place {
                Place::Colon => ends(line).map(|end| up_to(line, end)).collect(),
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
            labels.has_first |= is_first && !chain.is_empty();
            labels.hear(&chain, is_alone);
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
            Some((Verdict { carries, .. }, n, place)) => {
                let heard = std::mem::take(&mut self.labels[n].heard);
                Names { place: Some(place), carries, heard }
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
    carries: bool,
}

impl Labels {
    /// Counts a cue that begins with these, each of which is longer than the one before.
    fn hear(&mut self, chain: &[&str], is_alone: bool) {
        if chain.is_empty() {
            return self.before.clear();
        }
        self.labelled += 1;
        self.adjacent += u64::from(!self.before.is_empty());
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
            heard.alone += u64::from(is_alone);
            shorter = Some(label);
        }
    }

    /// Whether labels here are names, in a transcript with so many cues.
    fn verdict(&self, place: Place, cues: u64) -> Option<Verdict> {
        let is_half = |labelled: u64| labelled > 0 && labelled * 2 >= cues;
        if self.overflowed {
            let counts = place == Place::Colon && is_half(self.labelled);
            return counts.then_some(Verdict { labelled: self.labelled, carries: false });
        }
        let names: Vec<(&str, Heard)> = self
            .heard
            .iter()
            .map(|(label, heard)| (label.as_str(), *heard))
            .filter(|(label, heard)| match place {
                Place::Colon => self.ends_a_name(label, heard),
                Place::Brackets(_) => !heard.is_sound(label),
                Place::Identifier => true,
            })
            .collect();
        let sum = |of: fn(&Heard) -> u64| names.iter().map(|(_, heard)| of(heard)).sum::<u64>();
        let different = names.len() as u64;
        let labelled = if place == Place::Colon { self.labelled } else { sum(|heard| heard.cues) };
        let looking_so =
            names.iter().filter(|(label, _)| is_name_like(label)).map(|(_, heard)| heard.cues).sum::<u64>();
        let are_numbered = !names.is_empty() && names.iter().all(|(label, _)| is_numbered(label));
        let come_back = labelled >= 2 * different;
        let hardly_again = sum(|heard| heard.again) * 10 <= self.adjacent;
        let on_change = self.has_first
            && hardly_again
            && looking_so * 10 >= labelled * 9
            && (are_numbered
                || different >= 2 && (come_back || different <= 4 || labelled * 2 >= different * 3));
        let are_names = match place {
            Place::Colon => is_half(labelled) || on_change,
            Place::Brackets(_) => {
                // A sound that no list knows stands alone now and then.
                let any_alone = self.heard.values().any(|heard| heard.alone > 0);
                is_half(labelled) && looking_so * 2 >= labelled
                    || on_change && (are_numbered || come_back || !any_alone)
            }
            Place::Identifier => {
                let have_two_words =
                    names.iter().all(|(name, _)| name.contains(char::is_whitespace) && !is_numbered(name));
                (is_half(labelled) || on_change)
                    && (self.certain * 2 >= labelled || labelled > different || have_two_words)
            }
        };
        are_names.then_some(Verdict { labelled, carries: hardly_again })
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
pub(super) struct LastSpeaker(Option<Arc<str>>);

impl LastSpeaker {
    /// Nobody's, from here on.
    pub(super) fn forget(&mut self) {
        self.0 = None;
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
        let begins = lines.first().and_then(|line| self.name(line));
        let mut name: Option<Arc<str>> = named_by_identifier().map(Into::into);
        let mut turns = Vec::new();
        let mut said: Vec<&str> = Vec::new();
        for (n, line) in lines.iter().enumerate() {
            let found = self.name(line).filter(|(name, _)| {
                n == 0 || self.heard.contains_key(*name) || begins.is_some() && is_name_like(name)
            });
            let line = match found {
                Some((found, length)) => {
                    if n > 0 {
                        self.add(&mut turns, last, name.take(), &said);
                        said.clear();
                    }
                    name = Some(bare(found).into());
                    &line[length..]
                }
                None => line,
            };
            said.push(line.trim());
        }
        self.add(&mut turns, last, name, &said);
        turns
    }

    fn add(&self, turns: &mut Vec<Turn>, last: &mut LastSpeaker, name: Option<Arc<str>>, said: &[&str]) {
        let name = match name {
            Some(name) => {
                last.0 = Some(name.clone());
                Some(name)
            }
            None => last.0.clone().filter(|_| self.carries),
        };
        let said: Vec<&str> = said.iter().copied().filter(|line| !line.is_empty()).collect();
        if !said.is_empty() {
            turns.push(Turn { name, text: said.join(" ") });
        }
    }

    /// Whom a line names at its start, and how many bytes of it say so.
    fn name<'a>(&self, line: &'a str) -> Option<(&'a str, usize)> {
        match self.place? {
            Place::Colon => {
                let mut ends = ends(line).map(|end| (up_to(line, end), end + 1));
                let mut name = ends.next()?;
                while self.heard.get(name.0).is_some_and(Heard::is_no_name_by_itself) {
                    match ends.next() {
                        Some(longer) => name = longer,
                        None => break,
                    }
                }
                Some(name)
            }
            Place::Brackets(pair) => bracketed(line, pair).filter(|(label, _)| {
                is_name_like(label)
                    && !self.heard.get(*label).is_some_and(|heard| heard.is_sound(label))
                    && !is_sound(label)
            }),
            Place::Identifier => None,
        }
    }
}

#[cfg(test)]
mod tests;
