//! Whether packets are kept.

use serde::{Deserialize, Serialize};

/// Whether packets of a source are stored, or live in memory only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Each packet is committed to the store; none is lost.
    #[default]
    Durable,
    /// No packet is stored. A reader that is too slow misses some and learns how many.
    Volatile,
}
