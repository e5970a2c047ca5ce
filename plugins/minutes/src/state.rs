//! The plugin's state in one meeting.

use serde::{Deserialize, Serialize};
use teammy_kernel::{DataPacket, Datastore, DatastoreError, Timestamp, data::ParticipantEvent};

use crate::{
    attendees::Attendees,
    pending::Pending,
    transcript::{self, Medium},
};

/// The key of the running summary.
const NOTES: &str = "notes";

/// What every packet changes: counts, the end of the pending transcript, the first attendees.
///
/// A changed state is stored whole, so every part is small, and doesn't grow with the meeting. Keys hold what
/// changes rarely: the running summary, the rest of the pending transcript, the list of many attendees.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The earliest timestamp of a packet.
    pub(crate) since: Option<Timestamp>,
    /// The latest timestamp of a packet.
    pub(crate) until: Option<Timestamp>,
    pub(crate) attendees: Attendees,
    /// The transcript since the running summary.
    #[serde(flatten)]
    pub(crate) pending: Pending,
    /// The running summary, in a state of an earlier version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) notes: String,
    /// All words of the meeting, of speech and public chat.
    pub(crate) words: u64,
    /// The words among them that were left out of the running summary.
    pub(crate) left_out: u64,
    /// The packets that were lost before they reached the plugin.
    pub(crate) lost: u64,
    /// Whether a budget was used up, and the log says so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) over_budget: bool,
}

/// What a packet says.
#[derive(Debug)]
pub(crate) enum Said {
    Message(Medium, String),
    Event(ParticipantEvent),
}

impl State {
    /// Brings a state of an earlier version, which held everything, into this version's form.
    pub(crate) async fn upgrade(&mut self, datastore: &Datastore) -> Result<(), DatastoreError> {
        if !self.notes.is_empty() {
            write_notes(&std::mem::take(&mut self.notes), datastore)?;
        }
        self.attendees.upgrade(datastore).await
    }

    /// Applies a packet: adds speech or a public chat message to the transcript, or applies an event.
    pub(crate) async fn apply(
        &mut self,
        packet: &DataPacket,
        said: Said,
        datastore: &Datastore,
    ) -> Result<(), DatastoreError> {
        match said {
            Said::Message(medium, text) => {
                let by = self.record_packet(packet, datastore).await?;
                self.words += to_u64(self.pending.newest.add_message(by.as_deref(), medium, &text));
                Ok(())
            }
            Said::Event(event) => self.apply_event(packet, event, datastore).await,
        }
    }

    /// Applies a participant event: joined, left or renamed.
    async fn apply_event(
        &mut self,
        packet: &DataPacket,
        event: ParticipantEvent,
        datastore: &Datastore,
    ) -> Result<(), DatastoreError> {
        if event == ParticipantEvent::Joined
            && let Some(name) = packet.participant.as_deref().and_then(transcript::clean_name)
        {
            // A new participant joins under a former name of another one.
            self.attendees.joined(&name, datastore).await?;
        }
        let by = self.record_packet(packet, datastore).await?;
        if let ParticipantEvent::Renamed { to } = event
            && let (Some(from), Some(to)) = (by, transcript::clean_name(&to))
            && from != to
        {
            self.pending.newest.add_remark(&format!("{from} is now called {to}"));
            self.attendees.rename(&from, &to, datastore).await?;
        }
        Ok(())
    }

    /// Records that packets were lost, if any were.
    pub(crate) fn record_gap(&mut self, packets: u64) {
        if packets > 0 {
            self.lost += packets;
            self.pending.newest.add_missing_remark();
        }
    }

    /// Returns how many words the running summary covers, if so many are pending.
    pub(crate) fn words_noted(&self, pending: usize) -> u64 {
        self.words.saturating_sub(self.left_out).saturating_sub(to_u64(pending))
    }

    /// Records the packet's time and participant; returns the participant's present name.
    async fn record_packet(
        &mut self,
        packet: &DataPacket,
        datastore: &Datastore,
    ) -> Result<Option<String>, DatastoreError> {
        let at = packet.timestamp;
        self.since = Some(self.since.map_or(at, |since| since.min(at)));
        self.until = Some(self.until.map_or(at, |until| until.max(at)));
        match packet.participant.as_deref().and_then(transcript::clean_name) {
            Some(name) => self.attendees.add(name, datastore).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Reads the running summary; it is empty at first.
pub(crate) async fn read_notes(datastore: &Datastore) -> Result<String, DatastoreError> {
    Ok(datastore.get(NOTES).await?.unwrap_or_default())
}

/// Writes the running summary.
pub(crate) fn write_notes(notes: &str, datastore: &Datastore) -> Result<(), DatastoreError> {
    datastore.set(NOTES, notes)
}

/// Converts a number of words for the totals.
pub(crate) fn to_u64(words: usize) -> u64 {
    u64::try_from(words).unwrap_or(u64::MAX)
}
