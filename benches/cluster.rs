//! What it costs to publish through a node that does not run the meeting, beside one that does and beside a bare RPC of
//! `ractor_cluster`, in one run; and what a frozen peer and strangers cost:
//! `cargo bench -p teammy-benches --bench cluster -- [OPTIONS]`.
//!
//! In the first two parts, all nodes are in this process and share a store in memory. Their links are sockets over loopback, plain and with TLS, and so
//! is the session of the bare RPC. Packets have 256 bytes and a volatile source, and the meetings have no plugins.
//!
//! | part | what it measures |
//! |---|---|
//! | `forward` | one publish at a time, and 64 at a time, to one meeting: by its owner, by another node, and the bare RPC |
//! | `nodes` | 12 meetings on 1, 2 and 3 nodes, 8 publishers each: through the owners, and through other nodes |
//! | `frozen` | the memory of a node that floods a peer which is stopped, and what its callers get |
//! | `attacks` | good links beside idle connections, and what remains of refused ones in memory and in the log |
//!
//! The bare RPC carries 256 bytes there and a number back, from one actor to another. Every round measures each side once, in
//! turns, and figures are medians of the rounds; a ratio is the median of the rounds' ratios.
//!
//! | option | effect |
//! |---|---|
//! | `--part NAME` | measures one part; all by default |
//! | `--rounds N` | so many rounds; 5 by default |
//! | `--millis N` | each measurement takes so long; 1000 by default |

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    missing_docs,
    unreachable_pub,
    reason = "figures are rounded anyway; the modules' docs describe their content"
)]

#[path = "cluster/attacks.rs"]
mod attacks;
#[path = "cluster/bare.rs"]
mod bare;
#[path = "child.rs"]
mod child;
#[path = "cluster/frozen.rs"]
mod frozen;
#[path = "median.rs"]
mod median;
#[path = "cluster/memory.rs"]
mod memory;
#[path = "cluster/nodes.rs"]
mod nodes;

use std::{error::Error, sync::Arc, time::Duration};

use bare::Bare;
use comfy_table::{CellAlignment, Table, presets};
use cpu_time::ProcessTime;
use futures::{FutureExt, future::BoxFuture};
use hdrhistogram::Histogram;
use median::{median, of_rounds};
use nodes::{Meeting, Nodes, PAYLOAD, publish};
use teammy_cluster::certs::Authority;
use tokio::{runtime::Runtime, task::JoinSet, time::Instant};

/// How many calls are made at a time.
const TOGETHER: usize = 64;
/// The meetings of the part `nodes`, and the publishers of each.
const MEETINGS: usize = 12;
const PUBLISHERS: usize = 8;

/// One call of a side; the number says which publisher makes it.
type Work = Arc<dyn Fn(usize) -> BoxFuture<'static, ()> + Send + Sync>;

struct Side {
    name: String,
    work: Work,
}

/// What was measured of a side, a value a round.
#[derive(Default)]
struct Figures {
    p50: Vec<f64>,
    p99: Vec<f64>,
    rate: Vec<f64>,
    cpu: Vec<f64>,
}

