//! The engine: a plugin's only way to the rest of the system.

pub(crate) mod datastore;
pub(crate) mod history;
pub(crate) mod llm;
pub(crate) mod meeting;
pub(crate) mod provider;
