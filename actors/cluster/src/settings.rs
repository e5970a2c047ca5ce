//! How a node takes part in its cluster.

use std::time::Duration;

use crate::{links::LinkSettings, rebalance, takeover};

/// How a node takes part in its cluster.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClusterSettings {
    /// How links behave.
    pub links: LinkSettings,
    /// How long a call for a meeting whose node is away is tried.
    pub patience: Duration,
    /// How long hooks may still run when their meeting is handed over.
    pub grace: Duration,
    /// How meetings of dead nodes are taken over.
    pub takeover: takeover::Settings,
    /// How meetings are moved to where they belong.
    pub rebalance: rebalance::Settings,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            links: LinkSettings::default(),
            patience: Duration::from_secs(10),
            grace: Duration::from_millis(250),
            takeover: takeover::Settings::default(),
            rebalance: rebalance::Settings::default(),
        }
    }
}
