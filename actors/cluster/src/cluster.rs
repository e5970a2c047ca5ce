//! A node of a cluster: the handle, and what the node's own calls ask of it.

use std::{
    fmt,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use teammy_kernel::{
    MeetingId, MeetingMetadata, Name, chain,
    store::{self, Incarnation, LeaseRecord},
};
use teammy_runtime::{
    MeetingRef, Node, admin,
    node::{self, Error, HandOver, Opened},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tracing::{info, warn};

use crate::{
    gateway::{Gateway, Operations},
    links::{CallError, LinkSettings, LinkStatus, Links},
    member::{Member, NodeDocument},
    membership::{Membership, View},
    protocol::{Answer, Ask, Ran},
    rebalance,
    routed::RoutedMeeting,
    router::{Place, Router, Unplaced},
    runner::{Order, Runner},
    takeover,
    transport::Transport,
};

/// How a node takes part in its cluster.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClusterSettings {
    /// How links behave.
    pub links: LinkSettings,
    /// How long a call for a meeting whose node is away is tried.
    pub patience: Duration,
    /// How long hooks may still run when their meeting is handed over.
    pub grace: Duration,
    /// How meetings of dead nodes are taken over.
    pub takeover: takeover::Settings,
    /// How meetings are moved to where they belong.
    pub rebalance: rebalance::Settings,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            links: LinkSettings::default(),
            patience: Duration::from_secs(10),
            grace: Duration::from_millis(250),
            takeover: takeover::Settings::default(),
            rebalance: rebalance::Settings::default(),
        }
    }
}

/// A node that is part of a cluster. Dropping it stops its links, its tasks and its node's meetings, and gives nothing back: use
/// [`shutdown`](Self::shutdown).
pub struct ClusterNode {
    shared: Arc<Shared>,
    membership: Membership,
    runner: JoinHandle<()>,
    /// The links' tasks end with it.
    acceptor: Arc<dyn Transport>,
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
        self.shared.router.node.fence("the node is no part of its cluster any more");
    }
}

/// What the handle, the gateway and the node share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) router: Arc<Router>,
    settings: ClusterSettings,
    orders: mpsc::UnboundedSender<Order>,
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
        settings: ClusterSettings,
    ) -> Self {
        let (me, view) = (membership.incarnation().clone(), membership.view());
        let router =
            Router::new(me.clone(), node.clone(), view.clone(), document.capacity, settings.patience);
        let (router, (orders, received)) = (Arc::new(router), mpsc::unbounded_channel());
        let shared = Arc::new(Shared { router: router.clone(), settings: settings.clone(), orders });
        let operations: Weak<dyn Operations> = Arc::downgrade(&(shared.clone() as Arc<dyn Operations>));
        let gateway = Arc::new(Gateway::new(router.clone(), operations));
        router.connect(Links::start(me, transport.clone(), gateway, view, settings.links.clone()));
        node.join(&(shared.clone() as Arc<dyn node::Cluster>));
        let runner = Runner::new(shared.clone(), membership.teller(), document, &settings);
        Self { shared, membership, runner: tokio::spawn(runner.run(received)), acceptor: transport }
    }

    /// Which run of which node this is.
    pub fn incarnation(&self) -> &Incarnation {
        self.membership.incarnation()
    }

    /// Who is there.
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
        self.shared.drain_here().await;
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
        let Self { membership, .. } = &self;
        membership.give_back().await;
        drop(self.acceptor.clone());
        result
    }
}

impl Shared {
    fn routed(&self, id: &MeetingId, place: Place, row: impl FnOnce() -> RowParts) -> MeetingRef {
        match place {
            Place::Over(meeting) => meeting,
            Place::Here(meeting) => RoutedMeeting::here(self.router.clone(), meeting).into_ref(),
            Place::There(owner) => {
                let (metadata, created) = row();
                debug_assert_eq!(metadata.id, *id);
                RoutedMeeting::of_row(self.router.clone(), metadata, created, Some(owner)).into_ref()
            }
        }
    }

    async fn find_meeting(&self, id: &MeetingId) -> Result<MeetingRef, Error> {
        let node = &self.router.node;
        if let Some(meeting) = node.running(id) {
            return Ok(RoutedMeeting::here(self.router.clone(), meeting).into_ref());
        }
        let row = node.store().meeting(id.clone()).await.map_err(Error::Store)?;
        let row = row.ok_or_else(|| Error::NoMeeting(id.clone()))?;
        if row.status == store::MeetingStatus::Ended {
            return node.find_here(id).await;
        }
        let owner = row.owner.filter(|owner| *owner != self.router.me);
        Ok(RoutedMeeting::of_row(self.router.clone(), row.metadata, row.created, owner).into_ref())
    }

