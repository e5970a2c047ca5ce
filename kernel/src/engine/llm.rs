//! Language models, as a plugin sees them.

mod answer;

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub use answer::{AnswerError, parse_answer};

use crate::{MeetingId, Name, error_classes};

/// Whose text a message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions that frame the conversation.
    System,
    /// The plugin that asks.
    User,
    /// The model.
    Assistant,
}

/// One message of a conversation with a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Whose text it is.
    pub role: Role,
    /// The text.
    pub content: String,
}

impl Message {
    /// Instructions that frame the conversation.
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: Role::System, content: content.into() }
    }

    /// The plugin's text.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    /// The model's text, of an earlier turn.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}

/// Which of the configured models to ask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Model {
    /// The model for work that needs quality.
    #[default]
    Default,
    /// The model for work that must be quick and cheap.
    Fast,
}

/// A question to a model, with the instance that asks.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// Which model.
    pub model: Model,
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// The sampling temperature, from 0 (always the likeliest token) to 2.
    pub temperature: f32,
    /// The meeting in which the instance asks.
    pub meeting: MeetingId,
    /// The instance that asks.
    pub instance: Name,
}

impl Request {
    /// A question; `temperature` is 0 to 2.
    pub fn new(
        model: Model,
        messages: Vec<Message>,
        temperature: f32,
        meeting: MeetingId,
        instance: Name,
    ) -> Self {
        Self { model, messages, temperature, meeting, instance }
    }
}

/// The cost of an answer, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read.
    pub prompt: u64,
    /// Tokens written.
    pub completion: u64,
}

/// A model's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// The text.
    pub text: String,
    /// The cost, if the provider reports it.
    pub usage: Option<Usage>,
}

impl Response {
    /// An answer whose cost is unknown.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), usage: None }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This node has no model to ask.
    #[error("no language model is configured for this node")]
    NotConfigured,
    /// The provider failed; another try may succeed.
    #[error("the language model failed: {0}")]
    Failed(String),
    /// The provider refused the question; another try will not succeed.
    #[error("the language model refused the request: {0}")]
    Refused(String),
}

error_classes!(Error {
    Self::NotConfigured => "llm-not-configured" Invalid,
    Self::Failed(_) => "llm-failed" Unavailable,
    Self::Refused(_) => "llm-refused" Invalid,
});

/// Answers questions: a client of a model's API, or a script in a test.
pub trait LlmProvider: Send + Sync + 'static {
    /// Answers a question.
    ///
    /// # Errors
    /// [`Error::Failed`] if another try may succeed, [`Error::Refused`] if none will.
    ///
    /// # Cancel safety
    /// A hook that passes its deadline drops the future at an await point.
    fn complete(&self, request: Request) -> impl Future<Output = Result<Response, Error>> + Send;
}

trait DynProvider: Send + Sync {
    fn complete(&self, request: Request) -> BoxFuture<'_, Result<Response, Error>>;
}

impl<P: LlmProvider> DynProvider for P {
    fn complete(&self, request: Request) -> BoxFuture<'_, Result<Response, Error>> {
        LlmProvider::complete(self, request).boxed()
    }
}

/// A provider behind a shared pointer, with its type erased. A node gives it to every engine.
#[derive(Clone)]
pub struct SharedLlm(Option<Arc<dyn DynProvider>>);

impl SharedLlm {
    /// Shares a provider.
    pub fn new(provider: impl LlmProvider) -> Self {
        Self(Some(Arc::new(provider)))
    }

    /// No provider: every question fails with [`Error::NotConfigured`].
    pub fn none() -> Self {
        Self(None)
    }

    /// Whether there is a provider.
    pub fn is_configured(&self) -> bool {
        self.0.is_some()
    }

    /// Asks the provider.
    ///
    /// # Errors
    /// The provider's error, and [`Error::NotConfigured`] if there is no provider.
    pub async fn complete(&self, request: Request) -> Result<Response, Error> {
        let provider = self.0.as_ref().ok_or(Error::NotConfigured)?;
        provider.complete(request).await
    }
}

impl fmt::Debug for SharedLlm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.0.is_some() { "SharedLlm" } else { "SharedLlm(none)" };
        f.write_str(name)
    }
}

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

    /// Asks the default model. `temperature` is 0 (always the likeliest token) to 2. The question fails with
    /// [`Error::Failed`] shortly before the hook's deadline, so that the hook can still handle the failure.
    ///
    /// # Errors
    /// Every variant of [`Error`].
    pub async fn prompt(&self, messages: impl Into<Vec<Message>>, temperature: f32) -> Result<String, Error> {
        self.ask(Model::Default, messages.into(), temperature).await
    }

    /// Asks the fast model. `temperature` is 0 (always the likeliest token) to 2. Fails as
    /// [`prompt`](Self::prompt) does.
    ///
    /// # Errors
    /// Every variant of [`Error`].
    pub async fn fast_prompt(
        &self,
        messages: impl Into<Vec<Message>>,
        temperature: f32,
    ) -> Result<String, Error> {
        self.ask(Model::Fast, messages.into(), temperature).await
    }

    async fn ask(&self, model: Model, messages: Vec<Message>, temperature: f32) -> Result<String, Error> {
        let request = Request::new(model, messages, temperature, self.meeting.clone(), self.instance.clone());
        let answer = self.provider.complete(request);
        let until = self.time.until(|| self.time.limit.map(|limit| Instant::now() + limit));
        let answer = match until {
            None => answer.await,
            Some(until) => match tokio::time::timeout_at(until, answer).await {
                Ok(answer) => answer,
                Err(_) => Err(Error::Failed("no answer came in the time that the hook has".to_owned())),
            },
        };
        Ok(answer?.text)
    }
}
