//! `teammy replay`: plays a recorded meeting through the plugins, and prints their outputs.
//!
//! It first checks all that can be checked: the configuration, the plugins, every line. Only then it opens
//! the database and starts the meeting, so that a mistake leaves nothing behind.

mod expect;
mod lossless;
mod meeting;
mod played;
#[cfg(feature = "cluster")]
mod remote;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use clap::builder::NonEmptyStringValueParser;
use futures::TryStreamExt;
use indicatif::ProgressBar;
use teammy::{
    Builder, DataPacket, Durability, Factory, MeetingId, MeetingMetadata, MeetingRef, Node, Publish, Seq,
    Timestamp, config::Config, store::PacketQuery,
};
use tokio::{
    runtime::Runtime,
    time::{Duration, Instant},
};

use super::{
    error::{Error, Keeps},
    failures::Failures,
    history::print_stored,
    host::{Host, unless_ended},
    install,
    output::{Output, is_shown},
    pace::{Pacer, Speed},
    packets::{From, PacketReader},
    plugin_set::PluginSet,
    recording::{Encoding, OnBroken, Options, Recording, Rules, is_stdin, parse_time},
    select::{Selection, select, taking_part},
    summary::Summary,
    text::count,
};
use expect::{Golden, Positions};
use meeting::{ReplayMeeting, ReplayRequest};
use played::{Played, Verdict};
#[cfg(feature = "cluster")]
pub(crate) use remote::{KEY_VARIABLE, RemoteError};

const EXAMPLES: &str = "\
Examples:
  teammy replay standup.jsonl                           with all plugins
  teammy replay transcript.vtt --db mem://              keep nothing
  teammy replay call.vtt.gz --plugins talk-time --json  one plugin, as JSON
  teammy replay standup.jsonl --speed 10x --limit 100   the beginning, at ten times the speed
  teammy replay call.wav --participant Ada              sound
  teammy replay standup.jsonl --expect golden.jsonl     as a test; --update writes the file
  zcat *.jsonl.gz | teammy replay - --meeting all       from a pipe

