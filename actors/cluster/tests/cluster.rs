//! Nodes of a cluster in one process, over one store and a network in memory, on tokio's paused clock.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic")]

#[path = "plugin/counter.rs"]
mod counter;
#[path = "cluster/support.rs"]
mod support;

#[path = "cluster/moving.rs"]
mod moving;
#[path = "cluster/routing.rs"]
mod routing;
