//! `[[source]]` and `[[plugin]]`: what a file lists.

use std::{collections::BTreeMap, fmt};

use figment::value::{Dict, Value};

use crate::{
    keys,
    layer::Form,
    reader::{Raw, Reader},
    show,
};

/// Whether packets are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Each is committed to the store.
    Durable,
    /// They live in memory only.
    Volatile,
}

/// A source of the user's own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Whether its packets are kept.
    pub durable: bool,
}

/// An instance of a plugin.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Plugin {
    /// Its name.
    pub name: String,
    /// The kind of its plugin.
    pub kind: String,
    /// Where the plugin's sources come from: as it calls them, and the source to take instead.
    pub sources: BTreeMap<String, String>,
    /// Whether its outputs are kept; `None` leaves that to the plugin.
    pub output: Option<Durability>,
    /// The plugin's own table; null where there is none.
    pub config: serde_json::Value,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("sources", &self.sources)
            .field("output", &self.output)
            .field("config", &format_args!("{}", show::table(&self.config)))
            .finish()
    }
}

/// One table of a list, while it is read.
struct Entry<'r> {
    reader: &'r mut Reader,
    /// What its keys are called in messages and settings: `plugin.minutes`, or `plugin[0]` where the name is no help.
    path: String,
    origin: String,
    fields: Dict,
}

impl Entry<'_> {
    fn complain(&mut self, key: &str, problem: impl Into<String>) {
        let path = format!("{}.{}", self.path, show::cut(key));
        self.reader.complain(&self.origin, path, problem);
    }

    fn set(&mut self, key: &str, value: String) {
        let origin = if self.fields.contains_key(key) { self.origin.as_str() } else { "default" };
        self.reader.set(format!("{}.{key}", self.path), value, origin);
    }

    fn raw(&self, key: &str) -> Option<Raw> {
        self.fields.get(key).map(|value| Raw { value: value.clone(), form: Form::Toml })
    }

    fn text(&mut self, key: &str) -> Option<String> {
        let raw = self.raw(key)?;
        match raw.value.as_str() {
            Some(text) if !text.trim().is_empty() => Some(text.to_owned()),
            _ => {
                self.complain(key, raw.but_takes("a text in quotes, which is not empty"));
                None
            }
        }
    }

    fn name(&mut self, list: &str) -> String {
        if !self.fields.contains_key("name") {
            self.complain("name", format!("is missing; each [[{list}]] needs one"));
        }
        let name = self.text("name").unwrap_or_default();
        self.set("name", show::quoted(&name));
        name
    }

    fn table(&mut self, key: &str) -> Option<Dict> {
        let raw = self.raw(key)?;
        match raw.value {
            Value::Dict(_, table) if show::date(&table).is_none() => Some(table),
            _ => {
                self.complain(key, raw.but_takes("a table"));
                None
            }
        }
    }
}

pub(crate) fn sources(reader: &mut Reader) -> Vec<Source> {
    let read = |mut entry: Entry<'_>| {
        let name = entry.name(keys::SOURCE);
        let durable = match entry.raw("durable") {
            None => true,
            Some(Raw { value: Value::Bool(_, durable), .. }) => durable,
            Some(raw) => {
                entry.complain("durable", raw.but_takes("true or false"));
                true
            }
        };
        entry.set("durable", durable.to_string());
        Source { name, durable }
    };
    each(reader, keys::SOURCE, keys::SOURCE_KEYS, read).unwrap_or_default()
}

pub(crate) fn plugins(reader: &mut Reader) -> Option<Vec<Plugin>> {
    each(reader, keys::PLUGIN, keys::PLUGIN_KEYS, |mut entry| {
        let name = entry.name(keys::PLUGIN);
        let kind = entry.text("kind").unwrap_or_else(|| name.clone());
        entry.set("kind", show::quoted(&kind));

        let mut sources = BTreeMap::new();
        for (declared, actual) in entry.table("sources").unwrap_or_default() {
            if let Some(actual) = actual.as_str() {
                sources.insert(declared, actual.to_owned());
            } else {
                let problem = Raw { value: actual, form: Form::Toml }.but_takes("a source's name in quotes");
                entry.complain(&format!("sources.{declared}"), problem);
            }
        }
        if !sources.is_empty() {
            entry.set("sources", show::table(&serde_json::json!(sources)));
        }

        let output = entry.raw("output").and_then(|raw| match raw.value.as_str() {
            Some("durable") => Some(Durability::Durable),
            Some("volatile") => Some(Durability::Volatile),
            _ => {
                entry.complain("output", raw.but_takes("\"durable\" or \"volatile\""));
                None
            }
        });
        if let Some(output) = output {
            let shown = if output == Durability::Durable { "durable" } else { "volatile" };
            entry.set("output", show::quoted(shown));
        }

        let config = match entry.table("config") {
            Some(table) => json(&mut entry, "config", Value::from(table)),
            None => serde_json::Value::Null,
        };
        if !config.is_null() {
            entry.set("config", show::table(&config));
        }
        Plugin { name, kind, sources, output, config }
    })
}

fn each<T>(
    reader: &mut Reader,
    list: &str,
    known: &[&str],
    mut read: impl FnMut(Entry<'_>) -> T,
) -> Option<Vec<T>> {
    let entries = reader.list(list)?;
    let mut taken = Vec::new();
    for (index, (value, origin)) in entries.into_iter().enumerate() {
        let Value::Dict(_, fields) = value else {
            let problem = Raw { value, form: Form::Toml }.but_takes(format_args!("a table: [[{list}]]"));
            reader.complain(&origin, format!("{list}[{index}]"), problem);
            continue;
        };
        let name =
            fields.get("name").and_then(Value::as_str).filter(|name| name.len() <= 64 && show::is_bare(name));
        let mut path = name.map_or_else(|| format!("{list}[{index}]"), |name| format!("{list}.{name}"));
        if reader.settings.iter().any(|setting| setting.key == format!("{path}.name")) {
            path = format!("{list}[{index}]");
        }
        let mut entry = Entry { reader, path, origin, fields };
        let unknown: Vec<String> =
            entry.fields.keys().filter(|key| !known.contains(&key.as_str())).cloned().collect();
        for key in unknown {
            entry.complain(&key, keys::unknown_in(known, &key));
        }
        taken.push(read(entry));
    }
    Some(taken)
}

/// A plugin's table as JSON, which is what plugins read theirs from; a date becomes its text.
fn json(entry: &mut Entry<'_>, path: &str, value: Value) -> serde_json::Value {
    match value {
        Value::Dict(_, table) => {
            if let Some(date) = show::date(&table) {
                return date.into();
            }
            let field = |(key, value): (String, Value)| {
                let value = json(entry, &format!("{path}.{}", show::key(&key)), value);
                (key, value)
            };
            serde_json::Value::Object(table.into_iter().map(field).collect())
        }
        Value::Array(_, items) => items.into_iter().map(|item| json(entry, path, item)).collect(),
        Value::String(_, text) => text.into(),
        Value::Char(_, c) => c.to_string().into(),
        Value::Bool(_, value) => value.into(),
        Value::Empty(..) => serde_json::Value::Null,
        Value::Num(_, number) => {
            let whole = number.to_i128().and_then(|number| i64::try_from(number).ok());
            let number = match whole {
                Some(number) => Some(number.into()),
                None => number.to_f64().and_then(serde_json::Number::from_f64),
            };
            let Some(number) = number else {
                entry.complain(path, "takes a finite number");
                return serde_json::Value::Null;
            };
            serde_json::Value::Number(number)
        }
    }
}
