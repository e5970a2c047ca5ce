//! An instance's table: the host's settings, and the plugin's own.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use teammy_kernel::plugin::ConfigError;

use crate::protocol::Json;

/// An instance's table.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The plugin's folder, absolute.
    pub(crate) path: PathBuf,
    /// The interpreter that is named.
    pub(crate) python: Option<OsString>,
    /// The most memory of the process, in bytes; 0 for no limit.
    pub(crate) memory: u64,
    /// How long the process may be silent.
    pub(crate) stall: Duration,
    /// How long the plugin may take to start.
    pub(crate) start: Duration,
    pub(crate) json: Json,
    pub(crate) needs_llm: bool,
    /// The plugin's own settings.
    pub(crate) config: Value,
}

/// The table of an instance of kind `python`. Keys that are not named here are the plugin's own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "Python")]
pub(crate) struct Table {
    /// The folder of the plugin, which holds the package `plugin`, in `src/` or at its root.
    path: Option<String>,
    /// The Python interpreter: a path, from the plugin's folder or from where the node runs, or the name of a program.
    /// Without it: that of `.venv` in the plugin's folder, which `teammy install` makes if the plugin has dependencies,
    /// and else `python3`.
    python: Option<String>,
    /// The most memory that the plugin's process may use, such as "512MiB" (units KiB, MiB, GiB); "off" for no limit. A
    /// hook for which it is not enough ends the process. Default: "512MiB".
    #[serde(default = "Table::default_memory")]
    memory: String,
    /// How long a hook may hold the process's event loop, and how long it may take to stop when it is cancelled. A
    /// process that takes longer is killed and started anew. Default: "10s".
    #[serde(default = "Table::default_stall")]
    stall: String,
    /// How long the process may take to import the plugin and to run `on_startup`. Default: "60s".
    #[serde(default = "Table::default_start")]
    start: String,
    /// How a hook of two arguments gets a packet that is JSON: as its "text", or as the "value" of it. Default: "text".
    #[serde(default)]
    #[schemars(with = "String")]
    json: Json,
    /// Whether the plugin cannot work without a language model: a meeting without one refuses it. Default: false.
    #[serde(default)]
    needs_llm: bool,
    /// The plugin's own settings, for its `PluginConfig`. They may also stand beside the keys above, unless they have
    /// the name of one of them.
    #[serde(default)]
    config: Map<String, Value>,
    #[serde(flatten)]
    own: Map<String, Value>,
}

impl Table {
    fn default_memory() -> String {
        "512MiB".to_owned()
    }

    fn default_stall() -> String {
        "10s".to_owned()
    }

    fn default_start() -> String {
        "60s".to_owned()
    }
}

impl Settings {
    /// Reads a table.
    pub(crate) fn read(table: &Value) -> Result<Self, ConfigError> {
        let table = if table.is_null() { &Value::Object(Map::new()) } else { table };
        let key_of = |error: &serde_json::Error| {
            // Which key is at fault: each is read by itself.
            let keys = ["path", "python", "memory", "stall", "start", "json", "needs_llm", "config"];
            let faulty = |key: &&&str| match table.get(**key) {
                Some(value) => {
                    Table::deserialize(Value::Object(Map::from_iter([((**key).to_owned(), value.clone())])))
                        .is_err()
                }
                None => false,
            };
            let key = keys.iter().find(faulty).copied().unwrap_or_default();
            let problem = match key {
                "json" => "expected \"text\" or \"value\"",
                "needs_llm" => "expected true or false",
                "config" => "expected a table: the plugin's own settings",
                "" if error.is_data() => "expected a table",
                _ => "expected a string",
            };
            ConfigError::new(key, problem)
        };
        let table = Table::deserialize(table).map_err(|error| key_of(&error))?;
        let Some(path) = table.path else {
            return Err(ConfigError::new("path", "it is missing: name the plugin's folder"));
        };
        let path = std::path::absolute(&path)
            .map_err(|_| ConfigError::new("path", "expected the plugin's folder"))?;
        let mut config = table.config;
        for (key, value) in table.own {
            if config.contains_key(&key) {
                return Err(ConfigError::new(key, "it is there twice: in `config` and beside it"));
            }
            config.insert(key, value);
        }
        Ok(Self {
            python: table.python.filter(|python| !python.is_empty()).map(|python| found(&path, &python)),
            path,
            memory: memory(&table.memory).ok_or_else(|| {
                ConfigError::new("memory", "expected a size such as \"512MiB\", at least 32MiB, or \"off\"")
            })?,
            stall: duration("stall", &table.stall)?,
            start: duration("start", &table.start)?,
            json: table.json,
            needs_llm: table.needs_llm,
            config: Value::Object(config),
        })
    }
}

