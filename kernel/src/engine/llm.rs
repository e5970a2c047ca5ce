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

use crate::{MeetingId, Name};

/// Whose words a message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions that frame the conversation.
    System,
    /// The asker.
    User,
    /// The model.
    Assistant,
}

/// One message of a conversation with a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Whose words it holds.
    pub role: Role,
    /// The words.
    pub content: String,
}

impl Message {
    /// Instructions that frame the conversation.
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: Role::System, content: content.into() }
    }

    /// The asker's words.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    /// The model's words, of an earlier turn.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}

/// Which of the configured models to ask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Model {
    /// The one for work that matters.
    #[default]
    Default,
    /// The one for work that must be quick and cheap.
    Fast,
}

/// A question to a model, and who asks it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// Which model.
    pub model: Model,
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// How freely to sample, from 0 (always the likeliest word) to 2.
    pub temperature: f32,
    /// The meeting it is asked in.
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

/// What an answer cost, in tokens.
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
    /// The words.
    pub text: String,
    /// What it cost, where the provider says.
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
    /// The provider failed; asking again may help.
    #[error("the language model failed: {0}")]
    Failed(String),
    /// The provider refused the question; asking again will not help.
    #[error("the language model refused the request: {0}")]
    Refused(String),
}

/// Something that answers questions: a client of a model's API, or a script in a test.
pub trait LlmProvider: Send + Sync + 'static {
    /// Asks.
    ///
    /// # Errors
    /// [`Error::Failed`] for passing trouble, [`Error::Refused`] for a question that will never be answered.
    ///
    /// # Cancel safety
    /// A hook that passes its deadline drops the future; an implementation must stand that.
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

/// A provider behind a shared pointer, its type forgotten: what a node hands to every engine.
#[derive(Clone)]
pub struct SharedLlm(Option<Arc<dyn DynProvider>>);

impl SharedLlm {
    /// Shares a provider.
    pub fn new(provider: impl LlmProvider) -> Self {
        Self(Some(Arc::new(provider)))
    }

    /// No provider: every question is answered with [`Error::NotConfigured`].
    pub fn none() -> Self {
        Self(None)
    }

    /// Whether there is a provider.
    pub fn is_configured(&self) -> bool {
        self.0.is_some()
    }

    /// Asks.
    ///
    /// # Errors
    /// What the provider says, and [`Error::NotConfigured`] where there is none.
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

/// The language models, as one instance in one meeting reaches them.
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
    /// Counted from its first question, if nothing else was said before; none: as long as it takes.
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

    /// A hook is about to run: its time has not begun.
    pub(super) fn begin(&self) {
        if self.time.is_set.load(Ordering::Acquire) {
            let mut until = self.time.until.lock().unwrap_or_else(PoisonError::into_inner);
            *until = None;
            self.time.is_set.store(false, Ordering::Release);
        }
    }

    /// A question of the running hook that is not answered by then has failed, unless its time is set
    /// already.
    pub(super) fn until(&self, deadline: Instant) {
        self.time.until(|| Some(deadline));
    }

    /// Whether there is a model to ask, for a plugin that can do without.
    pub fn is_configured(&self) -> bool {
        self.provider.is_configured()
    }

    /// Asks the default model. `temperature` is 0 (always the likeliest word) to 2. An answer that would come
    /// too late for the hook to do anything with it is [`Error::Failed`].
    ///
    /// # Errors
    /// Every variant of [`Error`].
    pub async fn prompt(&self, messages: impl Into<Vec<Message>>, temperature: f32) -> Result<String, Error> {
        self.ask(Model::Default, messages.into(), temperature).await
    }

    /// Asks the fast model. `temperature` is 0 (always the likeliest word) to 2.
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
