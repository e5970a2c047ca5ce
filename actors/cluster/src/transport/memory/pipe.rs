//! What carries frames from one node to another.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

use super::net::{End, Life, Shared};
use crate::transport::{Closed, FrameSender};

pub(super) struct MemorySender {
    pub(super) network: Arc<Shared>,
    pub(super) end: Arc<End>,
    pub(super) queue: mpsc::UnboundedSender<(Instant, Bytes)>,
}

impl fmt::Debug for MemorySender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySender").field("peer", &self.end.peer).finish_non_exhaustive()
    }
}

impl FrameSender for MemorySender {
    fn send(&self, frame: Bytes) -> Result<(), Closed> {
        if self.end.is_over.load(Ordering::Relaxed) || *self.end.life.borrow() != Life::Open {
            return Err(Closed);
        }
        let mut net = self.network.net.lock();
        let at = Instant::now() + net.delay();
        let ways = (self.end.owner.clone(), self.end.peer.clone());
        *net.in_flight.entry(ways).or_default() += frame.len();
        self.queue.send((at, frame)).map_err(|_| Closed)
    }
}

impl Drop for MemorySender {
    fn drop(&mut self) {
        self.end.turn(Life::Closed);
    }
}

/// One direction of a connection.
pub(super) struct Pipe {
    pub(super) network: Arc<Shared>,
    pub(super) from: Arc<End>,
    pub(super) to: Arc<End>,
    pub(super) frames: mpsc::UnboundedReceiver<(Instant, Bytes)>,
    pub(super) deliver: mpsc::UnboundedSender<Bytes>,
    /// A frame that arrives after its follower.
    pub(super) swapped: Option<Bytes>,
}

impl Pipe {
    pub(super) async fn run(mut self) {
        let (from, to) = (Arc::clone(&self.from), Arc::clone(&self.to));
        tokio::select! {
            biased;
            // Nobody is there to take anything.
            () = to.until(|life| *life != Life::Open) => {}
            () = from.until(|life| *life == Life::Broken) => self.end().await,
            () = self.carry() => self.end().await,
        }
        self.frames.close();
        while let Ok((_, frame)) = self.frames.try_recv() {
            self.arrived(&frame);
        }
    }

    /// The receiver learns that the sender is gone, if word of it gets there.
    async fn end(&self) {
        let delay = self.network.net.lock().delay();
        sleep(delay).await;
        self.network.open(&self.from.owner, &self.to.owner).await;
        self.to.is_over.store(true, Ordering::Relaxed);
    }

    fn arrived(&self, frame: &Bytes) {
        let mut net = self.network.net.lock();
        if let Some(bytes) = net.in_flight.get_mut(&(self.from.owner.clone(), self.to.owner.clone())) {
            *bytes -= frame.len();
        }
    }

    /// Carries frames until the sender is dropped, or a frame breaks the connection.
    async fn carry(&mut self) {
        while let Some((at, frame)) = self.frames.recv().await {
            sleep_until(at).await;
            self.network.open(&self.from.owner, &self.to.owner).await;
            self.arrived(&frame);
            let mut net = self.network.net.lock();
            let faults = net.faults;
            if net.happens(faults.break_connection) {
                drop(net);
                self.from.turn(Life::Broken);
                self.to.turn(Life::Broken);
                return;
            }
            let (is_lost, is_repeated) = (net.happens(faults.lose), net.happens(faults.repeat));
            let is_swapped = self.swapped.is_none() && net.happens(faults.swap);
            drop(net);
            if is_lost {
                continue;
            }
            if is_swapped {
                self.swapped = Some(frame);
                continue;
            }
            if is_repeated {
                let _ = self.deliver.send(frame.clone());
            }
            let _ = self.deliver.send(frame);
            if let Some(late) = self.swapped.take() {
                let _ = self.deliver.send(late);
            }
        }
    }
}
