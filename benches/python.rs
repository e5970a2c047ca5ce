//! What a hook in Python costs: in a node's process for it, called in a bare loop of Python, and in a process that is
//! sent a JSON line for each packet and answers with one. Medians of rounds in turns, in one run.
//!
//! `cargo bench -p teammy-benches --bench python -- [--rounds N] [--packets N] [--python PROGRAM]`

#![allow(clippy::cast_precision_loss, missing_docs, unreachable_pub, reason = "figures are rounded anyway")]

#[path = "median.rs"]
mod median;

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use comfy_table::Table;
use hdrhistogram::Histogram;
use teammy_kernel::{
    DataPacket, EngineControl, Error, History, MeetingId, MeetingMetadata, Name, PersistenceProvider,
    Publish, ReadFuture, Seq, SharedLlm, Timestamp,
    plugin::{Call, Hook, HookObserver, Hosted, Outputs, Pace, ResourceMap, StartedPlugin, StateRef, Tries},
};
use tokio::time::{Duration, Instant};

use median::median;

type AnyError = Box<dyn std::error::Error>;

/// The hook that all run: it reads JSON and makes a small output.
const HOOK: &str = "
import json

async def on_chat(packet, engine):
    said = json.loads(packet.data)
    return {'words': len(said['text'].split())}
";

const PLUGIN: &str = "
from teammy.api.plugin import InCallPlugin, InCallPluginMetadata
from .hook import on_chat

class Words(InCallPlugin):
    @classmethod
    async def get_metadata(cls):
        return InCallPluginMetadata(name='words', version='1', sources=['chat'], config=None)
    @classmethod
    async def on_install(cls): pass
    @classmethod
    async def on_startup(cls, config): pass
    @classmethod
    async def get_data_receive_hooks(cls): return {'chat': on_chat}
    @classmethod
    async def on_meeting_start(cls, info, engine): pass
    @classmethod
    async def on_meeting_end(cls, info, engine): pass
    @classmethod
    async def on_shutdown(cls, engine): pass
";

/// The bare loop: a packet is made and the hook is called.
const LOOP: &str = "
import asyncio, sys, time
from hook import on_chat

class Packet:
    __slots__ = ('data',)
    def __init__(self, data): self.data = data

async def main(text, count):
    began = time.perf_counter()
    for _ in range(count):
        await on_chat(Packet(text), None)
    print(count / (time.perf_counter() - began))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
";

/// A host that gets a JSON line for each packet and answers with one.
const LINES: &str = "
import asyncio, json, sys
from hook import on_chat

class Packet:
    __slots__ = ('data',)
    def __init__(self, data): self.data = data

async def main():
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    while line := await reader.readline():
        packet = json.loads(line)
        output = await on_chat(Packet(packet['data']), None)
        sys.stdout.write(json.dumps({'seq': packet['seq'], 'output': output}) + '\\n')
        sys.stdout.flush()

asyncio.run(main())
";

const TEXT: &str = r#"{"text": "Who has the key to the meeting room on the second floor?", "at_ms": 81250}"#;

struct Options {
    rounds: usize,
    packets: usize,
    python: String,
}

fn options() -> Result<Options, AnyError> {
    let mut options = Options { rounds: 3, packets: 20_000, python: "python3".to_owned() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} takes a value"));
        match &*argument {
            "--rounds" => options.rounds = value()?.parse()?,
            "--packets" => options.packets = value()?.parse()?,
            "--python" => options.python = value()?,
            "--bench" => {}
            other => return Err(format!("there is no option {other}").into()),
        }
    }
    Ok(options)
}

