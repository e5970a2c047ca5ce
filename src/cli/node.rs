//! `teammy node`: serves meetings over the network until a signal stops it.

use std::{net::SocketAddr, pin::pin, sync::Arc};

use serde_json::json;
use teammy::{
    config::Config,
    service::{Service, Stop},
};
use tokio::{
    runtime::Runtime,
    time::{Duration, Instant},
};

use super::{
    error::Error,
    host::Host,
    install, metrics,
    output::{Form, Output},
    plugin_set::PluginSet,
    signal::Signals,
    text::count,
};

const EXAMPLES: &str = "\
Examples:
  teammy node                            at service.listen, with the meetings of database.url
  teammy node --listen 127.0.0.1:0       at a free port, which it prints
  teammy node --db mem://                keep nothing

docs/http.md describes what it answers. A signal stops it: requests that are under way are answered, streams end with the \
event `again`, meetings are stored and let go within node.shutdown_deadline. A second signal stops it at once.";

/// How many meetings are resumed at once.
const RESUMED_AT_ONCE: usize = 32;

/// Serve meetings over the network until a signal stops it; meetings that are not complete are resumed first
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Listen on this address, instead of service.listen
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where the meetings are kept, instead of database.url
    #[arg(long, value_name = "URL")]
    pub(super) db: Option<String>,
    /// Print JSON lines, each with a "type": where the node listens, and what it resumed
    #[arg(long)]
    pub(super) json: bool,
}

pub(crate) fn run(args: &Args, plugins: &PluginSet, config: Config, output: &Output) -> Result<(), Error> {
    let runtime = Runtime::new().map_err(Error::Runtime)?;
    let done = runtime.block_on(serve(args, plugins, config, output));
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

async fn serve(args: &Args, plugins: &PluginSet, config: Config, output: &Output) -> Result<(), Error> {
    let _metrics = metrics::serve(&config.metrics)?;
    let mut signals = Signals::take().map_err(Error::Runtime)?;
    let service = Service::bind(args.listen.unwrap_or(config.service.listen)).await?;
    let address = service.address();
    let (host, manifest) = (Host::new(&config), config.install.clone());
    let (packet_bytes, deadline) = (config.limits.packet_bytes.as_usize(), config.node.shutdown_deadline);
    let builder = plugins.builder(config);
    let factories: Vec<_> = builder.check()?.instances().map(|instance| instance.factory.clone()).collect();
    install::missing(&factories, &manifest, output).await?;
    let node = tokio::select! {
        node = builder.start() => Arc::new(node?.into_runtime()),
        _ = signals.next() => return Ok(()),
    };
    let stop = Stop::default();
    // When it began to stop: all of that has one deadline.
    let mut began = Instant::now();
    let done = match host.listen() {
        Err(error) => Err(error),
        Ok(socket) => {
            print_address(output, address)?;
            let mut serving = pin!(service.serve(node.clone(), packet_bytes, stop.clone(), deadline / 2));
            let working = async {
                let report = node.resume_all(RESUMED_AT_ONCE, |_| true).await;
                stop.ready();
                print_resumed(output, report.resumed(), report.failures().count())?;
                std::future::pending::<Result<(), Error>>().await
            };
            let answering = async {
                match &socket {
                    Some(socket) => socket.serve(&node).await,
                    None => std::future::pending().await,
                }
            };
            let done = tokio::select! {
                () = &mut serving => Ok(()),
                done = working => done,
                () = answering => Ok(()),
                _ = signals.next() => Ok(()),
            };
            output.note("stopping; a second signal stops at once");
            began = Instant::now();
            stop.stop();
            tokio::select! {
                () = serving => {}
                _ = signals.next() => return Ok(()),
            }
            done
        }
    };
    tokio::select! {
        stopped = node.shutdown(deadline.saturating_sub(began.elapsed())) => stopped.map_err(Error::Node)?,
        _ = signals.next() => {}
    }
    done
}

fn print_address(output: &Output, address: SocketAddr) -> Result<(), Error> {
    output.note("note: no key is asked for: whoever can reach the address on this machine can do everything");
    match output.form() {
        Form::Json => output.object(&json!({"type": "listening", "address": address})),
        Form::Text => output.text(&format!("listening on http://{address}")),
    }
}

fn print_resumed(output: &Output, resumed: usize, failed: usize) -> Result<(), Error> {
    match output.form() {
        Form::Json => output.object(&json!({"type": "resumed", "meetings": resumed, "failed": failed})),
        Form::Text => {
            if resumed > 0 {
                output.text(&format!("resumed {}", count(resumed as u64, "meeting", "meetings")))?;
            }
            if failed > 0 {
                let failed = count(failed as u64, "meeting", "meetings");
                output.note(&format!("warning: {failed} could not be resumed; the log says why"));
            }
            Ok(())
        }
    }
}