Exit codes: 0 done; 1 failed; 2 bad usage, configuration or input; 3 played, but an instance is suspended or gave up \
packets (unless --allow-failures), or the outputs differ from those in the file of --expect.
The same command again continues where a run was cut off, unless it kept nothing (mem://) or played sound.
Plugins that need a language model are left out where none is configured.";

/// Play a recorded meeting through the plugins, and print what they put out.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[allow(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct Args {
    /// The recording: packets as JSON lines, {"source", "timestamp", "participant", "payload"}, such as
    /// `teammy history --json` prints (outputs are left out, because the replay makes them anew), a
    /// transcript as WebVTT (as Zoom and Teams export it, Teams' metadataContent included) or SubRip, or sound as
    /// WAV; any of them plain or compressed with gzip. The format is recognised by the content, not by the file's name.
    /// Names of speakers are read from tags (<v Ada>), or, where the whole file shows that they are names, from
    /// `Ada: …`, `[Ada] …` or `(Ada) …` before the text, or from the cues' identifiers. Sound is played as frames
    /// of 20 ms on source audio, in 16 bits, and waits for instances that take it: none is lost.
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
    /// Play into nodes that run, over their network API, instead of starting one here: a node, or several of a cluster
    /// with commas between them, such as http://localhost:7601,http://localhost:7602. Another one is used when one
    /// fails. The nodes keep the meeting and run it with their own instances: those of --plugins, or else all. Sources
    /// are checked by the configuration here. The variable `TEAMMY_KEY` holds a key, if the nodes ask for one
    #[cfg(feature = "cluster")]
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',')]
    cluster: Option<Vec<remote::Address>>,
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
    /// When the meeting of a transcript or of sound began, such as 2026-01-05T09:00:00Z; otherwise now. Its times
    /// count from then. Not for packets as JSON lines, which have timestamps
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    started_at: Option<Timestamp>,
    /// Who is heard in a WAV file; otherwise nobody is named. Given once, all channels are one sound of this
    /// participant; given as often as there are channels, each channel is the sound of one, in this order
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    participant: Vec<String>,
    /// Skip broken lines, or cues of a transcript, instead of stopping before anything is stored; a warning
    /// says how many lines, or cues and words, were skipped
    #[arg(long)]
    keep_going: bool,
    /// Succeed even if an instance is suspended at the end, or gave up packets; otherwise the exit code is 3
    #[arg(long)]
    allow_failures: bool,
    /// Compare the stored outputs with this file, which holds packets as JSON lines, and print how they differ, as a
    /// unified diff with a line for each packet; if they do, the exit code is 3. Compared by instance, in order: the
    /// payload, the participant, which packets of the recording an output came from, and its timestamp. Of a file
    /// that --json printed: the payload and the participant. At nodes times are of their clock, and not compared
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Write the outputs to the file of --expect instead; not if instances failed, unless --allow-failures
    #[arg(long, requires = "expect")]
    update: bool,
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
    let golden = args.expect.as_deref().filter(|_| !args.update).map(Golden::read).transpose()?;
    #[cfg(feature = "cluster")]
    if let Some(addresses) = &args.cluster {
        let golden = golden.map(Golden::without_times);
        return run_at_nodes(args, addresses, &id, golden.as_ref(), plugins, config, output);
    }
    let runtime = Runtime::new().map_err(Error::Runtime)?;
    let (wanted, bundle) = (args.plugins.as_deref(), plugins.bundle());
    let installed = runtime.block_on(install::prepared(&config, wanted, bundle, output))?;
    let selection = select(config, wanted, bundle, &installed)?;
    let Selection { config, instances, mut notes } = selection;
    let packet_bytes = config.limits.packet_bytes;
    let host = Host::new(&config);
    let install = config.install.clone();
    let has_llm = !config.llm.models.is_empty();
    let builder = plugins.builder(config).installed(installed.clone());
    let graph = builder.check()?;
    let builder = builder.configure(|config| lossless::waiting(&graph, config));
    let graph = builder.check()?;
    let instances = taking_part(&graph, instances, has_llm, &mut notes)?;
    let factories: Vec<Factory> = graph.instances().map(|instance| instance.factory.clone()).collect();
    let volatile = graph.instances().filter(|instance| instance.output == Durability::Volatile);
    for instance in volatile.filter(|instance| instances.iter().any(|name| *name == instance.name.as_str())) {
        notes.push(format!(
            "the outputs of {} are never stored, and a replay prints only what is stored",
            instance.name
        ));
    }
    let is_audio_taken = instances
        .iter()
        .filter_map(|name| graph.instance(name))
        .any(|instance| instance.subscriptions.keys().any(|source| source.as_str() == "audio"));
    let recording = checked(args, Rules { graph, packet_bytes })?;
    notes.extend(recording.note());
    if recording.is_sound() && !is_audio_taken {
        notes.push(format!("no instance takes audio, so nobody hears {}", recording.name()));
    }
    tell(notes, &recording, output);
    let replay = Replay { args, id, instances, recording, golden, output };
    runtime.block_on(install::missing(&factories, installed, &install, output))?;
    let done = runtime.block_on(replay.run(builder, &host));
    // All is stored and closed; what still runs is not needed.
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// Plays into nodes that run elsewhere. Their configuration decides which instances there are, so that this machine's is
/// asked for sources and limits alone.
#[cfg(feature = "cluster")]
fn run_at_nodes(
    args: &Args,
    addresses: &[remote::Address],
    id: &MeetingId,
    golden: Option<&Golden>,
    plugins: &PluginSet,
    mut config: Config,
    output: &Output,
) -> Result<(), Error> {
    if args.db.is_some() {
        return Err(RemoteError::Database.into());
    }
    if args.update {
        return Err(RemoteError::Update.into());
    }
    let packet_bytes = config.limits.packet_bytes;
    config.plugins = Some(Vec::new());
    let graph = plugins.builder(config).check()?;
    let recording = checked(args, Rules { graph: graph.clone(), packet_bytes })?;
    tell(recording.note().into_iter().collect(), &recording, output);
    let remote = remote::Remote {
        addresses,
        id,
        instances: args.plugins.as_deref(),
        recording: &recording,
        graph: &graph,
        speed: args.speed,
        started_at: args.started_at,
        shown: if args.all { remote::Shown::All } else { remote::Shown::Outputs },
        is_compared: args.expect.is_some(),
        output,
    };
    let runtime = Runtime::new().map_err(Error::Runtime)?;
    let played = runtime.block_on(remote.play());
    runtime.shutdown_timeout(Duration::from_secs(1));
    played?.conclude(id, args.verdict(golden), output)
}

/// Reads the recording and checks all of it.
fn checked(args: &Args, rules: Rules) -> Result<Recording, Error> {
    let on_broken = if args.keep_going { OnBroken::Skip } else { OnBroken::Stop };
    let Args { limit, encoding, started_at, .. } = *args;
    let participants = args.participant.iter().map(|name| name.as_str().into()).collect();
    let options = Options { limit, on_broken, encoding, started_at, participants };
    let recording = Recording::check(&args.file, rules, options)?;
    if args.expect.is_some() && args.started_at.is_none() && recording.counts_from_start() {
        return Err(Error::Undated(recording.name().to_owned()));
    }
    Ok(recording)
}

/// Prints notes, and what was skipped of the recording.
fn tell(notes: Vec<String>, recording: &Recording, output: &Output) {
    for note in notes {
        output.note(&format!("note: {note}"));
    }
    for warning in recording.skipped().warnings() {
        output.note(&format!("warning: {warning}"));
    }
}

