//! A state that many threads drive without waiting for each other: *flat combining* (Hendler, Incze, Shavit,
//! Tzafrir, "Flat combining and the synchronization-parallelism tradeoff", 2010).
//!
//! A message to an actor wakes a thread, which costs more than most of the work that a packet causes in a
//! meeting. So a thread that brings work becomes the combiner and does it, if no other thread is. If another
//! thread is, that one runs once more before it leaves. Nobody waits.
//!
//! The work itself is not passed through here: it lies in queues of its own, from which `work` takes it.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::sync::{AtomicBool, Mutex, Ordering, fence};

/// A state, or nothing before it is put in and after it is taken out.
pub(crate) struct Combiner<T> {
    state: Mutex<Option<T>>,
    /// A thread has brought work that no combiner has begun to look for.
    requested: AtomicBool,
}

/// The result of [`Combiner::try_combine`].
pub(crate) enum Combined {
    /// The work is done, or the thread that is combining will do it.
    Done,
    /// Work keeps coming in. Somebody must call [`Combiner::combine`]; until then no other call does anything.
    MoreRequested,
    /// The work panicked, and the state is gone.
    Panicked,
}

impl<T> Default for Combiner<T> {
    fn default() -> Self {
        Self { state: Mutex::new(None), requested: AtomicBool::new(false) }
    }
}

impl<T> fmt::Debug for Combiner<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Combiner")
    }
}

impl<T> Combiner<T> {
    /// How many rounds a thread combines before it leaves more work to others: it has other things to do.
    pub(super) const ROUNDS: usize = 4;

    /// Puts the state in, or takes it out. Waits for the thread that is combining.
    pub(crate) fn replace(&self, state: Option<T>) -> Option<T> {
        std::mem::replace(&mut *self.state.lock(), state)
    }

    /// Has the work done that was brought before: on this thread, or by the thread that is combining. Never
    /// waits.
    pub(crate) fn try_combine(&self, mut work: impl FnMut(&mut T)) -> Combined {
        if self.requested.swap(true, Ordering::SeqCst) {
            // An earlier request is still open: the combiner that serves it finds this work, too.
            return Combined::Done;
        }
        for _ in 0..Self::ROUNDS {
            fence(Ordering::SeqCst);
            // The thread that holds the lock checks for requests after it lets go: either it sees this one, or
            // the lock is free here.
            let Some(mut guard) = self.state.try_lock() else { return Combined::Done };
            self.requested.store(false, Ordering::SeqCst);
            if let Some(state) = &mut *guard
                && catch_unwind(AssertUnwindSafe(|| work(state))).is_err()
            {
                let broken = guard.take();
                drop(guard);
                drop(broken);
                return Combined::Panicked;
            }
            drop(guard);
            if !self.is_requested() {
                return Combined::Done;
            }
        }
        Combined::MoreRequested
    }

    /// Does `first`, which cannot be left to other threads, then `work`, and `work` again for as long as there
    /// are requests. Waits for the thread that is combining.
    pub(crate) fn combine(&self, first: impl FnOnce(&mut T), mut work: impl FnMut(&mut T)) {
        let mut first = Some(first);
        loop {
            let mut guard = self.state.lock();
            self.requested.store(false, Ordering::SeqCst);
            let Some(state) = &mut *guard else { return };
            if let Some(first) = first.take() {
                first(state);
            }
            // Even in the first round: the request that was just cleared may have brought work.
            work(state);
            drop(guard);
            if !self.is_requested() {
                return;
            }
        }
    }

    /// Whether a thread has brought work since a combiner last began to look. To be asked after the lock is
    /// let go.
    fn is_requested(&self) -> bool {
        fence(Ordering::SeqCst);
        self.requested.load(Ordering::SeqCst)
    }
}
