//! A node under the load of a meeting backend, with and without an audio plugin whose state changes with each
//! frame: `cargo bench -p teammy-benches --features surrealdb --bench load -- [OPTIONS]`.
//!
//! A node stores in a directory (`surrealkv`). Each meeting gets 50 audio frames of 640 bytes a second, which
//! one instance takes, and a durable transcription each 2 s. One more meeting, `quiet`, has no instance and
//! gets a durable packet each 50 ms. Packets are published by a clock: a slow answer does not hold up the next
//! one.
//!
//! | arm | the audio instance |
//! |---|---|
//! | `stateless` | has no effects |
//! | `at-once` | changes its state with each frame, and each change is committed at once |
//! | `checkpoint` | changes its state with each frame, and `delivery.checkpoint_interval` is 1 s, the default |
//!
//! Each arm runs in a process of its own; the arms take turns, and the figures are the medians of the turns.
//!
//! | option | effect |
//! |---|---|
//! | `--seconds N` | measures each turn for N seconds; 10 by default |
//! | `--meetings N` | so many meetings beside the quiet one; 200 by default |
//! | `--turns N` | each arm runs N times; 2 by default |
//! | `--before PROGRAM` | measures `stateless` and `at-once` of an earlier build of this bench too, in the same turns |
//! | `--arm NAME` | measures one arm in this process, once, and prints a JSON line |

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    missing_docs,
    unreachable_pub,
    reason = "figures are rounded anyway"
)]

#[path = "median.rs"]
mod median;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use comfy_table::Table;
use cpu_time::ProcessTime;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use teammy_config::Config;
use teammy_kernel::{
    Cx, Error, Factory, Hooks, InCallPlugin, MeetingId, MeetingMetadata, Name, Payload, Publish, Receive,
    StartupCx,
};
use teammy_runtime::{MeetingRef, Node};
use teammy_surreal as surreal;
use tokio::{task::JoinSet, time::Instant};

use median::median;

const FRAME: Duration = Duration::from_millis(20);
const FRAME_BYTES: usize = 640;
/// A meeting gets a transcription with each of so many frames: each 2 s.
const TRANSCRIPTION: u32 = 100;
/// The time from one packet of the quiet meeting to the next.
const QUIET: Duration = Duration::from_millis(50);
/// Before it is measured.
const WARM_UP: Duration = Duration::from_secs(3);

const ARMS: [&str; 3] = ["stateless", "at-once", "checkpoint"];
/// A figure's key in the JSON line of an arm, and its unit.
const FIGURES: [(&str, &str); 11] = [
    ("quiet_p50", "ms"),
    ("quiet_p99", "ms"),
    ("ack_p50", "ms"),
    ("ack_p99", "ms"),
    ("hook_p50", "ms"),
    ("hook_p99", "ms"),
    ("frames", "/s"),
    ("lost", "frames"),
    ("commits", "/s"),
    ("cpu", "cores"),
    ("rss", "MiB"),
];

/// How late frames reached their hook, in microseconds, and how many were lost.
static FRAMES: Mutex<Option<(Histogram<u64>, u64)>> = Mutex::new(None);
/// Due times of frames count from here.
static ORIGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

fn take_frames() -> (Histogram<u64>, u64) {
    let taken = FRAMES.lock().unwrap_or_else(PoisonError::into_inner).take();
    taken.unwrap_or_else(|| (times(), 0))
}

fn times() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

/// Measures the level of audio, and with `HAS_STATE` keeps the loudest.
struct Level<const HAS_STATE: bool>;

impl<const HAS_STATE: bool> InCallPlugin for Level<HAS_STATE> {
    type Config = ();
    type State = (u64, u64);
    type Scratch = ();
    type Output = Bytes;
    const KIND: &'static str = if HAS_STATE { "stateful" } else { "stateless" };
    const VERSION: &'static str = "1";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Bytes>("audio")
    }
}

impl<const HAS_STATE: bool> Receive<Bytes> for Level<HAS_STATE> {
    async fn receive(&self, frame: Bytes, cx: &mut Cx<'_, Self>) -> Result<Option<Bytes>, Error> {
        let due = u64::from_le_bytes(frame[..8].try_into().map_err(Error::reject)?);
        let late = (ORIGIN.elapsed().as_micros() as u64).saturating_sub(due);
        let level: u64 = frame.iter().map(|byte| u64::from(*byte)).sum();
        {
            let mut frames = FRAMES.lock().unwrap_or_else(PoisonError::into_inner);
            let (times, lost) = frames.get_or_insert_with(|| (times(), 0));
            times.record(late).map_err(Error::reject)?;
            *lost += cx.gap();
        }
        if HAS_STATE {
            let (count, loudest) = cx.state_mut();
            *count += 1;
            *loudest = level.max(*loudest);
        }
        Ok(None)
    }
}

