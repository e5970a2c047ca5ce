//! Connections between nodes over real sockets.

// Helpers may unwrap, as tests may; clippy recognises only the tests themselves.
#![expect(clippy::unwrap_used)]

#[path = "ractor/attacks.rs"]
mod attacks;
#[path = "ractor/certificates.rs"]
mod certificates;
#[path = "ractor/frames.rs"]
mod frames;
#[path = "ractor/nodes.rs"]
mod nodes;
#[path = "ractor/processes.rs"]
mod processes;
