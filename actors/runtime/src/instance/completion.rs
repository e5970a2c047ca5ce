//! How a meeting learns that an instance is done with a batch of which it made nothing.
//!
//! A meeting that is told of it looks, which in most cases it does for nothing but to note it. So the
//! instance leaves it where the meeting finds it when it looks next, and tells it only where the meeting has
//! said that it waits.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use teammy_kernel::Seq;

/// Shared by a meeting and one incarnation of an instance's actor, which has at most one batch.
#[derive(Debug, Default)]
pub(crate) struct Completion {
    state: AtomicU8,
    cursor: AtomicU64,
}

/// Nothing is left here, and nobody waits.
const NOTHING: u8 = 0;
/// The meeting waits for a message.
const WANTED: u8 = 1;
/// The instance is done with its batch, and sent no message.
const LEFT: u8 = 2;

impl Completion {
    /// The instance is done with its batch, up to a cursor. Says whether that will do; if not, the meeting
    /// waits for a message.
    pub(crate) fn leave(&self, cursor: Seq) -> bool {
        self.cursor.store(cursor.0, Ordering::Relaxed);
        let left = self.state.compare_exchange(NOTHING, LEFT, Ordering::AcqRel, Ordering::Relaxed);
        if left.is_err() {
            self.state.store(NOTHING, Ordering::Relaxed);
        }
        left.is_ok()
    }

    /// The instance is done with its batch and says so in a message.
    pub(crate) fn told(&self) {
        self.state.store(NOTHING, Ordering::Relaxed);
    }

    /// Takes what the instance left, if it did.
    pub(crate) fn take(&self) -> Option<Seq> {
        if self.state.load(Ordering::Relaxed) != LEFT {
            return None;
        }
        let taken = self.state.compare_exchange(LEFT, NOTHING, Ordering::Acquire, Ordering::Relaxed);
        taken.ok().map(|_| Seq(self.cursor.load(Ordering::Relaxed)))
    }

    /// Says that the meeting waits for the batch that is with the instance; if the instance was faster, takes
    /// what it left.
    pub(crate) fn want(&self) -> Option<Seq> {
        let wanted = self.state.compare_exchange(NOTHING, WANTED, Ordering::Relaxed, Ordering::Relaxed);
        if wanted == Err(LEFT) { self.take() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;

    #[test]
    fn what_is_left_is_found_once() {
        let completion = Completion::default();
        assert_eq!(completion.take(), None);
        assert!(completion.leave(Seq(7)), "nobody waits");
        assert_eq!(completion.take(), Some(Seq(7)));
        assert_eq!(completion.take(), None);
    }

    #[test]
    fn a_meeting_that_waits_is_told() {
        let completion = Completion::default();
        assert_eq!(completion.want(), None);
        assert_eq!(completion.want(), None, "it may say so again");
        assert!(!completion.leave(Seq(7)), "a message is wanted");
        assert_eq!(completion.take(), None, "the message says it");
        assert!(completion.leave(Seq(8)), "it was wanted for one batch");
        assert_eq!(completion.want(), Some(Seq(8)), "the instance was faster");
    }

    #[test]
    fn nothing_falls_between_leaving_and_waiting() {
        for round in 1..2_000 {
            let completion = Arc::new(Completion::default());
            let instance = {
                let completion = completion.clone();
                thread::spawn(move || completion.leave(Seq(round)))
            };
            let found = completion.want();
            let was_left = instance.join().unwrap();
            assert_eq!(
                found,
                was_left.then_some(Seq(round)),
                "either it was left and found, or a message comes"
            );
        }
    }
}
