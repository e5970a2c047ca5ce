//! Transcripts as people have them: WebVTT from Zoom and Teams, SubRip; compressed, in other encodings,
//! broken.

use std::{
    fmt::Write as _,
    fs,
    io::{ErrorKind, Write as _},
    path::PathBuf,
    process::Stdio,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use crate::{Place, Ran, meetings::count, payload, read, repository, said, sample};

/// A way to write a transcript.
#[derive(Debug, Clone, Copy)]
enum Form {
    Zoom,
    Teams,
    SubRip,
}

const FORMS: [Form; 3] = [Form::Zoom, Form::Teams, Form::SubRip];

impl Form {
    fn file(self) -> &'static str {
        match self {
            Self::Zoom => "GMT20260105-090000_Recording.transcript.vtt",
            Self::Teams => "Weekly sync.vtt",
            Self::SubRip => "captions.srt",
        }
    }

    /// The speech of a recorded meeting, as a program of this kind writes it.
    fn write(self, packets: &[Value]) -> String {
        let said = packets.iter().filter(|packet| packet["source"] == "transcription");
        let mut out = match self {
            Self::Zoom | Self::Teams => "WEBVTT\n\n".to_owned(),
            Self::SubRip => String::new(),
        };
        for (n, packet) in (1..).zip(said) {
            let (name, data) = (packet["participant"].as_str().unwrap(), payload(packet));
            let text = data["text"].as_str().unwrap();
            let [start, end] = ["start_ms", "end_ms"].map(|key| self.clock(data[key].as_u64().unwrap()));
            let (number, text) = match self {
                Self::Zoom => (n.to_string(), escaped(&format!("{name}: {text}"))),
                Self::Teams => {
                    let number = format!("0c6e5b86-4f4f-4d2c-8a54-2fdd0ddd0b1e/{n}-0");
                    (number, format!("<v {}>{}</v>", escaped(name), escaped(text)))
                }
                Self::SubRip => (n.to_string(), format!("{name}: {text}")),
            };
            write!(out, "{number}\n{start} --> {end}\n{text}\n\n").unwrap();
        }
        out
    }

    fn clock(self, ms: u64) -> String {
        let point = if matches!(self, Self::SubRip) { ',' } else { '.' };
        let (hours, minutes, seconds, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
        format!("{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}")
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// The files of the real meetings; none if their folder does not exist.
fn meetings() -> Vec<PathBuf> {
    let folder = repository("../shared/data/meetings");
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("skipped: there is no folder {} with real meetings", folder.display());
            return Vec::new();
        }
        entries => entries.unwrap(),
    };
    let files = entries.map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == "jsonl")).collect();
    assert_eq!(files.len(), 35, "the folder is known to hold 35 meetings");
    files
}

/// Checks that each real meeting in this form gives the same talk-time as its JSON lines, as
/// [`crate::meetings`] counts it.
fn as_its_packets(form: Form, stored: impl Fn(String) -> Vec<u8>) {
    let place = Place::new();
    for path in meetings() {
        let packets = read(&path);
        let file = place.file(form.file(), stored(form.write(&packets)));
        let arguments = ["replay", file, "--meeting", "m", "--plugins", "talk-time", "--json"];
        let ran = place.run(&arguments).ends_with(0);
        let last = ran.packets().pop().unwrap();
        // A transcript does not say when participants join, leave or are renamed.
        let said: Vec<_> =
            packets.iter().filter(|packet| packet["source"] == "transcription").cloned().collect();
        assert_eq!(last["payload"], count(&said), "{} as {form:?}", path.display());
        assert_eq!(ran.summary()["packets"], packets.len(), "{} as {form:?}", path.display());
    }
}

#[test]
fn real_meetings_from_zoom_with_windows_line_ends() {
    as_its_packets(Form::Zoom, |text| text.replace('\n', "\r\n").into_bytes());
}

#[test]
fn real_meetings_from_teams() {
    as_its_packets(Form::Teams, String::into_bytes);
}

#[test]
fn real_meetings_as_compressed_subrip() {
    as_its_packets(Form::SubRip, gzip);
}

