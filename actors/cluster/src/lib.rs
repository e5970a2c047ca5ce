//! Several nodes over one store: who is there, which of them owns a meeting, and how the others reach it.
//!
//! ```text
//! Keeper (when to renew, until when this node may own anything) ──▶ Membership (a task) ──▶ store's leases
//!                                                                        │
//!                                                                        ▼
//!                       View: members, and whether this node is one ──▶ Runner (takes over, hands over, fences)
//!                                                                        │
//! RoutedMeeting (a handle that follows its meeting) ──▶ Router ──▶ Links ──▶ Transport ──▶ Gateway of another node
//! ```
//!
//! # Invariants
//! * A node owns meetings only while its lease holds by its own monotonic clock, which ends before the store's does.
//! * Times of two machines are never compared: whether another node's lease is over is said by the store.
//! * A node that was too late is never a member again; it starts as another incarnation.

#[cfg(feature = "certs")]
pub mod certs;
mod cluster;
mod failure;
mod gateway;
mod handler;
mod keeper;
mod link;
mod links;
mod member;
mod membership;
mod metrics;
pub mod placement;
mod protocol;
pub mod rebalance;
mod routed;
mod router;
mod runner;
mod settings;
mod shared;
pub mod takeover;
mod transport;
mod wire;

pub use cluster::ClusterNode;
pub use handler::{Call, Handler, Opening};
pub use keeper::Timing;
pub use links::{CallError, LinkSettings, LinkStatus, Links, Opened};
pub use member::{Member, NodeDocument, Versions};
pub use membership::{Error, Membership, View};
pub use settings::ClusterSettings;
pub use transport::{
    Closed, ConnectError, Connection, FrameSender, MAX_FRAME, Transport,
    tcp::{LOG_TARGET, RactorSettings, RactorTransport, Security, StartError, TlsError},
};
pub use wire::LAYOUTS;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
