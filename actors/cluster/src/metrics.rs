//! Metrics of a node's part in its cluster.
//!
//! | name | kind | labels | |
//! |---|---|---|---|
//! | `teammy_cluster_lease_left_seconds` | gauge | | how much of this node's lease is left by its own clock; at 0 it stops its meetings |
//! | `teammy_cluster_members` | gauge | | live nodes, as this one sees them |
//! | `teammy_cluster_takeovers_total` | counter | | meetings of dead nodes that this node took over |
//! | `teammy_cluster_takeovers_waiting` | gauge | | meetings of dead nodes that this node knows of and has not taken yet |
//! | `teammy_cluster_handovers_total` | counter | | meetings that this node handed over |
//! | `teammy_cluster_forwards_total` | counter | | calls that went to another node |
//! | `teammy_cluster_misses_total` | counter | | calls that came here for a meeting that did not run here |
//! | `teammy_cluster_link_up` | gauge | `peer` | 1 if the link to that node is up, else 0 |
//! | `teammy_cluster_link_breaks` | gauge | `peer` | how often that link broke |
//! | `teammy_cluster_link_bytes` | gauge | `peer` | bytes under way on that link that the other node has not taken |
//! | `teammy_cluster_link_waiting` | gauge | `peer` | calls that wait for that link |

use std::{collections::BTreeSet, time::Duration};

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};
use teammy_kernel::Name;

use crate::links::LinkStatus;

const LEASE: &str = "teammy_cluster_lease_left_seconds";
const MEMBERS: &str = "teammy_cluster_members";
const TAKEOVERS: &str = "teammy_cluster_takeovers_total";
const WAITING: &str = "teammy_cluster_takeovers_waiting";
const HANDOVERS: &str = "teammy_cluster_handovers_total";
const FORWARDS: &str = "teammy_cluster_forwards_total";
const MISSES: &str = "teammy_cluster_misses_total";
const LINK_UP: &str = "teammy_cluster_link_up";
const LINK_BREAKS: &str = "teammy_cluster_link_breaks";
const LINK_BYTES: &str = "teammy_cluster_link_bytes";
const LINK_WAITING: &str = "teammy_cluster_link_waiting";

/// The handles of all metrics. They go to the recorder that was there when this was made.
pub(crate) struct Metrics {
    pub(crate) lease: Gauge,
    pub(crate) members: Gauge,
    pub(crate) takeovers: Counter,
    pub(crate) waiting: Gauge,
    pub(crate) handovers: Counter,
    pub(crate) forwards: Counter,
    pub(crate) misses: Counter,
    peers: BTreeSet<Name>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        describe_gauge!(LEASE, Unit::Seconds, "How much of this node's lease is left by its own clock");
        describe_gauge!(MEMBERS, "Live nodes of the cluster, as this one sees them");
        describe_counter!(TAKEOVERS, "Meetings of dead nodes that this node took over");
        describe_gauge!(WAITING, "Meetings of dead nodes that this node has not taken yet");
        describe_counter!(HANDOVERS, "Meetings that this node handed over");
        describe_counter!(FORWARDS, "Calls that went to another node");
        describe_counter!(MISSES, "Calls that came here for a meeting that did not run here");
        describe_gauge!(LINK_UP, "Whether the link to a node is up");
        describe_gauge!(LINK_BREAKS, "How often the link to a node broke");
        describe_gauge!(LINK_BYTES, Unit::Bytes, "Bytes under way to a node that it has not taken");
        describe_gauge!(LINK_WAITING, "Calls that wait for the link to a node");
        Self {
            lease: gauge!(LEASE),
            members: gauge!(MEMBERS),
            takeovers: counter!(TAKEOVERS),
            waiting: gauge!(WAITING),
            handovers: counter!(HANDOVERS),
            forwards: counter!(FORWARDS),
            misses: counter!(MISSES),
            peers: BTreeSet::new(),
        }
    }

    /// Sets the gauges of links. A node that is gone keeps its name, with 0: names are few, and starts of a node share one.
    pub(crate) fn links(&mut self, links: &[LinkStatus]) {
        let now: BTreeSet<Name> = links.iter().map(|link| link.peer.node.clone()).collect();
        for gone in self.peers.difference(&now) {
            for name in [LINK_UP, LINK_BYTES, LINK_WAITING] {
                gauge!(name, "peer" => gone.to_string()).set(0.0);
            }
        }
        self.peers.extend(now);
        for link in links {
            let of = |name: &'static str| gauge!(name, "peer" => link.peer.node.to_string());
            of(LINK_UP).set(if link.is_up { 1.0 } else { 0.0 });
            of(LINK_BREAKS).set(wide(link.breaks));
            of(LINK_BYTES).set(wide(link.under_way as u64));
            of(LINK_WAITING).set(wide(link.waiting as u64));
        }
    }
}

/// A count as a gauge takes it.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and counts above 2^53 do not come")]
pub(crate) fn wide(count: u64) -> f64 {
    count as f64
}

pub(crate) fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
