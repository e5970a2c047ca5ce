//! What is known about the configuration's tables and keys.

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
    /// `about` is the text of a doc comment, by line; so are the descriptions of the keys.
    pub(crate) fn new(header: &str, about: &[&str], mut keys: Vec<Key>) -> Self {
        let mut section = Self { header: header.to_owned(), description: text(about), keys: Vec::new() };
        if !section.is_list() {
            for key in &mut keys {
                key.variable = Some(variable(&section.path_of(&key.name)));
            }
        }
        section.keys = keys;
        section
    }

    /// The table's own path: `hooks`, `llm.model`.
    pub(crate) fn path(&self) -> &str {
        self.header.trim_matches(['[', ']'])
    }

    /// The path of one of its keys: `hooks.tries`.
    pub(crate) fn path_of(&self, key: &str) -> String {
        format!("{}.{key}", self.path())
    }

    pub(crate) fn is_list(&self) -> bool {
        self.header.starts_with("[[")
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.name.as_str())
    }
}

impl Key {
    pub(crate) fn new(
        name: &str,
        takes: String,
        fallback: Fallback,
        example: Option<String>,
        description: &[&str],
    ) -> Self {
        let description = text(description);
        Self { name: name.to_owned(), variable: None, takes, fallback, example, description }
    }
}

/// The text of a doc comment: its lines without the space that each starts with.
fn text(lines: &[&str]) -> String {
    lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// The variable that sets a key.
pub(crate) fn variable(path: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", path.to_uppercase().replace('.', "__"))
}
