//! The configuration's tables, and the rules between keys.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, thread, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::{
    cluster::Cluster,
    database,
    error::Error,
    lists::{InstanceConfig, Source},
    llm::{Llm, LlmBudget, LlmModel},
    places,
    reader::Reader,
    section::Section,
    service::Service,
    size::{LARGEST_BUFFER, Size},
    socket::{self, Socket},
    table::{self, Table, table},
    traces::Traces,
    value_type::{address, count, duration, file_path, name, secret, serde_value, size, text},
};

/// Everything that can be configured, in range.
///
/// [`Config::default`] is `default.toml` and nothing else: it reads no file and no environment.
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
    /// The process that hosts meetings.
    pub node: Node,
    /// Where meetings are stored.
    pub database: Database,
    /// How packets reach instances and the store.
    pub delivery: Delivery,
    /// How hooks run.
    pub hooks: Hooks,
    /// How a meeting ends.
    pub meeting: MeetingSettings,
    /// How instances that panic are restarted.
    pub restart: Restart,
    /// Limits on what is accepted.
    pub limits: Limits,
    /// Where metrics are served.
    pub metrics: Metrics,
    /// The network API.
    pub service: Service,
    /// This node's part in a cluster.
    pub cluster: Cluster,
    /// What tenants may use; no two are for the same tenant.
    pub quotas: Vec<Quota>,
    /// The language models.
    pub llm: Llm,
    /// Where the manifest of an installation is.
    pub install: Install,
    /// What is logged.
    pub log: Log,
    /// Where traces are exported.
    pub traces: Traces,
    /// The user's own sources, as declared; the plugin graph checks their names.
    pub sources: Vec<Source>,
    /// The instances, as declared; `None` where no `[[plugin]]` is given, not even an empty list. The plugin
    /// graph checks their names, kinds and sources.
    pub plugins: Option<Vec<InstanceConfig>>,
}

const MILLISECOND: Duration = Duration::from_millis(1);
const LARGEST_MEMORY: Size = Size::mib(1 << 20);
const FEWEST_THREADS: usize = 4;
const MOST_THREADS: usize = 1024;

fn cores() -> usize {
    let cores = thread::available_parallelism().map_or(FEWEST_THREADS, NonZeroUsize::get);
    cores.clamp(FEWEST_THREADS, MOST_THREADS)
}

table! {
    /// The process that hosts meetings.
    "[node]"
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Node {
        /// Threads that run plugins. No more of them than there are cores run, until hooks hold those.
        plugin_threads: usize = count(FEWEST_THREADS..=MOST_THREADS)
            .otherwise(format!("the number of cores, {FEWEST_THREADS} to {MOST_THREADS}"), cores())
            .example(4);
        /// How long a shutdown waits for meetings to finish their work before it stops them.
        shutdown_deadline: Duration = duration(Duration::ZERO).default("30s");
        /// How much memory the packets of all meetings may take. Above that, meetings drop what can be read
        /// again from the store and their oldest volatile packets, and publishers wait.
        memory: Size = size(Size::mib(1)..=LARGEST_MEMORY).default("1GiB");
        /// The socket on which `teammy status` and other commands reach the node, or "off". Only its owner
        /// can open it.
        socket: Option<Socket> = socket::path_or_off().or_blank().optional()
            .words("for the program `teammy/node.sock` under the user's runtime directory, for a library none")
            .example("/run/user/1000/teammy/node.sock");
    }
}

