//! What the network API costs under the load of a meeting backend, beside a bare WebSocket echo on axum and beside Pipecat, in
//! one run: `cargo bench -p teammy-benches --bench service -- [OPTIONS]`.
//!
//! A meeting is a WebSocket that publishes 50 audio frames of 640 bytes a second and a transcription each 2 s, five plugins
//! ([`plugins`]), and a second WebSocket that reads the outputs of one of them. A node with the store in memory runs in a
//! process of its own, on all cores, and so does the load generator. Both share the machine, so each table has the processor
//! time of both.
//!
//! | part | what it measures |
//! |---|---|
//! | `load` | the most meetings for which p99 from a transcription to its output stays below 100 ms |
//! | `echo` | processor time for each frame: the echo, a meeting without plugins, and a whole meeting, in turns |
//! | `pipecat` | as `load`, and as `echo` at a number of sessions that it serves, of Pipecat's pipeline |
//! | `memory` | resident memory of idle meetings, WebSockets and readers of events |
//!
//! The echo sends each frame back as it is, with axum's defaults. The node reads the frame's header, gives the packet its
//! place in the meeting's log, delivers it to plugins and acknowledges it. No side compresses. The system counts the
//! receiving end's share of TCP over loopback as the sender's time, on all sides alike.
//!
//! Pipecat is left out unless the variable `PIPECAT` holds the path of a Python that has it: `pip install
//! 'pipecat-ai[websocket]' 'uvicorn[standard]'` in a virtual environment. `service/pipecat_server.py` is its server.
//!
//! | option | effect |
//! |---|---|
//! | `--part NAME` | measures one part; all by default |
//! | `--seconds S` | measures each step for S seconds; 10 by default |
//! | `--warm-up S` | and lets it run S seconds before; 3 by default |
//! | `--rounds N` | so many turns of `echo`; 3 by default |
//! | `--meetings N` | measures `load` or `pipecat` with N meetings only, and `echo` with N instead of 200 |
//! | `--ack-ms N` | has acknowledgements of `load` wait up to N milliseconds for more, instead of what is usual |
//! | `--idle N` | so many idle meetings, and connections of each kind; 2000 by default |

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::format_push_string,
    missing_docs,
    unreachable_pub,
    reason = "figures are rounded anyway; the modules' docs describe their content"
)]

#[path = "child.rs"]
mod child;
#[path = "service/frames.rs"]
mod frames;
#[path = "service/load.rs"]
mod load;
#[path = "median.rs"]
mod median;
#[path = "service/meetings.rs"]
mod meetings;
#[path = "service/memory.rs"]
mod memory;
#[path = "service/pipecat.rs"]
mod pipecat;
#[path = "service/plan.rs"]
mod plan;
#[path = "service/plugins.rs"]
mod plugins;
#[path = "service/process.rs"]
mod process;
#[path = "service/report.rs"]
mod report;
#[path = "service/servers.rs"]
mod servers;
#[path = "service/steps.rs"]
mod steps;

use std::{io, time::Duration};

use child::Role;
use median::{median, of_rounds};
use plan::{Measured, Protocol};
use plugins::Plugins;
use steps::{Server, Side, Times};

/// What is measured in turns with the echo. By default the node acknowledges several frames at once, with `ack_ms=0` each.
const BESIDE: [Side; 7] = [
    ECHO,
    Side { name: "no plugins", plugins: Plugins::None, ..MEETINGS },
    Side { name: "no plugins, ack_ms=0", plugins: Plugins::None, ack_ms: Some(0), ..MEETINGS },
    MEETINGS,
    Side { name: "five plugins, ack_ms=0", ack_ms: Some(0), ..MEETINGS },
    Side { name: "five, two take audio", plugins: Plugins::TwoAudio, ..MEETINGS },
    Side { name: "five, two store each frame", plugins: Plugins::Storing, ..MEETINGS },
];
const ECHO: Side = Side { name: "echo", protocol: Protocol::Echo, ..MEETINGS };
const MEETINGS: Side =
    Side { name: "five plugins", protocol: Protocol::Teammy, plugins: Plugins::Five, ack_ms: None };
const PIPECAT: Side = Side { name: "pipecat", protocol: Protocol::Pipecat, ..MEETINGS };

struct Options {
    part: Option<String>,
    times: Times,
    rounds: usize,
    meetings: Option<usize>,
    ack_ms: Option<u32>,
    idle: usize,
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--serve"] => servers::teammy(),
        ["--echo"] => servers::echo(),
        ["--load", plan] => {
            load::run(plan);
            Ok(())
        }
        _ => run(&options(arguments)),
    }
}

