//! The environment's variables. Any of them may be a secret, so there is no `Debug`.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use crate::section::VARIABLE_PREFIX;

#[derive(Clone, Default)]
pub(crate) struct Variables(BTreeMap<String, SecretString>);

impl Variables {
    pub(crate) fn extend(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        self.0.extend(variables.into_iter().map(|(name, value)| (name, SecretString::from(value))));
    }

    pub(crate) fn get(&self, name: &str) -> Option<&SecretString> {
        self.0.get(name)
    }

    /// The variables that start with `TEAMMY_`, by name.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        let settings = self.0.iter().filter(|(name, _)| name.starts_with(VARIABLE_PREFIX));
        settings.map(|(name, value)| (name.as_str(), value.expose_secret()))
    }
}
