//! The kernel at run time, on ractor: node, meeting, plugin, persistence and language model actors.
//!
//! ```text
//! node ─┬─ persistence ─→ store
//!       ├─ llm ─→ language models
//!       └─ meeting (one each) ─┬─ plugin instance
//!                              └─ plugin instance
//! ```
//!
//! Every folder is an actor (or two): its module says who supervises it, which messages it takes and what always holds.
//! Handles ([`Node`], [`MeetingRef`]) are the only way in; no `ActorRef` and no ractor type shows outside this crate.

mod clock;
#[cfg(unix)]
pub mod control;
pub mod install;
#[doc(hidden)]
pub mod kill_points;
pub mod llm;
pub mod logs;
pub mod meeting;
mod memory;
pub mod metrics;
pub mod node;
#[cfg(feature = "openai")]
mod openai;
mod persistence;
mod plugin;
#[cfg(feature = "surrealdb")]
pub mod surreal;

pub use meeting::{InstanceStats, MeetingRef, MeetingStats, Packets, PublishError, Receipt, Receipts};
pub use node::{Builder, Node, open_store};
