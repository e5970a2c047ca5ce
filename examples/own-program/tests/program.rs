//! Every command of a program with a plugin of its own.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic")]

use std::process::Command;

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;
use tempfile::TempDir;

const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/standup.jsonl");

/// Runs the program in a folder of its own; the exit code, stdout and stderr.
fn run(place: &TempDir, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(cargo_bin("questions"));
    command.args(arguments).current_dir(place).env("HOME", place.path()).env("XDG_RUNTIME_DIR", place.path());
    command.env("XDG_DATA_HOME", place.path()).env("TEAMMY_NODE__SOCKET", "off");
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn its_plugin_takes_part_in_a_replay() {
    let place = tempfile::tempdir().unwrap();
    let replay = ["replay", RECORDING, "--db", "mem://", "--json", "--plugins", "questions"];
    let (code, stdout, stderr) = run(&place, &replay);
    assert_eq!(code, 0, "{stderr}");
    let packets = lines(&stdout);
    assert!(packets.iter().any(|packet| packet["payload"]["event"] == "asked"), "{stdout}");
    assert!(packets.iter().all(|packet| packet["source"] != "talk-time"), "{stdout}");
    // By the name of its kind too, and beside those that ship with Teammy.
    let (code, _, stderr) = run(&place, &["replay", RECORDING, "--db", "mem://"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("questions") && stderr.contains("talk-time"), "{stderr}");
}

/// A recording of an hour, with a question each five minutes.
fn hour(place: &TempDir) -> String {
    let line = |minute: u32| {
        let at = format!("2026-01-05T09:{minute:02}:00Z");
        let payload = format!(r#"{{"text":"Is it minute {minute}?","start_ms":0,"end_ms":900}}"#);
        format!(r#"{{"source":"transcription","timestamp":"{at}","participant":"Ada","payload":{payload}}}"#)
    };
    let lines: Vec<String> = (0..60).step_by(5).map(line).collect();
    let path = place.path().join("hour.jsonl");
    std::fs::write(&path, lines.join("\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn its_outputs_are_the_same_at_any_speed() {
    let place = tempfile::tempdir().unwrap();
    let hour = hour(&place);
    let play = |speed: &str| {
        let (code, stdout, stderr) =
            run(&place, &["replay", &hour, "--db", "mem://", "--json", "--speed", speed]);
        assert_eq!(code, 0, "{stderr}");
        let outputs = lines(&stdout).into_iter().filter(|line| line["type"] == "packet");
        let mut made: Vec<String> = outputs
            .map(|line| format!("{} {} {}", line["source"], line["timestamp"], line["payload"]))
            .collect();
        // Instances do not wait for each other.
        made.sort_by_key(|line| line.split(' ').next().map(str::to_owned));
        made
    };
    let at_once = play("max");
    // The list each ten minutes, beside the twelve questions and the lists of the start and the end.
    assert_eq!(at_once.iter().filter(|line| line.contains("\"open\"")).count(), 5 + 2, "{at_once:#?}");
    for speed in ["10000x", "3000x"] {
        assert_eq!(play(speed), at_once, "{speed}");
    }
    // So a golden file holds at any speed, ticks included.
    let golden = |options: &[&str]| {
        let replay = ["replay", &hour, "--db", "mem://", "--expect", "golden.jsonl"];
        let (code, _, stderr) = run(&place, &[&replay[..], options].concat());
        assert_eq!(code, 0, "{stderr}");
    };
    golden(&["--update"]);
    golden(&["--speed", "10000x"]);
}

#[test]
fn it_is_listed_installed_and_documented() {
    let place = tempfile::tempdir().unwrap();
    let (_, stdout, _) = run(&place, &["plugins", "--json"]);
    let plugins = lines(&stdout);
    let plugin = plugins.iter().find(|plugin| plugin["kind"] == "template").unwrap();
    assert_eq!((&plugin["in_build"], &plugin["feature"]), (&Value::Bool(true), &Value::Null));
    assert!(plugins.iter().any(|plugin| plugin["type"] == "instance" && plugin["name"] == "questions"));
    let (code, stdout, _) = run(&place, &["install"]);
    assert!(code == 0 && stdout.contains("installed template"), "{stdout}");
    let (_, stdout, _) = run(&place, &["config", "--reference"]);
    assert!(stdout.contains("## `template`") && stdout.contains("`command`"), "{stdout}");
}

#[test]
fn it_is_called_by_its_own_name() {
    let place = tempfile::tempdir().unwrap();
    assert_eq!(run(&place, &["--version"]).1, format!("questions {}\n", env!("CARGO_PKG_VERSION")));
    assert!(run(&place, &["replay", "--help"]).1.contains("questions replay standup.jsonl"));
    assert!(run(&place, &["completions", "bash"]).1.contains("_questions()"));
    let (code, _, stderr) = run(&place, &["replay", RECORDING, "--db", "mem://", "--plugins", "question"]);
    assert_eq!(code, 2);
    assert!(
        stderr.contains("did you mean questions?") && stderr.contains("`questions plugins` shows all"),
        "{stderr}"
    );
}
