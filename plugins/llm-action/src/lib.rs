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
//! * **New words** are what was said in `gather_seconds` (2 by default) from the first of them on, by the meeting's clock,
//!   at most [`MAX_NEW_LINES`] packets. So what a prompt holds doesn't depend on the model's speed, and a recording gives the
//!   same at any pace. If there are only partial transcriptions or white space, the plugin doesn't ask the model.
//! * **The context** is the end of the earlier conversation: the last 1000 characters (`context_chars`) of
//!   lines `Name: text`, with `unknown` for packets that name no participant. It starts at the beginning of a
//!   word, unless there is no space near the cut, as in scripts that write none.
//! * **Prompt injection.** The conversation reaches the model as data, in JSON strings, which no speaker can
//!   close, and the instructions say not to follow it. This makes an attack such as "ignore your
//!   instructions" unlikely to work, not impossible: have a person confirm actions that can do harm.
//!
//! # The answer
//! The model is asked for an object with a list `actions`, as JSON of a schema
//! ([`Ask::json`](teammy_kernel::Ask::json)). It may wrap the object in Markdown or prose. A list of actions
//! and a single action are read as well. For any other answer, the model is asked once more, with its answer
//! and what is wrong with it. If the second
//! answer is no better, or if an answer is cut off, it counts as "no action": the words become context, the
//! plugin puts out nothing and doesn't ask again, because the next prompt comes soon. It counts such answers
//! in its state (`unreadable`), and logs a warning for the first of a meeting. The plugin drops these actions
//! of an answer:
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
//! * **A temporary failure**: the hook fails and changes nothing, and the runtime tries it again. At its last try the words
//!   stay, and are part of the next prompt, up to [`MAX_NEW_LINES`] packets; older ones are left out. At the meeting's end
//!   there is no next prompt: the end becomes a dead letter, and its redrive asks again.
//! * **A refusal**: the words are left out of this and later prompts, so that they don't affect those.
//! * **A budget that is used up** (`[[llm.budget]]`): the runtime doesn't try again, because nothing would be
//!   different. If the budget begins anew later, the newest words wait for it, up to [`MAX_NEW_LINES`]
//!   packets: they are the ones whose actions still matter then, and what is said next follows from them. If
//!   it is for the whole meeting, or at the meeting's end, the words are left out.
//! * What is left out is counted in the state (`left_out`), and a warning is logged for the first of a meeting.
//! * If no model is configured, the packets become dead letters at once.

mod actions;
mod answer;
mod config;
mod prompt;
mod state;
mod text;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use teammy_kernel::{
    Cx, DatastoreError, Error, Hooks, InCallPlugin, Json, LlmError, Receive, StartupCx, Timestamp, Wake,
    chain, data::Transcription,
};
use tracing::{debug, warn};

use actions::Actions;
use answer::{Answer, AskedAnswer, RawAnswer};
use state::NewLine;
use text::one_line;

pub use answer::MAX_ACTION_CHARS;
pub use config::{Action, Config};
pub use state::{MAX_NEW_ACTIONS, MAX_NEW_LINES, MAX_REMEMBERED, MAX_REMEMBERED_CHARS, State};

/// How long words wait at least for the next prompt after the last try of one that failed.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The name in a line of the transcript whose packet names no participant.
pub const UNNAMED: &str = "unknown";

/// The plugin: the configured actions, and the parts of a prompt that don't change.
#[derive(Debug)]
pub struct LlmAction {
    actions: Actions,
    instructions: String,
    context_chars: usize,
    temperature: f32,
    gather: Duration,
}

/// A detected action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Detected {
    /// The name of the action, in the spelling of the configuration.
    pub action: Arc<str>,
    /// All parameters that the configuration names, and no others.
    pub parameters: BTreeMap<Arc<str>, String>,
    /// The speakers of the new words in the prompt, each once; none if the packets name no participant.
    pub said_by: Vec<Arc<str>>,
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
            gather: Duration::from_secs(config.gather_seconds.into()),
        })
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Transcription>>("transcription").on_wake()
    }

    async fn on_meeting_end(&self, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Vec<Detected>>>, Error> {
        cx.cancel(ASK)?;
        self.ask(cx, When::AtTheEnd).await
    }
}

/// The key of the wake at which the model is asked.
const ASK: &str = "ask";

