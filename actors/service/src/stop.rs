//! When the node is ready, and when it stops.

use std::sync::Arc;

use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Starting,
    Ready,
    /// It serves, but should get no new work.
    Draining,
    Stopping,
}

/// Tells the service, and what it has under way, when the node is ready, and when to stop. A clone is the same.
#[derive(Debug, Clone)]
pub struct Stop(Arc<watch::Sender<Phase>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::channel(Phase::Starting).0))
    }
}

impl Stop {
    /// The node is ready: readiness is on.
    pub fn ready(&self) {
        self.0.send_if_modified(|phase| {
            let is_new = *phase == Phase::Starting;
            if is_new {
                *phase = Phase::Ready;
            }
            is_new
        });
    }

    /// The node will stop: readiness is off, and it goes on serving what comes.
    pub fn drain(&self) {
        self.0.send_if_modified(|phase| {
            let is_new = *phase != Phase::Stopping;
            if is_new {
                *phase = Phase::Draining;
            }
            is_new
        });
    }

    /// Stops: readiness is off, streams end with the event `again`, and no new connection is taken.
    pub fn stop(&self) {
        self.0.send_replace(Phase::Stopping);
    }

    pub(crate) fn is_starting(&self) -> bool {
        *self.0.borrow() == Phase::Starting
    }

    pub(crate) fn is_ready(&self) -> bool {
        *self.0.borrow() == Phase::Ready
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.0.borrow() == Phase::Stopping
    }

    pub(crate) async fn stopping(&self) {
        // The sender is `self`, so it is there.
        let _ = self.0.subscribe().wait_for(|phase| *phase == Phase::Stopping).await;
    }
}
