use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use super::combiner::{Combined, Combiner};

#[test]
fn no_work_is_lost_between_threads() {
    const THREADS: u64 = 4;
    const EACH: u64 = 20_000;
    let combiner = Arc::new(Combiner::default());
    combiner.replace(Some(0));
    let (pending, inside) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (combiner, pending, inside) = (combiner.clone(), pending.clone(), inside.clone());
            thread::spawn(move || {
                let mut work = |done: &mut u64| {
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "one thread combines at a time");
                    *done += pending.swap(0, Ordering::SeqCst);
                    inside.fetch_sub(1, Ordering::SeqCst);
                };
                for _ in 0..EACH {
                    pending.fetch_add(1, Ordering::SeqCst);
                    match combiner.try_combine(&mut work) {
                        Combined::Done => {}
                        Combined::MoreRequested => combiner.combine(work, |done: &mut u64| {
                            *done += pending.swap(0, Ordering::SeqCst);
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
    assert_eq!(combiner.replace(None), Some(THREADS * EACH), "all work is done when all threads have left");
}

#[test]
fn a_combiner_does_the_work_of_others_for_a_bounded_number_of_rounds() {
    let combiner = Combiner::default();
    combiner.replace(Some(0));
    let mut rounds = 0;
    let called = combiner.try_combine(|state: &mut u32| {
        *state += 1;
        rounds += 1;
        // Another request comes in while this thread combines.
        assert!(matches!(combiner.try_combine(|_| unreachable!("another call combines")), Combined::Done));
    });
    assert!(matches!(called, Combined::MoreRequested));
    assert_eq!(rounds, Combiner::<u32>::ROUNDS);
    assert!(matches!(combiner.try_combine(|_| unreachable!("a request is open")), Combined::Done));
    combiner.combine(|state| *state += 10, |state| *state += 100);
    assert_eq!(combiner.replace(None), Some(114), "the work is done once: there was no further request");
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