/// Speaker and text of each transcription packet.
fn spoken(ran: &Ran) -> Vec<(Value, Value)> {
    let said = ran.of_source("transcription").into_iter();
    said.map(|packet| (packet["participant"].clone(), packet["payload"]["text"].clone())).collect()
}

fn replay(place: &Place, file: &str, options: &[&str]) -> Ran {
    let arguments = ["replay", file, "--meeting", "m", "--plugins", "talk-time", "--all", "--json"];
    place.run(&[&arguments, options].concat())
}

/// Replays these bytes through a pipe.
fn replay_piped(place: &Place, bytes: &[u8], options: &[&str]) -> Ran {
    let arguments = ["replay", "-", "--meeting", "m", "--plugins", "talk-time", "--all", "--json"];
    let mut command = place.teammy(&[&arguments, options].concat());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn the_sample_is_the_start_of_its_meeting() {
    let (place, file) = (Place::new(), sample("standup.vtt"));
    let ran = replay(&place, &file, &["--started-at", "2026-03-02T08:30:00Z"]).ends_with(0);
    let recorded = read(&repository("samples/standup.jsonl"));
    let recorded = recorded.iter().filter(|packet| packet["source"] == "transcription").take(14);
    let said = ran.of_source("transcription");
    assert_eq!(said.len(), 14);
    for (said, recorded) in said.iter().zip(recorded) {
        assert_eq!(said["participant"], recorded["participant"]);
        assert_eq!(said["payload"], recorded["payload"]);
        let at = |packet: &Value| packet["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert_eq!(at(said), at(recorded));
    }
    assert_eq!(ran.of_source("talk-time").pop().unwrap()["payload"]["turns"], 14);
}

#[test]
fn names_of_all_kinds() {
    let names = [
        "Ops: Grace",
        "Ops: Linus",
        "Ana [UX: web] (she/her)",
        "Zoë 🦊👩🏽‍💻 & Co",
        "دانا: فريق",
        "\u{200f}משה (דיר)",
        "田中：太郎",
        "<Bo>",
    ];
    let sayings = ["Hello.", "Note: it is 10:30.", "R&D > sales; so: what?"];
    let packets: Vec<Value> = sayings
        .iter()
        .flat_map(|text| names.iter().map(move |name| (name, text)))
        .map(|(name, text)| {
            let data = json!({"text": text, "start_ms": 0, "end_ms": 900});
            json!({"source": "transcription", "participant": name, "payload": data})
        })
        .collect();
    let expected: Vec<_> =
        packets.iter().map(|it| (it["participant"].clone(), it["payload"]["text"].clone())).collect();
    for form in FORMS {
        let place = Place::new();
        let ran = replay(&place, place.file(form.file(), form.write(&packets)), &[]).ends_with(0);
        assert_eq!(spoken(&ran), expected, "{form:?}");
        assert_eq!(
            ran.of_source("talk-time").pop().unwrap()["payload"]["participants"].as_array().unwrap().len(),
            8
        );
    }
}

const AT: &str = "00:00:01.000 --> 00:00:02.000";

#[test]
fn odd_transcripts_are_read_right() {
    let place = Place::new();
    let plain = format!("WEBVTT\n\n1\n{AT}\nÅda: one\n\n2\n00:00:01.500 --> 00:00:02.500\nBo: two\n");
    let utf16: Vec<u8> = format!("\u{feff}{plain}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let latin1: Vec<u8> = plain.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    for (kind, bytes, options) in [
        ("no header", plain.replace("WEBVTT\n\n", "").into_bytes(), &[][..]),
        ("no hours", plain.replace("00:00:0", "00:0").into_bytes(), &[]),
        ("lone CR", plain.replace('\n', "\r").into_bytes(), &[]),
        ("a byte order mark", format!("\u{feff}{plain}").into_bytes(), &[]),
        ("UTF-16", utf16, &[]),
        ("Latin-1", latin1, &["--encoding", "latin1"]),
        ("gzip", gzip(&plain), &[]),
        ("gzip twice", gzip(gzip(&plain)), &[]),
        ("gzip and zeros", [gzip(&plain), vec![0; 512]].concat(), &[]),
        (
            "comments",
            plain.replacen("\n\n", "\nKind: captions\n\nNOTE a\nb\n\nSTYLE\n::cue{}\n\n", 1).into_bytes(),
            &[],
        ),
        ("no blank lines", plain.replace("\n\n", "\n").into_bytes(), &[]),
        (
            "marks",
            plain.replace("one", "<i>one</i>").replace(AT, &format!("{AT} align:start")).into_bytes(),
            &[],
        ),
        (
            "one packet more, and junk",
            format!("{plain}\n{AT}\nthree\n\njunk").into_bytes(),
            &["--limit", "2"],
        ),
    ] {
        let ran = replay(&place, place.file("x", bytes), options).ends_with(0);
        assert_eq!(spoken(&ran), [(json!("Åda"), json!("one")), (json!("Bo"), json!("two"))], "{kind}");
        assert_eq!(ran.summary()["packets"], 2, "{kind}");
        assert_eq!(ran.stderr, "", "{kind}");
    }
}

#[test]
fn broken_transcripts_are_refused_or_broken_cues_skipped() {
    let place = Place::new();
    let with =
        |bad: &str| format!("WEBVTT\n\n1\n{AT}\nAda: one\n\n2\n{bad}\nAda: two\n\n3\n{AT}\nAda: three\n");
    for (bad, says) in [
        (
            "00:00:99.000 --> 00:02:00.000",
            "line 8: \"00:00:99.000\" is not a cue's time; write hours, minutes and seconds",
        ),
        ("00:01 -> 00:02", "line 8: expected a cue's times, such as 00:01:02.400 --> 00:01:05.900"),
        ("00:00:01.000 --> 9999999999:00:00.000", "line 8: the cue's times are beyond any date"),
    ] {
        let file = place.file("x.vtt", with(bad));
        let ran = replay(&place, file, &[]).ends_with(2);
        assert!(ran.stderr.contains(&format!("error: x.vtt, {says}")), "{ran:#?}");
        assert!(
            ran.stderr.contains("hint: correct the line, or skip such lines with --keep-going"),
            "{ran:#?}"
        );
        assert_eq!(ran.stdout, "");
        let ran = replay(&place, file, &["--keep-going"]).ends_with(0);
        assert!(ran.stderr.contains(&format!("warning: skipped x.vtt, {says}")), "{ran:#?}");
        assert_eq!(spoken(&ran), [(json!("Ada"), json!("one")), (json!("Ada"), json!("three"))]);
        assert_eq!(ran.summary()["skipped"], 1);
    }
    for (bytes, says) in [
        (b"WEBVTT\n\n".to_vec(), "x.vtt holds no packet: it has no cue with text"),
        (
            with(AT).replace("one", "\u{e9}").chars().map(|c| c as u8).collect(),
            "x.vtt, line 5, column 6: this is not UTF-8 text; save",
        ),
        (gzip(with(AT))[..60].to_vec(), "cannot unpack x.vtt: its gzip data is damaged or cut off"),
        (
            [gzip(with(AT)), b"<html>".to_vec()].concat(),
            "cannot unpack x.vtt: other data follows its gzip data; unpack it with `gzip -d`",
        ),
        (
            b"PK\x03\x04\x14\0\x06\0\x08\0".to_vec(),
            "x.vtt is a ZIP archive or a Word document, not text; export",
        ),
        (
            format!("WEBVTT\n\n{AT}\n{}", "x".repeat(3 << 20)).into_bytes(),
            "x.vtt, line 4: the line is longer than any packet",
        ),
        (
            format!("WEBVTT\n\n{AT}\n{}", "x\n".repeat(1 << 20)).into_bytes(),
            "x.vtt, line 3: the cue's text is longer than",
        ),
    ] {
        let ran = replay(&place, place.file("x.vtt", bytes), &[]).ends_with(2);
        assert!(
            ran.stderr.starts_with("error: ") && ran.stderr.contains(says),
            "should say {says:?}: {ran:#?}"
        );
        assert!(ran.stderr.len() < 1000 && ran.stdout.is_empty(), "{ran:#?}");
    }
}

#[test]
fn a_transcript_comes_from_standard_input() {
    let place = Place::new();
    let text = gzip(format!("{AT}\nOps: Ada: one\n\n{AT}\nOps: Ada: two\n"));
    let ran = replay_piped(&place, &text, &[]).ends_with(0);
    assert_eq!(spoken(&ran), [(json!("Ops: Ada"), json!("one")), (json!("Ops: Ada"), json!("two"))]);
    // The names depend on what is read of the pipe.
    let ran = replay_piped(&Place::new(), &text, &["--limit", "1"]).ends_with(0);
    assert_eq!(spoken(&ran), [(json!("Ops"), json!("Ada: one"))]);
    let place = Place::new();
    let ran = replay(&place, place.file("m.vtt", text), &["--limit", "1"]).ends_with(0);
    assert_eq!(spoken(&ran), [(json!("Ops: Ada"), json!("one"))]);
}

#[test]
fn a_name_alone_is_no_packet() {
    let place = Place::new();
    let file = place.file("m.vtt", format!("{AT}\nAda:\n\n{AT}\nAda: hi\n"));
    let ran = replay(&place, file, &["--limit", "1"]).ends_with(0);
    assert_eq!(spoken(&ran), [(json!("Ada"), json!("hi"))]);
    assert_eq!(ran.summary()["packets"], 1);
    let ran = replay(&place, place.file("m.vtt", format!("{AT}\nAda:\n")), &[]).ends_with(2);
    assert_eq!(ran.stderr, "error: m.vtt holds no packet: its cues hold names alone, and no speech\n");
}

#[test]
fn a_recording_without_a_packet_is_rejected_with_the_reason() {
    let place = Place::new();
    let file = place.file("x.vtt", format!("WEBVTT\n\n{AT}9\na\n\n00:09 -> 00:10\nb\n"));
    let ran = replay(&place, file, &["--keep-going"]).ends_with(2);
    let says = "error: x.vtt holds no packet: all its 2 cues are broken\n  because: x.vtt, line 3: \"00:00:02.0009\" is not a cue's time";
    assert!(ran.stderr.starts_with(says), "{ran:#?}");
    for text in [&b"Dear all,\nit went well.\n"[..], b"\x89PNG\r\n"] {
        let ran = replay(&place, place.file("x.vtt", text), &[]).ends_with(2);
        let says =
            "a recording is packets as JSON lines, a transcript as WebVTT or SubRip, or sound as WAV\n";
        assert!(
            ran.stderr.ends_with(says),
            "there is no hint to skip lines, because this is not a recording: {ran:#?}"
        );
    }
}

#[test]
fn packets_may_be_compressed_too() {
    let place = Place::new();
    let bytes = gzip(said(0, "one two") + &said(1, "three"));
    let ran = replay(&place, place.file("m.vtt", bytes), &[]).ends_with(0);
    assert_eq!(ran.of_source("talk-time").pop().unwrap()["payload"]["words"], 3);
}

#[test]
fn options_that_a_recording_cannot_take() {
    let (place, vtt, jsonl) = (Place::new(), sample("standup.vtt"), sample("standup.jsonl"));
    for (file, options, says) in [
        (&vtt, ["--encoding", "klingon"], "unknown encoding; write one such as utf-8, utf-16le, latin1"),
        (
            &vtt,
            ["--started-at", "nine"],
            "write a time as in RFC 3339, with its offset, such as 2026-01-05T09:00:00Z",
        ),
        (&vtt, ["--started-at", "2026-01-05T09:00:00"], "such as 2026-01-05T09:00:00Z"),
        (&vtt, ["--started-at", "9999-12-31T00:00:00Z"], "out of range"),
        (
            &vtt,
            ["--started-at", "9999-12-30T22:00:00Z"],
            "times are beyond any date, counted from 9999-12-30T22:00:00Z",
        ),
        (
            &jsonl,
            ["--started-at", "2026-01-05T09:00:00Z"],
            "leave out --started-at, which is for transcripts",
        ),
    ] {
        let ran = replay(&place, file, &options).ends_with(2);
        assert!(ran.stderr.contains(says), "should say {says:?}: {ran:#?}");
        assert_eq!(ran.stdout, "");
    }
}
