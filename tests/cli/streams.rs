//! Standard input, a reader that closes stdout, signals.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Stdio},
};

use crate::{Place, Ran, said, sample};

fn finished(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn a_recording_comes_from_standard_input() {
    let place = Place::new();
    let mut command =
        place.teammy(&["replay", "-", "--meeting", "piped", "--plugins", "talk-time", "--json"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all((said(0, "one two") + "\n" + &said(1, "three")).as_bytes())
        .unwrap();
    let ran = finished(child).ends_with(0);
    assert_eq!(ran.packets()[0]["meeting"], "piped");
    assert_eq!(ran.packets()[0]["payload"]["words"], 3);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_once_and_played() {
    let place = Place::new();
    let file = sample("standup.jsonl");
    let mut command = place.command("sh");
    let teammy = assert_cmd::cargo::cargo_bin!("teammy");
    let script = format!(
        "cat '{file}' | '{}' replay /dev/stdin --meeting m --db mem:// --plugins talk-time --json",
        teammy.display()
    );
    let ran = Ran::of(command.args(["-c", &script])).ends_with(0);
    assert_eq!(ran.summary()["packets"], 58);
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let place = Place::new();
    // The first output comes a while after the start, when stdout is closed.
    let text: String = (0..40).map(|second| said(second, "deadline")).collect();
    let file = place.file("m.jsonl", text.replacen("deadline", "nothing", 20));
    for form in ["--json", "--all"] {
        let plugins = ["--plugins", "talk-time,watch-list"];
        let mut command = place.teammy(&[&["replay", file, form, "--speed", "40x"][..], &plugins].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ran = finished(child).ends_with(141);
        assert_eq!(ran.stderr, "");
    }
}

#[cfg(unix)]
#[test]
fn a_signal_stops_a_replay_gracefully() {
    let place = Place::new();
    let file = place.file("m.jsonl", said(0, "the deadline") + &said(59, "is far away"));
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let mut command =
            place.teammy(&["replay", file, "--speed", "0.001x", "--plugins", "watch-list", "--json"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        assert!(first.contains("the deadline"), "an output is printed while the replay goes on: {first}");
        let kill =
            std::process::Command::new("sh").args(["-c", &format!("kill {signal} {}", child.id())]).status();
        assert!(kill.unwrap().success());
        let ran = finished(child).ends_with(code);
        assert!(ran.stderr.contains("error: stopped before the end of meeting m"), "{ran:#?}");
        assert!(
            ran.stderr.contains("hint: nothing is kept of it, because mem:// ends with the process"),
            "{ran:#?}"
        );
        for untrue in ["continues from here", "teammy history", "teammy resume"] {
            assert!(!ran.stderr.contains(untrue), "{ran:#?}");
        }
    }
}
