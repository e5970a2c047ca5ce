//! The links of a node to the others.
//!
//! ```text
//! Links ──▶ Registry ──▶ Peer ──▶ Session (one connection) ──▶ State (its rules)
//!   │           │          │
//!   │           │          └──▶ Server (handlers, lanes of ordered calls)
//!   │           └──▶ connections that others make
//!   └──▶ a dialler for each peer that this node has to reach
//! ```
//!
//! # Invariants
//! * Of two nodes one dials: the one with the smaller incarnation, or where only one has an address, the other. Both read that
//!   from the view.
//! * What was not sent was not seen: [`CallError::NotSent`] is said only where no part of a call was handed to the transport.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use teammy_kernel::store::Incarnation;
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, interval},
};

pub use crate::link::{fault::CallError, peer::LinkStatus, settings::LinkSettings};
use crate::{
    handler::{Call, Handler},
    link::{dialler::dial, outbox::Asked, peer::Peer, registry::Registry, session::Reply},
    membership::View,
    transport::Transport,
};

/// How often links of nodes that are not in the view are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What a caller gets of a stream that was opened: the answer, and the items if there are any.
pub type Opened = (Bytes, Option<BoxStream<'static, Result<Bytes, CallError>>>);

/// The links of a node to all other members. Dropping it closes them: calls end, and streams with an error.
pub struct Links {
    registry: Arc<Registry>,
    view: watch::Receiver<View>,
    tasks: Vec<AbortHandle>,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("me", &self.registry.me).finish_non_exhaustive()
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.close();
    }
}

impl Links {
    /// Closes all links, as dropping this does: for an owner that the handler of the links refers to.
    pub(crate) fn close(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        self.registry.close();
    }

    /// Keeps a link with each member of `view` that has an address, or that reaches this node: of two nodes the one with the
    /// smaller incarnation dials, unless only its own address is known.
    pub fn start(
        me: Incarnation,
        transport: Arc<dyn Transport>,
        handler: Arc<dyn Handler>,
        view: watch::Receiver<View>,
        settings: LinkSettings,
    ) -> Self {
        let registry = Registry::new(me, transport, handler, settings);
        let accept = tokio::spawn(Arc::clone(&registry).accept());
        let manager = Manager { registry: Arc::clone(&registry), diallers: HashMap::new() };
        let manage = tokio::spawn(manager.run(view.clone()));
        Self { registry, view, tasks: vec![accept.abort_handle(), manage.abort_handle()] }
    }

    /// Asks a node for something and waits for its answer. It waits while the window is full, and for a link that is being made no
    /// longer than a heartbeat. A body may have 8 MiB, or what the window has if that is less.
    ///
    /// # Errors
    /// Those of [`CallError`]. A handler that panicked there is [`CallError::Unknown`].
    ///
    /// # Cancel safety
    /// A dropped call may have been sent. One that was not is not sent.
    pub async fn call(&self, to: &Incarnation, call: Call) -> Result<Bytes, CallError> {
        self.ask(to, call, Asked::Call).await.map(|(body, _)| body)
    }

    /// Asks a node for a stream: its answer, and the items until the first error. Items come as fast as they are taken.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    /// Dropping it, or the items, ends the stream at the node.
    pub async fn open(&self, to: &Incarnation, call: Call) -> Result<Opened, CallError> {
        let (body, items) = self.ask(to, call, Asked::Open).await?;
        Ok((body, items.map(StreamExt::boxed)))
    }

    async fn ask(&self, to: &Incarnation, call: Call, asked: Asked) -> Result<Reply, CallError> {
        let until = Instant::now() + self.registry.settings.heartbeat;
        // The caller may have seen a view that the task which follows it has not.
        let is_member = || self.view.borrow().members.iter().any(|member| member.incarnation == *to);
        let peer = self.registry.peer(to).or_else(|| is_member().then(|| self.registry.member(to)));
        match peer {
            Some(peer) => peer.ask(call, asked, until).await,
            None => Err(CallError::NotSent { peer: to.clone(), reason: "it is no member".into() }),
        }
    }

    /// The state of each link, by incarnation.
    pub fn status(&self) -> Vec<LinkStatus> {
        let now = Instant::now();
        self.registry.peers().iter().map(|peer| peer.status(now)).collect()
    }
}

/// Follows the view.
struct Manager {
    registry: Arc<Registry>,
    /// What dials, and where.
    diallers: HashMap<Incarnation, (String, Dialler)>,
}

/// A task that dials until this is dropped.
struct Dialler(AbortHandle);

impl Drop for Dialler {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Manager {
    async fn run(mut self, mut view: watch::Receiver<View>) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_followed = true;
        loop {
            let seen = view.borrow_and_update().clone();
            self.follow(&seen);
            // Without membership the last view holds until the links are dropped.
            tokio::select! {
                biased;
                changed = view.changed(), if is_followed => is_followed = changed.is_ok(),
                _ = looks.tick() => {}
            }
        }
    }

    fn follow(&mut self, view: &View) {
        let me = &self.registry.me;
        let address = view
            .members
            .iter()
            .find(|member| member.incarnation == *me)
            .map_or_else(|| self.registry.transport.address(), |member| member.document.link.clone());
        let members: HashSet<_> = view.members.iter().map(|member| member.incarnation.clone()).collect();
        self.diallers.retain(|incarnation, _| members.contains(incarnation));
        self.registry.ended(&view.ended);
        for member in view.members.iter().filter(|member| member.incarnation != *me) {
            let peer = self.registry.member(&member.incarnation);
            let theirs = member.document.link.as_ref();
            match theirs.filter(|_| dials(me, &member.incarnation, address.is_some())) {
                Some(theirs) => start(&mut self.diallers, &self.registry, peer, theirs),
                None => drop(self.diallers.remove(&member.incarnation)),
            }
        }
        self.registry.close_others(&members, Instant::now());
    }
}

/// Whether this node dials a peer that has an address.
fn dials(me: &Incarnation, peer: &Incarnation, has_address: bool) -> bool {
    me < peer || !has_address
}

/// Starts to dial, unless that is done already.
fn start(
    diallers: &mut HashMap<Incarnation, (String, Dialler)>,
    registry: &Arc<Registry>,
    peer: Arc<Peer>,
    address: &str,
) {
    let incarnation = peer.incarnation.clone();
    if diallers.get(&incarnation).is_some_and(|(present, _)| present == address) {
        return;
    }
    let task = tokio::spawn(dial(Arc::clone(registry), peer, address.into()));
    diallers.insert(incarnation, (address.into(), Dialler(task.abort_handle())));
}

#[cfg(test)]
mod tests;
