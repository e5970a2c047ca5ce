//! Several nodes that share a database and divide its meetings among them, as the table `[cluster]` of their configurations says.
//!
//! ```no_run
//! # async fn start(config: teammy::config::Config) -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//!
//! use teammy::{Node, cluster::Seat};
//!
//! let seat = Seat::take(&config, None).await?.expect("cluster.node is set");
//! let node = Node::builder(config).plugins(teammy::plugins::bundle());
//! let node = node.store(seat.store()).owner(seat.owner().clone()).start().await?;
//! let node = Arc::new(node.into_runtime());
//! let cluster = seat.join(node.clone());
//! // From here on the node's `open` and `find_meeting` reach meetings on all nodes.
//! tokio::select! {
//!     () = cluster.lost() => {} // its lease has ended: start the program again
//!     _ = tokio::signal::ctrl_c() => cluster.shutdown(std::time::Duration::from_secs(30)).await?,
//! }
//! # Ok(())
//! # }
//! ```

use std::{fmt, sync::Arc};

use teammy_cluster::{
    LAYOUTS, LinkSettings, Membership, NodeDocument, RactorSettings, RactorTransport, Security, Timing,
    Transport,
};
use teammy_config::{Config, database::Kind};
use teammy_kernel::{ErrorClass, ErrorKind, Name, Store, error_classes, store::Incarnation};
use teammy_runtime::Node;

use crate::node;

pub use teammy_cluster::certs;
#[doc(inline)]
pub use teammy_cluster::{
    ClusterNode, ClusterSettings, LinkStatus, Member, View, placement, rebalance, takeover,
};

/// Why a node cannot be part of a cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database is one that only this process can open.
    #[error(
        "cluster.node is set, but {0} is a database that only one process can use; set database.url to a SurrealDB server that all \
         nodes reach, such as ws://db.example:8000"
    )]
    NotShared(String),
    /// The name cannot be one of a node.
    #[error("cluster.node is no name of a node")]
    Name(#[source] teammy_kernel::name::Error),
    /// Other nodes could not be reached, and could not reach this one.
    #[error(
        "cluster.node is set, but this node has neither certificates nor cluster.plaintext: it could reach no other node; make certificates with `teammy certs`"
    )]
    NoSecurity,
    /// The system gave no random number.
    #[error("cannot draw a number for this start of the node")]
    Random(#[source] getrandom::Error),
    /// The links cannot be started.
    #[error(transparent)]
    Links(#[from] teammy_cluster::StartError),
    /// The lease could not be taken.
    #[error(transparent)]
    Membership(#[from] teammy_cluster::Error),
    /// The database could not be opened.
    #[error(transparent)]
    Node(#[from] node::Error),
}

error_classes!(Error {
    Self::NotShared(_) => "database-not-shared" Invalid,
    Self::Name(_) => "node-name" Invalid,
    Self::NoSecurity => "no-certificates" Invalid,
    Self::Random(_) => "no-random" Internal,
    Self::Links(_) => "links-not-started" Invalid,
} else {
    Self::Membership(teammy_cluster::Error::Store(error)) => error.class(),
    Self::Membership(_) => ErrorClass::new("lease-ended", ErrorKind::Gone),
    Self::Node(error) => error.class(),
});

/// A node's place in its cluster: its lease and its way to the others, before the node itself starts.
pub struct Seat {
    store: Arc<dyn Store>,
    membership: Membership,
    document: NodeDocument,
    transport: Arc<dyn Transport>,
    settings: ClusterSettings,
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("owner", self.owner()).finish_non_exhaustive()
    }
}

impl Seat {
    /// Opens the database, listens for other nodes, and takes a lease, as the configuration says; none if it names no node
    /// (`cluster.node`). `api` is where the node's network API is, for other nodes to show.
    ///
    /// # Errors
    /// Those of [`Error`]. Nothing is left then.
    pub async fn take(config: &Config, api: Option<String>) -> Result<Option<Self>, Error> {
        let Some(name) = &config.cluster.node else { return Ok(None) };
        let url = config.database.effective_url().map_err(node::Error::Config)?;
        if !matches!(url.kind(), Kind::Server(_)) {
            return Err(Error::NotShared(url.to_string()));
        }
        let store = crate::open_store(&config.database).await?;
        // Renewals wait for nothing that the meetings do.
        let leases = crate::open_store(&config.database).await?;
        Self::over(config, name, store, leases, api).await.map(Some)
    }

    /// As [`take`](Self::take), over a store that is open: `leases` is another connection to the same one, or the same.
    ///
    /// # Errors
    /// Those of [`Error`].
    pub async fn over(
        config: &Config,
        name: &str,
        store: Arc<dyn Store>,
        leases: Arc<dyn Store>,
        api: Option<String>,
    ) -> Result<Self, Error> {
        let cluster = &config.cluster;
        let boot = getrandom::u64().map_err(Error::Random)?;
        let me = Incarnation { node: Name::new(name).map_err(Error::Name)?, boot };
        let security = match (&cluster.certificate, &cluster.key, &cluster.ca) {
            (Some(cert), Some(key), Some(ca)) => {
                Security::Tls { cert: cert.clone(), key: key.clone(), ca: ca.clone() }
            }
            _ if cluster.plaintext => Security::Plain,
            _ => return Err(Error::NoSecurity),
        };
        let transport = RactorTransport::start(RactorSettings {
            me: me.clone(),
            listen: cluster.listen,
            advertise: cluster.advertise.clone(),
            security,
        })
        .await?;
        let document = NodeDocument {
            link: transport.address(),
            api,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            layouts: Some(LAYOUTS),
            capacity: cluster.capacity,
            ..NodeDocument::default()
        };
        let timing = Timing::of(cluster.lease);
        let membership = Membership::join(leases, me, document.clone(), timing).await?;
        Ok(Self { store, membership, document, transport, settings: settings(config) })
    }

    /// The store in which the meetings are.
    pub fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    /// As whom the node owns meetings.
    pub fn owner(&self) -> &Incarnation {
        self.membership.incarnation()
    }

    /// Where other nodes reach this one, if they can.
    pub fn address(&self) -> Option<&str> {
        self.document.link.as_deref()
    }

    /// Gives the place up: the node did not start.
    pub async fn leave(self) {
        self.membership.leave().await;
    }

    /// Has the node, which was built with this place's [store](Self::store) and [owner](Self::owner), take part.
    ///
    /// # Panics
    /// If it is part of a cluster already.
    pub fn join(self, node: Arc<Node>) -> ClusterNode {
        ClusterNode::start(node, self.membership, self.document, self.transport, &self.settings)
    }
}

fn settings(config: &Config) -> ClusterSettings {
    let cluster = &config.cluster;
    let mut settings = ClusterSettings::default();
    settings.links = LinkSettings {
        heartbeat: cluster.heartbeat,
        misses: cluster.misses,
        window: cluster.window.as_usize(),
        ..LinkSettings::default()
    };
    settings.patience = cluster.patience;
    settings.takeover.at_once = cluster.takeovers;
    settings.rebalance.per_minute = cluster.rebalance_per_minute;
    settings
}
