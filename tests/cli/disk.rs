//! A disk that is full, for a while or permanently, and a database that is removed while it is in use.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    sync::mpsc,
    thread::JoinHandle,
};

use crate::{Place, read, said, sample};

/// Enough packets for several blocks of the engine's log. The first packet is a minute before the others, so
/// that a paced replay stores it before the disk is full.
fn recording() -> String {
    (0..400).map(|n| said(if n == 0 { 0 } else { 100 + n }, &format!("{n} {}", "word ".repeat(30)))).collect()
}

const REPLAY: [&str; 8] =
    ["replay", "m.jsonl", "--json", "--all", "--db", "surrealkv://db", "--plugins", "talk-time"];

/// The program, whose files cannot grow beyond this many KiB. Only the soft limit is set, so that the test
/// can lift it.
fn limited(place: &Place, kib: u32, more: &[&str]) -> Command {
    let program = assert_cmd::cargo::cargo_bin!("teammy").to_str().unwrap();
    let mut command = place.command("bash");
    let script = format!("trap '' XFSZ; ulimit -S -f {kib}; exec \"$0\" \"$@\"");
    command.args(["-c", &script, program]).args(REPLAY).args(more);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Reads a process's stderr up to a line with this text.
fn read_until(stderr: ChildStderr, what: &str) -> BufReader<ChildStderr> {
    let mut said = BufReader::new(stderr);
    let mut all = String::new();
    while !all.contains(what) {
        let read = said.read_line(&mut all).unwrap();
        assert!(read > 0, "it ended without saying {what:?}: {all}");
    }
    said
}

/// Reads a process's stdout on a thread, because a full pipe would block the process.
struct Printed {
    lines: JoinHandle<Vec<String>>,
    first: mpsc::Receiver<()>,
}

impl Printed {
    fn by(child: &mut Child) -> Self {
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (tell, first) = mpsc::channel();
        let read = move || {
            let lines = stdout.lines().map_while(Result::ok).inspect(|_| {
                // The receiver may be gone after the first line.
                let _ = tell.send(());
            });
            lines.filter(|line| line.contains("\"type\":\"packet\"")).collect()
        };
        Self { lines: std::thread::spawn(read), first }
    }

    /// Waits for the first line.
    fn begins(&self) {
        self.first.recv().expect("it prints something");
    }

    /// Waits for the process to end, and returns the packets that it printed, and so reported as stored.
    fn all(self, mut child: Child) -> Vec<String> {
        let lines = self.lines.join().unwrap();
        child.wait().unwrap();
        lines
    }
}

/// The packets that a restart finds.
fn found(place: &Place) -> BTreeSet<String> {
    let ran = place.run(&["history", "m", "--json", "--db", "surrealkv://db"]).ends_with(0);
    ran.stdout.lines().map(str::to_owned).collect()
}

fn assert_found(place: &Place, printed: &[String]) {
    let found = found(place);
    for line in printed {
        assert!(found.contains(line), "it was reported as stored, and a restart doesn't find it: {line}");
    }
}

#[test]
fn a_disk_that_is_full_stores_nothing_and_says_so() {
    let place = Place::new();
    place.file("m.jsonl", recording());
    let mut child = limited(&place, 80, &["--speed", "200x"]).spawn().unwrap();
    let printed = Printed::by(&mut child);
    let stderr = child.stderr.take().unwrap();
    printed.begins();
    let _said = read_until(stderr, "not stored, retrying");
    child.kill().unwrap();
    let printed = printed.all(child);
    assert!(!printed.is_empty(), "something was stored before");
    assert_found(&place, &printed);
    // When there is room again, the replay resumes and finishes.
    let whole = place.run(&REPLAY).ends_with(0);
    assert_eq!(whole.of_source("transcription").len(), 400);
    assert_eq!(whole.of_source("talk-time").len(), 21);
}

#[test]
fn what_is_stored_after_the_disk_was_full_survives_a_crash() {
    if Command::new("prlimit").arg("--version").stdout(Stdio::null()).status().is_err() {
        let _ = writeln!(std::io::stderr(), "skipped: there is no prlimit to lift a limit with");
        return;
    }
    let place = Place::new();
    place.file("m.jsonl", recording());
    // At full speed, so that the first write that fails is large, and is cut off within a record of the
    // engine's log.
    let mut command = limited(&place, 80, &[]);
    let mut child = command.env("KILL_POINT", "end-stored").spawn().unwrap();
    let printed = Printed::by(&mut child);
    let mut said = read_until(child.stderr.take().unwrap(), "not stored, retrying");
    let lifted = Command::new("prlimit")
        .args(["--fsize=unlimited:unlimited", "--pid", &child.id().to_string()])
        .status();
    assert!(lifted.unwrap().success());
    // The replay continues, stores the meeting to its end, and dies before it closes the database.
    let rest = std::thread::spawn(move || {
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        rest
    });
    let printed = printed.all(child);
    let rest = rest.join().unwrap();
    assert!(rest.contains("killed at end-stored"), "{rest}");
    assert_found(&place, &printed);
    let whole = place.run(&REPLAY).ends_with(0);
    assert!(whole.stderr.contains("note: meeting m is complete"), "{whole:#?}");
    assert_eq!(whole.of_source("transcription").len(), 400);
    assert_eq!(whole.of_source("talk-time").len(), 21);
}

#[test]
fn a_database_that_is_removed_under_a_meeting_is_noticed() {
    let place = Place::new();
    let file = sample("standup.jsonl");
    let replay = ["replay", &file, "--json", "--all", "--speed", "40x", "--db", "surrealkv://db"];
    let mut command = place.teammy(&replay);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..10 {
        assert!(out.read_line(&mut String::new()).unwrap() > 0);
    }
    // A rename is atomic; while files are removed one by one, the program may create others.
    fs::rename(place.path().join("db"), place.path().join("gone")).unwrap();
    let printed = 10 + out.lines().count();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("db was removed or replaced while it was in use"), "{said}");
    let all = read(Path::new(&file)).len();
    assert!(printed < all, "{printed} of {all} packets were reported as stored");
}
