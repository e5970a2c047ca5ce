//! Sound as WAV files. `src/cli/replay/tests.rs` checks what plugins hear of it.

use std::{
    io::{Cursor, Write as _},
    process::Stdio,
};

use flate2::{Compression, write::GzEncoder};
use hound::{SampleFormat, WavSpec, WavWriter};

use super::{Place, Ran, said};

/// Half a second of sound, and a bit.
fn wave(channels: u16) -> Vec<u8> {
    let spec = WavSpec { channels, sample_rate: 8000, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let mut file = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut file, spec).unwrap();
    (0..4010 * i32::from(channels)).for_each(|_| writer.write_sample(7_i16).unwrap());
    writer.finalize().unwrap();
    file.into_inner()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn replay(place: &Place, file: &str, options: &[&str]) -> Ran {
    place.run(&[&["replay", file, "--plugins", "talk-time", "--json"], options].concat())
}

#[test]
fn a_wav_file_is_played_as_frames() {
    let place = Place::new();
    place.file("call.wav", wave(2));
    place.file("call.wav.gz", gzip(&wave(2)));
    place.file("call.txt", wave(2));
    for file in ["call.wav", "call.wav.gz", "call.txt"] {
        let ran = replay(&place, file, &[]).ends_with(0);
        assert!(ran.stderr.contains("note: no instance takes audio, so nobody hears call"), "{ran:#?}");
        assert_eq!(
            (&ran.summary()["packets"], &ran.summary()["meeting"]),
            (&26.into(), &"call".into()),
            "{file}"
        );
    }
    let two = ["--participant", "Ada", "--participant", "Bo"];
    assert_eq!(replay(&place, "call.wav", &two).ends_with(0).summary()["packets"], 52);
    let limited = replay(&place, "call.wav", &[&two[..], &["--limit", "3"]].concat()).ends_with(0);
    assert_eq!(limited.summary()["packets"], 3);
}

#[test]
fn sound_comes_through_a_pipe() {
    let place = Place::new();
    let mut command = place.teammy(&["replay", "-", "--meeting", "m", "--plugins", "talk-time", "--json"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // What ffmpeg writes to a pipe: a length that no file has.
    let mut bytes = wave(1);
    bytes[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("\"packets\":26,"), "{stdout} {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
}

#[test]
fn sound_has_a_pace() {
    let place = Place::new();
    place.file("call.wav", wave(1));
    // The last of 26 frames is due after half a second.
    let ran = replay(&place, "call.wav", &["--speed", "10x"]).ends_with(0);
    assert!(ran.summary()["seconds"].as_f64().unwrap() >= 0.05, "{ran:#?}");
}

#[test]
fn what_does_not_fit_sound_is_refused() {
    let place = Place::new();
    place.file("call.wav", wave(2));
    let cut = wave(2);
    place.file("cut.wav", &cut[..cut.len() - 7]);
    place.file("m.jsonl", said(0, "one"));
    for (file, options, says) in [
        (
            "cut.wav",
            &[][..],
            "error: cannot play cut.wav: it is cut off after 500 ms of sound; get the file again",
        ),
        (
            "call.wav",
            &["--participant", "A", "--participant", "B", "--participant", "C"],
            "it has 2 channels; give",
        ),
        ("call.wav", &["--participant", ""], "a value is required"),
        ("call.wav", &["--encoding", "latin1"], "call.wav is sound, which has no encoding"),
        ("m.jsonl", &["--participant", "Ada"], "m.jsonl says itself who speaks; leave out --participant"),
        ("call.wav", &["--expect", "golden.jsonl", "--update"], "give the time with --started-at"),
    ] {
        let refused = replay(&place, file, options).ends_with(2);
        assert!(refused.stderr.contains(says), "{refused:#?}");
        assert_eq!(refused.stdout, "");
    }
}
