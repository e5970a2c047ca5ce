//! Whether a packet that comes in must wake the meeting.
//!
//! While no instance could take a packet, waking the meeting would only cost. So the meeting says after each
//! run which sources wake it. It must not miss a packet that comes in meanwhile:
//!
//! * the meeting opens the gate for all sources *before* it empties the queue, and narrows it afterwards;
//! * a publisher looks at the gate *after* its packet is in the queue.
//!
//! Both sides fence in between, so either the meeting finds the packet, or the publisher finds the gate open.

use crate::sync::{AtomicU64, Ordering, fence};

/// The sources that wake the meeting, as the bits of a [`SourceSet`](crate::meeting::SourceSet).
#[derive(Debug)]
pub(crate) struct WakeGate(AtomicU64);

impl WakeGate {
    pub(crate) fn new(sources: u64) -> Self {
        Self(AtomicU64::new(sources))
    }

    /// Sets which sources wake the meeting.
    pub(crate) fn set(&self, sources: u64) {
        self.0.store(sources, Ordering::SeqCst);
    }

    /// Whether packets of these sources, which are in the queue already, must wake the meeting.
    pub(crate) fn must_wake(&self, sources: u64) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::SeqCst) & sources != 0
    }
}
