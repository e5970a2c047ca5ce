use std::{sync::Arc, thread};

use teammy_kernel::Seq;

use super::completion::Completion;

#[test]
fn a_flag_is_taken_once() {
    let completion = Completion::default();
    assert_eq!(completion.take(), None);
    assert!(completion.set(Seq(7)), "no message was requested");
    assert_eq!(completion.take(), Some(Seq(7)));
    assert_eq!(completion.take(), None);
}

#[test]
fn a_request_makes_the_instance_send_a_message() {
    let completion = Completion::default();
    assert_eq!(completion.request(), None);
    assert_eq!(completion.request(), None, "a request may be repeated");
    assert!(!completion.set(Seq(7)), "a message was requested");
    assert_eq!(completion.take(), None, "the message replaces the flag");
    assert!(completion.set(Seq(8)), "a request is for one batch");
    assert_eq!(completion.request(), Some(Seq(8)), "the instance set the flag before the request");
}

#[test]
fn a_completion_is_never_missed() {
    for round in 1..2_000 {
        let completion = Arc::new(Completion::default());
        let instance = {
            let completion = completion.clone();
            thread::spawn(move || completion.set(Seq(round)))
        };
        let found = completion.request();
        let was_set = instance.join().unwrap();
        assert_eq!(found, was_set.then_some(Seq(round)), "either the flag is set, or a message comes");
    }
}
