//! Language models, as a plugin sees them.

mod answer;
mod ask;
#[cfg(test)]
mod ask_tests;
mod audio;
mod budget;
mod caller;
mod error;
mod hook_time;
mod meter;
mod provider;
mod request;
mod response;
mod transcribe;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

pub use answer::{AnswerError, parse_answer};
pub use ask::{Ask, TextStream};
pub use audio::{Audio, EmbedRequest, Spoken, TranscribeRequest, Transcript};
pub use budget::{Budget, Budgets, Spend};
pub use caller::{Caller, Priority};
pub use error::Error;
pub use meter::NanoUsd;
pub use provider::SharedLlm;
pub use request::{Message, Model, Request, Role, Tool};
// What only those need who answer requests.
pub use response::{Finish, Response, ToolCall, Usage};
pub use transcribe::Transcribe;
#[cfg(any(test, feature = "runtime", feature = "testing"))]
pub use {
    audio::Embeddings,
    meter::{Charges, Meter},
    provider::{Deltas, LlmProvider},
    request::Format,
};

use crate::{MeetingId, Name};
use hook_time::{HookTime, limited};

/// The language models, for one instance in one meeting.
#[derive(Debug, Clone)]
pub struct Llm {
    provider: SharedLlm,
    meeting: MeetingId,
    instance: Name,
    time: Arc<HookTime>,
}

impl Llm {
    /// The models for an instance. A hook's questions fail `limit` after its first one, unless
    /// [`until`](Self::until) sets another time; `None` is no limit.
    pub(crate) fn new(
        provider: SharedLlm,
        meeting: MeetingId,
        instance: Name,
        limit: Option<Duration>,
    ) -> Self {
        Self { provider, meeting, instance, time: HookTime::new(limit) }
    }

    /// Starts a hook: clears the deadline of the hook before.
    pub(super) fn begin(&self) {
        self.time.begin();
    }

    /// Sets when the running hook's requests fail, unless that is set already.
    pub(super) fn until(&self, deadline: Instant) {
        self.time.set(deadline);
    }

    /// Whether a model is configured, for a plugin that can work without one.
    pub fn is_configured(&self) -> bool {
        self.provider.is_configured()
    }

    /// A request that can be shaped before it is sent: to the fast model, for JSON of a type, for the pieces as they come.
    /// Without more it goes to the default model. It fails with [`Error::Failed`] shortly before the hook's deadline, so
    /// that the hook can still handle the failure.
    pub fn ask(&self, messages: impl Into<Vec<Message>>) -> Ask {
        let request = Request::new(Model::Default, messages.into(), self.caller());
        Ask::new(self.provider.clone(), self.time.clone(), request)
    }

    /// Asks the default model for text. `temperature` is 0 (always the likeliest token) to 2. As
    /// [`ask`](Self::ask)`(messages).temperature(temperature).text()`.
    ///
    /// # Errors
    /// As [`Ask::text`].
    pub async fn prompt(&self, messages: impl Into<Vec<Message>>, temperature: f32) -> Result<String, Error> {
        self.ask(messages).temperature(temperature).text().await
    }

    /// Asks the fast model for text. `temperature` is 0 (always the likeliest token) to 2.
    ///
    /// # Errors
    /// As [`Ask::text`].
    pub async fn fast_prompt(
        &self,
        messages: impl Into<Vec<Message>>,
        temperature: f32,
    ) -> Result<String, Error> {
        self.ask(messages).fast().temperature(temperature).text().await
    }

    /// Turns texts into vectors, by the model that `llm.embedding` names: one vector for each text, in their order.
    ///
    /// # Errors
    /// As [`Ask::text`], and [`Error::Misconfigured`] if no model is named for it.
    pub async fn embed<S: Into<String>>(
        &self,
        texts: impl IntoIterator<Item = S>,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let mut caller = self.caller();
        caller.deadline = self.time.deadline(None);
        let deadline = caller.deadline;
        let request = EmbedRequest::new(texts.into_iter().map(Into::into).collect(), caller);
        Ok(limited(deadline, self.provider.embed(request)).await?.vectors)
    }

    /// Sound to be turned into text, by the model that `llm.transcription` names.
    pub fn transcribe(&self, audio: Audio) -> Transcribe {
        let request = TranscribeRequest::new(audio, self.caller());
        Transcribe::new(self.provider.clone(), self.time.clone(), request)
    }

    /// The budgets that the instance's requests are paid from; see [`Budgets::left`].
    ///
    /// # Errors
    /// [`Error::Failed`] if what is spent is unknown now.
    pub async fn budget(&self) -> Result<Budgets, Error> {
        let deadline = self.time.deadline(None);
        limited(deadline, self.provider.budgets(self.caller())).await
    }

    fn caller(&self) -> Caller {
        Caller::new(self.meeting.clone(), self.instance.clone())
    }
}
