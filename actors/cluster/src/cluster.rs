//! A node of a cluster: the handle.

use std::{
    fmt,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use teammy_kernel::store::Incarnation;
use teammy_runtime::{
    Node,
    node::{self, Error},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tracing::warn;

use crate::{
    gateway::{Gateway, Operations},
    links::{LinkStatus, Links},
    member::NodeDocument,
    membership::{Membership, View},
    router::Router,
    runner::Runner,
    settings::ClusterSettings,
    shared::Shared,
    transport::Transport,
};

/// A node that is part of a cluster. Dropping it stops its links, its tasks and its node's meetings, and gives nothing back: use
/// [`shutdown`](Self::shutdown).
pub struct ClusterNode {
    shared: Arc<Shared>,
    membership: Membership,
    runner: JoinHandle<()>,
}

impl fmt::Debug for ClusterNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterNode").field("me", self.membership.incarnation()).finish_non_exhaustive()
    }
}

impl Drop for ClusterNode {
    fn drop(&mut self) {
        self.runner.abort();
        // The links' handler refers to the router, and the router to the links: neither would end by itself.
        self.shared.router.links().close();
        // Nobody renews the lease any more, and nobody would stop the meetings when it ends.
        self.shared.router.node.fence("the node has left its cluster");
    }
}

impl ClusterNode {
    /// Has a node take part in its cluster: it takes over what dead nodes owned, serves the others, and finds meetings on them.
    /// `node` was built with the membership's incarnation as its [owner](node::Builder::owner), and `document` is the one that the
    /// membership tells.
    ///
    /// # Panics
    /// If the node is part of a cluster already.
    pub fn start(
        node: Arc<Node>,
        membership: Membership,
        document: NodeDocument,
        transport: Arc<dyn Transport>,
        settings: &ClusterSettings,
    ) -> Self {
        let (me, view) = (membership.incarnation().clone(), membership.view());
        let router = Router::new(me.clone(), node, view.clone(), document.capacity, settings.patience);
        let (router, (orders, received)) = (Arc::new(router), mpsc::unbounded_channel());
        let shared = Arc::new(Shared { router: router.clone(), settings: settings.clone(), orders });
        let operations: Weak<dyn Operations> = Arc::downgrade(&(shared.clone() as Arc<dyn Operations>));
        let gateway = Arc::new(Gateway::new(router.clone(), operations));
        router.connect(Links::start(me, transport, gateway, view, settings.links.clone()));
        router.node.join(&(shared.clone() as Arc<dyn node::Cluster>));
        let runner = Runner::new(shared.clone(), &membership, document, settings);
        Self { shared, membership, runner: tokio::spawn(runner.run(received)) }
    }

    /// Which run of which node this is.
    pub fn incarnation(&self) -> &Incarnation {
        self.membership.incarnation()
    }

    /// The live members, and whether this node is one.
    pub fn view(&self) -> watch::Receiver<View> {
        self.membership.view()
    }

    /// The links to the other nodes.
    pub fn links(&self) -> Vec<LinkStatus> {
        self.shared.router.links().status()
    }

    /// How many calls went to other nodes, and how many came here for meetings that this node did not run.
    pub fn counts(&self) -> (u64, u64) {
        let counts = &self.shared.router.counts;
        (counts.forwards.load(Ordering::Relaxed), counts.misses.load(Ordering::Relaxed))
    }

    /// Waits until this node is no member any more, because its lease could not be renewed in time. Its meetings have been stopped
    /// then, and others take them over: the program should end, and be started again.
    pub async fn lost(&self) {
        let mut view = self.membership.view();
        // The view's end is the membership's.
        let _ = view.wait_for(|view| !view.is_member).await;
    }

    /// Hands all meetings over to other nodes and takes none from then on. Waits until this node runs none, or until no other node
    /// takes those that are left.
    pub async fn drain(&self) {
        let _ = self.shared.drain_here().await;
    }

    /// Leaves the cluster: hands all meetings over, as far as others take them within `deadline`, and gives the lease back once the
    /// node has [shut down](Node::shutdown). What is left over is taken over by the others then.
    ///
    /// # Errors
    /// Those of [`Node::shutdown`].
    pub async fn shutdown(self, deadline: Duration) -> Result<(), Error> {
        let began = tokio::time::Instant::now();
        if tokio::time::timeout(deadline / 2, self.drain()).await.is_err() {
            warn!("not all meetings were handed over in time; others take them over");
        }
        let node = self.shared.router.node.clone();
        let result = node.shutdown(deadline.saturating_sub(began.elapsed())).await;
        self.membership.give_back().await;
        result
    }
}
