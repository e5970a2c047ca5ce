//! `teammy node`: serves meetings over the network until a signal stops it.

use std::{net::SocketAddr, pin::pin, sync::Arc};

use serde_json::json;
use teammy::{
    config::Config,
    service::{RunningNode, Service, Stop},
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
  teammy key create --tenant acme --scope publish,read    a key; from then on each request needs one

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

async fn serve(args: &Args, plugins: &PluginSet, mut config: Config, output: &Output) -> Result<(), Error> {
    let recorder = metrics::Recorder::install()?;
    let _metrics = recorder.serve(&config.metrics)?;
    let mut signals = Signals::take().map_err(Error::Runtime)?;
    if let Some(listen) = args.listen {
        config.service.listen = listen;
    }
    let service = recorder.show(Service::bind(&config).await?);
    let (host, manifest, deadline) =
        (Host::new(&config), config.install.clone(), config.node.shutdown_deadline);
    let part = Part::take(&config, service.url()).await?;
    let started = async {
        let installed = install::prepared(&config, None, plugins.bundle(), output).await?;
        let builder = part.prepare(plugins.builder(config).installed(installed.clone()));
        let factories: Vec<_> =
            builder.check()?.instances().map(|instance| instance.factory.clone()).collect();
        install::missing(&factories, installed, &manifest, output).await?;
        tokio::select! {
            node = builder.start() => Ok(Some(Arc::new(node?.into_runtime()))),
            _ = signals.next() => Ok(None),
        }
    };
    let node = match started.await {
        Ok(Some(node)) => node,
        other => {
            part.leave().await;
            return other.map(|_| ());
        }
    };
    let part = part.join(&node);
    let mut running = Running { node, part, signals, output, deadline, began: Instant::now() };
    let done = running.serve(service, &host).await;
    running.shut_down(done).await
}

/// The node's part in a cluster, if it has one. Without feature `cluster` every node is alone.
enum Part {
    Alone,
    #[cfg(feature = "cluster")]
    Seat(Box<teammy::cluster::Seat>),
    #[cfg(feature = "cluster")]
    Member(Box<teammy::cluster::ClusterNode>),
}

impl Part {
    #[cfg(feature = "cluster")]
    async fn take(config: &Config, api: String) -> Result<Self, Error> {
        let seat = Box::pin(teammy::cluster::Seat::take(config, Some(api))).await?;
        Ok(seat.map_or(Self::Alone, |seat| Self::Seat(Box::new(seat))))
    }

    #[cfg(not(feature = "cluster"))]
    #[expect(clippy::unused_async, reason = "as with the feature")]
    async fn take(config: &Config, _: String) -> Result<Self, Error> {
        if config.cluster.node.is_some() { Err(Error::NoCluster) } else { Ok(Self::Alone) }
    }

    fn prepare(&self, builder: teammy::Builder) -> teammy::Builder {
        match self {
            #[cfg(feature = "cluster")]
            Self::Seat(seat) => builder.store(seat.store()).owner(seat.owner().clone()),
            _ => builder,
        }
    }

    /// Takes the seat, if there is one.
    #[cfg_attr(
        not(feature = "cluster"),
        expect(unused_variables, reason = "without the feature there is no seat")
    )]
    fn join(self, node: &Arc<RunningNode>) -> Self {
        match self {
            #[cfg(feature = "cluster")]
            Self::Seat(seat) => Self::Member(Box::new(seat.join(node.clone()))),
            part => part,
        }
    }

    /// The node did not start.
    #[cfg_attr(not(feature = "cluster"), expect(clippy::unused_async, reason = "as with the feature"))]
    async fn leave(self) {
        match self {
            #[cfg(feature = "cluster")]
            Self::Seat(seat) => seat.leave().await,
            _ => {}
        }
    }

    fn is_member(&self) -> bool {
        !matches!(self, Self::Alone)
    }

    /// Waits until the node is no member any more.
    async fn lost(&self) -> Result<(), Error> {
        match self {
            #[cfg(feature = "cluster")]
            Self::Member(member) => {
                member.lost().await;
                Err(Error::LeaseEnded)
            }
            _ => std::future::pending().await,
        }
    }

    #[cfg_attr(not(feature = "cluster"), expect(clippy::unused_async, reason = "as with the feature"))]
    async fn drain(&self) {
        match self {
            #[cfg(feature = "cluster")]
            Self::Member(member) => member.drain().await,
            _ => {}
        }
    }

    async fn shut_down(self, node: &RunningNode, left: Duration) -> Result<(), teammy::node::Error> {
        match self {
            #[cfg(feature = "cluster")]
            Self::Member(member) => member.shutdown(left).await,
            _ => node.shutdown(left).await,
        }
    }
}