table! {
    /// Where meetings are stored.
    "[database]"
    #[derive(Debug, Clone)]
    pub struct Database {
        /// One of:
        /// - `surrealkv://PATH`: a directory, which one process at a time can open; a relative path starts
        ///   at the working directory
        /// - `mem://`: memory, lost when the process ends
        /// - `ws://HOST:PORT`: a SurrealDB server; `wss://` with TLS
        url: Option<database::Url> = database::url().or_blank().optional()
            .words("`teammy/db` under the user's data directory")
            .example("surrealkv:///var/lib/teammy/db");
        /// The namespace in the database.
        namespace: String = text().default("teammy");
        /// The database in the namespace.
        database: String = text().default("teammy");
        /// The user that signs in to a server that requires one; not part of the URL, and only with the
        /// password. It needs the role `EDITOR`, because Teammy defines its tables.
        username: Option<String> = text().or_blank().optional().example("teammy");
        /// The password of that user. Set `TEAMMY_DATABASE__PASSWORD` rather than write it into a file.
        password: Option<SecretString> = secret().optional().example("hunter2");
        /// Where that user is defined: on the server (`DEFINE USER … ON ROOT`), on the namespace or on the
        /// database.
        auth_level: database::AuthLevel = database::auth_level().default("root");
        /// A token that signs in to a server, instead of a user. It must be valid for as long as the program
        /// runs: the program cannot renew it. Set `TEAMMY_DATABASE__TOKEN` rather than write it into a file.
        token: Option<SecretString> = secret().optional().example("eyJhbGciOiJIUzUxMiJ9…");
        /// How much memory `surrealkv://` takes to cache blocks that it has read.
        block_cache: Size = size(Size::mib(1)..=LARGEST_MEMORY).default("64MiB");
        /// How much memory `surrealkv://` takes for writes before it sorts them into files.
        memtable: Size = size(Size::mib(1)..=LARGEST_MEMORY).default("64MiB");
    }
}

table! {
    /// How packets reach instances and the store.
    "[delivery]"
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Delivery {
        /// The most packets in a batch to an instance.
        batch_packets: NonZeroUsize = count(1..=65_536).default(4096);
        /// The most bytes in a batch to an instance; a larger packet goes alone.
        batch_bytes: Size = size(Size::kib(1)..=LARGEST_BUFFER).default("1MiB");
        /// How many bytes of its volatile packets a meeting keeps in memory; at least twice
        /// `limits.packet_bytes`.
        tail_bytes: Size = size(Size::kib(1)..=LARGEST_BUFFER).default("16MiB");
        /// How many bytes a meeting may have published that are not committed yet; at least twice
        /// `limits.packet_bytes`.
        backlog_bytes: Size = size(Size::kib(1)..=LARGEST_BUFFER).default("16MiB");
        /// How many bytes of a source may wait for an instance that takes it with the policy `block`; above
        /// that, publishers of the source wait.
        block_bytes: Size = size(Size::from_bytes(1)..=LARGEST_BUFFER).default("1MiB");
        /// How many bytes of its committed packets a meeting keeps in memory, for readers that are nearly up
        /// to date.
        recent_bytes: Size = size(Size::from_bytes(0)..=LARGEST_BUFFER).default("1MiB");
        /// How long an instance's progress may wait to be committed if there is nothing else to commit.
        cursor_interval: Duration = duration(MILLISECOND).default("1s");
        /// How long a state and keys may wait to be committed that an instance made of volatile packets or
        /// ticks alone, without an output: a crash loses at most that much of them, as it loses those packets.
        /// `0s` commits each at once.
        checkpoint_interval: Duration = duration(Duration::ZERO).default("1s");
    }
}

table! {
    /// How plugins' hooks run.
    "[hooks]"
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Hooks {
        /// How long a hook may take.
        deadline: Duration = duration(MILLISECOND).default("60s");
        /// How often a packet is tried, the first time included, before it becomes a dead letter.
        tries: u32 = count(1..=1000).default(3);
        /// The wait before the second try; it doubles each time.
        backoff: Duration = duration(Duration::ZERO).default("200ms");
        /// The longest wait between tries; at least `hooks.backoff`.
        backoff_max: Duration = duration(Duration::ZERO).default("10s");
        /// How long a hook may hold its thread without awaiting anything before the log names it. If it
        /// holds the thread past its deadline, its instance is suspended.
        watchdog: Duration = duration(Duration::from_millis(10)).default("1s");
    }
}

table! {
    /// How a meeting ends.
    "[meeting]"
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct MeetingSettings {
        /// How long instances may take to finish when their meeting ends.
        end_deadline: Duration = duration(MILLISECOND).default("5m");
    }
}

