//! The metrics, for programs that install a recorder for the [`metrics`](facade) facade. Without one they cost
//! next to nothing; the library installs none. All names stand here.
//!
//! | name | kind | label | meaning |
//! |---|---|---|---|
//! | `teammy_received_total` | counter | `source` | packets accepted from publishers |
//! | `teammy_received_bytes_total` | counter | `source` | bytes of the payloads of packets accepted from publishers |
//! | `teammy_delivered_total` | counter | `instance` | packets that hooks have finished with, including those given up |
//! | `teammy_dropped_total` | counter | `instance` | packets that an instance lost and was told of |
//! | `teammy_failed_total` | counter | `instance` | failed attempts of hooks: errors, panics, passed deadlines |
//! | `teammy_dead_letters_total` | counter | `instance` | packets given up |
//! | `teammy_outputs_total` | counter | `instance` | outputs |
//! | `teammy_hook_seconds` | histogram | `instance` | how long hooks take; hooks of a few microseconds are counted with their mean |
//! | `teammy_lag` | gauge | `instance` | how many seqs an instance is behind, in the meeting in which it is furthest behind |
//! | `teammy_commits_total` | counter | | commits that are stored |
//! | `teammy_committed_packets_total` | counter | | packets in stored commits |
//! | `teammy_committed_bytes_total` | counter | | bytes of the payloads of packets in stored commits |
//! | `teammy_commit_failures_total` | counter | | batches of commits that failed and are sent again |
//! | `teammy_commit_seconds` | histogram | | how long the store takes for a batch of commits |
//! | `teammy_meetings` | gauge | | meetings that this node runs |
//! | `teammy_memory_bytes` | gauge | | bytes of packets in memory, over all meetings |
//! | `teammy_backlog_bytes` | gauge | | bytes that wait to be appended or stored, over all meetings |
//! | `teammy_threads_held` | gauge | | plugin threads held by a hook for longer than hooks.watchdog |
//!
//! Gauges are set twice a second, or as often as the watchdog looks. No label is a meeting's: there would be as
//! many series as meetings. [`Node::status`](crate::Node::status) reports each meeting.
//!
//! A node describes its metrics (unit and meaning) to the recorder when it starts. A histogram's buckets are the
//! recorder's; [`DESCRIPTIONS`] has bounds that suit each of them (`docs/embedding.md` shows how to set them).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use teammy_kernel::{Name, graph::Graph, store::Commit};

/// The crate whose recorder receives the metrics. A recorder that is installed with another version of it
/// receives none.
#[doc(no_inline)]
pub use ::metrics as facade;

const RECEIVED: &str = "teammy_received_total";
const RECEIVED_BYTES: &str = "teammy_received_bytes_total";
const DELIVERED: &str = "teammy_delivered_total";
const DROPPED: &str = "teammy_dropped_total";
const FAILED: &str = "teammy_failed_total";
const DEAD_LETTERS: &str = "teammy_dead_letters_total";
const OUTPUTS: &str = "teammy_outputs_total";
const HOOK_SECONDS: &str = "teammy_hook_seconds";
const LAG: &str = "teammy_lag";
const COMMITS: &str = "teammy_commits_total";
const COMMITTED_PACKETS: &str = "teammy_committed_packets_total";
const COMMITTED_BYTES: &str = "teammy_committed_bytes_total";
const COMMIT_FAILURES: &str = "teammy_commit_failures_total";
const COMMIT_SECONDS: &str = "teammy_commit_seconds";
const MEETINGS: &str = "teammy_meetings";
const MEMORY: &str = "teammy_memory_bytes";
const BACKLOG: &str = "teammy_backlog_bytes";
const THREADS_HELD: &str = "teammy_threads_held";

const SOURCE: Option<&str> = Some("source");
const INSTANCE: Option<&str> = Some("instance");

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// A number that only grows.
    Counter,
    /// A number that rises and falls.
    Gauge,
    /// The distribution of a duration.
    Histogram,
}

/// A metric, and what it means.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct MetricDescription {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// The name of its label, if it has one.
    pub label: Option<&'static str>,
    /// What it means, in a line.
    pub help: &'static str,
    /// For a histogram, upper bounds of buckets that suit it, in seconds; empty for the others.
    pub buckets: &'static [f64],
    unit: Unit,
}

