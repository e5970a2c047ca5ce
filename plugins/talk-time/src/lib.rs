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
//! that name. At least 32 former names of each participant are known
//! ([`FormerNames`](teammy_kernel::FormerNames)).
//!
//! # Large meetings
//! A table during the meeting has a row for each of the [`MAX_ROWS`] participants with the most words, and
//! the last table for each of the [`MAX_LAST_ROWS`]. `others` adds up the rest; it is left out as long as
//! everybody has a row:
//!
//! ```json
//! {"participants":[],"turns":90,"words":700,"others":{"participants":40,"turns":50,"words":400,"seconds":160.0}}
//! ```
//!
//! The cost of a packet doesn't depend on the number of participants: the state holds those who talked lately,
//! and each of the others has a key. If a participant of such a meeting takes another one's name, a table may
//! have fewer rows for some time, but never a wrong one. A name is cut off after 400 bytes.
//!
//! # Packets without a participant
//! Packets that name no participant are counted together, in a row named `unknown` with `"unnamed": true`. A
//! participant who is really called `unknown` has a separate row without that field; the two are never added
//! up.

mod state;
mod table;
mod tally;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use teammy_kernel::{
    Cx, Error, Hooks, InCallPlugin, Json, Receive, StartupCx,
    data::{ParticipantEvent, Transcription},
};

pub use state::State;
pub use table::{MAX_LAST_ROWS, MAX_ROWS, Others, Row, Table, UNNAMED};

use state::shortened;

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

impl InCallPlugin for TalkTime {
    type Config = Config;
    type State = State;
    type Scratch = ();
    type Output = Json<Table>;
    const KIND: &'static str = "talk-time";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    async fn on_startup(Config { every }: Config, _: &StartupCx) -> Result<Self, Error> {
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
        let table = cx.state().last_table(cx.engine().datastore()).await?;
        Ok(Some(Json(table)))
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
        let participant = cx.packet().participant.as_ref().map(shortened);
        let datastore = cx.engine().datastore().clone();
        let state = cx.state_mut();
        state.upgrade(&datastore).await?;
        state.tally(participant, &datastore).await?.count(&said);
        state.turns = state.turns.saturating_add(1);
        if !state.turns.is_multiple_of(self.every) {
            return Ok(None);
        }
        Ok(Some(Json(state.table(&datastore).await?)))
    }
}

impl Receive<Json<ParticipantEvent>> for TalkTime {
    async fn receive(
        &self,
        Json(event): Json<ParticipantEvent>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Table>>, Error> {
        let Some(name) = cx.packet().participant.as_ref().map(shortened) else { return Ok(None) };
        let datastore = cx.engine().datastore().clone();
        match event {
            ParticipantEvent::Renamed { to } => {
                let state = cx.state_mut();
                state.upgrade(&datastore).await?;
                state.rename(&name, &shortened(&to.into()), &datastore).await?;
            }
            // A new participant joins under a former name of another one.
            ParticipantEvent::Joined => {
                let mut names = cx.state().former_names();
                if names.forget(&name, &datastore).await? {
                    cx.state_mut().set_former_names(names);
                }
            }
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
