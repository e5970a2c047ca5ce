//! `teammy replay`: a recorded meeting goes through the kernel, and what the plugins make of it comes out.
//!
//! Everything that can be checked is checked first: the configuration, the plugins, every line. Only then is
//! the database opened and the meeting made, so that a mistake leaves nothing behind.

mod opening;

use std::{path::PathBuf, sync::Arc};

use futures::TryStreamExt;
use indicatif::ProgressBar;
use teammy::{
    Builder, DataPacket, Durability, Factory, MeetingId, MeetingMetadata, MeetingRef, Node, Publish,
    Timestamp, config::Config, plugins::bundle, store::PacketQuery,
};
use tokio::{
    runtime::Runtime,
    time::{Duration, Instant},
};

use super::{
    error::Error,
    history::print_stored,
    host::Host,
    install,
    output::{Output, is_shown},
    pace::{Pacer, Speed},
    recording::{Encoding, OnBroken, Options, Recording, Rules, is_stdin, parse_time},
    select::{Selection, select, taking_part},
    summary::Summary,
    text::count,
};
use opening::{Opening, Wanted};

const EXAMPLES: &str = "\
Examples:
  teammy replay standup.jsonl                           with all plugins
  teammy replay transcript.vtt --db mem://              keep nothing
  teammy replay call.vtt.gz --plugins talk-time --json  one plugin, as JSON
  teammy replay standup.jsonl --speed 10x --limit 100   paced, the beginning
  zcat *.jsonl.gz | teammy replay - --meeting all       from a pipe

The same command again goes on where a run was cut off.
Plugins that need a language model are left out where none is configured.";

/// Play a recorded meeting through the plugins, and print what they put out.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The recording: packets as JSON lines, {"source", "timestamp", "participant", "payload"}, such as
    /// `teammy history --json` prints (without what plugins had put out, which they put out anew), or a
    /// transcript as WebVTT (as Zoom and Teams export it, Teams' metadataContent included) or SubRip; any of
    /// them plain or compressed with gzip. Its content tells which, and not its name. Who speaks is read
    /// from tags (<v Ada>), or, where the whole file shows that they are names, from `Ada: …`, `[Ada] …`
    /// or `(Ada) …` before the text, or from the cues' identifiers.
    /// Where it is -, standard input is read. A file is read twice; what cannot be, such as a pipe, is held
    /// in memory, unpacked
    file: PathBuf,
    /// The meeting's id; otherwise the file's name without its ending
    #[arg(long, value_name = "ID")]
    meeting: Option<String>,
    /// Run only these instances; a plugin that the configuration has no instance of runs with its defaults.
    /// Otherwise all that are configured run, or else all plugins of this build. A meeting that is there
    /// already is not run again with others: that is refused
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    plugins: Option<Vec<String>>,
    /// Where to keep the meeting, instead of database.url: `surrealkv://PATH`, `mem://` or `ws://HOST:PORT`
    #[arg(long, value_name = "URL")]
    pub(super) db: Option<String>,
    /// How fast to play: max, or how many times as fast as it was, by the packets' timestamps: 1x, 10x, 0.5x
    #[arg(long, default_value = "max", allow_hyphen_values = true)]
    speed: Speed,
    /// Play only the first N packets; what is behind them isn't checked. Where names stand in a transcript's
    /// text, its whole file is still read for them, so that a limit doesn't change who speaks. Behind
    /// them nothing is read from a pipe, whose names are learnt from what came until then
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// How the recording is encoded, such as latin1, windows-1252 or utf-16le; otherwise as its byte order
    /// mark says, and without one as UTF-8. A byte order mark counts for more than this option
    #[arg(long, value_name = "LABEL")]
    encoding: Option<Encoding>,
    /// When the meeting of a transcript began, such as 2026-01-05T09:00:00Z: its times count from there;
    /// otherwise now. Packets as JSON lines say themselves when they happened, and are refused with this
    /// option
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    started_at: Option<Timestamp>,
    /// Skip broken lines, or cues of a transcript, instead of stopping before anything is stored; how many
    /// cues and words that leaves out is said
    #[arg(long)]
    keep_going: bool,
    /// Print JSON lines, each with a "type": the packets, and a summary at the end
    #[arg(long)]
    pub(super) json: bool,
    /// Print every packet that is stored, not only outputs: what `teammy history` prints. The meeting's own
    /// packets (its start and end, instances coming and going) are left out
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(args: &Args, config: Config, output: &Output) -> Result<(), Error> {
    let id = meeting_id(args)?;
    let bundle = bundle();
    let Selection { config, instances, mut notes } = select(config, args.plugins.as_deref(), &bundle)?;
    let packet_bytes = config.limits.packet_bytes;
    let host = Host::new(&config);
    let install = config.install.clone();
    let has_llm = !config.llm.models.is_empty();
    let builder = Node::builder(config).plugins(bundle);
    let graph = builder.check()?;
    let instances = taking_part(&graph, instances, has_llm, &mut notes)?;
    let factories: Vec<Factory> = graph.instances().map(|instance| instance.factory).collect();
    let on_broken = if args.keep_going { OnBroken::Skip } else { OnBroken::Stop };
    let Args { limit, encoding, started_at, .. } = *args;
    let options = Options { limit, on_broken, encoding, started_at };
    let volatile = graph.instances().filter(|instance| instance.output == Durability::Volatile);
    for instance in volatile.filter(|instance| instances.iter().any(|name| *name == instance.name.as_str())) {
        notes.push(format!(
            "{} puts out what is never stored, and a replay prints what is stored",
            instance.name
        ));
    }
    let recording = Recording::check(&args.file, Rules { graph, packet_bytes }, options)?;
    notes.extend(recording.note());
    for note in notes {
        output.note(&format!("note: {note}"));
    }
    for warning in recording.skipped().warnings() {
        output.note(&format!("warning: {warning}"));
    }
    let replay = Replay { args, id, instances, recording, output };
    let runtime = Runtime::new().map_err(Error::Runtime)?;
    runtime.block_on(install::missing(&factories, &install, output))?;
    let done = runtime.block_on(replay.run(builder, &host));
    // All is stored and closed; what may be left running is of no use to anybody.
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

fn meeting_id(args: &Args) -> Result<MeetingId, Error> {
    if let Some(id) = &args.meeting {
        return MeetingId::new(id).map_err(Error::MeetingId);
    }
    if is_stdin(&args.file) {
        return Err(Error::Nameless);
    }
    let is_gzip = args.file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    let file = if is_gzip { args.file.with_extension("") } else { args.file.clone() };
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    let unusable = |source| Error::Stem { file: args.file.clone(), source };
    MeetingId::new(stem.ok_or_else(|| unusable(None))?).map_err(|error| unusable(Some(error)))
}

/// Whether a packet is stored, and so numbered.
fn is_numbered(node: &Node, packet: &Publish) -> bool {
    node.graph().durability(packet.source.as_str()) == Some(Durability::Durable)
}

struct Replay<'a> {
    args: &'a Args,
    id: MeetingId,
    instances: Vec<String>,
    recording: Recording,
    output: &'a Output,
}

