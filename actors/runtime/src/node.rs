//! A node: it runs meetings.
//!
//! The node's actor supervises the persistence actor and the meetings. It does little else: it takes a meeting
//! that ends or fails off the list, and fails the waiters of one that failed.

mod actor;
mod builder;
mod error;
mod handle;
mod registry;
mod shutdown;
mod shutdown_progress;
mod start;
mod takeover;
mod watchdog;

pub use builder::Builder;
pub use error::{BoxError, Error};
pub use handle::{MemoryUse, Node};
pub use takeover::{members, unfinished};
