//! Nodes of a cluster in one process.

use std::{collections::BTreeMap, fmt, ops::Deref, sync::Arc, time::Duration};

use parking_lot::Mutex;
use teammy_config::Config;
use teammy_kernel::{
    Factory, Name,
    store::{Incarnation, MemoryStore},
};
use teammy_runtime::{Node, node};
use tokio::{runtime::Handle, sync::watch};

use super::{
    Network,
    history::Recorder,
    store::{StoreLink, Way},
};
use crate::{ClusterNode, ClusterSettings, Membership, NodeDocument, Timing, View, membership};

/// Why a node of a test did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The name is malformed.
    #[error("the node's name is malformed")]
    Name(#[source] teammy_kernel::name::Error),
    /// The node failed.
    #[error("the node did not start")]
    Node(#[source] node::Error),
    /// The store did not give it a lease.
    #[error("the node did not become a member")]
    Member(#[source] membership::Error),
}

/// A cluster in one process, on tokio's clock: nodes over one store and one network in memory.
///
/// Faults come from its [network](Self::network), from each node's [way to the store](TestNode::store_link), and from
/// [`kill`](TestNode::kill), [`freeze`](Self::freeze) and the like. What happens by chance depends on the seed. With
/// `start_paused` a test waits for no clock, however long its leases last.
///
/// # Examples
/// ```
/// use teammy_cluster::testing::TestCluster;
/// use teammy_config::Config;
/// use teammy_kernel::{Factory, MeetingMetadata, Publish};
/// # use teammy_kernel::{Cx, Error, Hooks, InCallPlugin, Json, Receive, StartupCx};
/// # struct Echo;
/// # impl InCallPlugin for Echo {
/// #     type Config = ();
/// #     type State = u32;
/// #     type Scratch = ();
/// #     type Output = Json<u32>;
/// #     const KIND: &'static str = "echo";
/// #     const VERSION: &'static str = "1.0.0";
/// #     async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> { Ok(Self) }
/// #     fn hooks(hooks: Hooks<Self>) -> Hooks<Self> { hooks.on::<Json<u32>>("points") }
/// # }
/// # impl Receive<Json<u32>> for Echo {
/// #     async fn receive(&self, points: Json<u32>, cx: &mut Cx<'_, Self>) -> Result<Option<Json<u32>>, Error> {
/// #         *cx.state_mut() += points.0;
/// #         Ok(Some(Json(*cx.state())))
/// #     }
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?.block_on(async {
/// let config = Config::from_toml("[[plugin]]\nname = \"echo\"\n[[source]]\nname = \"points\"")?;
/// let cluster = TestCluster::new(1, config, vec![Factory::of::<Echo>("echo")]);
/// let (a, b) = (cluster.start("a", 100).await?, cluster.start("b", 100).await?);
/// a.sees(2).await;
/// b.sees(2).await;
/// let meeting = a.open(MeetingMetadata::new("standup".parse()?), ["echo"]).await?.into_meeting();
/// meeting.publish(Publish::json("points", &1)?.numbered("phone", 1)).await?.durable().await?;
/// // Whichever node runs it, the meeting goes on when that one dies.
/// let owner = cluster.owner("standup").await.expect("a node owns it");
/// let other = if owner == *a.incarnation() { a.kill(); b } else { b.kill(); a };
/// let meeting = other.find_meeting(&"standup".parse()?).await?;
/// meeting.publish(Publish::json("points", &2)?.numbered("phone", 2)).await?.durable().await?;
/// meeting.end().await?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TestCluster {
    seed: u64,
    config: Config,
    factories: Vec<Factory>,
    store: MemoryStore,
    network: Network,
    recorder: Recorder,
    timing: Timing,
    settings: ClusterSettings,
    nodes: Mutex<BTreeMap<Name, Slot>>,
    /// Of nodes that start.
    way: Mutex<Way>,
}

#[derive(Debug)]
struct Slot {
    boots: u64,
    capacity: u32,
    node: Option<TestNode>,
}

/// A node of a [`TestCluster`]: one run of it. Clones are the same one. It stays there until it is [killed](Self::kill) or
/// [shut down](Self::shutdown), though nobody holds it.
#[derive(Clone)]
pub struct TestNode(Arc<Running>);

struct Running {
    node: Arc<Node>,
    /// None once it has stopped.
    cluster: Mutex<Option<ClusterNode>>,
    me: Incarnation,
    view: watch::Receiver<View>,
    link: StoreLink,
    network: Network,
    is_stopped: watch::Sender<bool>,
}

impl fmt::Debug for TestNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TestNode").field(&self.0.me).finish()
    }
}

impl Deref for TestNode {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.0.node
    }
}

