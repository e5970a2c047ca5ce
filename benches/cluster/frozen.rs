//! What a flood costs a node whose peer is frozen: the memory, and what callers get.
//!
//! Each row has two processes of its own, with a TLS link between them over loopback. The peer is stopped (`SIGSTOP`): its sockets
//! stay open, and nobody reads them. Then the node floods it with calls, or goes on with what the peer has asked for: answers,
//! and items of streams. When the node has noticed, the peer goes on (`SIGCONT`), until a call is answered again.
//!
//! Bodies of calls are shared, as the memory of waiting calls' bodies is the callers'; answers and items have a body each.

use std::{
    error::Error,
    fmt,
    future::Future,
    path::Path,
    process::Command,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use teammy_cluster::{
    Call, CallError, Handler, LinkSettings, Links, Member, NodeDocument, Opening, RactorSettings,
    RactorTransport, Security, Transport, View,
    certs::{Authority, Validity},
};
use teammy_kernel::{Name, store::Incarnation};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    child::{Role, wait_for_the_end},
    memory::{forget_the_most, mib, most_resident, resident},
    table,
};

/// The roles of the processes.
pub const NODE: &str = "frozen-node";
pub const PEER: &str = "frozen-peer";

/// The most callers that wait for their answers, and those that give up and call again, each so soon.
const PATIENT: usize = 4096;
const IMPATIENT: usize = 64;
const GIVES_UP: Duration = Duration::from_millis(10);

/// The streams that the peer reads.
const STREAMS: usize = 256;

/// How long the peer asks before it is stopped.
const RUNS: Duration = Duration::from_secs(1);

/// How often facts are looked for.
const LOOK: Duration = Duration::from_millis(5);

/// What fills the link: bodies of so many bytes.
#[derive(Debug, Clone, Copy)]
enum Flood {
    Calls(usize),
    Answers(usize),
    Items(usize),
}

impl Flood {
    fn bytes(self) -> usize {
        match self {
            Self::Calls(bytes) | Self::Answers(bytes) | Self::Items(bytes) => bytes,
        }
    }
}

impl fmt::Display for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, bytes) = match self {
            Self::Calls(bytes) => ("calls", bytes),
            Self::Answers(bytes) => ("answers", bytes),
            Self::Items(bytes) => ("items", bytes),
        };
        write!(f, "{what}:{bytes}")
    }
}

impl FromStr for Flood {
    type Err = Box<dyn Error>;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (what, bytes) = text.split_once(':').ok_or("no flood")?;
        let bytes = bytes.parse()?;
        match what {
            "calls" => Ok(Self::Calls(bytes)),
            "answers" => Ok(Self::Answers(bytes)),
            "items" => Ok(Self::Items(bytes)),
            _ => Err("no flood".into()),
        }
    }
}

/// How calls ended.
#[derive(Debug, Default)]
struct Outcomes {
    answered: AtomicU64,
    not_sent: AtomicU64,
    unknown: AtomicU64,
    given_up: AtomicU64,
}

impl Outcomes {
    fn note<T>(&self, outcome: &Result<T, CallError>) {
        let count = match outcome {
            Ok(_) => &self.answered,
            Err(CallError::NotSent { .. }) => &self.not_sent,
            Err(_) => &self.unknown,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = [
            ("answered", of(&self.answered)),
            ("not sent", of(&self.not_sent)),
            ("unknown", of(&self.unknown)),
            ("given up", of(&self.given_up)),
        ];
        let counts = counts.iter().filter(|(_, count)| *count > 0);
        let counts: Vec<_> = counts.map(|(what, count)| format!("{count} {what}")).collect();
        f.write_str(&counts.join(", "))
    }
}

/// Answers calls at once: with nothing, or with as many bytes as were asked for.
#[derive(Debug, Default)]
struct Answers {
    /// Bytes of answers and items that were made.
    made: AtomicU64,
    /// What the peer made of its own calls, and whether it is to make them.
    outcomes: Outcomes,
    asks: AtomicBool,
}

/// What a call says.
const GO: &[u8] = b"go";
const TALLY: &[u8] = b"tally";

fn call(body: Bytes) -> Call {
    Call { meeting: None, epoch: 0, is_ordered: false, trace: None, body }
}

fn wanted(call: &Call) -> Option<usize> {
    std::str::from_utf8(call.body.strip_prefix(b"give ")?).ok()?.parse().ok()
}

impl Answers {
    fn make(&self, bytes: usize) -> Bytes {
        self.made.fetch_add(bytes as u64, Ordering::Relaxed);
        vec![7; bytes].into()
    }
}

impl Handler for Answers {
    fn call(self: Arc<Self>, _: Incarnation, call: Call) -> BoxFuture<'static, Bytes> {
        let answer = match (&call.body[..], wanted(&call)) {
            (_, Some(bytes)) => self.make(bytes),
            (GO, _) => {
                self.asks.store(true, Ordering::Relaxed);
                Bytes::new()
            }
            (TALLY, _) => self.outcomes.to_string().into(),
            _ => Bytes::new(),
        };
        async move { answer }.boxed()
    }

