//! Why a command failed: the message, a hint what to do about it, and the exit code.
//!
//! | code | |
//! |---|---|
//! | 0 | done |
//! | 1 | failed |
//! | 2 | bad usage, configuration or input: what was asked for cannot be done by trying again |
//! | 3 | a replay was played whose instances failed, or whose outputs differ from the expected ones |
//! | 130, 143 | stopped by Ctrl-C or SIGTERM; what was published is stored |
//! | 141 | the reader of stdout closed it, as `head` does; the code of a program that SIGPIPE ends |

use std::{
    error::Error as _,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use teammy::{MeetingId, PublishError, llm, meeting, name, node, store, wire::json};
use tracing_subscriber::filter::ParseError;

use super::{new::refusal::NewError, recording, select, signal::Signal, text::shell_word};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Config(#[from] teammy::config::Error),
    #[error("log.filter is {filter:?}, which is not a filter")]
    LogFilter { filter: String, error: ParseError },
    #[error("cannot use the meeting's id")]
    MeetingId(#[source] name::Error),
    #[error("the name of {} cannot be the meeting's id", .file.display())]
    Stem { file: PathBuf, source: Option<name::Error> },
    #[error("standard input has no name that could be the meeting's id")]
    Nameless,
    #[error("the plugin {kind} is faulty: {problem}; correct its `hooks`")]
    Hooks { kind: String, problem: String },
    #[error("cannot use the source")]
    Source(#[source] name::Error),
    #[error(transparent)]
    Recording(#[from] recording::Error),
    #[error(transparent)]
    Select(#[from] select::Error),
    #[error(transparent)]
    Graph(#[from] teammy::graph::Error),
    #[error(transparent)]
    Node(#[from] node::Error),
    #[error(transparent)]
    Install(#[from] teammy::install::Error),
    #[error(transparent)]
    New(#[from] NewError),
    #[error(transparent)]
    Meeting(#[from] meeting::Error),
    #[error("cannot publish {recording}, {place}")]
    Publish { recording: String, place: recording::Place, source: PublishError },
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("mem:// holds nothing: a database in memory ends with the process that wrote to it")]
    InMemory,
    #[error("there is no database in {}", .0.display())]
    NoDatabase(PathBuf),
    #[error("there is no meeting {id}{}", known(.meant.as_ref(), .others))]
    NoMeeting { id: MeetingId, meant: Option<MeetingId>, others: Vec<MeetingId> },
    #[error("cannot start threads")]
    Runtime(#[source] io::Error),
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    #[error(transparent)]
    Control(#[from] teammy::control::Error),
    #[error("cannot ask a node: node.socket is \"off\"")]
    SocketOff,
    #[cfg(feature = "prometheus")]
    #[error("cannot serve metrics on {address} (metrics.listen)")]
    Metrics { address: std::net::SocketAddr, source: Box<dyn std::error::Error + Send + Sync> },
    #[cfg(feature = "prometheus")]
    #[error("cannot record metrics")]
    NoRecorder(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[cfg(not(feature = "prometheus"))]
    #[error("metrics.listen is set, but this build cannot serve metrics; build it with feature `prometheus`")]
    NoPrometheus,
    #[cfg(feature = "otel")]
    #[error(transparent)]
    Traces(#[from] teammy_traces::Error),
    #[cfg(not(feature = "otel"))]
    #[error("traces.endpoint is set, but this build cannot export traces; build it with feature `otel`")]
    NoOtel,
    #[cfg(feature = "service")]
    #[error(transparent)]
    Service(#[from] teammy::service::Error),
    #[cfg(feature = "cluster")]
    #[error(transparent)]
    Cluster(#[from] teammy::cluster::Error),
    #[cfg(feature = "cluster")]
    #[error(transparent)]
    Certs(#[from] teammy::cluster::certs::CertsError),
    #[cfg(feature = "cluster")]
    #[error(
        "this node's lease in the database has ended before it could be renewed; its meetings were stopped, and other nodes take them over"
    )]
    LeaseEnded,
    #[cfg(feature = "cluster")]
    #[error("the node's answer is not one of this version")]
    UnexpectedAnswer,
    #[cfg(all(feature = "service", not(feature = "cluster")))]
    #[error("cluster.node is set, but this build is no part of a cluster; build it with feature `cluster`")]
    NoCluster,
    #[cfg(feature = "cluster")]
    #[error(transparent)]
    Remote(#[from] super::replay::RemoteError),
    #[error(transparent)]
    Keys(#[from] teammy::keys::Error),
    #[error("there is no meeting {0}")]
    NoSuchMeeting(MeetingId),
    #[error("meeting {id} ran with {}, but {differs}; packets that were played are not run again", listed(.ran))]
    OtherInstances { id: MeetingId, ran: Vec<String>, differs: String },
    #[error(
        "meeting {id} began at {began}; another --started-at cannot change the times of packets that were played"
    )]
    OtherStart { id: MeetingId, began: teammy::Timestamp },
    #[error(
        "meeting {id} has ended after {played} of the recording's {packets} packets; the rest was not played"
    )]
    EndedEarly { id: MeetingId, played: u64, packets: u64 },
    #[error("meeting {id} is complete: no instance can resume in it")]
    NothingToResume { id: MeetingId },
    #[error(
        "cannot end meeting {0}: a node runs it, and ends it itself; --end is for meetings that no node runs"
    )]
    RunsElsewhere(MeetingId),
    #[error("meeting {id} has no such dead letter{}", of_instances(.there))]
    NoSuchLetter { id: MeetingId, there: Vec<String> },
    #[error("no packet of meeting {0} came from outside, so --since has nothing to count back from")]
    NothingSince(MeetingId),
    #[error("{0} has no effect with this command: it reads no configuration and logs nothing")]
    NoEffect(&'static str),
    #[error("the environment variable {0} is not UTF-8")]
    Variable(String),
    #[error("--db is blank")]
    BlankDatabase,
    #[error("there is no file {} to compare the outputs with", .0.display())]
    NoGolden(PathBuf),
    #[error("cannot read {}", .path.display())]
    ReadGolden { path: PathBuf, source: io::Error },
    #[error("{}, line {line}: this is no output as JSON", .path.display())]
    BrokenGolden { path: PathBuf, line: usize, source: json::Error },
    #[error("cannot write {}", .path.display())]
    WriteGolden { path: PathBuf, source: io::Error },
    #[error("{0} counts its times from now, so its outputs have other times in each replay")]
    Undated(String),
    #[error("instances failed in meeting {meeting}: {failed}")]
    Failures { meeting: MeetingId, failed: String },
    #[error("the outputs differ from those in {}", .0.display())]
    Different(PathBuf),
    #[error("stopped before the end of meeting {meeting}")]
    Interrupted { signal: Signal, meeting: MeetingId, keeps: Keeps },
}

/// Whether a meeting outlives the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// It is stored in a database.
    Stored,
    /// It is stored in a database, without the sound that was played.
    AllButSound,
    /// It is at nodes that run elsewhere.
    #[cfg(feature = "cluster")]
    AtNodes,
    /// It was in memory.
    Nothing,
}

fn known(meant: Option<&MeetingId>, others: &[MeetingId]) -> String {
    const SHOWN: usize = 10;
    if let Some(meant) = meant {
        return format!("; did you mean {meant}?");
    }
    if others.is_empty() {
        return "; the database holds none".to_owned();
    }
    let shown: Vec<&str> = others.iter().take(SHOWN).map(MeetingId::as_str).collect();
    let more = others.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("; the database holds {}{more}", shown.join(", "))
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "no instance".to_owned() } else { names.join(", ") }
}

fn of_instances(there: &[String]) -> String {
    if there.is_empty() { "; it has none".to_owned() } else { format!("; there are {}", there.join(", ")) }
}

impl Error {
    fn code(&self) -> u8 {
        match self {
            Self::Interrupted { signal, .. } => signal.code(),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 141,
            Self::Config(_)
            | Self::LogFilter { .. }
            | Self::MeetingId(_)
            | Self::Stem { .. }
            | Self::Nameless
            | Self::Source(_)
            | Self::Recording(_)
            | Self::Select(_)
            | Self::Graph(_)
            | Self::Hooks { .. }
            | Self::InMemory
            | Self::OtherInstances { .. }
            | Self::OtherStart { .. }
            | Self::EndedEarly { .. }
            | Self::NothingToResume { .. }
            | Self::RunsElsewhere(_)
            | Self::NoSuchLetter { .. }
            | Self::NothingSince(_)
            | Self::NoEffect(_)
            | Self::Variable(_)
            | Self::BlankDatabase
            | Self::NoGolden(_)
            | Self::ReadGolden { .. }
            | Self::BrokenGolden { .. }
            | Self::Undated(_)
            | Self::New(NewError::Name(_) | NewError::Taken(_) | NewError::There(_))
            | Self::SocketOff
            | Self::Node(
                node::Error::Graph(_)
                | node::Error::Config(_)
                | node::Error::NoStore
                | node::Error::Llm(_)
                | node::Error::NeedsLlm(_)
                | node::Error::Startup { .. }
                | node::Error::UnknownInstance { .. },
            ) => 2,
            Self::Failures { .. } | Self::Different(_) => 3,
            Self::Node(_)
            | Self::Install(_)
            | Self::New(NewError::Write(..))
            | Self::Meeting(_)
            | Self::Publish { .. }
            | Self::Store(_)
            | Self::Keys(_)
            | Self::NoDatabase(_)
            | Self::NoMeeting { .. }
            | Self::NoSuchMeeting(_)
            | Self::WriteGolden { .. }
            | Self::Control(_)
            | Self::Runtime(_)
            | Self::Output(_) => 1,
            #[cfg(feature = "service")]
            Self::Service(
                teammy::service::Error::NoKeys(_)
                | teammy::service::Error::Tls { .. }
                | teammy::service::Error::SocketInUse(_),
            ) => 2,
            #[cfg(feature = "service")]
            Self::Service(_) => 1,
            #[cfg(feature = "cluster")]
            Self::Remote(error) => error.code(),
            #[cfg(feature = "cluster")]
            Self::Cluster(error) if error.kind() == teammy::ErrorKind::Invalid => 2,
            #[cfg(feature = "cluster")]
            Self::Cluster(_) | Self::LeaseEnded | Self::UnexpectedAnswer => 1,
            #[cfg(feature = "cluster")]
            Self::Certs(_) => 2,
            #[cfg(all(feature = "service", not(feature = "cluster")))]
            Self::NoCluster => 2,
            #[cfg(feature = "prometheus")]
            Self::Metrics { .. } | Self::NoRecorder(_) => 1,
            #[cfg(not(feature = "prometheus"))]
            Self::NoPrometheus => 2,
            #[cfg(feature = "otel")]
            Self::Traces(_) => 2,
            #[cfg(not(feature = "otel"))]
            Self::NoOtel => 2,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::LogFilter { .. } => {
                "write a level or levels by target, such as info or warn,teammy=debug".to_owned()
            }
            Self::Stem { .. } | Self::Nameless => "give the meeting an id: --meeting ID".to_owned(),
            Self::Recording(recording::Error::Broken(broken)) if broken.is_recognised() => {
                "correct the line, or skip such lines with --keep-going; nothing was stored".to_owned()
            }
            Self::Select(_) => "`teammy plugins` shows all".to_owned(),
            Self::Node(node::Error::MeetingExists(id)) => {
                let id = shell_word(id.as_str());
                format!(
                    "it was made from another recording, or with other options; replay under another id with --meeting ID, \
                     or after `teammy forget {id}`; `teammy history {id}` shows what is there"
                )
            }
            Self::OtherInstances { id, .. } | Self::OtherStart { id, .. } | Self::EndedEarly { id, .. } => {
                let id = shell_word(id.as_str());
                format!(
                    "replay under another id with --meeting ID, or after `teammy forget {id}`; `teammy history {id}` \
                     shows what is there"
                )
            }
            Self::NothingToResume { id } => format!(
                "packets that an instance gave up can be delivered again: `teammy dead-letters {} --redrive all`",
                shell_word(id.as_str())
            ),
            Self::NothingSince(_) => "leave --since out, or count from the end: --last N".to_owned(),
            Self::NoEffect(_) => "leave it out".to_owned(),
            Self::BlankDatabase => "leave it out, or give a URL, such as surrealkv://PATH; a shell's variable may be unset".to_owned(),
            Self::Node(node::Error::Llm(error))
                if matches!(error.downcast_ref(), Some(llm::Error::Keyless { .. })) =>
            {
                "set it, or choose plugins that need no model with --plugins; `teammy config` shows which keys are set".to_owned()
            }
            Self::Node(node::Error::NeedsLlm(_)) => {
                "name one in teammy.toml: [[llm.model]] with name, base_url and api_key_env; `teammy config --reference` \
                 says more"
                    .to_owned()
            }
            Self::Install(teammy::install::Error::Write { .. }) => {
                "name a file that can be written: install.manifest, or TEAMMY_INSTALL__MANIFEST".to_owned()
            }
            Self::Control(teammy::control::Error::NoNode { .. }) => {
                "start one, or set node.socket to the path where it listens; `teammy config` shows the setting".to_owned()
            }
            Self::NoGolden(_) => "write it with --update".to_owned(),
            Self::BrokenGolden { .. } => "correct the line, or write the file anew with --update".to_owned(),
            Self::Undated(_) => {
                "give the time with --started-at, such as 2026-01-05T09:00:00Z, wherever there is --expect".to_owned()
            }
            Self::Failures { meeting, .. } => format!(
                "`teammy dead-letters {}` lists the packets that were given up, if the database keeps them; \
                 --allow-failures accepts this",
                shell_word(meeting.as_str())
            ),
            Self::Different(_) => "if they are right, write them with --update".to_owned(),
            Self::InMemory => "give the database that holds the meeting: --db URL".to_owned(),
            Self::NoDatabase(_) if !cfg!(feature = "surrealdb") => {
                "this build has no database: build it with feature `surrealdb`".to_owned()
            }
            Self::NoDatabase(_) => "check --db, or `teammy config`, which shows database.url".to_owned(),
            Self::Interrupted { keeps: Keeps::Nothing, .. } => {
                "nothing is kept of it, because mem:// ends with the process; a database can be continued: --db surrealkv://PATH"
                    .to_owned()
            }
            Self::Interrupted { meeting, keeps: Keeps::AllButSound, .. } => {
                let id = shell_word(meeting.as_str());
                format!(
                    "sound is not stored, so its replay cannot be continued: replay it again under another id with \
                     --meeting ID, or after `teammy forget {id}`; `teammy history {id}` shows what is stored"
                )
            }
            #[cfg(feature = "cluster")]
            Self::Interrupted { keeps: Keeps::AtNodes, .. } => {
                "the same command continues from here; until then the meeting stays open at the nodes".to_owned()
            }
            #[cfg(feature = "cluster")]
            Self::Remote(error) => return error.hint().map(str::to_owned),
            Self::Interrupted { meeting, keeps: Keeps::Stored, .. } => format!(
                "the same command continues from here; `teammy history {}` shows what is stored",
                shell_word(meeting.as_str())
            ),
            _ => return None,
        })
    }

    /// Prints the message to stderr, with hints for the program of this name, and returns the exit code.
    pub(crate) fn exit(self, program: &str) -> ExitCode {
        let code = self.code();
        if code != 141 {
            // If stderr fails too, there is no other way to report the error.
            let message = self.message().replace("`teammy ", &format!("`{program} "));
            let _ = io::stderr().write_all(message.as_bytes());
        }
        ExitCode::from(code)
    }

    /// The error, its causes and a hint, each on a line of its own.
    fn message(&self) -> String {
        let mut message = format!("error: {self}\n");
        let mut last = self.to_string();
        let mut source = match self {
            // The filter's parse error is not a source of the variant, and is printed as a cause here.
            Self::LogFilter { error, .. } => Some(error as &dyn std::error::Error),
            _ => self.source(),
        };
        while let Some(cause) = source {
            let text = cause.to_string();
            // Some libraries repeat the cause in the message.
            if !last.ends_with(&text) {
                message.push_str("  because: ");
                message.push_str(&text);
                message.push('\n');
            }
            last = text;
            source = cause.source();
        }
        if let Some(hint) = self.hint() {
            message.push_str("  hint: ");
            message.push_str(&hint);
            message.push('\n');
        }
        printable(&message)
    }
}

/// Escapes control characters, which could move the cursor or ring the bell.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_has_causes_and_a_hint() {
        let id = MeetingId::new("it's \u{1F680}").unwrap();
        let error = Error::Node(node::Error::MeetingExists(id));
        assert_eq!(error.code(), 1);
        assert_eq!(
            error.message(),
            "error: meeting it's \u{1F680} exists already\n  hint: it was made from another recording, or with other options; replay \
             under another id with --meeting ID, or after `teammy forget 'it'\\''s \u{1F680}'`; `teammy history 'it'\\''s \u{1F680}'` \
             shows what is there\n"
        );

        let missing = io::Error::from(io::ErrorKind::NotFound);
        let error = Error::Runtime(missing);
        assert_eq!(error.message(), "error: cannot start threads\n  because: entity not found\n");
    }

    #[test]
    fn what_was_stopped_says_whether_it_can_be_continued() {
        let hint = |keeps| {
            let meeting = MeetingId::new("m").unwrap();
            Error::Interrupted { signal: Signal::Interrupt, meeting, keeps }.hint().unwrap()
        };
        assert!(hint(Keeps::Stored).starts_with("the same command continues from here"));
        assert!(
            hint(Keeps::AllButSound).starts_with("sound is not stored, so its replay cannot be continued")
        );
        assert!(hint(Keeps::Nothing).starts_with("nothing is kept of it"));
    }

    #[test]
    fn a_replay_that_fails_as_a_test_has_a_code_of_its_own() {
        let meeting = MeetingId::new("m").unwrap();
        assert_eq!(Error::Failures { meeting, failed: "a is suspended".to_owned() }.code(), 3);
        assert_eq!(Error::Different("x".into()).code(), 3);
        assert_eq!(Error::NoGolden("x".into()).code(), 2);
    }

    #[test]
    fn nothing_reaches_the_terminal_unescaped() {
        assert_eq!(printable("a\u{1b}[31m\nb"), "a\\u{1b}[31m\nb");
    }

    #[test]
    fn an_unknown_meeting_is_reported_with_the_known_ones() {
        let id = |id: &str| MeetingId::new(id).unwrap();
        assert_eq!(known(Some(&id("a")), &[id("a")]), "; did you mean a?");
        assert_eq!(known(None, &[]), "; the database holds none");
        let many: Vec<_> = (0..12).map(|n| id(&n.to_string())).collect();
        assert_eq!(known(None, &many), "; the database holds 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
    }
}
