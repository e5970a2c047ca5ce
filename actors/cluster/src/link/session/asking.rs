//! Calls that this node makes on a connection.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Reply, Session};
use crate::{
    handler::Call,
    link::{fault::CallError, outbox::Asked},
};

/// A call that waits for its answer. Dropping it takes it back, if nothing of it was sent.
#[derive(Debug)]
pub(crate) struct Asking {
    session: Arc<Session>,
    id: u64,
    asked: Asked,
    /// None once it came.
    answer: Option<oneshot::Receiver<Result<Reply, CallError>>>,
}

impl Session {
    /// Makes a call. Calls that keep an order have that in which this was called.
    pub(crate) fn ask(self: &Arc<Self>, call: Call, asked: Asked) -> Result<Asking, CallError> {
        let mut inner = self.inner.lock();
        if inner.sender.is_none() {
            return Err(self.not_sent(inner.broken.as_deref().unwrap_or("the connection ended")));
        }
        let largest = inner.state.largest_body();
        if call.body.len() > largest {
            let reason = format!("it has {} bytes, the largest body may have {largest}", call.body.len());
            return Err(self.not_sent(&reason));
        }
        let (caller, answer) = oneshot::channel();
        let id = inner.state.ask(call, asked);
        inner.waiting.callers.insert(id, caller);
        if inner.flush().is_err() {
            inner.sender = None;
        }
        drop(inner);
        Ok(Asking { session: Arc::clone(self), id, asked, answer: Some(answer) })
    }
}

impl Asking {
    /// Waits for the answer.
    pub(crate) async fn answer(mut self) -> Result<Reply, CallError> {
        let Some(answer) = &mut self.answer else { unreachable!("it is waited for once") };
        let answer = answer.await;
        self.answer = None;
        answer.unwrap_or_else(|_| Err(self.session.unknown("the link was dropped")))
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if self.answer.is_none() {
            return;
        }
        self.session.inner.lock().waiting.callers.remove(&self.id);
        self.session.change(|state| {
            let was_sent = !state.withdraw(self.id);
            if was_sent && self.asked == Asked::Open {
                state.cancel(self.id);
            }
        });
    }
}
