//! The HTTP client under the API, one for all models, and one call with it: a request is sent and its answer read, within
//! the limits on time and size.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::header;
use reqwest::{Client, Request, Response};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use teammy_kernel::chain;
use tokio::time::Sleep;

use super::error::classify;
use crate::{
    error::Error,
    policy::{Class, Late, Problem, Watch},
};

/// How much is read of an error's body; the rest is dropped.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// How long an error's body is waited for: its status alone is enough.
const ERROR_TIME: Duration = Duration::from_secs(5);

/// Makes the client.
pub(super) fn client(connect: Duration) -> Result<Client, Error> {
    let client = Client::builder()
        .tls_backend_preconfigured(tls()?)
        .connect_timeout(connect)
        .tcp_keepalive(Duration::from_secs(30))
        .user_agent(concat!("teammy/", env!("CARGO_PKG_VERSION")))
        // Only the configuration decides where requests go.
        .no_proxy()
        // A key must not follow a redirect to another server.
        .redirect(reqwest::redirect::Policy::none())
        .build();
    client.map_err(|error| Error::Client(Box::new(error)))
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

/// A call of a server: one request and its answer, or several that share their time.
pub(super) struct Call<'a> {
    pub(super) client: &'a Client,
    pub(super) watch: Watch,
    /// Whether the server's URL has a version in its path, as most have.
    pub(super) has_version: bool,
}

/// A server's refusal.
pub(super) struct Rejection {
    pub(super) problem: Problem,
    /// What the server says of it. Names of parameters are looked up in it; the rest may be words of the request.
    pub(super) body: Bytes,
}

impl From<Problem> for Rejection {
    fn from(problem: Problem) -> Self {
        Self { problem, body: Bytes::new() }
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        rejection.problem
    }
}

impl Call<'_> {
    /// Sends a request, and waits for a response that is a success.
    pub(super) async fn open(&self, request: Request) -> Result<Response, Rejection> {
        let response = self.in_time(self.client.execute(request)).await?.map_err(network)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let headers = response.headers().clone();
        let body = self.error_body(response).await;
        Err(Rejection { problem: classify(status, &headers, &body, self.has_version), body })
    }

    /// Waits for something, but no longer than the server may take.
    pub(super) async fn in_time<T>(&self, coming: impl Future<Output = T>) -> Result<T, Problem> {
        let Some((at, late)) = self.watch.next() else { return Ok(coming.await) };
        tokio::time::timeout_at(at, coming).await.map_err(|_| too_late(late))
    }

    /// As [`in_time`](Self::in_time), for one of many things that come one after another. They share a timer, which is set
    /// anew when it goes off: each of them moves the limit, and setting a timer costs more than reading an event.
    pub(super) async fn next_in_time<T>(
        &self,
        coming: impl Future<Output = T>,
        mut timer: Pin<&mut Option<Sleep>>,
    ) -> Result<T, Problem> {
        let mut coming = pin!(coming);
        poll_fn(|cx| {
            if let Poll::Ready(came) = coming.as_mut().poll(cx) {
                return Poll::Ready(Ok(came));
            }
            let Some((at, late)) = self.watch.next() else { return Poll::Pending };
            if timer.as_ref().as_pin_ref().is_none_or(|timer| timer.deadline() > at) {
                timer.set(Some(tokio::time::sleep_until(at)));
            }
            let mut timer = timer.as_mut().as_pin_mut().expect("invariant: it was set");
            loop {
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                if timer.deadline() >= at {
                    return Poll::Ready(Err(too_late(late)));
                }
                timer.as_mut().reset(at);
            }
        })
        .await
    }

    /// A whole body, of `limit` bytes at most. A server that has sent a part of it has made all of it.
    pub(super) async fn body(
        &self,
        mut response: Response,
        limit: usize,
        too_large: impl FnOnce(usize) -> Problem,
    ) -> Result<Bytes, Problem> {
        let mut body = BytesMut::new();
        let made = |problem| Problem { answered: Some(u64::MAX), ..problem };
        while let Some(chunk) = self.in_time(response.chunk()).await?.map_err(|error| made(network(error)))? {
            if body.len() + chunk.len() > limit {
                return Err(made(too_large(limit)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    async fn error_body(&self, mut response: Response) -> Bytes {
        let mut body = BytesMut::new();
        let read = async {
            while let Ok(Some(chunk)) = response.chunk().await {
                let room = MAX_ERROR_BYTES - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if body.len() == MAX_ERROR_BYTES {
                    break;
                }
            }
        };
        // What is late is left out.
        let _ = self.in_time(tokio::time::timeout(ERROR_TIME, read)).await;
        body.freeze()
    }
}

/// The kind of a body, as its header says; empty if it says none.
pub(super) fn kind_of(response: &Response) -> &str {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.unwrap_or_default().trim_start()
}

/// What it means that a limit was passed.
fn too_late(late: Late) -> Problem {
    let (class, text) = match late {
        Late::FirstToken => (Class::Stalled, "no token came in time (llm.first_token)"),
        Late::NextToken => (Class::Stalled, "the next token did not come in time (llm.between_tokens)"),
        Late::Try => (Class::Stalled, "no answer came in time (llm.total)"),
        Late::Whole => (Class::TooLate, "no answer came in the time of the request"),
    };
    Problem::new(class, text)
}

/// Only the kind and the place are kept: `serde_json`'s message quotes values of a wrong type.
pub(super) fn malformed(error: &serde_json::Error) -> Problem {
    let place = format!("line {}, column {}", error.line(), error.column());
    let kind = format!("{:?}", error.classify()).to_lowercase();
    Problem::new(Class::Malformed, format!("its answer does not follow the API: {kind} error at {place}"))
}

/// Leaves the URL out: it is in the configuration, and a dead letter need not repeat it.
pub(super) fn network(error: reqwest::Error) -> Problem {
    let class = if error.is_builder() { Class::Refused } else { Class::Unavailable };
    Problem::new(class, chain(&error.without_url()))
}
