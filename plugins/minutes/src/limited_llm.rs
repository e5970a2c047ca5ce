//! The language models, with a limit on the requests of one hook.

use teammy_kernel::{Error, Llm, LlmError, LlmMessage, MeetingId, Model, Name, chain};
use tracing::warn;

use crate::{answer::UnusableAnswer, prompt};

/// The most requests of one hook: they must fit into the hook's deadline, and into the one of the meeting's
/// end.
const MAX_REQUESTS: u32 = 3;

/// Asks the models, at most [`MAX_REQUESTS`] times.
pub(crate) struct LimitedLlm {
    llm: Llm,
    temperature: f32,
    requests_left: u32,
    /// Whether the last answer was cut off.
    was_cut_off: bool,
    meeting: MeetingId,
    instance: Name,
}

impl LimitedLlm {
    /// Creates the access for one hook of this instance.
    pub(crate) fn new(llm: Llm, temperature: f32, meeting: MeetingId, instance: Name) -> Self {
        Self { llm, temperature, requests_left: MAX_REQUESTS, was_cut_off: false, meeting, instance }
    }

    /// Whether the last answer was cut off because it became too long.
    pub(crate) fn was_cut_off(&self) -> bool {
        self.was_cut_off
    }

    /// Returns how many requests are left.
    pub(crate) fn requests_left(&self) -> u32 {
        self.requests_left
    }

    /// Asks the model, and asks once more if its answer is unusable. Returns `None`, and logs the reason, if
    /// the model refuses, gives no usable answer, or one that is cut off.
    ///
    /// # Errors
    /// Any failure but a refusal, as an error for which the runtime tries the hook again.
    pub(crate) async fn ask<T>(
        &mut self,
        model: Model,
        purpose: &'static str,
        mut messages: Vec<LlmMessage>,
        read: impl Fn(&str) -> Result<T, UnusableAnswer>,
    ) -> Result<Option<T>, Error> {
        for is_last in [false, true] {
            if self.requests_left == 0 {
                break;
            }
            self.requests_left -= 1;
            let asked = messages.clone();
            let asked = self.llm.ask(asked).model(model).temperature(self.temperature).purpose(purpose);
            let answer = asked.text().await;
            self.was_cut_off = matches!(answer, Err(LlmError::CutOff { .. }));
            let answer = match answer {
                Ok(answer) => answer,
                // Asked again, it would be as long.
                Err(error @ (LlmError::Refused(_) | LlmError::CutOff { .. })) => {
                    self.warn(&error);
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            };
            match read(&answer) {
                Ok(read) => return Ok(Some(read)),
                Err(problem) if is_last || self.requests_left == 0 => self.warn(&problem),
                Err(problem) => messages = prompt::retry(messages, &answer, &problem),
            }
        }
        Ok(None)
    }

    /// Logs why the minutes continue without this answer.
    pub(crate) fn warn(&self, error: &(dyn std::error::Error + 'static)) {
        let (meeting, instance) = (&self.meeting, &self.instance);
        warn!(%meeting, %instance, error = chain(error), "the model gave no usable answer; continuing without it");
    }
}
