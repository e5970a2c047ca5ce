//! The reading end of a stream.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::Stream;
use tokio::sync::mpsc;

use crate::link::{fault::CallError, session::Session};

/// What comes to a reader.
pub(crate) type Delivery = Result<Bytes, CallError>;

/// Gives the items of a stream, and each one's room back to the sender once it is taken. Dropping it ends the stream there.
#[derive(Debug)]
pub(crate) struct Reader {
    session: Arc<Session>,
    stream: u64,
    /// As many as the stream's window allows.
    items: mpsc::UnboundedReceiver<Delivery>,
    is_done: bool,
}

impl Reader {
    pub(crate) fn new(session: Arc<Session>, stream: u64, items: mpsc::UnboundedReceiver<Delivery>) -> Self {
        Self { session, stream, items, is_done: false }
    }
}

impl Stream for Reader {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        if self.is_done {
            return Poll::Ready(None);
        }
        let item = std::task::ready!(self.items.poll_recv(cx));
        match &item {
            Some(Ok(body)) => self.session.read(self.stream, body.len()),
            Some(Err(_)) | None => self.is_done = true,
        }
        Poll::Ready(item)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // The channel closes when the stream has ended; then there is nothing to cancel.
        if !self.is_done && !self.items.is_closed() {
            self.session.cancel(self.stream);
        }
    }
}
