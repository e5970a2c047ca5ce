//! The events that wait for the reader of a stream, within a bound in bytes.

use std::sync::Arc;

use axum::response::sse::Event;
use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// How many events wait at most.
const EVENTS: usize = 64;

/// What room is counted in.
const UNIT: usize = 1 << 10;

/// An event for the reader.
pub(super) struct Out {
    pub(super) event: Event,
    /// About how large it is.
    pub(super) bytes: usize,
    pub(super) is_last: bool,
}

/// Where events go that wait for the reader.
pub(super) struct Outlet {
    events: mpsc::Sender<(Out, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    units: usize,
}

impl Outlet {
    /// An outlet in which about so many bytes wait, and what comes out of it: each event, and whether it is the last one. An
    /// event always fits.
    pub(super) fn new(bytes: usize) -> (Self, impl Stream<Item = (Event, bool)> + Send + 'static) {
        let units = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        let (events, waiting) = mpsc::channel(EVENTS);
        let stream = futures::stream::unfold(waiting, |mut waiting| async move {
            let (Out { event, is_last, .. }, _) = waiting.recv().await?;
            Some(((event, is_last), waiting))
        });
        (Self { events, room: Arc::new(Semaphore::new(units)), units }, stream)
    }

    /// Waits for room. Returns whether the reader is still there.
    pub(super) async fn send(&self, out: Out) -> bool {
        let units = u32::try_from((out.bytes / UNIT + 1).min(self.units)).unwrap_or(u32::MAX);
        let Ok(room) = self.room.clone().acquire_many_owned(units).await else { return false };
        self.events.send((out, room)).await.is_ok()
    }

    /// Waits until the reader is gone.
    pub(super) async fn closed(&self) {
        self.events.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::{FutureExt, StreamExt};

    use super::*;

    fn of(bytes: usize) -> Out {
        Out { event: Event::default(), bytes, is_last: false }
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes() {
        let (outlet, events) = Outlet::new(4 * UNIT);
        let mut events = pin!(events);
        for _ in 0..2 {
            assert!(outlet.send(of(UNIT + 1)).now_or_never().unwrap(), "there is room");
        }
        let mut third = pin!(outlet.send(of(9 * UNIT)));
        assert!(third.as_mut().now_or_never().is_none());
        assert!(events.next().await.is_some());
        assert!(third.as_mut().now_or_never().is_none(), "a large one waits for all of the room");
        assert!(events.next().await.is_some());
        assert!(third.now_or_never().unwrap(), "and always fits");
        assert!(outlet.send(of(0)).now_or_never().is_none());
    }
}
