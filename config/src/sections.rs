//! The configuration's tables as types, and the rules that their values keep.

use std::{net::SocketAddr, num::NonZeroUsize, thread, time::Duration};

use secrecy::{ExposeSecret, SecretString};

use crate::{
    Error, Install, Llm, Loader, Plugin, Size, Socket, Source,
    asked::Fallback,
    database, lists, places,
    reader::Reader,
    socket::SocketPath,
    takes::{Address, Bytes, DatabaseUrl, Lasting, MILLISECOND, Secret, Text, Whole},
};

/// Everything that can be configured, in range.
///
/// [`Config::default`] is `default.toml` and nothing else: no file and no environment is read for it.
///
/// # Examples
/// ```
/// use teammy_config::Config;
/// let config = Config::from_toml("[hooks]\ntries = 5")?;
/// assert_eq!(config.hooks.tries, 5);
/// assert_eq!(config.restart, Config::default().restart);
///
/// let error = Config::from_toml("[hooks]\ntrys = 5").unwrap_err();
/// assert!(error.to_string().ends_with("hooks.trys is unknown; did you mean hooks.tries?"));
/// # Ok::<(), teammy_config::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The process.
    pub node: Node,
    /// Where meetings are kept.
    pub database: Database,
    /// How packets reach instances and the store.
    pub delivery: Delivery,
    /// How hooks are run.
    pub hooks: Hooks,
    /// How a meeting ends.
    pub meeting: Meeting,
    /// How instances that panic are restarted.
    pub restart: Restart,
    /// What is too large.
    pub limits: Limits,
    /// Where what is counted can be read.
    pub metrics: Metrics,
    /// Which language models there are.
    pub llm: Llm,
    /// Where the manifest of an installation is.
    pub install: Install,
    /// What is logged.
    pub log: Log,
    /// The user's own sources, as declared; their names are not checked here.
    pub sources: Vec<Source>,
    /// The instances, as declared; `None` where no `[[plugin]]` is given, not even an empty list. Names,
    /// kinds and sources are not checked here.
    pub plugins: Option<Vec<Plugin>>,
}

/// `[node]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// Threads for plugins, at least 4.
    pub plugin_threads: usize,
    /// How long a shutdown waits for meetings to let go.
    pub shutdown_deadline: Duration,
    /// How many bytes of packets all meetings together keep in memory.
    pub memory: Size,
    /// Where the node listens for commands; `None` leaves that to whoever starts it.
    pub socket: Option<Socket>,
}

/// `[database]`
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Database {
    /// Where meetings are kept. [`Loader::load`] fills it in where there is a data directory; elsewhere
    /// `None` stands for the default, which [`Database::effective_url`] finds.
    pub url: Option<database::Url>,
    /// The namespace in the database.
    pub namespace: String,
    /// The database in the namespace.
    pub database: String,
    /// Who signs in to a server; there with a password, or not at all.
    pub username: Option<String>,
    /// The password.
    pub password: Option<SecretString>,
    /// How much memory an embedded database takes for blocks that it has read.
    pub block_cache: Size,
    /// How much memory an embedded database takes for writes before they are sorted into files.
    pub memtable: Size,
}

impl Database {
    /// The URL, or else the default: `teammy/db` under the user's data directory.
    ///
    /// # Errors
    /// [`Error::NoDataDirectory`] if it is the default that counts and there is no such directory.
    pub fn effective_url(&self) -> Result<database::Url, Error> {
        match &self.url {
            Some(url) => Ok(url.clone()),
            None => places::database(places::data_directory(None)),
        }
    }
}

impl PartialEq for Database {
    fn eq(&self, other: &Self) -> bool {
        self.url == other.url
            && self.namespace == other.namespace
            && self.database == other.database
            && self.username == other.username
            && self.password.as_ref().map(SecretString::expose_secret)
                == other.password.as_ref().map(SecretString::expose_secret)
            && self.block_cache == other.block_cache
            && self.memtable == other.memtable
    }
}

