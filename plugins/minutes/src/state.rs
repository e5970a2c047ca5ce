//! The plugin's state in one meeting.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use teammy_kernel::{DataPacket, Timestamp, data::ParticipantEvent};

use crate::transcript::{self, Medium, Transcript};

/// The most attendees, and the most former names, that the state holds.
const MAX_ATTENDEES: usize = 200;

/// The running summary, the transcript that it doesn't cover yet, and the attendees.
///
/// Every part is bounded, so the state stays far below the runtime's limit: the transcript by
/// [`Config::chunk_words`](crate::config::Config::chunk_words), the running summary by twice
/// [`Config::summary_words`](crate::config::Config::summary_words).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The earliest timestamp of a packet.
    pub(crate) since: Option<Timestamp>,
    /// The latest timestamp of a packet.
    pub(crate) until: Option<Timestamp>,
    pub(crate) attendees: Attendees,
    /// The transcript since the running summary.
    pub(crate) pending: Transcript,
    /// The running summary.
    pub(crate) notes: String,
    /// All words of the meeting, of speech and public chat.
    pub(crate) words: u64,
    /// The words among them that were left out of the running summary.
    pub(crate) left_out: u64,
    /// The packets that were lost before they reached the plugin.
    pub(crate) lost: u64,
}

/// The attendees, in the order of their first packet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Attendees {
    pub(crate) names: Vec<String>,
    /// Whether there were more attendees than `names` can hold.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) more: bool,
    /// Former names, each with the participant's present name: a transcription may arrive after a rename.
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

    /// Renames an attendee. If the new name is another attendee's, the two become one.
    fn rename(&mut self, from: &str, to: String) {
        self.before.remove(&to);
        self.before.values_mut().filter(|now| **now == from).for_each(|now| now.clone_from(&to));
        if self.before.len() < MAX_ATTENDEES {
            self.before.insert(from.to_owned(), to.clone());
        }
        let index = self.names.iter().position(|name| name == from);
        match index {
            Some(index) if self.names.contains(&to) => drop(self.names.remove(index)),
            Some(index) => self.names[index] = to,
            None => self.add(to),
        }
    }

    /// Returns the participant's present name.
    fn current_name(&self, name: String) -> String {
        self.before.get(&name).cloned().unwrap_or(name)
    }
}

impl State {
    /// Adds speech or a public chat message to the transcript.
    pub(crate) fn add_message(&mut self, packet: &DataPacket, medium: Medium, text: &str) {
        let by = self.record_packet(packet);
        self.words += to_u64(self.pending.add_message(by.as_deref(), medium, text));
    }

    /// Applies a participant event: joined, left or renamed.
    pub(crate) fn apply_event(&mut self, packet: &DataPacket, event: ParticipantEvent) {
        if event == ParticipantEvent::Joined
            && let Some(name) = packet.participant.as_deref().and_then(transcript::clean_name)
        {
            // A new participant joins under a former name of another one.
            self.attendees.before.remove(&name);
        }
        let by = self.record_packet(packet);
        if let ParticipantEvent::Renamed { to } = event
            && let (Some(from), Some(to)) = (by, transcript::clean_name(&to))
            && from != to
        {
            self.pending.add_remark(&format!("{from} is now called {to}"));
            self.attendees.rename(&from, to);
        }
    }

    /// Records that packets were lost, if any were.
    pub(crate) fn record_gap(&mut self, packets: u64) {
        if packets > 0 {
            self.lost += packets;
            self.pending.add_missing_remark();
        }
    }

    /// Drops the oldest of the pending transcript until it has at most `size` words, and counts what is left
    /// out.
    pub(crate) fn shrink_pending(&mut self, size: usize) {
        self.left_out += to_u64(self.pending.drop_oldest(size));
    }

    /// Returns how many words the running summary covers.
    pub(crate) fn words_noted(&self) -> u64 {
        self.words.saturating_sub(self.left_out).saturating_sub(to_u64(self.pending.words()))
    }

    /// Records the packet's time and participant; returns the participant's present name.
    fn record_packet(&mut self, packet: &DataPacket) -> Option<String> {
        let at = packet.timestamp;
        self.since = Some(self.since.map_or(at, |since| since.min(at)));
        self.until = Some(self.until.map_or(at, |until| until.max(at)));
        let name = packet.participant.as_deref().and_then(transcript::clean_name)?;
        let name = self.attendees.current_name(name);
        self.attendees.add(name.clone());
        Some(name)
    }
}

/// Converts a number of words for the totals.
pub(crate) fn to_u64(words: usize) -> u64 {
    u64::try_from(words).unwrap_or(u64::MAX)
}
