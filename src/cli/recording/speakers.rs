//! Who speaks, where cues begin with a name: `Ada: We must go.`
//!
//! Zoom writes its transcripts so, and what is made from them. Nothing is escaped, and both a name and what is said may hold
//! a colon, so that a single cue doesn't tell where the name ends: `Ops: Grace: we are live` may be Grace of Ops, or Ops who
//! speaks to Grace. But names come back and sentences don't. So the whole transcript is looked at before it is played:
//!
//! 1. A name may end at a colon of a cue's first line that white space or the line's end follows (`10:30` holds none), if it
//!    has 100 characters at most.
//! 2. A transcript of which fewer than half of the cues have such a colon names nobody. Prose has some.
//! 3. Otherwise a cue's name ends at its first such colon, unless that is *no name by itself*: at least two cues begin with
//!    it, every one of them goes on to a further colon, and what they go on with comes back, each twice on average. Then the
//!    name ends at the next colon, of which the same is asked.
//!
//! So `Ops: Grace` and `Ops: Linus` are two people, even if Linus says one thing only, as long as nobody is just `Ops`. Ada
//! who now and then says `Note: we must go` stays Ada, because other cues of hers don't go on so. Who begins *every* cue with
//! the same words and a colon gets them into the name; without a list of names nothing tells that from a name.
//!
//! A name that a tag gives (`<v Ada>`) is beyond all this: such cues count among all cues, but aren't split.

use std::collections::HashMap;

/// The longest name, in characters.
const LONGEST: usize = 100;

/// How many different beginnings are remembered, which bounds the memory to a few megabytes. In a transcript with more of them
/// the first colon counts.
const MOST: usize = 10_000;

/// What cues begin with, in one transcript.
#[derive(Debug, Default)]
pub(super) struct Speakers {
    cues: u64,
    /// Cues that may have a name.
    maybe_named: u64,
    beginnings: HashMap<String, Heard>,
    /// There were more beginnings than can be remembered.
    overflowed: bool,
}

/// How cues go on that begin alike.
#[derive(Debug, Default)]
struct Heard {
    cues: u64,
    /// Those that go on to a further colon.
    go_on: u64,
    /// How many different texts they go on with.
    ways: u64,
}

impl Heard {
    fn is_no_name_by_itself(&self) -> bool {
        self.cues >= 2 && self.go_on == self.cues && self.ways * 2 <= self.cues
    }
}

/// Where a name may end: the places of the colons.
fn ends(line: &str) -> impl Iterator<Item = usize> {
    let colons = line.char_indices().take(LONGEST + 1).filter(|(_, c)| *c == ':').map(|(at, _)| at);
    colons.filter(|at| {
        let behind = line[at + 1..].chars().next();
        behind.is_none_or(char::is_whitespace) && !line[..*at].trim().is_empty()
    })
}

/// Whether what is said may be somebody's name and nothing else, as it is if that is what [`Speakers::name`] finds.
pub(super) fn may_be_name_alone(said: &str) -> bool {
    ends(said).last().is_some_and(|end| said[end + 1..].trim().is_empty())
}

impl Speakers {
    /// Counts a cue whose speaker is known.
    pub(super) fn hear_known(&mut self) {
        self.cues += 1;
    }

    /// Counts a cue by its first line.
    pub(super) fn hear(&mut self, line: &str) {
        self.cues += 1;
        let mut before: Option<&str> = None;
        for end in ends(line) {
            let beginning = line[..end].trim();
            if before.is_none() {
                self.maybe_named += 1;
            }
            if self.overflowed {
                return;
            }
            let is_new = !self.beginnings.contains_key(beginning);
            if is_new && self.beginnings.len() == MOST {
                self.overflowed = true;
                self.beginnings = HashMap::new();
                return;
            }
            if let Some(heard) = before.and_then(|before| self.beginnings.get_mut(before)) {
                heard.go_on += 1;
                heard.ways += u64::from(is_new);
            }
            self.beginnings.entry(beginning.to_owned()).or_default().cues += 1;
            before = Some(beginning);
        }
    }

    /// Who speaks in a cue, by its first line, and how many bytes of it say so.
    pub(super) fn name<'a>(&self, line: &'a str) -> Option<(&'a str, usize)> {
        if self.maybe_named * 2 < self.cues {
            return None;
        }
        let mut ends = ends(line).map(|end| (line[..end].trim(), end + 1));
        let mut name = ends.next()?;
        while self.beginnings.get(name.0).is_some_and(Heard::is_no_name_by_itself) {
            match ends.next() {
                Some(longer) => name = longer,
                None => break,
            }
        }
        Some(name)
    }

    /// How many bytes it keeps, beside what a map takes.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        self.beginnings.keys().map(String::capacity).sum()
    }
}

#[cfg(test)]
mod tests;
