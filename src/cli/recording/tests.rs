mod encodings;
mod large;
mod limit;
mod properties;
mod sound;

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use teammy::{Node, Payload, config::Config};

use super::*;

fn rules(packet_bytes: u64) -> Rules {
    let config = Config::from_toml(&format!("[limits]\npacket_bytes = {packet_bytes}")).unwrap();
    let packet_bytes = config.limits.packet_bytes;
    Rules { graph: Node::builder(config).check().unwrap(), packet_bytes }
}

const STOP: Options = Options {
    limit: None,
    on_broken: OnBroken::Stop,
    encoding: None,
    started_at: None,
    participants: Vec::new(),
};
const SKIP: Options = Options {
    limit: None,
    on_broken: OnBroken::Skip,
    encoding: None,
    started_at: None,
    participants: Vec::new(),
};

/// A recording that is kept in memory, with packets of 64 bytes at most.
fn recording(text: impl AsRef<[u8]>, options: Options) -> Result<Recording, Error> {
    Recording::read("x".into(), text.as_ref(), None, rules(64), options)
}

fn refused(text: impl AsRef<[u8]>, options: Options) -> String {
    recording(text, options).unwrap_err().to_string()
}

fn line(n: usize) -> String {
    format!("{{\"source\":\"chat\",\"timestamp\":\"2026-01-05T09:00:0{n}Z\",\"data\":{n}}}\n")
}

fn played(recording: &Recording) -> Vec<String> {
    recording.play().unwrap().map(|packet| packet.unwrap().0.timestamp.unwrap().to_string()).collect()
}

/// A transcription packet, of a meeting that began at the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Utterance {
    name: Option<String>,
    text: String,
    start_ms: u64,
    end_ms: u64,
}

fn heard(text: impl AsRef<[u8]>, options: Options) -> Vec<Utterance> {
    let options = Options { started_at: Some(Timestamp::UNIX_EPOCH), ..options };
    let recording = Recording::read("x".into(), text.as_ref(), None, rules(1 << 20), options).unwrap();
    recording
        .play()
        .unwrap()
        .map(|packet| {
            let publish = packet.unwrap().0;
            let Payload::Json(json) = &publish.payload else { panic!("{publish:?}") };
            let data: Value = serde_json::from_str(json).unwrap();
            assert_eq!((publish.source.as_str(), &data["is_final"]), ("transcription", &true.into()));
            let end_ms = data["end_ms"].as_u64().unwrap();
            assert_eq!(publish.timestamp.unwrap().as_millisecond(), i64::try_from(end_ms).unwrap());
            Utterance {
                name: publish.participant.as_deref().map(str::to_owned),
                text: data["text"].as_str().unwrap().to_owned(),
                start_ms: data["start_ms"].as_u64().unwrap(),
                end_ms,
            }
        })
        .collect()
}

/// The transcription packets as `name: text`.
fn lines(text: impl AsRef<[u8]>) -> Vec<String> {
    let said = heard(text, STOP).into_iter();
    said.map(|said| format!("{}: {}", said.name.as_deref().unwrap_or("-"), said.text)).collect()
}

/// A file with a recording, and its folder.
fn file(text: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recording");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_ref()).unwrap();
    encoder.finish().unwrap()
}

fn utf16(text: &str, unit: impl Fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(unit).collect()
}

#[test]
fn a_recording_is_checked_and_played() {
    let text = format!("{}\n{}{}", line(3), line(1), line(2));
    let all = recording(&text, STOP).unwrap();
    assert_eq!((all.len(), all.started_at().to_string().as_str()), (3, "2026-01-05T09:00:03Z"));
    assert_eq!(played(&all), ["2026-01-05T09:00:03Z", "2026-01-05T09:00:01Z", "2026-01-05T09:00:02Z"]);
    let two = recording(format!("{text}broken"), Options { limit: Some(2), ..STOP }).unwrap();
    assert_eq!(played(&two).len(), 2);
}

