//! Models behind OpenAI's API, which most model servers offer: chat completions, vectors of texts ([`embeddings`]), and
//! the text of sound ([`audio`]).
//!
//! This module is the only one that names `async-openai` and the HTTP client under it. async-openai makes the requests of
//! chats of our bodies; how they are sent and how answers are read is ours ([`exchange`]), because of four of its habits:
//! - It reads `OPENAI_…` and proxy variables. [`ServerAccess`] sets every value itself.
//! - It retries when a server is busy. [`policy`](crate::policy) decides about retries.
//! - It logs answers that it cannot parse, and an answer holds a meeting's words.
//! - It holds a stream's events in memory without a bound, and without a limit on their time.
//!
//! The only variables that are still read are `SSL_CERT_FILE` and `SSL_CERT_DIR`, by which TLS finds the machine's
//! certificate authorities.

mod audio;
mod chat;
mod embeddings;
mod error;
mod events;
mod exchange;
mod fold;
mod thoughts;
mod transport;
mod usage;

use std::sync::atomic::{AtomicBool, Ordering};

use async_openai::{Client, config::Config};
use http::{HeaderMap, HeaderValue, header};
use parking_lot::Mutex;
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde::de::IgnoredAny;
use teammy_config::{ApiKey, Llm, LlmModel};
use teammy_kernel::{
    Deltas, EmbedRequest, Embeddings, LlmFormat, LlmRequest, LlmResponse, TraceContext, TranscribeRequest,
    Transcript, Usage, chain,
};
use tokio::time::Instant;

use self::{
    audio::Detail,
    chat::{Dialect, Learned},
    exchange::Exchange,
    transport::{Call, kind_of, network},
};
use crate::{
    error::Error,
    models::{Answer, ModelClient, Question},
    policy::{Class, Deadlines, Problem, Watch},
};

/// The client's log target. The client logs answers that it cannot parse, at ERROR.
pub const LOG_TARGET: &str = "async_openai";

/// One model at one server.
pub(crate) struct Endpoint {
    /// The model's name in the configuration.
    name: String,
    dialect: Dialect,
    access: ServerAccess,
    http: reqwest::Client,
    deadlines: Deadlines,
    has_version: bool,
    no_response_format: AtomicBool,
    no_stream_options: AtomicBool,
    /// What is asked for of a transcript, as far as the server has rejected more.
    detail: Mutex<Detail>,
    /// Why the API key cannot be used; each request fails with it.
    key_problem: Option<KeyProblem>,
}

#[derive(Debug, Clone, thiserror::Error)]
enum KeyProblem {
    /// This environment variable would hold the API key, and is not set.
    #[error("it needs its API key: the environment variable {0} is not set")]
    Unset(String),
    /// The API key holds characters that cannot stand in an HTTP header.
    #[error("its API key holds characters that no key has, such as an end of line")]
    Malformed,
}

/// The client of the configured models. Sends no request.
///
/// # Errors
/// [`Error::Client`] if the HTTP client could not be made.
pub(crate) fn endpoints(config: &Llm) -> Result<Vec<Endpoint>, Error> {
    let http = transport::client(config.connect)?;
    let deadlines = Deadlines {
        first_token: config.first_token,
        between_tokens: config.between_tokens,
        total: config.total,
    };
    Ok(config.models.iter().map(|model| Endpoint::new(model, http.clone(), deadlines)).collect())
}

