//! `teammy meetings`: from the database, and from the node that holds it.

use serde_json::{Value, json};

use crate::{Place, Ran, operating::Running, said};

const DB: [&str; 2] = ["--db", "surrealkv://db"];

/// Plays a meeting of one line, under this id.
fn play(place: &Place, id: &str) {
    let file = place.file("one.jsonl", said(0, "hello"));
    let replay = ["replay", file, "--meeting", id, "--plugins", "watch-list"];
    place.run(&[&replay, &DB[..]].concat()).ends_with(0);
}

fn list(place: &Place, options: &[&str]) -> Ran {
    place.run(&[&["meetings"], &DB[..], options].concat())
}

fn ids(ran: &Ran) -> Vec<String> {
    ran.lines().iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn meetings_are_listed_from_the_database() {
    let place = Place::new();
    let nowhere = list(&place, &[]).ends_with(1);
    assert!(nowhere.stderr.contains("there is no database in db"), "{nowhere:#?}");
    for id in ["a", "it's \u{1F680}", "c"] {
        play(&place, id);
    }
    let all = list(&place, &["--json"]).ends_with(0);
    assert_eq!(ids(&all), ["c", "it's \u{1F680}", "a"], "the newest first");
    let first = &all.lines()[0];
    let keys: Vec<_> = first.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected =
        ["type", "id", "title", "status", "created", "started_at", "last_seq", "labels", "instances"];
    expected.sort_unstable();
    let mut sorted = keys;
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!((&first["type"], &first["status"]), (&json!("meeting"), &json!("ended")));
    assert_eq!((&first["instances"], &first["labels"]), (&json!(["watch-list"]), &json!({})));
    assert!(first["last_seq"].as_u64().unwrap() >= 4, "{first}");
    let created: teammy::Timestamp = first["created"].as_str().unwrap().parse().unwrap();
    assert!(created <= teammy::Timestamp::now());

    assert_eq!(ids(&list(&place, &["--json", "--limit", "2"]).ends_with(0)), ["c", "it's \u{1F680}"]);
    assert_eq!(ids(&list(&place, &["--json", "--since", "10 years"]).ends_with(0)).len(), 3);
    assert_eq!(ids(&list(&place, &["--json", "--since", "2999-01-01"]).ends_with(0)).len(), 0);
    assert_eq!(ids(&list(&place, &["--json", "--since", &created.to_string()]).ends_with(0)), ["c"]);
    assert_eq!(ids(&list(&place, &["--json", "--status", "ended,running"]).ends_with(0)).len(), 3);
    assert_eq!(ids(&list(&place, &["--json", "--label", "team=maps"]).ends_with(0)).len(), 0);

    let people = list(&place, &[]).ends_with(0);
    let lines: Vec<_> = people.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{people:#?}");
    assert!(lines[0].contains("meeting") && lines[0].contains("last seq"), "{people:#?}");
    assert!(lines[2].contains("it's \u{1F680}") && lines[2].contains("ended"), "{people:#?}");
    let none = list(&place, &["--status", "running"]).ends_with(0);
    assert_eq!((none.stdout.as_str(), none.stderr.contains("note: there are no such meetings")), ("", true));

    for wrong in [["--status", "done"], ["--label", "team"], ["--since", "soon"], ["--limit", "0"]] {
        let refused = list(&place, &wrong).ends_with(2);
        assert!(refused.stderr.contains(wrong[0]), "{refused:#?}");
    }
    let memory = place.run(&["meetings", "--db", "mem://"]).ends_with(2);
    assert!(memory.stderr.contains("mem:// holds nothing"), "{memory:#?}");
}

#[test]
fn meetings_are_listed_by_the_node_that_holds_the_database() {
    let place = Place::new();
    for id in ["a", "b"] {
        play(&place, id);
    }
    let ended = list(&place, &["--json"]).ends_with(0).lines();
    let running = Running::new(&place, 3, &[]);
    let all = list(&place, &["--json"]).ends_with(0);
    assert_eq!(ids(&all), ["m", "b", "a"]);
    assert_eq!(all.lines()[1..], ended, "the node says what the database says");
    let open = list(&place, &["--json", "--status", "running,ending"]).ends_with(0);
    assert_eq!(ids(&open), ["m"]);
    assert_eq!(open.lines()[0]["status"], Value::from("running"));
    assert_eq!(ids(&list(&place, &["--json", "--limit", "1", "--status", "ended"]).ends_with(0)), ["b"]);
    let people = list(&place, &["--limit", "1"]).ends_with(0);
    assert!(people.stdout.contains("m ") && people.stdout.contains("running"), "{people:#?}");
    drop(running);
    // The process was killed: its meeting is not at its end.
    assert_eq!(ids(&list(&place, &["--json", "--status", "running"]).ends_with(0)), ["m"]);
}
