//! `teammy replay`: plays a recorded meeting through the plugins, and prints their outputs.
//!
//! It first checks all that can be checked: the configuration, the plugins, every line. Only then it opens
//! the database and starts the meeting, so that a mistake leaves nothing behind.

mod meeting;

use std::{path::PathBuf, sync::Arc};

use futures::TryStreamExt;
use indicatif::ProgressBar;
use teammy::{
    Builder, DataPacket, Durability, Factory, MeetingId, MeetingMetadata, MeetingRef, Node, Publish,
    Timestamp, config::Config, store::PacketQuery,
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
    packets::PacketReader,
    plugin_set::PluginSet,
    recording::{Encoding, OnBroken, Options, Recording, Rules, is_stdin, parse_time},
    select::{Selection, select, taking_part},
    summary::Summary,
    text::count,
};
use meeting::{ReplayMeeting, ReplayRequest};

const EXAMPLES: &str = "\
Examples:
  teammy replay standup.jsonl                           with all plugins
  teammy replay transcript.vtt --db mem://              keep nothing
  teammy replay call.vtt.gz --plugins talk-time --json  one plugin, as JSON
  teammy replay standup.jsonl --speed 10x --limit 100   the beginning, at ten times the speed
  zcat *.jsonl.gz | teammy replay - --meeting all       from a pipe