    fn open(self: Arc<Self>, _: Incarnation, call: Call) -> BoxFuture<'static, Opening> {
        let bytes = wanted(&call).unwrap_or_default();
        let items = stream::repeat(()).map(move |()| self.make(bytes)).boxed();
        async move { Opening { body: Bytes::new(), items: Some(items) } }.boxed()
    }
}

fn incarnation(node: &str) -> Result<Incarnation, Box<dyn Error>> {
    Ok(Incarnation { node: Name::new(node)?, boot: 1 })
}

/// One end of the link: the node dials, as its name comes first.
struct End {
    links: Arc<Links>,
    handler: Arc<Answers>,
    other: Incarnation,
    address: Option<String>,
    _view: watch::Sender<View>,
}

impl End {
    async fn start(
        name: &str,
        folder: &Path,
        window: usize,
        other: (&str, Option<String>),
    ) -> Result<Self, Box<dyn Error>> {
        let me = incarnation(name)?;
        let security = Security::Tls {
            cert: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}-key.pem")),
            ca: folder.join("ca.pem"),
        };
        let listen = Some(([127, 0, 0, 1], 0).into());
        let transport =
            RactorTransport::start(RactorSettings { me: me.clone(), listen, advertise: None, security })
                .await?;
        let address = transport.address();
        let member = |incarnation: &Incarnation, link: Option<String>| Member {
            incarnation: incarnation.clone(),
            document: NodeDocument { link, ..NodeDocument::default() },
        };
        let (other, other_address) = (incarnation(other.0)?, other.1);
        let members = vec![member(&me, address.clone()), member(&other, other_address)];
        let view = watch::Sender::new(View { is_member: true, members, ended: vec![] });
        let handler = Arc::<Answers>::default();
        let settings = LinkSettings { window, ..LinkSettings::default() };
        let links = Links::start(me, transport, handler.clone(), view.subscribe(), settings);
        Ok(Self { links: Arc::new(links), handler, other, address, _view: view })
    }

    fn is_up(&self) -> bool {
        self.links.status().iter().any(|link| link.is_up)
    }

    fn call(&self, body: Bytes) -> impl Future<Output = Result<Bytes, CallError>> + Send + 'static {
        let (links, other) = (self.links.clone(), self.other.clone());
        async move { links.call(&other, call(body)).await }
    }
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        sleep(LOOK).await;
    }
}

/// The peer: it answers, and asks once it is told to.
pub fn peer(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [folder, window, flood] = arguments else { return Err("a peer needs three arguments".into()) };
    let (window, flood): (usize, Flood) = (window.parse()?, flood.parse()?);
    let runtime = tokio::runtime::Runtime::new()?;
    let end = runtime.block_on(End::start("south", Path::new(folder), window, ("north", None)))?;
    println!("{}", end.address.clone().unwrap_or_default());
    runtime.spawn(async move {
        until(|| end.handler.asks.load(Ordering::Relaxed)).await;
        let body = Bytes::from(format!("give {}", flood.bytes()));
        let callers = PATIENT.min((512 << 20) / flood.bytes());
        let count = if matches!(flood, Flood::Items(_)) { STREAMS } else { callers };
        for _ in 0..count {
            let (links, other, body) = (end.links.clone(), end.other.clone(), body.clone());
            let handler = end.handler.clone();
            tokio::spawn(async move {
                loop {
                    let outcome = match flood {
                        Flood::Items(_) => match links.open(&other, call(body.clone())).await {
                            Ok((_, Some(mut items))) => loop {
                                match items.next().await {
                                    Some(Ok(_)) => {}
                                    Some(Err(error)) => break Err(error),
                                    None => return,
                                }
                            },
                            Ok((_, None)) => return,
                            Err(error) => Err(error),
                        },
                        _ => links.call(&other, call(body.clone())).await.map(drop),
                    };
                    handler.outcomes.note(&outcome);
                    if outcome.is_err() {
                        return;
                    }
                }
            });
        }
        std::future::pending::<()>().await;
    });
    wait_for_the_end();
    Ok(())
}

fn signal(process: &str, signal: &str) -> Result<(), Box<dyn Error>> {
    let status = Command::new("kill").args([signal, process]).status()?;
    if status.success() { Ok(()) } else { Err("the peer is not there".into()) }
}

/// The node: it measures, and prints a row.
pub fn node(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [folder, window, flood, address, process] = arguments else {
        return Err("a node needs five arguments".into());
    };
    let (window, flood) = (window.parse()?, flood.parse()?);
    let row = tokio::runtime::Runtime::new()?.block_on(measure(
        Path::new(folder),
        window,
        flood,
        address.clone(),
        process,
    ))?;
    println!("{}", row.join("|"));
    Ok(())
}

