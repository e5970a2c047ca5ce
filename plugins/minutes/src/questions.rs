//! The questions that one hook may ask.

use teammy_kernel::{Error, Llm, LlmError, LlmMessage, MeetingId, Model, Name, chain};
use tracing::warn;

use crate::{answer::Unusable, prompt};

/// So many questions fit in a hook's time, and in that of a meeting's end.
const QUESTIONS: u32 = 3;

/// A hook's questions to the models; there is a bound on how many.
pub(crate) struct Questions {
    llm: Llm,
    temperature: f32,
    left: u32,
    meeting: MeetingId,
    instance: Name,
}

impl Questions {
    /// The questions of a hook of this instance.
    pub(crate) fn new(llm: Llm, temperature: f32, meeting: MeetingId, instance: Name) -> Self {
        Self { llm, temperature, left: QUESTIONS, meeting, instance }
    }

    /// How many are left.
    pub(crate) fn left(&self) -> u32 {
        self.left
    }

    /// Asks, and asks once more if the answer is of no use. Without one that can be read, or where the model
    /// refuses, there is none; the log says why.
    ///
    /// # Errors
    /// What may pass, so that the hook is tried again.
    pub(crate) async fn ask<T>(
        &mut self,
        model: Model,
        mut messages: Vec<LlmMessage>,
        read: impl Fn(&str) -> Result<T, Unusable>,
    ) -> Result<Option<T>, Error> {
        for is_last in [false, true] {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            let asked = messages.clone();
            let answer = match model {
                Model::Fast => self.llm.fast_prompt(asked, self.temperature).await,
                _ => self.llm.prompt(asked, self.temperature).await,
            };
            let answer = match answer {
                Ok(answer) => answer,
                Err(error @ LlmError::Refused(_)) => {
                    self.warn(&error);
                    return Ok(None);
                }
                Err(error) => return Err(error.into()),
            };
            match read(&answer) {
                Ok(read) => return Ok(Some(read)),
                Err(problem) if is_last || self.left == 0 => self.warn(&problem),
                Err(problem) => messages = prompt::again(messages, &answer, &problem),
            }
        }
        Ok(None)
    }

    /// Says in the log why there is no answer.
    pub(crate) fn warn(&self, error: &(dyn std::error::Error + 'static)) {
        let (meeting, instance) = (&self.meeting, &self.instance);
        warn!(%meeting, %instance, error = chain(error), "minutes go on without an answer");
    }
}
