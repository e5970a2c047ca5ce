//! Work on a state that many threads bring, and that whoever is there does.
//!
//! A message to an actor wakes a thread, which costs more than most of what a meeting does when a packet
//! comes. So who brings work does it, if nobody else is at it; if somebody is, they look once more before
//! they leave, and nobody waits. (This is known as *flat combining*: Hendler, Incze, Shavit, Tzafrir, "Flat
//! combining and the synchronization-parallelism tradeoff", 2010.)
//!
//! What is to be done is not handed over here: it lies in queues of its own, and `work` takes it from there.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering, fence},
};

use parking_lot::Mutex;

/// A state, or none while nobody has put one in.
pub(crate) struct Combiner<T> {
    state: Mutex<Option<T>>,
    /// Somebody has brought work that nobody has begun to look for.
    requested: AtomicBool,
}

/// What became of a call.
pub(crate) enum Combined {
    /// The work is done, or who is at it will do it.
    Done,
    /// Work keeps coming in. Somebody has to [enter](Combiner::combine): until then no call does anything.
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
    /// So often does a call look for more, before it leaves that to others: it runs on a thread that has
    /// other things to do.
    const ROUNDS: usize = 4;

    /// Puts the state in, or takes it out. Waits for who is at it.
    pub(crate) fn replace(&self, state: Option<T>) -> Option<T> {
        std::mem::replace(&mut *self.state.lock(), state)
    }

    /// Has work done on the state that was brought before: here, or by who is at it. Never waits.
    pub(crate) fn try_combine(&self, mut work: impl FnMut(&mut T)) -> Combined {
        if self.requested.swap(true, Ordering::SeqCst) {
            // Somebody has called and nobody has looked since: that look finds this, too.
            return Combined::Done;
        }
        for _ in 0..Self::ROUNDS {
            fence(Ordering::SeqCst);
            // Who is at it looks again after leaving: either they see the call, or their leaving is seen
            // here.
            let Some(mut state) = self.state.try_lock() else { return Combined::Done };
            self.requested.store(false, Ordering::SeqCst);
            if let Some(at_work) = &mut *state
                && catch_unwind(AssertUnwindSafe(|| work(at_work))).is_err()
            {
                let broken = state.take();
                drop(state);
                drop(broken);
                return Combined::Panicked;
            }
            drop(state);
            if !self.is_requested() {
                return Combined::Done;
            }
        }
        Combined::MoreRequested
    }

    /// Does something with the state that cannot be left to others; waits for who is at it. Then `work`, for
    /// as long as somebody calls meanwhile.
    pub(crate) fn combine(&self, first: impl FnOnce(&mut T), mut work: impl FnMut(&mut T)) {
        let mut first = Some(first);
        loop {
            let mut state = self.state.lock();
            self.requested.store(false, Ordering::SeqCst);
            let Some(at_work) = &mut *state else { return };
            match first.take() {
                Some(first) => first(at_work),
                None => work(at_work),
            }
            drop(state);
            if !self.is_requested() {
                return;
            }
        }
    }

    /// Whether somebody has called since somebody began to look. To be asked behind the lock.
    fn is_requested(&self) -> bool {
        fence(Ordering::SeqCst);
        self.requested.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU64, AtomicUsize},
        },
        thread,
    };

    use super::*;

    #[test]
    fn all_that_is_brought_is_done_by_somebody() {
        const THREADS: u64 = 4;
        const EACH: u64 = 20_000;
        let combiner = Arc::new(Combiner::default());
        combiner.replace(Some(0));
        let (brought, inside) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (combiner, brought, inside) = (combiner.clone(), brought.clone(), inside.clone());
                thread::spawn(move || {
                    let mut work = |done: &mut u64| {
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "one is at it at a time");
                        *done += brought.swap(0, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    };
                    for _ in 0..EACH {
                        brought.fetch_add(1, Ordering::SeqCst);
                        match combiner.try_combine(&mut work) {
                            Combined::Done => {}
                            Combined::MoreRequested => combiner.combine(work, |done: &mut u64| {
                                *done += brought.swap(0, Ordering::SeqCst);
                            }),
                            Combined::Panicked => panic!("the work does not panic"),
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(combiner.replace(None), Some(THREADS * EACH), "nothing is left undone when all have left");
    }

    #[test]
    fn who_is_at_it_does_what_others_bring_and_does_not_stay_for_ever() {
        let combiner = Combiner::default();
        combiner.replace(Some(0));
        let mut rounds = 0;
        let called = combiner.try_combine(|state: &mut u32| {
            *state += 1;
            rounds += 1;
            // Somebody else, while we are at it.
            assert!(matches!(combiner.try_combine(|_| unreachable!("one is at it")), Combined::Done));
        });
        assert!(matches!(called, Combined::MoreRequested));
        assert_eq!(rounds, Combiner::<u32>::ROUNDS);
        assert!(matches!(combiner.try_combine(|_| unreachable!("it was left to others")), Combined::Done));
        combiner.combine(|state| *state += 10, |_| unreachable!("nobody has called since"));
        assert_eq!(combiner.replace(None), Some(14));
    }

    #[test]
    fn work_that_panics_takes_the_state_with_it() {
        let combiner = Combiner::default();
        combiner.replace(Some(7));
        assert!(matches!(combiner.try_combine(|_| panic!("as planned")), Combined::Panicked));
        assert!(matches!(combiner.try_combine(|_| unreachable!("there is no state")), Combined::Done));
        combiner.combine(|_| unreachable!("there is no state"), |_| ());
        assert_eq!(combiner.replace(None), None);
    }
}
