//! Model checks of the lock-free parts: loom runs each test under every order in which the threads' steps can
//! interleave, within the memory model. The files under test are compiled here once more, with loom's atomics
//! and locks in the place of the runtime's (`crate::sync`).
//!
//! What loom cannot tell: its locks order everything, so a missing fence beside a lock is not found.

#![allow(dead_code, reason = "not everything that the files hold is used here")]

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};

    /// loom's mutex with the interface of `parking_lot`'s.
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().expect("a test that panicked has ended")
        }

        pub(crate) fn try_lock(&self) -> Option<loom::sync::MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }
}

#[path = "../src/meeting/combiner.rs"]
mod combiner;
#[path = "../src/instance/completion.rs"]
mod completion;
#[path = "../src/meeting/ingress/wake_gate.rs"]
mod wake_gate;

use std::sync::Arc;

use loom::thread;
use teammy_kernel::Seq;

use combiner::{Combined, Combiner};
use completion::Completion;
use sync::{AtomicU64, Mutex, Ordering};
use wake_gate::WakeGate;

/// Work that threads bring, and a state that counts what is done.
struct Work {
    brought: AtomicU64,
    /// Touched at the end of each round: a step of loom's at which the lock is still held.
    rounds: AtomicU64,
    done: Combiner<u64>,
}

impl Work {
    fn new() -> Arc<Self> {
        let done = Combiner::default();
        done.replace(Some(0));
        Arc::new(Self { brought: AtomicU64::new(0), rounds: AtomicU64::new(0), done })
    }

    fn take(&self, done: &mut u64) {
        *done += self.brought.swap(0, Ordering::AcqRel);
        self.rounds.fetch_add(1, Ordering::Relaxed);
    }

    /// As a publisher does: brings work, and combines if no other thread does.
    fn bring(&self) {
        self.brought.fetch_add(1, Ordering::AcqRel);
        match self.done.try_combine(|done| self.take(done)) {
            Combined::Done => {}
            Combined::MoreRequested => self.done.combine(|done| self.take(done), |done| self.take(done)),
            Combined::Panicked => panic!("the work does not panic"),
        }
    }

    /// As the actor does: waits for the combiner and does something of its own first.
    fn handle(&self) {
        self.done.combine(|done| *done += 100, |done| self.take(done));
    }
}

#[test]
fn the_combiner_leaves_no_work_undone_when_two_threads_bring_some() {
    loom::model(|| {
        let work = Work::new();
        let other = {
            let work = work.clone();
            thread::spawn(move || work.bring())
        };
        work.bring();
        other.join().unwrap();
        assert_eq!(work.done.replace(None), Some(2));
    });
}

#[test]
fn the_combiner_leaves_no_work_undone_beside_the_actor() {
    loom::model(|| {
        let work = Work::new();
        let actor = {
            let work = work.clone();
            thread::spawn(move || work.handle())
        };
        work.bring();
        actor.join().unwrap();
        assert_eq!(work.done.replace(None), Some(101));
    });
}

#[test]
fn a_completion_is_found_or_sent_and_never_both() {
    loom::model(|| {
        let completion = Arc::new(Completion::default());
        let instance = {
            let completion = completion.clone();
            thread::spawn(move || completion.set(Seq(7)))
        };
        let mut found = completion.request();
        let is_set = instance.join().unwrap();
        // The meeting looks again whenever it is driven.
        found = found.or_else(|| completion.take());
        assert_eq!(
            found,
            is_set.then_some(Seq(7)),
            "the flag is found with its cursor, or a message is sent"
        );
        assert_eq!(completion.take(), None, "nothing is left for the next batch");
    });
}

#[test]
fn a_completion_that_the_meeting_takes_while_it_is_set_has_its_cursor() {
    loom::model(|| {
        let completion = Arc::new(Completion::default());
        let instance = {
            let completion = completion.clone();
            thread::spawn(move || assert!(completion.set(Seq(7)), "no message is requested"))
        };
        let early = completion.take();
        instance.join().unwrap();
        assert_eq!(early.or_else(|| completion.take()), Some(Seq(7)));
        assert_eq!(completion.take(), None);
    });
}

const BUSY: u64 = 0;
const WANTED: u64 = 1;
const ALL: u64 = u64::MAX;

#[test]
fn a_packet_that_an_idle_instance_takes_is_drained_or_wakes_the_meeting() {
    loom::model(|| {
        // The instance that takes the packet's source is busy, so the source wakes nobody.
        let gate = Arc::new(WakeGate::new(BUSY));
        let queue = Arc::new(Mutex::new(0));
        let publisher = {
            let (gate, queue) = (gate.clone(), queue.clone());
            thread::spawn(move || {
                *queue.lock() += 1;
                gate.must_wake(WANTED)
            })
        };
        // The instance has completed its batch, and the meeting runs: as `Ingress::drain`, then as
        // `set_wake_sources`.
        gate.set(ALL);
        let drained = std::mem::take(&mut *queue.lock());
        gate.set(WANTED);
        let wakes = publisher.join().unwrap();
        assert!(drained == 1 || wakes, "the packet would wait for the next one");
    });
}
