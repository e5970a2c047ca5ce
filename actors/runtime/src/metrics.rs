//! The metrics, for programs that install a recorder for the [`metrics`] facade. Without one they cost next to
//! nothing; the library installs none. All names stand here.
//!
//! | name | kind | labels | unit and meaning |
//! |---|---|---|---|
//! | `teammy_received_total` | counter | `source` | packets accepted from publishers |
//! | `teammy_received_bytes_total` | counter | `source` | their payloads' bytes |
//! | `teammy_delivered_total` | counter | `instance` | packets that hooks have finished with, including those given up |
//! | `teammy_dropped_total` | counter | `instance` | packets that an instance lost and was told of |
//! | `teammy_failed_total` | counter | `instance` | failed attempts: errors, panics, passed deadlines |
//! | `teammy_dead_letters_total` | counter | `instance` | packets given up |
//! | `teammy_outputs_total` | counter | `instance` | outputs |
//! | `teammy_hook_seconds` | histogram | `instance` | how long hooks take; hooks of a few microseconds are counted with their mean |
//! | `teammy_commits_total` | counter | | commits that are stored |
//! | `teammy_committed_packets_total` | counter | | the packets in them |
//! | `teammy_committed_bytes_total` | counter | | their payloads' bytes |
//! | `teammy_commit_failures_total` | counter | | batches of commits that failed and are sent again |
//! | `teammy_commit_seconds` | histogram | | how long the store takes for a batch of commits |
//! | `teammy_meetings` | gauge | | meetings that this node runs |
//! | `teammy_memory_bytes` | gauge | | bytes of packets in memory, over all meetings |
//! | `teammy_backlog_bytes` | gauge | | bytes that wait to be appended or stored, over all meetings |
//! | `teammy_lag` | gauge | | the largest lag of an instance, in seqs |
//! | `teammy_threads_held` | gauge | | plugin threads held by a hook for longer than `hooks.watchdog` |
//!
//! Gauges are set twice a second, or as often as the watchdog looks.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use teammy_kernel::{Name, graph::Graph, store::Commit};

const RECEIVED: &str = "teammy_received_total";
const RECEIVED_BYTES: &str = "teammy_received_bytes_total";
const DELIVERED: &str = "teammy_delivered_total";
const DROPPED: &str = "teammy_dropped_total";
const FAILED: &str = "teammy_failed_total";
const DEAD_LETTERS: &str = "teammy_dead_letters_total";
const OUTPUTS: &str = "teammy_outputs_total";
const HOOK_SECONDS: &str = "teammy_hook_seconds";
const COMMITS: &str = "teammy_commits_total";
const COMMITTED_PACKETS: &str = "teammy_committed_packets_total";
const COMMITTED_BYTES: &str = "teammy_committed_bytes_total";
const COMMIT_FAILURES: &str = "teammy_commit_failures_total";
const COMMIT_SECONDS: &str = "teammy_commit_seconds";
const MEETINGS: &str = "teammy_meetings";
const MEMORY: &str = "teammy_memory_bytes";
const BACKLOG: &str = "teammy_backlog_bytes";
const LAG: &str = "teammy_lag";
const THREADS_HELD: &str = "teammy_threads_held";

/// Several hooks and their mean duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HookTiming {
    pub(crate) mean: Duration,
    /// How many hooks.
    pub(crate) hooks: u32,
}

/// The metrics of a node.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Packets and bytes, by the source's index in the graph.
    received: Box<[(Counter, Counter)]>,
    instances: BTreeMap<Name, Arc<InstanceMetrics>>,
    pub(crate) store: StoreMetrics,
    pub(crate) meetings: Gauge,
    pub(crate) memory: Gauge,
    pub(crate) backlog: Gauge,
    pub(crate) lag: Gauge,
    pub(crate) threads_held: Gauge,
}

/// The metrics of an instance, over all its meetings.
pub(crate) struct InstanceMetrics {
    pub(crate) delivered: Counter,
    pub(crate) dropped: Counter,
    pub(crate) failed: Counter,
    pub(crate) dead_letters: Counter,
    pub(crate) outputs: Counter,
    hook: Histogram,
}

impl std::fmt::Debug for InstanceMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InstanceMetrics")
    }
}

impl InstanceMetrics {
    pub(crate) fn new(instance: &str) -> Self {
        let of = |name: &'static str| counter!(name, "instance" => instance.to_owned());
        Self {
            delivered: of(DELIVERED),
            dropped: of(DROPPED),
            failed: of(FAILED),
            dead_letters: of(DEAD_LETTERS),
            outputs: of(OUTPUTS),
            hook: histogram!(HOOK_SECONDS, "instance" => instance.to_owned()),
        }
    }

    pub(crate) fn hooks(&self, timings: &[HookTiming]) {
        for timing in timings {
            self.hook.record_many(timing.mean.as_secs_f64(), timing.hooks as usize);
        }
    }
}

/// The metrics of the store.
#[derive(Clone)]
pub(crate) struct StoreMetrics {
    commits: Counter,
    packets: Counter,
    bytes: Counter,
    failures: Counter,
    seconds: Histogram,
}

impl std::fmt::Debug for StoreMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreMetrics")
    }
}

impl StoreMetrics {
    pub(crate) fn stored(&self, commits: &[Commit], took: Duration) {
        let packets = || commits.iter().flat_map(|commit| &commit.packets);
        self.commits.increment(commits.len() as u64);
        self.packets.increment(packets().count() as u64);
        self.bytes.increment(packets().map(|packet| packet.payload.len() as u64).sum());
        self.seconds.record(took.as_secs_f64());
    }

    pub(crate) fn failed(&self) {
        self.failures.increment(1);
    }
}

impl Metrics {
    pub(crate) fn new(graph: &Graph) -> Self {
        let received = graph.sources().map(|source| {
            let source = source.as_str().to_owned();
            (counter!(RECEIVED, "source" => source.clone()), counter!(RECEIVED_BYTES, "source" => source))
        });
        let instance = |name: &Name| (name.clone(), Arc::new(InstanceMetrics::new(name.as_str())));
        Self {
            received: received.collect(),
            instances: graph.instances().map(|one| instance(&one.name)).collect(),
            store: StoreMetrics {
                commits: counter!(COMMITS),
                packets: counter!(COMMITTED_PACKETS),
                bytes: counter!(COMMITTED_BYTES),
                failures: counter!(COMMIT_FAILURES),
                seconds: histogram!(COMMIT_SECONDS),
            },
            meetings: gauge!(MEETINGS),
            memory: gauge!(MEMORY),
            backlog: gauge!(BACKLOG),
            lag: gauge!(LAG),
            threads_held: gauge!(THREADS_HELD),
        }
    }

    /// Counts packets that were accepted from publishers. `source` is the source's index in the graph.
    pub(crate) fn received(&self, source: usize, packets: u64, bytes: u64) {
        let (count, sum) = &self.received[source];
        count.increment(packets);
        sum.increment(bytes);
    }

    pub(crate) fn instance(&self, name: &Name) -> Arc<InstanceMetrics> {
        self.instances.get(name).expect("invariant: every configured instance is counted").clone()
    }
}
