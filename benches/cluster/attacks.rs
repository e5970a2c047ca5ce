//! What strangers cost a node that they connect to: how long a good link then takes to come up, and what remains of 2,000 tries of
//! each kind, in memory and in the log. The node is a process of its own, and has links with TLS over loopback.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use teammy_cluster::{
    Call, Handler, LinkSettings, Links, Member, NodeDocument, Opening, RactorSettings, RactorTransport,
    Security, Transport, View,
    certs::{Authority, NodeFiles, Validity},
};
use teammy_kernel::{Name, Timestamp, store::Incarnation};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsConnector;

use crate::{
    child::{Role, wait_for_the_end},
    median::median,
    memory::{mib, resident_of},
    table,
};

/// The role of the process that is attacked.
pub const ATTACKED: &str = "attacked";

/// How many tries of each kind, how many before they count, and how many at a time.
const TRIES: usize = 2000;
const FIRST: usize = 200;
const TOGETHER: usize = 16;

/// How many links are made for one figure.
const LINKS: usize = 15;

/// How long the node has to free what it has.
const SETTLES: Duration = Duration::from_secs(1);

/// The longest that a try may take.
const LASTS: Duration = Duration::from_secs(10);

/// Answers with nothing.
#[derive(Debug)]
struct Nothing;

impl Handler for Nothing {
    fn call(self: Arc<Self>, _: Incarnation, _: Call) -> BoxFuture<'static, bytes::Bytes> {
        async { bytes::Bytes::new() }.boxed()
    }

    fn open(self: Arc<Self>, _: Incarnation, _: Call) -> BoxFuture<'static, Opening> {
        async { Opening { body: bytes::Bytes::new(), items: None } }.boxed()
    }
}

fn incarnation(node: &str, boot: u64) -> Result<Incarnation, Box<dyn Error>> {
    Ok(Incarnation { node: Name::new(node)?, boot })
}

fn member(incarnation: &Incarnation, link: Option<String>) -> Member {
    Member { incarnation: incarnation.clone(), document: NodeDocument { link, ..NodeDocument::default() } }
}

async fn transport(
    folder: &Path,
    me: &Incarnation,
    listens: bool,
) -> Result<Arc<RactorTransport>, Box<dyn Error>> {
    let name = &me.node;
    let security = Security::Tls {
        cert: folder.join(format!("{name}.pem")),
        key: folder.join(format!("{name}-key.pem")),
        ca: folder.join("ca.pem"),
    };
    let listen = listens.then(|| ([127, 0, 0, 1], 0).into());
    Ok(RactorTransport::start(RactorSettings { me: me.clone(), listen, advertise: None, security }).await?)
}

fn links(me: Incarnation, transport: Arc<RactorTransport>, members: Vec<Member>) -> Links {
    let view = watch::Sender::new(View { is_member: true, members, ended: vec![] });
    Links::start(me, transport, Arc::new(Nothing), view.subscribe(), LinkSettings::default())
}

/// The node that is attacked. Its log goes into a file.
pub fn attacked(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [folder, log] = arguments else { return Err("the node needs two arguments".into()) };
    let log = Mutex::new(fs::File::create(log)?);
    tracing_subscriber::fmt().with_writer(log).with_ansi(false).init();
    let runtime = tokio::runtime::Runtime::new()?;
    let me = incarnation("south", 1)?;
    let address = runtime.block_on(async {
        let transport = transport(Path::new(folder), &me, true).await?;
        let address = transport.address();
        let links = links(me.clone(), transport, vec![member(&me, address.clone())]);
        // It stays until the process ends.
        std::mem::forget(links);
        Ok::<_, Box<dyn Error>>(address)
    })?;
    println!("{}", address.unwrap_or_default());
    wait_for_the_end();
    Ok(())
}

/// What is done to the node.
#[derive(Clone)]
struct Attack {
    name: &'static str,
    /// How TLS is begun; none if it is not.
    tls: Option<Arc<ClientConfig>>,
    /// What is sent.
    bytes: Vec<u8>,
    /// Whether the node's greeting is read before the last eight bytes are sent.
    waits: bool,
}

