//! The store: where meetings outlive their owners.
//!
//! A store keeps for each meeting one row (the owner's epoch, the last commit's number, reserved seqs,
//! status), its durable packets, its producers' marks, its instances' cursors and states, their keys and
//! values, and their dead letters. All that an owner writes is a [`Commit`]: one atomic write with the
//! owner's epoch and a number, which is applied only if the row holds that epoch and the number before. So an
//! owner that was replaced cannot write, a commit that is sent twice is applied once, and what is stored is
//! always a prefix of what the owner issued.
//!
//! The numbers of producers' packets are written in the same commit as the packets, so that no [`Mark`] names
//! a packet that isn't stored. The owner accepts each producer's numbers in order, from 1 and without holes,
//! and a store may rely on that. Even so a mark never goes back, and of two packets with one number the first
//! keeps it.
//!
//! Beside meetings a store keeps [accounts](AccountRecord): small documents that several owners change by turns.
//!
//! Where several nodes share a store, each has a [lease](LeaseRecord), and owns meetings as long as it renews it.
//!
//! Every store must pass the suite in module `conformance` (feature `testing`).

mod account;
mod error;
mod lease;
mod listing;
mod query;
mod record;

mod commit;

mod mark;

mod contract;

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod memory;

pub use account::{AccountId, AccountRecord};
pub use commit::{Commit, Outcome};
pub use contract::{Leases, Store, StoreFuture};
pub use error::Error;
pub use lease::{Incarnation, InvalidIncarnation, LeaseRecord, LeaseStatus};
pub use listing::{MeetingCursor, MeetingPage, MeetingQuery};
pub use mark::Mark;
pub use memory::MemoryStore;
pub use query::{PacketQuery, Take};
pub use record::{DeadLetter, Epoch, InstanceRecord, InstanceStatus, KeyWrite, MeetingRecord, MeetingStatus};
