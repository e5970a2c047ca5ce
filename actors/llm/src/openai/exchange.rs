//! One exchange with a chat model: a request that async-openai made, and its answer, which comes whole or as a stream.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_openai::middleware::HttpRequestFactory;
use futures::StreamExt;
use parking_lot::Mutex;
use reqwest::{Client, Request, Response};
use serde_json::Value;
use sse_stream::{Sse, SseByteStream};
use teammy_kernel::{Deltas, LlmResponse};
use tokio::time::Instant;

use super::{
    events::{broken, limited, too_large},
    fold::{Fold, MAX_ANSWER_BYTES},
    transport::{Call, kind_of, malformed},
};
use crate::policy::{Class, Problem, Watch};

/// How long a finished answer waits for what may follow it in its stream: its cost, and the stream's own end.
const AFTER_END: Duration = Duration::from_secs(2);

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
        let call = Call { client: &self.0.client, watch, has_version: self.0.has_version };
        let mut reader = Reader::new(call, self.0.deltas.as_ref());
        let mut outcome = reader.answer(request).await;
        if let Err(problem) = &mut outcome {
            problem.has_given = reader.pieces.has_given;
            problem.answered = problem.answered.max(reader.fold.answered());
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
    call: Call<'a>,
    pieces: Pieces<'a>,
    fold: Fold,
}

/// Passes the pieces of an answer on.
struct Pieces<'a> {
    deltas: Option<&'a Deltas>,
    /// Whether there was one.
    has_given: bool,
}

impl Pieces<'_> {
    fn give(&mut self, text: &str) {
        if let Some(deltas) = self.deltas
            && !text.is_empty()
        {
            self.has_given = true;
            deltas.put(text);
        }
    }
}

impl<'a> Reader<'a> {
    fn new(call: Call<'a>, deltas: Option<&'a Deltas>) -> Self {
        Self { call, pieces: Pieces { deltas, has_given: false }, fold: Fold::default() }
    }

    async fn answer(&mut self, request: Request) -> Result<LlmResponse, Problem> {
        let response = self.call.open(request).await?;
        if kind_of(&response).starts_with("text/event-stream") {
            self.stream(response).await?;
        } else {
            self.call.watch.comes_whole();
            self.whole(response).await?;
        }
        let (answer, rest) = std::mem::take(&mut self.fold).finish()?;
        self.pieces.give(&rest);
        Ok(answer)
    }

    async fn whole(&mut self, response: Response) -> Result<(), Problem> {
        let body = self.call.body(response, MAX_ANSWER_BYTES, too_large).await?;
        let object: Value = serde_json::from_slice(&body).map_err(|error| malformed(&error))?;
        self.pieces.give(self.fold.add(&object)?.text);
        Ok(())
    }

    async fn stream(&mut self, response: Response) -> Result<(), Problem> {
        let mut events = pin!(SseByteStream::new(limited(response)));
        let mut timer = pin!(None);
        let mut last_moment = None;
        loop {
            let event = self.call.next_in_time(events.next(), timer.as_mut());
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
        let object: Value;
        let added = if let Some(added) = self.fold.add_text(data) {
            added?
        } else {
            object = serde_json::from_str(data).map_err(|error| malformed(&error))?;
            self.fold.add(&object)?
        };
        self.pieces.give(added.text);
        if added.is_useful {
            self.call.watch.useful(Instant::now());
        }
        Ok(Next::More)
    }
}

/// What follows an event of a stream.
enum Next {
    More,
    End,
}

#[cfg(test)]
mod tests;
