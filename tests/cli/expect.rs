//! A replay as a test: it fails if instances fail, or if their outputs are not the expected ones.

use std::fs;

use serde_json::json;

use super::{Place, Ran, said};

/// A recording in which the second packet is broken for `talk-time` and `watch-list`.
fn broken() -> String {
    said(0, "one") + &said(1, "x").replace("\"text\"", "\"txt\"") + &said(2, "two")
}

const WATCHED: &str =
    "[[plugin]]\nname = \"watch-list\"\nconfig = { terms = [\"map\"] }\n[[plugin]]\nname = \"talk-time\"\n";

/// A place with two instances, and a recording in which one term is said twice.
fn watched() -> Place {
    let place = Place::new();
    place.file("teammy.toml", WATCHED);
    place.file("m.jsonl", said(0, "the map") + &said(1, "fine") + &said(2, "a map"));
    place
}

fn replay(place: &Place, options: &[&str]) -> Ran {
    place.run(&[&["replay", "m.jsonl", "--expect", "golden.jsonl", "--json"], options].concat())
}

fn golden(place: &Place) -> String {
    fs::read_to_string(place.path().join("golden.jsonl")).unwrap()
}

#[test]
fn instances_that_gave_up_packets_fail_the_replay() {
    let place = Place::new();
    let file = place.file("m.jsonl", broken());
    let replay = ["replay", file, "--plugins", "talk-time"];
    let ran = place.run(&replay).ends_with(3);
    assert!(ran.stderr.contains("\nfailed: talk-time gave up 1 packet\n"), "{ran:#?}");
    let error =
        "error: instances failed in meeting m: talk-time gave up 1 packet\n  hint: `teammy dead-letters m`";
    assert!(ran.stderr.contains(error), "{ran:#?}");
    assert!(ran.stdout.contains("talk-time"), "outputs are printed as ever: {ran:#?}");

    let ran = place.run(&[&replay[..], &["--json"]].concat()).ends_with(3);
    let failure = json!([{"instance": "talk-time", "suspended": false, "dead_letters": 1}]);
    assert_eq!(ran.summary()["failures"], failure);

    let ran = place.run(&[&replay[..], &["--allow-failures"]].concat()).ends_with(0);
    assert!(ran.stderr.contains("\nfailed: talk-time gave up 1 packet\n"), "{ran:#?}");
    assert!(!ran.stderr.contains("error:"), "{ran:#?}");

    place.file("m.jsonl", said(0, "one"));
    let ran = place.run(&[&replay[..], &["--json"]].concat()).ends_with(0);
    assert_eq!(ran.summary()["failures"], json!([]));
}

#[test]
fn outputs_are_compared_with_a_file_that_update_writes() {
    let place = watched();
    let written = replay(&place, &["--update"]).ends_with(0);
    assert_eq!(written.summary()["expected"], "written");
    let lines = golden(&place);
    let sources: Vec<_> = lines.lines().map(|line| &line[..line.find(",\"participant").unwrap()]).collect();
    assert_eq!(
        sources,
        [
            r#"{"type":"packet","source":"talk-time","timestamp":"2026-01-05T09:00:02Z""#,
            r#"{"type":"packet","source":"watch-list","timestamp":"2026-01-05T09:00:00Z""#,
            r#"{"type":"packet","source":"watch-list","timestamp":"2026-01-05T09:00:02Z""#,
        ]
    );
    assert!(lines.ends_with(",\"causes\":[3]}\n"), "{lines}");
    let files = fs::read_dir(place.path()).unwrap().count();

    let same = replay(&place, &[]).ends_with(0);
    assert_eq!(same.summary()["expected"], "same");
    assert!(!same.stderr.contains("---"), "{same:#?}");
    assert_eq!((golden(&place), fs::read_dir(place.path()).unwrap().count()), (lines.clone(), files));

    place.file("m.jsonl", said(0, "the map") + &said(1, "a map") + &said(2, "fine"));
    let different = replay(&place, &[]).ends_with(3);
    assert_eq!(different.summary()["expected"], "different");
    let signs: Vec<_> = different.stderr.lines().filter(|line| line.starts_with(['-', '+'])).collect();
    let [before, after, minus, plus, ..] = &signs[..] else { panic!("{different:#?}") };
    assert_eq!((*before, *after), ("--- golden.jsonl", "+++ this replay"));
    assert!(minus.starts_with("-{") && minus.contains("a map") && minus.contains("09:00:02Z"), "{signs:?}");
    assert!(plus.starts_with("+{") && plus.contains("a map") && plus.contains("09:00:01Z"), "{signs:?}");
    assert_eq!(signs.len(), 4, "the other outputs are the same: {signs:?}");
    assert!(
        different.stderr.contains("error: the outputs differ from those in golden.jsonl"),
        "{different:#?}"
    );
    assert_eq!(golden(&place), lines, "the file is only read");

    replay(&place, &["--update"]).ends_with(0);
    replay(&place, &[]).ends_with(0);
    assert_ne!(golden(&place), lines);
}

