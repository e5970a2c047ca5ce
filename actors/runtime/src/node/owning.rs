//! A node that owns meetings by its lease: what its cluster asks of it.

use std::{sync::Arc, time::Duration};

use teammy_kernel::{
    MeetingId,
    log::Snapshot,
    store::{Epoch, Incarnation},
};
use tracing::error;

use super::{cluster::Cluster, error::Error, handle::Node};

/// What became of a meeting that was [handed over](Node::hand_over).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum HandOver {
    /// It is released, and the other node owns it.
    #[non_exhaustive]
    Released {
        /// This was its ownership here.
        epoch: Epoch,
        /// With it the other node [goes on](Node::resume_from) without reading the store. None if it has to read.
        snapshot: Option<Box<Snapshot>>,
    },
    /// It is released, and the other node does not own it: that one's lease has ended, or yet another node has taken the meeting over.
    Kept,
    /// This node does not run it.
    NotHere,
}

impl Node {
    /// Has the node be part of a cluster from now on; it needs an [owner](super::Builder::owner). The caller keeps the cluster.
    ///
    /// # Panics
    /// If it is part of one already.
    pub fn join(&self, cluster: &Arc<dyn Cluster>) {
        assert!(self.cluster.set(Arc::downgrade(cluster)).is_ok(), "the node is part of a cluster already");
    }

    /// As which incarnation it owns meetings, if its store is shared.
    pub fn owner(&self) -> Option<&Incarnation> {
        self.owner.as_ref()
    }

    /// Whether it is part of a cluster, so that meetings run on other nodes, too.
    pub fn is_in_cluster(&self) -> bool {
        self.cluster.get().is_some()
    }

    pub(crate) fn cluster(&self) -> Option<Arc<dyn Cluster>> {
        self.cluster.get()?.upgrade()
    }

    /// Stops running a meeting, so that `to` can take it over at once: nothing more is accepted or delivered, hooks that still run
    /// after `grace` are cut off, to run again on the next owner, all that was accepted is stored, and the meeting belongs to `to`,
    /// which is to [resume](Self::resume_from) it.
    ///
    /// # Errors
    /// [`Error::Store`]: the meeting is released, and the store may still name this node as its owner, which then is to resume it.
    ///
    /// # Cancel safety
    /// A dropped call does not call it off.
    pub async fn hand_over(
        &self,
        id: &MeetingId,
        to: Incarnation,
        grace: Duration,
    ) -> Result<HandOver, Error> {
        let _reserved = self.reserved.reserve(id).await;
        let Some(meeting) = self.local_meeting(id) else { return Ok(HandOver::NotHere) };
        let snapshot = meeting.hand_over_within(grace).await.map(Box::new);
        let leases = self.resources().store.leases();
        match leases.pass_on(id.clone(), meeting.epoch(), Some(to)).await {
            Ok(true) => Ok(HandOver::Released { epoch: meeting.epoch(), snapshot }),
            Ok(false) => Ok(HandOver::Kept),
            Err(error) => Err(Error::Store(error)),
        }
    }

    /// Stops all meetings at once, and takes none from now on: the node's lease has ended, and others may own them. What was not
    /// stored is lost.
    pub fn fence(&self, reason: &str) {
        let meetings: Vec<_> = {
            let mut meetings = self.meetings.lock();
            *self.fenced.lock() = Some(reason.into());
            meetings.drain().map(|(_, meeting)| meeting).collect()
        };
        if !meetings.is_empty() {
            error!(meetings = meetings.len(), reason, "this node stops all its meetings");
        }
        for meeting in meetings {
            meeting.kill(reason);
        }
    }

    /// # Errors
    /// [`Error::NoMember`] once the node is [fenced](Self::fence).
    pub(super) fn check_fence(&self) -> Result<(), Error> {
        match &*self.fenced.lock() {
            Some(reason) => Err(Error::NoMember(reason.to_string())),
            None => Ok(()),
        }
    }
}
