//! Counts how much each participant talks: turns, words and seconds.
//!
//! The plugin takes `transcription` (final ones only), and `participant` for changes of names. Each packet
//! counts as one turn, so the turns add up to the packets. Words are separated by Unicode white space. The
//! time is the sum of the packets' durations, kept in whole milliseconds so that it is exact.
//!
//! The plugin puts out a [`Table`] after every [`Config::every`] turns, and one when the meeting ends or the
//! instance is unassigned. The last one comes even if the last turn already produced one or nobody spoke: the
//! last output always covers the whole meeting.
//!
//! ```toml
//! [[plugin]]
//! name = "talk-time"
//! kind = "talk-time"
//! config = { every = 50 }
//! ```
//!
//! ```json
//! {"participants":[{"name":"Ada","turns":2,"words":11,"seconds":4.5}],"turns":2,"words":11}
//! ```
//!
//! # Renamed participants
//! A renamed participant has one row, under the newest name, which includes everything said under former
//! names. A transcription that arrives late under a former name counts there too, until somebody joins under
//! that name.
//!
//! # Packets without a participant
//! Packets that name no participant are counted together, in a row named `unknown` with `"unnamed": true`. A
//! participant who is really called `unknown` has a separate row without that field; the two are never added
//! up.

use std::{collections::BTreeMap, ops::Not, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use teammy_kernel::{
    Cx, Error, Hooks, InCallPlugin, Json, Receive,
    data::{ParticipantEvent, Transcription},
};

/// The name shown in the row of packets without a participant.
pub const UNNAMED: &str = "unknown";

/// The plugin; its only resource is the configured period.
#[derive(Debug)]
pub struct TalkTime {
    every: u64,
}

/// The plugin's table in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// The number of turns between two tables: 1 puts one out after each turn, 20 is the default.
    #[schemars(range(min = 1))]
    pub every: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { every: 20 }
    }
}

/// What one participant has said so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Tally {
    turns: u64,
    words: u64,
    ms: u64,
}

/// The plugin's state in one meeting.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    turns: u64,
    named: BTreeMap<Arc<str>, Tally>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unnamed: Option<Tally>,
    /// Former names, each with the participant's present name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    renamed: BTreeMap<Arc<str>, Arc<str>>,
}

/// How much each participant talked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Table {
    /// One row for each participant, ordered by most words first, then by name.
    pub participants: Vec<Row>,
    /// The turns of all participants.
    pub turns: u64,
    /// The words of all participants.
    pub words: u64,
}

/// How much one participant talked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// The participant's name.
    pub name: String,
    /// The number of final transcriptions.
    pub turns: u64,
    /// The number of words in them.
    pub words: u64,
    /// Their total duration in seconds.
    pub seconds: f64,
    /// Whether this row counts the packets that name no participant. Left out if false.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub unnamed: bool,
}

/// The most former names that the state holds.
const MAX_RENAMED: usize = 1000;

impl Tally {
    fn merge(&mut self, other: Self) {
        self.turns = self.turns.saturating_add(other.turns);
        self.words = self.words.saturating_add(other.words);
        self.ms = self.ms.saturating_add(other.ms);
    }

    fn add(&mut self, said: &Transcription) {
        let words = said.text.split_whitespace().count();
        self.turns = self.turns.saturating_add(1);
        self.words = self.words.saturating_add(u64::try_from(words).unwrap_or(u64::MAX));
        self.ms = self.ms.saturating_add(said.duration_ms());
    }

    fn row(self, name: &str) -> Row {
        // Exact up to 2^53 milliseconds, which is 285,000 years.
        #[allow(clippy::cast_precision_loss)]
        let seconds = self.ms as f64 / 1000.0;
        Row { name: name.to_owned(), turns: self.turns, words: self.words, seconds, unnamed: false }
    }
}

impl State {
    fn add(&mut self, participant: Option<&Arc<str>>, said: &Transcription) {
        let tally = match participant {
            Some(name) => self.named.entry(self.renamed.get(name).unwrap_or(name).clone()).or_default(),
            None => self.unnamed.get_or_insert_default(),
        };
        tally.add(said);
        self.turns = self.turns.saturating_add(1);
    }

    /// Moves a participant's counts to a new name, and remembers the former one.
    fn rename(&mut self, from: &Arc<str>, to: &Arc<str>) {
        if from == to || to.is_empty() {
            return;
        }
        self.renamed.remove(to);
        self.renamed.values_mut().filter(|now| *now == from).for_each(|now| now.clone_from(to));
        if self.renamed.len() < MAX_RENAMED {
            self.renamed.insert(from.clone(), to.clone());
        }
        if let Some(tally) = self.named.remove(from) {
            self.named.entry(to.clone()).or_default().merge(tally);
        }
    }

    fn table(&self) -> Table {
        let named = self.named.iter().map(|(name, tally)| tally.row(name));
        let unnamed = self.unnamed.map(|tally| Row { unnamed: true, ..tally.row(UNNAMED) });
        let mut participants: Vec<Row> = named.chain(unnamed).collect();
        participants.sort_by(|a, b| {
            b.words.cmp(&a.words).then_with(|| a.name.cmp(&b.name)).then_with(|| a.unnamed.cmp(&b.unnamed))
        });
        let words = participants.iter().fold(0, |sum: u64, row| sum.saturating_add(row.words));
        Table { participants, turns: self.turns, words }
    }
}

impl InCallPlugin for TalkTime {
    type Config = Config;
    type State = State;
    type Output = Json<Table>;
    const KIND: &'static str = "talk-time";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    async fn on_startup(Config { every }: Config) -> Result<Self, Error> {
        if every == 0 {
            return Err(Error::reject(
                "`every` is 0; set it to the number of turns between two tables, 1 or more",
            ));
        }
        Ok(Self { every })
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Transcription>>("transcription").on::<Json<ParticipantEvent>>("participant")
    }

    async fn on_meeting_end(&self, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Table>>, Error> {
        Ok(Some(Json(cx.state().table())))
    }
}

impl Receive<Json<Transcription>> for TalkTime {
    async fn receive(
        &self,
        Json(said): Json<Transcription>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Table>>, Error> {
        if !said.is_final {
            return Ok(None);
        }
        let participant = cx.packet().participant.clone();
        cx.state_mut().add(participant.as_ref(), &said);
        let due = cx.state().turns % self.every == 0;
        Ok(due.then(|| Json(cx.state().table())))
    }
}

impl Receive<Json<ParticipantEvent>> for TalkTime {
    async fn receive(
        &self,
        Json(event): Json<ParticipantEvent>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Table>>, Error> {
        let Some(name) = cx.packet().participant.clone() else { return Ok(None) };
        match event {
            ParticipantEvent::Renamed { to } => cx.state_mut().rename(&name, &to.into()),
            // A new participant joins under a former name of another one.
            ParticipantEvent::Joined if cx.state().renamed.contains_key(&name) => {
                cx.state_mut().renamed.remove(&name);
            }
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