async fn measure(
    folder: &Path,
    window: usize,
    flood: Flood,
    address: String,
    process: &str,
) -> Result<[String; 7], Box<dyn Error>> {
    let end = End::start("north", folder, window, ("south", Some(address))).await?;
    until(|| end.is_up()).await;
    for _ in 0..200 {
        end.call(vec![7; 1024].into()).await?;
    }
    let (before, outcomes) = (resident(), Arc::<Outcomes>::default());
    let (mut callers, is_over) = (JoinSet::new(), Arc::<AtomicBool>::default());
    let mut offered = 0;
    let began;
    if let Flood::Calls(bytes) = flood {
        forget_the_most();
        signal(process, "-STOP")?;
        began = Instant::now();
        let body = Bytes::from(vec![7; bytes]);
        for _ in 0..PATIENT.min((4 * window / bytes).max(2 * IMPATIENT)) {
            offered += bytes as u64;
            let (outcomes, call) = (outcomes.clone(), end.call(body.clone()));
            callers.spawn(async move {
                outcomes.note(&call.await);
                0
            });
        }
        for _ in 0..IMPATIENT {
            let (outcomes, body, is_over) = (outcomes.clone(), body.clone(), is_over.clone());
            let (links, other) = (end.links.clone(), end.other.clone());
            callers.spawn(async move {
                let mut offered = 0;
                while !is_over.load(Ordering::Relaxed) {
                    offered += body.len() as u64;
                    match timeout(GIVES_UP, links.call(&other, call(body.clone()))).await {
                        Ok(outcome) => {
                            outcomes.note(&outcome);
                            return offered;
                        }
                        Err(_) => outcomes.given_up.fetch_add(1, Ordering::Relaxed),
                    };
                }
                offered
            });
        }
    } else {
        // What the flood takes while the peer reads counts, too.
        forget_the_most();
        end.call(GO.into()).await?;
        sleep(RUNS).await;
        signal(process, "-STOP")?;
        began = Instant::now();
    }
    until(|| !end.is_up()).await;
    let noticed = began.elapsed();
    is_over.store(true, Ordering::Relaxed);
    while let Some(caller) = callers.join_next().await {
        offered += caller?;
    }
    let ended = began.elapsed();
    offered += end.handler.made.load(Ordering::Relaxed);
    let growth = most_resident().saturating_sub(before);
    // Whoever calls meanwhile gets an answer, too.
    let asked = Instant::now();
    let meanwhile = end.call(Bytes::new()).await;
    let meanwhile = match meanwhile {
        Err(CallError::NotSent { .. }) => asked.elapsed(),
        other => return Err(format!("a call to a frozen peer ended with {other:?}").into()),
    };
    signal(process, "-CONT")?;
    let continued = Instant::now();
    let tally = loop {
        if let Ok(tally) = end.call(TALLY.into()).await {
            break String::from_utf8_lossy(&tally).into_owned();
        }
    };
    let again = continued.elapsed();
    let outcomes = if let Flood::Calls(_) = flood {
        format!(
            "{outcomes} by {:.1} s; while down: not sent after {:.1} s",
            ended.as_secs_f64(),
            meanwhile.as_secs_f64()
        )
    } else {
        format!("the peer's: {tally}")
    };
    Ok([
        format!("{:.0} MiB", mib(window as u64)),
        flood.to_string(),
        format!("{:.0}", mib(offered)),
        format!("{:.1}", mib(growth)),
        format!("{:.1}", noticed.as_secs_f64()),
        outcomes,
        format!("{:.1}", again.as_secs_f64()),
    ])
}

/// Measures all floods with all windows.
pub fn rows() -> Result<(), Box<dyn Error>> {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    let folder = tempfile::tempdir()?;
    let authority = Authority::open(folder.path())?;
    for name in ["north", "south"] {
        authority.add(&Name::new(name)?, Validity::days(1))?;
    }
    let path = folder.path().to_str().ok_or("the folder's name is no text")?;
    let mut shown = table([
        "window",
        "flood",
        "offered, MiB",
        "growth, MiB",
        "noticed after, s",
        "calls",
        "works again after, s",
    ]);
    for window in [MIB, 8 * MIB] {
        let mut calls = vec![256, 64 * KIB, MIB, window];
        calls.dedup();
        let floods = calls.into_iter().map(Flood::Calls);
        let of_peer = [Flood::Answers(64 * KIB), Flood::Answers(MIB), Flood::Items(16 * KIB)];
        for flood in floods.chain(of_peer) {
            let (window, flood) = (window.to_string(), flood.to_string());
            let mut peer = Role::start(&["--role", PEER, path, &window, &flood])?;
            let address = peer.line()?;
            let process = peer.id().to_string();
            let mut node = Role::start(&["--role", NODE, path, &window, &flood, &address, &process])?;
            let row = node.line()?;
            if row.is_empty() {
                return Err(format!("no figures came of {flood} with a window of {window}").into());
            }
            shown.add_row(row.split('|'));
            eprintln!("{row}");
        }
    }
    println!("\nfrozen\n{shown}");
    Ok(())
}
