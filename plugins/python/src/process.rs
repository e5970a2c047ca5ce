//! A process: the guardian, its control socket, and how it ends.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream as StdStream, process::CommandExt},
    },
    path::Path,
    process::{Child, Command, Stdio},
};

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixStream, unix::pipe},
    time::{Duration, timeout},
};

use crate::protocol::CallId;

/// What the interpreter runs: the guardian, out of the package in the folder that the first argument names.
const BOOT: &str = "import sys; sys.path[0] = sys.argv[1]; from teammy._host.bootstrap import main; main()";
/// How long the guardian may take to kill its descendants and to report.
const REPORT: Duration = Duration::from_secs(5);
/// With this code a host exits that has no memory left.
const NO_MEMORY: i32 = 71;

/// A guardian, which guards a host. Dropped, both end.
#[derive(Debug)]
pub(crate) struct Process {
    control: UnixStream,
    guardian: Option<Child>,
}

/// The node's ends of what the process reads and writes.
pub(crate) struct Started {
    pub(crate) process: Process,
    pub(crate) protocol: UnixStream,
    pub(crate) output: pipe::Receiver,
}

/// How a host ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Why, after "the process ".
    pub(crate) why: String,
    /// The call whose hook had the thread, or 0.
    pub(crate) call: CallId,
}

/// What the guardian reports in the end.
#[derive(Debug, Deserialize)]
struct Report {
    exited: Option<i32>,
    signal: Option<i32>,
    #[serde(default)]
    call: CallId,
}

/// Starts a process. `memory` is the most bytes of its host, or 0.
pub(crate) fn start(python: &OsStr, package: &Path, folder: &Path, memory: u64) -> io::Result<Started> {
    let (control, theirs_control) = StdStream::pair()?;
    let (protocol, theirs_protocol) = StdStream::pair()?;
    let (output, theirs_output) = io::pipe()?;
    let mut command = Command::new(python);
    command.args(["-u", "-X", "utf8", "-c", BOOT]).arg(package).arg(memory.to_string());
    command.current_dir(folder).process_group(0);
    // They hold keys of the node.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TEAMMY_") {
            command.env_remove(name);
        }
    }
    command
        .stdin(Stdio::from(OwnedFd::from(theirs_control)))
        .stdout(Stdio::from(OwnedFd::from(theirs_protocol)))
        .stderr(Stdio::from(theirs_output));
    let guardian = command.spawn()?;
    // The ends that the process has are closed here with the command: a process that is gone closes them for good.
    drop(command);
    let nonblocking = |stream: StdStream| {
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    };
    let process = Process { control: nonblocking(control)?, guardian: Some(guardian) };
    let output = pipe::Receiver::from_owned_fd(output.into())?;
    Ok(Started { process, protocol: nonblocking(protocol)?, output })
}

impl Process {
    /// Ends the host, and says how it ended.
    pub(crate) async fn kill(mut self) -> End {
        // A guardian that is gone has ended its host.
        let _ = self.control.write_all(b"k").await;
        self.ended().await
    }

    /// Waits for the host to end, which its closed connection has announced.
    pub(crate) async fn ended(mut self) -> End {
        let mut report = Vec::new();
        let read = timeout(REPORT, (&mut self.control).take(4096).read_to_end(&mut report)).await;
        if read.is_err() {
            // It has not answered: it is killed, and on Linux its host with it.
            if let Some(guardian) = &mut self.guardian {
                let _ = guardian.kill();
            }
        }
        end(&report)
    }
}

impl Drop for Process {
    /// The guardian ends by itself once the control socket is closed. Somebody must take note of it.
    fn drop(&mut self) {
        if let Some(mut guardian) = self.guardian.take() {
            let wait = move || drop(guardian.wait());
            // Without a thread it stays as an entry in the table of processes until this program ends.
            drop(std::thread::Builder::new().name("python-wait".to_owned()).spawn(wait));
        }
    }
}

/// How a host ended, by its guardian's report.
fn end(report: &[u8]) -> End {
    let Ok(report) = serde_json::from_slice::<Report>(report) else {
        return End { why: "was killed together with its guardian".to_owned(), call: 0 };
    };
    let why = match (report.exited, report.signal) {
        (Some(NO_MEMORY), _) => "had no memory left; raise `memory` in its table, or use less".to_owned(),
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}{}", named(signal)),
        (None, None) => "ended".to_owned(),
    };
    End { why, call: report.call }
}

/// The names of the signals that end a process by its own fault, which have one number on all systems.
fn named(signal: i32) -> &'static str {
    match signal {
        4 => " (illegal instruction)",
        6 => " (abort)",
        8 => " (arithmetic error)",
        9 => " (kill)",
        11 => " (segmentation fault)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_how_a_host_ended() {
        let said = |report: &str| {
            let End { why, call } = end(report.as_bytes());
            format!("{why} {call}")
        };
        assert_eq!(said("{\"signal\": 11, \"call\": 7}\n"), "was ended by signal 11 (segmentation fault) 7");
        assert_eq!(said("{\"exited\": 3, \"call\": 0}"), "exited with code 3 0");
        assert!(said("{\"exited\": 71, \"call\": 4}").starts_with("had no memory left; raise `memory`"));
        assert_eq!(said(""), "was killed together with its guardian 0");
    }
}
