//! The configuration's tables and keys as data.

/// What every variable's name starts with.
pub(crate) const VARIABLE_PREFIX: &str = "TEAMMY_";

/// A table of the configuration, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Section {
    /// Its header as TOML writes it: `[hooks]`, or `[[plugin]]` for a list.
    pub header: String,
    /// What it is for, in Markdown.
    pub description: String,
    /// Its keys, in the order in which they are best read.
    pub keys: Vec<Key>,
}

/// A key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Key {
    /// Its name in its table.
    pub name: String,
    /// The environment variable that sets it; none for a list's keys, which are set in a file only.
    pub variable: Option<String>,
    /// What it takes: its type, and the range where there is one.
    pub takes: String,
    /// What holds where it is not given.
    pub fallback: Fallback,
    /// A value as TOML writes it, for a key that has no fixed default.
    pub example: Option<String>,
    /// What it means, in Markdown.
    pub description: String,
}

/// What holds where a key is not given.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fallback {
    /// It must be given.
    Required,
    /// Nothing.
    None,
    /// This value, as TOML writes it.
    Value(String),
    /// What these words say, since it depends on the machine or on other keys.
    Words(String),
}

impl Section {
    /// The table's own path: `hooks`, `llm.model`.
    pub(crate) fn path(&self) -> &str {
        self.header.trim_matches(['[', ']'])
    }

    pub(crate) fn is_list(&self) -> bool {
        self.header.starts_with("[[")
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.name.as_str())
    }

    /// The paths of the keys: `hooks.tries`.
    pub(crate) fn paths(&self) -> impl Iterator<Item = String> {
        self.names().map(|name| format!("{}.{name}", self.path()))
    }
}

/// The variable that sets a key.
pub(crate) fn variable(path: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", path.to_uppercase().replace('.', "__"))
}
