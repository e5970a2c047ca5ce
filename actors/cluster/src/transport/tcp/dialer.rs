//! Reaches other nodes.

use std::io;

use teammy_kernel::store::Incarnation;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Duration, timeout},
};

use super::{handshake::Refused, node::Node};
use crate::transport::{ConnectError, Connection};

/// How long it may take to look a host up, and to reach it.
const CONNECT_TIME: Duration = Duration::from_secs(3);

/// Dials an address, which takes at most three times three seconds.
pub(super) async fn connect(
    node: &Node,
    peer: &Incarnation,
    address: &str,
) -> Result<Connection, ConnectError> {
    let reached = timeout(CONNECT_TIME, reach(node, address)).await;
    let stream = reached.unwrap_or_else(|_| Err(unreachable(address, io::ErrorKind::TimedOut.into())))?;
    node.dial(stream, peer).await.map_err(|refused| match refused {
        Refused::Broke(cause) => unreachable(address, cause),
        Refused::Slow => unreachable(address, io::ErrorKind::TimedOut.into()),
        refused @ (Refused::Session | Refused::Closing) => unreachable(address, io::Error::other(refused)),
        refused => ConnectError::NotThePeer {
            address: address.to_owned(),
            peer: peer.clone(),
            reason: format!("{}; {}", teammy_kernel::chain(&refused), refused.kind().advice()),
        },
    })
}

fn unreachable(address: &str, cause: io::Error) -> ConnectError {
    ConnectError::Unreachable { address: address.to_owned(), cause }
}

async fn reach(node: &Node, address: &str) -> Result<TcpStream, ConnectError> {
    let found = lookup_host(address).await.map_err(|cause| match cause.kind() {
        io::ErrorKind::InvalidInput => ConnectError::Address(address.to_owned()),
        _ => unreachable(address, cause),
    })?;
    let mut error = None;
    for found in found {
        if node.is_plain() && !found.ip().is_loopback() {
            let why = format!("{address}: without TLS, only loopback addresses are dialled");
            return Err(ConnectError::Address(why));
        }
        match TcpStream::connect(found).await {
            Ok(stream) => return Ok(stream),
            Err(cause) => error = Some(cause),
        }
    }
    Err(unreachable(address, error.unwrap_or_else(|| io::ErrorKind::NotFound.into())))
}
