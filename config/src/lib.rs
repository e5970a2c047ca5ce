//! The configuration: read once, checked once, and a plain value from then on.
//!
//! [`Loader`] merges the defaults, then a file, then `TEAMMY_…` variables. The result is a [`Config`] whose
//! values are in range. An error reports every mistake, each with the file or variable, the key, and what
//! would be right. A `TEAMMY_…` variable that another program may have set is ignored, with a warning. No message and no `Debug` holds a secret.
//!
//! This crate depends on no other crate of Teammy. The plugin graph checks whether plugins and sources exist.

mod cluster;
pub mod database;
mod error;
mod known_keys;
mod layer;
mod lists;
mod llm;
mod loader;
mod places;
mod reader;
pub mod reference;
mod section;
mod sections;
mod service;
mod show;
mod size;
mod socket;
mod table;
mod traces;
mod value_type;
mod variables;

pub use cluster::Cluster;
pub use error::{DataDirectoryError, Error, Problem};
pub use lists::{DeliveryPolicyConfig, Durability, InstanceConfig, Source};
pub use llm::{
    AnswerLimit, ApiKey, BaseUrl, BaseUrlError, BudgetScope, BudgetWindow, JsonMode, Llm, LlmBudget,
    LlmModel, MaxTokensField, Price, SystemRole, TemperatureMode, Usd,
};
pub use loader::{Loaded, Loader};
pub use reader::Setting;
pub use sections::{
    Config, Database, Delivery, Hooks, Install, Limits, Log, LogFormat, MeetingSettings, Metrics, Node,
    Quota, Restart,
};
pub use service::Service;
pub use size::{ParseSizeError, Size};
pub use socket::Socket;
pub use traces::{CollectorUrl, CollectorUrlError, Traces};
pub use variables::IgnoredVariables;

pub use secrecy::{ExposeSecret, SecretString};

/// Every key with its meaning and its default, as a file: the text of `default.toml`, which is made by
/// [`reference::toml`].
pub const REFERENCE: &str = include_str!("../default.toml");