impl Replay<'_> {
    async fn run(&self, builder: Builder, host: &Host) -> Result<(), Error> {
        let play = async |node: &Node| self.play(node).await;
        let summary = host.run(builder, &self.id, self.output, play).await?;
        summary.print(self.output)
    }

    async fn play(&self, node: &Node) -> Result<Summary<'_>, Error> {
        let started = Instant::now();
        let producer: Arc<str> = self.recording.producer()?.into();
        let metadata = MeetingMetadata::new(self.id.clone()).started_at(self.recording.started_at());
        let packets = self.recording.play()?.try_fold(0, |count, packet| {
            let (packet, _) = packet?;
            Ok::<_, Error>(count + u64::from(is_numbered(node, &packet)))
        })?;
        let wanted = Wanted {
            metadata,
            instances: &self.instances,
            producer: &producer,
            packets,
            started_at: self.args.started_at,
        };
        let (meeting, done) = match opening::open(node, wanted).await? {
            Opening::New(meeting) => (meeting, 0),
            Opening::GoesOn(meeting, done) => {
                let (id, name) = (&self.id, self.recording.name());
                let packets = count(done, "packet", "packets");
                self.output.note(&format!("note: meeting {id} goes on: it has {packets} of {name} already"));
                (meeting, done)
            }
            Opening::Complete => {
                let (id, name) = (&self.id, self.recording.name());
                self.output.note(&format!("note: meeting {id} is complete: all of {name} has been played"));
                let wanted =
                    |packet: &DataPacket| is_shown(packet) && (self.args.all || !packet.causes.is_empty());
                print_stored(&**node.store(), id, PacketQuery::default(), self.output, wanted).await?;
                return Ok(Summary::complete(&self.id, self.recording.skipped().counts(), started.elapsed()));
            }
        };
        let bar = self.output.progress(self.recording.len());
        tokio::try_join!(self.publish(node, &meeting, &producer, done, &bar), self.print(&meeting))?;
        bar.finish_and_clear();
        Ok(Summary::new(&self.id, &meeting.stats(), self.recording.skipped().counts(), started.elapsed()))
    }

    /// Publishes the recording behind the `done` packets that the meeting has.
    async fn publish(
        &self,
        node: &Node,
        meeting: &MeetingRef,
        producer: &Arc<str>,
        done: u64,
        bar: &ProgressBar,
    ) -> Result<(), Error> {
        bar.set_message("publishing");
        let mut pacer = Pacer::new(self.args.speed);
        let started = Instant::now();
        let start = meeting.metadata().started_at.unwrap_or(self.recording.started_at());
        let mut number = 0;
        for packet in self.recording.play_from(start)? {
            let (mut packet, line) = packet?;
            // Only what is stored is numbered. What isn't, and came before what is, was lost with the run
            // that published it.
            if is_numbered(node, &packet) {
                number += 1;
                packet = packet.numbered(producer.clone(), number);
            }
            if done > 0 && number <= done {
                bar.inc(1);
                continue;
            }
            if let Some(due) = packet.timestamp.and_then(|timestamp| pacer.due(timestamp)) {
                tokio::time::sleep_until(started + due).await;
            }
            meeting.publish(packet).await.map_err(|source| {
                let recording = self.recording.name().to_owned();
                Error::Publish { recording, line, source }
            })?;
            bar.inc(1);
        }
        bar.set_message("finishing");
        Ok(meeting.end().await?)
    }

    async fn print(&self, meeting: &MeetingRef) -> Result<(), Error> {
        let mut packets = if self.args.all { meeting.packets() } else { meeting.outputs() };
        while let Some(packet) = packets.try_next().await? {
            if is_shown(&packet) {
                self.output.packet(&packet)?;
            }
        }
        Ok(())
    }
}
