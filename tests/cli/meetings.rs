//! Replays of whole recordings: their outputs and summaries.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};

use crate::{Place, Ran, payload, read, repository, said, sample};

/// The output that talk-time must have for these packets.
pub(crate) fn count(packets: &[Value]) -> Value {
    let mut rows = BTreeMap::<String, (u64, u64, u64)>::new();
    for packet in packets {
        let data = payload(packet);
        if packet["source"] == "participant" && data["event"] == "renamed" {
            // All speech under the old name belongs to the new name.
            if let Some(old) = rows.remove(packet["participant"].as_str().unwrap()) {
                let row = rows.entry(data["to"].as_str().unwrap().to_owned()).or_default();
                (row.0, row.1, row.2) = (row.0 + old.0, row.1 + old.1, row.2 + old.2);
            }
        }
        if packet["source"] != "transcription" || data["is_final"] == false {
            continue;
        }
        let row = rows.entry(packet["participant"].as_str().unwrap().to_owned()).or_default();
        row.0 += 1;
        row.1 += data["text"].as_str().unwrap().split_whitespace().count() as u64;
        row.2 += data["end_ms"].as_u64().unwrap() - data["start_ms"].as_u64().unwrap();
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by(|(a_name, a), (b_name, b)| b.1.cmp(&a.1).then(a_name.cmp(b_name)));
    let participants: Vec<Value> = rows
        .iter()
        .map(|(name, (turns, words, ms))| {
            json!({"name": name, "turns": turns, "words": words, "seconds": Ran::seconds(*ms)})
        })
        .collect();
    let (turns, words): (u64, u64) = rows.iter().fold((0, 0), |sum, (_, row)| (sum.0 + row.0, sum.1 + row.1));
    json!({"participants": participants, "turns": turns, "words": words})
}

impl Ran {
    fn seconds(ms: u64) -> Value {
        serde_json::from_str(&format!("{}.{:03}", ms / 1000, ms % 1000)).unwrap()
    }
}

fn totals_are_right(path: &Path) {
    let file = path.to_str().unwrap();
    let ran = Place::new().run(&["replay", file, "--plugins", "talk-time", "--json"]).ends_with(0);
    let outputs = ran.packets();
    assert_eq!(outputs.last().unwrap()["payload"], count(&read(path)), "{file}");
    let (packets, summary) = (read(path), ran.summary());
    assert_eq!(summary["packets"], packets.len(), "{file}");
    let is_heard = |packet: &&Value| packet["source"] == "transcription" || packet["source"] == "participant";
    let taken = packets.iter().filter(is_heard).count();
    let instance = &summary["instances"][0];
    assert_eq!((&instance["name"], &instance["delivered"]), (&json!("talk-time"), &json!(taken)), "{file}");
    assert_eq!(instance["outputs"], outputs.len(), "{file}");
    assert_eq!(instance["errors"], 0, "{file}");
}

#[test]
fn talk_time_counts_what_is_in_the_samples() {
    for name in ["standup.jsonl", "interview.jsonl"] {
        totals_are_right(&repository("samples").join(name));
    }
}

#[test]
fn talk_time_counts_what_is_in_real_meetings() {
    let folder = repository("../shared/data/meetings");
    let Ok(entries) = fs::read_dir(&folder) else {
        eprintln!("skipped: there is no folder {} with real meetings", folder.display());
        return;
    };
    let files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    let files: Vec<_> =
        files.iter().filter(|path| path.extension().is_some_and(|it| it == "jsonl")).collect();
    assert_eq!(files.len(), 35, "the folder is known to hold 35 meetings");
    for file in files {
        totals_are_right(file);
    }
}

#[test]
fn a_replay_prints_outputs_and_a_summary() {
    let ran = Place::new()
        .run(&["replay", &sample("standup.jsonl"), "--json", "--plugins", "talk-time,watch-list"])
        .ends_with(0);
    let packets = ran.packets();
    for packet in &packets {
        assert!(packet["source"] == "talk-time" || packet["source"] == "watch-list", "{packet}");
        assert_eq!(packet["meeting"], "standup");
        assert_ne!(packet["causes"], json!([]), "an output comes from something: {packet}");
    }
    assert!(
        packets.windows(2).all(|two| two[0]["seq"].as_u64() < two[1]["seq"].as_u64()),
        "in the log's order"
    );
    let summary = ran.summary();
    assert_eq!(summary["meeting"], "standup");
    assert_eq!(summary["skipped"], 0);
    assert!(summary["seconds"].is_number());
    for instance in summary["instances"].as_array().unwrap() {
        let source = instance["name"].as_str().unwrap();
        assert_eq!(instance["outputs"], ran.of_source(source).len());
        assert_eq!(instance["dead_letters"], 0);
        let [p50, p99] = ["hook_p50_us", "hook_p99_us"].map(|key| instance[key].as_f64().unwrap());
        // Parsing JSON takes more than 0.3 µs on any machine, and less than a minute.
        assert!(p50 > 0.3 && p50 <= p99 && p99 < 60e6, "{instance}");
    }
    assert_eq!(ran.stderr, "", "with JSON lines there are no other messages");
}

#[test]
fn people_get_lines_and_a_table() {
    let ran = Place::new().run(&["replay", &sample("standup.jsonl"), "--plugins", "watch-list"]).ends_with(0);
    assert!(
        ran.stdout.starts_with("[08:30:57] watch-list  {\"hits\":[{\"term\":\"action item\""),
        "{ran:#?}"
    );
    assert!(ran.stderr.starts_with("standup: 58 packets in "), "{ran:#?}");
    assert!(ran.stderr.contains("dead letters") && ran.stderr.contains(" watch-list "), "{ran:#?}");
}

#[test]
fn all_shows_what_went_in_as_it_was() {
    let path = repository("samples/interview.jsonl");
    let ran = Place::new().run(&["replay", path.to_str().unwrap(), "--json", "--all"]).ends_with(0);
    let inputs: Vec<_> = ran.packets().into_iter().filter(|packet| packet["causes"] == json!([])).collect();
    let recorded = read(&path);
    assert_eq!(inputs.len(), recorded.len());
    for (input, recorded) in inputs.iter().zip(&recorded) {
        for key in ["source", "participant", "payload"] {
            assert_eq!(input[key], recorded[key], "{input}");
        }
    }
    assert_eq!(ran.of_source("meeting"), [Value::Null; 0]);
    assert!(!ran.of_source("talk-time").is_empty());
}

/// A log that was printed, without what differs from run to run: packets are numbered by source, and what
/// comes of a meeting's own packets has the time at which it was played.
pub(crate) fn log(packets: Vec<Value>) -> BTreeMap<String, Vec<Value>> {
    let mut log = BTreeMap::<String, Vec<Value>>::new();
    let mut names = BTreeMap::new();
    for mut packet in packets {
        let source = packet["source"].as_str().unwrap().to_owned();
        let of_source = log.entry(source.clone()).or_default();
        names.insert(packet["seq"].as_u64().unwrap(), format!("{source} {}", of_source.len()));
        let causes = packet["causes"].as_array().unwrap().iter();
        let causes: Vec<_> = causes.map(|seq| names.get(&seq.as_u64().unwrap()).cloned()).collect();
        for key in ["seq", "received_at"] {
            assert_ne!(packet.as_object_mut().unwrap().remove(key), None);
        }
        if causes.contains(&None) {
            packet["timestamp"].take();
        }
        packet["causes"] = json!(causes);
        of_source.push(packet);
    }
    log
}

#[test]
fn what_is_printed_can_be_played_again() {
    let place = Place::new();
    let options = ["--json", "--all", "--meeting", "m", "--plugins", "talk-time,watch-list"];
    let replay = |file: &str| place.run(&[&["replay", file], &options[..]].concat()).ends_with(0);
    let first = replay(&sample("standup.jsonl"));
    let outputs = first.packets().iter().filter(|packet| packet["causes"] != json!([])).count();
    assert!(outputs > 2, "{first:#?}");

    let printed: Vec<_> = first.stdout.lines().filter(|line| line.contains(r#""type":"packet""#)).collect();
    let again = replay(place.file("again.jsonl", printed.join("\n")));
    assert_eq!(log(again.packets()), log(first.packets()));
    let note = "packets that plugins had put out; a replay makes them anew";
    assert_eq!(again.stderr, format!("note: left out {outputs} {note}\n"));

    let summary = place.run(&["replay", place.file("all.jsonl", &first.stdout)]).ends_with(2);
    assert!(summary.stderr.contains("`type` is not \"packet\": this is something else"), "{summary:#?}");
    let only: Vec<_> = first.of_source("watch-list").iter().map(Value::to_string).collect();
    let only = place.run(&["replay", place.file("only.jsonl", only.join("\n"))]).ends_with(2);
    assert!(only.stderr.contains("nothing in it was published; it has what plugins put out"), "{only:#?}");
}

#[test]
fn payloads_of_all_kinds_can_be_played_again() {
    let place = Place::new();
    place.file("teammy.toml", "[[source]]\nname = \"notes\"\n");
    let payloads = [
        (r#""payload":null"#, r#""payload":null"#),
        (r#""data":"a""#, r#""payload":"a""#),
        (
            r#""payload":{"b": 12345678901234567890.10,"a":1E400,"a":"\ud800"}"#,
            r#""payload":{"b": 12345678901234567890.10,"a":1E400,"a":"\ud800"}"#,
        ),
        (r#""payload_text":"a\nb""#, r#""payload_text":"a\nb""#),
        (r#""payload_text":"""#, r#""payload_text":"""#),
        (r#""payload_base64":"/wA""#, r#""payload_base64":"/wA=""#),
    ];
    let line = |(given, _): &(&str, &str)| {
        format!(r#"{{"source":"notes","timestamp":"2026-01-05T09:00:00Z",{given}}}"#) + "\n"
    };
    let replay = |file: &str| {
        let ran = place.run(&["replay", file, "--json", "--all", "--meeting", "m", "--plugins", "talk-time"]);
        let ran = ran.ends_with(0);
        ran.stdout.lines().filter(|line| line.contains(r#""source":"notes""#)).map(str::to_owned).collect()
    };
    let first: Vec<String> = replay(place.file("m.jsonl", payloads.iter().map(line).collect::<String>()));
    assert_eq!(first.len(), payloads.len());
    for (printed, (_, payload)) in first.iter().zip(payloads) {
        assert!(printed.contains(&format!(r#""participant":null,{payload},"producer""#)), "{printed}");
    }
    let again: Vec<String> = replay(place.file("again.jsonl", first.join("\n")));
    let parts = |line: &String| {
        let (before, rest) = line.split_once(r#""received_at""#).unwrap();
        let (_, after) = rest.split_once(r#""participant""#).unwrap();
        [before.to_owned(), after.to_owned()]
    };
    assert!(again.iter().map(parts).eq(first.iter().map(parts)), "{again:#?} {first:#?}");
}

#[test]
fn only_so_many_packets_are_played() {
    let place = Place::new();
    let text = said(0, "one") + &said(1, "two") + "what comes later is not read\n";
    let file = place.file("m.jsonl", text);
    let ran = place.run(&["replay", file, "--limit", "2", "--plugins", "talk-time", "--json"]).ends_with(0);
    assert_eq!(ran.packets()[0]["payload"]["turns"], 2);
    assert_eq!(ran.summary()["packets"], 2);
}

#[test]
fn a_speed_follows_the_timestamps() {
    let place = Place::new();
    let file = place.file("m.jsonl", said(0, "one") + &said(3, "two"));
    let ran = place.run(&["replay", file, "--speed", "10x", "--json"]).ends_with(0);
    assert!(ran.summary()["seconds"].as_f64().unwrap() >= 0.3, "{ran:#?}");
}

#[test]
fn one_plugin_runs_twice_with_two_tables() {
    let place = Place::new();
    place.file(
        "teammy.toml",
        r#"
            [[plugin]]
            name = "dates"
            kind = "watch-list"
            config = { terms = ["friday", "monday"] }
            [[plugin]]
            name = "fruit"
            kind = "watch-list"
            config = { terms = ["pear"] }
        "#,
    );
    let file = place.file("m.jsonl", said(0, "On Friday.") + &said(1, "A pear on Monday?") + &said(2, "No."));
    let ran = place.run(&["replay", file, "--json"]).ends_with(0);
    let texts = |source| {
        let hits = ran.of_source(source).into_iter().map(|packet| packet["payload"]["text"].clone());
        hits.collect::<Vec<_>>()
    };
    assert_eq!(texts("dates"), ["On Friday.", "A pear on Monday?"]);
    assert_eq!(texts("fruit"), ["A pear on Monday?"]);
}

#[test]
fn an_instance_takes_anothers_output_by_configuration() {
    let place = Place::new();
    let configuration = r#"
        [[plugin]]
        name = "echo"
        kind = "watch-list"
        sources = { transcription = "dates" }
        config = { terms = ["pear"] }
        [[plugin]]
        name = "dates"
        kind = "watch-list"
        config = { terms = ["monday"] }
    "#;
    let configuration = place.file("own.toml", configuration);
    let file =
        place.file("m.jsonl", said(0, "A pear.") + &said(1, "Monday?") + &said(2, "A pear on Monday!"));
    let ran = place.run(&["replay", file, "--json", "--all", "--config", configuration]).ends_with(0);
    let (dates, echo) = (ran.of_source("dates"), ran.of_source("echo"));
    assert_eq!((dates.len(), echo.len()), (2, 1));
    assert_eq!(echo[0]["payload"]["text"], "A pear on Monday!");
    assert_eq!(echo[0]["causes"], json!([dates[1]["seq"]]), "the output came from an output");
    assert_eq!(echo[0]["timestamp"], dates[1]["timestamp"], "and keeps its time");
    let said = ran.of_source("transcription");
    assert_eq!(dates[1]["causes"], json!([said[2]["seq"]]));

    let ran =
        place.run(&["replay", file, "--json", "--config", configuration, "--plugins", "echo"]).ends_with(0);
    assert_eq!(ran.packets(), [Value::Null; 0]);
    assert!(ran.stderr.contains("echo takes the output of dates, which --plugins leaves out"), "{ran:#?}");
}
