//! The peers of a node, and the tasks of their connections.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use teammy_kernel::store::Incarnation;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout},
};
use tracing::{debug, info};

use crate::{
    handler::Handler,
    link::{
        peer::Peer,
        session::{Frames, Session},
        settings::LinkSettings,
        state::Broken,
    },
    transport::{Connection, Transport},
};

/// How many nodes that are not in the view may have a link.
pub(crate) const MAX_STRANGERS: usize = 64;

/// How long a node may have a link without being in the view: views are behind by up to a second.
pub(crate) const STRANGER: Duration = Duration::from_secs(10);

/// How many connections may be in their handshake that other nodes made.
const MAX_GREETINGS: usize = 64;

/// How long a link is kept for the calls under way when its peer has left the view.
const DRAIN: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) me: Incarnation,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) settings: LinkSettings,
    handler: Arc<dyn Handler>,
    peers: Mutex<BTreeMap<Incarnation, Arc<Peer>>>,
    /// Incarnations whose leases have ended.
    ended: Mutex<HashSet<Incarnation>>,
    tasks: Mutex<JoinSet<()>>,
    greetings: Arc<Semaphore>,
}

impl Registry {
    pub(crate) fn new(
        me: Incarnation,
        transport: Arc<dyn Transport>,
        handler: Arc<dyn Handler>,
        settings: LinkSettings,
    ) -> Arc<Self> {
        Arc::new(Self {
            me,
            transport,
            settings,
            handler,
            peers: Mutex::default(),
            ended: Mutex::default(),
            tasks: Mutex::default(),
            greetings: Arc::new(Semaphore::new(MAX_GREETINGS)),
        })
    }

    /// Another node, if it is in the view or has a link.
    pub(crate) fn peer(&self, incarnation: &Incarnation) -> Option<Arc<Peer>> {
        self.peers.lock().get(incarnation).cloned()
    }

    /// All of them.
    pub(crate) fn peers(&self) -> Vec<Arc<Peer>> {
        self.peers.lock().values().cloned().collect()
    }

    /// Another node is in the view.
    pub(crate) fn member(&self, incarnation: &Incarnation) -> Arc<Peer> {
        let mut peers = self.peers.lock();
        let peer = peers
            .entry(incarnation.clone())
            .or_insert_with(|| Peer::new(incarnation.clone(), Arc::clone(&self.handler), None));
        *peer.stranger_until.lock() = None;
        Arc::clone(peer)
    }

    /// These have ended: they get no link.
    pub(crate) fn ended(&self, ended: &[Incarnation]) {
        *self.ended.lock() = ended.iter().cloned().collect();
    }

    /// Closes the links of nodes that are neither in the view nor new: at once if they have ended, else when the calls under way
    /// have their answers.
    pub(crate) fn close_others(self: &Arc<Self>, members: &HashSet<Incarnation>, now: Instant) {
        let is_ended = |incarnation: &Incarnation| self.ended.lock().contains(incarnation);
        let mut gone = Vec::new();
        self.peers.lock().retain(|incarnation, peer| {
            let is_new = peer.stranger_until.lock().is_some_and(|until| now < until);
            let stays = members.contains(incarnation) || is_new && !is_ended(incarnation);
            if !stays {
                gone.push(Arc::clone(peer));
            }
            stays
        });
        for peer in gone {
            info!(peer = %peer.incarnation, "the node is not there any more: its link is closed");
            let reason = "it is no member";
            let Some(session) = peer.close(reason) else { continue };
            if is_ended(&peer.incarnation) {
                session.close(reason);
            } else {
                self.spawn(async move {
                    let _ = timeout(DRAIN, session.idle()).await;
                    session.close(reason);
                });
            }
        }
    }

    /// Runs a task until the links are dropped.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Closes everything.
    pub(crate) fn close(&self) {
        self.tasks.lock().abort_all();
        for peer in self.peers() {
            if let Some(session) = peer.close("this node has closed its links") {
                session.close("the node has closed its links");
            }
        }
    }

    /// Takes the connections that other nodes make.
    pub(crate) async fn accept(self: Arc<Self>) {
        while let Some(connection) = self.transport.accept().await {
            // One that is not taken is closed by dropping it.
            if let Ok(permit) = Arc::clone(&self.greetings).try_acquire_owned() {
                let registry = Arc::clone(&self);
                self.spawn(async move {
                    let greeted = registry.greet(connection).await;
                    drop(permit);
                    if let Some((peer, session, frames)) = greeted {
                        run(peer, session, frames).await;
                    }
                });
            } else {
                debug!(peer = %connection.peer, "too many connections at a time: one is refused");
            }
        }
    }

    /// Makes the acquaintance of whoever made a connection.
    async fn greet(&self, connection: Connection) -> Option<(Arc<Peer>, Arc<Session>, Frames)> {
        let Connection { peer: known, sender, receiver: mut frames } = connection;
        let session = Session::new(&self.me, known.clone(), sender, &self.settings, false);
        let greeted = session.greeted(&mut frames).await;
        let taken = greeted.and_then(|peer| {
            // The transport knows a node by its name only.
            if peer.node != known.node {
                return Err(format!("{known} says that it is {peer}").into());
            }
            self.take(&peer, &session)
        });
        match taken {
            Ok(peer) => {
                session.greet();
                Some((peer, session, frames))
            }
            Err(reason) => {
                debug!(peer = %known, reason = &*reason, "a connection is refused");
                session.close(&reason);
                None
            }
        }
    }

    /// Takes a connection that another node made.
    fn take(&self, incarnation: &Incarnation, session: &Arc<Session>) -> Result<Arc<Peer>, Broken> {
        if *incarnation == self.me {
            return Err("it is this node itself".into());
        }
        if self.ended.lock().contains(incarnation) {
            return Err("its lease has ended".into());
        }
        let mut peers = self.peers.lock();
        let peer = if let Some(peer) = peers.get(incarnation) {
            Arc::clone(peer)
        } else {
            let strangers = peers.values().filter(|peer| peer.stranger_until.lock().is_some()).count();
            if strangers >= MAX_STRANGERS {
                return Err("there are too many nodes that are no members".into());
            }
            let until = Instant::now() + STRANGER;
            let peer = Peer::new(incarnation.clone(), Arc::clone(&self.handler), Some(until));
            peers.insert(incarnation.clone(), Arc::clone(&peer));
            peer
        };
        drop(peers);
        self.attach(&peer, session)?;
        Ok(peer)
    }

    /// Takes a connection as a peer's link. Of two that both sides made, that of the smaller incarnation is kept; of two that one
    /// side made, the newer.
    pub(crate) fn attach(&self, peer: &Peer, session: &Arc<Session>) -> Result<(), Broken> {
        let is_mine_first = self.me < peer.incarnation;
        peer.attach(session, |older| {
            older.is_dialled != session.is_dialled && older.is_dialled == is_mine_first
        })
    }
}

/// Closes a connection when what runs it is dropped: whoever waits for it is told.
struct Closes(Arc<Session>);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.close("this node has closed its links");
    }
}

/// Runs a connection until it ends.
pub(crate) async fn run(peer: Arc<Peer>, session: Arc<Session>, frames: Frames) {
    let _closes = Closes(Arc::clone(&session));
    let (server, from) = (Arc::clone(&peer.server), Arc::clone(&session));
    let reason = Arc::clone(&session).run(frames, move |request| server.serve(&from, request)).await;
    peer.detach(&session, &reason);
}