fn name(name: &str) -> Name {
    Name::new(name).expect("a well-formed name")
}

async fn meeting(node: &Node, id: &str, instances: &[&str]) -> MeetingRef {
    let metadata = MeetingMetadata::new(MeetingId::new(id).expect("a well-formed id"));
    node.start_meeting(metadata, instances).await.expect("the meeting starts")
}

/// Acknowledgements of durable packets that are awaited.
#[derive(Default)]
struct Acks(JoinSet<Duration>);

impl Acks {
    fn publish(&mut self, meeting: &MeetingRef) {
        let meeting = meeting.clone();
        self.0.spawn(async move {
            let text = "{\"text\":\"So what do we do about the deadline?\",\"start_ms\":0,\"end_ms\":1800}";
            let packet = Publish::json_text("transcription", text).expect("invariant: this is JSON");
            let began = Instant::now();
            let receipt = meeting.publish(packet).await.expect("the meeting takes it");
            receipt.durable().await.expect("it is stored");
            began.elapsed()
        });
    }

    async fn times(mut self) -> Vec<Duration> {
        let mut times = Vec::with_capacity(self.0.len());
        while let Some(took) = self.0.join_next().await {
            times.push(took.expect("the packet was published"));
        }
        times
    }
}

/// Publishes the frames and the transcriptions of a meeting, for so long.
async fn talk(meeting: MeetingRef, index: usize, meetings: usize, lasts: Duration) -> Vec<Duration> {
    let mut acks = Acks::default();
    // Meetings don't talk in step.
    let part = index as f64 / meetings as f64;
    let mut clock = tokio::time::interval_at(Instant::now() + FRAME.mul_f64(part), FRAME);
    let mut frame = vec![7; FRAME_BYTES];
    let first = TRANSCRIPTION * index as u32 / meetings as u32;
    for number in 0..(lasts.as_millis() / FRAME.as_millis()) as u32 {
        let due = clock.tick().await.duration_since(*ORIGIN).as_micros() as u64;
        frame[..8].copy_from_slice(&due.to_le_bytes());
        let packet = Publish::on(name("audio"), Payload::Bytes(Bytes::copy_from_slice(&frame)));
        meeting.publish(packet).await.expect("the meeting takes it");
        if (first + number).is_multiple_of(TRANSCRIPTION) {
            acks.publish(&meeting);
        }
    }
    acks.times().await
}

async fn whisper(meeting: &MeetingRef, lasts: Duration) -> Vec<Duration> {
    let mut acks = Acks::default();
    let mut clock = tokio::time::interval(QUIET);
    for _ in 0..lasts.as_millis() / QUIET.as_millis() {
        clock.tick().await;
        acks.publish(meeting);
    }
    acks.times().await
}

/// All meetings talk for so long. Returns how long acknowledgements took: the quiet meeting's, and the others'.
async fn load(quiet: &MeetingRef, meetings: &[MeetingRef], lasts: Duration) -> [Histogram<u64>; 2] {
    let mut talking = JoinSet::new();
    for (index, meeting) in meetings.iter().enumerate() {
        talking.spawn(talk(meeting.clone(), index, meetings.len(), lasts));
    }
    let mut all = [times(), times()];
    let mut record = |at: usize, took: Vec<Duration>| {
        for took in took {
            all[at].record(took.as_micros() as u64).expect("the histogram grows");
        }
    };
    record(0, whisper(quiet, lasts).await);
    while let Some(took) = talking.join_next().await {
        record(1, took.expect("the meeting talked"));
    }
    all
}

/// How often all meetings have committed.
async fn commits(node: &Node, meetings: &[MeetingRef]) -> u64 {
    let mut commits = 0;
    for meeting in meetings {
        let row = node.store().meeting(meeting.id().clone()).await.expect("the store is read");
        commits += row.expect("the meeting is stored").commit;
    }
    commits
}

