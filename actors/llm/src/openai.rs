//! Language models behind OpenAI's chat completions API, which most model servers offer.
//!
//! This module is the only one that names `async-openai` and the HTTP client under it. It turns off three of
//! their habits:
//! - They read `OPENAI_…` and proxy variables. [`ServerAccess`] sets every value itself.
//! - They retry when a server is busy. The runtime decides about retries.
//! - They log answers that they cannot parse, and an answer holds a meeting's words. [`transport`] passes on
//!   only answers that parse.
//!
//! The only variables that they still read are `SSL_CERT_FILE` and `SSL_CERT_DIR`, by which TLS finds the
//! machine's certificate authorities.

mod chat;
mod error;
mod transport;

use std::{collections::BTreeMap, sync::Arc};

use async_openai::{Client, config};
use http::{HeaderMap, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};
use teammy_config::{ApiKey, Llm};
use teammy_kernel::{LlmError, LlmProvider, LlmRequest, LlmResponse, Model};

use self::chat::{ChatCompletion, ChatRequest, ExtraBody};
use crate::error::Error;

/// The client's log target. The client logs answers that it cannot parse, at ERROR.
pub const LOG_TARGET: &str = "async_openai";

/// The models of a configuration.
pub(crate) struct OpenAi {
    default: Arc<Endpoint>,
    fast: Arc<Endpoint>,
}

/// One model at one server.
struct Endpoint {
    /// The model's name in the configuration.
    name: String,
    /// The model's name at its server.
    model: String,
    client: Client<ServerAccess>,
    extra: ExtraBody,
    /// Why the API key cannot be used; each question fails with it.
    key_problem: Option<KeyProblem>,
}

#[derive(Debug, Clone)]
enum KeyProblem {
    /// This environment variable would hold the API key, and is not set.
    Unset(String),
    /// The API key holds characters that cannot stand in an HTTP header.
    Malformed,
}

impl OpenAi {
    /// Makes clients of the configured models; `None` if there are none. Sends no request.
    ///
    /// # Errors
    /// [`Error::Client`] if the HTTP client could not be made.
    pub(crate) fn new(config: &Llm) -> Result<Option<Self>, Error> {
        let (Some(default), Some(fast)) = (&config.default, &config.fast) else { return Ok(None) };
        let transport = transport::Transport::new()?;
        let mut endpoints = BTreeMap::new();
        for model in &config.models {
            let mut access = ServerAccess::new(model.base_url.to_string());
            let key_problem = match &model.api_key {
                ApiKey::None => None,
                ApiKey::Unset { variable } => Some(KeyProblem::Unset(variable.clone())),
                ApiKey::Set(key) => access.set_key(key).err(),
            };
            let client = Client::build(transport.client(), access).with_http_service(transport.clone());
            let endpoint = Endpoint {
                name: model.name.clone(),
                model: model.model.clone(),
                client,
                extra: model.extra_body.clone(),
                key_problem,
            };
            endpoints.insert(model.name.as_str(), Arc::new(endpoint));
        }
        let find = |name: &String| endpoints.get(name.as_str()).cloned();
        Ok(find(default).zip(find(fast)).map(|(default, fast)| Self { default, fast }))
    }

    /// Checks that both models have a usable API key.
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
        match &self.key_problem {
            None => Ok(()),
            Some(KeyProblem::Unset(variable)) => Err(Error::Keyless { model, variable: variable.clone() }),
            Some(KeyProblem::Malformed) => Err(Error::Key { model }),
        }
    }

    async fn complete(&self, request: &LlmRequest) -> Result<LlmResponse, LlmError> {
        self.ready().map_err(|error| LlmError::Failed(error.to_string()))?;
        let body = ChatRequest::new(&self.model, request, &self.extra);
        let sent = self.client.chat().create_byot(body).await;
        let completion: ChatCompletion = sent.map_err(|error| self.with_name(error::classify(&error)))?;
        completion.into_response().map_err(|error| self.with_name(error))
    }

    /// Puts the model's name in front of an error's text.
    fn with_name(&self, error: LlmError) -> LlmError {
        match error {
            LlmError::Failed(problem) => LlmError::Failed(format!("{}: {problem}", self.name)),
            LlmError::Refused(problem) => LlmError::Refused(format!("{}: {problem}", self.name)),
            error => error,
        }
    }
}

/// Where a server is, and the API key that it wants.
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

    fn set_key(&mut self, key: &SecretString) -> Result<(), KeyProblem> {
        let value = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret()));
        let mut value = value.map_err(|_| KeyProblem::Malformed)?;
        value.set_sensitive(true);
        self.headers.insert(header::AUTHORIZATION, value);
        self.key = key.clone();
        Ok(())
    }
}

impl config::Config for ServerAccess {
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
