//! Instances as the configuration describes them.

use std::collections::BTreeMap;

use crate::{DeliveryPolicy, Durability};

/// An instance as the configuration asks for it; nothing about it has been checked.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceSpec {
    /// Its name, which will be the source of its outputs.
    pub name: String,
    /// The kind of its plugin.
    pub kind: String,
    /// Where the plugin's sources come from: the source as the plugin calls it, and the one to take instead.
    pub sources: BTreeMap<String, String>,
    /// What becomes of a source's packets while it is busy, by the source as the plugin calls it; of the
    /// others what the plugin or the source says.
    pub policies: BTreeMap<String, DeliveryPolicy>,
    /// Whether its outputs are kept; `None` leaves that to the plugin.
    pub output: Option<Durability>,
    /// Its table; null stands for the plugin's default.
    pub config: serde_json::Value,
}

impl InstanceSpec {
    /// An instance with no table and nothing mapped.
    pub fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            sources: BTreeMap::new(),
            policies: BTreeMap::new(),
            output: None,
            config: serde_json::Value::Null,
        }
    }
}
