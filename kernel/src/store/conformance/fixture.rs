//! What a case runs on.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;

use crate::store::Store;

/// Opens the store again.
type Reopen = Box<dyn Fn() -> BoxFuture<'static, Arc<dyn Store>> + Send + Sync>;

/// Any type: its value is only kept and dropped.
trait Kept: Send + Sync {}

impl<T: Send + Sync> Kept for T {}

/// An empty store to run a case on, and how to open it again if it lasts.
pub struct Fixture {
    pub(super) store: Arc<dyn Store>,
    pub(super) reopen: Option<Reopen>,
    pub(super) crash: Option<Reopen>,
    // Dropped last: the store may need it.
    kept: Option<Box<dyn Kept>>,
}

impl Fixture {
    /// A store that is gone once it is closed.
    pub fn new(store: impl Store) -> Self {
        Self { store: Arc::new(store), reopen: None, crash: None, kept: None }
    }

    /// Sets how to open the store again after it was closed. It then holds what it held before.
    #[must_use]
    pub fn reopen<F, Fut>(mut self, reopen: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Arc<dyn Store>> + Send + 'static,
    {
        self.reopen = Some(Box::new(move || Box::pin(reopen())));
        self
    }

    /// Sets how to kill the store during its work, as a crash would, and open it again. It then holds what it
    /// had acknowledged.
    #[must_use]
    pub fn crash<F, Fut>(mut self, crash: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Arc<dyn Store>> + Send + 'static,
    {
        self.crash = Some(Box::new(move || Box::pin(crash())));
        self
    }

    /// Keeps something for as long as the case runs, such as a directory.
    #[must_use]
    pub fn keep(mut self, kept: impl Send + Sync + 'static) -> Self {
        self.kept = Some(Box::new(kept));
        self
    }
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture")
            .field("store", &self.store)
            .field("kept", &self.kept.is_some())
            .finish_non_exhaustive()
    }
}
