//! Connections between nodes over real sockets.

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
