//! Meetings at run time: tests through the public handles, over a store in memory.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic")]

#[path = "meetings/support.rs"]
mod support;

#[path = "meetings/checkpoints.rs"]
mod checkpoints;
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
#[path = "meetings/malformed.rs"]
mod malformed;
#[path = "meetings/numbered.rs"]
mod numbered;
#[path = "meetings/opening.rs"]
mod opening;
#[path = "meetings/outputs.rs"]
mod outputs;
#[path = "meetings/owned.rs"]
mod owned;
#[path = "meetings/privacy.rs"]
mod privacy;
#[path = "meetings/recovery.rs"]
mod recovery;
#[path = "meetings/redrive.rs"]
mod redrive;
#[path = "meetings/remote.rs"]
mod remote;
#[path = "meetings/shutdown.rs"]
mod shutdown;
#[path = "meetings/slow.rs"]
mod slow;
#[path = "meetings/storing.rs"]
mod storing;
#[path = "meetings/subscriptions.rs"]
mod subscriptions;
#[path = "meetings/timers.rs"]
mod timers;
#[path = "meetings/traces.rs"]
mod traces;
