//! `teammy resume`: resumes a meeting that no node runs any more, as far as that goes without new packets.
//!
//! The instances process the stored packets that they had not finished, with the states that they had. If the
//! meeting's end had begun, it is completed. To play the rest of a recording use `teammy replay`, which
//! resumes the meeting itself.

use std::pin::pin;

use futures::TryStreamExt;
use teammy::{
    Builder, DataPacket, MeetingId, MeetingRef, Name, Node, Seq, Store,
    admin::Request,
    config::Config,
    control::Client,
    node, open_store,
    store::{MeetingStatus, PacketQuery},
};
use tokio::{
    runtime::Runtime,
    time::{Duration, Instant},
};

use super::{
    client,
    error::Error,
    history::{self, print_stored},
    host::{Host, unless_ended},
    install,
    output::Output,
    packets::PacketReader,
    plugin_set::PluginSet,
    recording::SkipCounts,
    select::{self, select},
    summary::Summary,
};

const EXAMPLES: &str = "\
Examples:
  teammy resume standup         let its instances finish what is stored
  teammy resume standup --end   and end the meeting
  teammy resume standup --instance minutes   resume a suspended instance, too

The command takes the meeting over: another node that runs it stops, and loses what it has not stored.";

/// Resume a meeting that was cut off: its instances finish with what is stored, and their outputs are printed
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The meeting's id
    meeting: String,
    /// End the meeting when its instances have caught up; otherwise it stays open, unless its end had begun
    /// before
    #[arg(long)]
    end: bool,
    /// Resume this suspended instance, too; may be given more than once. If a node on this machine runs the
    /// meeting, the command asks the node to resume the instance, and does nothing else
    #[arg(long, value_name = "NAME")]
    instance: Vec<String>,
    /// Where the meeting is kept, instead of database.url
    #[arg(long, value_name = "URL")]
    pub(super) db: Option<String>,
    /// Print JSON lines, each with a "type": the outputs that come, and a summary at the end
    #[arg(long)]
    pub(super) json: bool,
}

pub(crate) fn run(args: &Args, plugins: &PluginSet, config: Config, output: &Output) -> Result<(), Error> {
    let id = MeetingId::new(&args.meeting).map_err(Error::MeetingId)?;
    let runtime = Runtime::new().map_err(Error::Runtime)?;
    let done = runtime.block_on(async {
        if !args.instance.is_empty()
            && let Some(mut client) = client::holder(&config).await?
        {
            if args.end {
                return Err(Error::RunsElsewhere(id));
            }
            return ask(&mut client, &id, &args.instance, output).await;
        }
        history::check_kept(&config.database)?;
        let store = open_store(&config.database).await?;
        let resume = Resume { args, plugins, id, output };
        let found = resume.prepare(&*store, config).await;
        match found {
            Ok(Some((builder, host, after))) => resume.run(builder.store(store), &host, after).await,
            Ok(None) => {
                store.close().await?;
                if !args.instance.is_empty() {
                    return Err(Error::NothingToResume { id: resume.id });
                }
                output.note(&format!("note: meeting {} is complete: there is nothing left to do", resume.id));
                Ok(())
            }
            Err(error) => {
                // The first error matters more than one of closing the store.
                let _ = store.close().await;
                Err(error)
            }
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// Asks the node that runs the meeting to resume instances.
async fn ask(
    client: &mut Client,
    id: &MeetingId,
    instances: &[String],
    output: &Output,
) -> Result<(), Error> {
    for instance in instances {
        let request = Request::ResumeInstance {
            meeting: id.clone(),
            instance: Name::new(instance).map_err(Error::Source)?,
        };
        client::ask(client, id, request).await?;
        output.note(&format!("{instance} resumes in meeting {id}"));
    }
    Ok(())
}

struct Resume<'a> {
    args: &'a Args,
    plugins: &'a PluginSet,
    id: MeetingId,
    output: &'a Output,
}

impl Resume<'_> {
    /// A node with the instances that the meeting needs, its host, and the seq after which all packets are
    /// new. `None` if the meeting is complete.
    async fn prepare(
        &self,
        store: &dyn Store,
        config: Config,
    ) -> Result<Option<(Builder, Host, Seq)>, Error> {
        let Some(record) = store.meeting(self.id.clone()).await? else {
            return Err(history::unknown(store, &self.id).await?);
        };
        if record.status == MeetingStatus::Ended {
            return Ok(None);
        }
        let needed = node::unfinished(store, &self.id).await?;
        let mut needed: Vec<String> = needed.iter().map(|name| name.as_str().to_owned()).collect();
        needed.extend(self.args.instance.iter().cloned());
        let missing = |name: &str| match Name::new(name) {
            Ok(instance) => node::Error::MissingInstance { meeting: self.id.clone(), instance }.into(),
            Err(error) => Error::Source(error),
        };
        let bundle = self.plugins.bundle();
        let installed = install::prepared(&config, Some(&needed), bundle, self.output).await?;
        let selection = select(config, Some(&needed), bundle, &installed).map_err(|error| match error {
            select::Error::Unknown { wanted: name, .. } | select::Error::OtherName { kind: name, .. } => {
                missing(&name)
            }
        })?;
        let (manifest, host) = (selection.config.install.clone(), Host::new(&selection.config));
        let builder = self.plugins.builder(selection.config).installed(installed.clone());
        let graph = builder.check()?;
        let factories: Vec<_> = graph.instances().map(|instance| instance.factory.clone()).collect();
        install::missing(&factories, installed, &manifest, self.output).await?;
        Ok(Some((builder, host, record.reserved)))
    }

    async fn run(&self, builder: Builder, host: &Host, after: Seq) -> Result<(), Error> {
        let work = async |node: &Node| self.resume(node, after).await;
        let summary = host.run(builder, &self.id, self.output, work).await?;
        summary.print(self.output)
    }

    async fn resume(&self, node: &Node, after: Seq) -> Result<Summary<'_>, Error> {
        let started = Instant::now();
        let meeting = node.resume_meeting(&self.id).await?;
        for instance in &self.args.instance {
            meeting.resume_instance(instance).await?;
        }
        let mut outputs = meeting.outputs_after(after);
        let mut shown = after;
        let mut finished = pin!(self.finish(&meeting));
        loop {
            tokio::select! {
                output = outputs.try_next() => match output? {
                    Some(packet) => {
                        self.output.packet(&packet)?;
                        shown = packet.seq;
                    }
                    // The meeting has ended, so `finish` returns next.
                    None => break finished.await?,
                },
                done = &mut finished => break done?,
            }
        }
        // All outputs are stored now; those that have not been printed yet are read from the store.
        let is_output = |packet: &DataPacket| node.graph().instance(packet.source.as_str()).is_some();
        let rest = PacketQuery::range(shown.next(), Seq::MAX);
        print_stored(&PacketReader::Store(&**node.store()), &self.id, rest, self.output, is_output).await?;
        let record = node.store().meeting(self.id.clone()).await?;
        if record.is_some_and(|record| record.status != MeetingStatus::Ended) {
            let id = &self.id;
            self.output.note(&format!("note: meeting {id} has caught up and is still open: --end ends it"));
        }
        Ok(Summary::new(&self.id, &meeting.stats().await?, SkipCounts::default(), started.elapsed()))
    }

    async fn finish(&self, meeting: &MeetingRef) -> Result<(), Error> {
        let finished = if self.args.end { meeting.end().await } else { meeting.caught_up().await };
        Ok(unless_ended(finished)?)
    }
}
