//! Language models, as a plugin sees them.

mod answer;
mod ask;
#[cfg(test)]
mod ask_tests;
mod error;
mod provider;
mod request;
mod response;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

pub use answer::{AnswerError, parse_answer};
pub use ask::{Ask, TextStream};
pub use error::Error;
pub use provider::{Deltas, LlmProvider, SharedLlm};
pub use request::{Format, Message, Model, Priority, Request, Role, Tool};
pub use response::{Finish, Response, ToolCall, Usage};

use crate::{MeetingId, Name};

/// The language models, for one instance in one meeting.
#[derive(Debug, Clone)]
pub struct Llm {
    provider: SharedLlm,
    meeting: MeetingId,
    instance: Name,
    time: Arc<HookTime>,
}

/// The time that the running hook has for questions.
#[derive(Debug)]
struct HookTime {
    /// Counted from the hook's first question, unless a deadline was set before; `None` is no limit.
    limit: Option<Duration>,
    is_set: AtomicBool,
    until: Mutex<Option<Instant>>,
}

impl HookTime {
    fn new(limit: Option<Duration>) -> Arc<Self> {
        Arc::new(Self { limit, is_set: AtomicBool::new(false), until: Mutex::new(None) })
    }

    fn until(&self, otherwise: impl FnOnce() -> Option<Instant>) -> Option<Instant> {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.is_none() {
            *until = otherwise();
            self.is_set.store(until.is_some(), Ordering::Release);
        }
        *until
    }
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
        if self.time.is_set.load(Ordering::Acquire) {
            let mut until = self.time.until.lock().unwrap_or_else(PoisonError::into_inner);
            *until = None;
            self.time.is_set.store(false, Ordering::Release);
        }
    }

    /// Sets when the running hook's questions fail, unless that is set already.
    pub(super) fn until(&self, deadline: Instant) {
        self.time.until(|| Some(deadline));
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
        Ask::new(self.clone(), Request::new(Model::Default, messages.into(), meeting, instance))
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

    /// When a request of the running hook comes too late that may take this long.
    fn deadline(&self, within: Option<Duration>) -> Option<Instant> {
        let of_hook = self.time.until(|| self.time.limit.map(|limit| Instant::now() + limit));
        let own = within.map(|within| Instant::now() + within);
        of_hook.into_iter().chain(own).min()
    }
}
