//! What an operator sees of a cluster.

use serde::{Deserialize, Serialize};
use teammy_kernel::store::{Incarnation, LeaseStatus};

/// The nodes that share a store, as one of them sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClusterReport {
    /// The node that answers.
    pub me: Incarnation,
    /// All nodes that hold a lease, or whose meetings were not all taken over yet; by name.
    pub nodes: Vec<NodeReport>,
}

/// A node, as another one sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Which run of which node.
    pub incarnation: Incarnation,
    /// Whether its lease holds.
    pub lease: LeaseStatus,
    /// How much of its lease is left by the store's clock, in milliseconds.
    pub left_ms: u64,
    /// The program's version.
    pub version: String,
    /// The layouts that it reads and writes on links: the oldest and the newest.
    pub layouts: Option<(u32, u32)>,
    /// How many meetings it has room for.
    pub capacity: u32,
    /// How many it runs or has promised to.
    pub meetings: u32,
    /// Whether it takes no more meetings.
    pub is_draining: bool,
    /// Where its network API is.
    pub api: Option<String>,
    /// The link to it; none to the node that answers, and to one without a lease.
    pub link: Option<LinkReport>,
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkReport {
    /// Whether it is up.
    pub is_up: bool,
    /// How long ago something came from the other side, in milliseconds.
    pub silence_ms: Option<u64>,
    /// Bytes under way that the other side has not taken.
    pub under_way: u64,
    /// Calls that wait for it.
    pub waiting: u64,
    /// How often it broke.
    pub breaks: u64,
    /// Why it is down.
    pub reason: Option<String>,
}

impl ClusterReport {
    /// A report.
    pub fn new(me: Incarnation, nodes: Vec<NodeReport>) -> Self {
        Self { me, nodes }
    }
}
