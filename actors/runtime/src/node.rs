//! A node: it runs meetings.
//!
//! The node's actor supervises the persistence actor and the meetings. It does little else: it takes a meeting
//! that ends or fails off the list, and fails the waiters of one that failed.

mod actor;
mod beginnings;
mod builder;
mod cluster;
mod error;
mod handle;
mod open;
mod opened;
mod owning;
mod plugin_threads;
mod registry;
mod resume_all;
mod shutdown;
mod shutdown_progress;
mod start;
mod takeover;
mod watchdog;

pub use beginnings::{Beginning, Beginnings};
pub use builder::Builder;
pub use cluster::Cluster;
pub use error::{BoxError, Error, OpeningError};
pub use handle::{MemoryUse, Node};
pub use opened::Opened;
pub use owning::HandOver;
pub use resume_all::{ResumeOutcome, ResumeReport, Resumption};
pub(crate) use takeover::ForRedrive;
pub use takeover::{members, unfinished};
