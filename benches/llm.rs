//! What Teammy's model actor adds to a request's time, beside async-openai alone and `LiteLLM`'s proxy, in one run:
//! `cargo bench -p teammy-benches --bench llm -- [OPTIONS]`.
//!
//! All sides ask the same server, a process of its own on loopback, which answers with 50 tokens after a fixed time, in
//! one piece or streamed. A number of tasks ask at the same time, each again as soon as it has its answer.
//!
//! | side | what it does |
//! |---|---|
//! | `bare` | writes a request to a connection, and reads the answer's bytes: the time of the server and the machine |
//! | `async-openai` | asks with async-openai's own types and its default client, and reads the answer to its end |
//! | `teammy` | asks the actor as a plugin's hook does; `stream` of the model is what the server does |
//! | `litellm` | asks as `async-openai` does, but `LiteLLM`'s proxy in front of the server |
//!
//! The sides are measured by turns, for half a second each, and each begins a round in turn. A ratio is the median of the
//! rounds' ratios, so that a disturbance of the machine affects both sides. It prints a JSON line for each side of each
//! case, then a table. `LiteLLM` is left out unless the variable `LITELLM` holds the path of its program, which
//! `benches/litellm.sh` installs.
//!
//! | option | effect |
//! |---|---|
//! | `--quick` | measures each side for a tenth of a second |
//! | `--alone` | measures Teammy alone, for a profiler |
//! | `--rounds N` | measures N rounds; 5 by default |
//! | `--seconds S` | measures each side for S seconds in a round; 0.5 by default |
//! | `--case TEXT` | measures the cases with this text in their name, such as `streamed, 0 ms` |
//! | `--at-once N` | measures with one number of requests at once; by default 1, 16 and 64 |
//! | `--log FILTER` | what is logged to stderr; `warn` by default, as in the program |

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    missing_docs,
    unreachable_pub,
    reason = "figures are rounded anyway; the modules' docs describe their content"
)]

#[path = "child.rs"]
mod child;
#[path = "llm/clients.rs"]
mod clients;
#[path = "llm/figures.rs"]
mod figures;
#[path = "llm/litellm.rs"]
mod litellm;
#[path = "median.rs"]
mod median;
#[path = "llm/server.rs"]
mod server;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cpu_time::ProcessTime;
use teammy_kernel::SharedLlm;
use tokio::{sync::Barrier, task::JoinSet, time::Instant};

use child::Role;
use clients::{Asker, AsyncOpenAi, Form};
use figures::{Report, Side, Slice};
use litellm::LiteLlm;
use server::Answers;

/// The server's times, in milliseconds.
const TIMES: [u64; 2] = [0, 20];

const BARE: &str = "bare";
const PEER: &str = "async-openai";
const OURS: &str = "teammy";
const PROXY: &str = "litellm";

/// What is measured of each side.
pub struct Case {
    form: Form,
    /// The server's time, in milliseconds.
    time: u64,
    at_once: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = if self.form == Form::Streamed { "streamed" } else { "whole" };
        write!(f, "{form}, {} ms", self.time)
    }
}

struct Options {
    alone: bool,
    rounds: usize,
    length: Duration,
    case: String,
    at_once: Vec<usize>,
    log: String,
}

/// What the sides ask with.
struct Sides {
    port: u16,
    answers: Arc<Answers>,
    /// By the server's time.
    async_openai: HashMap<u64, AsyncOpenAi>,
    teammy: Vec<(Form, u64, SharedLlm)>,
    proxy: Option<(AsyncOpenAi, LiteLlm)>,
    /// The number of the next request.
    next: AtomicU64,
}

impl Sides {
    async fn new(port: u16, litellm: Option<String>) -> Self {
        let url = |time: u64| format!("http://127.0.0.1:{port}/{time}/v1");
        let mut teammy = Vec::new();
        for (form, time) in
            [Form::Streamed, Form::Whole].into_iter().flat_map(|form| TIMES.map(|time| (form, time)))
        {
            teammy.push((form, time, clients::teammy(&url(time), form).await));
        }
        let mut proxy = None;
        match litellm {
            None => {
                eprintln!("LiteLLM is left out: set LITELLM to its program; benches/litellm.sh installs it");
            }
            Some(program) => match LiteLlm::start(&program, port, &TIMES).await {
                Ok(started) => proxy = Some((AsyncOpenAi::new(&started.url), started)),
                Err(why) => eprintln!("LiteLLM is left out: {why}"),
            },
        }
        Self {
            port,
            answers: Arc::new(Answers::new()),
            async_openai: TIMES.into_iter().map(|time| (time, AsyncOpenAi::new(&url(time)))).collect(),
            teammy,
            proxy,
            next: AtomicU64::new(0),
        }
    }

