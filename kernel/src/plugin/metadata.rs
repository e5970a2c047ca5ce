//! What is known of a plugin without starting it.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{delivery_policy::DeliveryPolicy, durability::Durability};
use crate::{DataType, Name};

/// What is known of a plugin without starting it: its type's constants and its hooks.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct InCallPluginMetadata {
    /// The plugin's kind.
    pub name: Cow<'static, str>,
    /// Its version.
    pub version: Cow<'static, str>,
    /// The sources that it takes, as its hooks declare them.
    pub sources: Vec<Name>,
    /// What packets of each source must carry.
    pub takes: BTreeMap<Name, DataType>,
    /// The delivery policies that it declares, by source; of other sources the default applies.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub policies: BTreeMap<Name, DeliveryPolicy>,
    /// The time between two ticks; `None` where it asks for none.
    pub every: Option<Duration>,
    /// Whether it takes wakes.
    pub takes_wakes: bool,
    /// Whether its outputs are stored.
    pub output: Durability,
    /// Whether it cannot work without a language model.
    pub needs_llm: bool,
    /// The JSON Schema of its table in the configuration; `true`, which any value fits, where it has none.
    pub config: schemars::Schema,
    /// What its outputs carry.
    pub output_type: DataType,
}