impl Receive<Json<Transcription>> for LlmAction {
    async fn receive(
        &self,
        Json(said): Json<Transcription>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Vec<Detected>>>, Error> {
        let text = one_line(&said.text);
        if !said.is_final || text.is_empty() {
            return Ok(None);
        }
        let by = cx.packet().participant.clone();
        let text = format!("{}: {text}", one_line(by.as_deref().unwrap_or(UNNAMED)));
        cx.state_mut().add_new_line(NewLine { text, by });
        if self.gather.is_zero() {
            return self.ask(cx, When::InTheMeeting).await;
        }
        if cx.state().is_prompt_full() {
            cx.cancel(ASK)?;
            return self.ask(cx, When::InTheMeeting).await;
        }
        if cx.state().new_lines().len() == 1 {
            ask_after(cx, self.gather)?;
        }
        Ok(None)
    }
}

impl Receive<Wake> for LlmAction {
    async fn receive(&self, _: Wake, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Vec<Detected>>>, Error> {
        self.ask(cx, When::InTheMeeting).await
    }
}

/// Whether words can wait for a later prompt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    InTheMeeting,
    AtTheEnd,
}

impl LlmAction {
    /// Asks the model about the new words, if there are any.
    async fn ask(&self, cx: &mut Cx<'_, Self>, when: When) -> Result<Option<Json<Vec<Detected>>>, Error> {
        if cx.state().new_lines().is_empty() {
            return Ok(None);
        }
        let datastore = cx.engine().datastore().clone();
        let state = cx.state_mut();
        state.load(&datastore).await?;
        let messages = prompt::messages(&self.instructions, state);
        // The hook's time is for this question and its repair alone: nothing that follows takes long.
        let asked = cx.engine().llm().ask(messages).temperature(self.temperature).purpose("actions");
        let answer = match asked.asking_for::<AskedAnswer>().json::<RawAnswer>().await {
            Ok(raw) => Answer::new(raw, &self.actions),
            // Of an answer that is cut off no action can be trusted: one may be missing.
            Err(error @ (LlmError::Unreadable(_) | LlmError::CutOff { .. })) => {
                let before = cx.state().unreadable;
                cx.state_mut().unreadable += 1;
                warn_once(cx, before, &error);
                Answer::default()
            }
            Err(error) => return self.unanswered(cx, when, error),
        };
        if answer.dropped > 0 {
            debug!(dropped = answer.dropped, "dropped actions that are unknown, incomplete or too long");
        }
        let state = cx.state_mut();
        let said_by = state.take_new_lines_into_context(self.context_chars);
        let new = state.add_new(answer.calls);
        state.make_room(&datastore)?;
        let detected: Vec<Detected> = new
            .into_iter()
            .map(|call| Detected {
                action: call.action,
                parameters: call.parameters,
                said_by: said_by.clone(),
            })
            .collect();
        Ok((!detected.is_empty()).then_some(Json(detected)))
    }

    /// What becomes of the new words when the model gives no answer.
    fn unanswered(
        &self,
        cx: &mut Cx<'_, Self>,
        when: When,
        error: LlmError,
    ) -> Result<Option<Json<Vec<Detected>>>, Error> {
        let before = cx.state().left_out;
        let left_out = match &error {
            LlmError::NotConfigured => return Err(Error::reject(error)),
            // What the model refuses is not shown to it again. A budget of the whole meeting stays used up.
            LlmError::Refused(_) | LlmError::BudgetExceeded { resets: None, .. } => {
                cx.state_mut().leave_out_new_lines()
            }
            LlmError::BudgetExceeded { .. } if when == When::AtTheEnd => cx.state_mut().leave_out_new_lines(),
            // They wait for the next question, as many as one holds.
            LlmError::BudgetExceeded { .. } => cx.state_mut().leave_out_oldest(),
            _ if when == When::AtTheEnd || !cx.is_last_attempt() => return Err(Error::retry(error)),
            _ => cx.state_mut().leave_out_oldest(),
        };
        if !cx.state().new_lines().is_empty() {
            ask_after(cx, self.gather.max(RETRY_AFTER))?;
        }
        if left_out > 0 {
            warn_once(cx, before, &error);
        }
        Ok(None)
    }
}

/// Asks for the wake at which the model is asked. A packet's time may be the last that there is.
fn ask_after(cx: &mut Cx<'_, LlmAction>, wait: Duration) -> Result<(), DatastoreError> {
    let at = cx.packet().timestamp.checked_add(wait).unwrap_or(Timestamp::MAX);
    cx.wake_at(at, ASK)
}

/// Warns if there were none `before` in the meeting, and says the rest to those who debug.
fn warn_once(cx: &Cx<'_, LlmAction>, before: u64, error: &LlmError) {
    let (meeting, instance, error) = (&cx.meeting().id, cx.instance(), chain(error));
    if before == 0 {
        warn!(%meeting, %instance, error, "the model gave no list of actions for some words; said once a meeting");
    } else {
        debug!(%meeting, %instance, before, error, "the model gave no list of actions for some words");
    }
}

#[cfg(test)]
mod tests;