/// What a node says first: eight bytes, its token, the number of its gateway, and who it is.
fn greeting(who: &str) -> Vec<u8> {
    let mut bytes = b"TEAMMY\x00\x01".to_vec();
    bytes.extend([7; 24]);
    bytes.push(who.len() as u8);
    bytes.extend(who.as_bytes());
    bytes
}

fn config(ca: &Path, mine: Option<&NodeFiles>) -> Result<Option<Arc<ClientConfig>>, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca)?)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots);
    let config = match mine {
        Some(mine) => {
            let chain = vec![CertificateDer::from_pem_file(&mine.cert)?];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(&mine.key)?)?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Some(Arc::new(config)))
}

fn attacks(folder: &Path, authority: &Authority) -> Result<Vec<Attack>, Box<dyn Error>> {
    const DAY: Duration = Duration::from_hours(24);
    let ca = folder.join("ca.pem");
    let other = Authority::open(&folder.join("other"))?.add(&Name::new("north")?, Validity::days(1))?;
    let past = Validity { from: Timestamp::now() - 2 * DAY, until: Timestamp::now() - DAY };
    let expired = authority.add(&Name::new("late")?, past)?;
    let east = authority.add(&Name::new("east")?, Validity::days(1))?;
    let two_gib = (2_u64 << 30).to_be_bytes();
    let of = |name, tls, bytes| Attack { name, tls, bytes, waits: false };
    let north = greeting("north.0000000000000001");
    let mut member = greeting("east.0000000000000001");
    member.extend(two_gib);
    Ok(vec![
        of("no certificate", config(&ca, None)?, north.clone()),
        of("a certificate of another authority", config(&ca, Some(&other))?, north.clone()),
        of("the name of another node", config(&ca, Some(&east))?, north),
        of("an expired certificate", config(&ca, Some(&expired))?, greeting("late.0000000000000001")),
        of("4 KiB of garbage", None, vec![0xff; 4096]),
        of("a length of 2 GiB instead of TLS", None, two_gib.to_vec()),
        Attack { waits: true, ..of("a member's frame of 2 GiB", config(&ca, Some(&east))?, member) },
    ])
}

