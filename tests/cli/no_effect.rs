//! No option is ignored: an option that cannot have its effect is an error that says what to do instead.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use crate::{Place, Ran, said};

const DB: [&str; 2] = ["--db", "surrealkv://db"];

/// A place in which a recording was played.
fn played(options: &[&str]) -> Place {
    let place = Place::new();
    place.file("m.jsonl", (0..4).map(|n| said(n, &format!("the deadline {n}"))).collect::<String>());
    place.run(&[&["replay", "m.jsonl"], &DB[..], options].concat()).ends_with(0);
    place
}

#[track_caller]
fn refused(ran: Ran, says: &[&str]) {
    let ran = ran.ends_with(2);
    for says in says {
        assert!(ran.stderr.contains(says), "should say {says:?}: {ran:#?}");
    }
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_complete_meeting_is_not_run_again_by_other_instances() {
    let place = played(&["--plugins", "talk-time"]);
    let replay = |options: &[&str]| place.run(&[&["replay", "m.jsonl"], &DB[..], options].concat());
    let again = replay(&["--plugins", "talk-time", "--json"]).ends_with(0);
    assert!(again.stderr.contains("note: meeting m is complete"), "{again:#?}");
    let version = env!("CARGO_PKG_VERSION");
    let ran = format!("meeting m ran with talk-time {version}, but ");
    let anew = "hint: replay under another id with --meeting ID, or after `teammy forget m`";
    for plugins in ["watch-list", "talk-time,watch-list"] {
        refused(replay(&["--plugins", plugins]), &[&ran, "this command asks for ", "not run again", anew]);
    }
    // All plugins, as without the option.
    refused(replay(&[]), &[&ran, "this command asks for talk-time, watch-list"]);
    place.run(&[&["forget", "m"], &DB[..]].concat()).ends_with(0);
    replay(&["--plugins", "watch-list"]).ends_with(0);
}

#[test]
fn a_complete_meeting_is_not_run_again_with_another_configuration() {
    let table = |config: &str| format!("[[plugin]]\nname = \"people\"\nkind = \"talk-time\"\n{config}\n");
    let place = Place::new();
    place.file("m.jsonl", (0..4).map(|n| said(n, "hello")).collect::<String>());
    let replay = |config: &str| {
        place.file("teammy.toml", table(config));
        place.run(&[&["replay", "m.jsonl"], &DB[..]].concat())
    };
    replay("config = { every = 20 }").ends_with(0);
    // The default, spelled out or not.
    replay("").ends_with(0);
    replay("config = {}").ends_with(0);
    for other in [
        "config = { every = 2 }",
        "sources = { transcription = \"captions\" }\n[[source]]\nname = \"captions\"",
        "delivery = { transcription = \"block\" }",
    ] {
        refused(
            replay(other),
            &["meeting m ran with people (talk-time ", "people is configured differently now"],
        );
    }
    place.file("teammy.toml", "[[plugin]]\nname = \"people\"\nkind = \"watch-list\"\n");
    refused(
        place.run(&[&["replay", "m.jsonl"], &DB[..]].concat()),
        &["people is configured differently now"],
    );
}

#[test]
fn a_meeting_that_was_ended_early_is_not_called_complete() {
    let place = Place::new();
    // Paced so that the last two packets are not due before the kill.
    place.file("m.jsonl", [0, 0, 3598, 3599].map(|second| said(second, "hello")).concat());
    let replay = ["replay", "m.jsonl", "--plugins", "talk-time", "--db", "surrealkv://db"];
    let paced = ["--all", "--json", "--speed", "0.001x"];
    let mut child = place.teammy(&[&replay[..], &paced].concat()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..2 {
        assert!(stdout.read_line(&mut String::new()).unwrap() > 0);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    place.run(&[&["resume", "m", "--end"], &DB[..]].concat()).ends_with(0);
    refused(
        place.run(&replay),
        &["meeting m has ended after 2 of the recording's 4 packets", "replay under another id"],
    );
}

#[test]
fn a_transcript_that_was_played_keeps_its_beginning() {
    let place = Place::new();
    place.file("m.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ada>hello\n");
    let replay = |began: &str| {
        place.run(&[&["replay", "m.vtt", "--plugins", "talk-time", "--started-at", began], &DB[..]].concat())
    };
    replay("2026-01-05T09:00:00Z").ends_with(0);
    replay("2026-01-05T10:00:00+01:00").ends_with(0);
    refused(
        replay("2026-01-06T09:00:00Z"),
        &["meeting m began at 2026-01-05T09:00:00Z", "replay under another id"],
    );
}

#[test]
fn what_names_nothing_is_refused() {
    let place = played(&["--plugins", "talk-time"]);
    let run = |arguments: &[&str]| place.run(&[arguments, &DB[..]].concat());
    refused(
        run(&["resume", "m", "--instance", "talk-time"]),
        &["meeting m is complete: no instance can resume in it", "dead-letters m --redrive all"],
    );
    refused(
        run(&["dead-letters", "m", "--redrive", "41"]),
        &["meeting m has no such dead letter; it has none"],
    );
    run(&["dead-letters", "m", "--redrive", "all"]).ends_with(0);
    refused(run(&["history", "m", "--last", "0"]), &["expected a number from 1"]);
    for command in [&["history", "m"][..], &["forget", "m"], &["resume", "m"], &["dead-letters", "m"]] {
        refused(
            place.run(&[command, &["--db", " "]].concat()),
            &["--db is blank", "a shell's variable may be unset"],
        );
    }
    refused(place.run(&["completions", "bash", "--config", "nowhere.toml"]), &["--config has no effect"]);
    refused(place.run(&["config", "--reference", "-v"]), &["--verbose has no effect"]);
}

#[test]
fn a_dead_letter_is_named_right() {
    let place = Place::new();
    let broken = said(1, "x").replace("\"text\":\"x\"", "\"text\":5");
    place.file("m.jsonl", said(0, "one") + &broken);
    place.run(&[&["replay", "m.jsonl", "--plugins", "talk-time,watch-list"], &DB[..]].concat()).ends_with(3);
    let letters = |options: &[&str]| place.run(&[&["dead-letters", "m"], &DB[..], options].concat());
    let there = letters(&["--json"]).ends_with(0).lines();
    let seq = there[0]["seq"].to_string();
    assert_eq!(there.len(), 2);
    letters(&["--instance", "talk-time"]).ends_with(0);
    let there = format!("there are {seq} of talk-time, {seq} of watch-list");
    let none = letters(&["--instance", "minutes"]).ends_with(0);
    assert!(none.stderr.contains(&format!("no dead letters of minutes; {there}")), "{none:#?}");
    let says = format!("meeting m has no such dead letter; {there}");
    refused(letters(&["--redrive", "1"]), &[&says]);
    refused(letters(&["--redrive", &seq, "--instance", "minutes"]), &[&says]);
    letters(&["--redrive", &seq, "--instance", "talk-time"]).ends_with(0);
}

#[test]
fn since_needs_something_to_count_from() {
    let place = Place::new();
    let audio = said(0, "x").replace("\"transcription\"", "\"audio\"");
    place.file("m.jsonl", audio);
    place.run(&[&["replay", "m.jsonl", "--plugins", "talk-time"], &DB[..]].concat()).ends_with(0);
    refused(
        place.run(&[&["history", "m", "--since", "1m"], &DB[..]].concat()),
        &["no packet of meeting m came from outside", "leave --since out"],
    );
}