    async fn open_meeting(&self, metadata: MeetingMetadata, instances: Vec<Name>) -> Result<Opened, Error> {
        let (router, id) = (&self.router, metadata.id.clone());
        let mut tries = router.tries();
        loop {
            let row = router.node.store().meeting(id.clone()).await.map_err(Error::Store)?;
            let why = match row {
                Some(row) if row.status == store::MeetingStatus::Ended => {
                    return Ok(Opened::Ended(router.node.find_here(&id).await?));
                }
                Some(row) => {
                    let was_owned = row.owner.as_ref().is_some_and(|owner| router.is_live(owner));
                    match router.place(&id, None).await {
                        Ok(Place::Over(meeting)) => return Ok(Opened::Ended(meeting)),
                        Ok(place) => {
                            let meeting = self.routed(&id, place, || (row.metadata, row.created));
                            return Ok(if was_owned {
                                Opened::Running(meeting)
                            } else {
                                Opened::Resumed(meeting)
                            });
                        }
                        Err(Unplaced::Never(error)) => return Err(error),
                        Err(Unplaced::Later(why)) => why,
                    }
                }
                None => match router.run_somewhere(&id, Some((metadata.clone(), instances.clone()))).await {
                    Ok((place, ran)) => {
                        // Another call may have been first: then the meeting has that one's metadata.
                        let row = router.node.store().meeting(id.clone()).await.map_err(Error::Store)?;
                        let parts = row.map(|row| (row.metadata, row.created));
                        let meeting = self.routed(&id, place, || parts.unwrap_or((metadata, None)));
                        return Ok(match ran {
                            Ran::Started => Opened::Started(meeting),
                            Ran::Resumed => Opened::Resumed(meeting),
                            Ran::Already => Opened::Running(meeting),
                            Ran::HasEnded => Opened::Ended(meeting),
                        });
                    }
                    Err(Unplaced::Never(error)) => return Err(error),
                    Err(Unplaced::Later(why)) => why,
                },
            };
            if !tries.wait(&why).await {
                return Err(Error::NoRoom { meeting: id, reason: why });
            }
        }
    }

    /// Hands a meeting that this node runs over to another one: that one has promised to take it, and resumes it at once.
    pub(crate) async fn hand_over_to(&self, id: &MeetingId, to: &Incarnation) -> Result<(), String> {
        let router = &self.router;
        if *to == router.me {
            return Ok(());
        }
        match router.ask(to, id, &Ask::Offer).await {
            Ok(Answer::Done) => {}
            Ok(Answer::Full(reason)) => return Err(reason),
            Ok(answer) => return Err(format!("node {to} answered {answer:?}")),
            Err(error) => return Err(error.to_string()),
        }
        match router.node.hand_over(id, to.clone(), self.settings.grace).await {
            Ok(HandOver::Released(_)) => {}
            Ok(HandOver::NotHere) => return Err("the meeting does not run here".to_owned()),
            Ok(_) | Err(_) => {
                // This node still owns it, or nobody does: it goes on here.
                let _ = router.resume_own(id).await;
                return Err(format!("the store did not pass it on to {to}"));
            }
        }
        // If this is lost, the new owner finds the meeting among those that it owns.
        match router.ask(to, id, &Ask::TakeOver).await {
            Ok(Answer::Done) => Ok(()),
            Ok(answer) => Err(format!("node {to} could not take it over: {answer:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Stops taking meetings, and hands all over.
    pub(crate) async fn drain_here(&self) {
        self.router.is_draining.store(true, Ordering::Relaxed);
        let (done, drained) = tokio::sync::oneshot::channel();
        if self.orders.send(Order::Drain(done)).is_ok() {
            let _ = drained.await;
        }
        info!(left = self.router.node.meeting_count(), "drained");
    }

    async fn leases(&self) -> Result<Vec<LeaseRecord>, Error> {
        self.router.node.store().leases().all_leases().await.map_err(Error::Store)
    }

    async fn report_all(&self) -> Result<admin::ClusterReport, Error> {
        let links = self.router.links().status();
        let nodes = self.leases().await?.into_iter().map(|lease| {
            let Member { incarnation, document } = Member::of(&lease);
            let link = links.iter().find(|link| link.peer == incarnation);
            admin::NodeReport {
                lease: lease.status,
                left_ms: u64::try_from(lease.left.as_millis()).unwrap_or(u64::MAX),
                version: document.version,
                layouts: document.layouts.map(|layouts| (layouts.from, layouts.to)),
                capacity: document.capacity,
                meetings: if incarnation == self.router.me {
                    self.router.reserved()
                } else {
                    document.reserved
                },
                is_draining: document.is_draining,
                api: document.api,
                link: link.map(link_report),
                incarnation,
            }
        });
        let mut nodes: Vec<_> = nodes.collect();
        nodes.sort_by(|a, b| a.incarnation.cmp(&b.incarnation));
        Ok(admin::ClusterReport::new(self.router.me.clone(), nodes))
    }
}

type RowParts = (MeetingMetadata, Option<teammy_kernel::Timestamp>);

fn link_report(link: &LinkStatus) -> admin::LinkReport {
    admin::LinkReport {
        is_up: link.is_up,
        silence_ms: link.silence.map(|silence| u64::try_from(silence.as_millis()).unwrap_or(u64::MAX)),
        under_way: link.under_way as u64,
        waiting: link.waiting as u64,
        breaks: link.breaks,
        reason: link.reason.as_ref().map(ToString::to_string),
    }
}

fn not_done(what: &str, reason: &dyn fmt::Display) -> Error {
    Error::Start(format!("{what}: {reason}"))
}

impl node::Cluster for Shared {
    fn open(&self, metadata: MeetingMetadata, instances: Vec<Name>) -> BoxFuture<'_, Result<Opened, Error>> {
        self.open_meeting(metadata, instances).boxed()
    }

    fn find<'a>(&'a self, id: &'a MeetingId) -> BoxFuture<'a, Result<MeetingRef, Error>> {
        self.find_meeting(id).boxed()
    }

    fn ask<'a>(
        &'a self,
        id: &'a MeetingId,
        request: &'a admin::Request,
    ) -> BoxFuture<'a, Option<Result<admin::Response, admin::Error>>> {
        async move {
            let router = &self.router;
            if router.node.running(id).is_some() {
                return None;
            }
            let row = match router.node.store().meeting(id.clone()).await {
                Ok(row) => row?,
                Err(error) => return Some(Err(Error::Store(error).into())),
            };
            let owner = row.owner.filter(|owner| *owner != router.me && router.is_live(owner))?;
            let form = serde_json::to_string(request).expect("invariant: a request has a JSON form");
            let answer = router.ask(&owner, id, &Ask::Admin { request: form }).await;
            Some(match answer {
                Ok(Answer::Json(text)) => admin::Response::from_json(&text)
                    .map_err(|error| not_done("the node's answer cannot be read", &error).into()),
                Ok(Answer::NodeFailed(failure)) => Err(Error::from(failure).into()),
                Ok(Answer::NotHere) => Err(admin::Error::NotRunning(id.clone())),
                Ok(answer) => {
                    Err(not_done("the node's answer cannot be read", &format!("{answer:?}")).into())
                }
                Err(error) => Err(not_done("it is not known whether it was done", &error).into()),
            })
        }
        .boxed()
    }

    fn report(&self) -> BoxFuture<'_, Result<admin::ClusterReport, Error>> {
        self.report_all().boxed()
    }