    async fn asker(&self, side: &str, case: &Case, number: usize) -> Asker {
        let Case { form, time, .. } = *case;
        match side {
            BARE => Asker::bare(self.port, time, form).await,
            PEER => {
                let client = self.async_openai[&time].clone();
                Asker::AsyncOpenAi { client, model: "bench".to_owned(), form }
            }
            OURS => {
                let ours = self.teammy.iter().find(|(of, at, _)| (*of, *at) == (form, time));
                Asker::teammy(ours.expect("there is a client for each case").2.clone(), number)
            }
            PROXY => {
                let client = self.proxy.as_ref().expect("the proxy runs").0.clone();
                Asker::AsyncOpenAi { client, model: litellm::model(time), form }
            }
            other => unreachable!("there is no side {other}"),
        }
    }

    /// Measures one side for a while. The first request of each task opens its connection, and is not counted.
    async fn measure(self: &Arc<Self>, side: &str, case: &Case, length: Duration) -> Slice {
        let mut tasks = JoinSet::new();
        let ready = Arc::new(Barrier::new(case.at_once + 1));
        for number in 0..case.at_once {
            let mut asker = self.asker(side, case, number).await;
            let (sides, ready) = (self.clone(), ready.clone());
            tasks.spawn(async move {
                let number = || sides.next.fetch_add(1, Ordering::Relaxed);
                asker.ask(number(), &sides.answers).await;
                let mut times = Vec::with_capacity(4096);
                ready.wait().await;
                let until = Instant::now() + length;
                let mut now = Instant::now();
                while now < until {
                    asker.ask(number(), &sides.answers).await;
                    let then = Instant::now();
                    times.push(then - now);
                    now = then;
                }
                times
            });
        }
        ready.wait().await;
        let (began, cpu) = (Instant::now(), ProcessTime::now());
        let times = tasks.join_all().await.concat();
        Slice { times, took: began.elapsed(), cpu: cpu.elapsed() }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--serve"] => server::serve(),
        ["--keep", log, program, ..] => {
            if let Err(error) = child::keep(log, program, &arguments[3..]) {
                eprintln!("cannot run {program}: {error}");
                std::process::exit(1);
            }
        }
        _ => run(&options(arguments)),
    }
}

fn run(options: &Options) {
    tracing_subscriber::fmt().with_env_filter(&options.log).with_writer(std::io::stderr).init();
    // async-openai's own client takes the process' provider of TLS.
    rustls::crypto::ring::default_provider().install_default().expect("there is no other provider yet");
    let mut server = Role::start(&["--serve"]).expect("the server starts");
    let port = server.line().ok().and_then(|line| line.parse().ok()).expect("the server prints its port");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let mut report = Report::new();
    runtime.block_on(async {
        let litellm = std::env::var("LITELLM").ok().filter(|program| !program.is_empty() && !options.alone);
        let sides = Arc::new(Sides::new(port, litellm).await);
        let mut names = if options.alone { vec![OURS] } else { vec![BARE, PEER, OURS] };
        names.extend(sides.proxy.is_some().then_some(PROXY));
        for form in [Form::Streamed, Form::Whole] {
            for (time, at_once) in
                TIMES.into_iter().flat_map(|time| options.at_once.iter().map(move |n| (time, *n)))
            {
                let case = Case { form, time, at_once };
                if !case.to_string().contains(&options.case) {
                    continue;
                }
                let mut figures: Vec<Side> = names.iter().map(|name| Side::new(name)).collect();
                for round in 0..options.rounds {
                    for turn in 0..figures.len() {
                        let count = figures.len();
                        let side = &mut figures[(round + turn) % count];
                        side.add(sides.measure(side.name, &case, options.length).await);
                    }
                }
                report.add(&case, &figures, BARE, PEER);
            }
        }
    });
    report.print();
}

fn options(arguments: Vec<String>) -> Options {
    let mut options = Options {
        alone: false,
        rounds: 5,
        length: Duration::from_millis(500),
        case: String::new(),
        at_once: vec![1, 16, 64],
        log: "warn".to_owned(),
    };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| usage(&format!("{argument} takes a value")));
        match argument.as_str() {
            "--quick" => options.length = Duration::from_millis(100),
            "--alone" => options.alone = true,
            "--case" => options.case = value(),
            "--log" => options.log = value(),
            "--rounds" => {
                let rounds = value().parse().ok().filter(|rounds| *rounds > 0);
                options.rounds = rounds.unwrap_or_else(|| usage("--rounds takes a number"));
            }
            "--at-once" => {
                let at_once = value().parse().ok().filter(|at_once| *at_once > 0);
                options.at_once = vec![at_once.unwrap_or_else(|| usage("--at-once takes a number"))];
            }
            "--seconds" => {
                let length =
                    value().parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                options.length = length.unwrap_or_else(|| usage("--seconds takes a number"));
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
        "{problem}; usage: llm [--quick] [--alone] [--rounds N] [--seconds S] [--case TEXT] [--at-once N] [--log FILTER]"
    );
    std::process::exit(2)
}
