//! `teammy cluster`, `teammy drain` and `teammy move`: the nodes of a cluster, through the one that runs on this machine.

use serde_json::json;
use teammy::{
    MeetingId, Name,
    admin::{ClusterReport, NodeReport, Request, Response},
    config::Config,
    control::Client,
    store::LeaseStatus,
};
use tokio::{runtime::Runtime, time::Duration};

use super::{
    client,
    error::Error,
    output::{Form, Output, table},
    text::{count, word},
};

const EXAMPLES: &str = "\
Examples:
  teammy cluster                    nodes, leases, versions, meetings and links, as the node on this machine sees them
  teammy cluster --json             the same for programs, a line for each node
  teammy drain north-1              hand over all that north-1 runs: before it is stopped or upgraded
  teammy move standup north-2       move one meeting to north-2

Each asks the node that listens on node.socket. docs/cluster.md says how to start a cluster.";

/// Show the nodes of the cluster that the node on this machine is part of
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ShowArgs {
    /// Print JSON lines, each with a "type"
    #[arg(long)]
    pub(super) json: bool,
}

/// Have a node of the cluster hand its meetings over to the others and take none; waits until that is done
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DrainArgs {
    /// The node's name
    #[arg(value_name = "NODE")]
    node: Name,
    /// Print one JSON line, with a "type"
    #[arg(long)]
    pub(super) json: bool,
}

/// Have a meeting run on another node of the cluster; waits until it does
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MoveArgs {
    /// The meeting's id
    #[arg(value_name = "MEETING")]
    meeting: MeetingId,
    /// The node's name
    #[arg(value_name = "NODE")]
    node: Name,
    /// Print one JSON line, with a "type"
    #[arg(long)]
    pub(super) json: bool,
}

fn ask(config: &Config, request: Request) -> Result<Response, Error> {
    let Some(path) = client::socket_path(&config.node)? else { return Err(Error::SocketOff) };
    let runtime = Runtime::new().map_err(Error::Runtime)?;
    runtime.block_on(async {
        let mut client = Client::connect(path).await?;
        Ok(client.request(request).await?)
    })
}

fn report(config: &Config) -> Result<ClusterReport, Error> {
    match ask(config, Request::Cluster)? {
        Response::Cluster { cluster } => Ok(cluster),
        _ => Err(Error::UnexpectedAnswer),
    }
}

pub(crate) fn show(config: &Config, output: &Output) -> Result<(), Error> {
    let report = report(config)?;
    if output.form() == Form::Json {
        for node in &report.nodes {
            let is_asked = node.incarnation == report.me;
            output.object(&json!({"type": "node", "asked": is_asked, "node": node}))?;
        }
        return Ok(());
    }
    let mut table = table(["node", "lease", "meetings", "capacity", "version", "layouts", "link", "API"]);
    for node in &report.nodes {
        let own = if node.incarnation == report.me { " (asked)" } else { "" };
        table.add_row([
            format!("{}{own}", node.incarnation.node),
            lease(node),
            node.meetings.to_string(),
            if node.is_draining { "draining".to_owned() } else { node.capacity.to_string() },
            node.version.clone(),
            node.layouts.map_or_else(String::new, |(from, to)| {
                if from == to { to.to_string() } else { format!("{from} to {to}") }
            }),
            link(node),
            node.api.clone().unwrap_or_default(),
        ]);
    }
    output.text(&table.to_string())
}

fn lease(node: &NodeReport) -> String {
    match node.lease {
        LeaseStatus::Held => format!("{:.1} s left", Duration::from_millis(node.left_ms).as_secs_f64()),
        status => word(&status),
    }
}

fn link(node: &NodeReport) -> String {
    let Some(link) = &node.link else { return String::new() };
    let broke = if link.breaks > 0 {
        format!(", broke {}", count(link.breaks, "time", "times"))
    } else {
        String::new()
    };
    match (link.is_up, &link.reason) {
        (true, _) => format!("up{broke}"),
        (false, Some(reason)) => format!("down: {reason}"),
        (false, None) => "down".to_owned(),
    }
}

pub(crate) fn drain(args: &DrainArgs, config: &Config, output: &Output) -> Result<(), Error> {
    let Response::Drained { left } = ask(config, Request::Drain { node: args.node.clone() })? else {
        return Err(Error::UnexpectedAnswer);
    };
    match output.form() {
        Form::Json => output.object(&json!({"type": "drained", "node": args.node, "left": left})),
        Form::Text if left > 0 => output.text(&format!(
            "node {} takes no more meetings; it still runs {left} that no other node has taken, and its log says why",
            args.node
        )),
        Form::Text => output.text(&format!("node {} runs no meetings and takes none", args.node)),
    }
}

pub(crate) fn move_to(args: &MoveArgs, config: &Config, output: &Output) -> Result<(), Error> {
    ask(config, Request::Move { meeting: args.meeting.clone(), node: args.node.clone() })?;
    match output.form() {
        Form::Json => output.object(&json!({"type": "moved", "meeting": args.meeting, "node": args.node})),
        Form::Text => output.text(&format!("meeting {} runs on node {}", args.meeting, args.node)),
    }
}