    fn drain<'a>(&'a self, node: &'a Name) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let to = self.router.live(node)?;
            if to == self.router.me {
                self.drain_here().await;
                return Ok(());
            }
            let body =
                crate::protocol::encode(&Ask::Drain).map_err(|error| not_done("drain", &chain(&error)))?;
            match self.router.call(&to, None, false, body).await {
                Ok(Answer::Done) => Ok(()),
                Ok(answer) => Err(not_done("the node was not drained", &format!("{answer:?}"))),
                Err(error) => Err(not_done("it is not known whether the node was drained", &error)),
            }
        }
        .boxed()
    }

    fn move_to<'a>(&'a self, id: &'a MeetingId, node: &'a Name) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            let to = self.router.live(node)?;
            let owner = match self.router.place(id, None).await {
                Ok(Place::Here(_)) => self.router.me.clone(),
                Ok(Place::There(owner)) => owner,
                Ok(Place::Over(_)) => return Err(Error::Ended(id.clone())),
                Err(Unplaced::Never(error)) => return Err(error),
                Err(Unplaced::Later(why)) => return Err(not_done("the meeting was not moved", &why)),
            };
            if owner == to {
                return Ok(());
            }
            let moved = if owner == self.router.me {
                self.hand_over_to(id, &to).await
            } else {
                match self.router.ask(&owner, id, &Ask::HandOver { to }).await {
                    Ok(Answer::Done) => Ok(()),
                    Ok(Answer::Full(reason)) => Err(reason),
                    Ok(answer) => Err(format!("{answer:?}")),
                    Err(error @ CallError::NotSent { .. }) => Err(error.to_string()),
                    Err(error) => Err(format!("it is not known whether it was: {error}")),
                }
            };
            moved.map_err(|reason| not_done("the meeting was not moved", &reason))
        }
        .boxed()
    }
}

impl Operations for Shared {
    fn take_over(&self, id: MeetingId) -> BoxFuture<'_, Answer> {
        async move {
            match self.router.resume_own(&id).await {
                Ok(Place::Here(_) | Place::Over(_)) => {
                    let _ = self.orders.send(Order::Received(id));
                    Answer::Done
                }
                Ok(Place::There(owner)) => Answer::OwnedBy(owner),
                Err(Unplaced::Later(why)) => Answer::Full(why),
                Err(Unplaced::Never(error)) => Answer::NodeFailed(error.into()),
            }
        }
        .boxed()
    }

    fn hand_over(&self, id: MeetingId, to: Incarnation) -> BoxFuture<'_, Answer> {
        async move {
            match self.hand_over_to(&id, &to).await {
                Ok(()) => Answer::Done,
                Err(reason) => Answer::Full(reason),
            }
        }
        .boxed()
    }

    fn drain(&self) -> BoxFuture<'_, Answer> {
        async move {
            self.drain_here().await;
            Answer::Done
        }
        .boxed()
    }
}
