use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use super::combiner::{Combined, Combiner};

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
    combiner.combine(|state| *state += 10, |state| *state += 100);
    assert_eq!(combiner.replace(None), Some(114), "the work is done once: nobody has called since");
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
