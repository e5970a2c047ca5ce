//! How long a quiet meeting waits until its packets are stored, alone and beside meetings that write as fast
//! as they can: `cargo bench -p teammy-benches --features surrealdb --bench fair -- [OPTIONS]`.
//!
//! A node stores in a directory (`surrealkv`). The quiet meeting publishes a durable packet of 256 bytes each
//! 50 ms; its time is from `publish` to the end of `durable()`. The noisy meetings publish as soon as their last
//! packets are stored, so that they always wait for the store; those of `frames` publish by a clock.
//!
//! | noise | what each noisy meeting publishes at a time |
//! |---|---|
//! | `frames` | each 20 ms a packet of 640 bytes for an instance whose state of 1 KiB changes with it |
//! | `states` | a packet for an instance whose state of 256 KiB changes with it |
//! | `large` | 64 packets of 4 KiB |
//! | `small` | a packet of 256 bytes |
//!
//! The quiet meeting is measured alone (A) and beside the noisy ones (B) by turns, A B A B, and the ratio is that
//! of the quantiles over all turns. Then follows a control: the same number of meetings publish to a volatile
//! source, and their hooks spin for as long as the process computed beside the noisy ones; and as many bytes are
//! written to a file and synced as the process wrote to the disk. So it shows what the use of processor and disk
//! costs the quiet meeting, without any commit of another one.
//!
//! | option | effect |
//! |---|---|
//! | `--seconds N` | measures each turn for N seconds; 10 by default |
//! | `--noise NAME` | measures one kind of noise |
//! | `--meetings N` | measures one number of noisy meetings; by default 1, 20 and 100 |
//! | `--turns N` | measures N times alone and beside; 2 by default |

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    missing_docs,
    reason = "figures are rounded anyway"
)]

use std::{
    io::{Seek, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use cpu_time::ProcessTime;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::json;
use teammy_config::Config;
use teammy_kernel::{
    Cx, Error, Factory, Hooks, InCallPlugin, MeetingId, MeetingMetadata, Name, Payload, Publish, Receive,
    StartupCx,
};
use teammy_runtime::{MeetingRef, Node};
use teammy_surreal as surreal;
use tokio::{task::JoinSet, time::Instant};

/// The time from one packet of the quiet meeting to the next.
const PERIOD: Duration = Duration::from_millis(50);
/// The state of the instances of the noise `states`.
const LARGE_STATE: usize = 256 << 10;
/// The state of the instances of the noise `frames`.
const SMALL_STATE: usize = 1 << 10;
/// The time from one packet of the noise `frames` to the next.
const FRAME: Duration = Duration::from_millis(20);
/// How long a hook of the control spins for a packet.
const SPIN: Duration = Duration::from_millis(1);

/// What noisy meetings do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noise {
    Frames,
    States,
    Large,
    Small,
}

impl Noise {
    const ALL: [Self; 4] = [Self::Frames, Self::States, Self::Large, Self::Small];

    fn name(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::States => "states",
            Self::Large => "large",
            Self::Small => "small",
        }
    }

    /// What a noisy meeting publishes at a time.
    fn packets(self) -> Vec<Publish> {
        let of =
            |source: &str, bytes| Publish::on(name(source), Payload::Bytes(Bytes::from(vec![b'x'; bytes])));
        match self {
            Self::Frames => vec![of("transcription", 640)],
            Self::States => vec![of("chat", 256)],
            Self::Large => (0..64).map(|_| of("transcription", 4096)).collect(),
            Self::Small => vec![of("transcription", 256)],
        }
    }
}

/// A state that is written whole with each packet.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Big {
    packets: u64,
    text: String,
}

/// Changes its large state with each durable packet, and spins for each volatile one.
struct Noisy;

impl InCallPlugin for Noisy {
    type Config = ();
    type State = Big;
    type Scratch = ();
    type Output = Bytes;
    const KIND: &'static str = "noisy";
    const VERSION: &'static str = "1";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Bytes>("chat").on::<Bytes>("transcription").on::<Bytes>("audio")
    }
}

impl Receive<Bytes> for Noisy {
    async fn receive(&self, _: Bytes, cx: &mut Cx<'_, Self>) -> Result<Option<Bytes>, Error> {
        let source = cx.packet().source.clone();
        if source == *"audio" {
            let began = Instant::now();
            while began.elapsed() < SPIN {
                std::hint::spin_loop();
            }
        } else {
            let state = cx.state_mut();
            state.packets += 1;
            if state.text.is_empty() {
                state.text = "x".repeat(if source == *"chat" { LARGE_STATE } else { SMALL_STATE });
            }
        }
        Ok(None)
    }
}

fn name(name: &str) -> Name {
    Name::new(name).expect("a well-formed name")
}

async fn node(directory: &Path) -> Node {
    let url = format!("surrealkv://{}", directory.display());
    let store = surreal::open(surreal::Options::new(url)).await.expect("the store opens");
    let config = Config::from_toml("[[plugin]]\nname = \"noisy\"\nkind = \"noisy\"\n");
    let node = Node::builder(config.expect("the configuration is right"));
    let node = node.plugin(Factory::of::<Noisy>("noisy")).store(Arc::new(store));
    node.start().await.expect("the node starts")
}

