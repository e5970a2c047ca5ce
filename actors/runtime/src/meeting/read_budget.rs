//! What several readers hold in memory together: one who reads thousands of meetings has one bound for all of them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bounds what the readers of several meetings hold together, however many meetings there are. A clone is the same.
///
/// Stored packets are read in pages, by [`TURNS`](Self::TURNS) readers at a time. The others wait for their turn, which comes in
/// the order in which they asked, so that a long meeting delays the others by a page at a time. A packet always fits. Packets of
/// volatile sources that wait for their reader share a bound of the same size; beyond it they are lost, as in a
/// [`Subscribe::buffer_bytes`](super::Subscribe::buffer_bytes) of one subscription.
///
/// # Examples
/// ```
/// use teammy_runtime::meeting::{ReadBudget, Subscribe};
/// let budget = ReadBudget::new(1 << 20);
/// let audio = Subscribe::to(["audio"]).within(&budget);
/// ```
#[derive(Debug, Clone)]
pub struct ReadBudget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    turns: Arc<Semaphore>,
    bytes: usize,
    /// The bytes of volatile packets that wait.
    waiting: AtomicUsize,
}

/// A reader's turn to hold a page. Dropping it gives it to the next one.
#[derive(Debug)]
pub(crate) struct Turn(#[allow(dead_code, reason = "it is held")] Option<OwnedSemaphorePermit>);

impl PartialEq for ReadBudget {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ReadBudget {}

impl ReadBudget {
    /// How many readers hold stored packets at a time.
    pub const TURNS: usize = 4;

    /// A budget of so many bytes for stored packets, and as many for volatile ones.
    pub fn new(bytes: usize) -> Self {
        let turns = Arc::new(Semaphore::new(Self::TURNS));
        Self(Arc::new(Inner { turns, bytes, waiting: AtomicUsize::new(0) }))
    }

    /// How much a reader holds in its turn.
    pub(crate) fn page_bytes(&self) -> usize {
        self.0.bytes / Self::TURNS
    }

    pub(crate) async fn turn(&self) -> Turn {
        // Nobody closes the semaphore.
        Turn(self.0.turns.clone().acquire_owned().await.ok())
    }

    pub(crate) fn add_waiting(&self, bytes: usize) {
        self.0.waiting.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn remove_waiting(&self, bytes: usize) {
        self.0.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The bytes of volatile packets that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }

    /// Whether more waits than may.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.waiting() > self.0.bytes
    }
}