/// Starts the server of a side.
fn server(side: Side) -> io::Result<Server> {
    match side.protocol {
        Protocol::Teammy => Role::start(&["--serve"]).and_then(Server::new),
        Protocol::Echo => Role::start(&["--echo"]).and_then(Server::new),
        Protocol::Pipecat => pipecat::start(),
    }
}

fn measure(part: &str, side: Side, meetings: usize, times: Times) -> io::Result<Measured> {
    let measured = steps::step(side, meetings, times, || server(side))?;
    report::line(part, side.name, &measured);
    Ok(measured)
}

fn run(options: &Options) -> io::Result<()> {
    let is_wanted = |part: &str| options.part.as_deref().is_none_or(|only| only == part);
    if is_wanted("load") {
        load_part("load", Side { ack_ms: options.ack_ms, ..MEETINGS }, (100, 6_400), options)?;
    }
    if is_wanted("echo") {
        echo_part(options)?;
    }
    if is_wanted("pipecat") {
        match pipecat::version() {
            Ok(version) => {
                println!("Pipecat {version}");
                load_part("pipecat", PIPECAT, (5, 640), options)?;
            }
            Err(why) => eprintln!("Pipecat is left out: {why}"),
        }
    }
    if is_wanted("memory") {
        memory::measure(options.idle, options.idle, server(MEETINGS)?, server(ECHO)?)?;
    }
    Ok(())
}

/// Looks for the most meetings of a side.
fn load_part(part: &str, side: Side, (first, most): (usize, usize), options: &Options) -> io::Result<()> {
    let mut table = report::table(report::COLUMNS);
    let mut measure = |meetings| {
        let measured = measure(part, side, meetings, options.times)?;
        table.add_row(report::row(side.name, &measured));
        Ok(measured)
    };
    let best = match options.meetings {
        Some(meetings) => Some(measure(meetings)?),
        None => steps::search(first, most, measure)?,
    };
    println!("\n{table}");
    if let Some(best) = best.filter(|_| options.meetings.is_none()) {
        println!(
            "the most meetings with p99 below {} ms: {}, {:.0} for each core that the server kept busy",
            steps::SERVED,
            best.meetings,
            best.meetings as f64 / best.server_cores
        );
    }
    Ok(())
}

/// Measures the echo and a node in turns. A ratio is the median of the rounds' ratios.
fn echo_part(options: &Options) -> io::Result<()> {
    let sides = BESIDE;
    let meetings = options.meetings.unwrap_or(200);
    let mut table = report::table(report::COLUMNS);
    let mut cpu = [const { Vec::new() }; BESIDE.len()];
    for round in 0..options.rounds {
        for turn in 0..sides.len() {
            let at = (round + turn) % sides.len();
            let measured = measure("echo", sides[at], meetings, options.times)?;
            table.add_row(report::row(sides[at].name, &measured));
            cpu[at].push(measured.cpu_each);
        }
    }
    println!("\n{table}");
    let mut ratios = report::table(["", "CPU a frame, µs", "÷ echo"]);
    for (side, of_side) in sides.iter().zip(&cpu) {
        let ratio = of_rounds(of_side, &cpu[0], |ours, echo| ours / echo);
        ratios.add_row([
            side.name.to_owned(),
            format!("{:.1}", median(of_side.clone())),
            format!("{ratio:.2}"),
        ]);
    }
    println!("\n{ratios}");
    Ok(())
}

fn options(arguments: Vec<String>) -> Options {
    let times = Times { warm_up: Duration::from_secs(3), lasts: Duration::from_secs(10) };
    let mut options = Options { part: None, times, rounds: 3, meetings: None, ack_ms: None, idle: 2000 };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| usage(&format!("{argument} takes a value")));
        let number = |text: String| {
            let number = text.parse().ok().filter(|number| *number > 0);
            number.unwrap_or_else(|| usage(&format!("{text} is no number")))
        };
        match argument.as_str() {
            "--part" => options.part = Some(value()),
            "--seconds" => options.times.lasts = Duration::from_secs(number(value()) as u64),
            "--warm-up" => options.times.warm_up = Duration::from_secs(number(value()) as u64),
            "--rounds" => options.rounds = number(value()),
            "--meetings" => options.meetings = Some(number(value())),
            "--ack-ms" => {
                options.ack_ms = Some(value().parse().unwrap_or_else(|_| usage("--ack-ms takes a number")));
            }
            "--idle" => options.idle = number(value()),
            // Cargo passes it.
            "--bench" => {}
            other => usage(&format!("{other} is no option")),
        }
    }
    options
}

fn usage(problem: &str) -> ! {
    eprintln!("{problem}; benches/service.rs lists the options");
    std::process::exit(2)
}
