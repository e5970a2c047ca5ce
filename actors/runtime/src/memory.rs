//! The bytes of packets that a node's meetings keep in memory, and their limit.
//!
//! Each meeting reports what it keeps, to within 16 KiB. While the sum is over the limit, publishers wait,
//! and each meeting that is driven drops half of what it can spare: stored packets, which it can read again,
//! and the oldest volatile ones.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    used: AtomicUsize,
    freed: Notify,
}

impl Memory {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0), freed: Notify::new() }
    }

    /// Bytes of packets in memory, over all meetings.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn is_over(&self) -> bool {
        self.used() > self.limit
    }

    /// Changes the bytes of one meeting.
    fn change(&self, before: usize, now: usize) {
        let used = if now >= before {
            self.used.fetch_add(now - before, Ordering::Relaxed) + (now - before)
        } else {
            self.used.fetch_sub(before - now, Ordering::Relaxed) - (before - now)
        };
        if used <= self.limit && now < before {
            self.freed.notify_waiters();
        }
    }

    /// Waits until the sum falls to the limit. Callers check [`is_over`](Self::is_over) before and after.
    pub(crate) fn freed(&self) -> tokio::sync::futures::Notified<'_> {
        self.freed.notified()
    }
}

/// The bytes of one meeting. Dropping it takes them off the sum.
#[derive(Debug)]
pub(crate) struct Share {
    memory: std::sync::Arc<Memory>,
    bytes: usize,
}

impl Share {
    pub(crate) fn new(memory: std::sync::Arc<Memory>) -> Self {
        Self { memory, bytes: 0 }
    }

    /// Smaller changes are not reported: all meetings share the counter.
    const GRAIN: usize = 16 << 10;

    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes.abs_diff(self.bytes) >= Self::GRAIN || bytes == 0 && self.bytes > 0 {
            self.memory.change(self.bytes, bytes);
            self.bytes = bytes;
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.memory.is_over()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn the_bytes_of_all_meetings_are_summed_and_freed() {
        let kib = 1 << 10;
        let memory = Arc::new(Memory::new(100 * kib));
        let (mut one, mut two) = (Share::new(memory.clone()), Share::new(memory.clone()));
        one.set(60 * kib);
        two.set(40 * kib);
        two.set(41 * kib);
        assert!(!memory.is_over());
        assert_eq!(memory.used(), 100 * kib, "a small change is not reported");
        two.set(56 * kib);
        assert!(memory.is_over());
        let mut freed = std::pin::pin!(memory.freed());
        assert!(!freed.as_mut().enable());
        drop(one);
        freed.await;
        assert_eq!(memory.used(), 56 * kib);
    }
}