impl TestCluster {
    /// A cluster without nodes, whose nodes will have this configuration and these plugins. Leases last 6 s.
    pub fn new(seed: u64, config: Config, factories: Vec<Factory>) -> Self {
        Self {
            seed,
            config,
            factories,
            store: MemoryStore::default(),
            network: Network::new(seed),
            recorder: Recorder::new(),
            timing: Timing::of(Duration::from_secs(6)),
            settings: ClusterSettings::default(),
            nodes: Mutex::default(),
            way: Mutex::new(Way::Open),
        }
    }

    /// Sets how long leases last.
    #[must_use]
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Sets how nodes take part.
    #[must_use]
    pub fn settings(mut self, settings: ClusterSettings) -> Self {
        self.settings = settings;
        self
    }

    /// The network, for its faults.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The store itself: what is read here has no faults.
    pub fn store(&self) -> &MemoryStore {
        &self.store
    }

    /// Where the store notes who claimed and committed what, to be [checked](super::history::check).
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Starts a node that has room for so many meetings, none if it is a gateway. If a node of this name runs, that one is
    /// [killed](TestNode::kill) first, and this is its next run.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then.
    pub async fn start(&self, name: &str, capacity: u32) -> Result<TestNode, StartError> {
        let name = Name::new(name).map_err(StartError::Name)?;
        if let Some(node) = self.node(name.as_str()) {
            node.kill();
        }
        let boot = {
            let mut nodes = self.nodes.lock();
            let slot = nodes.entry(name.clone()).or_insert(Slot { boots: 0, capacity, node: None });
            (slot.boots, slot.capacity) = (slot.boots + 1, capacity);
            slot.boots
        };
        let me = Incarnation { node: name.clone(), boot };
        let seed = self.seed.wrapping_mul(31).wrapping_add(boot);
        let link = StoreLink::new(me.clone(), self.store.clone(), self.recorder.clone(), seed);
        link.set(*self.way.lock());
        let node = Node::builder(self.config.clone())
            .plugins(self.factories.clone())
            .store(Arc::new(link.clone()))
            .owner(me.clone())
            .plugin_runtime(Handle::current())
            .start()
            .await
            .map_err(StartError::Node)?;
        let transport = self.network.transport(&me);
        let document = NodeDocument { link: transport.address(), capacity, ..NodeDocument::default() };
        let joined =
            Membership::join(Arc::new(link.clone()), me.clone(), document.clone(), self.timing).await;
        let membership = joined.map_err(|error| {
            link.set(Way::Gone);
            self.network.kill(&me);
            StartError::Member(error)
        })?;
        let (node, view) = (Arc::new(node), membership.view());
        let settings = self.settings.clone();
        let cluster = ClusterNode::start(node.clone(), membership, document, transport, &settings);
        let running = TestNode(Arc::new(Running {
            node,
            cluster: Mutex::new(Some(cluster)),
            me,
            view,
            link,
            network: self.network.clone(),
            is_stopped: watch::Sender::new(false),
        }));
        if let Some(slot) = self.nodes.lock().get_mut(&name) {
            slot.node = Some(running.clone());
        }
        Ok(running)
    }

