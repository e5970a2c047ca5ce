//! The HTTP client under the API, one for all models. It reads answers itself, whole ones and streams, and holds the limits
//! on their time and size.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_openai::middleware::HttpRequestFactory;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use parking_lot::Mutex;
use reqwest::{Client, Response};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use serde_json::Value;
use sse_stream::{Sse, SseByteStream};
use teammy_kernel::{Deltas, LlmResponse, chain};
use tokio::time::Instant;

use super::{
    error::classify,
    fold::{Fold, MAX_ANSWER_BYTES},
};
use crate::{
    error::Error,
    policy::{Class, Late, Problem, Watch},
};

/// How much is read of an error's body; the rest is dropped.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// The most bytes of a whole stream: an answer in pieces of one token has hundreds of bytes around each.
const MAX_STREAM_BYTES: usize = 64 * MAX_ANSWER_BYTES;

/// The most bytes of one event of a stream.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// How long a finished answer waits for what may follow it in its stream: its cost, and the stream's own end.
const AFTER_END: Duration = Duration::from_secs(2);

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

/// One request and its answer. async-openai makes the request of it, and hands it over here as to a service.
#[derive(Clone)]
pub(super) struct Exchange(Arc<Parts>);

struct Parts {
    client: Client,
    watch: Mutex<Option<Watch>>,
    deltas: Option<Deltas>,
    /// Whether the server's URL has a version in its path, as most have.
    has_version: bool,
    outcome: Mutex<Option<Result<LlmResponse, Problem>>>,
}

/// The answer is in the exchange, or why there is none.
#[derive(Debug, thiserror::Error)]
#[error("the exchange has failed")]
struct Failed;

impl Exchange {
    pub(super) fn new(client: Client, watch: Watch, deltas: Option<Deltas>, has_version: bool) -> Self {
        let watch = Mutex::new(Some(watch));
        Self(Arc::new(Parts { client, watch, deltas, has_version, outcome: Mutex::new(None) }))
    }

    /// How the exchange ended; none if there was no request.
    pub(super) fn take_outcome(&self) -> Option<Result<LlmResponse, Problem>> {
        self.0.outcome.lock().take()
    }

    async fn run(self, request: HttpRequestFactory) -> Result<Response, BoxError> {
        let request = request.build().await?;
        let watch = self.0.watch.lock().take().ok_or(Failed)?;
        let mut reader = Reader { parts: &self.0, watch, has_given: false, fold: Fold::default() };
        let mut outcome = reader.answer(request).await;
        if let Err(problem) = &mut outcome {
            problem.has_given = reader.has_given;
            problem.usage += reader.fold.usage().unwrap_or_default();
        }
        let is_ok = outcome.is_ok();
        *self.0.outcome.lock() = Some(outcome);
        if is_ok { Ok(http::Response::new("null").into()) } else { Err(Failed.into()) }
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Sending = Pin<Box<dyn Future<Output = Result<Response, BoxError>> + Send>>;

impl tower_service::Service<HttpRequestFactory> for Exchange {
    type Response = Response;
    type Error = BoxError;
    type Future = Sending;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequestFactory) -> Sending {
        Box::pin(self.clone().run(request))
    }
}

/// Reads one answer.
struct Reader<'a> {
    parts: &'a Parts,
    watch: Watch,
    /// Whether a piece was passed on.
    has_given: bool,
    fold: Fold,
}