struct Options {
    part: Option<String>,
    rounds: usize,
    lasts: Duration,
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(header);
    for column in 1..N {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Makes one call after the other, and returns p50 and p99 in microseconds.
async fn singly(work: &Work, lasts: Duration) -> (f64, f64) {
    let mut times = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are possible");
    let (until, mut began) = (Instant::now() + lasts, Instant::now());
    while began < until {
        work(0).await;
        let now = Instant::now();
        times.saturating_record((now - began).as_nanos() as u64);
        began = now;
    }
    let micros = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
    (micros(0.5), micros(0.99))
}

/// Makes so many calls at a time, and returns calls a second and microseconds of processor time each.
async fn together(work: &Work, tasks: usize, lasts: Duration) -> (f64, f64) {
    let (cpu, began) = (ProcessTime::now(), Instant::now());
    let until = began + lasts;
    let mut publishers = JoinSet::new();
    for publisher in 0..tasks {
        let work = work.clone();
        publishers.spawn(async move {
            let mut calls = 0_u64;
            while Instant::now() < until {
                work(publisher).await;
                calls += 1;
            }
            calls
        });
    }
    let calls = publishers.join_all().await.into_iter().sum::<u64>() as f64;
    (calls / began.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64() * 1e6 / calls)
}

/// Measures the sides in turns.
async fn measure(sides: &[Side], is_single: bool, tasks: usize, options: &Options) -> Vec<Figures> {
    let mut figures: Vec<Figures> = sides.iter().map(|_| Figures::default()).collect();
    for side in sides {
        // It warms up.
        together(&side.work, tasks, options.lasts / 4).await;
    }
    for round in 0..options.rounds {
        for turn in 0..sides.len() {
            let at = (round + turn) % sides.len();
            let (side, figures) = (&sides[at], &mut figures[at]);
            if is_single {
                let (p50, p99) = singly(&side.work, options.lasts).await;
                figures.p50.push(p50);
                figures.p99.push(p99);
            }
            let (rate, cpu) = together(&side.work, tasks, options.lasts).await;
            figures.rate.push(rate);
            figures.cpu.push(cpu);
        }
    }
    figures
}

fn side(
    name: impl Into<String>,
    work: impl Fn(usize) -> BoxFuture<'static, ()> + Send + Sync + 'static,
) -> Side {
    Side { name: name.into(), work: Arc::new(work) }
}

/// Publishes to meetings in turn, through their owners or not.
fn publishes(name: impl Into<String>, meetings: Vec<Meeting>, through_owner: bool) -> Side {
    side(name, move |publisher| {
        let meeting = &meetings[publisher % meetings.len()];
        let meeting = if through_owner { &meeting.owner } else { &meeting.other }.clone();
        async move { publish(&meeting).await }.boxed()
    })
}

fn asks(name: &str, bare: Bare) -> Side {
    side(name, move |_| {
        let bare = bare.clone();
        async move { bare.ask(vec![7; PAYLOAD]).await }.boxed()
    })
}

async fn forward(options: &Options) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let authority = Authority::open(folder.path())?;
    let plain = Nodes::start(2, None).await?;
    let encrypted = Nodes::start(2, Some(&authority)).await?;
    let (of_plain, of_encrypted) = (plain.meetings(1).await?, encrypted.meetings(1).await?);
    let sides = [
        publishes("through the owner", of_plain.clone(), true),
        publishes("through another node, plain", of_plain, false),
        asks("bare RPC, plain", Bare::start(None).await?),
        publishes("through another node, TLS", of_encrypted, false),
        asks("bare RPC, TLS", Bare::start(Some(&authority)).await?),
    ];
    let figures = measure(&sides, true, TOGETHER, options).await;
    let mut shown = table(["", "p50, µs", "p99, µs", "calls/s, 64 at a time", "CPU a call, µs"]);
    for (side, of_side) in sides.iter().zip(&figures) {
        shown.add_row([
            side.name.clone(),
            format!("{:.1}", median(of_side.p50.clone())),
            format!("{:.1}", median(of_side.p99.clone())),
            format!("{:.0}", median(of_side.rate.clone())),
            format!("{:.1}", median(of_side.cpu.clone())),
        ]);
    }
    println!("\nforward\n{shown}");
    let mut ratios = table(["÷ bare RPC", "p50", "what the way adds, p50", "p99", "CPU a call"]);
    let owner = &figures[0];
    for (name, ours, bare) in [("plain", &figures[1], &figures[2]), ("TLS", &figures[3], &figures[4])] {
        let ratio = |ours: &[f64], bare: &[f64]| of_rounds(ours, bare, |ours, bare| ours / bare);
        let added: Vec<f64> = ours.p50.iter().zip(&owner.p50).map(|(ours, owner)| ours - owner).collect();
        ratios.add_row([
            name.to_owned(),
            format!("{:.2}", ratio(&ours.p50, &bare.p50)),
            format!("{:.2}", ratio(&added, &bare.p50)),
            format!("{:.2}", ratio(&ours.p99, &bare.p99)),
            format!("{:.2}", ratio(&ours.cpu, &bare.cpu)),
        ]);
    }
    println!("{ratios}");
    println!("calls from node to node: {}", plain.forwards() + encrypted.forwards());
    plain.stop().await;
    encrypted.stop().await;
    Ok(())
}

async fn several(options: &Options) -> Result<(), Box<dyn Error>> {
    let (mut clusters, mut sides) = (Vec::new(), Vec::new());
    for count in 1..=3 {
        let nodes = Nodes::start(count, None).await?;
        let meetings = nodes.meetings(MEETINGS).await?;
        if count > 1 {
            sides.push(publishes(format!("{count} nodes, through others"), meetings.clone(), false));
        }
        sides.push(publishes(format!("{count} nodes, through owners"), meetings, true));
        clusters.push(nodes);
    }
    let figures = measure(&sides, false, MEETINGS * PUBLISHERS, options).await;
    let mut shown = table(["", "publishes/s", "CPU a publish, µs"]);
    for (side, of_side) in sides.iter().zip(&figures) {
        shown.add_row([
            side.name.clone(),
            format!("{:.0}", median(of_side.rate.clone())),
            format!("{:.2}", median(of_side.cpu.clone())),
        ]);
    }
    println!("\nnodes\n{shown}");
    for nodes in clusters {
        nodes.stop().await;
    }
    Ok(())
}

fn options() -> Options {
    let mut options = Options { part: None, rounds: 5, lasts: Duration::from_secs(1) };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| usage(&format!("{argument} takes a value")));
        let number = |text: String| text.parse().unwrap_or_else(|_| usage(&format!("{text} is no number")));
        match argument.as_str() {
            "--part" => options.part = Some(value()),
            "--rounds" => options.rounds = number(value()),
            "--millis" => options.lasts = Duration::from_millis(number(value()) as u64),
            // Cargo passes it.
            "--bench" => {}
            other => usage(&format!("{other} is no option")),
        }
    }
    options
}

fn usage(problem: &str) -> ! {
    eprintln!("{problem}; benches/cluster.rs lists the options");
    std::process::exit(2)
}

fn main() -> Result<(), Box<dyn Error>> {
    // The bench starts its own program in other roles.
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [option, role, arguments @ ..] = &arguments[..]
        && option == "--role"
    {
        return match role.as_str() {
            frozen::PEER => frozen::peer(arguments),
            frozen::NODE => frozen::node(arguments),
            attacks::ATTACKED => attacks::attacked(arguments),
            other => usage(&format!("{other} is no role")),
        };
    }
    let options = options();
    let is_wanted = |part: &str| options.part.as_deref().is_none_or(|only| only == part);
    if is_wanted("forward") {
        Runtime::new()?.block_on(forward(&options))?;
    }
    if is_wanted("nodes") {
        Runtime::new()?.block_on(several(&options))?;
    }
    if is_wanted("frozen") {
        frozen::rows()?;
    }
    if is_wanted("attacks") {
        attacks::rows()?;
    }
    Ok(())
}
