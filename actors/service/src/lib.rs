//! The network API of a node: HTTP, with JSON in and out, server-sent events and WebSockets, for backends in any language.
//!
//! [`Service::bind`] listens, [`Service::serve`] answers until it is told to stop. docs/http.md describes what it answers.
//!
//! Everything that is read is the committed log from a place on: a client that comes back says how far it got, and misses and
//! doubles nothing, however long it was away. Everything that is published with a producer and a number can be sent again.
//!
//! Once there is a [key](teammy_runtime::keys), each request needs one, and sees its tenant's meetings alone. Without keys
//! whoever reaches the address can do everything, so the service then answers on loopback only. A web page can reach loopback
//! too: requests that a page of another origin sends are rejected.

mod access;
mod bodies;
mod error;
mod feed;
mod limits;
mod linger;
mod params;
mod problem;
mod room;
mod routes;
mod server;
mod shared;
mod stall;
mod stop;
mod tls;
mod trace;
mod unix_socket;

pub use error::Error;
pub use server::Service;
pub use stop::Stop;
/// The runtime's node, as [`Service::serve`] takes it.
pub use teammy_runtime::Node as RunningNode;
