//! One table of a list, while it is read.

use figment::value::{Dict, Value};
use secrecy::SecretString;

use crate::{
    asked::Fallback,
    keys::{self, List},
    layer::Form,
    reader::Reader,
    show,
    takes::{Raw, Takes},
};

pub(crate) struct Entry<'r> {
    reader: &'r mut Reader,
    list: &'static List,
    /// What its keys are called in messages and settings: `plugin.minutes`, or `plugin[0]` where the name is
    /// no help.
    path: String,
    origin: String,
    fields: Dict,
}

impl Entry<'_> {
    pub(crate) fn complain(&mut self, key: &str, problem: impl Into<String>) {
        let path = format!("{}.{}", self.path, show::cut(key));
        self.reader.complain(&self.origin, path, problem);
    }

    /// Notes a key as it stands.
    pub(crate) fn set(&mut self, key: &str, value: String) {
        let origin = if self.fields.contains_key(key) { self.origin.as_str() } else { "default" };
        self.reader.set(format!("{}.{key}", self.path), value, origin);
    }

    /// The key that the table must have: its name. Empty where it is missing or wrong.
    pub(crate) fn name(&mut self, takes: &impl Takes<Value = String>) -> String {
        if !self.fields.contains_key("name") {
            self.complain("name", format!("is missing; each [[{}]] needs one", self.list.path));
        }
        self.take("name", takes, Fallback::Required).unwrap_or_default()
    }

    /// A key that may be missing.
    pub(crate) fn take<T: Takes>(&mut self, key: &str, takes: &T, fallback: Fallback) -> Option<T::Value> {
        self.note(key, takes.describe(), fallback);
        let read = takes.read(&self.raw(key)?);
        match read {
            Ok(value) => {
                self.set(key, takes.show(&value));
                Some(value)
            }
            Err(problem) => {
                self.complain(key, problem);
                None
            }
        }
    }

    /// A key with a default.
    pub(crate) fn take_or<T: Takes>(&mut self, key: &str, takes: &T, default: T::Value) -> T::Value {
        let fallback = Fallback::Value(takes.show(&default));
        self.take(key, takes, fallback).unwrap_or_else(|| self.otherwise(key, takes, default))
    }

    /// A key whose default is another key's value; these words say whose.
    pub(crate) fn take_or_other<T: Takes>(
        &mut self,
        key: &str,
        takes: &T,
        default: T::Value,
        words: &str,
    ) -> T::Value {
        let fallback = Fallback::Words(words.to_owned());
        self.take(key, takes, fallback).unwrap_or_else(|| self.otherwise(key, takes, default))
    }

    /// A table within, which may be missing.
    pub(crate) fn table(&mut self, key: &str, words: &str) -> Option<Dict> {
        self.note(key, words, Fallback::None);
        let raw = self.raw(key)?;
        match raw.value {
            Value::Dict(_, table) if show::date(&table).is_none() => Some(table),
            _ => {
                self.complain(key, raw.but_takes("a table"));
                None
            }
        }
    }

    /// What an environment variable holds, noted as if it were this key's value, but not shown.
    pub(crate) fn secret(&mut self, key: &str, variable: &str) -> Option<SecretString> {
        let secret = self.reader.variable(variable);
        let origin = format!("environment variable {variable}");
        let (value, origin) = match secret {
            Some(_) => (show::MASK.to_owned(), origin),
            None => (show::quoted(""), format!("{origin}, which is not set")),
        };
        self.reader.set(format!("{}.{key}", self.path), value, &origin);
        secret
    }

    fn raw(&self, key: &str) -> Option<Raw> {
        self.fields.get(key).map(|value| Raw { value: value.clone(), form: Form::Toml })
    }

    fn note(&mut self, key: &str, takes: impl Into<String>, fallback: Fallback) {
        self.reader.note(format!("{}.{key}", self.list.path), takes, fallback);
    }

    fn otherwise<T: Takes>(&mut self, key: &str, takes: &T, default: T::Value) -> T::Value {
        self.set(key, takes.show(&default));
        default
    }
}

/// Reads each table of a list; `None` if the list is not there at all.
pub(crate) fn each<T>(
    reader: &mut Reader,
    list: &'static List,
    mut read: impl FnMut(Entry<'_>) -> T,
) -> Option<Vec<T>> {
    if reader.is_describing() {
        read(Entry { reader, list, path: String::new(), origin: String::new(), fields: Dict::new() });
        return None;
    }
    let entries = reader.list(list.path)?;
    let mut taken = Vec::new();
    for (index, (value, origin)) in entries.into_iter().enumerate() {
        let Value::Dict(_, fields) = value else {
            let problem =
                Raw { value, form: Form::Toml }.but_takes(format_args!("a table: [[{}]]", list.path));
            reader.complain(&origin, format!("{}[{index}]", list.path), problem);
            continue;
        };
        let path = path(reader, list, index, fields.get("name").and_then(Value::as_str));
        let mut entry = Entry { reader, list, path, origin, fields };
        let unknown: Vec<String> =
            entry.fields.keys().filter(|key| !list.keys.contains(&key.as_str())).cloned().collect();
        for key in unknown {
            entry.complain(&key, keys::unknown_in(list, &key));
        }
        taken.push(read(entry));
    }
    Some(taken)
}

/// What a table is called: by its name where that is short and not taken, and by its place elsewhere.
fn path(reader: &Reader, list: &List, index: usize, name: Option<&str>) -> String {
    let by_place = format!("{}[{index}]", list.path);
    let name = name.map(str::trim).filter(|name| !name.is_empty());
    let Some(name) = name.filter(|name| name.len() <= 64 && !name.contains(char::is_control)) else {
        return by_place;
    };
    let by_name = format!("{}.{}", list.path, show::key(name));
    let is_taken = reader.settings.iter().any(|setting| setting.key == format!("{by_name}.name"));
    if is_taken { by_place } else { by_name }
}
