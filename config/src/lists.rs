//! `[[source]]` and `[[plugin]]`: what a file lists.

use std::{collections::BTreeMap, fmt};

use figment::value::Value;

use crate::{
    asked::Fallback,
    entry::{Entry, each},
    keys,
    layer::Form,
    reader::Reader,
    show,
    takes::{Flag, OneOf, Raw, Text},
};

/// Whether packets are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Each is committed to the store.
    Durable,
    /// They live in memory only.
    Volatile,
}

const DURABILITY: OneOf<Durability> =
    OneOf(&[("durable", Durability::Durable), ("volatile", Durability::Volatile)]);

/// What becomes of a source's packets while an instance is busy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// They are read from the store later.
    Spill,
    /// The oldest are lost.
    DropOldest,
    /// The newest of each key is left. The key is `participant`, or a JSON pointer.
    Latest(String),
    /// Who publishes them waits.
    Block,
}

impl Policy {
    const WORDS: [(&'static str, Self); 3] =
        [("spill", Self::Spill), ("drop-oldest", Self::DropOldest), ("block", Self::Block)];
    const DESCRIPTION: &'static str = "\"spill\", \"drop-oldest\", \"block\" or { latest = \"participant\" }, \
        where a JSON pointer such as \"/segment/id\" can stand for the participant";

    fn read(value: &Value) -> Option<Self> {
        if let Some(text) = value.as_str() {
            return Self::WORDS.into_iter().find(|(word, _)| *word == text).map(|(_, policy)| policy);
        }
        let Value::Dict(_, table) = value else { return None };
        let key = table.get("latest").filter(|_| table.len() == 1)?.as_str()?;
        (key == "participant" || key.starts_with('/')).then(|| Self::Latest(key.to_owned()))
    }

    fn json(&self) -> serde_json::Value {
        match self {
            Self::Latest(key) => serde_json::json!({"latest": key}),
            plain => Self::WORDS.iter().find(|(_, policy)| policy == plain).map(|(word, _)| *word).into(),
        }
    }
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
    /// What becomes of packets while it is busy, by the source as the plugin calls it; the others are as the
    /// plugin or the source has it.
    pub delivery: BTreeMap<String, Policy>,
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
            .field("delivery", &self.delivery)
            .field("output", &self.output)
            .field("config", &format_args!("{}", show::table(&self.config)))
            .finish()
    }
}

pub(crate) fn sources(reader: &mut Reader) -> Vec<Source> {
    let read = |mut entry: Entry<'_>| Source {
        name: entry.name(&Text),
        durable: entry.take_or("durable", &Flag, true),
    };
    each(reader, &keys::SOURCE, read).unwrap_or_default()
}

pub(crate) fn plugins(reader: &mut Reader) -> Option<Vec<Plugin>> {
    each(reader, &keys::PLUGIN, |mut entry| {
        let name = entry.name(&Text);
        let kind = entry.take_or_other("kind", &Text, name.clone(), "its name");

        let mut sources = BTreeMap::new();
        for (declared, actual) in entry.table("sources", "table of sources' names").unwrap_or_default() {
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

        let mut delivery = BTreeMap::new();
        for (source, policy) in entry.table("delivery", "table of sources' policies").unwrap_or_default() {
            if let Some(policy) = Policy::read(&policy) {
                delivery.insert(source, policy);
            } else {
                let problem = Raw { value: policy, form: Form::Toml }.but_takes(Policy::DESCRIPTION);
                entry.complain(&format!("delivery.{source}"), problem);
            }
        }
        if !delivery.is_empty() {
            let shown: serde_json::Map<_, _> =
                delivery.iter().map(|(source, policy)| (source.clone(), policy.json())).collect();
            entry.set("delivery", show::table(&shown.into()));
        }

        let output = entry.take("output", &DURABILITY, Fallback::Words("what the plugin says".to_owned()));

        let config = match entry.table("config", "table, as its plugin defines it") {
            Some(table) => json(&mut entry, "config", Value::from(table)),
            None => serde_json::Value::Null,
        };
        if !config.is_null() {
            entry.set("config", show::table(&config));
        }
        Plugin { name, kind, sources, delivery, output, config }
    })
}

/// A table as JSON, which is what plugins read theirs from; a date becomes its text.
pub(crate) fn json(entry: &mut Entry<'_>, path: &str, value: Value) -> serde_json::Value {
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
