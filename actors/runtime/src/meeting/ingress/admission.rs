//! What a packet waits for before it gets a seq: room in the backlog, and whatever holds publishers up.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use futures::future::select;
use teammy_kernel::{DataPacket, graph::SourceView, log::Append};
use tokio::sync::{Notify, Semaphore};

use crate::memory::Memory;

/// Room in the backlog, and what holds publishers up: an instance that blocks a source, or a node that keeps
/// too much in memory.
#[derive(Debug)]
pub(super) struct Admission {
    /// The backlog's bound, in bytes.
    capacity: usize,
    room: Semaphore,
    /// How many instances block a source, by its index in the graph.
    blocked: Box<[AtomicU32]>,
    /// Notified when an instance no longer blocks.
    unblocked: Notify,
    memory: Arc<Memory>,
}

impl Admission {
    pub(super) fn new(
        backlog_bytes: usize,
        packet_bytes: usize,
        sources: usize,
        memory: Arc<Memory>,
    ) -> Self {
        // The largest packet must fit, or it would wait for ever.
        let capacity = backlog_bytes.max(DataPacket::max_cost(packet_bytes)).min(u32::MAX as usize);
        Self {
            capacity,
            room: Semaphore::new(capacity),
            blocked: (0..sources).map(|_| AtomicU32::new(0)).collect(),
            unblocked: Notify::new(),
            memory,
        }
    }

    /// The backlog's bound, in bytes.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many bytes of the backlog are in use.
    pub(super) fn used(&self) -> usize {
        self.capacity.saturating_sub(self.room.available_permits())
    }

    /// The permits for a packet.
    pub(super) fn permits(append: &Append) -> u32 {
        u32::try_from(append.cost()).expect("invariant: a packet within the limit is far smaller")
    }

    /// One permit a byte.
    pub(super) fn room(&self) -> &Semaphore {
        &self.room
    }

    pub(super) fn release(&self, bytes: usize) {
        if bytes > 0 {
            self.room.add_permits(bytes);
        }
    }

    /// Whether an instance blocks one of these sources, or the node keeps too much in memory.
    pub(super) fn is_held_up(&self, sources: &[SourceView]) -> bool {
        let is_blocked =
            |source: &SourceView| self.blocked[source.place as usize].load(Ordering::Relaxed) > 0;
        self.memory.is_over() || sources.iter().any(is_blocked)
    }

    /// Waits until something changes about what holds publishers up. `check` runs once the wait can no longer
    /// miss a change; it returns whether to wait.
    pub(super) async fn wait_for_change<E>(
        &self,
        check: impl FnOnce() -> Result<bool, E>,
    ) -> Result<bool, E> {
        let (mut unblocked, mut freed) = (pin!(self.unblocked.notified()), pin!(self.memory.freed()));
        unblocked.as_mut().enable();
        freed.as_mut().enable();
        let waits = check()?;
        if waits {
            select(unblocked, freed).await;
        }
        Ok(waits)
    }

    /// An instance begins, or ends, to block sources of these indices in the graph.
    pub(super) fn block(&self, sources: &[u32], is_blocking: bool) {
        for source in sources {
            let blocked = &self.blocked[*source as usize];
            if is_blocking {
                blocked.fetch_add(1, Ordering::Relaxed);
            } else {
                blocked.fetch_sub(1, Ordering::Relaxed);
            }
        }
        if !is_blocking {
            self.unblocked.notify_waiters();
        }
    }

    /// Fails all waiters.
    pub(super) fn close(&self) {
        self.room.close();
        self.unblocked.notify_waiters();
    }
}
