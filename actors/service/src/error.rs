//! Why the service did not start.

use std::{io, net::SocketAddr, path::PathBuf};

use teammy_runtime::keys;

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The Unix socket cannot be listened on.
    #[error("cannot listen on {} (service.socket)", .path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A node listens on the Unix socket already.
    #[error("a process listens on {} already (service.socket); stop it, or give another path", .0.display())]
    SocketInUse(PathBuf),
    /// A file of the certificate cannot be used.
    #[error("cannot use {} for TLS (service.tls_certificate, service.tls_key)", .path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Other machines could reach the address, and no key tells who may do what.
    #[error(
        "{0} can be reached by other machines, and there is no key that tells who may do what; create one first, with \
         `teammy key create`, or listen on 127.0.0.1"
    )]
    NoKeys(SocketAddr),
    /// The keys could not be read.
    #[error(transparent)]
    Keys(#[from] keys::Error),
}
