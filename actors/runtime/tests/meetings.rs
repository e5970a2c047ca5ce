//! Meetings at run time, through the handles that an embedder has, over a store in memory.

#![allow(clippy::unwrap_used, reason = "a test's own helpers may stop at the first thing that isn't so")]

#[path = "meetings/support.rs"]
mod support;

#[path = "meetings/datastore.rs"]
mod datastore;
#[path = "meetings/delivery.rs"]
mod delivery;
#[path = "meetings/failure.rs"]
mod failure;
#[path = "meetings/lifecycle.rs"]
mod lifecycle;
#[path = "meetings/llm.rs"]
mod llm;
#[path = "meetings/numbered.rs"]
mod numbered;
#[path = "meetings/privacy.rs"]
mod privacy;
#[path = "meetings/recovery.rs"]
mod recovery;
#[path = "meetings/redrive.rs"]
mod redrive;
#[path = "meetings/slow.rs"]
mod slow;
#[path = "meetings/storing.rs"]
mod storing;
#[path = "meetings/subscriptions.rs"]
mod subscriptions;