async fn meeting(node: &Node, id: &str, instances: &[&str]) -> MeetingRef {
    let metadata = MeetingMetadata::new(MeetingId::new(id).expect("a well-formed id"));
    node.start_meeting(metadata, instances).await.expect("the meeting starts")
}

/// The times of the quiet meeting's packets, in microseconds.
fn times() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

/// Publishes to the quiet meeting by a clock. A slow acknowledgement doesn't hold up the next packet.
async fn quiet(meeting: &MeetingRef, lasts: Duration, times: &mut Histogram<u64>) {
    let mut running = JoinSet::new();
    let mut clock = tokio::time::interval(PERIOD);
    let until = Instant::now() + lasts;
    while Instant::now() < until {
        clock.tick().await;
        let meeting = meeting.clone();
        running.spawn(async move {
            let packet = Publish::on(name("transcription"), Payload::Bytes(vec![b'x'; 256].into()));
            let began = Instant::now();
            let receipt = meeting.publish(packet).await.expect("the meeting takes it");
            receipt.durable().await.expect("it is stored");
            began.elapsed()
        });
    }
    while let Some(took) = running.join_next().await {
        let took = took.expect("the packet was published").as_micros() as u64;
        times.record(took).expect("the histogram grows");
    }
}

/// What the other meetings did, over all turns.
#[derive(Default)]
struct NoiseTally {
    rounds: u64,
    lasted: Duration,
    computed: Duration,
    /// The bytes written to the disk.
    written: u64,
}

impl NoiseTally {
    fn rounds_per_second(&self) -> f64 {
        self.rounds as f64 / self.lasted.as_secs_f64()
    }

    fn written_per_second(&self) -> f64 {
        self.written as f64 / self.lasted.as_secs_f64()
    }

    /// How many cores the process used.
    fn cores(&self) -> f64 {
        self.computed.as_secs_f64() / self.lasted.as_secs_f64()
    }
}

/// The bytes that this process has written to disks; 0 where the system doesn't tell.
fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    written.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// Writes so many bytes a second to a file until it is stopped, and syncs after each MiB.
fn write_plainly(directory: &Path, bytes_per_second: f64, stop: &AtomicBool) {
    const CHUNK: usize = 1 << 20;
    /// The file starts anew at this size.
    const FILE: u64 = 256 << 20;
    let chunk = vec![b'x'; CHUNK];
    let mut file = std::fs::File::create(directory.join("control")).expect("the file is made");
    let pause = Duration::from_secs_f64(CHUNK as f64 / bytes_per_second);
    let mut due = Instant::now();
    let mut size = 0;
    while !stop.load(Ordering::Relaxed) {
        due += pause;
        while Instant::now() < due && !stop.load(Ordering::Relaxed) {
            std::thread::park_timeout(Duration::from_millis(1).min(due - Instant::now()));
        }
        if size >= FILE {
            file.set_len(0).and_then(|()| file.rewind()).expect("the file is cut");
            size = 0;
        }
        file.write_all(&chunk).and_then(|()| file.sync_data()).expect("the file is written");
        size += CHUNK as u64;
    }
}

