//! The cost of slow and stuck plugins for other plugins, publishers and memory, and what meetings leave
//! behind after their end: `cargo bench -p teammy-benches --bench slow -- [--quick]`.
//!
//! Prints a JSON line for each figure, and the watchdog's warnings on stderr. Exact values are asserted.
//! Times and memory are printed beside a reference value of the same run.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::format_push_string,
    missing_docs,
    unreachable_pub,
    reason = "figures are rounded anyway"
)]

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use hdrhistogram::Histogram;
use serde::Deserialize;
use serde_json::json;
use teammy_config::Config;
use teammy_kernel::{
    Cx, Error, Factory, Hooks, InCallPlugin, MeetingId, MeetingMetadata, Name, Payload, Publish, Receive,
    StartupCx, store::MemoryStore,
};
use teammy_runtime::{
    MeetingRef, Node,
    meeting::{StartAt, Subscribe},
};
use tokio::time::Instant;

/// How a plugin treats a packet.
#[derive(Debug, Clone, Copy, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Temper {
    /// Records how late the packet is.
    #[default]
    Quick,
    /// Sleeps for a millisecond.
    Sleeps,
    /// Parks its thread until [`RELEASED`] is set.
    Blocks,
    /// Spins until [`RELEASED`] is set.
    Loops,
    /// Never ends, and holds no thread.
    Hangs,
}

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
struct TemperConfig {
    #[serde(default)]
    temper: Temper,
}

/// How late packets reached quick hooks, in nanoseconds.
static LATE: Mutex<Option<Histogram<u64>>> = Mutex::new(None);
/// Set when hooks that block or loop may end.
static RELEASED: AtomicBool = AtomicBool::new(false);
/// Due times of packets count from here.
static ORIGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

/// Takes the recorded times.
fn late() -> Histogram<u64> {
    let taken = LATE.lock().unwrap_or_else(PoisonError::into_inner).take();
    taken.unwrap_or_else(|| Histogram::new(3).expect("three digits are allowed"))
}

/// A quantile in microseconds.
fn quantile(times: &Histogram<u64>, q: f64) -> f64 {
    times.value_at_quantile(q) as f64 / 1e3
}

struct Tempered(Temper);

impl InCallPlugin for Tempered {
    type Config = TemperConfig;
    type State = u64;
    type Scratch = ();
    type Output = Bytes;
    const KIND: &'static str = "tempered";
    const VERSION: &'static str = "1";

    async fn on_startup(TemperConfig { temper }: TemperConfig, _: &StartupCx) -> Result<Self, Error> {
        Ok(Self(temper))
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Bytes>("audio").on::<Bytes>("transcription")
    }
}

impl Receive<Bytes> for Tempered {
    async fn receive(&self, data: Bytes, _: &mut Cx<'_, Self>) -> Result<Option<Bytes>, Error> {
        match self.0 {
            Temper::Quick => {
                let due = u64::from_le_bytes(data[..8].try_into().map_err(Error::reject)?);
                let now = ORIGIN.elapsed().as_nanos() as u64;
                let mut late = LATE.lock().unwrap_or_else(PoisonError::into_inner);
                let late = late.get_or_insert_with(|| Histogram::new(3).expect("three digits are allowed"));
                late.record(now.saturating_sub(due)).map_err(Error::reject)?;
            }
            Temper::Sleeps => tokio::time::sleep(Duration::from_millis(1)).await,
            Temper::Blocks => {
                while !RELEASED.load(Ordering::Relaxed) {
                    std::thread::park_timeout(Duration::from_millis(50));
                }
            }
            Temper::Loops => {
                while !RELEASED.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }
            Temper::Hangs => std::future::pending().await,
        }
        Ok(None)
    }
}

fn packet(source: &Name, bytes: usize) -> Publish {
    let mut data = vec![7; bytes];
    data[..8].copy_from_slice(&(ORIGIN.elapsed().as_nanos() as u64).to_le_bytes());
    Publish::on(source.clone(), Payload::Bytes(data.into()))
}

fn name(name: &str) -> Name {
    Name::new(name).expect("a well-formed name")
}

async fn node(settings: &str, tempers: &[(&str, &str)]) -> Node {
    let mut toml = settings.to_owned();
    for (name, temper) in tempers {
        toml +=
            &format!("\n[[plugin]]\nname = \"{name}\"\nkind = \"tempered\"\nconfig.temper = \"{temper}\"\n");
    }
    let config = Config::from_toml(&toml).expect("the configuration is right");
    let node = Node::builder(config).plugin(Factory::of::<Tempered>("tempered"));
    node.store(Arc::new(MemoryStore::default())).start().await.expect("the node starts")
}

