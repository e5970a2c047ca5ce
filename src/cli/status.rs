//! `teammy status`: shows the status of the node that runs on this machine.

use teammy::{
    admin::{InstanceReport, MeetingReport, Request, Response, SourceLag, Status, StoreStatus},
    config::Config,
    control::Client,
};
use tokio::runtime::Runtime;

use super::{
    client,
    error::Error,
    output::{Form, Output, table},
    text::{count, word},
};

const EXAMPLES: &str = "\
Examples:
  teammy status          the node, its meetings and their instances
  teammy status --json   the same for programs

The command asks the node that listens on node.socket: a running replay, or a program of yours that embeds a node and listens there.";

/// Show the status of the node that runs on this machine: its meetings, instances and their lag, memory,
/// backlog, store
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Print one JSON line, with a "type"
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(serde::Serialize)]
struct StatusLine<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    status: &'a Status,
}

pub(crate) fn run(config: &Config, output: &Output) -> Result<(), Error> {
    let Some(path) = client::socket_path(&config.node)? else { return Err(Error::SocketOff) };
    let runtime = Runtime::new().map_err(Error::Runtime)?;
    let status = runtime.block_on(async {
        let mut client = Client::connect(path).await?;
        match client.request(Request::Status).await? {
            Response::Status { status } => Ok::<_, Error>(status),
            _ => Err(client.unexpected().into()),
        }
    })?;
    match output.form() {
        Form::Json => output.object(&StatusLine { r#type: "status", status: &status }),
        Form::Text => output.text(&readable(&status)),
    }
}

fn readable(status: &Status) -> String {
    let meetings = count(status.meetings.len() as u64, "meeting", "meetings");
    let store = match status.store {
        StoreStatus::Failing => "unavailable, retrying",
        _ => "ok",
    };
    let (used, limit) = (bytes(status.memory), bytes(status.memory_limit));
    let mut text = format!(
        "teammy {}, process {}: {meetings}; memory {used} of {limit}; store {store}",
        status.version, status.process
    );
    if status.threads_held > 0 {
        let threads = count(status.threads_held as u64, "thread", "threads");
        text.extend(["; ", &threads, " held by hooks"]);
    }
    for meeting in &status.meetings {
        text += &readable_meeting(meeting);
    }
    text
}

fn readable_meeting(meeting: &MeetingReport) -> String {
    let MeetingReport { id, seq, stored, packets, .. } = meeting;
    let (backlog, memory) = (bytes(meeting.backlog), bytes(meeting.memory));
    let status = word(&meeting.status);
    let mut table = table([
        "  instance",
        "status",
        "cursor",
        "behind",
        "delivered",
        "outputs",
        "errors",
        "dead letters",
        "lost",
        "hook",
    ]);
    for instance in &meeting.instances {
        table.add_row([
            format!("  {}", instance.name),
            word(&instance.status),
            instance.cursor.to_string(),
            behind(instance),
            instance.delivered.to_string(),
            instance.outputs.to_string(),
            instance.errors.to_string(),
            instance.dead_letters.to_string(),
            instance.lost.to_string(),
            hook(instance),
        ]);
    }
    format!(
        "\n\n{id}: {status}, {} published, seq {seq}, stored up to {stored}, backlog {backlog}, memory {memory}\n{table}",
        count(*packets, "packet", "packets")
    )
}

fn behind(instance: &InstanceReport) -> String {
    let lags = instance.lag.iter().filter(|lag| lag.packets > 0).map(|lag| {
        let more = if lag.packets >= SourceLag::MOST { "+" } else { "" };
        format!("{} {}{more} ({:.1} s)", lag.source, lag.packets, lag.seconds)
    });
    let lags: Vec<_> = lags.collect();
    if lags.is_empty() { "-".to_owned() } else { lags.join(", ") }
}

fn hook(instance: &InstanceReport) -> String {
    let shown = instance.hook.as_ref().map(|hook| {
        let doing = if hook.holds_thread { "runs" } else { "waits" };
        format!("{} {doing} {:.1} s", hook.source, hook.seconds)
    });
    shown.unwrap_or_else(|| "-".to_owned())
}

fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
