//! What a meeting has done.

use serde::{Deserialize, Serialize};

use crate::instance::InstanceStats;

/// What a meeting has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MeetingStats {
    /// Packets that it accepted from publishers.
    pub packets: u64,
    /// Its instances, in the order in which they joined.
    pub instances: Vec<InstanceStats>,
}
