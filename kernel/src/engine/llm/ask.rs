//! A plugin's request, and what it can ask for.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, Stream, future::BoxFuture};
use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    answer::{AnswerError, parse_answer},
    caller::Priority,
    error::Error,
    hook_time::{HookTime, limited},
    provider::{Deltas, SharedLlm},
    request::{Format, Message, Model, Request, Tool},
    response::{Finish, Response, Usage},
};

/// A request to a model that is not sent yet. [`Llm::ask`](crate::Llm::ask) makes one, and one of [`text`](Self::text),
/// [`json`](Self::json), [`stream`](Self::stream) and [`response`](Self::response) sends it.
///
/// # Examples
/// ```
/// use teammy_kernel::{Cx, Error, InCallPlugin, LlmMessage};
/// # use schemars::JsonSchema; use serde::Deserialize;
/// #[derive(Deserialize, JsonSchema)]
/// struct Verdict {
///     urgent: bool,
/// }
///
/// async fn is_urgent<P: InCallPlugin>(said: &str, cx: &Cx<'_, P>) -> Result<bool, Error> {
///     let messages = [LlmMessage::system("Is this urgent?"), LlmMessage::user(said)];
///     let verdict: Verdict = cx.engine().llm().ask(messages).fast().max_tokens(20).json().await?;
///     Ok(verdict.urgent)
/// }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a request does nothing until it is sent, by `text`, `json`, `stream` or `response`"]
pub struct Ask {
    provider: SharedLlm,
    time: Arc<HookTime>,
    request: Request,
    within: Option<Duration>,
}

impl Ask {
    pub(super) fn new(provider: SharedLlm, time: Arc<HookTime>, request: Request) -> Self {
        Self { provider, time, request, within: None }
    }

    /// Asks this model instead of the default one.
    pub fn model(mut self, model: Model) -> Self {
        self.request.model = model;
        self
    }

    /// Asks the fast model.
    pub fn fast(self) -> Self {
        self.model(Model::Fast)
    }

    /// Sets the sampling temperature, 0 (always the likeliest token) to 2. Without it the server's default applies.
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.request.temperature = Some(temperature);
        self
    }

    /// Bounds the answer's length, in tokens. An answer that reaches it is [cut off](Error::CutOff).
    pub fn max_tokens(mut self, tokens: u32) -> Self {
        self.request.max_tokens = Some(tokens);
        self
    }

    /// Ends the answer before any of these texts.
    pub fn stop<S: Into<String>>(mut self, texts: impl IntoIterator<Item = S>) -> Self {
        self.request.stop = texts.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the seed of the sampling, for servers that have one.
    pub fn seed(mut self, seed: u64) -> Self {
        self.request.seed = Some(seed);
        self
    }

    /// Lets the model ask for these functions; see [`Response::tool_calls`].
    pub fn tools(mut self, tools: impl IntoIterator<Item = Tool>) -> Self {
        self.request.tools = tools.into_iter().collect();
        self
    }

    /// Fails if there is no answer after this time, or when the hook's time is over, if that is sooner.
    pub fn within(mut self, time: Duration) -> Self {
        self.within = Some(time);
        self
    }

    /// Sets which of the requests that wait for the model goes first.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.request.caller.priority = priority;
        self
    }

    /// Says what the request is for, for accounts: a short name such as `summary`, never words of the meeting.
    pub fn purpose(mut self, purpose: impl Into<String>) -> Self {
        self.request.caller.purpose = Some(purpose.into());
        self
    }

    /// The answer's text, without thoughts.
    ///
    /// # Errors
    /// Every variant of [`Error`] but [`Error::Unreadable`]. [`Error::CutOff`] holds what there is of the text.
    pub async fn text(self) -> Result<String, Error> {
        whole(self.response().await?)
    }

    /// The answer with all that is known of it. Its text may be cut off; see [`Response::finish`].
    ///
    /// # Errors
    /// As [`text`](Self::text), without [`Error::CutOff`].
    pub async fn response(self) -> Result<Response, Error> {
        let Self { provider, time, mut request, within } = self;
        request.caller.deadline = time.deadline(within);
        complete(&provider, request).await
    }

    /// The answer as a value. The model is told the type's JSON Schema, by the server's own means where it has some.
    /// The value is read wherever it stands in the answer, and checked against the schema. If there is none, the
    /// model is asked once more, with its answer and what is wrong with it.
    ///
    /// # Errors
    /// Every variant of [`Error`]. [`Error::Unreadable`] says what is wrong with the second answer.
    pub async fn json<T: DeserializeOwned + JsonSchema>(self) -> Result<T, Error> {
        self.json_with_usage().await.map(|(value, _)| value)
    }

    /// As [`json`](Self::json), with the cost of the one or two answers, as far as it is known.
    ///
    /// # Errors
    /// As [`json`](Self::json).
    pub async fn json_with_usage<T: DeserializeOwned + JsonSchema>(self) -> Result<(T, Usage), Error> {
        let Self { provider, time, mut request, within } = self;
        request.caller.deadline = time.deadline(within);
        let schema = schema_of::<T>();
        if request.format == Format::Text {
            request.format = Format::Json { name: T::schema_name().into_owned(), schema: schema.clone() };
        }
        let mut usage = Usage::default();
        let mut is_repaired = false;
        loop {
            let response = complete(&provider, request.clone()).await?;
            usage += response.usage.unwrap_or_default();
            let answer = whole(response)?;
            let problem = match read::<T>(&provider, schema.as_value(), &answer) {
                Ok(value) => return Ok((value, usage)),
                Err(problem) => problem,
            };
            if std::mem::replace(&mut is_repaired, true) {
                return Err(Error::Unreadable(problem));
            }
            let wrong = format!(
                "That is not the JSON that was asked for: {problem}. Answer again, with the corrected JSON and nothing else."
            );
            request.messages.extend([Message::assistant(answer), Message::user(wrong)]);
        }
    }

    /// Tells the model the schema of `Asked`, where [`json`](Self::json) tells it that of its own type. For a type that
    /// is read from more forms than a model should be asked for: what comes is checked against the schema of the type
    /// that is read.
    pub fn asking_for<Asked: JsonSchema>(mut self) -> Self {
        let name = Asked::schema_name().into_owned();
        self.request.format = Format::Json { name, schema: schema_of::<Asked>() };
        self
    }

    /// The pieces of the answer's text as they come, without thoughts.
    ///
    /// Nothing is asked until the stream is polled.
    pub fn stream(self) -> TextStream {
        let Self { provider, time, mut request, within } = self;
        let deadline = time.deadline(within);
        request.caller.deadline = deadline;
        let (deltas, pieces) = Deltas::channel();
        let answer = async move {
            let answer = provider.stream(request, deltas);
            limited(deadline, answer).await
        };
        TextStream { pieces, answer: Some(answer.boxed()), error: None, response: None }
    }
}