/// A meeting knows the recording that it was made of by this name.
#[test]
fn the_same_packets_have_the_same_producer() {
    let producer = |payload: &str| {
        let line = format!(r#"{{"source":"chat","timestamp":"2026-01-05T09:00:01Z",{payload}}}"#);
        recording(line, STOP).unwrap().producer().unwrap()
    };
    let old = "replay:a5a82821bb5cdd372c829b88ada69b9d";
    assert_eq!(producer(r#""data":"QQ==""#), old);
    assert_eq!(
        producer(r#""type":"packet","seq":9,"received_at":"2026-01-05T09:00:01Z","payload":"QQ==""#),
        old
    );
    let others =
        [r#""payload_text":"\"QQ==\"""#, r#""payload_base64":"QQ==""#, r#""payload_text":"A""#].map(producer);
    assert!(others.iter().all(|other| other != old) && others[1] != others[2], "{others:?}");
}

#[test]
fn broken_lines_stop_it_or_are_skipped() {
    let text = format!("{}oops\n{}{}\n", line(1), "x".repeat(1 << 20), line(2)) + &line(3);
    let error = refused(&text, STOP);
    assert!(error.starts_with("x, line 2, column 1: expected one packet as JSON"), "{error}");
    let some = recording(&text, SKIP).unwrap();
    assert_eq!((some.len(), some.skipped().counts().skipped), (2, 2));
    assert!(some.skipped().warnings()[1].starts_with("skipped x, line 3: the line is longer"));
    assert_eq!(played(&some), ["2026-01-05T09:00:01Z", "2026-01-05T09:00:03Z"]);
    // The lines that were kept have their original numbers.
    let numbers: Vec<_> = some.play().unwrap().map(|packet| packet.unwrap().1).collect();
    assert_eq!(numbers, [Place::Line(1), Place::Line(5)]);
}

#[test]
fn only_some_broken_lines_are_named() {
    let some = recording("x\n".repeat(25) + &line(1), SKIP).unwrap();
    let warnings = some.skipped().warnings();
    assert_eq!((some.skipped().counts().skipped, warnings.len()), (25, 12));
    assert_eq!(warnings[10..], ["… and 15 more broken lines", "skipped 25 lines in all"]);
    let some =
        recording("WEBVTT\n\n00:99.000 --> 00:02.000\none two\n\n00:01.000 --> 00:02.000\na\n\nthree", SKIP)
            .unwrap();
    assert_eq!(some.skipped().warnings()[2], "skipped 2 cues with 3 words in all");
}

#[test]
fn nothing_to_play_is_an_error() {
    let times = "00:01.000 --> 00:02.000";
    for (text, options, says) in [
        ("", STOP, "x is empty"),
        ("\n \n", STOP, "all its lines are blank"),
        ("a", SKIP, "its only line is broken"),
        ("a\nb\n", SKIP, "all its 2 lines are broken"),
        ("WEBVTT", STOP, "holds no packet: it has no cue with text"),
        ("WEBVTT\n\nNOTE x\n", STOP, "it has no cue with text"),
        (&format!("{times}\n\n{times}\n<i></i>"), STOP, "it has no cue with text"),
        ("WEBVTT\n\n00:01.000 --> soon\na", SKIP, "its only cue is broken"),
        ("WEBVTT\n\n00:01.000 --> 00:61.000\na", SKIP, "its only cue is broken"),
        ("WEBVTT\n\na\n\nb", SKIP, "all its 2 cues are broken"),
        (&format!("{times}\nAda:\n\n{times}\nBo: "), STOP, "its cues hold names alone, and no speech"),
        (&format!("{times}\nAda:\n\nb"), SKIP, "its cues hold names alone, and no speech"),
    ] {
        let error = refused(text, options);
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn nothing_but_broken_lines_says_what_is_wrong_with_the_first() {
    let cause = |text: &str| {
        let error = recording(text, SKIP).unwrap_err();
        std::error::Error::source(&error).map(ToString::to_string)
    };
    let times = "expected a cue's times, such as 00:01:02.400 --> 00:01:05.900, before its text";
    assert_eq!(cause("WEBVTT\n\na\n\nb"), Some(format!("x, line 3: {times}")));
    assert_eq!(cause("WEBVTT\n\na\n\n00:01.000 --> 00:02.000\nAda:"), Some(format!("x, line 3: {times}")));
    let cause = cause("a\nb").unwrap();
    assert!(cause.starts_with("x, line 1, column 1: expected one packet as JSON"), "{cause}");
}

#[test]
fn files_that_are_no_recordings_are_rejected_with_the_formats() {
    let error = refused("hello\n00:01 Ada: hi", STOP);
    assert!(
        error.starts_with(
            "x, line 1: this looks like a plain-text transcript, pasted or saved from a document"
        ),
        "{error}"
    );
    let error = refused("0:0:0.0 --> 0:0:1.250\nBo\nOh.\n0:0:2.90 --> 0:0:4.480\nAda\nSo.", STOP);
    assert!(error.starts_with("x looks like a Teams transcript pasted from a document"), "{error}");
    let error = refused("hello\nyou", STOP);
    assert!(error.starts_with("x, line 1, column 1: expected one packet as JSON"), "{error}");
    assert!(
        error.ends_with(
            "a recording is packets as JSON lines, a transcript as WebVTT or SubRip, or sound as WAV"
        ),
        "{error}"
    );
    let error = refused(line(1) + "hello", STOP);
    assert!(error.starts_with("x, line 2") && !error.contains("WebVTT"), "{error}");
    let is_recognised = |text: &[u8]| match recording(text, STOP).unwrap_err() {
        Error::Broken(broken) => broken.is_recognised(),
        other => panic!("{other:?}"),
    };
    for text in [&b"hello"[..], b"hello\nyou", b"7", b"\x89PNG\r\n", b"webvtt\n"] {
        assert!(!is_recognised(text), "{text:?}");
    }
    let long = b"{".repeat(1 << 20);
    for text in [&b"{"[..], b"{\"source\":1}", b"WEBVTT\n\nhello", b"WEBVTT\n\n\xff", &long] {
        assert!(is_recognised(text), "{:?}", &text[..text.len().min(20)]);
    }
    for (bytes, says) in [
        (&b"PK\x03\x04\x14\0\x06\0"[..], "x is a ZIP archive or a Word document, not text; export"),
        (b"%PDF-1.7", "x is a PDF document"),
        (b"{\\rtf1", "x is an RTF document"),
        (b"\0\0\0\x20ftypisom", "x is a sound or video file"),
        (b"RIFF\0\0\0\0AVI LIST", "x is a sound or video file"),
        (b"W\0E\0B\0V\0T\0T\0", "x is not text; if it is UTF-16 without a byte order mark, use --encoding"),
        (b"\x7fELF\x02\x01\0", "x is not text"),
        (b"\x89PNG\r\n\x1a\n\0", "x, line 1, column 1: this is not UTF-8 text"),
    ] {
        for bytes in [bytes.to_vec(), gzip(bytes)] {
            let error = refused(bytes, STOP);
            assert!(error.starts_with(says), "{error}");
        }
    }
}

#[test]
fn a_file_that_changes_is_noticed() {
    let (_folder, path) = file(line(1) + &line(2));
    let recording = Recording::check(&path, rules(64), STOP).unwrap();
    std::fs::write(&path, line(1)).unwrap();
    let last = recording.play().unwrap().last();
    assert!(matches!(last, Some(Err(Error::Changed(_)))), "{last:?}");
}

#[test]
fn a_transcript_says_no_date() {
    let text = "00:01.000 --> 00:02.500\nAda: hi";
    let now = Timestamp::now();
    let from_now = recording(text, STOP).unwrap();
    assert!(from_now.started_at() >= now && from_now.started_at() <= Timestamp::now());
    for _ in 0..2 {
        let (publish, _) = from_now.play().unwrap().next().unwrap().unwrap();
        assert_eq!(publish.timestamp.unwrap().duration_since(from_now.started_at()).as_millis(), 2500);
    }
    let at: Timestamp = parse_time("2026-01-05T10:00:00+01:00").unwrap();
    let dated = recording(text, Options { started_at: Some(at), ..STOP }).unwrap();
    assert_eq!(dated.started_at(), at);
    assert_eq!(played(&dated), ["2026-01-05T09:00:02.5Z"]);
    let error = refused(line(1), Options { started_at: Some(at), ..STOP });
    assert!(error.contains("leave out --started-at"), "{error}");
}

#[test]
fn a_meeting_begins_within_the_times_that_can_be_counted() {
    for text in ["", "nine", "2026-01-05", "2026-01-05T09:00:00", "2026-13-05T09:00:00Z"] {
        assert!(parse_time(text).unwrap_err().contains("RFC 3339"), "{text}");
    }
    let (first, last) = (Timestamp::MIN, Timestamp::MAX);
    assert!(
        first.to_string().starts_with("-009999-") && last.to_string().starts_with("9999-12-30T22:00:00.")
    );
    for text in ["9999-12-31T00:00:00Z", "9999-12-30T22:00:01+00:00", "-009999-01-01T00:00:00+01:00"] {
        assert!(parse_time(text).unwrap_err().contains("out of range: it must be from"), "{text}");
    }
    let error = refused("00:01.000 --> 00:02.000\na", Options { started_at: Some(last), ..STOP });
    assert_eq!(error, format!("x, line 1: the cue's times are beyond any date, counted from {last}"));
}

#[test]
fn broken_cues_stop_it_or_are_skipped() {
    let cue = |times: &str, text: &str| format!("{times}\n{text}\n\n");
    let fine = "00:01.000 --> 00:02.000";
    for (times, says) in [
        (
            "00:00:99.000 --> 00:02:00.000",
            "\"00:00:99.000\" is not a cue's time; write hours, minutes and seconds, such as",
        ),
        ("00:01 -> 00:02", "expected a cue's times, such as 00:01:02.400 --> 00:01:05.900"),
        ("-99999999:00:00.000 --> 00:01.000", "the cue's times are beyond any date"),
        ("00:01.000 --> 99999999:00:00.000", "the cue's times are beyond any date"),
        ("00:01.000 --> 99999999999999999999999:00:00.000", "the cue's times are beyond any date"),
    ] {
        let text = format!("WEBVTT\n\n{}1\n{}{}", cue(fine, "a"), cue(times, "b"), cue(fine, "c"));
        let error = refused(&text, STOP);
        assert!(error.starts_with(&format!("x, line 7: {says}")), "{error}");
        let some = recording(&text, SKIP).unwrap();
        assert_eq!((some.len(), some.skipped().counts().skipped, played(&some).len()), (2, 1, 2), "{times}");
        let two = Options { limit: Some(1), ..STOP };
        assert_eq!(recording(&text, two).unwrap().len(), 1, "what is behind the limit isn't looked at");
    }
    let large = "x".repeat(65);
    let text = format!("{}{}", cue(fine, &large), cue(fine, "c"));
    assert!(refused(&text, STOP).starts_with("x, line 1: the packet carries"), "{}", refused(&text, STOP));
    let some = recording(&text, SKIP).unwrap();
    assert_eq!(
        (some.skipped().counts().skipped, some.play().unwrap().next().unwrap().unwrap().1),
        (1, Place::Line(4))
    );
    let voice = format!("<v {}>a", "n".repeat(2000));
    let error = refused(cue(fine, &voice), STOP);
    assert!(error.starts_with("x, line 1: the participant"), "{error}");
}

#[test]
fn times_are_read_as_the_whole_tells() {
    let cue = |times: &str| format!("{times}\na\n\n");
    let times =
        |text: &str| heard(text, STOP).iter().map(|said| (said.start_ms, said.end_ms)).collect::<Vec<_>>();
    assert_eq!(times(&cue("00:02.000 --> 00:01.000")), [(2000, 2000)], "it ends before it begins");
    assert_eq!(
        times(&(cue("0:0:0.0 --> 0:0:5.320") + &cue("0:0:6.90 --> 0:0:8.500"))),
        [(0, 5320), (6090, 8500)]
    );
    assert_eq!(times(&(cue("1:02 --> 1:03,5") + &cue("-0:01.000 --> 0:00"))), [(63_000, 64_500), (0, 1000)]);
    // In a file, the times after the limit count too.
    let (_folder, path) = file(cue("00:01.000 --> 00:02.000") + &cue("-00:01.000 --> 00:02.000"));
    let one = Options { limit: Some(1), started_at: Some(Timestamp::UNIX_EPOCH), ..STOP };
    assert_eq!(played(&Recording::check(&path, rules(64), one).unwrap()), ["1970-01-01T00:00:03Z"]);
}

#[test]
fn cues_with_metadata_are_what_is_spoken() {
    let at = "00:01.000 --> 00:02.000";
    let text = format!(
        "WEBVTT\n{at}\n{{\"speakerName\":\"Ada\",\"spokenText\":\"So: we go.\"}}\n\n{at}\n{{\"speakerName\":\"\",\"spokenText\":\"yes\"}}\n"
    );
    assert_eq!(lines(text), ["Ada: So: we go.", "-: yes"]);
    let broken = format!("{at}\n{{\"spokenText\":\"one two\n\n{at}\nb");
    assert!(refused(&broken, STOP).starts_with("x, line 1: the cue's JSON cannot be read"));
    let some = recording(&broken, SKIP).unwrap();
    assert_eq!(some.skipped().warnings()[1], "skipped 1 cue with 2 words in all");
}

#[test]
fn cues_may_overlap_and_be_out_of_order() {
    let text = "00:05.000 --> 00:09.000\nAda: one\n\n00:01.000 --> 00:06.000\nBo: two";
    let times: Vec<_> = heard(text, STOP).iter().map(|said| (said.start_ms, said.end_ms)).collect();
    assert_eq!(times, [(5000, 9000), (1000, 6000)]);
}

#[test]
fn a_name_without_speech_is_no_packet() {
    let at = "00:01.000 --> 00:02.000\n";
    let text = format!("{at}Ada: one\n\n{at}Ada:\n\n{at}Ada:\ntwo\nthree\n\n{at}\n{at}Bo: four: five");
    assert_eq!(lines(text), ["Ada: one", "Ada: two three", "Bo: four: five"]);
    assert_eq!(lines(format!("{at}So:\n\n{at}one\n\n{at}two")), ["-: So:", "-: one", "-: two"]);
}

#[test]
fn a_tag_beats_a_name_in_the_text() {
    let at = "00:01.000 --> 00:02.000\n";
    assert_eq!(
        lines(format!("{at}<v Ada>Note: we go</v>\n\n{at}<v Bo>So: yes")),
        ["Ada: Note: we go", "Bo: So: yes"]
    );
    let text = format!("WEBVTT\n\n{at}<v Ada>one</v> <v Bo>two</v>\n\n{at}<v Ada>three\n\n{at}So: four");
    assert_eq!(lines(text), ["Ada: one", "Bo: two", "Ada: three", "-: So: four"]);
}