/// A node that was started.
struct Running<'a> {
    node: Arc<RunningNode>,
    part: Part,
    signals: Signals,
    output: &'a Output,
    deadline: Duration,
    /// When it began to stop: all of that has one deadline.
    began: Instant,
}

/// How a node's work went, and whether it is to stop at once.
type Done = (Result<(), Error>, bool);

impl Running<'_> {
    /// Serves until a signal comes or something fails.
    async fn serve(&mut self, service: Service, host: &Host) -> Done {
        let Self { node, part, signals, output, deadline, began } = self;
        let (asks_for_keys, socket) = match (service.asks_for_keys(node).await, host.listen()) {
            (Ok(asks), Ok(socket)) => (asks, socket),
            (Err(error), _) => return (Err(error.into()), false),
            (_, Err(error)) => return (Err(error), false),
        };
        if let Err(error) = print_address(output, &service, asks_for_keys) {
            return (Err(error), false);
        }
        let stop = Stop::default();
        let mut serving = pin!(service.serve(node.clone(), stop.clone(), *deadline / 2));
        let working = async {
            // In a cluster the members take over what nobody runs.
            if !part.is_member() {
                let report = node.resume_all(RESUMED_AT_ONCE, |_| true).await;
                print_resumed(output, report.resumed(), report.failures().count())?;
            }
            stop.ready();
            std::future::pending::<Result<(), Error>>().await
        };
        let answering = async {
            match &socket {
                Some(socket) => socket.serve(node).await,
                None => std::future::pending().await,
            }
        };
        let done = tokio::select! {
            served = &mut serving => return (served.map_err(Into::into), false),
            done = working => done,
            () = answering => Ok(()),
            lost = part.lost() => lost,
            _ = signals.next() => Ok(()),
        };
        output.note("stopping; a second signal stops at once");
        *began = Instant::now();
        // What moves to other nodes is still reached through this one meanwhile.
        stop.drain();
        tokio::select! {
            served = &mut serving => return (served.map_err(Into::into), false),
            _ = tokio::time::timeout(*deadline / 2, part.drain()) => {}
            _ = signals.next() => return (Ok(()), true),
        }
        stop.stop();
        tokio::select! {
            _ = serving => (done, false),
            _ = signals.next() => (Ok(()), true),
        }
    }

    async fn shut_down(mut self, (done, at_once): Done) -> Result<(), Error> {
        if at_once {
            return done;
        }
        let left = self.deadline.saturating_sub(self.began.elapsed());
        tokio::select! {
            stopped = self.part.shut_down(&self.node, left) => stopped.map_err(Error::Node)?,
            _ = self.signals.next() => {}
        }
        done
    }
}

fn print_address(output: &Output, service: &Service, asks_for_keys: bool) -> Result<(), Error> {
    if !asks_for_keys {
        output.note(
            "note: there is no key, so none is asked for: whoever can reach the address on this machine can do everything",
        );
    }
    match output.form() {
        Form::Json => output.object(&json!({
            "type": "listening", "address": service.address(), "url": service.url(), "keys": asks_for_keys,
        })),
        Form::Text => output.text(&format!("listening on {}", service.url())),
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