/// From 100 µs, less than which no hook needs attention, to a language model's slowest answer.
const HOOK_BUCKETS: &[f64] =
    &[0.0001, 0.000_25, 0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// From a write to memory to a server that is hardly there: it may take 30 s to answer.
const COMMIT_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

const fn counts(
    name: &'static str,
    label: Option<&'static str>,
    unit: Unit,
    help: &'static str,
) -> MetricDescription {
    MetricDescription { name, kind: MetricKind::Counter, label, help, buckets: &[], unit }
}

const fn gauges(
    name: &'static str,
    label: Option<&'static str>,
    unit: Unit,
    help: &'static str,
) -> MetricDescription {
    MetricDescription { name, kind: MetricKind::Gauge, label, help, buckets: &[], unit }
}

const fn times(
    name: &'static str,
    label: Option<&'static str>,
    buckets: &'static [f64],
    help: &'static str,
) -> MetricDescription {
    MetricDescription { name, kind: MetricKind::Histogram, label, help, buckets, unit: Unit::Seconds }
}

/// Every metric of a node.
pub const DESCRIPTIONS: &[MetricDescription] = &[
    counts(RECEIVED, SOURCE, Unit::Count, "packets accepted from publishers"),
    counts(RECEIVED_BYTES, SOURCE, Unit::Bytes, "bytes of the payloads of packets accepted from publishers"),
    counts(
        DELIVERED,
        INSTANCE,
        Unit::Count,
        "packets that hooks have finished with, including those given up",
    ),
    counts(DROPPED, INSTANCE, Unit::Count, "packets that an instance lost and was told of"),
    counts(FAILED, INSTANCE, Unit::Count, "failed attempts of hooks: errors, panics, passed deadlines"),
    counts(DEAD_LETTERS, INSTANCE, Unit::Count, "packets given up"),
    counts(OUTPUTS, INSTANCE, Unit::Count, "outputs"),
    times(
        HOOK_SECONDS,
        INSTANCE,
        HOOK_BUCKETS,
        "how long hooks take; hooks of a few microseconds are counted with their mean",
    ),
    gauges(
        LAG,
        INSTANCE,
        Unit::Count,
        "how many seqs an instance is behind, in the meeting in which it is furthest behind",
    ),
    counts(COMMITS, None, Unit::Count, "commits that are stored"),
    counts(COMMITTED_PACKETS, None, Unit::Count, "packets in stored commits"),
    counts(COMMITTED_BYTES, None, Unit::Bytes, "bytes of the payloads of packets in stored commits"),
    counts(COMMIT_FAILURES, None, Unit::Count, "batches of commits that failed and are sent again"),
    times(COMMIT_SECONDS, None, COMMIT_BUCKETS, "how long the store takes for a batch of commits"),
    gauges(MEETINGS, None, Unit::Count, "meetings that this node runs"),
    gauges(MEMORY, None, Unit::Bytes, "bytes of packets in memory, over all meetings"),
    gauges(BACKLOG, None, Unit::Bytes, "bytes that wait to be appended or stored, over all meetings"),
    gauges(THREADS_HELD, None, Unit::Count, "plugin threads held by a hook for longer than hooks.watchdog"),
];

/// Tells the recorder what the metrics mean.
fn describe() {
    for &MetricDescription { name, kind, unit, help, .. } in DESCRIPTIONS {
        match kind {
            MetricKind::Counter => describe_counter!(name, unit, help),
            MetricKind::Gauge => describe_gauge!(name, unit, help),
            MetricKind::Histogram => describe_histogram!(name, unit, help),
        }
    }
}

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
    lag: Gauge,
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
            lag: gauge!(LAG, "instance" => instance.to_owned()),
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
        describe();
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

    /// Sets the lag of every instance, in seqs; of one that is not named it is zero.
    pub(crate) fn set_lags(&self, lags: &BTreeMap<Name, u64>) {
        for (name, instance) in &self.instances {
            instance.lag.set(gauged(lags.get(name).copied().unwrap_or(0)));
        }
    }
}

/// A gauge's value.
#[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
pub(crate) fn gauged(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lists_every_metric() {
        let source = include_str!("metrics.rs");
        let rows = source.lines().filter_map(|line| line.strip_prefix("//! | `"));
        let rows: Vec<String> = rows.map(|row| format!("| `{row}")).collect();
        let row = |metric: &MetricDescription| {
            let kind = format!("{:?}", metric.kind).to_lowercase();
            let label = metric.label.map_or_else(String::new, |label| format!("`{label}` "));
            format!("| `{}` | {kind} | {label}| {} |", metric.name, metric.help)
        };
        assert_eq!(rows, DESCRIPTIONS.iter().map(row).collect::<Vec<_>>());
    }

    #[test]
    fn the_buckets_of_a_histogram_rise() {
        for metric in DESCRIPTIONS {
            let is_histogram = metric.kind == MetricKind::Histogram;
            assert_eq!(metric.buckets.is_empty(), !is_histogram, "{}", metric.name);
            assert!(metric.buckets.is_sorted_by(|a, b| a < b), "{}", metric.name);
        }
    }
}
