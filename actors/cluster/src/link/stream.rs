//! The reading end of a stream.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::Stream;
use tokio::sync::mpsc;

use crate::link::fault::CallError;

/// What comes to a reader.
pub(crate) type Delivery = Result<Bytes, CallError>;

/// What a stream comes from.
pub(crate) trait Source: fmt::Debug + Send + Sync {
    /// An item was read.
    fn read(&self, stream: u64, bytes: usize);

    /// The reader wants no more.
    fn cancel(&self, stream: u64);
}

/// Gives the items of a stream, and each one's room back to the sender once it is taken. Dropping it ends the stream there.
#[derive(Debug)]
pub(crate) struct Reader {
    source: Arc<dyn Source>,
    stream: u64,
    /// As many as the stream's window allows.
    items: mpsc::UnboundedReceiver<Delivery>,
    is_done: bool,
}

impl Reader {
    pub(crate) fn new(
        source: Arc<dyn Source>,
        stream: u64,
        items: mpsc::UnboundedReceiver<Delivery>,
    ) -> Self {
        Self { source, stream, items, is_done: false }
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
            Some(Ok(body)) => self.source.read(self.stream, body.len()),
            Some(Err(_)) | None => self.is_done = true,
        }
        Poll::Ready(item)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // The channel closes when the stream has ended; then there is nothing to cancel.
        if !self.is_done && !self.items.is_closed() {
            self.source.cancel(self.stream);
        }
    }
}
