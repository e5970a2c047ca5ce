//! The merged layers while they are read: values with their origins, and what was found in them.

use std::collections::BTreeMap;

use figment::{
    Figment, Profile, Provider,
    value::{Dict, Value},
};
use secrecy::{ExposeSecret, SecretString};

use crate::{error::Problem, layer::Layer};

/// The environment's variables by name. Any of them may be a secret.
pub(crate) type Variables = BTreeMap<String, SecretString>;

/// A key with the value that holds, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Setting {
    /// The key, such as `hooks.tries`; for an instance `plugin.NAME.KEY`. A model's `llm.model.NAME.api_key`
    /// is no key of a file: it shows whether the variable that `api_key_env` names is set.
    pub key: String,
    /// Its value as TOML writes it, on one line; a secret is `"********"`.
    pub value: String,
    /// Where the value comes from: `default`, a file, or `environment variable NAME`.
    pub origin: String,
}

pub(crate) struct Reader {
    merged: Figment,
    values: Dict,
    variables: Variables,
    /// Every mistake so far. If there is any, the caller throws away what was read.
    pub(crate) problems: Vec<Problem>,
    /// Every key that was read, in order.
    pub(crate) settings: Vec<Setting>,
}

impl Reader {
    pub(crate) fn new(merged: Figment, variables: Variables, problems: Vec<Problem>) -> Self {
        let values = merged.data().ok().and_then(|mut profiles| profiles.remove(&Profile::Default));
        Self { merged, values: values.unwrap_or_default(), variables, problems, settings: Vec::new() }
    }

    /// The value at a path such as `hooks.tries`.
    pub(crate) fn find(&self, path: &str) -> Option<&Value> {
        let mut parts = path.split('.');
        let first = self.values.get(parts.next()?);
        parts.fold(first, |value, part| value?.as_dict()?.get(part))
    }

    /// The origin of a value, and whether it is untyped.
    pub(crate) fn origin(&self, value: &Value) -> (String, bool) {
        Layer::origin(self.merged.get_metadata(value.tag()))
    }

    /// The value of any environment variable, without spaces around it; none if it is blank.
    pub(crate) fn variable(&self, name: &str) -> Option<SecretString> {
        let value = self.variables.get(name)?.expose_secret().trim();
        (!value.is_empty()).then(|| SecretString::from(value))
    }

    pub(crate) fn complain(&mut self, origin: &str, key: impl Into<String>, problem: impl Into<String>) {
        self.problems.push(Problem::new(origin, key, problem));
    }

    /// Notes a mistake about a key whose value is wrong beside another's.
    pub(crate) fn complain_about(&mut self, key: &str, problem: impl Into<String>) {
        let origin = self.find(key).map_or_else(|| "default".to_owned(), |value| self.origin(value).0);
        self.complain(&origin, key, problem);
    }

    /// Notes the value of a key, in place of one that was noted before.
    pub(crate) fn set(&mut self, key: impl Into<String>, value: String, origin: &str) {
        let setting = Setting { key: key.into(), value, origin: origin.to_owned() };
        match self.settings.iter_mut().find(|noted| noted.key == setting.key) {
            Some(noted) => *noted = setting,
            None => self.settings.push(setting),
        }
    }
}
