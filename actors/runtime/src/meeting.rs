//! A meeting: a supervisor actor with a log, and the instances subscribed to it.
//!
//! Supervised by the node; supervises its instances' actors, which it restarts from the newest state they
//! handed on. The rules are [`teammy_kernel::log::MeetingLog`]'s: the actor feeds it and does what it says.
//!
//! # A packet's way
//! [`MeetingRef::publish`] takes it through the ingress (checks, a bound in bytes, a seq), appends it to the log
//! and sends it in a batch to every instance that has credit; the actor sends it to the persistence actor in
//! a commit. What the hooks make comes back as a hand-on and goes the same way. StoredMeeting packets reach readers.
//!
//! # Invariants
//! * Nobody who works on a meeting awaits an instance, the store or a publisher: they answer with messages,
//!   or do the work.
//! * Nobody but the actor waits for another to be done with a meeting.
//! * Only stored packets leave the meeting.

mod actor;
mod combiner;
pub(crate) mod committed_log;
mod error;
mod handle;
pub(crate) mod ingress;
pub(crate) mod message;
mod restarts;
pub(crate) mod stats;
mod subscription;
mod taps;

pub use committed_log::Packets;
pub(crate) use error::did_you_mean;
pub use error::{Error, PublishError};
pub use handle::{MeetingRef, Receipt, Receipts};
pub use ingress::check;
pub use stats::{InstanceStats, MeetingStats};
pub use subscription::{Delivered, StartAt, Subscribe, Subscription};
pub use taps::Slow;
pub(crate) use taps::Taps;

pub(crate) use actor::{Args, MeetingActor, StartFrom};
pub(crate) use combiner::Combiner;
pub(crate) use handle::{MeetingShared, WatchedInstance};
pub(crate) use message::{RedriveTicket, Report};
pub(crate) use restarts::{RestartPolicy, doubled};
pub(crate) use stats::Recorder;