#[test]
fn what_a_replay_printed_is_a_golden_file() {
    let place = watched();
    let printed = place.run(&["replay", "m.jsonl", "--json"]).ends_with(0).stdout;
    place.file("golden.jsonl", &printed);
    replay(&place, &[]).ends_with(0);
    place.file("golden.jsonl", printed.replace("a map", "no map"));
    replay(&place, &[]).ends_with(3);
}

#[test]
fn a_golden_file_must_be_there_and_whole() {
    let place = watched();
    let missing = replay(&place, &[]).ends_with(2);
    assert!(missing.stderr.contains("there is no file golden.jsonl to compare"), "{missing:#?}");
    assert!(missing.stderr.contains("hint: write it with --update"), "{missing:#?}");
    assert_eq!(missing.stdout, "", "nothing was played");

    place.file("golden.jsonl", "{\"source\":\"a\",\"payload\":1}\n{\"source\":\"a\"}\n");
    let broken = replay(&place, &[]).ends_with(2);
    assert!(broken.stderr.contains("golden.jsonl, line 2"), "{broken:#?}");
    assert!(broken.stderr.contains("missing payload"), "{broken:#?}");

    let alone = place.run(&["replay", "m.jsonl", "--update"]).ends_with(2);
    assert!(alone.stderr.contains("--expect"), "{alone:#?}");
}

#[test]
fn failed_instances_are_not_what_is_expected() {
    let place = Place::new();
    place.file("m.jsonl", broken());
    let failed = replay(&place, &["--update", "--plugins", "talk-time"]).ends_with(3);
    assert_eq!(failed.summary().get("expected"), None);
    assert!(!place.path().join("golden.jsonl").exists());
    replay(&place, &["--update", "--plugins", "talk-time", "--allow-failures"]).ends_with(0);
    let same = replay(&place, &["--plugins", "talk-time"]).ends_with(3);
    assert_eq!(same.summary()["expected"], "same");
    replay(&place, &["--plugins", "talk-time", "--allow-failures"]).ends_with(0);
}

#[test]
fn a_transcript_needs_a_start_to_be_compared() {
    let place = Place::new();
    let file = place.file("m.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\nthe map\n");
    let compare = ["replay", file, "--expect", "golden.jsonl", "--update"];
    let undated = place.run(&compare).ends_with(2);
    assert!(undated.stderr.contains("give the time with --started-at"), "{undated:#?}");
    assert!(!place.path().join("golden.jsonl").exists());
    let dated = [&compare[..4], &["--plugins", "talk-time", "--started-at", "2026-01-05T09:00:00Z"]].concat();
    place.run(&[&dated[..], &["--update"]].concat()).ends_with(0);
    place.run(&dated).ends_with(0);
}
