//! How a meeting learns that an instance has finished a batch without effects.
//!
//! A message would drive the meeting, in most cases only to move a cursor. So the instance sets this flag,
//! which the meeting reads when it runs next. The instance sends a message only if the meeting has asked for
//! one.

use teammy_kernel::Seq;

use crate::sync::{AtomicU8, AtomicU64, Ordering};

/// Shared by a meeting and one incarnation of an instance's actor, which has at most one batch.
#[derive(Debug)]
pub(crate) struct Completion {
    state: AtomicU8,
    cursor: AtomicU64,
}

/// The flag is not set and no message is requested.
const CLEAR: u8 = 0;
/// The meeting requests a message.
const REQUESTED: u8 = 1;
/// The instance has finished its batch and sent no message.
const SET: u8 = 2;

impl Default for Completion {
    fn default() -> Self {
        Self { state: AtomicU8::new(CLEAR), cursor: AtomicU64::new(0) }
    }
}

impl Completion {
    /// The instance has finished its batch, up to a cursor. Returns whether the flag is set; if not, the
    /// meeting has requested a message.
    pub(crate) fn set(&self, cursor: Seq) -> bool {
        self.cursor.store(cursor.0, Ordering::Relaxed);
        let set = self.state.compare_exchange(CLEAR, SET, Ordering::AcqRel, Ordering::Relaxed);
        if set.is_err() {
            self.state.store(CLEAR, Ordering::Relaxed);
        }
        set.is_ok()
    }

    /// The instance has finished its batch and sends a message.
    pub(crate) fn clear(&self) {
        self.state.store(CLEAR, Ordering::Relaxed);
    }

    /// The cursor, if the flag was set. Clears it.
    pub(crate) fn take(&self) -> Option<Seq> {
        if self.state.load(Ordering::Relaxed) != SET {
            return None;
        }
        let taken = self.state.compare_exchange(SET, CLEAR, Ordering::Acquire, Ordering::Relaxed);
        taken.ok().map(|_| Seq(self.cursor.load(Ordering::Relaxed)))
    }

    /// Requests a message for the batch that the instance has. If the instance was faster, clears the flag and
    /// returns its cursor instead.
    pub(crate) fn request(&self) -> Option<Seq> {
        let requested = self.state.compare_exchange(CLEAR, REQUESTED, Ordering::Relaxed, Ordering::Relaxed);
        if requested == Err(SET) { self.take() } else { None }
    }
}
