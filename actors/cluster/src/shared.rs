//! The cluster's operations on this node (open, find, drain, move), for local callers and for other nodes.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use futures::{FutureExt, future::BoxFuture};
use teammy_kernel::{
    MeetingId, MeetingMetadata, Name, chain,
    log::Snapshot,
    store::{self, Incarnation},
};
use teammy_runtime::{
    MeetingRef, admin,
    node::{self, Error, HandOver, Opened},
};
use tokio::sync::{mpsc, oneshot};
use tracing::info;

use crate::{
    gateway::Operations,
    links::{CallError, LinkStatus},
    member::Member,
    protocol::{Answer, Ask, Ran},
    routed::RoutedMeeting,
    router::{Place, Router, Unplaced},
    settings::ClusterSettings,
};

/// The largest snapshot that goes over a link, in bytes.
const SNAPSHOT_BYTES: usize = 1 << 20;

/// What the runner is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// Hand everything over, and tell when that is done, or when nobody takes what is left.
    Drain(oneshot::Sender<()>),
    /// This meeting was handed over to this node.
    Received(MeetingId),
}

/// What the handle, the gateway and the node share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) router: Arc<Router>,
    pub(crate) settings: ClusterSettings,
    pub(crate) orders: mpsc::UnboundedSender<Order>,
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
            return Ok(node.ended(row));
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
                    return Ok(Opened::Ended(router.node.ended(row)));
                }
                Some(row) => {
                    let was_owned = row.owner.as_ref().is_some_and(|owner| router.is_live(owner));
                    let parts = (row.metadata.clone(), row.created);
                    let place = match router.node.running(&id) {
                        Some(meeting) => Ok(Place::Here(meeting)),
                        None => router.place_row(row).await,
                    };
                    match place {
                        Ok(Place::Over(meeting)) => return Ok(Opened::Ended(meeting)),
                        Ok(place) => {
                            let meeting = self.routed(&id, place, || parts);
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

    /// Hands a meeting that this node runs over to another one: that one has said that it has room, and resumes it at once.
    pub(crate) async fn hand_over_to(&self, id: &MeetingId, to: &Incarnation) -> Result<(), String> {
        let router = &self.router;
        if *to == router.me {
            return Ok(());
        }
        match router.ask(to, Some(id), &Ask::Offer).await {
            Ok(Answer::Done) => {}
            Ok(Answer::Full(reason)) => return Err(reason),
            Ok(_) => return Err(unexpected(to)),
            Err(error) => return Err(error.to_string()),
        }
        let snapshot = match router.node.hand_over(id, to.clone(), self.settings.grace).await {
            Ok(HandOver::Released { snapshot, .. }) => snapshot,
            Ok(HandOver::NotHere) => return Err("the meeting does not run here".to_owned()),
            Ok(_) => {
                // Another node has taken it over, or the target is gone and it goes on here.
                let _ = router.resume_own(id).await;
                return Err(format!("the store did not pass it on to {to}"));
            }
            Err(error) => {
                // Whoever owns it now: if it is this node, it goes on here.
                let _ = router.resume_own(id).await;
                return Err(format!(
                    "it is not known whether the store passed it on to {to}: {}",
                    chain(&error)
                ));
            }
        };
        // If this is lost, the new owner finds the meeting among those that it owns.
        let ask = snapshot.as_deref().and_then(take_over_from).unwrap_or(Ask::TakeOver);
        let answer = match router.ask(to, Some(id), &ask).await {
            // A node of an older version.
            Ok(Answer::Unread(_)) if ask != Ask::TakeOver => router.ask(to, Some(id), &Ask::TakeOver).await,
            answer => answer,
        };
        match answer {
            Ok(Answer::Done) => Ok(()),
            Ok(Answer::Full(reason)) => Err(passed_on(to, &reason)),
            Ok(_) => Err(passed_on(to, &unexpected(to))),
            Err(error) => Err(passed_on(to, &error.to_string())),
        }
    }

    /// Stops taking meetings, and hands all over. Returns how many are left.
    pub(crate) async fn drain_here(&self) -> usize {
        self.router.is_draining.store(true, Ordering::Relaxed);
        let (done, drained) = oneshot::channel();
        if self.orders.send(Order::Drain(done)).is_ok() {
            let _ = drained.await;
        }
        let left = self.router.node.meeting_count();
        info!(left, "drained");
        left
    }

    async fn report_all(&self) -> Result<admin::ClusterReport, Error> {
        let links = self.router.links().status();
        let leases = self.router.node.store().leases().all_leases().await.map_err(Error::Store)?;
        let nodes = leases.into_iter().map(|lease| {
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

/// None if a snapshot is large: the link has other things to carry, and the store has it.
fn take_over_from(snapshot: &Snapshot) -> Option<Ask> {
    let snapshot = serde_json::to_string(snapshot).ok()?;
    (snapshot.len() <= SNAPSHOT_BYTES).then_some(Ask::TakeOverFrom { snapshot })
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

/// A meeting was handed over, and is not known to run yet.
fn passed_on(to: &Incarnation, reason: &str) -> String {
    format!(
        "it was passed on to {to}, which owns it and is not known to run it yet; it looks for such meetings each 10 s: {reason}"
    )
}

fn unexpected(node: &Incarnation) -> String {
    format!("unexpected answer from node {node}; it may run another version of Teammy")
}

fn not_done(what: &str, reason: &dyn fmt::Display) -> Error {
    Error::NotDone(format!("{what}: {reason}"))
}

impl node::Cluster for Shared {
    fn open(&self, metadata: MeetingMetadata, instances: Vec<Name>) -> BoxFuture<'_, Result<Opened, Error>> {
        self.open_meeting(metadata, instances).boxed()
    }

    fn find<'a>(&'a self, id: &'a MeetingId) -> BoxFuture<'a, Result<MeetingRef, Error>> {
        self.find_meeting(id).boxed()
    }

    fn ask<'a>(&'a self, id: &'a MeetingId, request: String) -> BoxFuture<'a, Option<Result<String, Error>>> {
        async move {
            let router = &self.router;
            if router.node.running(id).is_some() {
                return None;
            }
            let row = match router.node.store().meeting(id.clone()).await {
                Ok(row) => row?,
                Err(error) => return Some(Err(Error::Store(error))),
            };
            let owner = row.owner.filter(|owner| *owner != router.me && router.is_live(owner))?;
            Some(match router.ask(&owner, Some(id), &Ask::Admin { request }).await {
                Ok(Answer::Json(text)) => Ok(text),
                Ok(Answer::NodeFailed(failure)) => Err(failure.into()),
                Ok(Answer::NotHere) => Err(Error::NotRunning(id.clone())),
                Ok(_) => Err(Error::NotDone(unexpected(&owner))),
                Err(error) => Err(not_done("it is not known whether it was done", &error)),
            })
        }
        .boxed()
    }

    fn report(&self) -> BoxFuture<'_, Result<admin::ClusterReport, Error>> {
        self.report_all().boxed()
    }

    fn drain<'a>(&'a self, node: &'a Name) -> BoxFuture<'a, Result<usize, Error>> {
        async move {
            let to = self.router.live(node)?;
            if to == self.router.me {
                return Ok(self.drain_here().await);
            }
            match self.router.ask(&to, None, &Ask::Drain).await {
                Ok(Answer::Number(left)) => Ok(usize::try_from(left).unwrap_or(usize::MAX)),
                Ok(_) => Err(not_done("the node was not drained", &unexpected(&to))),
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
                match self.router.ask(&owner, Some(id), &Ask::HandOver { to }).await {
                    Ok(Answer::Done) => Ok(()),
                    Ok(Answer::Full(reason)) => Err(reason),
                    Ok(_) => Err(unexpected(&owner)),
                    Err(error @ CallError::NotSent { .. }) => Err(error.to_string()),
                    Err(error) => Err(format!("it is not known whether it was: {error}")),
                }
            };
            moved.map_err(|reason| not_done("the meeting does not run there", &reason))
        }
        .boxed()
    }
}

impl Operations for Shared {
    fn take_over(&self, id: MeetingId, snapshot: Option<Snapshot>) -> BoxFuture<'_, Answer> {
        async move {
            let resumed = match snapshot {
                Some(snapshot) => self.router.resume_from(&id, snapshot).await,
                None => self.router.resume_own(&id).await,
            };
            match resumed {
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
        async move { Answer::Number(self.drain_here().await as u64) }.boxed()
    }
}
