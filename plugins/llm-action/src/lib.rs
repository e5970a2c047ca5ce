//! Detects, with a language model, which of a list of actions the conversation calls for.
//!
//! The plugin takes `transcription` (final ones only). It asks the default model which of the configured
//! actions the new words call for, given the earlier conversation and the actions already detected. It puts
//! out the new ones as a list of [`Detected`]. It doesn't carry them out; that is up to the consumer of its
//! output.
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
//! Without a table in the configuration there is one action, `web-search` with a `query`.
//!
//! # The prompt
//! * **New words** are the words of one packet or, if the model is slower than the meeting, of all packets
//!   that have queued up (at most [`MAX_BATCH`]), in one prompt. If there are only partial transcriptions or
//!   white space, the plugin doesn't ask the model.
//! * **The context** is the end of the earlier conversation: the last 1000 characters (`context_chars`) of
//!   lines `Name: text`, with `unknown` for packets that name no participant. It starts at the beginning of a
//!   word, unless there is no space near the cut, as in scripts that write none.
//! * **Prompt injection.** The conversation reaches the model as data, in JSON strings, which no speaker can
//!   close, and the instructions say not to follow it. This makes an attack such as "ignore your
//!   instructions" unlikely to work, not impossible: have a person confirm actions that can do harm.
//!
//! # The answer
//! It may be wrapped in Markdown or prose ([`parse_answer`](teammy_kernel::parse_answer)), and it may be a
//! list of actions, a single action, or an object with a list `actions`. Any other answer counts as "no
//! action": the words become context, the plugin puts out nothing and doesn't ask again, because the next
//! prompt comes soon. The plugin drops these actions of an answer:
//!
//! * actions that are not in the configuration. The names of actions and parameters are compared without case
//!   and extra white space, and put out in the spelling of the configuration;
//! * actions that lack a parameter, because nobody could carry them out. A number, `true` or `false` is
//!   converted to text; null, a blank text, an ellipsis, a list or an object counts as missing. Parameters
//!   that are not in the configuration are dropped;
//! * actions whose parameters have more than [`MAX_ACTION_CHARS`] characters in total;
//! * actions already detected: the same action with the same parameters, compared without case and extra
//!   white space. The plugin remembers the newest [`MAX_REMEMBERED`], or fewer if they have more than
//!   [`MAX_REMEMBERED_CHARS`] characters in total;
//! * all new actions after the first [`MAX_NEW_ACTIONS`].
//!
//! # When the model fails
//! The hook fails too, and changes nothing. If the failure is temporary, the runtime tries the hook again. If
//! the model refuses or none is configured, the packets become dead letters at once (all packets of a batch),
//! and can be redriven. The words of a dead letter don't become context, so a prompt that the model refuses
//! doesn't affect later ones.

mod actions;
mod answer;
mod config;
mod prompt;
mod state;
mod text;

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use teammy_kernel::{
    Batch, Cx, Error, Hooks, InCallPlugin, Json, LlmError, Receive, StartupCx, data::Transcription,
};
use tracing::debug;

use actions::Actions;
use answer::Answer;
use text::one_line;

pub use answer::MAX_ACTION_CHARS;
pub use config::{Action, Config};
pub use state::{MAX_NEW_ACTIONS, MAX_REMEMBERED, MAX_REMEMBERED_CHARS, State};

/// The most packets in one prompt.
pub const MAX_BATCH: usize = 16;

/// The name in a line of the transcript whose packet names no participant.
pub const UNNAMED: &str = "unknown";

/// The plugin: the configured actions, and the parts of a prompt that don't change.
#[derive(Debug)]
pub struct LlmAction {
    actions: Actions,
    instructions: String,
    context_chars: usize,
    temperature: f32,
}

/// A detected action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Detected {
    /// The name of the action, in the spelling of the configuration.
    pub action: Arc<str>,
    /// All parameters that the configuration names, and no others.
    pub parameters: BTreeMap<Arc<str>, String>,
    /// The speakers of the new words in the prompt, each once: more than one only if several packets had
    /// queued up, and none if the packets name no participant.
    pub said_by: Vec<Arc<str>>,
}

/// The new words of a prompt.
#[derive(Debug, Default)]
struct NewWords {
    /// One line `Name: text` for each packet.
    lines: Vec<String>,
    said_by: Vec<Arc<str>>,
}

impl NewWords {
    fn from_batch(batch: Batch<Json<Transcription>>, cx: &Cx<'_, LlmAction>) -> Self {
        let mut words = Self::default();
        for (Json(said), packet) in batch.into_iter().zip(cx.packets()) {
            let text = one_line(&said.text);
            if !said.is_final || text.is_empty() {
                continue;
            }
            let name = packet.participant.as_deref().unwrap_or(UNNAMED);
            words.lines.push(format!("{}: {text}", one_line(name)));
            if let Some(name) = &packet.participant
                && !words.said_by.contains(name)
            {
                words.said_by.push(name.clone());
            }
        }
        words
    }
}

impl InCallPlugin for LlmAction {
    type Config = Config;
    type State = State;
    type Scratch = ();
    type Output = Json<Vec<Detected>>;
    const KIND: &'static str = "llm-action";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const NEEDS_LLM: bool = true;

    async fn on_startup(config: Config, _: &StartupCx) -> Result<Self, Error> {
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
        hooks.on_batch::<Json<Transcription>>("transcription", MAX_BATCH)
    }
}

impl Receive<Batch<Json<Transcription>>> for LlmAction {
    async fn receive(
        &self,
        batch: Batch<Json<Transcription>>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Vec<Detected>>>, Error> {
        let words = NewWords::from_batch(batch, cx);
        if words.lines.is_empty() {
            return Ok(None);
        }
        let datastore = cx.engine().datastore().clone();
        let state = cx.state_mut();
        state.load(&datastore).await?;
        let messages = prompt::messages(&self.instructions, state, &words.lines);
        let answered = cx.engine().llm().prompt(messages, self.temperature).await;
        let answer = answered.map_err(|error| match error {
            LlmError::Refused(_) | LlmError::NotConfigured => Error::reject(error),
            temporary => Error::retry(temporary),
        })?;
        let answer = Answer::read(&answer, &self.actions).unwrap_or_else(|problem| {
            debug!(%problem, "ignored an answer that is not a list of actions");
            Answer::default()
        });
        if answer.dropped > 0 {
            debug!(dropped = answer.dropped, "dropped actions that are unknown, incomplete or too long");
        }
        let state = cx.state_mut();
        state.add_context(&words.lines, self.context_chars);
        let new = state.add_new(answer.calls);
        state.make_room(&datastore)?;
        let detected: Vec<Detected> = new
            .into_iter()
            .map(|call| Detected {
                action: call.action,
                parameters: call.parameters,
                said_by: words.said_by.clone(),
            })
            .collect();
        Ok((!detected.is_empty()).then_some(Json(detected)))
    }
}

#[cfg(test)]
mod tests;
