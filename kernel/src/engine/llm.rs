//! Language models, as a plugin sees them.

mod answer;
mod ask;
#[cfg(test)]
mod ask_tests;
mod error;
mod hook_time;
mod provider;
mod request;
mod response;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

pub use answer::{AnswerError, parse_answer};
pub use ask::{Ask, TextStream};
pub use error::Error;
pub use provider::{Deltas, LlmProvider, SharedLlm};
pub use request::{Format, Message, Model, Priority, Request, Role, Tool};
pub use response::{Finish, Response, ToolCall, Usage};

use crate::{MeetingId, Name};
use hook_time::HookTime;

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
        let (meeting, instance) = (self.meeting.clone(), self.instance.clone());
        let request = Request::new(Model::Default, messages.into(), meeting, instance);
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
}