The same command again continues where a run was cut off, unless it kept nothing (mem://).
Plugins that need a language model are left out where none is configured.";

/// Play a recorded meeting through the plugins, and print what they put out.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The recording: packets as JSON lines, {"source", "timestamp", "participant", "payload"}, such as
    /// `teammy history --json` prints (outputs are left out, because the replay makes them anew), or a
    /// transcript as WebVTT (as Zoom and Teams export it, Teams' metadataContent included) or SubRip; any of
    /// them plain or compressed with gzip. The format is recognised by the content, not by the file's name.
    /// Names of speakers are read from tags (<v Ada>), or, where the whole file shows that they are names, from
    /// `Ada: …`, `[Ada] …` or `(Ada) …` before the text, or from the cues' identifiers.
    /// The file - is standard input. A file is read twice; a pipe, which cannot be, is held in memory,
    /// unpacked
    file: PathBuf,
    /// The meeting's id; otherwise the file's name without its extension
    #[arg(long, value_name = "ID")]
    meeting: Option<String>,
    /// Run only these instances; a plugin without an instance in the configuration runs with its defaults.
    /// Otherwise all configured instances run, or else all plugins of this build. A meeting that exists
    /// already cannot be run again with other instances
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    plugins: Option<Vec<String>>,
    /// Where to keep the meeting, instead of database.url: `surrealkv://PATH`, `mem://` or `ws://HOST:PORT`
    #[arg(long, value_name = "URL")]
    pub(super) db: Option<String>,
    /// How fast to play: max, or a factor of the original speed by the packets' timestamps: 1x, 10x, 0.5x
    #[arg(long, default_value = "max", allow_hyphen_values = true)]
    speed: Speed,
    /// Play only the first N packets; the lines after them are not checked. A transcript's file is still
    /// read to its end for the names of speakers, so that a limit does not change who speaks. A pipe is read
    /// no further, and its names are learnt from what was read
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// The encoding of a recording without a byte order mark, such as latin1, windows-1252 or utf-16le;
    /// otherwise UTF-8. A byte order mark overrides this option
    #[arg(long, value_name = "LABEL")]
    encoding: Option<Encoding>,
    /// When the meeting of a transcript began, such as 2026-01-05T09:00:00Z; otherwise now. The transcript's
    /// times count from then. Not for packets as JSON lines, which have timestamps
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    started_at: Option<Timestamp>,
    /// Skip broken lines, or cues of a transcript, instead of stopping before anything is stored; a warning
    /// says how many lines, or cues and words, were skipped
    #[arg(long)]
    keep_going: bool,
    /// Print JSON lines, each with a "type": the packets, and a summary at the end
    #[arg(long)]
    pub(super) json: bool,
    /// Print every stored packet, not only outputs, as `teammy history` does. Runtime packets (the meeting's
    /// start and end, instances that join and leave) are left out
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(args: &Args, plugins: &PluginSet, config: Config, output: &Output) -> Result<(), Error> {
    let id = meeting_id(args)?;
    let selection = select(config, args.plugins.as_deref(), plugins.bundle())?;
    let Selection { config, instances, mut notes } = selection;
    let packet_bytes = config.limits.packet_bytes;
    let host = Host::new(&config);
    let install = config.install.clone();
    let has_llm = !config.llm.models.is_empty();
    let builder = plugins.builder(config);
    let graph = builder.check()?;
    let instances = taking_part(&graph, instances, has_llm, &mut notes)?;
    let factories: Vec<Factory> = graph.instances().map(|instance| instance.factory.clone()).collect();
    let on_broken = if args.keep_going { OnBroken::Skip } else { OnBroken::Stop };
    let Args { limit, encoding, started_at, .. } = *args;
    let options = Options { limit, on_broken, encoding, started_at };
    let volatile = graph.instances().filter(|instance| instance.output == Durability::Volatile);
    for instance in volatile.filter(|instance| instances.iter().any(|name| *name == instance.name.as_str())) {
        notes.push(format!(
            "the outputs of {} are never stored, and a replay prints only what is stored",
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
    // All is stored and closed; what still runs is not needed.
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

/// Whether a packet is stored, and therefore numbered.
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
        let request = ReplayRequest {
            metadata,
            instances: &self.instances,
            producer: &producer,
            packets,
            started_at: self.args.started_at,
        };
        let (meeting, done) = match meeting::open(node, request).await? {
            ReplayMeeting::New(meeting) => (meeting, 0),
            ReplayMeeting::Resumed(meeting, done) => {
                let (id, name) = (&self.id, self.recording.name());
                let packets = count(done, "packet", "packets");
                self.output.note(&format!("note: meeting {id} resumes: it already has {packets} of {name}"));
                (meeting, done)
            }
            ReplayMeeting::Complete => {
                let (id, name) = (&self.id, self.recording.name());
                self.output.note(&format!("note: meeting {id} is complete: all of {name} has been played"));
                let wanted =
                    |packet: &DataPacket| is_shown(packet) && (self.args.all || !packet.causes.is_empty());
                print_stored(
                    &PacketReader::Store(&**node.store()),
                    id,
                    PacketQuery::default(),
                    self.output,
                    wanted,
                )
                .await?;
                return Ok(Summary::complete(&self.id, self.recording.skipped().counts(), started.elapsed()));
            }
        };
        let bar = self.output.progress(self.recording.len());
        tokio::try_join!(self.publish(node, &meeting, &producer, done, &bar), self.print(&meeting))?;
        bar.finish_and_clear();
        Ok(Summary::new(
            &self.id,
            &meeting.stats().await?,
            self.recording.skipped().counts(),
            started.elapsed(),
        ))
    }

    /// Publishes the recording without the first `done` numbered packets, which the meeting has already.
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
        // The recording alone moves the meeting's clock, so that ticks and wakes are the same at any speed.
        meeting.hold_clock(Timestamp::MIN).await?;
        let mut number = 0;
        for packet in self.recording.play_from(start)? {
            let (mut packet, line) = packet?;
            // Only stored packets are numbered. A packet that is not stored, before one that the meeting has,
            // was lost with the run that published it.
            if is_numbered(node, &packet) {
                number += 1;
                packet = packet.numbered(producer.clone(), number);
            }
            if done > 0 && number <= done {
                bar.inc(1);
                continue;
            }
            if let Some(timestamp) = packet.timestamp
                && let Some(due) = pacer.due(timestamp)
            {
                meeting.hold_clock(timestamp).await?;
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