async fn meeting(node: &Node, id: &str, instances: &[&str]) -> MeetingRef {
    let metadata = MeetingMetadata::new(MeetingId::new(id).expect("a well-formed id"));
    let meeting = node.start_meeting(metadata, instances).await.expect("the meeting starts");
    meeting.caught_up().await.expect("the meeting runs");
    meeting
}

fn resident() -> f64 {
    memory_stats::memory_stats().expect("this platform tells resident memory").physical_mem as f64
}

fn print(figure: &serde_json::Value) {
    println!("{figure}");
}

const MIB: f64 = 1024.0 * 1024.0;

/// A flood of audio to a plugin that sleeps.
async fn flood(packets: u64) {
    // The most that a meeting may hold: volatile packets, packets at the ingress, and batches in delivery.
    let bound_mib = 16.0 + 16.0 + 8.0;
    let node = node("", &[("sleeper", "sleeps")]).await;
    let meeting = meeting(&node, "flood", &["sleeper"]).await;
    let source = name("audio");
    let (before, mut most) = (resident(), 0.0_f64);
    for round in 0..packets / 16 {
        let packets = (0..16).map(|_| packet(&source, 1024));
        meeting.publish_all(packets).await.expect("the meeting takes them");
        if round % 1024 == 0 {
            most = most.max(resident() - before);
        }
    }
    most = most.max(resident() - before);
    meeting.end().await.expect("the meeting ends");
    let stats = meeting.stats().await.expect("the meeting is of this node");
    let sleeper = &stats.instances[0];
    assert_eq!(sleeper.delivered + sleeper.lost, packets, "each packet that is not delivered is counted");
    print(&json!({
        "name": "flood of audio at a sleeping plugin", "published": packets, "delivered": sleeper.delivered,
        "gaps": sleeper.lost, "resident_growth_mib": most / MIB, "bound_mib": bound_mib, "within": most / MIB <= bound_mib,
    }));
    node.shutdown(Duration::from_secs(10)).await.expect("the node stops");
}

/// Publishes a packet each millisecond, and returns how late they reached the quick hooks.
async fn paced(meeting: &MeetingRef, source: &Name, lasts: Duration) -> Histogram<u64> {
    drop(late());
    let mut clock = tokio::time::interval(Duration::from_millis(1));
    let until = Instant::now() + lasts;
    while Instant::now() < until {
        clock.tick().await;
        meeting.publish(packet(source, 256)).await.expect("the meeting takes it");
    }
    // The last packets may still be on their way.
    tokio::time::sleep(Duration::from_millis(100)).await;
    late()
}

/// A plugin that catches up on stored packets, beside one that is up to date.
async fn behind(packets: u64) {
    let settings = "delivery.tail_bytes = \"2MiB\"\ndelivery.batch_packets = 64\n";
    let node = node(settings, &[("quick", "quick"), ("late", "sleeps")]).await;
    let meeting = meeting(&node, "behind", &["quick"]).await;
    let source = name("transcription");
    let lasts = Duration::from_secs(3);
    for _ in 0..packets {
        meeting.publish(packet(&source, 1024)).await.expect("the meeting takes it");
    }
    meeting.caught_up().await.expect("the meeting runs");
    let without = paced(&meeting, &source, lasts).await;
    meeting.assign_at("late", teammy_kernel::log::JoinAt::Start).await.expect("it joins");
    let with = paced(&meeting, &source, lasts).await;
    let node_status = node.status().await;
    let lag = &node_status.meetings[0].instances[1].lag;
    let waiting = lag.iter().map(|lag| lag.packets).max().unwrap_or(0);
    meeting.caught_up().await.expect("the meeting runs");
    let stats = meeting.stats().await.expect("the meeting is of this node");
    let late = &stats.instances[1];
    assert_eq!(late.delivered, stats.packets, "the late instance got every packet");
    print(&json!({
        "name": "others beside one that reads up", "behind": packets, "still_behind_at_the_end_of_the_measurement": waiting,
        "p50_us": {"alone": quantile(&without, 0.5), "beside": quantile(&with, 0.5)},
        "p99_us": {"alone": quantile(&without, 0.99), "beside": quantile(&with, 0.99)},
    }));
    meeting.end().await.expect("the meeting ends");
    node.shutdown(Duration::from_secs(10)).await.expect("the node stops");
}