    /// Starts a node again that was killed or has shut down, with the same room and the next boot number.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn restart(&self, name: &str) -> Result<TestNode, StartError> {
        let capacity =
            self.nodes.lock().iter().find(|(slot, _)| slot.as_str() == name).map(|(_, it)| it.capacity);
        self.start(name, capacity.unwrap_or_default()).await
    }

    /// The present run of a node, if it has not stopped.
    pub fn node(&self, name: &str) -> Option<TestNode> {
        self.nodes().into_iter().find(|node| node.incarnation().node.as_str() == name)
    }

    /// The nodes that have not stopped, by name. A node whose lease has ended is among them.
    pub fn nodes(&self) -> Vec<TestNode> {
        let nodes = self.nodes.lock();
        nodes.values().filter_map(|slot| slot.node.clone()).filter(|node| !node.is_stopped()).collect()
    }

    /// The node that owns a meeting.
    pub async fn owner(&self, meeting: &str) -> Option<Incarnation> {
        use teammy_kernel::Store;
        let row = self.store.meeting(meeting.parse().ok()?).await.ok()??;
        row.owner
    }

    /// A node does nothing that others see, until it is [thawed](Self::thaw): what it sent to the store before arrives then. Its own
    /// clock goes on.
    pub fn freeze(&self, node: &TestNode) {
        self.network.freeze(node.incarnation());
        node.store_link().set(Way::Held);
    }

    /// A frozen node goes on.
    pub fn thaw(&self, node: &TestNode) {
        self.network.thaw(node.incarnation());
        node.store_link().set(Way::Open);
    }

    /// No node reaches the store, nor one that starts, until the cluster [heals](Self::heal) or the store is there
    /// [again](Self::start_store).
    pub fn stop_store(&self) {
        self.set_way(Way::Cut);
    }

    /// All nodes reach the store again.
    pub fn start_store(&self) {
        self.set_way(Way::Open);
    }

    fn set_way(&self, way: Way) {
        *self.way.lock() = way;
        self.nodes().iter().for_each(|node| node.store_link().set(way));
    }

    /// Opens the network and all ways to the store, at their usual speed, and thaws all nodes. It starts none.
    pub fn heal(&self) {
        self.start_store();
        self.network.heal();
        self.network.faults(super::Faults::default());
        for node in self.nodes() {
            self.network.admit(node.incarnation());
            self.thaw(&node);
            node.store_link().delay(Duration::ZERO..Duration::from_millis(2));
        }
    }
}

impl TestNode {
    /// Which run of which node it is.
    pub fn incarnation(&self) -> &Incarnation {
        &self.0.me
    }

    /// Who is there, as this node sees it.
    pub fn view(&self) -> watch::Receiver<View> {
        self.0.view.clone()
    }

    /// Its way to the store.
    pub fn store_link(&self) -> &StoreLink {
        &self.0.link
    }

    /// Waits until so many members are there.
    pub async fn sees(&self, members: usize) {
        // The view ends with the membership: then nobody waits any more.
        let _ = self.view().wait_for(|view| view.members.len() == members).await;
    }

    /// Whether its lease has ended, so that it runs nothing any more: a program would end, and be started again.
    pub fn is_lost(&self) -> bool {
        !self.0.view.borrow().is_member
    }

    /// Whether it was killed or has shut down.
    pub fn is_stopped(&self) -> bool {
        *self.0.is_stopped.borrow()
    }

    /// Waits until it is killed or has shut down. What was asked of it may have been done or not.
    pub async fn stopped(&self) {
        // The sender is part of this.
        let _ = self.0.is_stopped.subscribe().wait_for(|is_stopped| *is_stopped).await;
    }

    /// Dies as a process does: it gives nothing back, nothing more goes out, and its meetings stop. Of what was under way to the
    /// store some arrives.
    pub fn kill(&self) {
        self.0.is_stopped.send_replace(true);
        self.0.link.set(Way::Gone);
        self.0.network.kill(&self.0.me);
        self.0.node.fence("the node was killed");
        drop(self.0.cluster.lock().take());
    }

    /// Hands over all its meetings, and takes none from then on.
    ///
    /// # Errors
    /// See [`admin::handle`](teammy_runtime::admin::handle).
    pub async fn drain(&self) -> Result<(), teammy_runtime::admin::Error> {
        let request = teammy_runtime::admin::Request::Drain { node: self.0.me.node.clone() };
        teammy_runtime::admin::handle(&self.0.node, request).await.map(drop)
    }

    /// Leaves the cluster and stops: see [`ClusterNode::shutdown`]. Nothing happens if it has stopped.
    ///
    /// # Errors
    /// Those of [`Node::shutdown`].
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), node::Error> {
        let Some(cluster) = self.0.cluster.lock().take() else { return Ok(()) };
        let result = cluster.shutdown(deadline).await;
        self.kill();
        result
    }
}