async fn measure(arm: &str, count: usize, lasts: Duration) -> Value {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("surrealkv://{}", directory.path().display());
    let store = surreal::open(surreal::Options::new(url)).await.expect("the store opens");
    let kind = if arm == "stateless" { "stateless" } else { "stateful" };
    let interval = if arm == "at-once" { "0s" } else { "1s" };
    let config = Config::from_toml(&format!(
        "[[plugin]]\nname = \"level\"\nkind = \"{kind}\"\n[delivery]\ncheckpoint_interval = \"{interval}\"\n"
    ));
    let node = Node::builder(config.expect("the configuration is right"))
        .plugin(Factory::of::<Level<false>>("stateless"))
        .plugin(Factory::of::<Level<true>>("stateful"))
        .store(Arc::new(store))
        .start()
        .await
        .expect("the node starts");
    let quiet = meeting(&node, "quiet", &[]).await;
    let mut meetings = Vec::with_capacity(count);
    for index in 0..count {
        meetings.push(meeting(&node, &format!("meeting-{index}"), &["level"]).await);
    }
    load(&quiet, &meetings, WARM_UP).await;
    take_frames();

    let before = commits(&node, &meetings).await;
    let (began, computed) = (Instant::now(), ProcessTime::now());
    let [quiet_acks, acks] = load(&quiet, &meetings, lasts).await;
    let (took, computed) = (began.elapsed().as_secs_f64(), computed.elapsed().as_secs_f64());
    let rss = memory_stats::memory_stats().map_or(0, |stats| stats.physical_mem) >> 20;
    let commits = commits(&node, &meetings).await - before;
    let (frames, lost) = take_frames();
    node.shutdown(Duration::from_mins(1)).await.expect("the node stops");

    let ms = |times: &Histogram<u64>, q| times.value_at_quantile(q) as f64 / 1e3;
    json!({
        "quiet_p50": ms(&quiet_acks, 0.5), "quiet_p99": ms(&quiet_acks, 0.99),
        "ack_p50": ms(&acks, 0.5), "ack_p99": ms(&acks, 0.99),
        "hook_p50": ms(&frames, 0.5), "hook_p99": ms(&frames, 0.99),
        "frames": frames.len() as f64 / took, "lost": lost,
        "commits": commits as f64 / took, "cpu": computed / took, "rss": rss,
    })
}

struct Options {
    lasts: Duration,
    meetings: usize,
    turns: usize,
    before: Option<PathBuf>,
    arm: Option<String>,
}

fn options() -> Options {
    let mut options =
        Options { lasts: Duration::from_secs(10), meetings: 200, turns: 2, before: None, arm: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| usage(&format!("{argument} takes a value")));
        let number = |text: String| text.parse().unwrap_or_else(|_| usage(&format!("{text} is no number")));
        match argument.as_str() {
            "--seconds" => options.lasts = Duration::from_secs(number(value()) as u64),
            "--meetings" => options.meetings = number(value()),
            "--turns" => options.turns = number(value()),
            "--before" => options.before = Some(value().into()),
            "--arm" => options.arm = Some(value()).filter(|arm| ARMS.contains(&arm.as_str())),
            // Cargo passes it.
            "--bench" => {}
            other => usage(&format!("{other} is no option")),
        }
    }
    options
}

fn usage(problem: &str) -> ! {
    eprintln!("{problem}; benches/load.rs lists the options");
    std::process::exit(2)
}

/// Measures an arm in a process of its own.
fn run(program: &Path, arm: &str, options: &Options) -> Value {
    let (seconds, meetings) = (options.lasts.as_secs().to_string(), options.meetings.to_string());
    let arguments = ["--arm", arm, "--seconds", &seconds, "--meetings", &meetings];
    let output = Command::new(program).args(arguments).output().expect("the arm runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arm} failed: {said}");
    serde_json::from_slice(&output.stdout).expect("an arm prints a JSON line")
}

fn main() {
    let options = options();
    if let Some(arm) = &options.arm {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        println!("{}", runtime.block_on(measure(arm, options.meetings, options.lasts)));
        return;
    }
    let this = std::env::current_exe().expect("the program has a path");
    let mut columns: Vec<(&Path, &str, String)> = Vec::new();
    if let Some(before) = &options.before {
        columns.extend(ARMS[..2].iter().map(|arm| (before.as_path(), *arm, format!("{arm}, before"))));
    }
    columns.extend(ARMS.iter().map(|arm| (this.as_path(), *arm, (*arm).to_owned())));
    let mut figures = vec![Vec::new(); columns.len()];
    for _ in 0..options.turns {
        for ((program, arm, _), figures) in columns.iter().zip(&mut figures) {
            figures.push(run(program, arm, &options));
        }
    }
    let mut table = Table::new();
    let header = ["", "unit"].map(str::to_owned).into_iter();
    table.set_header(header.chain(columns.into_iter().map(|(_, _, title)| title)));
    for (key, unit) in FIGURES {
        let of_arm = |figures: &Vec<Value>| {
            let turns = figures.iter().map(|figures| figures[key].as_f64().expect("a number")).collect();
            format!("{:.1}", median(turns))
        };
        let row = [key.to_owned(), unit.to_owned()].into_iter().chain(figures.iter().map(of_arm));
        table.add_row(row);
    }
    println!(
        "{} meetings, {} s, {} turns\n{table}",
        options.meetings,
        options.lasts.as_secs(),
        options.turns
    );
}
