//! Connections over TCP, with mutual TLS, as sessions of `ractor_cluster`.
//!
//! ```text
//! Acceptor (a task a connection) ┐
//!                                ├▶ TLS ─▶ greetings ─▶ session ─▶ gateway ─▶ receiver of the connection
//! Dialer ────────────────────────┘
//! ```
//!
//! # Invariants
//! * Nothing that an outsider sends reaches an actor: who a peer is, is known before its session begins.
//! * A node has one actor that others can send to, its gateway. Frames carry a token that only the two ends of their connection
//!   know.
//! * Nodes of one process share nothing by name.
//!
//! # Limits
//! * A connection that is closed loses what has not left yet.
//! * Whoever has a certificate of the authority is trusted not to exhaust this node: the library bounds neither its queues nor
//!   what a peer tells of itself. Without TLS, that is everybody on the machine.
//!
//! # Logs
//! At `debug`, `ractor_cluster` logs what frames hold. A subscriber must let no event of [`LOG_TARGET`] below `info` through.

mod acceptor;
mod admission;
mod advice;
mod dialer;
mod gateway;
mod handshake;
mod node;
mod session;
mod socket;
pub(crate) mod tls;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use futures::future::BoxFuture;
use teammy_kernel::store::Incarnation;
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc},
    task::AbortHandle,
};

pub use self::tls::TlsError;
use self::{node::Node, tls::Tls};
use crate::transport::{ConnectError, Connection, Transport};

/// The target of the events that may hold what frames hold, below `info`.
pub const LOG_TARGET: &str = "ractor_cluster";

/// How many accepted connections may wait for [`Transport::accept`].
const ACCEPTED: usize = 64;

/// How peers prove who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// Each node has a certificate of one authority for its name, and TLS is 1.3. The files are PEM, and are read again when they
    /// change; what cannot be used then is logged, and the node goes on with what it has.
    Tls {
        /// The node's certificate, and what is between it and the authority's. One of its DNS names is the node's name, in any
        /// case; patterns (`*.example`) don't count.
        cert: PathBuf,
        /// Its private key.
        key: PathBuf,
        /// The certificates of the authority. Whoever has a certificate of it for a node's name is that node.
        ca: PathBuf,
    },
    /// None: a node is who it says. Only over loopback addresses.
    Plain,
}

/// What a transport is made of.
#[derive(Debug, Clone)]
pub struct RactorSettings {
    /// This node.
    pub me: Incarnation,
    /// Where other nodes reach it; port 0 is any free one. None for a node that only dials.
    pub listen: Option<SocketAddr>,
    /// The address that others are told, as `host:port`; `listen` by default.
    pub advertise: Option<String>,
    /// How peers prove who they are.
    pub security: Security,
}

/// Why a transport cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Without TLS, others could be reached or reach this node from outside the machine.
    #[error("{0} is not a loopback address; listen on one, or use certificates")]
    PlainBeyondLoopback(SocketAddr),
    /// Others cannot dial an unspecified address.
    #[error("other nodes cannot dial {0}; say which address they are to be told")]
    NothingToAdvertise(SocketAddr),
    /// A certificate cannot be for this name.
    #[error(
        "{0} cannot be in a certificate: use a node's name that can be a host's, with at most 63 characters from dot to dot, \
         no dash before or after a dot, and a letter after the last"
    )]
    Name(teammy_kernel::Name),
    /// A file cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// The actors did not start.
    #[error("cannot start the gateway")]
    Gateway(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Connections over TCP. Dropping it closes them all.
#[derive(Debug)]
pub struct RactorTransport {
    node: Arc<Node>,
    advertise: Option<String>,
    accepted: Mutex<mpsc::Receiver<Connection>>,
    /// Without it, there is nothing more to accept.
    open: parking_lot::Mutex<Option<mpsc::Sender<Connection>>>,
    acceptor: Option<AbortHandle>,
}

impl RactorTransport {
    /// Reads the certificates, listens, and accepts.
    ///
    /// # Errors
    /// Those of [`StartError`].
    pub async fn start(settings: RactorSettings) -> Result<Arc<Self>, StartError> {
        let RactorSettings { me, listen, advertise, security } = settings;
        let tls = match security {
            Security::Plain => None,
            Security::Tls { .. } if tls::server_name(&me.node).is_none() => {
                return Err(StartError::Name(me.node));
            }
            Security::Tls { cert, key, ca } => Some(Tls::open(cert, key, ca, me.node.clone())?),
        };
        if let Some(listen) = listen {
            if tls.is_none() && !listen.ip().is_loopback() {
                return Err(StartError::PlainBeyondLoopback(listen));
            }
            if advertise.is_none() && listen.ip().is_unspecified() {
                return Err(StartError::NothingToAdvertise(listen));
            }
        }
        let listener = match listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let node = Node::start(me, tls).await.map_err(|error| StartError::Gateway(error.into()))?;
        let node = Arc::new(node);
        let (sender, accepted) = mpsc::channel(ACCEPTED);
        let open = parking_lot::Mutex::new(Some(sender.clone()));
        let accepted = Mutex::new(accepted);
        let mut transport = Self { node, advertise: None, accepted, open, acceptor: None };
        if let Some((listener, address)) = listener {
            transport.advertise = Some(advertise.unwrap_or_else(|| address.to_string()));
            let acceptor = tokio::spawn(acceptor::run(listener, transport.node.clone(), sender));
            transport.acceptor = Some(acceptor.abort_handle());
        }
        Ok(Arc::new(transport))
    }

    /// Ends all connections, and accepts and makes no more.
    pub fn close(&self) {
        if let Some(acceptor) = &self.acceptor {
            acceptor.abort();
        }
        self.open.lock().take();
        self.node.close();
    }
}

impl Drop for RactorTransport {
    fn drop(&mut self) {
        self.close();
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |cause| StartError::Listen { address, cause };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

impl Transport for RactorTransport {
    fn connect<'a>(
        &'a self,
        peer: &'a Incarnation,
        address: &'a str,
    ) -> BoxFuture<'a, Result<Connection, ConnectError>> {
        Box::pin(dialer::connect(&self.node, peer, address))
    }

    fn accept(&self) -> BoxFuture<'_, Option<Connection>> {
        Box::pin(async { self.accepted.lock().await.recv().await })
    }

    fn address(&self) -> Option<String> {
        self.advertise.clone()
    }
}