table! {
    /// How instances that panic are restarted.
    "[restart]"
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Restart {
        /// How many restarts an instance may have `within` the time; one more suspends it.
        intensity: u32 = count(0..=1000).default(5);
        /// The time in which restarts are counted.
        within: Duration = duration(MILLISECOND).default("60s");
        /// The wait before the first restart; it doubles each time.
        backoff: Duration = duration(Duration::ZERO).default("100ms");
        /// The longest wait before a restart; at least `restart.backoff`.
        backoff_max: Duration = duration(Duration::ZERO).default("5s");
    }
}

table! {
    /// Limits on what is accepted.
    "[limits]"
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Limits {
        /// The largest packet.
        packet_bytes: Size = size(Size::from_bytes(1)..=Size::mib(4)).default("1MiB");
    }
}

table! {
    /// Metrics of packets, hooks, commits and memory. `actors/runtime/src/metrics.rs` lists them.
    "[metrics]"
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Metrics {
        /// The address on which the program serves the metrics to Prometheus, in a build with feature
        /// `prometheus`.
        listen: Option<SocketAddr> = address().or_blank().optional().example("127.0.0.1:9464");
    }
}

table! {
    /// What a tenant may use on each node. A request above that is answered with 429.
    "[[quota]]"
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Quota {
        /// Only this tenant. A quota without a tenant is for each tenant that has none of its own.
        tenant: Option<String> = name().or_blank().optional().words("each other tenant").example("acme");
        /// The most meetings that have not ended, on all nodes.
        meetings: Option<usize> = count(0..=1_000_000).map(Some, Option::as_ref).optional()
            .words("no limit").example(100);
        /// The most packets a second that are published; a burst of as many is free.
        packets_per_second: Option<usize> = count(1..=10_000_000).map(Some, Option::as_ref).optional()
            .words("no limit").example(5000);
        /// The most bytes of payload a second that are published; a burst of as many is free, and at least one packet.
        bytes_per_second: Option<Size> = size(Size::kib(1)..=LARGEST_MEMORY).map(Some, Option::as_ref).optional()
            .words("no limit").example("4MiB");
        /// The most streams of events and sockets at once.
        streams: Option<usize> = count(0..=1_000_000).map(Some, Option::as_ref).optional()
            .words("no limit").example(1000);
    }
}

table! {
    /// What `teammy install` writes.
    "[install]"
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    pub struct Install {
        /// The manifest: the plugins that are installed, and their versions. A relative path starts at the
        /// working directory.
        manifest: Option<PathBuf> = file_path().or_blank().optional()
            .words("`teammy/installed.json` under the user's data directory")
            .example("/var/lib/teammy/installed.json");
    }
}

table! {
    /// What is logged.
    "[log]"
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Log {
        /// Which lines are logged, as a filter of tracing: `warn`, `info`, `warn,teammy=debug`.
        filter: String = text().default("warn");
        /// How a line is written: `text` for people, `json` for programs, one object a line.
        format: LogFormat = serde_value("\"text\" or \"json\"").default("text");
    }
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object.
    Json,
}

impl Database {
    /// The URL. Where [`Loader::load`](crate::Loader::load) found none, this is the default: `teammy/db`
    /// under the user's data directory.
    ///
    /// # Errors
    /// [`Error::NoDataDirectory`] if the default is needed and there is no such directory.
    pub fn effective_url(&self) -> Result<database::Url, Error> {
        match &self.url {
            Some(url) => Ok(url.clone()),
            None => places::database(places::data_directory(None)),
        }
    }
}

impl PartialEq for Database {
    fn eq(&self, other: &Self) -> bool {
        let exposed = |secret: &Option<SecretString>| secret.as_ref().map(|it| it.expose_secret().to_owned());
        self.url == other.url
            && self.namespace == other.namespace
            && self.database == other.database
            && self.username == other.username
            && exposed(&self.password) == exposed(&other.password)
            && self.auth_level == other.auth_level
            && exposed(&self.token) == exposed(&other.token)
            && self.block_cache == other.block_cache
            && self.memtable == other.memtable
    }
}

