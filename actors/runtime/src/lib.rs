//! The kernel at run time, on ractor: node, meeting, instance and persistence actors. It knows stores, language
//! models and other nodes' meetings by traits only; the builder of a node says how they are opened.
//!
//! ```text
//! node ─┬─ persistence ─→ store
//!       └─ meeting (one each) ─┬─ instance
//!                              └─ instance
//! ```
//!
//! The modules form layers; each uses only those below it:
//!
//! | layer | modules |
//! |---|---|
//! | operating a node | `control` (the local socket), `admin` (the verbs), `install` |
//! | node | `node` |
//! | meeting | `meeting` |
//! | instance | `instance` |
//! | services | `resources`, `persistence`, `settings`, `metrics`, `memory`, `keys` |
//! | ground | `clock`, `sync`, `kill_points` |
//!
//! Handles ([`Node`], [`MeetingRef`]) are the only way in. No `ActorRef` and no ractor type shows outside this
//! crate.

pub mod admin;
mod clock;
#[cfg(unix)]
pub mod control;
pub mod install;
mod instance;
pub mod keys;
#[doc(hidden)]
pub mod kill_points;
pub mod meeting;
mod memory;
pub mod metrics;
pub mod node;
mod persistence;
mod resources;
mod settings;
mod sync;

pub use instance::InstanceStats;
pub use meeting::{MeetingRef, MeetingStats, Packets, Receipt, Receipts};
pub use node::{Builder, Node};
pub use teammy_kernel::PublishError;
