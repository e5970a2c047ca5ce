//! The commands of an operator: `status`, `dead-letters`, `forget`.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::json;

use crate::{Place, said};

const DB: [&str; 2] = ["--db", "surrealkv://db"];

/// A replay that takes weeks, after this many lines of output. Its stdout stays open, because the replay ends
/// when it is closed.
pub(crate) struct Running {
    child: Child,
    _stdout: BufReader<ChildStdout>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub(crate) fn new(place: &Place, lines: usize, options: &[&str]) -> Self {
        // The packets that the test waits for are due at once; the last one is not due before the test ends.
        let now = (0..lines).map(|n| said(0, &format!("the deadline {n}")));
        place.file("m.jsonl", now.chain([said(3599, "the last")]).collect::<String>());
        let replay = ["replay", "m.jsonl", "--speed", "0.001x", "--json", "--plugins", "watch-list"];
        let mut command = place.teammy(&[&replay, &DB[..], options].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        for _ in 0..lines {
            assert!(stdout.read_line(&mut String::new()).unwrap() > 0, "the replay printed a line");
        }
        Self { child, _stdout: stdout }
    }
}

fn socket(place: &Place) -> PathBuf {
    place.path().join(".local/share/teammy/node.sock")
}

#[test]
fn a_running_node_says_how_it_stands_and_does_what_it_is_asked() {
    let place = Place::new();
    let nobody = place.run(&["status"]).ends_with(1);
    assert!(
        nobody.stderr.contains("no node listens on") && nobody.stderr.contains("hint: start one"),
        "{nobody:#?}"
    );

    let file = place.file("socket.toml", "node.socket = \"run/node.sock\"\n");
    let config = ["--config", file];
    let running = Running::new(&place, 3, &config);
    let directory = fs::metadata(place.path().join("run")).unwrap().permissions().mode();
    assert_eq!(directory & 0o777, 0o700, "a directory that is made for it is its owner's, too");
    let status = place.run(&[&["status", "--json"], &config[..]].concat()).ends_with(0);
    let status = &status.lines()[0];
    assert_eq!(
        (&status["type"], &status["store"], status["meetings"].as_array().unwrap().len()),
        (&json!("status"), &json!("ok"), 1)
    );
    assert_eq!(status["process"], running.child.id());
    let meeting = &status["meetings"][0];
    assert_eq!((&meeting["id"], &meeting["status"]), (&json!("m"), &json!("running")));
    assert!(meeting["packets"].as_u64().unwrap() >= 3 && meeting["seq"].as_u64() > Some(3));
    let instance = &meeting["instances"][0];
    assert_eq!(
        (&instance["name"], &instance["status"], &instance["lost"]),
        (&json!("watch-list"), &json!("active"), &json!(0))
    );
    assert!(instance["outputs"].as_u64().unwrap() >= 3 && instance["lag"].is_array());
    let people = place.run(&[&["status"], &config[..]].concat()).ends_with(0);
    assert!(people.stdout.contains("m: running") && people.stdout.contains("watch-list"), "{people:#?}");

    // That process holds the database, so commands ask it.
    let letters = place.run(&[&["dead-letters", "m"], &DB[..], &config].concat()).ends_with(0);
    assert!(letters.stderr.contains("note: meeting m has no dead letters"), "{letters:#?}");
    let history = [&["history", "m", "--json", "--source", "transcription", "--last", "2"], &DB[..], &config];
    let history = place.run(&history.concat()).ends_with(0);
    let printed = history.lines();
    assert_eq!(printed.len(), 2, "{history:#?}");
    assert!(
        printed.iter().all(|packet| packet["source"] == "transcription" && packet["payload"].is_object())
    );
    let unknown = place.run(&[&["history", "n"], &DB[..], &config].concat()).ends_with(1);
    assert!(unknown.stderr.contains("there is no meeting n"), "{unknown:#?}");
    let refused = [&["resume", "m", "--instance", "watch-list"], &DB[..], &config].concat();
    let refused = place.run(&refused).ends_with(1);
    assert!(refused.stderr.contains("watch-list is not suspended in meeting m"), "{refused:#?}");
    let other = place.run(&[&["forget", "n"], &DB[..], &config].concat()).ends_with(1);
    assert!(other.stderr.contains("there is no meeting n"), "{other:#?}");
    place.run(&[&["forget", "m"], &DB[..], &config].concat()).ends_with(0);
    let mut running = running;
    let ended = running.child.wait().unwrap();
    assert_eq!(ended.code(), Some(1), "its meeting was forgotten");
    assert!(!place.path().join("run/node.sock").exists(), "it removed its socket");
}

#[test]
fn the_socket_is_its_owners_alone() {
    let place = Place::new();
    let _running = Running::new(&place, 1, &[]);
    let path = socket(&place);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600, "{}", path.display());