impl Reader<'_> {
    async fn answer(&mut self, request: reqwest::Request) -> Result<LlmResponse, Problem> {
        let response = self.in_time(self.parts.client.execute(request)).await?.map_err(network)?;
        let status = response.status();
        if !status.is_success() {
            let headers = response.headers().clone();
            let body = self.error_body(response).await;
            return Err(classify(status, &headers, &body, self.parts.has_version));
        }
        let kind = response.headers().get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| kind.trim_start().starts_with("text/event-stream")) {
            self.stream(response).await?;
        } else {
            self.watch.comes_whole();
            self.whole(response).await?;
        }
        let (answer, rest) = std::mem::take(&mut self.fold).finish()?;
        self.give(&rest);
        Ok(answer)
    }

    /// Waits for something, but no longer than the server may take.
    async fn in_time<T>(&self, coming: impl Future<Output = T>) -> Result<T, Problem> {
        let Some((at, late)) = self.watch.next() else { return Ok(coming.await) };
        tokio::time::timeout_at(at, coming).await.map_err(|_| match late {
            Late::FirstToken => Problem::new(Class::Stalled, "no token came in time (llm.first_token)"),
            Late::NextToken => {
                Problem::new(Class::Stalled, "the next token did not come in time (llm.between_tokens)")
            }
            Late::Try => Problem::new(Class::Stalled, "no answer came in time (llm.total)"),
            Late::Whole => Problem::new(Class::TooLate, "no answer came in the time of the request"),
        })
    }

    fn give(&mut self, text: &str) {
        if let Some(deltas) = &self.parts.deltas
            && !text.is_empty()
        {
            self.has_given = true;
            deltas.put(text);
        }
    }

    async fn error_body(&self, mut response: Response) -> Bytes {
        let mut body = BytesMut::new();
        while let Ok(Ok(Some(chunk))) = self.in_time(response.chunk()).await {
            let room = MAX_ERROR_BYTES - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if body.len() == MAX_ERROR_BYTES {
                break;
            }
        }
        body.freeze()
    }

    async fn whole(&mut self, mut response: Response) -> Result<(), Problem> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.in_time(response.chunk()).await?.map_err(network)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(too_large(MAX_ANSWER_BYTES));
            }
            body.extend_from_slice(&chunk);
        }
        let object: Value = serde_json::from_slice(&body).map_err(|error| malformed(&error))?;
        let added = self.fold.add(&object)?;
        self.give(&added.text);
        Ok(())
    }

    async fn stream(&mut self, response: Response) -> Result<(), Problem> {
        let mut events = pin!(SseByteStream::new(limited(response)));
        let mut last_moment = None;
        loop {
            let event = self.in_time(events.next());
            let event = match last_moment {
                None => event.await,
                Some(at) => tokio::time::timeout_at(at, event).await.unwrap_or(Ok(None)),
            };
            match self.take(event) {
                Ok(Next::More) => {}
                Ok(Next::End) => return Ok(()),
                // The answer is whole. Another try would cost as much again, and bring nothing.
                Err(_) if self.fold.is_finished() => return Ok(()),
                Err(problem) => return Err(problem),
            }
            if self.fold.is_finished() && last_moment.is_none() {
                last_moment = Some(Instant::now() + AFTER_END);
            }
        }
    }

    /// Takes one event of a stream, or its end.
    fn take(
        &mut self,
        event: Result<Option<Result<Sse, sse_stream::Error>>, Problem>,
    ) -> Result<Next, Problem> {
        let Some(event) = event? else {
            // Some servers forget to say that they are done.
            let is_finished = self.fold.is_finished();
            let early = || Problem::new(Class::Unavailable, "its stream ended before the answer");
            return if is_finished { Ok(Next::End) } else { Err(early()) };
        };
        let data = event.map_err(|error| broken(&error))?.data.unwrap_or_default();
        let data = data.trim();
        if data == "[DONE]" {
            return Ok(Next::End);
        }
        if data.is_empty() {
            return Ok(Next::More);
        }
        let object: Value = serde_json::from_str(data).map_err(|error| malformed(&error))?;
        let added = self.fold.add(&object)?;
        self.give(&added.text);
        if added.is_useful {
            self.watch.useful(Instant::now());
        }
        Ok(Next::More)
    }
}

/// What follows an event of a stream.
enum Next {
    More,
    End,
}

/// Why the bytes of a stream end early.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("its stream broke off: {0}")]
    Network(String),
    #[error("its answer is larger than {0} bytes")]
    TooLarge(usize),
}

/// The bytes of a response, up to a limit on all of them and on those of an event.
fn limited(response: Response) -> impl Stream<Item = Result<Bytes, Cut>> {
    stream::unfold(Some((response, 0, EventSize::default())), |state| async move {
        let (mut response, total, mut event) = state?;
        let chunk = match response.chunk().await {
            Ok(chunk) => chunk?,
            Err(error) => return Some((Err(Cut::Network(chain(&error.without_url()))), None)),
        };
        let total = total + chunk.len();
        if total > MAX_STREAM_BYTES {
            return Some((Err(Cut::TooLarge(MAX_STREAM_BYTES)), None));
        }
        if event.largest_with(&chunk) > MAX_EVENT_BYTES {
            return Some((Err(Cut::TooLarge(MAX_EVENT_BYTES)), None));
        }
        Some((Ok(chunk), Some((response, total, event))))
    })
}

/// Counts the bytes of an event, which ends with a blank line. Lines end as the standard allows: LF, CR, or both.
#[derive(Debug, Default)]
struct EventSize {
    bytes: usize,
    /// The bytes of its last line so far.
    line: usize,
    ends_with_cr: bool,
}

impl EventSize {
    /// Counts a chunk, and returns the size of the largest event that it belongs to.
    fn largest_with(&mut self, chunk: &[u8]) -> usize {
        let mut largest = 0;
        for byte in chunk {
            match byte {
                b'\n' if self.ends_with_cr => {}
                b'\n' | b'\r' if self.line == 0 => self.bytes = 0,
                b'\n' | b'\r' => self.line = 0,
                _ => {
                    self.line += 1;
                    self.bytes += 1;
                    largest = largest.max(self.bytes);
                }
            }
            self.ends_with_cr = *byte == b'\r';
        }
        largest
    }
}

fn broken(error: &(dyn std::error::Error + 'static)) -> Problem {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<Cut>() {
            Some(Cut::TooLarge(limit)) => return too_large(*limit),
            Some(cut) => return Problem::new(Class::Unavailable, cut.to_string()),
            None => next = error.source(),
        }
    }
    Problem::new(Class::Unavailable, "its stream broke off")
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Class::Refused, format!("its answer is larger than {limit} bytes; set `max_tokens`"))
}

/// Only the kind and the place are kept: `serde_json`'s message quotes values of a wrong type.
fn malformed(error: &serde_json::Error) -> Problem {
    let place = format!("line {}, column {}", error.line(), error.column());
    let kind = format!("{:?}", error.classify()).to_lowercase();
    Problem::new(Class::Malformed, format!("its answer does not follow the API: {kind} error at {place}"))
}

/// Leaves the URL out: it is in the configuration, and a dead letter need not repeat it.
fn network(error: reqwest::Error) -> Problem {
    let class = if error.is_builder() { Class::Refused } else { Class::Unavailable };
    Problem::new(class, chain(&error.without_url()))
}

#[cfg(test)]
mod tests;