fn schema_of<T: JsonSchema>() -> Schema {
    SchemaSettings::draft2020_12().for_deserialize().into_generator().into_root_schema_for::<T>()
}

/// The text, unless it is cut off.
fn whole(response: Response) -> Result<String, Error> {
    match response.finish {
        Finish::Length => Err(Error::CutOff { text: response.text }),
        _ => Ok(response.text),
    }
}

async fn complete(provider: &SharedLlm, request: Request) -> Result<Response, Error> {
    let deadline = request.caller.deadline;
    limited(deadline, provider.complete(request)).await
}

/// Reads an answer as a type, or says what is wrong with it.
fn read<T: DeserializeOwned>(provider: &SharedLlm, schema: &Value, answer: &str) -> Result<T, String> {
    let found: Found<T> = parse_answer(answer).map_err(|error: AnswerError| error.to_string())?;
    provider.check(schema, &found.json)?;
    Ok(found.value)
}

/// A value, with the JSON that it was read from: an answer may hold other JSON too, which is not checked.
struct Found<T> {
    value: T,
    json: Value,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Found<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Value::deserialize(deserializer)?;
        let value = T::deserialize(&json).map_err(serde::de::Error::custom)?;
        Ok(Self { value, json })
    }
}

/// The pieces of an answer's text. It ends after the last piece, or with an error.
///
/// A stream that is dropped cancels its request.
pub struct TextStream {
    pieces: mpsc::UnboundedReceiver<String>,
    /// `None` once it has come.
    answer: Option<BoxFuture<'static, Result<Response, Error>>>,
    /// What comes after the last piece, if the answer is not whole.
    error: Option<Error>,
    response: Option<Response>,
}

impl TextStream {
    /// The whole answer, once the stream has ended.
    pub fn response(&self) -> Option<&Response> {
        self.response.as_ref()
    }

    /// The provider is done: what it put until now are all pieces, also if it keeps a clone of its [`Deltas`].
    fn answered(&mut self, answer: Result<Response, Error>) {
        self.answer = None;
        self.pieces.close();
        match answer {
            Ok(response) => {
                if response.finish == Finish::Length {
                    self.error = Some(Error::CutOff { text: response.text.clone() });
                }
                self.response = Some(response);
            }
            Err(error) => self.error = Some(error),
        }
    }
}

impl std::fmt::Debug for TextStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextStream").field("is_answered", &self.answer.is_none()).finish_non_exhaustive()
    }
}

impl Stream for TextStream {
    type Item = Result<String, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(answer) = &mut self.answer {
            match answer.poll_unpin(cx) {
                Poll::Ready(answer) => self.answered(answer),
                Poll::Pending => {
                    return match self.pieces.poll_recv(cx) {
                        Poll::Ready(Some(piece)) => Poll::Ready(Some(Ok(piece))),
                        // The provider puts no more pieces. Its answer, which is polled above, wakes this task.
                        Poll::Ready(None) | Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
        match self.pieces.try_recv() {
            Ok(piece) => Poll::Ready(Some(Ok(piece))),
            Err(_) => Poll::Ready(self.error.take().map(Err)),
        }
    }
}
