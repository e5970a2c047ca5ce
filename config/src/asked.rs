//! What is asked for when a configuration is read: the reference is made of that.

/// What was asked for: a key, what it takes, and what holds without it.
pub(crate) struct Asked {
    pub(crate) key: String,
    pub(crate) takes: String,
    pub(crate) fallback: Fallback,
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
