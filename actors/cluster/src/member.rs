//! What nodes tell of themselves in their leases.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use teammy_kernel::store::{Incarnation, LeaseRecord};

/// A range of versions, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The oldest.
    pub from: u32,
    /// The newest.
    pub to: u32,
}

/// What a node tells of itself. A reader ignores fields that it does not know, and has defaults for those that are missing, so that
/// nodes of different versions read each other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeDocument {
    /// Where other nodes reach it; none if they cannot.
    pub link: Option<String>,
    /// Where its network API is; none if it has none.
    pub api: Option<String>,
    /// The program's version.
    pub version: String,
    /// The layouts that it reads and writes on links.
    pub layouts: Option<Versions>,
    /// How many meetings it has room for; 0 for a node that runs none.
    pub capacity: u32,
    /// How many it runs, or has promised to.
    pub reserved: u32,
    /// Whether it takes no more meetings.
    pub is_draining: bool,
}

impl NodeDocument {
    /// The document of a lease.
    pub fn to_json(&self) -> Arc<str> {
        serde_json::to_string(self).expect("invariant: these fields have a JSON form").into()
    }
}

/// A node that is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Which run of which node.
    pub incarnation: Incarnation,
    /// What it tells of itself. One of a version that cannot be read tells nothing.
    pub document: NodeDocument,
}

impl Member {
    /// A member by its lease.
    pub(crate) fn of(lease: &LeaseRecord) -> Self {
        let document = serde_json::from_str(&lease.document).unwrap_or_default();
        Self { incarnation: lease.holder.clone(), document }
    }
}
