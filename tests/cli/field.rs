//! The files in `tests/field`, as people have them, and variants of each kind.

use serde_json::{Value, json};

use crate::{
    Place, Ran,
    llm::server::{CannedAnswer, FakeServer},
    repository,
};

fn field(name: &str) -> String {
    repository("tests/field").join(name).to_str().unwrap().to_owned()
}

/// Replays a file of the folder.
fn play(name: &str, options: &[&str]) -> Ran {
    let file = field(name);
    let replay = ["replay", &file, "--plugins", "talk-time", "--json", "--all"];
    Place::new().run(&[&replay, options].concat())
}

/// Replays a text.
fn play_text(text: &str) -> Ran {
    let place = Place::new();
    let file = place.file("m.vtt", text);
    place.run(&["replay", file, "--plugins", "talk-time", "--json", "--all"])
}

/// The transcription packets, as `name start-end text`.
fn said(ran: &Ran) -> Vec<String> {
    let packets = ran.of_source("transcription").into_iter();
    let line = |packet: Value| {
        let data = &packet["payload"];
        let name = packet["participant"].as_str().unwrap_or("-").to_owned();
        format!("{name} {}-{} {}", data["start_ms"], data["end_ms"], data["text"].as_str().unwrap())
    };
    packets.map(line).collect()
}

/// The last output of talk-time: name, turns, words, seconds.
fn talked(ran: &Ran) -> Vec<(String, u64, u64, f64)> {
    let table = ran.of_source("talk-time").pop().unwrap();
    let rows = table["payload"]["participants"].as_array().unwrap().clone();
    let row = |row: Value| {
        let number = |key: &str| row[key].as_u64().unwrap();
        (
            row["name"].as_str().unwrap().to_owned(),
            number("turns"),
            number("words"),
            row["seconds"].as_f64().unwrap(),
        )
    };
    rows.into_iter().map(row).collect()
}

fn row(name: &str, turns: u64, words: u64, seconds: f64) -> (String, u64, u64, f64) {
    (name.to_owned(), turns, words, seconds)
}

#[test]
fn a01_times_with_short_fields() {
    let ran = play("a01-teams-graph-short-times.vtt", &[]).ends_with(0);
    // `.90` counts milliseconds where fields have no leading zeros and `.320` has a final one.
    assert_eq!(talked(&ran), [row("Nadia Berg", 1, 6, 5.32), row("Olu Adeyemi", 1, 5, 2.41)]);
}

#[test]
fn a02_times_before_zero() {
    let ran = play("a02-teams-negative-offset.vtt", &["--started-at", "2026-01-05T09:00:00Z"]).ends_with(0);
    assert_eq!(talked(&ran)[0], row("Nadia Berg", 2, 9, 3.9));
    let said = said(&ran);
    assert_eq!(said[0], "Nadia Berg 0-2900 Somebody started the transcript late.");
    assert_eq!((said.len(), said[2].as_str()), (3, "Nadia Berg 7100-8100 Let us go on."));
    for packet in ran.packets() {
        assert!(packet["timestamp"].as_str().unwrap() >= "2026-01-05T09:00:00Z", "{packet}");
    }
}

#[test]
fn a03_a_json_object_a_cue() {
    let ran = play("a03-teams-metadatacontent.vtt", &[]).ends_with(0);
    assert_eq!(
        said(&ran),
        ["Nadia Berg 16246-17726 The gate is open.", "Olu Adeyemi 18000-19500 Then I drive in."]
    );
}

#[test]
fn a04_an_empty_line_between_times_and_text() {
    let ran = play("a04-teams-unattributed-blank-after-times.vtt", &[]).ends_with(0);
    assert_eq!(said(&ran).len(), 2);
    assert_eq!(talked(&ran), [row("unknown", 2, 8, 4.0)]);
}

#[test]
fn a05_a_first_line_of_one_blank() {
    let ran = play("a05-youtube-auto.vtt", &[]).ends_with(0);
    let said = said(&ran);
    assert_eq!(said[0], "- 160-2389 the ferry leaves");
    assert!(said.iter().any(|said| said.ends_with("at ten")), "{said:?}");
    assert_eq!(ran.summary()["skipped"], 0);
}

