//! Ours beside the peers, in one process and in turns: `cargo bench -p teammy-benches --bench ratios --
//! [OPTIONS]`.
//!
//! Prints a JSON line for each figure, then a table. Each round measures everybody once, and a ratio is the
//! median of the rounds' ratios, so that what disturbs the machine disturbs both sides. Options: `--quick`
//! (less of everything), `--alone` (without the peers, for a profiler), `--only
//! NAME` (one of those that it lists when it knows no such name; again for another), `--rounds N` (5),
//! `--plots DIRECTORY` (a picture for each, `NAME.svg`). With feature `surrealdb` it measures what is stored,
//! too.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    missing_docs,
    unreachable_pub,
    clippy::format_push_string,
    reason = "figures are rounded anyway; the modules' docs say what they hold"
)]

#[path = "ratios/chain.rs"]
mod chain;
#[path = "ratios/codec.rs"]
mod codec;
#[path = "ratios/density.rs"]
mod density;
#[cfg(feature = "surrealdb")]
#[path = "ratios/durable.rs"]
mod durable;
#[path = "ratios/fanout.rs"]
mod fanout;
#[path = "ratios/latency.rs"]
mod latency;
#[path = "ratios/meetings.rs"]
mod meetings;
#[path = "ratios/ours.rs"]
mod ours;
#[path = "ratios/peers.rs"]
mod peers;
#[path = "ratios/plot.rs"]
mod plot;
#[cfg(feature = "surrealdb")]
#[path = "ratios/raw.rs"]
mod raw;
#[cfg(feature = "surrealdb")]
#[path = "ratios/recover.rs"]
mod recover;
#[path = "ratios/report.rs"]
mod report;
#[path = "ratios/tally.rs"]
mod tally;

use std::path::PathBuf;

use report::Report;

/// How much to measure.
pub struct Run {
    pub quick: bool,
    /// Leave the peers out, for a profiler.
    pub alone: bool,
    pub rounds: usize,
}

/// In the order in which they run: memory first, see there.
const BENCHES: &[&str] = &[
    "density",
    "fanout",
    "chain",
    "latency",
    "meetings",
    "codec",
    #[cfg(feature = "surrealdb")]
    "durable",
    #[cfg(feature = "surrealdb")]
    "recover",
];

fn main() {
    let mut run = Run { quick: false, alone: false, rounds: 5 };
    let mut only = Vec::new();
    let mut plots: Option<PathBuf> = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => run.quick = true,
            "--alone" => run.alone = true,
            "--only" => only.extend(arguments.next()),
            "--plots" => {
                let directory = arguments.next().unwrap_or_else(|| usage("--plots takes a directory"));
                plots = Some(directory.into());
            }
            "--rounds" => {
                let rounds = arguments.next().and_then(|rounds| rounds.parse().ok());
                run.rounds =
                    rounds.filter(|rounds| *rounds > 0).unwrap_or_else(|| usage("--rounds takes a number"));
            }
            // What cargo says to every bench.
            "--bench" => {}
            other => usage(&format!("unknown option {other}")),
        }
    }
    if let Some(unknown) = only.iter().find(|name| !BENCHES.contains(&name.as_str())) {
        usage(&format!("there is no {unknown}"));
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let mut report = Report::default();
    runtime.block_on(async {
        for bench in BENCHES.iter().filter(|name| wanted(name)) {
            report.bench(bench);
            match *bench {
                "density" => density::run(&run, &mut report).await,
                "fanout" => fanout::run(&run, &mut report).await,
                "chain" => chain::run(&run, &mut report).await,
                "latency" => latency::run(&run, &mut report).await,
                "meetings" => meetings::run(&run, &mut report).await,
                "codec" => codec::run(&run, &mut report),
                #[cfg(feature = "surrealdb")]
                "durable" => durable::run(&run, &mut report).await,
                #[cfg(feature = "surrealdb")]
                "recover" => recover::run(&run, &mut report).await,
                _ => unreachable!("it is not listed"),
            }
        }
    });
    if let Some(directory) = plots {
        for bench in BENCHES.iter().filter(|name| wanted(name)) {
            if let Err(error) = report.plot(&directory, bench) {
                eprintln!("no plot of {bench} in {}: {error}", directory.display());
                std::process::exit(1);
            }
        }
    }
    report.print();
}

fn usage(problem: &str) -> ! {
    eprintln!(
        "{problem}; usage: ratios [--quick] [--alone] [--only {}]… [--rounds N] [--plots DIRECTORY]",
        BENCHES.join("|")
    );
    std::process::exit(2)
}
