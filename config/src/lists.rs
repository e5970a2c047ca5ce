//! `[[source]]` and `[[plugin]]`: the tables that a file lists.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use crate::{
    show,
    table::table,
    value_type::{duration, file_path, json_table, serde_value, table_of, text},
};

/// Whether packets are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// Each is committed to the store.
    Durable,
    /// They are in memory only.
    Volatile,
}

/// What happens to a source's packets while an instance is busy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DeliveryPolicyConfig {
    /// The instance reads them from the store later.
    Spill,
    /// The oldest are dropped.
    DropOldest,
    /// A packet replaces the one before it with the same key. The key is `participant`, or a JSON pointer.
    Latest(#[serde(deserialize_with = "latest_key")] String),
    /// Publishers wait.
    Block,
}

const POLICIES: &str = "\"spill\", \"drop-oldest\", \"block\" or { latest = \"participant\" }, \
    where a JSON pointer such as \"/segment/id\" can stand for the participant";

fn latest_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let key = String::deserialize(deserializer)?;
    let is_key = key == "participant" || key.starts_with('/');
    if is_key { Ok(key) } else { Err(D::Error::custom("neither participant nor a JSON pointer")) }
}

table! {
    /// A source of your own, beside audio, transcription, chat and participant.
    "[[source]]"
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Source {
        /// Its name.
        name: String = text().required().example("captions-de");
        /// Whether its packets are stored.
        durable: bool = serde_value("true or false").default(true);
        /// A file with the JSON Schema of its packets, which are then JSON. A node does not start if a plugin's hook
        /// cannot read them. Nothing checks the packets themselves. A relative path starts at the working directory.
        schema: Option<PathBuf> = file_path().map(Some, Option::as_ref).optional()
            .words("not known").example("schemas/captions.json");
    }
}

table! {
    /// An instance of a plugin.
    "[[plugin]]"
    #[derive(Clone, PartialEq)]
    pub struct InstanceConfig {
        /// Its name, which is also the source of its outputs.
        name: String = text().required().example("minutes-de");
        /// The kind of its plugin.
        kind: String = text().same_as("name", "its name").example("minutes");
        /// Sources to take instead of those that the plugin asks for, by the plugin's names for them.
        sources: BTreeMap<String, String> = table_of("table of sources' names", "a source's name in quotes")
            .optional().example(serde_json::json!({ "transcription": "captions-de" }));
        /// What happens to a source's packets while the instance is busy, by the plugin's name for the
        /// source. One of:
        /// - `spill`: all are kept, and read from the store later; the default of sources that are stored
        /// - `drop-oldest`: the oldest are dropped, and counted; the default of sources that are not stored
        /// - `{ latest = "participant" }`: a packet replaces an earlier one of the same participant;
        ///   `{ latest = "/segment/id" }`: of the same value at that place in its JSON
        /// - `block`: publishers wait
        delivery: BTreeMap<String, DeliveryPolicyConfig> = table_of("table of sources' policies", POLICIES)
            .optional().example(serde_json::json!({ "transcription": { "latest": "/segment/id" } }));
        /// Whether its outputs are stored.
        output: Option<Durability> =
            serde_value("\"durable\" or \"volatile\"").map(Some, Option::as_ref).optional()
                .words("what the plugin says").example("durable");
        /// Its own `delivery.checkpoint_interval`.
        checkpoint_interval: Option<Duration> = duration(Duration::ZERO).map(Some, Option::as_ref).optional()
            .words("`delivery.checkpoint_interval`").example("10s");
        /// The plugin's own table.
        config: serde_json::Value = json_table("table, as its plugin defines it")
            .optional().example(serde_json::json!({ "language": "de" }));
    }
}

/// Masks what may be a secret in the plugin's own table.
impl fmt::Debug for InstanceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstanceConfig")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("sources", &self.sources)
            .field("delivery", &self.delivery)
            .field("output", &self.output)
            .field("checkpoint_interval", &self.checkpoint_interval)
            .field("config", &format_args!("{}", show::table(&self.config)))
            .finish()
    }
}
