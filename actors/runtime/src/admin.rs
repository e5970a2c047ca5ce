//! What operators ask of a node: its status, its meetings and their history, dead letters and redrives,
//! suspended instances, what language models cost, forgetting.
//!
//! [`handle`] takes a typed [`Request`] and returns a typed [`Response`] or [`Error`]. The
//! [local socket](crate::control) and any other transport call it, so that all of them do the same.

mod cluster;
mod dead_letters;
mod error;
mod handle;
mod history;
mod meetings;
mod request;
mod status;
mod usage;

pub use cluster::{ClusterReport, LinkReport, NodeReport};
pub use dead_letters::{Redrive, Redriven};
pub use error::Error;
pub use handle::{handle, handle_here};
pub use history::HistoryPage;
pub use meetings::{MeetingList, MeetingSummary};
pub use request::{Request, Response};
pub use status::{Status, StoreStatus};
pub use teammy_kernel::ledger::UsageRow;
pub use usage::{usage, usage_of};

pub use crate::meeting::report::{HookReport, InstanceReport, MeetingReport, SourceLag};
