//! Listens, and stops without losing anything.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use teammy_runtime::Node;
use tokio::net::TcpListener;
use tracing::{debug, info, warn};

use crate::{
    error::Error,
    routes,
    shared::{Shared, Stop},
    stall::StallLimit,
};

/// How long a client may take to send a request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How long a client may read nothing of what is sent to it.
const STALL_TIME: Duration = Duration::from_mins(1);

/// How long the listener rests after it failed: the process may have no file descriptors left.
const REST: Duration = Duration::from_millis(100);

/// A listener, which answers once it [serves](Self::serve).
#[derive(Debug)]
pub struct Service {
    listener: TcpListener,
    address: SocketAddr,
}

impl Service {
    /// Listens on an address of this machine.
    ///
    /// # Errors
    /// [`Error::NotLoopback`], [`Error::Bind`].
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        if !address.ip().is_loopback() {
            return Err(Error::NotLoopback(address));
        }
        let failed = |source| Error::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address, with the port that the system chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until it is told to stop, and then until all that are under way are answered, or `deadline` has
    /// passed. `packet_bytes` is the node's `limits.packet_bytes`. The node is not shut down.
    pub async fn serve(self, node: Arc<Node>, packet_bytes: usize, stop: Stop, deadline: Duration) {
        let router = routes::router(Shared { node, stop: stop.clone(), packet_bytes });
        let graceful = GracefulShutdown::new();
        info!(address = %self.address, "listening");
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.stopping() => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            };
            // Answers are short, and events are to arrive at once.
            let _ = stream.set_nodelay(true);
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .serve_connection(
                    TokioIo::new(StallLimit::new(stream, STALL_TIME)),
                    TowerToHyperService::new(router.clone()),
                );
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    debug!(%error, "a connection broke");
                }
            });
        }
        drop(self.listener);
        if tokio::time::timeout(deadline, graceful.shutdown()).await.is_err() {
            warn!("requests were cut off: they were not done in time");
        }
    }
}
