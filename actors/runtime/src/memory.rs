//! How much all meetings of a node keep in memory of their packets, and its bound.
//!
//! Each meeting counts what it keeps, to within 16 KiB. While all of them together keep too much, publishers
//! wait, and each meeting lets go of half of what it can do without whenever it is looked at: of what can be
//! read again, and of the oldest volatile packets.

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

    /// Bytes of packets that are kept.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn is_over(&self) -> bool {
        self.used() > self.limit
    }

    /// A meeting keeps so many bytes, where it kept so many before.
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

    /// Waits until there is room again. The check is the caller's, before and after.
    pub(crate) fn freed(&self) -> tokio::sync::futures::Notified<'_> {
        self.freed.notified()
    }
}

/// What one meeting keeps. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    memory: std::sync::Arc<Memory>,
    bytes: usize,
}

impl Share {
    pub(crate) fn new(memory: std::sync::Arc<Memory>) -> Self {
        Self { memory, bytes: 0 }
    }

    /// Less is not worth telling all others.
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
    async fn what_meetings_keep_is_counted_together_and_given_back() {
        let kib = 1 << 10;
        let memory = Arc::new(Memory::new(100 * kib));
        let (mut one, mut two) = (Share::new(memory.clone()), Share::new(memory.clone()));
        one.set(60 * kib);
        two.set(40 * kib);
        two.set(41 * kib);
        assert!(!memory.is_over());
        assert_eq!(memory.used(), 100 * kib, "a little more is not worth telling");
        two.set(56 * kib);
        assert!(memory.is_over());
        let mut freed = std::pin::pin!(memory.freed());
        assert!(!freed.as_mut().enable());
        drop(one);
        freed.await;
        assert_eq!(memory.used(), 56 * kib);
    }
}
