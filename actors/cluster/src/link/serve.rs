//! Answering a peer's calls: each in a task, or in its lane's.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream::BoxStream};
use teammy_kernel::store::Incarnation;
use tracing::{debug, error, warn};

use crate::{
    handler::{Call, Handler, Opening},
    link::{
        lanes::Lanes,
        outbox::{Asked, MAX_CALLS},
        session::{Request, Session, Signals},
    },
};

/// Answers the calls of one peer.
#[derive(Debug)]
pub(crate) struct Server {
    peer: Incarnation,
    handler: Arc<dyn Handler>,
    lanes: Arc<Lanes>,
    /// The calls that are not done, of all connections.
    running: AtomicUsize,
}

/// A call that counts as not done.
struct Running(Arc<Server>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Server {
    pub(crate) fn new(peer: Incarnation, handler: Arc<dyn Handler>) -> Arc<Self> {
        Arc::new(Self { peer, handler, lanes: Arc::default(), running: AtomicUsize::new(0) })
    }

    /// Answers a call, in its turn if it has one.
    pub(crate) fn serve(self: &Arc<Self>, session: &Arc<Session>, request: Request) {
        // Calls outlive their connection, so a peer that connects again and again could pile them up.
        if self.running.fetch_add(1, Ordering::Relaxed) >= 2 * MAX_CALLS {
            self.running.fetch_sub(1, Ordering::Relaxed);
            session.close("calls of earlier connections are not done");
            return;
        }
        let running = Running(Arc::clone(self));
        let lane = request.call.is_ordered.then(|| request.call.meeting.clone());
        let session = Arc::clone(session);
        let job = async move {
            // A peer that does not read gets no further answers made. Nobody waits for what a broken connection brought.
            if !session.has_room().await {
                return;
            }
            session.taken(request.cost);
            let server = Arc::clone(&running.0);
            server.answer(&session, request).await;
            drop(running);
        };
        match lane {
            Some(meeting) => self.lanes.push(meeting, job.boxed()),
            None => drop(tokio::spawn(job)),
        }
    }

    async fn answer(&self, session: &Arc<Session>, request: Request) {
        let Request { id, call, asked, signals, .. } = request;
        match asked {
            Asked::Call => {
                let body = self.call(call).await;
                session.answer(id, body);
            }
            Asked::Open => tokio::select! {
                biased;
                () = signals.cancelled.notified() => session.answer(id, None),
                opening = self.open(call) => match opening {
                    None => session.answer(id, None),
                    Some(Opening { body, items }) => {
                        let is_open = session.opened(id, body, items.is_some());
                        if let Some(items) = items && is_open {
                            tokio::spawn(send(Arc::clone(session), id, items, signals));
                        }
                    }
                },
            },
        }
    }

    /// The handler's answer; none if it panicked.
    async fn call(&self, call: Call) -> Option<Bytes> {
        let (handler, peer) = (Arc::clone(&self.handler), self.peer.clone());
        let answer = AssertUnwindSafe(async move { handler.call(peer, call).await }).catch_unwind().await;
        answer.inspect_err(|_| self.panicked()).ok()
    }

    async fn open(&self, call: Call) -> Option<Opening> {
        let (handler, peer) = (Arc::clone(&self.handler), self.peer.clone());
        let opening = AssertUnwindSafe(async move { handler.open(peer, call).await }).catch_unwind().await;
        opening.inspect_err(|_| self.panicked()).ok()
    }

    fn panicked(&self) {
        error!(peer = %self.peer, "a call's handler panicked: its caller gets no answer");
    }
}

/// Sends a stream's items as the reader takes them, until their end, or until nobody wants them.
async fn send(session: Arc<Session>, id: u64, mut items: BoxStream<'static, Bytes>, signals: Arc<Signals>) {
    // The window is settled by the greetings.
    let largest = session.largest_body();
    let has_failed = loop {
        let item = tokio::select! {
            biased;
            () = signals.cancelled.notified() => break false,
            item = AssertUnwindSafe(items.next()).catch_unwind() => item,
        };
        let mut body = match item {
            Ok(Some(body)) => body,
            Ok(None) => break false,
            Err(_) => {
                error!("a stream's source panicked");
                break true;
            }
        };
        if body.len() > largest {
            warn!(bytes = body.len(), "an item of a stream is too large: the stream ends");
            break true;
        }
        let is_cancelled = loop {
            match session.item(id, body) {
                None => break false,
                Some(back) => body = back,
            }
            tokio::select! {
                biased;
                () = signals.cancelled.notified() => break true,
                () = signals.room.notified() => {}
            }
        };
        if is_cancelled {
            break false;
        }
    };
    debug!(stream = id, "a stream has ended");
    drop(items);
    session.end(id, has_failed);
}