/// The interpreter that a text names: a path from the plugin's folder if there is such a file, a path from here, or a
/// program that is looked up.
fn found(folder: &Path, python: &str) -> OsString {
    if !python.contains('/') {
        return python.into();
    }
    let inside = folder.join(python);
    if inside.exists() {
        return inside.into();
    }
    std::path::absolute(python).map_or_else(|_| python.into(), Into::into)
}

/// A size in bytes; 0 for none.
fn memory(text: &str) -> Option<u64> {
    const LEAST: u64 = 32 << 20;
    if text == "off" {
        return Some(0);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let shift = match text[digits..].trim() {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    let bytes = text[..digits].parse::<u64>().ok()?.checked_mul(1 << shift)?;
    (bytes >= LEAST).then_some(bytes)
}

fn duration(key: &str, text: &str) -> Result<Duration, ConfigError> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration >= Duration::from_secs(1) => Ok(duration),
        _ => Err(ConfigError::new(key, "expected a time of at least a second, such as \"10s\"")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_has_the_hosts_settings_and_the_plugins_own() {
        let table =
            json!({"path": "/p", "memory": "1GiB", "json": "value", "actions": [1], "config": {"path": "x"}});
        let settings = Settings::read(&table).unwrap();
        assert_eq!(settings.config, json!({"actions": [1], "path": "x"}));
        assert_eq!((settings.memory, settings.json), (1 << 30, Json::Value));
        assert_eq!(settings.stall, Duration::from_secs(10));
        let least = Settings::read(&json!({"path": "p"})).unwrap();
        assert!(least.path.is_absolute());
        assert_eq!((least.memory, least.config), (512 << 20, json!({})));
        assert_eq!(Settings::read(&json!({"path": "p", "memory": "off"})).unwrap().memory, 0);
    }

    #[test]
    fn the_key_at_fault_is_named() {
        for (table, says) in [
            (json!(null), "path: it is missing"),
            (json!({"path": 1}), "path: expected a string"),
            (json!({"path": "p", "memory": 512}), "memory: expected a string"),
            (json!({"path": "p", "memory": "512"}), "memory: expected a size"),
            (json!({"path": "p", "memory": "1MiB"}), "memory: expected a size"),
            (json!({"path": "p", "memory": "99999999999999GiB"}), "memory: expected a size"),
            (json!({"path": "p", "stall": "0s"}), "stall: expected a time"),
            (json!({"path": "p", "json": "xml"}), "json: expected \"text\""),
            (json!({"path": "p", "needs_llm": "yes"}), "needs_llm: expected true"),
            (json!({"path": "p", "config": []}), "config: expected a table"),
            (json!({"path": "p", "a": 1, "config": {"a": 1}}), "a: it is there twice"),
            (json!("p"), "expected a table"),
        ] {
            let error = Settings::read(&table).unwrap_err().to_string();
            assert!(error.starts_with(says), "{table}: {error}");
        }
    }

    #[test]
    fn an_interpreter_is_looked_for_in_the_plugins_folder_first() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join(".venv/bin")).unwrap();
        std::fs::write(folder.path().join(".venv/bin/python"), "").unwrap();
        assert_eq!(found(folder.path(), ".venv/bin/python"), folder.path().join(".venv/bin/python"));
        assert_eq!(found(folder.path(), "python3.12"), OsString::from("python3.12"));
        assert_eq!(found(folder.path(), "/usr/bin/python3"), OsString::from("/usr/bin/python3"));
        assert!(Path::new(&found(folder.path(), "other/python")).is_absolute());
    }
}
