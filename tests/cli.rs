//! The program, as a user runs it.
//!
//! Each test runs the built program in a directory of its own, with no other configuration and database than
//! the test gives it. Most tests keep meetings in memory; [`database`] has those that need a database that
//! outlives a process.

// Helpers may unwrap, as tests may; clippy recognises only the tests themselves.
#![allow(clippy::unwrap_used)]

#[path = "cli/bad_input.rs"]
mod bad_input;
#[cfg(all(unix, feature = "cluster", feature = "service", feature = "surrealdb"))]
#[path = "cli/cluster.rs"]
mod cluster;
#[cfg(all(unix, feature = "surrealdb"))]
#[path = "cli/crash.rs"]
mod crash;
#[cfg(feature = "surrealdb")]
#[path = "cli/database.rs"]
mod database;
#[cfg(all(target_os = "linux", feature = "surrealdb"))]
#[path = "cli/disk.rs"]
mod disk;
#[path = "cli/expect.rs"]
mod expect;
#[path = "cli/field.rs"]
mod field;
#[path = "cli/formats.rs"]
mod formats;
#[path = "cli/install.rs"]
mod install;
#[cfg(all(unix, feature = "surrealdb"))]
#[path = "cli/listing.rs"]
mod listing;
#[path = "cli/llm.rs"]
mod llm;
#[cfg(feature = "surrealdb")]
#[path = "cli/logs.rs"]
mod logs;
#[path = "cli/meetings.rs"]
mod meetings;
#[cfg(feature = "prometheus")]
#[path = "cli/metrics.rs"]
mod metrics;
#[cfg(feature = "surrealdb")]
#[path = "cli/no_effect.rs"]
mod no_effect;
#[cfg(all(unix, feature = "service", feature = "surrealdb"))]
#[path = "cli/node.rs"]
mod node;
#[cfg(all(unix, feature = "surrealdb"))]
#[path = "cli/operating.rs"]
mod operating;
#[path = "cli/privacy.rs"]
mod privacy;
#[cfg(all(unix, feature = "python"))]
#[path = "cli/python.rs"]
mod python;
#[cfg(feature = "surrealdb")]
#[path = "cli/resume.rs"]
mod resume;
#[cfg(all(unix, feature = "surrealdb"))]
#[path = "cli/server.rs"]
mod server;
#[path = "cli/settings.rs"]
mod settings;
#[path = "cli/sound.rs"]
mod sound;
#[path = "cli/speech.rs"]
mod speech;
#[path = "cli/streams.rs"]
mod streams;
#[cfg(all(unix, feature = "surrealdb"))]
#[path = "../actors/surreal/tests/surreal/server.rs"]
mod surrealdb_server;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;

/// A directory to run the program in.
struct Place(TempDir);

/// The exit code and the output of the program.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file and returns its name.
    fn file<'a>(&self, name: &'a str, text: impl AsRef<[u8]>) -> &'a str {
        fs::write(self.path().join(name), text).unwrap();
        name
    }

    /// A command that runs the program here, with meetings in memory.
    fn teammy(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(assert_cmd::cargo::cargo_bin!("teammy"));
        command.args(arguments);
        command
    }

    /// A command that runs here, with no other variable of Teammy than one that keeps meetings in memory.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TEAMMY_") {
                command.env_remove(name);
            }
        }
        command.env("TEAMMY_DATABASE__URL", "mem://").env("HOME", self.path());
        // Otherwise the node's socket and data would be shared with other tests, or with the user.
        command.env_remove("XDG_DATA_HOME").env_remove("XDG_RUNTIME_DIR");
        command.current_dir(self.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.teammy(arguments))
    }
}

impl Ran {
    fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Checks that the program ended with this code, and did not panic.
    #[track_caller]
    fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in ["panicked", "backtrace", "RUST_BACKTRACE"] {
            assert!(!self.stderr.contains(word), "{self:#?}");
        }
        self
    }

    /// The JSON lines on stdout.
    #[track_caller]
    fn lines(&self) -> Vec<Value> {
        let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(line).collect()
    }

    /// The packets on stdout.
    #[track_caller]
    fn packets(&self) -> Vec<Value> {
        self.lines().into_iter().filter(|line| line["type"] == "packet").collect()
    }

    /// The packets of one source on stdout.
    #[track_caller]
    fn of_source(&self, source: &str) -> Vec<Value> {
        self.packets().into_iter().filter(|packet| packet["source"] == source).collect()
    }

    /// The last line, which must be the only summary.
    #[track_caller]
    fn summary(&self) -> Value {
        let lines = self.lines();
        assert_eq!(lines.iter().filter(|line| line["type"] == "summary").count(), 1, "{self:#?}");
        let last = lines.last().unwrap();
        assert_eq!(last["type"], "summary");
        last.clone()
    }
}

/// A file of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn sample(name: &str) -> String {
    repository("samples").join(name).to_str().unwrap().to_owned()
}

/// A file's packets, read without our reader.
fn read(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The payload of a recorded packet. Its key used to be `data`.
fn payload(packet: &Value) -> &Value {
    packet.get("payload").unwrap_or(&packet["data"])
}

/// A line of a recording: text that Ada says this many seconds after the start.
fn said(second: u32, text: &str) -> String {
    let (minute, second) = (second / 60, second % 60);
    let data = serde_json::json!({"text": text, "start_ms": 0, "end_ms": 1000, "is_final": true});
    format!(
        r#"{{"source":"transcription","timestamp":"2026-01-05T09:{minute:02}:{second:02}Z","participant":"Ada","data":{data}}}"#
    ) + "\n"
}
