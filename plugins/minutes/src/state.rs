//! What the plugin remembers of a meeting.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use teammy_kernel::{DataPacket, Timestamp, data::ParticipantEvent};

use crate::transcript::{self, Transcript, Way};

/// The most names that are kept.
const MAX_ATTENDEES: usize = 200;

/// The notes so far, what is not in them yet, and who was there.
///
/// Every part has a bound, so that all of it stays far below what a state may be: the transcript's is
/// [`Config::chunk_words`](crate::Config::chunk_words), the notes' is twice
/// [`Config::summary_words`](crate::Config::summary_words).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// When the earliest packet of the meeting was.
    pub(crate) since: Option<Timestamp>,
    /// When the latest was.
    pub(crate) until: Option<Timestamp>,
    pub(crate) attendees: Attendees,
    /// What was said since the notes.
    pub(crate) pending: Transcript,
    /// The running summary.
    pub(crate) notes: String,
    /// How many words were said in all.
    pub(crate) words: u64,
    /// How many of them no notes could be made of.
    pub(crate) left_out: u64,
    /// How many packets never came here.
    pub(crate) lost: u64,
}

/// Who was there, in the order of appearance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Attendees {
    pub(crate) names: Vec<String>,
    /// Whether there were more than are kept.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) more: bool,
    /// Names that people had before, and what they are called now: what they said then may come later.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    before: BTreeMap<String, String>,
}

impl Attendees {
    fn add(&mut self, name: String) {
        if self.names.contains(&name) {
            return;
        }
        if self.names.len() < MAX_ATTENDEES {
            self.names.push(name);
        } else {
            self.more = true;
        }
    }

    /// Gives one another name; one who comes back under a name that is known is one again.
    fn rename(&mut self, from: &str, to: String) {
        self.before.remove(&to);
        self.before.values_mut().filter(|now| **now == from).for_each(|now| now.clone_from(&to));
        if self.before.len() < MAX_ATTENDEES {
            self.before.insert(from.to_owned(), to.clone());
        }
        let place = self.names.iter().position(|name| name == from);
        match place {
            Some(place) if self.names.contains(&to) => drop(self.names.remove(place)),
            Some(place) => self.names[place] = to,
            None => self.add(to),
        }
    }
}

impl Attendees {
    /// What somebody is called now.
    fn now(&self, name: String) -> String {
        self.before.get(&name).cloned().unwrap_or(name)
    }
}

impl State {
    /// Somebody says something to everybody.
    pub(crate) fn hear(&mut self, packet: &DataPacket, way: Way, text: &str) {
        let by = self.see(packet);
        self.words += count(self.pending.say(by.as_deref(), way, text));
    }

    /// Somebody comes, goes or changes their name.
    pub(crate) fn notice(&mut self, packet: &DataPacket, event: ParticipantEvent) {
        if event == ParticipantEvent::Joined
            && let Some(name) = packet.participant.as_deref().and_then(transcript::name)
        {
            // Somebody else comes under a name that was given up.
            self.attendees.before.remove(&name);
        }
        let by = self.see(packet);
        if let ParticipantEvent::Renamed { to } = event
            && let (Some(from), Some(to)) = (by, transcript::name(&to))
            && from != to
        {
            self.pending.remark(&format!("{from} is now called {to}"));
            self.attendees.rename(&from, to);
        }
    }

    /// So many packets never came here.
    pub(crate) fn miss(&mut self, packets: u64) {
        if packets > 0 {
            self.lost += packets;
            self.pending.remark_gap();
        }
    }

    /// Takes out what is pending beyond `size` words of a prompt.
    pub(crate) fn leave_out_beyond(&mut self, size: usize) {
        self.left_out += count(self.pending.leave_out(size));
    }

    /// How many words the notes are made of.
    pub(crate) fn words_noted(&self) -> u64 {
        self.words.saturating_sub(self.left_out).saturating_sub(count(self.pending.words()))
    }

    fn see(&mut self, packet: &DataPacket) -> Option<String> {
        let at = packet.timestamp;
        self.since = Some(self.since.map_or(at, |since| since.min(at)));
        self.until = Some(self.until.map_or(at, |until| until.max(at)));
        let name = packet.participant.as_deref().and_then(transcript::name)?;
        let name = self.attendees.now(name);
        self.attendees.add(name.clone());
        Some(name)
    }
}

/// A number of words, as the totals count them.
pub(crate) fn count(words: usize) -> u64 {
    u64::try_from(words).unwrap_or(u64::MAX)
}
