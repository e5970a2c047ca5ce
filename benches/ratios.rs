//! Measures Teammy beside its peers, by turns in one process: `cargo bench -p teammy-benches --bench ratios
//! -- [OPTIONS]`.
//!
//! Prints a JSON line for each figure, then a table. Each round measures every side once, and a ratio is the
//! median of the rounds' ratios, so that a disturbance of the machine affects both sides. With feature
//! `surrealdb` it also measures stored packets.
//!
//! | option | effect |
//! |---|---|
//! | `--quick` | measures less of everything |
//! | `--alone` | leaves the peers out, for a profiler |
//! | `--only NAME` | runs one bench; may be repeated. An unknown name lists all |
//! | `--rounds N` | measures N rounds; 5 by default |
//! | `--plots DIRECTORY` | draws each bench as `NAME.svg` |

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    missing_docs,
    unreachable_pub,
    clippy::format_push_string,
    reason = "figures are rounded anyway; the modules' docs describe their content"
)]

#[path = "ratios/chain.rs"]
mod chain;
#[path = "ratios/codec.rs"]
mod codec;
#[path = "ratios/datum.rs"]
mod datum;
#[path = "ratios/density.rs"]
mod density;
#[cfg(feature = "surrealdb")]
#[path = "ratios/durable.rs"]
mod durable;
#[path = "ratios/fanout.rs"]
mod fanout;
#[path = "ratios/latency.rs"]
mod latency;
#[path = "ratios/lateness.rs"]
mod lateness;
#[path = "median.rs"]
mod median;
#[path = "ratios/meetings.rs"]
mod meetings;
#[path = "ratios/options.rs"]
mod options;
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

use options::RunOptions;
use report::RatioReport;

/// The benches in the order in which they run. `density` explains why it is the first.
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
    let mut options = RunOptions { quick: false, alone: false, rounds: 5 };
    let mut only = Vec::new();
    let mut plots: Option<PathBuf> = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => options.quick = true,
            "--alone" => options.alone = true,
            "--only" => only.extend(arguments.next()),
            "--plots" => {
                let directory = arguments.next().unwrap_or_else(|| usage("--plots takes a directory"));
                plots = Some(directory.into());
            }
            "--rounds" => {
                let rounds = arguments.next().and_then(|rounds| rounds.parse().ok());
                options.rounds =
                    rounds.filter(|rounds| *rounds > 0).unwrap_or_else(|| usage("--rounds takes a number"));
            }
            // Cargo passes this option to every bench.
            "--bench" => {}
            other => usage(&format!("unknown option {other}")),
        }
    }
    if let Some(unknown) = only.iter().find(|name| !BENCHES.contains(&name.as_str())) {
        usage(&format!("there is no bench {unknown}"));
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let mut report = RatioReport::default();
    runtime.block_on(async {
        for bench in BENCHES.iter().filter(|name| wanted(name)) {
            report.bench(bench);
            match *bench {
                "density" => density::run(&options, &mut report).await,
                "fanout" => fanout::run(&options, &mut report).await,
                "chain" => chain::run(&options, &mut report).await,
                "latency" => latency::run(&options, &mut report).await,
                "meetings" => meetings::run(&options, &mut report).await,
                "codec" => codec::run(&options, &mut report),
                #[cfg(feature = "surrealdb")]
                "durable" => durable::run(&options, &mut report).await,
                #[cfg(feature = "surrealdb")]
                "recover" => recover::run(&options, &mut report).await,
                _ => unreachable!("every bench of the list has an arm"),
            }
        }
    });
    if let Some(directory) = plots {
        for bench in BENCHES.iter().filter(|name| wanted(name)) {
            if let Err(error) = report.plot(&directory, bench) {
                eprintln!("cannot draw {bench} in {}: {error}", directory.display());
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