/// Runs `measure` while a task for each meeting repeats `round`. The tasks begin one after the other, at these
/// intervals.
async fn beside<F>(
    meetings: &[MeetingRef],
    interval: Duration,
    round: impl Fn(MeetingRef) -> F + Copy + Send + 'static,
    tally: &mut NoiseTally,
    measure: impl Future<Output = ()>,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut running = JoinSet::new();
    for (index, meeting) in meetings.iter().enumerate() {
        let (meeting, stop, rounds) = (meeting.clone(), stop.clone(), rounds.clone());
        running.spawn(async move {
            tokio::time::sleep(interval * index as u32).await;
            while !stop.load(Ordering::Relaxed) {
                round(meeting.clone()).await;
                rounds.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let (began, computed, written) = (Instant::now(), ProcessTime::now(), written_bytes());
    measure.await;
    tally.lasted += began.elapsed();
    tally.computed += computed.elapsed();
    tally.written += written_bytes() - written;
    tally.rounds += rounds.load(Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = running.join_next().await {
        ended.expect("the noise goes on until it is stopped");
    }
    for meeting in meetings {
        meeting.caught_up().await.expect("the meeting runs");
    }
}

struct Options {
    turn: Duration,
    turns: usize,
    noise: Vec<Noise>,
    meetings: Vec<usize>,
}

async fn measure(options: &Options, noise: Noise, count: usize) {
    let directory = tempfile::tempdir().expect("a directory");
    let node = node(directory.path()).await;
    let calm = meeting(&node, "quiet", &[]).await;
    // Only `frames` and `states` need the instance; the control needs it in any case.
    let mut writers = Vec::with_capacity(count);
    let mut volatile = Vec::with_capacity(count);
    for index in 0..count {
        let has_state = matches!(noise, Noise::Frames | Noise::States);
        let instances: &[&str] = if has_state { &["noisy"] } else { &[] };
        writers.push(meeting(&node, &format!("noisy-{index}"), instances).await);
        volatile.push(meeting(&node, &format!("volatile-{index}"), &["noisy"]).await);
    }
    // The first turn warms up.
    quiet(&calm, options.turn / 4, &mut times()).await;

    let (mut alone, mut with, mut alone_tally, mut with_tally) =
        (times(), times(), NoiseTally::default(), NoiseTally::default());
    for _ in 0..options.turns {
        let a = quiet(&calm, options.turn, &mut alone);
        beside(&[], Duration::ZERO, |_| std::future::ready(()), &mut alone_tally, a).await;
        let round = move |meeting: MeetingRef| async move {
            let next = Instant::now() + FRAME;
            let receipts = meeting.publish_all(noise.packets()).await.expect("the meeting takes them");
            match noise {
                Noise::Frames => tokio::time::sleep_until(next).await,
                _ => receipts.durable().await.expect("they are stored"),
            }
        };
        let b = quiet(&calm, options.turn, &mut with);
        let interval = if noise == Noise::Frames { FRAME / count as u32 } else { Duration::ZERO };
        beside(&writers, interval, round, &mut with_tally, b).await;
    }

    let (mut controlled, mut control_tally) = (times(), NoiseTally::default());
    let cores = (with_tally.cores() - alone_tally.cores()).max(0.01);
    let pause = SPIN.mul_f64(count as f64 / cores);
    let round = move |meeting: MeetingRef| async move {
        let packet = Publish::on(name("audio"), Payload::Bytes(vec![b'x'; 256].into()));
        meeting.publish(packet).await.expect("the meeting takes it");
        tokio::time::sleep(pause).await;
    };
    let control = quiet(&calm, options.turn * options.turns as u32, &mut controlled);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (stop, directory) = (stop.clone(), directory.path().to_owned());
        let bytes_per_second = with_tally.written_per_second().max(1.0);
        std::thread::spawn(move || write_plainly(&directory, bytes_per_second, &stop))
    };
    beside(&volatile, pause / count as u32, round, &mut control_tally, control).await;
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("the writer ends");

    let ms = |times: &Histogram<u64>, q| times.value_at_quantile(q) as f64 / 1e3;
    let ratio = |times: &Histogram<u64>, q| ms(times, q) / ms(&alone, q);
    println!(
        "{}",
        json!({
            "noise": noise.name(), "meetings": count, "samples": {"alone": alone.len(), "beside": with.len()},
            "p50_ms": {"alone": ms(&alone, 0.5), "beside": ms(&with, 0.5), "control": ms(&controlled, 0.5)},
            "p99_ms": {"alone": ms(&alone, 0.99), "beside": ms(&with, 0.99), "control": ms(&controlled, 0.99)},
            "p50_ratio": {"beside": ratio(&with, 0.5), "control": ratio(&controlled, 0.5)},
            "p99_ratio": {"beside": ratio(&with, 0.99), "control": ratio(&controlled, 0.99)},
            "cores": {
                "alone": alone_tally.cores(), "beside": with_tally.cores(), "control": control_tally.cores(),
            },
            "disk_mb_per_second": {
                "alone": alone_tally.written_per_second() / 1e6, "beside": with_tally.written_per_second() / 1e6,
                "control": control_tally.written_per_second() / 1e6,
            },
            "noise_per_second": {
                "rounds": with_tally.rounds_per_second(),
                "packets": with_tally.rounds_per_second() * noise.packets().len() as f64,
            },
        })
    );
    drop((calm, writers, volatile));
    node.shutdown(Duration::from_mins(1)).await.expect("the node stops");
}

fn options() -> Options {
    let mut options = Options {
        turn: Duration::from_secs(10),
        turns: 2,
        noise: Noise::ALL.to_vec(),
        meetings: vec![1, 20, 100],
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let number: Option<usize> = arguments.next().and_then(|number| number.parse().ok());
            number
                .filter(|number| *number > 0)
                .unwrap_or_else(|| usage(&format!("{argument} takes a number")))
        };
        match argument.as_str() {
            "--seconds" => options.turn = Duration::from_secs(number() as u64),
            "--turns" => options.turns = number(),
            "--meetings" => options.meetings = vec![number()],
            "--noise" => {
                let named = arguments.next().unwrap_or_default();
                let named = Noise::ALL.into_iter().find(|noise| noise.name() == named);
                options.noise =
                    vec![named.unwrap_or_else(|| usage("--noise takes frames, states, large or small"))];
            }
            // Cargo passes this option to every bench.
            "--bench" => {}
            other => usage(&format!("unknown option {other}")),
        }
    }
    options
}

fn usage(problem: &str) -> ! {
    eprintln!(
        "{problem}; usage: fair [--seconds N] [--turns N] [--noise frames|states|large|small] [--meetings N]"
    );
    std::process::exit(2)
}

fn main() {
    let options = options();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        for &noise in &options.noise {
            for &count in &options.meetings {
                measure(&options, noise, count).await;
            }
        }
    });
}