impl Endpoint {
    fn new(model: &LlmModel, http: reqwest::Client, deadlines: Deadlines) -> Self {
        let base_url = model.base_url.to_string();
        let is_version = |part: &str| {
            part.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let has_version = base_url.split('/').any(is_version);
        let mut access = ServerAccess::new(base_url);
        let key_problem = match &model.api_key {
            ApiKey::None => None,
            ApiKey::Unset { variable } => Some(KeyProblem::Unset(variable.clone())),
            ApiKey::Set(key) => access.set_key(key).err(),
        };
        let dialect = Dialect {
            model: model.model.clone(),
            temperature: model.temperature,
            limit_field: model.limit_field(),
            system_role: model.system_role,
            json: model.json,
            stream: model.stream,
            extra: model.extra_body.clone(),
        };
        Self {
            name: model.name.clone(),
            dialect,
            access,
            http,
            deadlines,
            has_version,
            no_response_format: AtomicBool::new(false),
            no_stream_options: AtomicBool::new(false),
            detail: Mutex::default(),
            key_problem,
        }
    }

    /// Checks that the model has a usable API key.
    ///
    /// # Errors
    /// [`Error::Keyless`] and [`Error::Key`].
    pub(crate) fn ready(&self) -> Result<(), Error> {
        let model = self.name.clone();
        match &self.key_problem {
            None => Ok(()),
            Some(KeyProblem::Unset(variable)) => Err(Error::Keyless { model, variable: variable.clone() }),
            Some(KeyProblem::Malformed) => Err(Error::Key { model }),
        }
    }

    /// Turns texts into vectors, in as many requests as the API needs, which share their time.
    ///
    /// # Errors
    /// The first failure of a request; it counts what the requests before it cost.
    pub(crate) async fn embed(&self, request: &EmbedRequest) -> Result<Embeddings, Problem> {
        self.usable()?;
        let call = self.call(request.caller.deadline);
        let mut embeddings = Embeddings::default();
        for batch in embeddings::batches(&request.texts) {
            match self.embed_batch(&call, batch, request.caller.trace).await {
                Ok((vectors, usage)) => {
                    embeddings.vectors.extend(vectors);
                    let sum = embeddings.usage.unwrap_or_default() + usage.unwrap_or_default();
                    embeddings.usage = embeddings.usage.or(usage).map(|_| sum);
                }
                Err(mut problem) => {
                    problem.usage += embeddings.usage.unwrap_or_default();
                    if !embeddings.vectors.is_empty() && embeddings.usage.is_none() {
                        problem.answered = problem.answered.or(Some(0));
                    }
                    return Err(problem);
                }
            }
        }
        Ok(embeddings)
    }

    async fn embed_batch(
        &self,
        call: &Call<'_>,
        texts: &[String],
        trace: Option<TraceContext>,
    ) -> Result<(Vec<Vec<f32>>, Option<Usage>), Problem> {
        let body = embeddings::body(&self.dialect.model, texts).to_string();
        let request =
            self.post("/embeddings", trace).header(header::CONTENT_TYPE, "application/json").body(body);
        let response = call.open(request.build().map_err(network)?).await?;
        let body = call.body(response, embeddings::MAX_ANSWER_BYTES, embeddings::too_large).await?;
        embeddings::read(&body, texts.len())
    }

    /// Turns sound into text. A server that gives no times is asked for the text alone from then on.
    ///
    /// # Errors
    /// If the server does not give a transcript.
    pub(crate) async fn transcribe(&self, request: &TranscribeRequest) -> Result<Transcript, Problem> {
        self.usable()?;
        let call = self.call(request.caller.deadline);
        let sound = audio::sound(&request.audio)?;
        loop {
            // As in `learns_from`, what was sent decides whether something is learned.
            let detail = *self.detail.lock();
            let form = audio::form(&self.dialect.model, request, sound.clone(), detail).map_err(network)?;
            let post = self.post("/audio/transcriptions", request.caller.trace).multipart(form);
            match call.open(post.build().map_err(network)?).await {
                Ok(response) => {
                    let kind = kind_of(&response).to_owned();
                    let body = call.body(response, audio::MAX_ANSWER_BYTES, audio::too_large).await?;
                    return audio::read(&kind, &body);
                }
                Err(rejection) => match detail.less(&rejection) {
                    Some(less) => {
                        let mut known = self.detail.lock();
                        *known = less.max(*known);
                    }
                    None => return Err(Detail::problem(rejection)),
                },
            }
        }
    }

    /// A call whose answer comes whole, so that only the time of a try and the asker's time limit it.
    fn call(&self, deadline: Option<Instant>) -> Call<'_> {
        let watch = Watch::new(self.deadlines, Instant::now(), deadline, false);
        Call { client: &self.http, watch, has_version: self.has_version }
    }

    fn post(&self, path: &str, trace: Option<TraceContext>) -> RequestBuilder {
        self.http.post(self.access.url(path)).headers(self.access.at(trace).headers)
    }