#[test]
fn a07_a_label_only_where_the_speaker_changes() {
    let ran = play("a07-srt-label-on-change.srt", &[]).ends_with(0);
    let turns: Vec<_> = talked(&ran).into_iter().map(|(name, turns, ..)| (name, turns)).collect();
    assert_eq!(turns, [("Speaker 1".to_owned(), 4), ("Speaker 2".to_owned(), 2)]);
    assert!(!said(&ran).iter().any(|said| said.contains("Speaker") && said.contains(':')));
}

#[test]
fn a08_a_cue_that_ends_before_it_begins() {
    for options in [&[][..], &["--keep-going"]] {
        let ran = play("a08-whispercpp-end-before-start.srt", options).ends_with(0);
        let said = said(&ran);
        assert_eq!(said.len(), 4);
        assert_eq!(said[1], "- 2923290-2923290 the harbour.");
        assert_eq!((talked(&ran)[0].2, ran.summary()["skipped"].clone()), (20, json!(0)));
    }
}

#[test]
fn a18_two_names_in_a_cue() {
    let ran = play("a18-two-names-in-one-cue.srt", &[]).ends_with(0);
    let turns: Vec<_> = talked(&ran).into_iter().map(|(name, turns, ..)| (name, turns)).collect();
    assert_eq!(turns, [("Nadia".to_owned(), 2), ("Olu".to_owned(), 2)]);
}

#[test]
fn a21_doubled_line_ends() {
    let ran = play("a21-crcrlf.srt", &[]).ends_with(0);
    assert_eq!(said(&ran), ["Nadia 1000-2000 one", "Olu 3000-4000 two"]);
}

#[test]
fn a24_an_arrow_in_speech() {
    let ran = play("a24-arrow-in-text.vtt", &[]).ends_with(0);
    let said = said(&ran);
    assert_eq!(said.len(), 4);
    assert!(
        said[1].ends_with("- A --> B") && said[2].ends_with("02:34.567 --> that is when the alert came"),
        "{said:?}"
    );
}

#[test]
fn a28_labels_in_brackets() {
    let ran = play("a28-bracket-labels.vtt", &[]).ends_with(0);
    assert_eq!(
        said(&ran),
        ["Speaker 1 0-5420 So tell me about the yard.", "Speaker 2 5420-12180 It was confusing at first."]
    );
}

/// The final minutes, from a model that answers with no content.
fn minutes(name: &str, options: &[&str]) -> Value {
    let server = FakeServer::start(|_: &_| CannedAnswer::text("Nothing much.".to_owned()));
    let place = Place::new();
    let model = format!("[[llm.model]]\nname = \"m\"\nbase_url = \"{}\"\n", server.base_url());
    place.file("teammy.toml", model);
    let file = field(name);
    let replay = ["replay", &file, "--plugins", "minutes", "--json"];
    let ran = place.run(&[&replay, options].concat()).ends_with(0);
    ran.of_source("minutes").pop().unwrap()["payload"]["minutes"].clone()
}

fn at(time: &Value) -> teammy::Timestamp {
    time.as_str().unwrap().parse().unwrap()
}

#[test]
fn a32_the_last_cue_is_not_the_latest() {
    let minutes = minutes("a32-overlap-last-not-latest.vtt", &["--started-at", "2026-01-05T09:00:00Z"]);
    assert_eq!(minutes["started_at"], "2026-01-05T09:00:00Z");
    assert!(minutes["ended_at"].as_str().unwrap().starts_with("2026-01-05T09:10:0"), "{minutes}");
}

#[test]
fn a34_a_transcript_pasted_as_text() {
    let refused = play("a34-teams-docx-pasted.txt", &[]).ends_with(2);
    for says in ["looks like a Teams transcript pasted from a document", "download", "WebVTT or SubRip"] {
        assert!(refused.stderr.contains(says), "{refused:#?}");
    }
    assert_eq!(refused.stdout, "");
}