/// Three plugins that block, loop and hang, beside one that is quick.
async fn stuck(lasts: Duration) {
    let settings = format!(
        "node.plugin_threads = 4\nhooks.deadline = \"{}ms\"\nhooks.tries = 1\nhooks.watchdog = \"1s\"\n",
        lasts.as_millis() - 1_000
    );
    let tempers = [("quick", "quick"), ("blocks", "blocks"), ("loops", "loops"), ("hangs", "hangs")];
    let node = node(&settings, &tempers).await;
    let quick = meeting(&node, "quick", &["quick"]).await;
    let source = name("audio");
    let before = paced(&quick, &source, Duration::from_secs(3)).await;
    RELEASED.store(false, Ordering::Relaxed);
    let bad = meeting(&node, "bad", &["quick", "blocks", "loops", "hangs"]).await;
    let told = Subscribe::to(["plugin-status"]).from(StartAt::Start);
    let told = bad.subscribe(told).await.expect("the source is there");
    bad.publish(packet(&name("transcription"), 256)).await.expect("the meeting takes it");
    let during = paced(&quick, &source, lasts).await;
    let status = node.status().await;
    let fates: Vec<_> =
        status.meetings.iter().find(|meeting| meeting.id.as_str() == "bad").map_or_else(Vec::new, |bad| {
            bad.instances
                .iter()
                .map(|one| format!("{} {:?} {} dead letters", one.name, one.status, one.dead_letters))
                .collect()
        });
    let told: Vec<String> = told
        .take(2)
        .map(|item| match item.map(|item| item.packet.payload.clone()) {
            Ok(Payload::Json(text)) => text.to_string(),
            other => format!("{other:?}"),
        })
        .collect()
        .await;
    print(&json!({
        "name": "others beside three that are stuck", "seconds": lasts.as_secs(), "fates": fates, "told": told,
        "p50_us": {"before": quantile(&before, 0.5), "during": quantile(&during, 0.5)},
        "p99_us": {"before": quantile(&before, 0.99), "during": quantile(&during, 0.99)},
        "packets_during": during.len(),
    }));
    RELEASED.store(true, Ordering::Relaxed);
    bad.end().await.expect("the meeting ends");
    quick.end().await.expect("the meeting ends");
    node.shutdown(Duration::from_secs(20)).await.expect("the node stops");
}

/// Meetings that start and end, `times` times.
async fn over(meetings: usize, times: usize) {
    let node = node("", &[("quick", "quick"), ("sleeper", "sleeps")]).await;
    let source = name("audio");
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (mut figures, idle) = (Vec::new(), tasks());
    for _ in 0..=times {
        let mut running = Vec::with_capacity(meetings);
        for index in 0..meetings {
            let meeting = meeting(&node, &format!("over-{index}"), &["quick", "sleeper"]).await;
            let subscription =
                meeting.subscribe(Subscribe::to(["audio"])).await.expect("the source is there");
            meeting.publish(packet(&source, 1024)).await.expect("the meeting takes it");
            running.push((meeting, subscription));
        }
        for (meeting, subscription) in running {
            meeting.end().await.expect("the meeting ends");
            drop(subscription);
            node.forget(meeting.id()).await.expect("it is forgotten");
        }
        // The first figure includes memory that the allocator keeps for later.
        figures.push((resident() / MIB).round());
    }
    // A task that was told to stop ends when it next runs.
    let until = Instant::now() + Duration::from_secs(10);
    while tasks() > idle && Instant::now() < until {
        tokio::task::yield_now().await;
    }
    assert!(tasks() <= idle, "tasks are left: {} of {idle}", tasks());
    assert!(node.meetings().is_empty());
    print(&json!({
        "name": "meetings started and ended", "meetings": meetings, "times": times,
        "resident_mib_after_each": figures, "tasks": {"before": idle, "after": tasks()},
    }));
    node.shutdown(Duration::from_secs(10)).await.expect("the node stops");
}

fn main() {
    // Prints the watchdog's warnings.
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(std::io::stderr)
        .init();
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async {
        if is_quick {
            flood(50_000).await;
            behind(2_000).await;
            stuck(Duration::from_secs(3)).await;
            over(50, 3).await;
        } else {
            flood(1_000_000).await;
            behind(10_000).await;
            stuck(Duration::from_secs(10)).await;
            over(1_000, 10).await;
        }
    });
}