impl Install {
    /// The manifest. Where [`Loader::load`](crate::Loader::load) found no path, this is the default:
    /// `teammy/installed.json` under the user's data directory.
    ///
    /// # Errors
    /// [`Error::NoManifestDirectory`] if the default is needed and there is no such directory.
    pub fn effective_manifest(&self) -> Result<PathBuf, Error> {
        match &self.manifest {
            Some(path) => Ok(path.clone()),
            None => places::data_directory(None)
                .map(|data| places::manifest(&data))
                .map_err(Error::NoManifestDirectory),
        }
    }
}

impl Config {
    /// Every table, in the order of the reference.
    pub(crate) fn sections() -> Vec<Section> {
        vec![
            Node::section(),
            Database::section(),
            Delivery::section(),
            Hooks::section(),
            MeetingSettings::section(),
            Restart::section(),
            Limits::section(),
            Metrics::section(),
            Service::section(),
            Cluster::section(),
            Quota::section(),
            Llm::section(),
            LlmModel::section(),
            LlmBudget::section(),
            Install::section(),
            Log::section(),
            Traces::section(),
            Source::section(),
            InstanceConfig::section(),
        ]
    }

    /// Reads every table. The reader notes every mistake.
    pub(crate) fn read(reader: &mut Reader) -> Self {
        let config = Self {
            node: table::read(reader),
            database: table::read(reader),
            delivery: table::read(reader),
            hooks: table::read(reader),
            meeting: table::read(reader),
            restart: table::read(reader),
            limits: table::read(reader),
            metrics: table::read(reader),
            service: table::read(reader),
            cluster: table::read(reader),
            quotas: table::read_list(reader, |_, _| ()).unwrap_or_default(),
            llm: Llm::read_all(reader),
            install: table::read(reader),
            log: table::read(reader),
            traces: table::read(reader),
            sources: table::read_list(reader, |_, _| ()).unwrap_or_default(),
            plugins: table::read_list(reader, |_, _| ()),
        };
        // A default stands in for a wrong value, so the rules between keys would report what nobody wrote.
        if reader.problems.is_empty() {
            config.check_together(reader);
        }
        config
    }

    /// Checks the rules between keys.
    fn check_together(&self, reader: &mut Reader) {
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
        for (table, first, longest) in [
            ("hooks", self.hooks.backoff, self.hooks.backoff_max),
            ("restart", self.restart.backoff, self.restart.backoff_max),
        ] {
            if first > longest {
                let [first, longest] = [first, longest].map(humantime::format_duration);
                let problem = format!("is {longest}, but takes at least {first}, which is {table}.backoff");
                reader.complain_about(&format!("{table}.backoff_max"), problem);
            }
        }
        if self.cluster.window < least {
            let (window, key) = (self.cluster.window, "cluster.window");
            let problem =
                format!("is {window}, but takes at least {least}, twice limits.packet_bytes ({packet})");
            reader.complain_about(key, problem);
        }
        for (at, quota) in self.quotas.iter().enumerate() {
            if self.quotas[..at].iter().any(|other| other.tenant == quota.tenant) {
                let of = quota
                    .tenant
                    .as_ref()
                    .map_or("each other tenant".to_owned(), |name| format!("tenant {name}"));
                reader.complain_about(&format!("quota[{at}].tenant"), format!("is the second quota of {of}"));
            }
        }
        self.service.check(reader);
        self.cluster.check(reader);
        match (&self.database.username, &self.database.password) {
            (Some(_), None) => {
                reader.complain_about("database.username", "is given, but database.password is not");
            }
            (None, Some(_)) => {
                reader.complain_about("database.password", "is given, but database.username is not");
            }
            (Some(_), Some(_)) if self.database.token.is_some() => {
                let problem = "is given beside database.username; give a token, or a user and a password";
                reader.complain_about("database.token", problem);
            }
            _ => {}
        }
    }
}
