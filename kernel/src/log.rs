//! A meeting's log: its packets, how far each instance has come, and what is to be committed next.
//!
//! [`MeetingLog`] is a pure state machine without I/O, clock or actor: its owner tells it what happened and
//! asks it what to do. One log serves routing, backpressure, late join, recovery and a meeting's end:
//!
//! * [`append`](MeetingLog::append) adds packets at the end, in the order of their seqs;
//! * [`deliver`](MeetingLog::deliver) gives an instance that has credit its next batch, from the tail in
//!   memory or, behind the tail, by a [`Delivery::Fetch`] from the store;
//! * [`apply`](MeetingLog::apply) takes the effects of its hooks;
//! * [`actor_failed`](MeetingLog::actor_failed) says what to do when its actor failed;
//! * [`next_commit`](MeetingLog::next_commit) gives what is to be stored, and
//!   [`committed`](MeetingLog::committed) says that it is.
//!
//! # Invariants
//! * All that is to be stored goes through one queue, first in, first out, and a commit takes a prefix of it.
//!   So an instance may work on a packet that is not stored yet: if the packet is lost, so are all effects of
//!   it.
//! * Effects are one update in that queue: cursor, state, keys, outputs and dead letters are stored together
//!   or not at all. A state and keys that were made of volatile packets alone may wait for the instance's next
//!   update or checkpoint: a crash loses them as it loses those packets.
//! * A durable packet leaves the tail only when it is stored. A volatile packet that is dropped before an
//!   instance received it is counted in that instance's gap.
//! * While too many bytes are queued for the store, no instance gets another batch: the store sets the
//!   meeting's pace.
//! * An instance has at most one batch in flight: its credit. The credit comes back with [`Effects::done`].
//!
//! # Files
//! Each file uses only files above it in this list: types without rules first, then the parts of the log's
//! state, the state, and what is done with it. This file and test modules aside, none knows a later one.

mod consumer_spec;
mod ids;
mod limits;
mod sequencer;

mod batch;
mod checkpoint;
pub mod failure;
mod latest;
mod tail;

mod consumer;
mod lifecycle_history;

mod batch_cache;
mod commit;

mod meeting_log;

mod shedding;

mod append;

mod effects;
mod lifecycle;
mod redrive;

mod delivery;
mod history;
mod lag;
mod recovery;
mod snapshot;
mod storing;
mod supervision;

pub use append::Append;
pub use batch::{Batch, Delivery, DueRedrive, Fetch};
pub use commit::{Committed, Due};
pub use consumer::InstanceView;
pub use consumer_spec::{ConsumerSpec, JoinAt};
pub use effects::Effects;
pub use history::HistoryRead;
pub use ids::Slot;
pub use lag::Lag;
pub use limits::Limits;
pub use meeting_log::MeetingLog;
pub use recovery::{Member, StoredMeeting};
pub use redrive::RedriveError;
pub use sequencer::Sequencer;
pub use snapshot::{Beside, Snapshot};

#[cfg(test)]
mod tests;
