//! Says which of a list of actions the meeting's words call for, as a language model understands them.
//!
//! The plugin takes `transcription` (what is final). It asks the default model which of the configured
//! actions the words that are new call for, given what was said before and what was detected already, and
//! puts out the new ones: a list of [`Detected`]. It does nothing about them; whoever takes its output does.
//!
//! ```toml
//! [[plugin]]
//! name = "llm-action"
//! kind = "llm-action"
//!
//! [[plugin.config.actions]]
//! name = "web-search"
//! description = "Somebody wants to know something that the web can tell."
//! parameters = { query = "What to search for." }
//!
//! [[plugin.config.actions]]
//! name = "create-task"
//! description = "Somebody takes on something to do."
//! parameters = { title = "What is to be done.", owner = "Who does it." }
//! ```
//!
//! ```json
//! [{"action":"create-task","parameters":{"owner":"Bo","title":"Book a room"},"said_by":["Ada"]}]
//! ```
//!
//! Without a table there is one action, `web-search` with a `query`.
//!
//! # A question
//! * **New words** are those of one packet or, when the plugin lags behind its model, of all that have queued
//!   up (at most [`BATCH`]): one question for all of them. None is asked where they are not final, or white
//!   space alone.
//! * **What was said before** is the last 1000 characters (`context_chars`) of lines `Name: text`, with
//!   `unknown` where a packet names nobody. The cut leaves out the word that it would go through; only what
//!   is longer than a word is cut, as in scripts that write no spaces.
//! * What is said in a meeting reaches the model as data, in JSON strings, so that nobody can end the
//!   quotation, and the model is told not to follow it. That makes it unlikely, not impossible, that "ignore
//!   your instructions" works: actions that do harm deserve a person's yes.
//!
//! # An answer
//! It may be wrapped in Markdown or prose ([`parse_answer`](teammy_kernel::parse_answer)), be one action
//! instead of a list, or an object with a list `actions`. One that is none of these counts as "no action":
//! the words are remembered, nothing is put out, and nothing is asked again, as the next question comes soon.
//! Of an answer's actions are left out:
//!
//! * those that are not in the configuration. Names are compared without case and extra white space, and put
//!   out as the configuration spells them; so are those of parameters;
//! * those that lack a parameter, as nobody could carry them out. A number, `true` or `false` is taken as its
//!   text; null, a blank text, an ellipsis, a list or an object count as missing. Parameters that are not in
//!   the configuration are dropped;
//! * those whose parameters hold more than [`ACTION_CHARS`] characters together;
//! * those detected already: the same action with the same parameters, compared without case and extra white
//!   space. The newest [`REMEMBERED`] are remembered, fewer where they hold more than [`REMEMBERED_CHARS`]
//!   characters together;
//! * what comes after the first [`NEW`] that are new.
//!
//! # When the model fails
//! The hook fails with it and changes nothing. Passing trouble is tried again. Where the model refuses, or
//! there is none, the words go to the dead letters at once, of a batch all; they can be redriven. Words that
//! end there are not part of what was said before, so a question that cannot be answered doesn't spoil those
//! after it.

mod actions;
mod answer;
mod config;
mod prompt;
mod state;

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use teammy_kernel::{Batch, Cx, Error, Hooks, InCallPlugin, Json, LlmError, Receive, data::Transcription};
use tracing::debug;

use actions::Actions;
use answer::Answer;

pub use answer::ACTION_CHARS;
pub use config::{Action, Config};
pub use state::{NEW, REMEMBERED, REMEMBERED_CHARS, State};

/// The most packets that one question is about.
pub const BATCH: usize = 16;

/// What a line of the transcript begins with where its packet names nobody.
pub const UNNAMED: &str = "unknown";

/// The plugin: the possible actions, and how to ask for them.
#[derive(Debug)]
pub struct LlmAction {
    actions: Actions,
    instructions: String,
    context_chars: usize,
    temperature: f32,
}

/// An action that the meeting calls for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Detected {
    /// Its name, as the configuration spells it.
    pub action: Arc<str>,
    /// Its parameters: all that the configuration names, and no other.
    pub parameters: BTreeMap<Arc<str>, String>,
    /// Who spoke in the words that the question was about, each once: one, unless the plugin lagged behind.
    /// Nobody where the packets name nobody.
    pub said_by: Vec<Arc<str>>,
}

/// The words that a question is about.
#[derive(Debug, Default)]
struct New {
    lines: Vec<String>,
    said_by: Vec<Arc<str>>,
}

impl New {
    fn of(batch: Batch<Json<Transcription>>, cx: &Cx<'_, LlmAction>) -> Self {
        let mut new = Self::default();
        for (Json(said), packet) in batch.into_iter().zip(cx.packets()) {
            let text = one_line(&said.text);
            if !said.is_final || text.is_empty() {
                continue;
            }
            let name = packet.participant.as_deref().unwrap_or(UNNAMED);
            new.lines.push(format!("{}: {text}", one_line(name)));
            if let Some(name) = &packet.participant
                && !new.said_by.contains(name)
            {
                new.said_by.push(name.clone());
            }
        }
        new
    }
}

impl InCallPlugin for LlmAction {
    type Config = Config;
    type State = State;
    type Output = Json<Vec<Detected>>;
    const KIND: &'static str = "llm-action";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const NEEDS_LLM: bool = true;

    async fn on_startup(config: Config) -> Result<Self, Error> {
        config.check().map_err(Error::reject)?;
        let actions = Actions::new(&config.actions).map_err(Error::reject)?;
        let instructions = prompt::instructions(&actions);
        Ok(Self {
            actions,
            instructions,
            context_chars: config.context_chars,
            temperature: config.temperature,
        })
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on_batch::<Json<Transcription>>("transcription", BATCH)
    }
}

impl Receive<Batch<Json<Transcription>>> for LlmAction {
    async fn receive(
        &self,
        batch: Batch<Json<Transcription>>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Vec<Detected>>>, Error> {
        let new = New::of(batch, cx);
        if new.lines.is_empty() {
            return Ok(None);
        }
        let messages = prompt::messages(&self.instructions, cx.state(), &new.lines);
        let answered = cx.engine().llm().prompt(messages, self.temperature).await;
        let answer = answered.map_err(|error| match error {
            LlmError::Refused(_) | LlmError::NotConfigured => Error::reject(error),
            passing => Error::retry(passing),
        })?;
        let answer = Answer::read(&answer, &self.actions).unwrap_or_else(|problem| {
            debug!(%problem, "the answer is no list of actions");
            Answer::default()
        });
        if answer.left_out > 0 {
            debug!(left_out = answer.left_out, "actions that are unknown, incomplete or too long");
        }
        let state = cx.state_mut();
        state.remember(&new.lines, self.context_chars);
        let detected: Vec<Detected> = state
            .detect(answer.calls)
            .into_iter()
            .map(|call| Detected {
                action: call.action,
                parameters: call.parameters,
                said_by: new.said_by.clone(),
            })
            .collect();
        Ok((!detected.is_empty()).then_some(Json(detected)))
    }
}

/// A text with single spaces for its white space, so that what somebody says cannot pass for two lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What texts are compared by: without case and extra white space.
fn key(text: &str) -> String {
    one_line(text).to_lowercase()
}

#[cfg(test)]
mod tests;
