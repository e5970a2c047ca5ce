//! Why the service did not start.

use std::{io, net::SocketAddr};

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address} (service.listen)")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Other machines could reach the address, and nothing tells who may.
    #[error(
        "service.listen is {0}, which other machines can reach, and this build knows no keys that tell who may do what; \
         listen on 127.0.0.1, and put a proxy that checks who asks before it"
    )]
    NotLoopback(SocketAddr),
}
