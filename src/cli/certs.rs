//! `teammy certs`: certificates for the links between nodes.

use std::path::PathBuf;

use serde_json::json;
use teammy::{
    Name,
    cluster::certs::{self, Authority, NodeFiles, Validity},
};

use super::{
    error::Error,
    output::{Form, Output},
};

const EXAMPLES: &str = "\
Examples:
  teammy certs north-1 north-2 north-3          an authority and three certificates, in ./certs
  teammy certs --out /etc/teammy north-4        one more of the same authority, if ca.pem and ca-key.pem are there

A node takes three of the files: cluster.certificate, cluster.key, cluster.ca. Keep ca-key.pem off the nodes. The certificates of \
any other authority do as well: the node's name is a DNS name in its certificate, which is for servers and clients.";

/// Make certificates for the links between nodes, and an authority that signs them
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The nodes' names, as in cluster.node
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<Name>,
    /// Write them to this folder
    #[arg(long, value_name = "FOLDER", default_value = "certs")]
    out: PathBuf,
    /// For how many days they hold
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Print JSON lines, each with a "type"
    #[arg(long)]
    pub(super) json: bool,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Error> {
    // Before anything is written.
    args.nodes.iter().try_for_each(certs::check)?;
    let authority = Authority::open(&args.out)?;
    if authority.is_new() && output.form() == Form::Text {
        output.note(&format!("made an authority in {}", args.out.display()));
    }
    for node in &args.nodes {
        let NodeFiles { cert, key, ca, .. } = authority.add(node, Validity::days(args.days))?;
        match output.form() {
            Form::Json => output.object(&json!({
                "type": "certificate", "node": node, "certificate": cert, "key": key, "ca": ca,
            }))?,
            // JSON's strings are TOML's as well.
            Form::Text => output.text(&format!(
                "# node {node}\n[cluster]\nnode = \"{node}\"\ncertificate = {}\nkey = {}\nca = {}\n",
                json!(cert),
                json!(key),
                json!(ca)
            ))?,
        }
    }
    Ok(())
}