impl Attack {
    /// Tries once, until the node closes the connection.
    async fn run(&self, address: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut stream = stranger(address).await?;
        let mut rest = Vec::new();
        let Some(config) = &self.tls else {
            let _ = stream.write_all(&self.bytes).await;
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut rest).await;
            return Ok(());
        };
        // The node may refuse it at any step.
        let connector = TlsConnector::from(config.clone());
        let Ok(mut stream) = connector.connect(ServerName::try_from("south")?, stream).await else {
            return Ok(());
        };
        if self.waits {
            let (greeting, frame) = self.bytes.split_at(self.bytes.len() - 8);
            stream.write_all(greeting).await?;
            let mut answer = vec![0; 33 + "south.0000000000000001".len()];
            stream.read_exact(&mut answer).await?;
            let _ = stream.write_all(frame).await;
        } else {
            let _ = stream.write_all(&self.bytes).await;
        }
        let _ = stream.flush().await;
        let _ = stream.read_to_end(&mut rest).await;
        Ok(())
    }

    async fn many(&self, address: &str, tries: usize) -> Result<(), Box<dyn Error>> {
        let mut tasks = JoinSet::new();
        for worker in 0..TOGETHER {
            let (attack, address) = (self.clone(), address.to_owned());
            let tries = tries / TOGETHER + usize::from(worker < tries % TOGETHER);
            tasks.spawn(async move {
                for _ in 0..tries {
                    timeout(LASTS, attack.run(&address)).await??;
                }
                Ok::<_, Box<dyn Error + Send + Sync>>(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended?.map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// Connects from another address than nodes do, as strangers have one.
async fn stranger(address: &str) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 2], 0).into())?;
    socket.connect(address.parse().map_err(std::io::Error::other)?).await
}

/// Connections that say nothing. Those that come again connect as soon as the node has closed theirs.
struct Idle(#[allow(dead_code, reason = "the tasks end when they are dropped")] JoinSet<()>);

impl Idle {
    async fn start(address: &str, count: usize, again: bool) -> Self {
        let mut tasks = JoinSet::new();
        let mut first = Vec::new();
        for _ in 0..count {
            first.push(stranger(address).await);
        }
        for mut stream in first {
            let address = address.to_owned();
            tasks.spawn(async move {
                loop {
                    if let Ok(stream) = &mut stream {
                        let _ = stream.read_to_end(&mut Vec::new()).await;
                    }
                    if !again {
                        return;
                    }
                    stream = stranger(&address).await;
                }
            });
        }
        Self(tasks)
    }
}

/// How long a good link takes: from its node's start until a call was answered, in milliseconds.
async fn link(folder: &Path, address: &str, boot: u64) -> Result<f64, Box<dyn Error>> {
    let (me, south) = (incarnation("north", boot)?, incarnation("south", 1)?);
    let began = Instant::now();
    let transport = transport(folder, &me, false).await?;
    let links =
        links(me.clone(), transport, vec![member(&me, None), member(&south, Some(address.to_owned()))]);
    let call = || Call { meeting: None, epoch: 0, is_ordered: false, trace: None, body: bytes::Bytes::new() };
    while links.call(&south, call()).await.is_err() {}
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

/// What the log has of refused connections: how many lines, and the last one.
fn refusals(log: &Path) -> (usize, String) {
    let log = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
    (lines.len(), lines.last().copied().unwrap_or_default().to_owned())
}

async fn measure() -> Result<(), Box<dyn Error>> {
    let folder: PathBuf = tempfile::tempdir()?.keep();
    let authority = Authority::open(&folder)?;
    for name in ["north", "south"] {
        authority.add(&Name::new(name)?, Validity::days(1))?;
    }
    let (path, log) = (folder.to_str().ok_or("the folder's name is no text")?, folder.join("log"));
    let log_path = log.to_str().ok_or("the folder's name is no text")?;
    let mut node = Role::start(&["--role", ATTACKED, path, log_path])?;
    let address = node.line()?;

    let mut shown = table(["idle connections", "a link works after, ms", "at most, ms"]);
    let mut boot = 1;
    for (name, count, again) in
        [("0", 0, false), ("1", 1, false), ("200", 200, false), ("200 that come again at once", 200, true)]
    {
        let mut times = Vec::new();
        for _ in 0..LINKS {
            let _idle = Idle::start(&address, count, again).await;
            times.push(link(&folder, &address, boot).await?);
            boot += 1;
        }
        let most = times.iter().copied().fold(0.0, f64::max);
        shown.add_row([name.to_owned(), format!("{:.0}", median(times)), format!("{most:.0}")]);
    }
    println!("\nattacks\n{shown}");

    let mut shown = table(["attack", "tries", "memory before, MiB", "growth, MiB", "lines in the log"]);
    for attack in attacks(&folder, &authority)? {
        let (lines, _) = refusals(&log);
        attack.many(&address, FIRST).await?;
        sleep(SETTLES).await;
        let before = resident_of(node.id());
        attack.many(&address, TRIES).await?;
        sleep(SETTLES).await;
        let growth = mib(resident_of(node.id())) - mib(before);
        let (now, last) = refusals(&log);
        if now > lines {
            println!("{last}");
        }
        shown.add_row([
            attack.name.to_owned(),
            TRIES.to_string(),
            format!("{:.1}", mib(before)),
            format!("{growth:.1}"),
            (now - lines).to_string(),
        ]);
    }
    let works = link(&folder, &address, boot).await?;
    println!("{shown}\na link works {works:.0} ms later");
    drop(node);
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Measures what attacks cost.
pub fn rows() -> Result<(), Box<dyn Error>> {
    tokio::runtime::Runtime::new()?.block_on(measure())
}
