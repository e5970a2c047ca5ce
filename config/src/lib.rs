//! The configuration: read once, checked once, and from there on a plain value.
//!
//! Defaults (`default.toml`, embedded), then a file, then `TEAMMY_…` variables are merged by [`Loader`]; what
//! comes out is a [`Config`] whose values are in range. Every mistake is reported, not only the first, each
//! with the file or variable, the key, and what would be right. Secrets are in no message and no `Debug`.
//!
//! This crate knows no other of Teammy's: whether a plugin or a source exists is for the plugin graph to say.

mod asked;
pub mod database;
mod entry;
mod error;
mod install;
mod keys;
mod layer;
mod lists;
mod llm;
mod loader;
mod places;
mod reader;
pub mod reference;
mod sections;
mod show;
mod size;
mod socket;
mod takes;
mod variables;

pub use error::{DataDirectoryError, Error, Problem};
pub use install::Install;
pub use lists::{Durability, Plugin, Policy, Source};
pub use llm::{ApiKey, BaseUrl, BaseUrlError, Llm, LlmModel};
pub use loader::{Loaded, Loader};
pub use reader::Setting;
pub use sections::{Config, Database, Delivery, Hooks, Limits, Log, Meeting, Metrics, Node, Restart};
pub use size::{ParseSizeError, Size};
pub use socket::Socket;

pub use secrecy::{ExposeSecret, SecretString};

/// Every key with its meaning and its default: the text of `default.toml`, for people to read and copy.
pub const REFERENCE: &str = include_str!("../default.toml");
