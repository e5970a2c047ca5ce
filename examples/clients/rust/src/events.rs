//! Reading a meeting as it goes on.

mod follower;

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use sse_stream::{Sse, SseByteStream};
use teammy_kernel::{DataPacket, MeetingId, Name, Seq};
use tokio::time::{Instant, sleep};

use crate::{
    error::Error,
    http::{Http, Origin, Request},
    retry::Policy,
};
use follower::{Follower, Move};

/// How long a stream may be silent. A heartbeat comes each 15 s.
const SILENCE: Duration = Duration::from_secs(45);

/// Which packets of a meeting to read, and from where on.
#[derive(Debug, Clone)]
#[must_use = "nothing is read before `follow`"]
pub struct Events {
    http: Http,
    meeting: MeetingId,
    policy: Policy,
    after: Option<Seq>,
    sources: Vec<String>,
    outputs_only: bool,
}

impl Events {
    pub(crate) fn new(http: Http, meeting: MeetingId, policy: Policy) -> Self {
        Self { http, meeting, policy, after: None, sources: Vec::new(), outputs_only: false }
    }

    /// Only packets after this one: the last that was dealt with.
    pub fn after(mut self, seq: Seq) -> Self {
        self.after = Some(seq);
        self
    }

    /// Only packets of these sources.
    pub fn sources(mut self, sources: impl IntoIterator<Item = Name>) -> Self {
        self.sources.extend(sources.into_iter().map(String::from));
        self
    }

    /// Only what plugins put out.
    pub fn outputs_only(mut self) -> Self {
        self.outputs_only = true;
        self
    }

    /// Sets how long to come back in vain. Otherwise it comes back for ever.
    pub fn give_up_after(mut self, limit: Duration) -> Self {
        self.policy.give_up_after = Some(limit);
        self
    }

    /// The packets, each once and in order, until the meeting has ended and everything was given. A stream that breaks off, a node
    /// that stops or is away: it comes back, and goes on after the last packet.
    ///
    /// An error is the last item: [`Error::Problem`] such as that there is no such meeting, [`Error::Malformed`], and any other
    /// one once it has given up.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing: [`after`](Self::after) the last packet's seq goes on.
    pub fn follow(self) -> Packets {
        let follower = Follower::new(self.after, self.policy, Instant::now());
        let state = Following { events: self, follower, open: None };
        Packets(Box::pin(stream::unfold(Some(state), |state| async move { state?.next().await })))
    }

    /// Opens a stream after a place.
    async fn open(&self, after: Option<Seq>) -> Result<(Open, Origin), Error> {
        let mut request = Request::get(["meetings", self.meeting.as_str(), "events"]);
        request = request.header("accept", "text/event-stream");
        if self.outputs_only {
            request = request.query("outputs", "true");
        }
        if !self.sources.is_empty() {
            request = request.query("sources", self.sources.join(","));
        }
        if let Some(Seq(after)) = after {
            request = request.header("last-event-id", &after.to_string());
        }
        let answer = self.http.send(request).await?;
        let origin = answer.origin();
        match answer.kind().as_str() {
            "text/event-stream" => Ok((Box::pin(read(answer.chunks(SILENCE))), origin)),
            kind => Err(Error::malformed("events", format!("the answer is {kind:?}"))),
        }
    }
}

/// A stream of events that is open.
type Open = Pin<Box<dyn Stream<Item = Result<Sse, Error>> + Send>>;

/// Events of bytes. One that breaks off is left out.
fn read(
    bytes: impl Stream<Item = Result<Bytes, Error>> + Send,
) -> impl Stream<Item = Result<Sse, Error>> + Send {
    SseByteStream::new(bytes).map(|event| {
        event.map_err(|error| match error {
            sse_stream::Error::Body(cause) => cause.downcast().map_or_else(Error::Unknown, |error| *error),
            error => Error::malformed("events", error),
        })
    })
}

/// The packets of [`Events::follow`].
#[must_use = "a stream does nothing unless it is read"]
pub struct Packets(Pin<Box<dyn Stream<Item = Result<DataPacket, Error>> + Send>>);

impl std::fmt::Debug for Packets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packets").finish_non_exhaustive()
    }
}

impl Stream for Packets {
    type Item = Result<DataPacket, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

struct Following {
    events: Events,
    follower: Follower,
    /// The stream that is open, and where it comes from.
    open: Option<(Open, Origin)>,
}

impl Following {
    async fn next(mut self) -> Option<(Result<DataPacket, Error>, Option<Self>)> {
        loop {
            let error = match self.step().await {
                Move::Give(packet) => return Some((Ok(*packet), Some(self))),
                Move::Skip => continue,
                Move::End => return None,
                Move::Fail(error) => return Some((Err(error), None)),
                Move::Back(error) => error,
            };
            if let Some((_, origin)) = self.open.take() {
                origin.failed(&error);
            }
            match self.follower.back(error, Instant::now(), fastrand::f64()) {
                Ok(wait) => sleep(wait).await,
                Err(error) => return Some((Err(error), None)),
            }
        }
    }

    /// Opens a stream, or takes an event of the one that is open.
    async fn step(&mut self) -> Move {
        let Some((open, _)) = &mut self.open else {
            return match self.events.open(self.follower.after()).await {
                Ok(open) => {
                    self.open = Some(open);
                    self.follower.opened(Instant::now());
                    Move::Skip
                }
                Err(error) => Move::Back(error),
            };
        };
        match open.next().await {
            Some(Ok(event)) => {
                self.follower.take(event.event.as_deref(), event.data.as_deref(), Instant::now())
            }
            Some(Err(error)) => Move::Back(error),
            None => Move::Back(Error::Unknown("the stream ended without a last event".into())),
        }
    }
}

#[cfg(test)]
#[path = "events/tests.rs"]
mod tests;
