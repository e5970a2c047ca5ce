use std::{sync::Arc, thread};

use teammy_kernel::Seq;

use super::completion::Completion;

#[test]
fn what_is_left_is_found_once() {
    let completion = Completion::default();
    assert_eq!(completion.take(), None);
    assert!(completion.set(Seq(7)), "no message is requested");
    assert_eq!(completion.take(), Some(Seq(7)));
    assert_eq!(completion.take(), None);
}

#[test]
fn a_meeting_that_waits_is_told() {
    let completion = Completion::default();
    assert_eq!(completion.request(), None);
    assert_eq!(completion.request(), None, "a request may be repeated");
    assert!(!completion.set(Seq(7)), "a message is requested");
    assert_eq!(completion.take(), None, "the message says it");
    assert!(completion.set(Seq(8)), "the request was for one batch");
    assert_eq!(completion.request(), Some(Seq(8)), "the instance was faster");
}

#[test]
fn nothing_falls_between_leaving_and_waiting() {
    for round in 1..2_000 {
        let completion = Arc::new(Completion::default());
        let instance = {
            let completion = completion.clone();
            thread::spawn(move || completion.set(Seq(round)))
        };
        let found = completion.request();
        let was_set = instance.join().unwrap();
        assert_eq!(found, was_set.then_some(Seq(round)), "either the flag is found, or a message comes");
    }
}