#[test]
fn c04b_a_clock_that_goes_back() {
    let minutes = minutes("c04b-clock-back-to-the-end.jsonl", &[]);
    assert!(at(&minutes["ended_at"]) >= at(&minutes["started_at"]), "{minutes}");
}

#[test]
fn c09_somebody_is_renamed() {
    let ran = play("c09-rename.jsonl", &[]).ends_with(0);
    let turns: Vec<_> =
        talked(&ran).into_iter().map(|(name, turns, words, _)| (name, turns, words)).collect();
    assert_eq!(turns, [("Olu".to_owned(), 3, 9), ("Nadia".to_owned(), 1, 1)]);
    assert_eq!(minutes("c09-rename.jsonl", &[])["attendees"], json!(["Olu", "Nadia"]));
}

#[test]
fn c12_names_alike() {
    let ran = play("c12-names-alike.jsonl", &[]).ends_with(0);
    let turns: Vec<_> = talked(&ran).into_iter().map(|(name, turns, ..)| (name, turns)).collect();
    assert_eq!(turns, [("unknown".to_owned(), 3), ("Ada".to_owned(), 2), ("José".to_owned(), 2)]);
}

#[test]
fn c15_whole_numbers_as_floats() {
    let ran = play("c15-float-ms.jsonl", &[]).ends_with(0);
    let talked = talked(&ran);
    // 1200 ms, 2400 - 1201 ms (rounded), 0, 10 ms, 0; a packet that is not final does not count.
    assert_eq!(talked, [row("Nadia", 5, 8, 2.409)]);
    assert_eq!(ran.summary()["instances"][0]["dead_letters"], 0);
}

#[test]
fn times_of_all_kinds() {
    for (times, expected) in [
        ("0:05.5 --> 0:06", "5500-6000"),
        ("00:00:05 --> 00:00:06.25", "5000-6250"),
        ("00:00:05,5 --> 1:00:00", "5500-3600000"),
        ("5:3.007 --> 5:04.", "303007-304000"),
        ("-00:01.000 --> 00:01.000", "0-2000"),
        ("00:09.000 --> 00:02.000", "9000-9000"),
    ] {
        for head in ["WEBVTT\n\n", "1\n", ""] {
            let ran = play_text(&format!("{head}{times} align:start\na\n")).ends_with(0);
            assert_eq!(said(&ran), [format!("- {expected} a")], "{times}");
        }
    }
    for times in
        ["00:00:61.000 --> 00:02:00.000", "00:00:05.1234 --> 00:00:06.000", "00:00:01:12 --> 00:00:02:00"]
    {
        let refused = play_text(&format!("WEBVTT\n\n{times}\na\n")).ends_with(2);
        assert!(refused.stderr.contains("write hours, minutes and seconds"), "{refused:#?}");
    }
}

#[test]
fn what_keep_going_leaves_out_is_counted() {
    let place = Place::new();
    let text = "WEBVTT\n\n00:01.000 --> 00:02.000\nfine\n\n00:00:99.000 --> 00:02:00.000\none two three\n\nfour five\n";
    let file = place.file("m.vtt", text);
    let ran = place.run(&["replay", file, "--plugins", "talk-time", "--json", "--keep-going"]).ends_with(0);
    assert!(ran.stderr.contains("warning: skipped 2 cues with 5 words in all"), "{ran:#?}");
    assert_eq!((&ran.summary()["skipped"], &ran.summary()["skipped_words"]), (&json!(2), &json!(5)));
}

#[test]
fn plain_text_transcripts_are_recognised() {
    for text in [
        "Nadia Berg\n0:05\nWe open the yard.\n",
        "Nadia Berg   0:05\nWe open the yard.\n",
        "[00:00:00.000 --> 00:00:05.420]   So tell me\n",
        "09:01:02 From Nadia Berg to Everyone: hello\n",
        "Nadia Berg: We open.\nOlu: Good.\n",
        "Transcript\n00:00:05\nNadia: we open\n",
    ] {
        let refused = play_text(text).ends_with(2);
        for says in ["looks like a plain-text transcript", "export it as .vtt or .srt", "WebVTT or SubRip"] {
            assert!(refused.stderr.contains(says), "{text}: {refused:#?}");
        }
    }
}
