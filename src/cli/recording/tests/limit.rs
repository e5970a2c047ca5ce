//! A limit: the first packets are the same as without a limit, except for the names in a recording from a
//! pipe.

use std::io::Read;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

const AT: &str = "00:01.000 --> 00:02.000\n";

fn first(limit: u64) -> Options {
    Options { limit: Some(limit), started_at: Some(Timestamp::UNIX_EPOCH), ..STOP }
}

fn cues(texts: &[&str]) -> String {
    texts.iter().flat_map(|text| [AT, text, "\n\n"]).collect()
}

/// Speaker and text of each packet that a recording plays.
fn said(recording: &Recording) -> Vec<(String, String)> {
    let publish = recording.play().unwrap().map(|packet| packet.unwrap().0);
    publish
        .map(|publish| {
            let Payload::Json(json) = &publish.payload else { panic!("{publish:?}") };
            let data: Value = serde_json::from_str(json).unwrap();
            let name = publish.participant.as_deref().unwrap_or("-").to_owned();
            (name, data["text"].as_str().unwrap().to_owned())
        })
        .collect()
}

fn of_file(text: impl AsRef<[u8]>, options: Options) -> Vec<(String, String)> {
    let (_folder, path) = file(text);
    said(&Recording::check(&path, rules(1 << 20), options).unwrap())
}

fn of_pipe(text: impl AsRef<[u8]>, options: Options) -> Vec<(String, String)> {
    said(&Recording::read("x".into(), text.as_ref(), None, rules(1 << 20), options).unwrap())
}

fn owned(said: &[(&str, &str)]) -> Vec<(String, String)> {
    said.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

/// A reader that must not be read.
struct Closed;

impl Read for Closed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        panic!("it was read");
    }
}

#[test]
fn names_are_learnt_from_a_whole_file() {
    let text = cues(&["Ops: Grace: a", "Ops: Linus: b", "Ops: Grace: c", "Ops: Linus: d"]);
    let whole = owned(&[("Ops: Grace", "a"), ("Ops: Linus", "b"), ("Ops: Grace", "c"), ("Ops: Linus", "d")]);
    assert_eq!(of_file(&text, STOP), whole);
    for limit in 1..=4 {
        let expected = &whole[..usize::try_from(limit).unwrap()];
        assert_eq!(of_file(&text, first(limit)), expected);
        assert_eq!(of_file(gzip(&text), first(limit)), expected);
    }
    assert_eq!(of_pipe(&text, first(1)), owned(&[("Ops", "Grace: a")]));
}

#[test]
fn nothing_behind_the_limit_is_read_from_a_pipe() {
    let text = cues(&["Ada: a", "Ada:", "Bo: b"]);
    let reader = BufReader::new(text.as_bytes().chain(Closed));
    let recording = Recording::read("x".into(), reader, None, rules(64), first(2)).unwrap();
    assert_eq!((recording.len(), said(&recording)), (2, owned(&[("Ada", "a"), ("Bo", "b")])));
}

#[test]
fn what_is_broken_behind_the_limit_is_passed_over_for_names() {
    let start = cues(&["Ops: Grace: a", "Ops: Linus: b"]);
    let end = cues(&["Ops: Grace: c", "Ops: Linus: d"]);
    let long = cues(&[&"x".repeat(2 << 20)]);
    let expected = owned(&[("Ops: Grace", "a"), ("Ops: Linus", "b")]);
    for broken in [&b"00:09 -> 00:10\na\n\n"[..], b"\xff\n\n", long.as_bytes()] {
        let text = [start.as_bytes(), broken, end.as_bytes()].concat();
        assert_eq!(of_file(&text, first(2)), expected);
        assert_eq!(of_file(gzip(text), first(2)), expected);
    }
    // Damaged gzip data ends the first pass; before that, no name comes back.
    let whole = gzip(start + &end);
    let cut_off = of_file(&whole[..whole.len() - 8], first(2));
    assert_eq!(cut_off, expected, "its text is complete");
    let damaged = [&gzip(cues(&["Ops: Grace: a", "Ops: Linus: b"]))[..], b"and more"].concat();
    assert_eq!(of_file(damaged, first(2)), owned(&[("Ops", "Grace: a"), ("Ops", "Linus: b")]));
}

#[test]
fn a_name_alone_does_not_count() {
    let text = cues(&["Ada:", "Ada: hi", "Bo:", "Bo: ho"]);
    for (limit, expected) in [(1, &[("Ada", "hi")][..]), (2, &[("Ada", "hi"), ("Bo", "ho")])] {
        assert_eq!(of_file(&text, first(limit)), owned(expected));
        assert_eq!(of_pipe(&text, first(limit)), owned(expected));
    }
    // A cue that turns out to be speech counts.
    let text = cues(&["This is the plan:", "we go.", "Then:", "we stay.", "Well."]);
    let expected = owned(&[("-", "This is the plan:"), ("-", "we go."), ("-", "Then:")]);
    assert_eq!(of_file(&text, first(3)), expected);
    assert_eq!(of_pipe(&text, first(3)), expected);
    let (_folder, path) = file(&text);
    assert_eq!(Recording::check(&path, rules(1 << 20), first(3)).unwrap().len(), 3);
}

#[test]
fn packets_are_not_read_on() {
    let (_folder, path) = file(line(1) + &line(2) + "broken");
    let recording = Recording::check(&path, rules(64), Options { limit: Some(1), ..STOP }).unwrap();
    assert_eq!(played(&recording), ["2026-01-05T09:00:01Z"]);
}

proptest! {
    /// The first packets of any file are the same with and without a limit.
    #[test]
    fn the_first_packets_of_a_file(
        parts in vec(select(vec![
            "Ada: ", "Ops: ", "Grace: ", "So:", "Ada:", "hi", "well, ", "\n", "\n\n", AT, AT, "<v Bo>", "</v>",
        ]), 1..60),
        limit in 1..8_u64,
    ) {
        let (_folder, path) = file(format!("WEBVTT\n\n{}", parts.concat()));
        let options = Options { on_broken: OnBroken::Skip, ..first(limit) };
        let check = |options| Recording::check(&path, rules(1 << 10), options);
        match (check(Options { limit: None, ..options.clone() }), check(options)) {
            (Ok(whole), Ok(some)) => {
                let whole = said(&whole).into_iter().take(usize::try_from(limit).unwrap());
                prop_assert_eq!(said(&some), whole.collect::<Vec<_>>());
            }
            (Err(whole), Err(some)) => prop_assert_eq!(whole.to_string(), some.to_string()),
            (whole, some) => prop_assert!(false, "{whole:?} and {some:?}"),
        }
    }
}
