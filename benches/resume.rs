//! How long `Node::resume_all` takes and how much memory it needs, for stored meetings in an embedded database:
//! `cargo bench -p teammy-benches --features surrealdb --bench resume -- [MEETINGS…]`.
//!
//! Prints a JSON line for each number of meetings and of meetings at once: the time until all are resumed, until
//! the new owner's first commits are stored as well, and the resident memory before and after. Each meeting has an
//! instance with a state, a hundred packets, and as many meetings that have ended beside it.

#![allow(clippy::cast_precision_loss, missing_docs, unreachable_pub, reason = "figures are rounded anyway")]

use std::{sync::Arc, time::Duration};

use serde_json::json;
use teammy_config::Config;
use teammy_kernel::{
    Bytes, Cx, Error, Factory, Hooks, InCallPlugin, MeetingId, MeetingMetadata, Publish, Receive, StartupCx,
    Store, store::MeetingQuery,
};
use teammy_runtime::{MeetingRef, Node};
use teammy_surreal::{self as surreal, Options};
use tokio::time::Instant;

const PACKETS: u64 = 100;

/// Counts packets in its state.
struct Counter;

impl InCallPlugin for Counter {
    type Config = ();
    type State = u64;
    type Scratch = ();
    type Output = Bytes;
    const KIND: &'static str = "counter";
    const VERSION: &'static str = "1";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Bytes>("transcription")
    }
}

impl Receive<Bytes> for Counter {
    async fn receive(&self, _: Bytes, cx: &mut Cx<'_, Self>) -> Result<Option<Bytes>, Error> {
        *cx.state_mut() += 1;
        Ok(None)
    }
}

async fn node(store: Arc<dyn Store>) -> Node {
    let config = Config::from_toml("[[plugin]]\nname = \"counter\"\n").expect("a valid configuration");
    let builder = Node::builder(config).plugin(Factory::of::<Counter>("counter")).store(store);
    builder.start().await.expect("the node starts")
}

async fn open(directory: &std::path::Path) -> Arc<dyn Store> {
    let options = Options::new(format!("surrealkv://{}", directory.display()));
    Arc::new(surreal::open(options).await.expect("the store opens"))
}

/// The resident memory, in MB.
fn resident() -> f64 {
    memory_stats::memory_stats().map_or(0.0, |stats| stats.physical_mem as f64 / 1e6)
}

/// Stores so many meetings that run, and as many that have ended.
async fn fill(directory: &std::path::Path, meetings: usize) {
    let node = node(open(directory).await).await;
    let one = async |name: String| {
        let id = MeetingId::new(name).expect("a well-formed id");
        let opened = node.open(MeetingMetadata::new(id), ["counter"]).await.expect("it starts");
        let said = || Publish::bytes("transcription", vec![7; 200]).expect("a well-formed source");
        let receipts = opened.meeting().publish_all((0..PACKETS).map(|_| said())).await;
        receipts.expect("they are accepted").durable().await.expect("they are stored");
        opened.into_meeting()
    };
    for number in 0..meetings {
        one(format!("runs {number}")).await;
        one(format!("ended {number}")).await.end().await.expect("it ends");
    }
    node.shutdown(Duration::from_mins(5)).await.expect("the node stops");
}

async fn measure(directory: &std::path::Path, meetings: usize, at_once: usize) {
    let store = open(directory).await;
    let node = node(store.clone()).await;
    let before = resident();
    let began = Instant::now();
    let page = store.meetings(MeetingQuery::open().limit(32)).await.expect("meetings are listed");
    let listed = began.elapsed();
    assert_eq!(page.meetings.len(), meetings.min(32));
    let began = Instant::now();
    let report = node.resume_all(at_once, |_| true).await;
    let resumed = began.elapsed();
    assert_eq!((report.resumed(), report.failures().count()), (meetings, 0));
    let caught_up = report.running().map(MeetingRef::caught_up);
    for result in futures::future::join_all(caught_up).await {
        result.expect("it catches up");
    }
    let figures = json!({
        "meetings": meetings,
        "at_once": at_once,
        "first_page_ms": listed.as_secs_f64() * 1e3,
        "resumed_s": resumed.as_secs_f64(),
        "caught_up_s": began.elapsed().as_secs_f64(),
        "rss_before_mb": before,
        "rss_after_mb": resident(),
    });
    println!("{figures}");
    node.shutdown(Duration::from_mins(5)).await.expect("the node stops");
}

/// Runs this program again, for one step, so that no step's memory is in another's figures.
fn step(step: &str, directory: &std::path::Path, meetings: usize, at_once: usize) {
    let program = std::env::current_exe().expect("the program has a path");
    let mut command = std::process::Command::new(program);
    command.arg(step).arg(directory).args([meetings.to_string(), at_once.to_string()]);
    assert!(command.status().expect("the step starts").success(), "the step ends well");
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [step, directory, meetings, at_once] = &arguments[..] {
        let count = |text: &String| text.parse().expect("a number");
        let (directory, meetings, at_once) =
            (std::path::Path::new(directory), count(meetings), count(at_once));
        return match step.as_str() {
            "fill" => fill(directory, meetings).await,
            _ => measure(directory, meetings, at_once).await,
        };
    }
    let counts: Vec<usize> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    for meetings in if counts.is_empty() { vec![200, 3_000] } else { counts } {
        let directory = tempfile::tempdir().expect("a directory");
        step("fill", directory.path(), meetings, 1);
        for at_once in [1, 32] {
            step("measure", directory.path(), meetings, at_once);
        }
    }
}
