//! The HTTP under the API: one client for all models, which hands on only answers that can be read.

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

use super::{Completion, error::Problem};
use crate::llm::Error;

/// The largest answer; the longest that models write are some hundred kilobytes.
const MAX_ANSWER_BYTES: usize = 8 << 20;
/// How much of a server's own words about an error is kept.
const MAX_MESSAGE_CHARS: usize = 200;
/// How long a server may take to accept a connection. How long it may take to answer is the hook's deadline.
const CONNECT: Duration = Duration::from_secs(10);

/// Sends requests, and looks at what comes back before anybody else does.
#[derive(Clone)]
pub(super) struct Transport(Client);

impl Transport {
    pub(super) fn new() -> Result<Self, Error> {
        let client = Client::builder()
            .tls_backend_preconfigured(tls()?)
            .connect_timeout(CONNECT)
            .user_agent(concat!("teammy/", env!("CARGO_PKG_VERSION")))
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

/// On the machine's own certificate authorities, or on Mozilla's where it has none, as in a bare container.
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

/// Addresses are the configuration's; an error that goes to a dead letter need not repeat them.
fn without_url(error: reqwest::Error) -> Problem {
    Problem::Network(error.without_url())
}

/// Reads an answer within bounds.
async fn read(mut response: Response) -> Result<Response, Problem> {
    let status = response.status();
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(without_url)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Problem::TooLarge(MAX_ANSWER_BYTES));
        }
        body.extend_from_slice(&chunk);
    }
    let body = body.freeze();
    if !status.is_success() {
        return Err(Problem::Status { status, message: message(&body) });
    }
    // serde_json's messages name fields and types, and quote values of wrong types.
    if let Err(error) = serde_json::from_slice::<Completion>(&body) {
        let place = format!("line {}, column {}", error.line(), error.column());
        return Err(Problem::Malformed(format!("{:?} error at {place}", error.classify()).to_lowercase()));
    }
    let mut answer = http::Response::new(body);
    *answer.status_mut() = status;
    Ok(answer.into())
}

/// What a server says of an error: `{"error": {"message": …}}`, `{"error": …}`, or a short text.
fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Wrapped {
        error: Said,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Said {
        Object { message: String },
        Text(String),
    }
    let text = match serde_json::from_slice(body) {
        Ok(Wrapped { error: Said::Object { message } | Said::Text(message) }) => message,
        // A page of HTML says nothing to anybody.
        Err(_) => String::from_utf8_lossy(body)
            .lines()
            .next()
            .filter(|line| !line.contains('<'))
            .unwrap_or_default()
            .to_owned(),
    };
    let shown: String = text.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE_CHARS).collect();
    shown.trim().to_owned()
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