    fn usable(&self) -> Result<(), Problem> {
        match &self.key_problem {
            None => Ok(()),
            Some(problem) => Err(Problem::new(Class::Misconfigured, problem.to_string())),
        }
    }

    async fn chat(&self, request: &LlmRequest, deltas: Option<&Deltas>) -> Result<LlmResponse, Problem> {
        self.usable()?;
        loop {
            let learned = self.learned();
            match self.send(request, deltas, learned).await {
                Err(problem) if self.learns_from(&problem, request, learned) => {}
                outcome => return outcome,
            }
        }
    }

    fn learned(&self) -> Learned {
        Learned {
            no_response_format: self.no_response_format.load(Ordering::Relaxed),
            no_stream_options: self.no_stream_options.load(Ordering::Relaxed),
        }
    }

    async fn send(
        &self,
        request: &LlmRequest,
        deltas: Option<&Deltas>,
        learned: Learned,
    ) -> Result<LlmResponse, Problem> {
        let body = chat::body(request, &self.dialect, learned);
        let watch = Watch::new(self.deadlines, Instant::now(), request.caller.deadline, self.dialect.stream);
        let exchange = Exchange::new(self.http.clone(), watch, deltas.cloned(), self.has_version);
        let client = Client::build(self.http.clone(), self.access.at(request.caller.trace))
            .with_http_service(exchange.clone());
        let sent = client.chat().create_byot::<_, IgnoredAny>(body).await;
        match (exchange.take_outcome(), sent) {
            (Some(outcome), _) => outcome,
            // There was no request, so this is not what a server says.
            (None, Err(error)) => Err(Problem::new(Class::Refused, chain(&error))),
            (None, Ok(_)) => Err(Problem::new(Class::Malformed, "it was not asked")),
        }
    }

    /// Whether the server rejects what only we ask for, so that it is asked again without it. What the request was `sent`
    /// with decides, and not what is known by now: another request may have learned the same meanwhile.
    fn learns_from(&self, problem: &Problem, request: &LlmRequest, sent: Learned) -> bool {
        let is_about =
            |name: &str| problem.class == Class::Misconfigured && problem.text.contains(&format!("`{name}`"));
        let asks_for_json = matches!(request.format, LlmFormat::Json { .. });
        if is_about("stream_options") && !sent.no_stream_options {
            self.no_stream_options.store(true, Ordering::Relaxed);
            return true;
        }
        if asks_for_json && is_about("response_format") && !sent.no_response_format {
            self.no_response_format.store(true, Ordering::Relaxed);
            return true;
        }
        false
    }
}

impl ModelClient for Endpoint {
    fn name(&self) -> &str {
        &self.name
    }

    async fn ask(&self, question: Question<'_>) -> Result<Answer, Problem> {
        match question {
            Question::Chat(request, deltas) => self.chat(request, deltas).await.map(Answer::Chat),
            Question::Embed(request) => self.embed(request).await.map(Answer::Embed),
            Question::Transcribe(request) => self.transcribe(request).await.map(Answer::Transcribe),
        }
    }
}

/// Where a server is, and the API key that it wants.
#[derive(Clone)]
struct ServerAccess {
    base_url: String,
    headers: HeaderMap,
    key: SecretString,
}

impl ServerAccess {
    /// A server that wants no key.
    fn new(base_url: String) -> Self {
        Self { base_url, headers: HeaderMap::new(), key: SecretString::default() }
    }

    /// The same, for requests that are made here in a trace.
    fn at(&self, trace: Option<TraceContext>) -> Self {
        let mut access = self.clone();
        if let Some(trace) = trace.and_then(|trace| HeaderValue::try_from(trace.to_string()).ok()) {
            access.headers.insert("traceparent", trace);
        }
        access
    }

    fn set_key(&mut self, key: &SecretString) -> Result<(), KeyProblem> {
        let value = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret()));
        let mut value = value.map_err(|_| KeyProblem::Malformed)?;
        value.set_sensitive(true);
        self.headers.insert(header::AUTHORIZATION, value);
        self.key = key.clone();
        Ok(())
    }
}

impl Config for ServerAccess {
    fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    fn api_base(&self) -> &str {
        &self.base_url
    }

    fn api_key(&self) -> &SecretString {
        &self.key
    }
}

#[cfg(test)]
mod tests;