/// `[delivery]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The most packets in a batch to an instance.
    pub batch_packets: NonZeroUsize,
    /// The most bytes in a batch to an instance; a packet that is larger goes alone.
    pub batch_bytes: Size,
    /// How much a meeting keeps of its volatile packets; at least twice the largest packet.
    pub tail_bytes: Size,
    /// How much a meeting may have published that is not committed; at least twice the largest packet.
    pub backlog_bytes: Size,
    /// How much may wait for an instance before its publishers do, of sources that it blocks on.
    pub block_bytes: Size,
    /// How much a meeting keeps of its committed packets, for readers.
    pub recent_bytes: Size,
    /// How long a commit that holds nothing but a cursor may wait.
    pub cursor_interval: Duration,
}

/// `[hooks]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hooks {
    /// How long a hook may take.
    pub deadline: Duration,
    /// How often a packet is tried, the first time included; at least 1.
    pub tries: u32,
    /// The wait before the second try; doubled each time.
    pub backoff: Duration,
    /// The longest wait between tries.
    pub backoff_max: Duration,
    /// How long a hook may hold its thread before it is named.
    pub watchdog: Duration,
}

/// `[meeting]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Meeting {
    /// How long instances have to finish when their meeting ends.
    pub end_deadline: Duration,
}

/// `[restart]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restart {
    /// The most restarts `within` the time; one more suspends the instance.
    pub intensity: u32,
    /// The time in which restarts are counted.
    pub within: Duration,
    /// The wait before the first restart; doubled each time.
    pub backoff: Duration,
    /// The longest wait before a restart.
    pub backoff_max: Duration,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest packet: 1 byte to 4 MiB.
    pub packet_bytes: Size,
}

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Where the program answers a Prometheus server, if anywhere.
    pub listen: Option<SocketAddr>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Log {
    /// What is logged, as tracing's filters say it.
    pub filter: String,
}

impl Default for Config {
    fn default() -> Self {
        Self::from_toml("").expect("invariant: the embedded defaults are valid")
    }
}

impl Config {
    /// The defaults with this text over them; no file and no environment is read.
    ///
    /// # Errors
    /// [`Error::Syntax`], [`Error::Invalid`].
    pub fn from_toml(text: &str) -> Result<Self, Error> {
        Loader::default().text("configuration", text).read().map(|(config, _)| config)
    }

    /// Takes everything out of a reader, which notes what is wrong.
    pub(crate) fn read(reader: &mut Reader) -> Self {
        let config = Self {
            node: Node::read(reader),
            database: Database::read(reader),
            delivery: Delivery::read(reader),
            hooks: Hooks::read(reader),
            meeting: Meeting::read(reader),
            restart: Restart::read(reader),
            limits: Limits::read(reader),
            metrics: Metrics::read(reader),
            llm: Llm::read(reader),
            install: Install::read(reader),
            log: Log::read(reader),
            sources: lists::sources(reader),
            plugins: lists::plugins(reader),
        };
        // What does not fit together is only worth a word where each value is right by itself.
        if reader.problems.is_empty() {
            config.compare(reader);
        }
        config
    }

    fn compare(&self, reader: &mut Reader) {
        let packet = self.limits.packet_bytes;
        let least = Size::from_bytes(2 * packet.bytes());
        for (key, size) in [
            ("delivery.tail_bytes", self.delivery.tail_bytes),
            ("delivery.backlog_bytes", self.delivery.backlog_bytes),
        ] {
            if size < least {
                let problem =
                    format!("is {size}, but takes at least {least}, twice limits.packet_bytes ({packet})");
                reader.complain_about(key, problem);
            }
        }
        for (key, first, longest) in [
            ("hooks", self.hooks.backoff, self.hooks.backoff_max),
            ("restart", self.restart.backoff, self.restart.backoff_max),
        ] {
            if first > longest {
                let [first, longest] = [first, longest].map(humantime::format_duration);
                let problem = format!("is {longest}, but takes at least {first}, which is {key}.backoff");
                reader.complain_about(&format!("{key}.backoff_max"), problem);
            }
        }
        match (&self.database.username, &self.database.password) {
            (Some(_), None) => {
                reader.complain_about("database.username", "is given, but database.password is not");
            }
            (None, Some(_)) => {
                reader.complain_about("database.password", "is given, but database.username is not");
            }
            _ => {}
        }
    }
}

const LARGEST_BUFFER: Size = Size::mib(1024);

fn count(number: u32) -> NonZeroUsize {
    let number = usize::try_from(number).ok().and_then(NonZeroUsize::new);
    number.expect("invariant: the range starts above zero and fits every machine's words")
}

