//! A replay that was cut off, and the same command again; `teammy resume`.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use serde_json::Value;

use crate::{Place, Ran, said};

/// Sixty lines, a second apart; every third holds a word of the watch list. The last line is long after the
/// others, so that a paced run never ends before it is killed.
fn recording() -> String {
    let text = |n: u32| if n.is_multiple_of(3) { format!("the deadline {n}") } else { format!("word {n}") };
    let second = |n: u32| if n == 59 { 3599 } else { n };
    (0..60).map(|n| said(second(n), &text(n))).collect()
}

const REPLAY: [&str; 8] =
    ["replay", "m.jsonl", "--json", "--all", "--db", "surrealkv://db", "--plugins", "talk-time,watch-list"];

/// The payloads of each source in order, independent of seqs.
fn contents(ran: &Ran) -> Vec<(String, Vec<Value>)> {
    ["transcription", "talk-time", "watch-list"]
        .map(|source| {
            let payloads = ran.of_source(source).into_iter().map(|packet| packet["payload"].clone());
            (source.to_owned(), payloads.collect())
        })
        .into()
}

/// Plays at a pace until this many lines are printed, and kills the program.
fn cut_off(place: &Place, lines: usize) {
    let mut command = place.teammy(&[&REPLAY[..], &["--speed", "40x"]].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The pipe stays open until the kill: on a closed pipe the program would end normally.
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..lines {
        assert!(stdout.read_line(&mut String::new()).unwrap() > 0, "it is killed in the middle");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_replay_that_was_killed_goes_on_where_it_was() {
    let place = Place::new();
    place.file("m.jsonl", recording());
    let whole = place
        .run(&["replay", "m.jsonl", "--json", "--all", "--plugins", "talk-time,watch-list"])
        .ends_with(0);
    let wanted = contents(&whole);
    assert_eq!(wanted.iter().map(|(_, all)| all.len()).collect::<Vec<_>>(), [60, 4, 20]);

    cut_off(&place, 10);
    cut_off(&place, 40);
    let ran = place.run(&REPLAY).ends_with(0);
    assert!(ran.stderr.contains("note: meeting m resumes: it already has "), "{ran:#?}");
    assert_eq!(contents(&ran), wanted, "each packet and each output once");

    // A further run has nothing to do, and prints the same.
    let again = place.run(&REPLAY).ends_with(0);
    assert!(
        again.stderr.contains("note: meeting m is complete: all of m.jsonl has been played"),
        "{again:#?}"
    );
    assert_eq!(again.packets(), ran.packets());
    assert_eq!(again.summary()["packets"], 0);
}

#[test]
fn a_transcript_goes_on_with_the_times_it_began_with() {
    let place = Place::new();
    // The last cue is long after the others, so that a paced run never ends before it is killed.
    let minute = |n: u32| if n == 49 { 59 } else { 0 };
    let cue = |n: u32| {
        let at = format!("00:{:02}:{n:02}", minute(n));
        format!("{at}.000 --> {at}.500\n<v Ada>word {n}\n\n")
    };
    place.file("m.jsonl", format!("WEBVTT\n\n{}", (0..50).map(cue).collect::<String>()));
    cut_off(&place, 10);
    let ran = place.run(&REPLAY).ends_with(0);
    let times: Vec<String> = ran
        .of_source("transcription")
        .iter()
        .map(|packet| packet["timestamp"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(times.len(), 50);
    let seconds = |time: &str| time.parse::<teammy::Timestamp>().unwrap().as_millisecond();
    let steps: Vec<i64> = times.windows(2).map(|two| seconds(&two[1]) - seconds(&two[0])).collect();
    assert!(steps[..48].iter().all(|step| *step == 1000), "{steps:?}");
}

#[test]
fn a_meeting_of_another_recording_is_left_alone() {
    let place = Place::new();
    place.file("m.jsonl", recording());
    cut_off(&place, 10);
    place.file("m.jsonl", recording() + &said(59, "one more"));
    let ran = place.run(&REPLAY).ends_with(1);
    assert!(ran.stderr.contains("error: meeting m exists already"), "{ran:#?}");
    assert!(
        ran.stderr.contains("hint: it was made from another recording, or with other options"),
        "{ran:#?}"
    );
    place.file("m.jsonl", recording());
    place.run(&REPLAY).ends_with(0);
}

#[test]
fn the_plugins_that_a_meeting_has_must_be_there() {
    let place = Place::new();
    place.file("m.jsonl", recording());
    cut_off(&place, 10);
    let fewer = ["replay", "m.jsonl", "--db", "surrealkv://db", "--plugins", "talk-time"];
    let ran = place.run(&fewer).ends_with(1);
    let error =
        "error: meeting m cannot resume without plugin instance watch-list, which is not configured here";
    assert!(ran.stderr.contains(error), "{ran:#?}");
    place.run(&REPLAY).ends_with(0);
}

#[test]
fn a_meeting_that_was_made_and_never_began_begins() {
    let place = Place::new();
    place.file("m.jsonl", recording());
    let url = format!("surrealkv://{}", place.path().join("db").display());
    let config = teammy::config::Config::from_toml(&format!("database.url = {url:?}")).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = teammy::open_store(&config.database).await.unwrap();
        let metadata = teammy::MeetingMetadata::new(teammy::MeetingId::new("m").unwrap());
        let instances = ["talk-time", "watch-list"].map(|name| teammy::Name::new(name).unwrap());
        store
            .create(metadata, instances.into(), teammy::Seq(65_536), teammy::Timestamp::UNIX_EPOCH)
            .await
            .unwrap();
        store.close().await.unwrap();
    });
    let ran = place.run(&REPLAY).ends_with(0);
    assert_eq!(contents(&ran).iter().map(|(_, all)| all.len()).collect::<Vec<_>>(), [60, 4, 20], "{ran:#?}");
}

const RESUME: [&str; 5] = ["resume", "m", "--json", "--db", "surrealkv://db"];

#[test]
fn a_meeting_that_was_left_is_resumed_as_far_as_it_goes() {
    let place = Place::new();
    place.file("m.jsonl", recording());
    cut_off(&place, 10);
    let ran = place.run(&RESUME).ends_with(0);
    assert!(
        ran.stderr.contains("note: meeting m has caught up and is still open: --end ends it"),
        "{ran:#?}"
    );
    assert_eq!(ran.summary()["meeting"], "m");
    // The replay continues after that, and each packet is there once.
    let whole = place.run(&REPLAY).ends_with(0);
    assert_eq!(contents(&whole).iter().map(|(_, all)| all.len()).collect::<Vec<_>>(), [60, 4, 20]);

    let ran = place.run(&RESUME).ends_with(0);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("note: meeting m is complete: there is nothing left to do"), "{ran:#?}");
}

#[test]
fn a_resumed_meeting_can_be_ended() {
    let place = Place::new();
    place.file("m.jsonl", recording());
    cut_off(&place, 10);
    let history = ["history", "m", "--json", "--db", "surrealkv://db"];
    let before = place.run(&history).ends_with(0).packets();
    let ran = place.run(&[&RESUME[..], &["--end"]].concat()).ends_with(0);
    let printed = ran.packets();
    assert_eq!(printed.last().unwrap()["source"], "talk-time", "its last table: {ran:#?}");
    assert!(!ran.stderr.contains("still open"), "{ran:#?}");
    let after = place.run(&history).ends_with(0).packets();
    assert_eq!(after[..before.len()], before);
    assert_eq!(after[before.len()..], printed, "only new packets are printed");
}

#[test]
fn what_cannot_be_resumed_is_refused() {
    let place = Place::new();
    let ran = place.run(&["resume", "m"]).ends_with(2);
    assert!(ran.stderr.contains("error: mem:// holds nothing"), "{ran:#?}");
    let ran = place.run(&RESUME).ends_with(1);
    assert!(ran.stderr.contains("error: there is no database in "), "{ran:#?}");
    assert!(!place.path().join("db").exists(), "resume must not create a database");

    place.file("m.jsonl", recording());
    place.file("teammy.toml", "[[plugin]]\nname = \"names\"\nkind = \"watch-list\"");
    let mut command = place.teammy(&["replay", "m.jsonl", "--db", "surrealkv://db"]);
    command.env("KILL_POINT", "appended:3").output().unwrap();
    let ran = place.run(&["resume", "n", "--db", "surrealkv://db"]).ends_with(1);
    assert!(ran.stderr.contains("error: there is no meeting n; did you mean m?"), "{ran:#?}");
    place.file("teammy.toml", "");
    let ran = place.run(&RESUME).ends_with(1);
    let error = "error: meeting m cannot resume without plugin instance names, which is not configured here";
    assert!(ran.stderr.contains(error), "{ran:#?}");
}
