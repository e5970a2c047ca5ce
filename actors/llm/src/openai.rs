//! Language models behind OpenAI's chat completions API, which most servers of models speak.
//!
//! This module is the only one that names `async-openai` and the HTTP client under it. Some habits of theirs
//! are kept out: they read `OPENAI_…` and proxy variables where nobody looks for them ([`Access`] says
//! everything itself), they ask again by themselves when a server is busy (the runtime decides that), and
//! they log answers that they cannot read, which are somebody's words ([`transport`] hands on only what can
//! be read). Of the environment they see only what TLS reads to find the machine's certificate authorities,
//! `SSL_CERT_FILE` and `SSL_CERT_DIR`.

mod error;
mod transport;

use std::{collections::BTreeMap, sync::Arc};

use async_openai::{Client, config};
use http::{HeaderMap, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use teammy_config::{ApiKey, Llm};
use teammy_kernel::{LlmError, LlmMessage, LlmProvider, LlmRequest, LlmResponse, Model, Usage as LlmUsage};

use crate::Error;

/// What the client logs under: answers that it cannot read, at ERROR.
pub const LOG_TARGET: &str = "async_openai";

/// The models of a configuration.
pub(crate) struct OpenAi {
    default: Arc<Endpoint>,
    fast: Arc<Endpoint>,
}

/// One model at one server.
struct Endpoint {
    name: String,
    model: String,
    client: Client<Access>,
    /// What its server is told beside the question.
    extra: serde_json::Map<String, serde_json::Value>,
    /// Why it cannot be asked.
    unusable: Option<Unusable>,
}

#[derive(Debug, Clone)]
enum Unusable {
    /// The variable that would hold the API key is not set.
    Keyless(String),
    /// The API key cannot be sent.
    Key,
}

impl OpenAi {
    /// Clients of the configured models; `None` if there are none. Nobody is called yet.
    ///
    /// # Errors
    /// [`Error::Client`] if there can be no HTTP client.
    pub(crate) fn new(config: &Llm) -> Result<Option<Self>, Error> {
        let (Some(default), Some(fast)) = (&config.default, &config.fast) else { return Ok(None) };
        let transport = transport::Transport::new()?;
        let mut endpoints = BTreeMap::new();
        for model in &config.models {
            let mut access = Access::new(model.base_url.to_string());
            let unusable = match &model.api_key {
                ApiKey::None => None,
                ApiKey::Unset { variable } => Some(Unusable::Keyless(variable.clone())),
                ApiKey::Set(key) => access.let_in_by(key).err(),
            };
            let client = Client::build(transport.client(), access).with_http_service(transport.clone());
            let endpoint = Endpoint {
                name: model.name.clone(),
                model: model.model.clone(),
                client,
                extra: model.extra_body.clone(),
                unusable,
            };
            endpoints.insert(model.name.as_str(), Arc::new(endpoint));
        }
        let find = |name: &String| endpoints.get(name.as_str()).cloned();
        Ok(find(default).zip(find(fast)).map(|(default, fast)| Self { default, fast }))
    }

    /// What is missing for the models to be asked.
    ///
    /// # Errors
    /// [`Error::Keyless`] and [`Error::Key`].
    pub(crate) fn ready(&self) -> Result<(), Error> {
        [&self.default, &self.fast].into_iter().try_for_each(|endpoint| endpoint.ready())
    }
}

impl LlmProvider for OpenAi {
    async fn complete(&self, request: LlmRequest) -> Result<LlmResponse, LlmError> {
        let endpoint = match request.model {
            Model::Fast => &self.fast,
            _ => &self.default,
        };
        endpoint.complete(&request).await
    }
}

impl Endpoint {
    fn ready(&self) -> Result<(), Error> {
        let model = self.name.clone();
        match &self.unusable {
            None => Ok(()),
            Some(Unusable::Keyless(variable)) => Err(Error::Keyless { model, variable: variable.clone() }),
            Some(Unusable::Key) => Err(Error::Key { model }),
        }
    }

    async fn complete(&self, request: &LlmRequest) -> Result<LlmResponse, LlmError> {
        self.ready().map_err(|error| LlmError::Failed(error.to_string()))?;
        // A field that stood there twice would mean what each server makes of it.
        let temperature = (!self.extra.contains_key("temperature")).then_some(request.temperature);
        let body = Body { model: &self.model, messages: &request.messages, temperature, extra: &self.extra };
        let sent = self.client.chat().create_byot(body).await;
        let completion: Completion = sent.map_err(|error| self.labelled(error::classify(&error)))?;
        completion.into_response().map_err(|error| self.labelled(error))
    }

    /// Says which model it was.
    fn labelled(&self, error: LlmError) -> LlmError {
        match error {
            LlmError::Failed(problem) => LlmError::Failed(format!("{}: {problem}", self.name)),
            LlmError::Refused(problem) => LlmError::Refused(format!("{}: {problem}", self.name)),
            error => error,
        }
    }
}

/// A question, as <https://platform.openai.com/docs/api-reference/chat/create> has it.
#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: &'a [LlmMessage],
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(flatten)]
    extra: &'a serde_json::Map<String, serde_json::Value>,
}

/// What is read of an answer. Servers leave out much of what the reference promises, so no more is asked for.
#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    message: Said,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

impl Completion {
    fn into_response(self) -> Result<LlmResponse, LlmError> {
        let usage = self
            .usage
            .map(|usage| LlmUsage { prompt: usage.prompt_tokens, completion: usage.completion_tokens });
        let Some(Choice { message, finish_reason }) = self.choices.into_iter().next() else {
            return Err(LlmError::Failed("it answered without a choice".to_owned()));
        };
        match message {
            Said { refusal: Some(_), .. } => Err(LlmError::Refused("it declined to answer".to_owned())),
            _ if finish_reason.as_deref() == Some("content_filter") => {
                Err(LlmError::Refused("its content filter held the answer back".to_owned()))
            }
            Said { content: Some(text), .. } => {
                let mut response = LlmResponse::new(text);
                response.usage = usage;
                Ok(response)
            }
            Said { content: None, .. } => Err(LlmError::Failed("it answered without text".to_owned())),
        }
    }
}

/// Where a server is and how to be let in.
struct Access {
    base_url: String,
    headers: HeaderMap,
    key: SecretString,
}

impl Access {
    /// A server that lets everybody in.
    fn new(base_url: String) -> Self {
        Self { base_url, headers: HeaderMap::new(), key: SecretString::default() }
    }

    /// It wants this key.
    fn let_in_by(&mut self, key: &SecretString) -> Result<(), Unusable> {
        let value = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret()));
        let mut value = value.map_err(|_| Unusable::Key)?;
        value.set_sensitive(true);
        self.headers.insert(header::AUTHORIZATION, value);
        self.key = key.clone();
        Ok(())
    }
}

impl config::Config for Access {
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
