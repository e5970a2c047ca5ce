//! The runtime that hosts in-call plugins for online meetings.
//!
//! A meeting is an ordered, durable log. Plugins subscribe to its sources; their outputs go into the same
//! log, where other plugins can take them. A plugin's position in the log, its state and its outputs are
//! stored together, so that a crash at any moment loses no acknowledged packet and repeats no stored output.
//!
//! This crate is the façade: start a [`Node`] with a configuration and plugins, start a meeting, publish to
//! it, read its outputs.
//!
//! ```
//! use futures::StreamExt;
//! use teammy::{MeetingId, MeetingMetadata, Node, Publish, config::Config, data::Transcription};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::from_toml(r#"
//!     database.url = "mem://"
//!     [[plugin]]
//!     name = "talk-time"
//! "#)?;
//! let node = Node::builder(config).plugins(teammy::plugins::bundle()).start().await?;
//! let meeting = node.start_meeting(MeetingMetadata::new(MeetingId::new("standup")?), ["talk-time"]).await?;
//!
//! let said = Publish::json("transcription", &Transcription::new("good morning", 0, 900))?.participant("Ada");
//! let receipt = meeting.publish(said).await?;
//! receipt.durable().await?;
//!
//! meeting.end().await?;
//! let outputs: Vec<_> = meeting.outputs().collect().await;
//! assert_eq!(outputs.len(), 1);
//! node.shutdown(std::time::Duration::from_secs(5)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The library installs no subscriber, no panic hook and no signal handler, and has no global state: two
//! nodes can run in one process.

// The program's modules name this crate as any program does.
#[cfg(feature = "cli")]
extern crate self as teammy;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cluster")]
pub mod cluster;
mod error;
pub mod logs;
pub mod node;
mod report;

pub use error::{Classified, Error};
pub use node::{Builder, Node, open_store};
pub use report::Report;
pub use teammy_config as config;
pub use teammy_kernel::{
    Ask, Audio, Batch, Budget, Budgets, Bytes, Caller, Charges, Cx, DataPacket, DataType, Datastore,
    DecodeError, DeliveryPolicy, Deltas, Durability, EmbedRequest, Embeddings, EncodeError, ErrorClass,
    ErrorKind, Factory, Finish, FromPacket, History, Hooks, InCallPlugin, InCallPluginMetadata, IntoPayload,
    Json, JsonText, Key, Lifecycle, Llm, LlmError, LlmFormat, LlmMessage, LlmProvider, LlmRequest,
    LlmResponse, MalformedJson, MeetingEngine, MeetingId, MeetingMetadata, Meter, Model, Name, NanoUsd,
    Payload, PersistenceProvider, Priority, Producer, Publish, PublishError, Receive, Role, Seq, Setup,
    ShutdownCx, Spend, Spoken, StartupCx, Store, TextStream, Tick, Timestamp, Tool, ToolCall, Transcribe,
    TranscribeRequest, Transcript, Usage, Wake, chain, data, decode, graph, log::JoinAt, name, packet, store,
};
pub use teammy_llm as llm;
pub use teammy_runtime::admin;
#[cfg(unix)]
pub use teammy_runtime::control;
pub use teammy_runtime::keys;
#[doc(hidden)]
#[cfg(feature = "kill-points")]
pub use teammy_runtime::kill_points;
pub use teammy_runtime::{
    InstanceStats, MeetingRef, MeetingStats, Packets, Receipt, Receipts, install, meeting, metrics,
};
#[cfg(feature = "service")]
pub use teammy_service as service;

/// The error of a plugin's hooks; and plugins whose name and hooks are known at run time only, for a host of
/// plugins in another language.
pub mod plugin {
    pub use teammy_kernel::{
        Error,
        plugin::{
            ConfigError, DynamicCx, DynamicInstance, DynamicPlugin, DynamicRun, DynamicSpec, Hook, PluginHost,
        },
    };
}

/// The forms in which packets enter and leave a process.
pub mod wire {
    pub use teammy_kernel::wire::json;
}

/// The plugins of this build.
pub mod plugins {
    pub use teammy_plugins::*;
}