impl Args {
    fn verdict<'a>(&'a self, golden: Option<&'a Golden>) -> Verdict<'a> {
        Verdict { expect: self.expect.as_deref(), golden, allow_failures: self.allow_failures }
    }
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
    /// What the outputs are compared with.
    golden: Option<Golden>,
    output: &'a Output,
}

impl Replay<'_> {
    async fn run(&self, builder: Builder, host: &Host) -> Result<(), Error> {
        let play = async |node: &Node| self.play(node).await;
        let played = host.run(builder, &self.id, self.output, play).await;
        let played = played.map_err(|error| match error {
            Error::Interrupted { signal, meeting, keeps: Keeps::Stored } if self.recording.is_sound() => {
                Error::Interrupted { signal, meeting, keeps: Keeps::AllButSound }
            }
            other => other,
        })?;
        played.conclude(&self.id, self.args.verdict(self.golden.as_ref()), self.output)
    }

    async fn play(&self, node: &Node) -> Result<Played<'_>, Error> {
        let started = Instant::now();
        let producer: Arc<str> = self.recording.producer()?.into();
        let metadata = MeetingMetadata::new(self.id.clone()).started_at(self.recording.started_at());
        let mut positions = Positions::default();
        let mut packets = 0;
        for (position, packet) in (1..).zip(self.recording.play()?) {
            if is_numbered(node, &packet?.0) {
                packets += 1;
                if self.args.expect.is_some() {
                    positions.numbered.push(position);
                }
            }
        }
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
                let skipped = self.recording.skipped().counts();
                let summary = Summary::complete(&self.id, skipped, started.elapsed());
                let failures = Failures::of(&**node.store(), &self.id, None).await?;
                let outputs = self.outputs(node, &producer, &positions).await?;
                return Ok(Played { summary: summary.failures(failures), outputs });
            }
        };
        let bar = self.output.progress(self.recording.len());
        let publish = self.publish(node, &meeting, &producer, done, &bar);
        (positions.volatile, ()) = tokio::try_join!(publish, self.print(&meeting))?;
        bar.finish_and_clear();
        let stats = meeting.stats().await?;
        let failures = Failures::of(&**node.store(), &self.id, Some(&stats)).await?;
        let skipped = self.recording.skipped().counts();
        let summary = Summary::new(&self.id, &stats, skipped, started.elapsed()).failures(failures);
        Ok(Played { summary, outputs: self.outputs(node, &producer, &positions).await? })
    }

    /// The meeting's stored outputs, if they are compared or written.
    async fn outputs(
        &self,
        node: &Node,
        producer: &str,
        positions: &Positions,
    ) -> Result<Vec<expect::Output>, Error> {
        if self.args.expect.is_none() {
            return Ok(Vec::new());
        }
        let reader = PacketReader::Store(&**node.store());
        let (mut packets, mut next) = (Vec::new(), Seq::ZERO);
        loop {
            let page = reader.page(&self.id, PacketQuery::range(next, Seq::MAX), From::Oldest).await?;
            packets.extend(page.packets);
            match packets.last() {
                Some(last) if !page.is_last => next = last.seq.next(),
                _ => break,
            }
        }
        let is_instance = |source: &str| node.graph().instance(source).is_some();
        Ok(expect::outputs(&packets, producer, positions, is_instance))
    }

    /// Publishes the recording without the first `done` numbered packets, which the meeting has already. If outputs
    /// are compared, returns the positions of the packets that are not stored.
    async fn publish(
        &self,
        node: &Node,
        meeting: &MeetingRef,
        producer: &Arc<str>,
        done: u64,
        bar: &ProgressBar,
    ) -> Result<HashMap<Seq, u64>, Error> {
        bar.set_message("publishing");
        let mut pacer = Pacer::new(self.args.speed);
        let started = Instant::now();
        let start = meeting.metadata().started_at.unwrap_or(self.recording.started_at());
        // The recording alone moves the meeting's clock, so that ticks and wakes are the same at any speed.
        meeting.hold_clock(Timestamp::MIN).await?;
        let waits = lossless::depends_on_pace(node.graph(), &self.instances);
        if waits {
            unless_ended(meeting.caught_up().await)?;
        }
        let mut number = 0;
        let mut volatile = HashMap::new();
        for (position, packet) in (1..).zip(self.recording.play_from(start)?) {
            let (mut packet, place) = packet?;
            // Only stored packets are numbered. A packet that is not stored, before one that the meeting has,
            // was lost with the run that published it.
            let is_numbered = is_numbered(node, &packet);
            if is_numbered {
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
            let receipt = meeting.publish(packet).await.map_err(|source| {
                let recording = self.recording.name().to_owned();
                Error::Publish { recording, place, source }
            })?;
            if waits {
                meeting.caught_up().await?;
            }
            if self.args.expect.is_some() && !is_numbered {
                volatile.insert(receipt.seq(), position);
            }
            bar.inc(1);
        }
        bar.set_message("finishing");
        unless_ended(meeting.end().await)?;
        Ok(volatile)
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
