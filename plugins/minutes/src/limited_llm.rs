//! The language models, with a limit on the requests of one hook.
//!
//! The requests of a hook share its time ([`Llm::ask`]), and none has a time of its own. The plugin doesn't
//! know `hooks.deadline`, and a fixed time would cut off the slow model for which somebody raised it. If
//! notes take so long that no time is left for the minutes, the hook fails, and its last try writes what
//! there is.

use teammy_kernel::{Ask, Llm, LlmError, LlmMessage, MeetingId, Model, Name, chain};
use tracing::{debug, warn};

use crate::{
    answer::{self, DraftMinutes},
    prompt,
    state::State,
};

/// The most requests for notes in one hook: they must fit into its deadline. At the meeting's end two are for
/// notes at most, and two for the minutes.
const MAX_REQUESTS: u32 = 3;

/// Asks the models.
pub(crate) struct LimitedLlm {
    llm: Llm,
    temperature: f32,
    requests_left: u32,
    meeting: MeetingId,
    instance: Name,
}

impl LimitedLlm {
    /// Creates the access for one hook of this instance.
    pub(crate) fn new(llm: Llm, temperature: f32, meeting: MeetingId, instance: Name) -> Self {
        Self { llm, temperature, requests_left: MAX_REQUESTS, meeting, instance }
    }

    /// Returns how many requests for notes are left.
    pub(crate) fn requests_left(&self) -> u32 {
        self.requests_left
    }

    /// Asks the fast model for notes, and asks once more if its answer is unusable and a request is left.
    ///
    /// # Errors
    /// [`LlmError::Unreadable`] says what is wrong with the last answer.
    pub(crate) async fn notes(
        &mut self,
        mut messages: Vec<LlmMessage>,
        max_words: usize,
    ) -> Result<String, LlmError> {
        let mut is_repaired = false;
        loop {
            self.requests_left = self.requests_left.saturating_sub(1);
            let answer = self.ask(Model::Fast, "notes", messages.clone()).text().await?;
            let problem = match answer::notes(&answer, max_words) {
                Ok(notes) => return Ok(notes),
                Err(problem) => problem,
            };
            if std::mem::replace(&mut is_repaired, true) || self.requests_left == 0 {
                return Err(LlmError::Unreadable(problem.to_string()));
            }
            messages = prompt::retry(messages, &answer, &problem);
        }
    }

    /// Asks the default model for the minutes, and asks once more if its answer is unusable. If a budget has
    /// too little left for that model, asks the fast one, which may cost less.
    ///
    /// # Errors
    /// As [`Ask::json`].
    pub(crate) async fn minutes(&self, messages: Vec<LlmMessage>) -> Result<DraftMinutes, LlmError> {
        match self.ask(Model::Default, "minutes", messages.clone()).json().await {
            Err(LlmError::BudgetExceeded { .. }) => self.ask(Model::Fast, "minutes", messages).json().await,
            outcome => outcome,
        }
    }

    fn ask(&self, model: Model, purpose: &'static str, messages: Vec<LlmMessage>) -> Ask {
        self.llm.ask(messages).model(model).temperature(self.temperature).purpose(purpose)
    }

    /// Logs why the minutes continue without an answer. Each packet may ask again what a budget does not pay,
    /// so that is logged once a meeting.
    pub(crate) fn warn(&self, error: &LlmError, state: &mut State) {
        let is_budget = matches!(error, LlmError::BudgetExceeded { .. });
        let (meeting, instance, error) = (&self.meeting, &self.instance, chain(error));
        if is_budget && std::mem::replace(&mut state.over_budget, true) {
            debug!(%meeting, %instance, error, "the model gave no usable answer; continuing without it");
        } else {
            warn!(%meeting, %instance, error, "the model gave no usable answer; continuing without it");
        }
    }
}
