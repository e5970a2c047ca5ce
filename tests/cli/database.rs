//! A database that outlives the process.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
};

use crate::{Place, Ran, meetings::log, said, sample};

fn standup(place: &Place, more: &[&str]) -> Ran {
    let file = sample("standup.jsonl");
    let plugins = "talk-time,watch-list";
    let mut arguments = vec!["replay", file.as_str(), "--db", "surrealkv://db", "--plugins", plugins];
    arguments.extend(more);
    place.run(&arguments)
}

fn history(place: &Place, more: &[&str]) -> Ran {
    let mut arguments = vec!["history", "--db", "surrealkv://db", "standup"];
    arguments.extend(more);
    place.run(&arguments)
}

/// The lines on stdout without the summary.
fn packets(ran: &Ran) -> Vec<&str> {
    ran.stdout.lines().filter(|line| !line.starts_with("{\"type\":\"summary\"")).collect()
}

#[test]
fn history_prints_what_the_replay_printed() {
    let place = Place::new();
    let replayed = standup(&place, &["--all", "--json"]).ends_with(0);
    let printed = packets(&replayed);
    assert!(printed.len() > 60, "{replayed:#?}");

    let told = history(&place, &["--json"]).ends_with(0);
    assert_eq!(packets(&told), printed);
    assert_eq!(told.stderr, "");

    let outputs: Vec<_> =
        printed.iter().filter(|line| line.contains("\"source\":\"talk-time\"")).copied().collect();
    assert_eq!(packets(&history(&place, &["--json", "--source", "talk-time"]).ends_with(0)), outputs);
    let last = packets(&history(&place, &["--json", "--last", "1", "--source", "talk-time"]).ends_with(0))
        .join("\n");
    assert_eq!([last.as_str()], outputs[outputs.len() - 1..]);
    assert_eq!(
        packets(&history(&place, &["--json", "--last", "7"]).ends_with(0)),
        printed[printed.len() - 7..]
    );
    assert_eq!(packets(&history(&place, &["--json", "--since", "10 years"]).ends_with(0)), printed);
    let lifecycle = history(&place, &["--json", "--source", "meeting"]).ends_with(0);
    assert!(
        lifecycle.stdout.lines().last().unwrap().contains(r#""payload":{"event":"ended"}"#),
        "{lifecycle:#?}"
    );

    // The last minute before the last published packet, and its outputs.
    let inputs =
        replayed.packets().into_iter().filter(|packet| packet["causes"].as_array().unwrap().is_empty());
    let last = inputs.map(|packet| packet["timestamp"].as_str().unwrap().to_owned()).next_back().unwrap();
    let minute = teammy_time(&last) - 60.0;
    let recent = |line: &&&str| {
        let packet: serde_json::Value = serde_json::from_str(line).unwrap();
        teammy_time(packet["timestamp"].as_str().unwrap()) >= minute
    };
    let recent: Vec<_> = printed.iter().filter(recent).copied().collect();
    assert!(recent.len() < printed.len());
    assert_eq!(packets(&history(&place, &["--json", "--since", "1m"]).ends_with(0)), recent);
}

#[test]
fn history_is_a_recording() {
    let place = Place::new();
    standup(&place, &[]).ends_with(0);
    let told = history(&place, &["--json"]).ends_with(0);
    let file = place.file("standup.jsonl", &told.stdout);
    let replay = ["replay", file, "--plugins", "talk-time,watch-list", "--json", "--all"];
    let again = place.run(&replay).ends_with(0);
    assert_eq!(log(again.packets()), log(told.packets()));
    // It is the recording that was played.
    let complete = place.run(&[&replay[..], &["--db", "surrealkv://db"]].concat()).ends_with(0);
    assert!(complete.stderr.contains("is complete: all of standup.jsonl has been played"), "{complete:#?}");
    assert_eq!(packets(&complete), packets(&told));
}

fn teammy_time(timestamp: &str) -> f64 {
    let timestamp: teammy::Timestamp = timestamp.parse().unwrap();
    timestamp.as_duration().as_secs_f64()
}

#[test]
fn people_see_the_same_later() {
    let place = Place::new();
    let replayed = standup(&place, &["--all"]).ends_with(0);
    assert_eq!(history(&place, &[]).ends_with(0).stdout, replayed.stdout);
}

#[test]
fn a_meeting_is_replayed_once() {
    let place = Place::new();
    standup(&place, &[]).ends_with(0);
    // Fewer packets are another recording.
    let again = standup(&place, &["--limit", "5"]).ends_with(1);
    assert!(again.stderr.contains("error: meeting standup exists already"), "{again:#?}");
    for hint in ["--meeting ID", "`teammy history standup` shows what is there"] {
        assert!(again.stderr.contains(hint), "{again:#?}");
    }
    standup(&place, &["--meeting", "other"]).ends_with(0);

    let unknown = place.run(&["history", "standpu", "--db", "surrealkv://db"]).ends_with(1);
    assert!(unknown.stderr.contains("there is no meeting standpu; did you mean standup?"), "{unknown:#?}");
    let unknown = place.run(&["history", "zzz", "--db", "surrealkv://db"]).ends_with(1);
    assert!(unknown.stderr.contains("the database holds other, standup"), "{unknown:#?}");
}

#[test]
fn a_broken_line_leaves_nothing_behind() {
    let place = Place::new();
    let file = place.file("m.jsonl", said(0, "fine") + "oops\n");
    place.run(&["replay", file, "--db", "surrealkv://db"]).ends_with(2);
    assert!(!place.path().join("db").exists());
    let ran = place.run(&["history", "m", "--db", "surrealkv://db"]).ends_with(1);
    assert!(ran.stderr.contains("there is no database in db"), "{ran:#?}");
    assert!(!place.path().join("db").exists(), "history must not create a database");
}

#[test]
fn a_directory_that_cannot_be_written() {
    let place = Place::new();
    place.file("file", "in the way");
    let ran = place.run(&["replay", &sample("standup.jsonl"), "--db", "surrealkv://file/db"]).ends_with(1);
    assert!(ran.stderr.contains("\nerror: ") && ran.stderr.contains("file/db"), "{ran:#?}");
    assert_eq!(ran.stdout, "");
    assert_eq!(fs::read_to_string(place.path().join("file")).unwrap(), "in the way");
}

#[test]
fn a_directory_that_another_process_holds() {
    let place = Place::new();
    let file = place.file("long.jsonl", said(0, "the deadline") + &said(59, "is far away"));
    let mut command = place.teammy(&["replay", file, "--speed", "0.001x", "--db", "surrealkv://db"]);
    command.args(["--plugins", "watch-list"]);
    let mut holder = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("the deadline"), "{first}");

    // Who wants to write is turned away. Who only reads asks the process that holds the directory.
    let refused = standup(&place, &[]);
    let told = place.run(&["history", "long", "--db", "surrealkv://db", "--json"]);
    let unknown = history(&place, &[]);
    holder.kill().unwrap();
    holder.wait().unwrap();
    let refused = refused.ends_with(1);
    assert!(refused.stderr.contains("another process"), "{refused:#?}");
    assert_eq!(told.ends_with(0).of_source("watch-list").len(), 1);
    let unknown = unknown.ends_with(1);
    assert!(unknown.stderr.contains("meeting standup"), "{unknown:#?}");

    // After a kill, acknowledged packets are there, and the directory can be opened at once.
    let told = place.run(&["history", "long", "--db", "surrealkv://db", "--json"]).ends_with(0);
    assert_eq!(told.of_source("transcription").len(), 1);
    assert_eq!(told.of_source("watch-list").len(), 1);
}
