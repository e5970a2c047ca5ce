//! The HTTP client under the API, one for all models. It passes on only answers that parse.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_openai::middleware::HttpRequestFactory;
use bytes::BytesMut;
use reqwest::{Client, Response};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use serde::Deserialize;

use super::{chat::ChatCompletion, error::TransportError};
use crate::error::Error;

/// The largest answer. The longest answers of models have some hundred kilobytes.
const MAX_ANSWER_BYTES: usize = 8 << 20;
/// How much is read of an error's body; the rest is dropped.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// The longest error name that is kept.
const MAX_NAME_BYTES: usize = 64;
/// How long a server may take to accept a connection. The hook's deadline limits how long it may take to
/// answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends requests, and checks each answer before async-openai gets it.
#[derive(Clone)]
pub(super) struct Transport(Client);

impl Transport {
    pub(super) fn new() -> Result<Self, Error> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls()?)
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("teammy/", env!("CARGO_PKG_VERSION")))
            // Only the configuration decides where requests go.
            .no_proxy()
            // A key must not follow a redirect to another server.
            .redirect(reqwest::redirect::Policy::none())
            .build();
        client.map(Self).map_err(|error| Error::Client(Box::new(error)))
    }

    pub(super) fn client(&self) -> Client {
        self.0.clone()
    }

    async fn send(
        self,
        request: HttpRequestFactory,
    ) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
        let request = request.build().await?;
        Ok(read(self.0.execute(request).await.map_err(without_url)?).await?)
    }
}

/// TLS that trusts the machine's certificate authorities, or Mozilla's if the machine has none, as in a bare
/// container.
fn tls() -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Client(Box::new(error)))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Leaves the URL out: it is in the configuration, and a dead letter need not repeat it.
fn without_url(error: reqwest::Error) -> TransportError {
    TransportError::Network(error.without_url())
}

/// Reads a response's body, up to a limit, and checks that it is an answer.
async fn read(mut response: Response) -> Result<Response, TransportError> {
    let status = response.status();
    let limit = if status.is_success() { MAX_ANSWER_BYTES } else { MAX_ERROR_BYTES };
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(without_url)? {
        if body.len() + chunk.len() > limit {
            if status.is_success() {
                return Err(TransportError::TooLarge(limit));
            }
            break;
        }
        body.extend_from_slice(&chunk);
    }
    let body = body.freeze();
    if !status.is_success() {
        return Err(TransportError::Status { status, name: error_name(&body) });
    }
    // Only the kind and the place are kept: serde_json's message quotes values of a wrong type.
    if let Err(error) = serde_json::from_slice::<ChatCompletion>(&body) {
        let place = format!("line {}, column {}", error.line(), error.column());
        return Err(TransportError::Malformed(
            format!("{:?} error at {place}", error.classify()).to_lowercase(),
        ));
    }
    let mut answer = http::Response::new(body);
    *answer.status_mut() = status;
    Ok(answer.into())
}

/// The name that a server gives an error, such as `context_length_exceeded`. Its message is dropped: servers
/// quote the question in it, or the key that they rejected.
fn error_name(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct ErrorBody {
        error: ErrorDetail,
    }
    #[derive(Deserialize)]
    struct ErrorDetail {
        #[serde(default)]
        code: serde_json::Value,
        #[serde(default)]
        r#type: serde_json::Value,
    }
    let ErrorBody { error: ErrorDetail { code, r#type } } = serde_json::from_slice(body).ok()?;
    let is_name = |text: &&str| {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        !text.is_empty() && text.len() <= MAX_NAME_BYTES && text.bytes().all(is_plain)
    };
    [&code, &r#type].into_iter().filter_map(serde_json::Value::as_str).find(is_name).map(str::to_owned)
}

type Sending =
    Pin<Box<dyn Future<Output = Result<Response, Box<dyn std::error::Error + Send + Sync>>> + Send>>;

impl tower_service::Service<HttpRequestFactory> for Transport {
    type Response = Response;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Sending;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequestFactory) -> Sending {
        Box::pin(self.clone().send(request))
    }
}
