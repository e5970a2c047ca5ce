//! A client that sends a body which nobody reads still gets the answer.
//!
//! A connection that is closed with bytes that were not read is reset, and what was sent to the client before may be lost on
//! the way to it (RFC 9112, 9.6). So after an answer to a request whose body was left, the sending side is shut, and what comes is
//! read and dropped: until the client is done, and only so much and so long.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    http::Request,
};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// How much is dropped at most, and for how long.
const BYTES: usize = 512 << 10;
const TIME: Duration = Duration::from_secs(2);

/// Whether the body of a connection's request was left. A clone is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Left(Arc<AtomicBool>);

impl Left {
    /// A request that says so of its body.
    pub(crate) fn watch(&self, request: Request<Incoming>) -> Request<Body> {
        // What was left of an earlier one is read by now, or this one would not be here.
        self.0.store(false, Ordering::Relaxed);
        request.map(|body| Body::new(Watched { body, is_over: false, left: self.clone() }))
    }
}

struct Watched {
    body: Incoming,
    /// A body of unknown length says only once that it is over.
    is_over: bool,
    left: Left,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.is_over |= !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.is_over && !self.body.is_end_stream() {
            self.left.0.store(true, Ordering::Relaxed);
        }
    }
}

/// A connection that is closed as the module says.
pub(crate) struct Linger<C> {
    connection: C,
    left: Left,
    /// Runs from the moment on when the sending side is shut.
    timer: Option<Pin<Box<Sleep>>>,
    dropped: usize,
}

impl<C> Linger<C> {
    pub(crate) fn new(connection: C, left: Left) -> Self {
        Self { connection, left, timer: None, dropped: 0 }
    }
}

impl<C: AsyncRead + Unpin> Linger<C> {
    /// Drops what comes; ready once it is enough.
    fn poll_drop(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer =
            self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + TIME)));
        if timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut space = [0; 4096];
        while self.dropped < BYTES {
            let mut buffer = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut self.connection).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            self.dropped += buffer.filled().len();
        }
        Poll::Ready(())
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Linger<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(cx, buffer)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Linger<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.timer.is_none() {
            ready!(Pin::new(&mut self.connection).poll_shutdown(cx))?;
        }
        if self.left.0.load(Ordering::Relaxed) {
            ready!(self.poll_drop(cx));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn left(is_left: bool) -> Left {
        Left(Arc::new(AtomicBool::new(is_left)))
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_client_still_sends_is_dropped_until_it_is_done() {
        let (connection, mut client) = duplex(1024);
        let mut connection = Linger::new(connection, left(true));
        let sending = async {
            client.write_all(&vec![7; 100_000]).await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            drop(client);
            answer
        };
        let answering = async {
            connection.write_all(b"no").await.unwrap();
            connection.shutdown().await.unwrap();
        };
        let (answer, ()) = tokio::join!(sending, answering);
        assert_eq!((answer, connection.dropped), (b"no".to_vec(), 100_000));
    }

    #[tokio::test(start_paused = true)]
    async fn it_lingers_only_so_much_and_so_long() {
        let began = Instant::now();
        let (connection, mut client) = duplex(1024);
        let mut connection = Linger::new(connection, left(true));
        connection.shutdown().await.unwrap();
        assert_eq!(began.elapsed(), TIME, "the client says nothing");
        let (connection, mut endless) = duplex(1024);
        let mut connection = Linger::new(connection, left(true));
        let sending = async { while endless.write_all(&[7; 1000]).await.is_ok() {} };
        tokio::select! {
            () = sending => panic!("it is still open"),
            shut = connection.shutdown() => shut.unwrap(),
        }
        assert!((BYTES..BYTES + 4096).contains(&connection.dropped), "{}", connection.dropped);
        let (connection, _client) = duplex(1024);
        let mut connection = Linger::new(connection, left(false));
        let before = Instant::now();
        connection.shutdown().await.unwrap();
        assert_eq!(before.elapsed(), Duration::ZERO, "all was read");
        assert_eq!(client.read(&mut [0; 9]).await.unwrap(), 0);
    }
}
