//! Instances and sources as the configuration describes them.

use std::{collections::BTreeMap, time::Duration};

use crate::{DataType, DeliveryPolicy, Durability};

/// An instance as the configuration describes it, unchecked.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceSpec {
    /// The instance's name, which is the source of its outputs.
    pub name: String,
    /// The plugin's kind.
    pub kind: String,
    /// Mapped sources: the source as the plugin calls it, and the one to take instead.
    pub sources: BTreeMap<String, String>,
    /// Delivery policies, by the source as the plugin calls it. For other sources the plugin's own policy
    /// applies, or else the source's default.
    pub policies: BTreeMap<String, DeliveryPolicy>,
    /// Whether outputs are stored; `None` leaves that to the plugin.
    pub output: Option<Durability>,
    /// How long effects of volatile packets alone may wait to be stored; `None` leaves that to the node.
    pub checkpoint_interval: Option<Duration>,
    /// The plugin's table; null stands for the plugin's default.
    pub config: serde_json::Value,
    /// What a [host](crate::plugin::PluginHost) prepared for the instance, if its kind has one.
    pub prepared: Option<serde_json::Value>,
}

/// A source of the user's own, unchecked.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceSpec {
    /// Its name.
    pub name: String,
    /// Whether its packets are stored.
    pub durability: Durability,
    /// What its packets carry.
    pub carries: DataType,
}

impl SourceSpec {
    /// A source of which it is not known what its packets carry.
    pub fn new(name: impl Into<String>, durability: Durability) -> Self {
        Self { name: name.into(), durability, carries: DataType::Any }
    }
}

impl InstanceSpec {
    /// An instance without a table, with its sources unmapped.
    pub fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            sources: BTreeMap::new(),
            policies: BTreeMap::new(),
            output: None,
            checkpoint_interval: None,
            config: serde_json::Value::Null,
            prepared: None,
        }
    }
}