/// What a way to run hooks takes.
#[derive(Default)]
struct Figures {
    /// Packets in a second, by round.
    rates: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Figures {
    fn add(&mut self, packets: usize, took: Duration, calls: &Histogram<u64>) {
        let micros = |nanos: u64| nanos as f64 / 1000.0;
        self.rates.push(packets as f64 / took.as_secs_f64());
        self.p50.push(micros(calls.value_at_quantile(0.5)));
        self.p99.push(micros(calls.value_at_quantile(0.99)));
    }

    fn row(self, table: &mut Table, name: &str, batch: usize, meetings: usize) {
        let per_packet = 1e6 / median(self.rates.clone());
        table.add_row([
            name.to_owned(),
            batch.to_string(),
            meetings.to_string(),
            format!("{:.0}", median(self.rates)),
            format!("{per_packet:.1}"),
            format!("{:.0}", median(self.p50)),
            format!("{:.0}", median(self.p99)),
        ]);
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("invariant: the bounds are those of a histogram")
}

/// Keys that nobody sets.
struct Nothing;

impl PersistenceProvider for Nothing {
    fn get<'a>(&'a self, _: &'a str) -> ReadFuture<'a, Option<Arc<str>>> {
        Box::pin(async { Ok(None) })
    }

    fn list<'a>(&'a self, _: &'a str) -> ReadFuture<'a, Vec<(String, Arc<str>)>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn history(&self, _: History, _: Seq) -> ReadFuture<'_, Vec<Arc<DataPacket>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

/// Counts the outputs.
#[derive(Default)]
struct Counter(AtomicUsize);

impl HookObserver for Counter {
    fn begins(&self, _: &Arc<DataPacket>) {}

    fn ended(
        &self,
        _: &Arc<DataPacket>,
        _: Option<StateRef>,
        outputs: Option<Outputs>,
    ) -> Result<Pace, Error> {
        self.0.fetch_add(outputs.map_or(0, |outputs| outputs.iter().count()), Ordering::Relaxed);
        Ok(Pace::Continue)
    }

    fn resumes(&self) {}
}

/// One meeting's part: calls of `batch` packets, one after the other.
async fn drive(hosted: Hosted, meeting: String, batch: usize, calls: usize) -> Result<Histogram<u64>, Error> {
    let metadata = MeetingMetadata::new(MeetingId::new(&meeting)?);
    let instance = Name::new("words")?;
    let engine =
        EngineControl::new(SharedLlm::none(), Arc::new(Nothing), metadata.id.clone(), instance.clone(), None);
    let packets: Vec<Arc<DataPacket>> = (1..=batch as u64)
        .map(|seq| {
            let payload = teammy_kernel::Payload::json_text(TEXT)?;
            let publish = Publish::on(Name::new("chat")?, payload);
            Ok(Arc::new(publish.into_packet(metadata.id.clone(), Seq(seq), Timestamp::UNIX_EPOCH)))
        })
        .collect::<Result<_, Error>>()?;
    let (hook, _) =
        hosted.hooks().iter().find(|(_, hook)| matches!(hook, Hook::Source { .. })).expect("it has a hook");
    let mut took = histogram();
    let counter = Counter::default();
    for _ in 0..calls {
        let call = Call {
            packets: &packets,
            gap: 0,
            tries: Tries { attempt: 1, most: 3 },
            state: hosted.initial_state(),
            meeting: &metadata,
            instance: &instance,
            engine: engine.engine(),
        };
        let began = Instant::now();
        hosted.each(*hook, call, &counter).await?;
        took.saturating_record(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    assert_eq!(counter.0.into_inner(), batch * calls, "each hook puts out one packet");
    Ok(took)
}

async fn ours(
    hosted: &Hosted,
    batch: usize,
    meetings: usize,
    packets: usize,
    figures: &mut Figures,
) -> Result<(), AnyError> {
    let calls = (packets / batch / meetings).max(1);
    let began = Instant::now();
    let running: Vec<_> =
        (0..meetings).map(|n| tokio::spawn(drive(hosted.clone(), format!("m{n}"), batch, calls))).collect();
    let mut all = histogram();
    for meeting in running {
        all.add(meeting.await?.map_err(|error| error.chain())?)?;
    }
    figures.add(calls * batch * meetings, began.elapsed(), &all);
    Ok(())
}

/// A process that is sent lines.
struct Lines {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Lines {
    fn start(python: &str, folder: &Path) -> Result<Self, AnyError> {
        let mut command = Command::new(python);
        command.arg("lines.py").current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or("it has an output")?);
        Ok(Self { child, output })
    }

    fn run(&mut self, batch: usize, packets: usize, figures: &mut Figures) -> Result<(), AnyError> {
        let input = self.child.stdin.as_mut().ok_or("it has an input")?;
        let mut took = histogram();
        let mut line = String::new();
        let calls = packets / batch;
        let started = Instant::now();
        for _ in 0..calls {
            let began = Instant::now();
            let mut lines = String::new();
            for seq in 0..batch {
                writeln!(lines, "{}", serde_json::json!({"seq": seq, "source": "chat", "data": TEXT}))?;
            }
            input.write_all(lines.as_bytes())?;
            for _ in 0..batch {
                line.clear();
                self.output.read_line(&mut line)?;
                serde_json::from_str::<serde_json::Value>(&line)?;
            }
            took.saturating_record(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        figures.add(calls * batch, started.elapsed(), &took);
        Ok(())
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Hooks in a second of a bare loop.
fn bare(python: &str, folder: &Path, packets: usize) -> Result<f64, AnyError> {
    let output =
        Command::new(python).args(["loop.py", TEXT, &packets.to_string()]).current_dir(folder).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// The memory of the processes below this one, in MiB: resident (RSS), and what is theirs of it, with their part of
/// what they share (PSS).
fn memory() -> String {
    let mut shown = Vec::new();
    let mut queue = vec![std::process::id()];
    while let Some(parent) = queue.pop() {
        let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
                let rollup = fs::read_to_string(format!("/proc/{child}/smaps_rollup")).unwrap_or_default();
                let value = |key: &str| {
                    let line = rollup.lines().find(|line| line.starts_with(key)).unwrap_or_default();
                    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
                };
                shown.push(format!("{} MiB resident, {} MiB its share", value("Rss:"), value("Pss:")));
                queue.push(child);
            }
        }
    }
    shown.join("; ")
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let Options { rounds, packets, python } = options()?;
    let folder = tempfile::tempdir()?;
    let package = folder.path().join("plugin");
    fs::create_dir(&package)?;
    for (path, text) in [
        ("plugin/__init__.py", PLUGIN),
        ("plugin/hook.py", HOOK),
        ("hook.py", HOOK),
        ("loop.py", LOOP),
        ("lines.py", LINES),
    ] {
        fs::write(folder.path().join(path), text)?;
    }
    let factory = teammy_plugins::bundle().iter().find(|factory| factory.kind() == "python").cloned();
    let factory = factory.ok_or("this build has no plugins in Python")?;
    let table = serde_json::json!({"path": folder.path(), "python": python});
    let name = Name::new("words")?;
    let host = factory.as_host().ok_or("the kind is a host's")?;
    let prepared = host.prepare(&name, &table).await.map_err(|error| error.chain())?;
    let factory = factory.of_instance(&name, &table, &prepared)?;
    let started = StartedPlugin::start(&factory, table, name, ResourceMap::default()).await;
    let hosted = started.map_err(|error| error.chain())?.open();

    let cases = [(1, 1), (64, 1), (1, 50), (64, 50)];
    let mut of_ours: [Figures; 4] = Default::default();
    let mut of_lines: [Figures; 2] = Default::default();
    let mut bare_rates = Vec::new();
    let mut lines = Lines::start(&python, folder.path())?;
    let shown = memory();
    for _ in 0..rounds {
        bare_rates.push(bare(&python, folder.path(), packets)?);
        for (figures, (batch, meetings)) in of_ours.iter_mut().zip(cases) {
            ours(&hosted, batch, meetings, packets * if batch > 1 { 4 } else { 1 }, figures).await?;
        }
        for (figures, batch) in of_lines.iter_mut().zip([1, 64]) {
            tokio::task::block_in_place(|| lines.run(batch, packets, figures))?;
        }
    }
    let mut table = Table::new();
    table.set_header([
        "way",
        "batch",
        "meetings",
        "packets/s",
        "µs a packet",
        "p50 of a call, µs",
        "p99, µs",
    ]);
    for (figures, (batch, meetings)) in of_ours.into_iter().zip(cases) {
        figures.row(&mut table, "a node's process", batch, meetings);
    }
    for (figures, batch) in of_lines.into_iter().zip([1, 64]) {
        figures.row(&mut table, "JSON lines", batch, 1);
    }
    let bare = median(bare_rates);
    table.add_row([
        "a bare loop".to_owned(),
        "-".to_owned(),
        "-".to_owned(),
        format!("{bare:.0}"),
        format!("{:.1}", 1e6 / bare),
    ]);
    println!("{table}");
    println!("memory of the processes (guardian, host, JSON lines): {shown}");
    Ok(())
}