impl Node {
    fn read(reader: &mut Reader) -> Self {
        const FEWEST: u32 = 4;
        const MOST: u32 = 1024;
        let cores = thread::available_parallelism().ok().and_then(|cores| u32::try_from(cores.get()).ok());
        let default = cores.unwrap_or(FEWEST).clamp(FEWEST, MOST);
        let words = format!("the number of cores, {FEWEST} to {MOST}");
        let threads = reader.take_or("node.plugin_threads", &Whole(FEWEST..=MOST), default, words);
        Self {
            plugin_threads: count(threads).get(),
            shutdown_deadline: reader.take("node.shutdown_deadline", &Lasting(Duration::ZERO)),
            memory: reader.take("node.memory", &Bytes(Size::mib(1)..=Size::mib(1 << 20))),
            socket: reader.take_optional("node.socket", &SocketPath, Socket::fallback()),
        }
    }
}

impl Database {
    fn read(reader: &mut Reader) -> Self {
        let memory = Bytes(Size::mib(1)..=Size::mib(1 << 20));
        let in_data_directory = Fallback::Words("`teammy/db` under the user's data directory".to_owned());
        Self {
            url: reader.take_optional("database.url", &DatabaseUrl, in_data_directory),
            namespace: reader.take("database.namespace", &Text),
            database: reader.take("database.database", &Text),
            username: reader.take_optional("database.username", &Text, Fallback::None),
            password: reader.take_optional("database.password", &Secret, Fallback::None),
            block_cache: reader.take("database.block_cache", &memory),
            memtable: reader.take("database.memtable", &memory),
        }
    }
}

impl Delivery {
    fn read(reader: &mut Reader) -> Self {
        Self {
            batch_packets: count(reader.take("delivery.batch_packets", &Whole(1..=65_536))),
            batch_bytes: reader.take("delivery.batch_bytes", &Bytes(Size::kib(1)..=LARGEST_BUFFER)),
            tail_bytes: reader.take("delivery.tail_bytes", &Bytes(Size::kib(1)..=LARGEST_BUFFER)),
            backlog_bytes: reader.take("delivery.backlog_bytes", &Bytes(Size::kib(1)..=LARGEST_BUFFER)),
            block_bytes: reader.take("delivery.block_bytes", &Bytes(Size::from_bytes(1)..=LARGEST_BUFFER)),
            recent_bytes: reader.take("delivery.recent_bytes", &Bytes(Size::from_bytes(0)..=LARGEST_BUFFER)),
            cursor_interval: reader.take("delivery.cursor_interval", &Lasting(MILLISECOND)),
        }
    }
}

impl Hooks {
    fn read(reader: &mut Reader) -> Self {
        Self {
            deadline: reader.take("hooks.deadline", &Lasting(MILLISECOND)),
            tries: reader.take("hooks.tries", &Whole(1..=1000)),
            backoff: reader.take("hooks.backoff", &Lasting(Duration::ZERO)),
            backoff_max: reader.take("hooks.backoff_max", &Lasting(Duration::ZERO)),
            watchdog: reader.take("hooks.watchdog", &Lasting(Duration::from_millis(10))),
        }
    }
}

impl Meeting {
    fn read(reader: &mut Reader) -> Self {
        Self { end_deadline: reader.take("meeting.end_deadline", &Lasting(MILLISECOND)) }
    }
}

impl Restart {
    fn read(reader: &mut Reader) -> Self {
        Self {
            intensity: reader.take("restart.intensity", &Whole(0..=1000)),
            within: reader.take("restart.within", &Lasting(MILLISECOND)),
            backoff: reader.take("restart.backoff", &Lasting(Duration::ZERO)),
            backoff_max: reader.take("restart.backoff_max", &Lasting(Duration::ZERO)),
        }
    }
}

impl Limits {
    fn read(reader: &mut Reader) -> Self {
        Self { packet_bytes: reader.take("limits.packet_bytes", &Bytes(Size::from_bytes(1)..=Size::mib(4))) }
    }
}

impl Metrics {
    fn read(reader: &mut Reader) -> Self {
        Self { listen: reader.take_optional("metrics.listen", &Address, Fallback::None) }
    }
}

impl Log {
    fn read(reader: &mut Reader) -> Self {
        Self { filter: reader.take("log.filter", &Text) }
    }
}
