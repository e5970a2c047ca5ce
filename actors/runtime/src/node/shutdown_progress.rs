//! How far the shutdown of a node is.
//!
//! It is done once, in steps. One call does the work, while it holds the lock on the [`Step`]; the others wait
//! for the lock. A call that is dropped leaves the step as it is, and the next call continues there.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use teammy_kernel::{Error as HookError, Name, store};
use tokio::{
    sync::{Mutex, MutexGuard, watch},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout_at},
};

use super::error::Error;
use crate::clock;

/// A hook `on_shutdown` that runs.
pub(super) type OnShutdown = JoinHandle<Result<(), HookError>>;

/// A store that is being closed.
pub(super) type Closing = BoxFuture<'static, Result<(), store::Error>>;

/// What is to be done next.
pub(super) enum Step {
    /// Release the meetings.
    Meetings,
    /// Run `on_shutdown` of these instances, one after the other. The hook of the first may be running.
    Plugins { left: VecDeque<Name>, hook: Option<OnShutdown> },
    /// Close the store.
    Store(Closing),
    /// Nothing.
    Done(Result<(), Failure>),
}

/// Why a shutdown was not complete.
pub(super) enum Failure {
    Deadline(Duration),
    Store(Arc<store::Error>),
}

/// Until when a call waits.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    deadline: Duration,
    at: Instant,
}

impl Limit {
    pub(super) fn new(deadline: Duration) -> Self {
        Self { deadline, at: Instant::now() + deadline.min(clock::FOREVER) }
    }
}

/// The shutdown of a node, which may not have begun.
pub(super) struct ShutdownProgress {
    has_begun: AtomicBool,
    /// The first deadline that passed. What was not done by then is cut off.
    passed_deadline: watch::Sender<Option<Duration>>,
    step: Mutex<Step>,
}

impl Default for ShutdownProgress {
    fn default() -> Self {
        Self {
            has_begun: AtomicBool::new(false),
            passed_deadline: watch::Sender::new(None),
            step: Mutex::new(Step::Meetings),
        }
    }
}

impl fmt::Debug for ShutdownProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownProgress").field("has_begun", &self.has_begun).finish_non_exhaustive()
    }
}

impl ShutdownProgress {
    /// Whether a call has begun it, even one that was dropped.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::SeqCst)
    }

    /// Begins the shutdown, or waits for the call that does the work. If the waiting call's deadline passes
    /// first, the other one cuts off the rest.
    pub(super) async fn begin(&self, limit: Limit) -> MutexGuard<'_, Step> {
        self.has_begun.store(true, Ordering::SeqCst);
        if let Ok(step) = timeout_at(limit.at, self.step.lock()).await {
            return step;
        }
        self.cut_off(limit);
        self.step.lock().await
    }

    /// From now on what is not done is cut off, because this call's deadline has passed.
    pub(super) fn cut_off(&self, limit: Limit) {
        self.passed_deadline.send_modify(|passed| {
            passed.get_or_insert(limit.deadline);
        });
    }

    /// The first deadline that passed.
    pub(super) fn passed_deadline(&self) -> Option<Duration> {
        *self.passed_deadline.borrow()
    }

    /// The output of a future; none if this call's deadline passes before, or another call's has passed.
    pub(super) async fn within<T>(&self, limit: Limit, future: impl Future<Output = T>) -> Option<T> {
        let mut passed = self.passed_deadline.subscribe();
        tokio::select! {
            biased;
            output = future => Some(output),
            () = sleep_until(limit.at) => None,
            _ = passed.wait_for(Option::is_some) => None,
        }
    }
}

impl From<&Failure> for Error {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Deadline(deadline) => Self::Deadline(*deadline),
            Failure::Store(error) => Self::Store(same(error)),
        }
    }
}

/// The same error once more.
fn same(error: &Arc<store::Error>) -> store::Error {
    match &**error {
        store::Error::Exists(id) => store::Error::Exists(id.clone()),
        store::Error::NotFound(id) => store::Error::NotFound(id.clone()),
        store::Error::Unavailable { doing, .. } => {
            store::Error::Unavailable { doing: doing.clone(), cause: Box::new(Cause(error.clone())) }
        }
        store::Error::Failed { doing, .. } => {
            store::Error::Failed { doing: doing.clone(), cause: Box::new(Cause(error.clone())) }
        }
        other => store::Error::Failed { doing: "closing".to_owned(), cause: other.to_string().into() },
    }
}

/// The cause of an error that several calls get.
#[derive(Debug)]
struct Cause(Arc<store::Error>);

impl Cause {
    fn error(&self) -> &(dyn std::error::Error + 'static) {
        std::error::Error::source(&*self.0).unwrap_or(&*self.0)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.error(), f)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error().source()
    }
}
