//! The kernel at run time, on ractor: node, meeting, plugin and persistence actors. Of stores and language
//! models it knows the traits only; whoever builds a node says how they are opened.
//!
//! ```text
//! node ─┬─ persistence ─→ store
//!       └─ meeting (one each) ─┬─ plugin instance
//!                              └─ plugin instance
//! ```
//!
//! Every folder is an actor (or two): its module says who supervises it, which messages it takes and what
//! always holds. Handles ([`Node`], [`MeetingRef`]) are the only way in; no `ActorRef` and no ractor type
//! shows outside this crate.

mod clock;
#[cfg(unix)]
pub mod control;
pub mod install;
mod instance;
#[doc(hidden)]
pub mod kill_points;
pub mod meeting;
mod memory;
pub mod metrics;
pub mod node;
mod persistence;

pub use meeting::{InstanceStats, MeetingRef, MeetingStats, Packets, PublishError, Receipt, Receipts};
pub use node::{Builder, Node};
