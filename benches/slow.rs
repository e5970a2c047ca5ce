//! What slow, broken and silent plugins cost the others, the publishers and the memory, and what is left of
//! meetings that are over: `cargo bench -p teammy-benches --bench slow -- [--quick]`.
//!
//! Prints a JSON line for each figure, and to stderr what the watchdog says. What must be exact is asserted;
//! what is time or memory is printed beside what it is to be compared with, both of this run.

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
    store::MemoryStore,
};
use teammy_runtime::{
    MeetingRef, Node,
    meeting::{StartAt, Subscribe},
};
use tokio::time::Instant;

/// What a plugin does with a packet.
#[derive(Debug, Clone, Copy, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Temper {
    /// Notes how late it is.
    #[default]
    Quick,
    /// Sleeps for a millisecond.
    Sleeps,
    /// Holds its thread until it is let go.
    Blocks,
    /// Goes on until it is let go, and never waits.
    Loops,
    /// Never comes back, without holding a thread.
    Hangs,
}

#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
struct Table {
    #[serde(default)]
    temper: Temper,
}

/// How late packets reached quick hooks, in nanoseconds.
static LATE: Mutex<Option<Histogram<u64>>> = Mutex::new(None);
/// Those that hold their threads may go.
static RELEASED: AtomicBool = AtomicBool::new(false);
static ORIGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

fn late() -> Histogram<u64> {
    let taken = LATE.lock().unwrap_or_else(PoisonError::into_inner).take();
    taken.unwrap_or_else(|| Histogram::new(3).expect("three digits are allowed"))
}

fn quantile(times: &Histogram<u64>, q: f64) -> f64 {
    times.value_at_quantile(q) as f64 / 1e3
}

struct Tempered(Temper);

impl InCallPlugin for Tempered {
    type Config = Table;
    type State = u64;
    type Output = Bytes;
    const KIND: &'static str = "tempered";
    const VERSION: &'static str = "1";

    async fn on_startup(Table { temper }: Table) -> Result<Self, Error> {
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
    memory_stats::memory_stats().expect("this platform says what is resident").physical_mem as f64
}

fn say(figure: &serde_json::Value) {
    println!("{figure}");
}

const MIB: f64 = 1024.0 * 1024.0;

/// A plugin that sleeps under a flood of audio.
async fn flood(packets: u64) {
    // What a meeting may hold: volatile packets, what waits at the door, and batches in hand.
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
    let stats = meeting.stats();
    let sleeper = &stats.instances[0];
    assert_eq!(sleeper.delivered + sleeper.lost, packets, "what is not delivered is counted");
    say(&json!({
        "name": "flood of audio at a sleeping plugin", "published": packets, "delivered": sleeper.delivered,
        "gaps": sleeper.lost, "resident_growth_mib": most / MIB, "bound_mib": bound_mib, "within": most / MIB <= bound_mib,
    }));
    node.shutdown(Duration::from_secs(10)).await.expect("the node stops");
}

/// Publishes at a pace, and says how late the packets reached the quick hooks.
async fn paced(meeting: &MeetingRef, source: &Name, lasts: Duration) -> Histogram<u64> {
    drop(late());
    let mut clock = tokio::time::interval(Duration::from_millis(1));
    let until = Instant::now() + lasts;
    while Instant::now() < until {
        clock.tick().await;
        meeting.publish(packet(source, 256)).await.expect("the meeting takes it");
    }
    // The last one is on its way.
    tokio::time::sleep(Duration::from_millis(100)).await;
    late()
}

/// A plugin that reads up 10,000 stored packets beside others that are up to date.
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
    let standing = node.status().await;
    let lag = &standing.meetings[0].instances[1].lag;
    let waiting = lag.iter().map(|lag| lag.packets).max().unwrap_or(0);
    meeting.caught_up().await.expect("the meeting runs");
    let stats = meeting.stats();
    let late = &stats.instances[1];
    assert_eq!(late.delivered, stats.packets, "it has caught up, and missed nothing");
    say(&json!({
        "name": "others beside one that reads up", "behind": packets, "still_behind_at_the_end_of_the_measurement": waiting,
        "p50_us": {"alone": quantile(&without, 0.5), "beside": quantile(&with, 0.5)},
        "p99_us": {"alone": quantile(&without, 0.99), "beside": quantile(&with, 0.99)},
    }));
    meeting.end().await.expect("the meeting ends");
    node.shutdown(Duration::from_secs(10)).await.expect("the node stops");
}

/// Three plugins that hold a thread, loop and hang, beside one that is quick.
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
    let told = bad.subscribe(told).expect("the source is there");
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
    say(&json!({
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

/// Meetings that start and end, over and over.
async fn over(meetings: usize, times: usize) {
    let node = node("", &[("quick", "quick"), ("sleeper", "sleeps")]).await;
    let source = name("audio");
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let (mut figures, idle) = (Vec::new(), tasks());
    for _ in 0..=times {
        let mut running = Vec::with_capacity(meetings);
        for index in 0..meetings {
            let meeting = meeting(&node, &format!("over-{index}"), &["quick", "sleeper"]).await;
            let subscription = meeting.subscribe(Subscribe::to(["audio"])).expect("the source is there");
            meeting.publish(packet(&source, 1024)).await.expect("the meeting takes it");
            running.push((meeting, subscription));
        }
        for (meeting, subscription) in running {
            meeting.end().await.expect("the meeting ends");
            drop(subscription);
            node.forget(meeting.id()).await.expect("it is forgotten");
        }
        // The first time is when the allocator takes what it keeps.
        figures.push((resident() / MIB).round());
    }
    // What was told to stop is gone when it has had its turn.
    let until = Instant::now() + Duration::from_secs(10);
    while tasks() > idle && Instant::now() < until {
        tokio::task::yield_now().await;
    }
    assert!(tasks() <= idle, "no task is left: {} of {idle}", tasks());
    assert!(node.meetings().is_empty());
    say(&json!({
        "name": "meetings started and ended", "meetings": meetings, "times": times,
        "resident_mib_after_each": figures, "tasks": {"before": idle, "after": tasks()},
    }));
    node.shutdown(Duration::from_secs(10)).await.expect("the node stops");
}

fn main() {
    // What the watchdog says is to be seen.
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