    // Another user cannot connect. Only root can try this, by becoming another user.
    let root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let has_python = Command::new("python3").arg("--version").output().is_ok();
    if !root || !has_python {
        eprintln!("skipped: to connect as another user takes root and python3");
        return;
    }
    let open = tempfile::tempdir().unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let second = Place::new();
    let at = open.path().join("node.sock");
    let file = second.file("socket.toml", format!("node.socket = {:?}\n", at.to_str().unwrap()));
    let _other = Running::new(&second, 1, &["--config", file]);
    let connect = |user: u32| {
        let script = "import socket, sys, os; os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))\n\
            socket.socket(socket.AF_UNIX).connect(sys.argv[1])";
        let arguments = ["-c", script, at.to_str().unwrap(), &user.to_string()];
        Command::new("python3").args(arguments).output().unwrap()
    };
    assert!(connect(0).status.success(), "its owner can");
    let refused = connect(65_534);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Permission denied"), "{refused:?}");
}

#[test]
fn a_file_that_is_no_socket_stays_as_it_is() {
    let place = Place::new();
    let precious = place.file("precious", "do not lose");
    let file = place.file("socket.toml", format!("node.socket = {precious:?}\n"));
    place.file("m.jsonl", said(0, "one"));
    let replay = ["replay", "m.jsonl", "--plugins", "talk-time", "--config", file];
    let refused = place.run(&replay).ends_with(1);
    assert!(refused.stderr.contains("cannot listen on precious"), "{refused:#?}");
    assert_eq!(fs::read_to_string(place.path().join(precious)).unwrap(), "do not lose");
}

#[test]
fn what_was_given_up_is_listed_and_redriven_even_after_the_end() {
    let place = Place::new();
    let bad = r#"{"source":"transcription","timestamp":"2026-01-05T09:00:01Z","participant":"Ada","data":{"text":7}}"#;
    let recording = said(0, "one") + bad + "\n" + &said(2, "two");
    place.file("m.jsonl", recording);
    let replay = ["replay", "m.jsonl", "--json", "--plugins", "talk-time"];
    let ran = place.run(&[&replay, &DB[..]].concat()).ends_with(3);
    assert_eq!(ran.summary()["instances"][0]["dead_letters"], 1);
    let outputs = ran.packets().len();

    let letters = place.run(&[&["dead-letters", "m", "--json"], &DB[..]].concat()).ends_with(0).lines();
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert_eq!(
        (&letter["type"], &letter["instance"], &letter["source"], &letter["tries"]),
        (&json!("dead-letter"), &json!("talk-time"), &json!("transcription"), &json!(1))
    );
    let seq = letter["seq"].to_string();
    let people = place.run(&[&["dead-letters", "m"], &DB[..]].concat()).ends_with(0);
    assert!(
        people.stdout.contains("talk-time") && people.stdout.contains("expected a string"),
        "{people:#?}"
    );

    // The packet is still malformed: it stays a dead letter, and the meeting is complete as before.
    let again = place
        .run(&[&["dead-letters", "m", "--json", "--redrive", &seq], &DB[..]].concat())
        .ends_with(0)
        .lines();
    assert_eq!((again.len(), &again[0]["seq"]), (2, &letter["seq"]));
    assert_eq!(again[1], json!({"type": "redriven", "redriven": 1, "left": 1}));
    let none = ["dead-letters", "m", "--redrive", "all", "--instance", "minutes"];
    let none = place.run(&[&none, &DB[..]].concat()).ends_with(0);
    assert!(none.stderr.contains("0 packets delivered again; 0 dead letters left"), "{none:#?}");
    let replayed = place.run(&[&replay, &DB[..]].concat()).ends_with(3);
    assert_eq!(replayed.packets().len(), outputs);

    let bad = place.run(&[&["dead-letters", "m", "--redrive", "none"], &DB[..]].concat()).ends_with(2);
    assert!(bad.stderr.contains("this takes a packet's seq, or all"), "{bad:#?}");
    let unknown = place.run(&[&["dead-letters", "n"], &DB[..]].concat()).ends_with(1);
    assert!(unknown.stderr.contains("there is no meeting n; did you mean m?"), "{unknown:#?}");
}

#[test]
fn a_forgotten_meeting_is_gone_from_the_database_and_its_files() {
    let place = Place::new();
    let secret = "xylophone-of-the-chairwoman";
    place.file("m.jsonl", said(0, secret) + &said(1, "two"));
    place.file("n.jsonl", said(0, "another"));
    for file in ["m.jsonl", "n.jsonl"] {
        place.run(&[&["replay", file, "--plugins", "talk-time"], &DB[..]].concat()).ends_with(0);
    }
    let holds = || {
        files(&place.path().join("db"))
            .iter()
            .any(|file| contains(&fs::read(file).unwrap(), secret.as_bytes()))
    };
    assert!(holds(), "it was there");
    let forgotten = place.run(&[&["forget", "m", "--json"], &DB[..]].concat()).ends_with(0);
    assert_eq!(forgotten.lines(), [json!({"type": "forgotten", "meeting": "m"})]);
    let history = place.run(&[&["history", "m"], &DB[..]].concat()).ends_with(1);
    assert!(history.stderr.contains("there is no meeting m"), "{history:#?}");
    place.run(&[&["history", "n"], &DB[..]].concat()).ends_with(0);
    place.run(&[&["forget", "m"], &DB[..]].concat()).ends_with(1);
    assert!(!holds(), "and so are its bytes, once the database is closed");
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}
