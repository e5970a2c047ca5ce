//! Takes keys out of the merged layers, one by one, as what they must be.
//!
//! A value that is wrong is noted and the default stands in for it, so that one run finds every mistake; the
//! caller throws the result away if there were any. A reader that [describes](Reader::describing) writes down
//! what is asked of it instead: that is the reference.

use figment::{Figment, value::Value};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    asked::{Asked, Fallback},
    error::Problem,
    layer::Layer,
    takes::{Raw, Takes},
    variables::Variables,
};

/// A key as it stands, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Setting {
    /// The key, such as `hooks.tries`; for an instance `plugin.NAME.KEY`. A model's `llm.model.NAME.api_key`
    /// is no key that can be written: it says whether the variable that `api_key_env` names is set.
    pub key: String,
    /// Its value as TOML writes it, on one line; a secret is `"********"`.
    pub value: String,
    /// Where it comes from: `default`, a file, or `environment variable NAME`.
    pub origin: String,
}

pub(crate) struct Reader {
    defaults: Figment,
    merged: Figment,
    variables: Variables,
    pub(crate) problems: Vec<Problem>,
    pub(crate) settings: Vec<Setting>,
    asked: Option<Vec<Asked>>,
}

impl Reader {
    pub(crate) fn new(
        defaults: Figment,
        merged: Figment,
        variables: Variables,
        problems: Vec<Problem>,
    ) -> Self {
        Self { defaults, merged, variables, problems, settings: Vec::new(), asked: None }
    }

    /// Reads the defaults alone, and the tables of lists as if there were an empty one of each.
    pub(crate) fn describing(defaults: Figment) -> Self {
        let mut reader = Self::new(defaults.clone(), defaults, Variables::default(), Vec::new());
        reader.asked = Some(Vec::new());
        reader
    }

    pub(crate) fn is_describing(&self) -> bool {
        self.asked.is_some()
    }

    /// What was asked, in order.
    pub(crate) fn into_asked(self) -> Vec<Asked> {
        self.asked.unwrap_or_default()
    }

    pub(crate) fn note(&mut self, key: impl Into<String>, takes: impl Into<String>, fallback: Fallback) {
        if let Some(asked) = &mut self.asked {
            asked.push(Asked { key: key.into(), takes: takes.into(), fallback });
        }
    }

    /// A key for which `default.toml` holds a value.
    pub(crate) fn take<T: Takes>(&mut self, key: &str, takes: &T) -> T::Value {
        let default = find(&self.defaults, key).and_then(|(raw, _)| takes.read(&raw).ok());
        let default =
            default.unwrap_or_else(|| unreachable!("invariant: default.toml holds a value for {key}"));
        self.note(key, takes.describe(), Fallback::Value(takes.show(&default)));
        self.given(key, takes).unwrap_or(default)
    }

    /// A key for which the default is found at run time; these words say how.
    pub(crate) fn take_or<T: Takes>(
        &mut self,
        key: &str,
        takes: &T,
        default: T::Value,
        words: impl Into<String>,
    ) -> T::Value {
        self.note(key, takes.describe(), Fallback::Words(words.into()));
        self.given(key, takes).unwrap_or_else(|| {
            self.set(key, takes.show(&default), "default");
            default
        })
    }

    /// A key that may be missing; a text that is blank is missing.
    pub(crate) fn take_optional<T: Takes>(
        &mut self,
        key: &str,
        takes: &T,
        fallback: Fallback,
    ) -> Option<T::Value> {
        self.note(key, takes.describe(), fallback);
        if let Some((raw, origin)) = find(&self.merged, key)
            && takes.is_none(&raw)
        {
            self.set(key, NOTHING.to_owned(), &origin);
            return None;
        }
        let value = self.given(key, takes);
        if value.is_none() {
            self.set(key, NOTHING.to_owned(), "default");
        }
        value
    }

    /// The entries of a list of tables, each with its origin; `None` if the list is not there at all.
    pub(crate) fn list(&mut self, key: &str) -> Option<Vec<(Value, String)>> {
        let (raw, origin) = find(&self.merged, key)?;
        let Value::Array(_, entries) = raw.value else {
            let problem = raw.but_takes(format_args!("a list of tables: [[{key}]]"));
            self.complain(&origin, key, problem);
            return None;
        };
        Some(entries.into_iter().map(|entry| (entry, origin.clone())).collect())
    }

    /// What an environment variable of any name holds, without blanks around it; none if that is nothing.
    pub(crate) fn variable(&self, name: &str) -> Option<SecretString> {
        let value = self.variables.get(name)?.expose_secret().trim();
        (!value.is_empty()).then(|| SecretString::from(value))
    }

    pub(crate) fn complain(&mut self, origin: &str, key: impl Into<String>, problem: impl Into<String>) {
        self.problems.push(Problem::new(origin, key, problem));
    }

    /// Complains about a key by what is merged, where it is wrong beside another.
    pub(crate) fn complain_about(&mut self, key: &str, problem: impl Into<String>) {
        let origin = find(&self.merged, key).map_or_else(|| "default".to_owned(), |(_, origin)| origin);
        self.complain(&origin, key, problem);
    }

    /// Notes a key as it stands, in the place of what was noted before.
    pub(crate) fn set(&mut self, key: impl Into<String>, value: String, origin: &str) {
        let setting = Setting { key: key.into(), value, origin: origin.to_owned() };
        match self.settings.iter_mut().find(|noted| noted.key == setting.key) {
            Some(noted) => *noted = setting,
            None => self.settings.push(setting),
        }
    }

    /// The key's value, where it is given and right.
    fn given<T: Takes>(&mut self, key: &str, takes: &T) -> Option<T::Value> {
        let (raw, origin) = find(&self.merged, key)?;
        match takes.read(&raw) {
            Ok(value) => {
                self.set(key, takes.show(&value), &origin);
                Some(value)
            }
            Err(problem) => {
                self.complain(&origin, key, problem);
                None
            }
        }
    }
}

/// How a key shows that has no value.
const NOTHING: &str = "\"\"";

fn find(figment: &Figment, key: &str) -> Option<(Raw, String)> {
    let value = figment.find_value(key).ok()?;
    let (origin, form) = Layer::origin(figment.get_metadata(value.tag()));
    Some((Raw { value, form }, origin))
}
