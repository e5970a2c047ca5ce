//! The time that a running hook has for requests.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::error::Error;

/// The time that the running hook has for requests.
#[derive(Debug)]
pub(super) struct HookTime {
    /// Counted from the hook's first request, unless a deadline was set before; `None` is no limit.
    limit: Option<Duration>,
    is_set: AtomicBool,
    until: Mutex<Option<Instant>>,
}

impl HookTime {
    pub(super) fn new(limit: Option<Duration>) -> Arc<Self> {
        Arc::new(Self { limit, is_set: AtomicBool::new(false), until: Mutex::new(None) })
    }

    /// A hook begins: the deadline of the one before is over.
    pub(super) fn begin(&self) {
        if self.is_set.load(Ordering::Acquire) {
            let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
            *until = None;
            self.is_set.store(false, Ordering::Release);
        }
    }

    /// Sets when the running hook's requests fail, unless that is set already.
    pub(super) fn set(&self, deadline: Instant) {
        self.until(|| Some(deadline));
    }

    /// When a request of the running hook comes too late that may take this long. A time that no clock
    /// reaches is no limit.
    pub(super) fn deadline(&self, within: Option<Duration>) -> Option<Instant> {
        let after = |time: Option<Duration>| time.and_then(|time| Instant::now().checked_add(time));
        let of_hook = self.until(|| after(self.limit));
        let own = after(within);
        of_hook.into_iter().chain(own).min()
    }

    fn until(&self, otherwise: impl FnOnce() -> Option<Instant>) -> Option<Instant> {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.is_none() {
            *until = otherwise();
            self.is_set.store(until.is_some(), Ordering::Release);
        }
        *until
    }
}

/// Waits for what a provider gives, up to the deadline.
pub(super) async fn limited<T>(
    deadline: Option<Instant>,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match deadline {
        None => answer.await,
        Some(deadline) => tokio::time::timeout_at(deadline, answer).await.unwrap_or_else(|_| {
            Err(Error::Failed("no answer came in the time that the hook has".to_owned()))
        }),
    }
}
