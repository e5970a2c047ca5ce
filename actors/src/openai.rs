//! Language models behind OpenAI's chat completions API, which most servers of models speak.
//!
//! This module is the only one that names `async-openai` and the HTTP client under it. Three habits of that crate are kept
//! out: it reads `OPENAI_…` variables where nobody looks for them ([`Access`] says everything itself), it asks again by itself
//! when a server is busy (the runtime decides that), and it logs answers that it cannot read, which are somebody's words
//! ([`http::Transport`] hands it only what can be read).

mod error;
mod http;

use std::{collections::BTreeMap, sync::Arc};

use ::http::HeaderMap;
use async_openai::{Client, config};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use teammy_config::{ApiKey, Llm};
use teammy_kernel::{LlmError, LlmMessage, LlmProvider, LlmRequest, LlmResponse, Model, Usage as LlmUsage};

use crate::llm::Error;

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
    /// The variable that would hold the API key, where it is not set.
    keyless: Option<String>,
}

impl OpenAi {
    /// Clients of the configured models; `None` if there are none. Nobody is called yet.
    ///
    /// # Errors
    /// [`Error::Key`] for an API key that cannot be sent, [`Error::Client`] if there can be no HTTP client.
    pub(crate) fn new(config: &Llm) -> Result<Option<Self>, Error> {
        let (Some(default), Some(fast)) = (&config.default, &config.fast) else { return Ok(None) };
        let transport = http::Transport::new()?;
        let mut endpoints = BTreeMap::new();
        for model in &config.models {
            let (key, keyless) = match &model.api_key {
                ApiKey::Set(key) => (Some(key.clone()), None),
                ApiKey::Unset { variable } => (None, Some(variable.clone())),
                ApiKey::None => (None, None),
            };
            let access = Access::new(model.base_url.to_string(), key)
                .ok_or_else(|| Error::Key { model: model.name.clone() })?;
            let client = Client::build(transport.client(), access).with_http_service(transport.clone());
            let endpoint = Endpoint {
                name: model.name.clone(),
                model: model.model.clone(),
                client,
                extra: model.extra_body.clone(),
                keyless,
            };
            endpoints.insert(model.name.as_str(), Arc::new(endpoint));
        }
        let find = |name: &String| endpoints.get(name.as_str()).cloned();
        Ok(find(default).zip(find(fast)).map(|(default, fast)| Self { default, fast }))
    }

    /// What is missing for the models to be asked.
    ///
    /// # Errors
    /// [`Error::Keyless`].
    pub(crate) fn ready(&self) -> Result<(), Error> {
        for endpoint in [&self.default, &self.fast] {
            if let Some(variable) = &endpoint.keyless {
                return Err(Error::Keyless { model: endpoint.name.clone(), variable: variable.clone() });
            }
        }
        Ok(())
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
    async fn complete(&self, request: &LlmRequest) -> Result<LlmResponse, LlmError> {
        if let Some(variable) = &self.keyless {
            let keyless = Error::Keyless { model: self.name.clone(), variable: variable.clone() };
            return Err(LlmError::Failed(keyless.to_string()));
        }
        // A field that stood there twice would mean what each server makes of it.
        let temperature = (!self.extra.contains_key("temperature")).then_some(request.temperature);
        let body = Body { model: &self.model, messages: &request.messages, temperature, extra: &self.extra };
        let sent = self.client.chat().create_byot(body).await;
        let completion: Completion = sent.map_err(|error| self.labelled(error::classify(&error)))?;
        completion.into_response().map_err(|error| self.labelled(error))
    }
}

impl Endpoint {
    /// Says which model it was, and takes the key out: some servers repeat what they did not accept.
    fn labelled(&self, error: LlmError) -> LlmError {
        let key = self.client.config().key.expose_secret();
        let labelled = |problem: String| {
            let problem = if key.is_empty() { problem } else { problem.replace(key, "********") };
            format!("{}: {problem}", self.name)
        };
        match error {
            LlmError::Failed(problem) => LlmError::Failed(labelled(problem)),
            LlmError::Refused(problem) => LlmError::Refused(labelled(problem)),
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
    /// `None` if the key has characters that no header can carry.
    fn new(base_url: String, key: Option<SecretString>) -> Option<Self> {
        let mut headers = HeaderMap::new();
        if let Some(key) = &key {
            let mut value = ::http::HeaderValue::from_str(&format!("Bearer {}", key.expose_secret())).ok()?;
            value.set_sensitive(true);
            headers.insert(::http::header::AUTHORIZATION, value);
        }
        Some(Self { base_url, headers, key: key.unwrap_or_default() })
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
