//! The network API of a node: HTTP, with JSON in and out and server-sent events, for backends in any language.
//!
//! [`Service::bind`] listens, [`Service::serve`] answers until it is told to stop. docs/http.md describes what it answers.
//!
//! Everything that is read is the committed log from a place on: a client that comes back says how far it got, and misses and
//! doubles nothing, however long it was away. Everything that is published with a producer and a number can be sent again.
//!
//! Without keys, whoever reaches the address can do everything, so [`Service::bind`] listens on loopback only. A web page
//! can reach loopback too: requests that a page of another origin sends are rejected.

mod error;
mod guard;
mod params;
mod problem;
mod routes;
mod server;
mod shared;
mod stall;

pub use error::Error;
pub use server::Service;
pub use shared::Stop;
