//! A meeting: a supervisor actor with a log, and the instances that take part.
//!
//! The node supervises it. It supervises its instances' actors and restarts them from the newest state that
//! they submitted. The rules are those of [`teammy_kernel::log::MeetingLog`].
//!
//! # A packet's way
//! [`MeetingRef::publish`] puts it through the `ingress` (checks, a bound in bytes, a seq). The meeting's
//! `state` appends it to the log and sends it in a batch to every instance that has credit; the actor sends
//! it to the persistence actor in a commit. The effects of hooks are submitted and go the same way. Stored
//! packets reach readers.
//!
//! # Invariants
//! * No thread that drives a meeting awaits an instance, the store or a publisher: they reply with messages, or
//!   do the work themselves.
//! * Only the actor waits for another thread that drives the meeting.
//! * Only stored packets leave the meeting, except those of volatile sources.

mod actor;
mod combiner;
#[cfg(test)]
mod combiner_tests;
mod committed_log;
mod ended;
mod error;
mod handle;
mod ingress;
mod local;
mod message;
mod publish_span;
mod read_budget;
mod receipt;
mod remote;
pub(crate) mod report;
mod shared;
mod source_set;
mod state;
mod stats;
mod subscription;
mod taps;

pub use committed_log::Packets;
pub use error::Error;
pub(crate) use error::did_you_mean;
pub use handle::MeetingRef;
pub use read_budget::ReadBudget;
pub use receipt::{Receipt, Receipts};
pub use remote::{Instruction, RemoteMeeting, RemoteReceipt, Selection, WhenFull};
pub use stats::MeetingStats;
pub use subscription::{Delivered, StartAt, Subscribe, Subscription};
pub use taps::Slow;

pub(crate) use actor::MeetingActor;
pub(crate) use combiner::Combiner;
pub(crate) use committed_log::CommittedLog;
pub(crate) use ended::EndedMeeting;
pub(crate) use ingress::{Ingress, Options as IngressOptions, Wake};
pub(crate) use local::LocalMeeting;
pub(crate) use message::RedriveTicket;
pub(crate) use shared::{Shared, WatchedInstance};
pub(crate) use state::{Args, StartFrom};
pub(crate) use taps::Taps;
