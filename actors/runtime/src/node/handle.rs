//! The way to a node from outside.

use std::{fmt, sync::Arc, time::Duration};

use ractor::ActorRef;
use teammy_kernel::{MeetingId, Store, graph::Graph};
use tokio::{runtime::Runtime, time::Instant};
use tracing::{info, warn};

use super::{
    actor,
    error::Error,
    registry::{Meetings, Reserved, ReservedGuard},
    watchdog::Watchdog,
};
use crate::{
    clock,
    meeting::{LocalMeeting, MeetingRef},
    resources::Resources,
};

/// How much a node keeps in memory of its meetings' packets, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryUse {
    /// What it keeps, to within 16 KiB a meeting. It does not count the batches that instances have
    /// (`delivery.batch_bytes` each at most), nor the packets in the meetings' ingresses
    /// (`delivery.backlog_bytes` each at most).
    pub used: usize,
    /// Above this publishers wait.
    pub limit: usize,
}

/// A running node. Dropping it ends its meetings' actors at once, without ending the meetings;
/// [`Node::shutdown`] does it gracefully.
pub struct Node {
    pub(super) resources: Arc<Resources>,
    pub(super) meetings: Meetings,
    pub(super) reserved: Reserved,
    pub(super) actor: ActorRef<actor::Message>,
    pub(super) _watchdog: Watchdog,
    /// The plugins' runtime, if it is this node's own.
    pub(super) runtime: Option<Runtime>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("meetings", &self.meetings.lock().len()).finish_non_exhaustive()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for (_, meeting) in self.meetings.lock().drain() {
            meeting.kill("the node is gone");
        }
        self.actor.stop(None);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Node {
    /// The instances and sources that are configured.
    pub fn graph(&self) -> &Graph {
        &self.resources.graph
    }

    /// Whether a language model is configured. Without one a meeting refuses instances that need it.
    pub fn has_llm(&self) -> bool {
        self.resources.llm.is_configured()
    }

    /// How much all meetings together keep in memory of their packets, and the bound (`node.memory`).
    pub fn memory(&self) -> MemoryUse {
        let memory = &self.resources.memory;
        MemoryUse { used: memory.used(), limit: memory.limit() }
    }

    /// The store in which meetings are kept.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.resources.store
    }

    /// A meeting that this node runs.
    pub fn meeting(&self, id: &MeetingId) -> Option<MeetingRef> {
        self.local_meeting(id).map(Into::into)
    }

    /// The meetings that this node runs, by id.
    pub fn meetings(&self) -> Vec<MeetingRef> {
        self.local_meetings().into_iter().map(Into::into).collect()
    }

    pub(crate) fn local_meeting(&self, id: &MeetingId) -> Option<LocalMeeting> {
        self.meetings.lock().get(id).cloned()
    }

    pub(crate) fn local_meetings(&self) -> Vec<LocalMeeting> {
        let mut meetings: Vec<_> = self.meetings.lock().values().cloned().collect();
        meetings.sort_by(|a, b| a.id().cmp(b.id()));
        meetings
    }

    pub(crate) fn resources(&self) -> &Resources {
        &self.resources
    }

    /// Forgets a meeting: deletes everything that is stored of it, and ends the meeting's actors if this node
    /// runs it. An owner elsewhere is fenced. Returns whether anything was stored of it.
    ///
    /// From then on the database shows nothing of it. What the database's files still hold is overwritten when
    /// the database compacts them: see `docs/embedding.md`.
    ///
    /// # Errors
    /// [`Error::Store`]: a part of it may be gone; call it again.
    ///
    /// # Cancel safety
    /// As for an error.
    pub async fn forget(&self, id: &MeetingId) -> Result<bool, Error> {
        if let Some(meeting) = self.meetings.lock().remove(id) {
            meeting.kill("it was forgotten");
        }
        // Keeps this node from taking it over meanwhile.
        let _reserved = ReservedGuard::new(&self.reserved, &self.meetings, id)?;
        self.resources.store.forget(id.clone()).await.map_err(Error::Store)
    }

    /// Stops gracefully: meetings finish what is in flight, store it and are released, without being ended;
    /// then every plugin's `on_shutdown` runs, and the store is closed. What is not done within `deadline` is
    /// cut off.
    ///
    /// # Errors
    /// [`Error::Deadline`] if something was cut off: nothing that was stored is lost, but hooks that were cut
    /// off run again when the meeting is resumed. [`Error::Store`] if the store could not be closed.
    ///
    /// # Cancel safety
    /// A dropped call leaves the rest to `drop`.
    pub async fn shutdown(mut self, deadline: Duration) -> Result<(), Error> {
        let until = Instant::now() + deadline.min(clock::FOREVER);
        let meetings = self.local_meetings();
        info!(meetings = meetings.len(), "node shuts down");
        let releases = futures::future::join_all(meetings.iter().map(LocalMeeting::release));
        let mut in_time = tokio::time::timeout_at(until, releases).await.is_ok();
        for meeting in self.local_meetings() {
            meeting.kill("the node is shutting down");
        }
        in_time &= self.shut_down_plugins(until).await;
        let closed = tokio::time::timeout_at(
            until.max(Instant::now() + Duration::from_secs(1)),
            self.resources.store.close(),
        )
        .await;
        self.actor.stop(None);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        match closed {
            Ok(closed) => closed.map_err(Error::Store)?,
            Err(_) => in_time = false,
        }
        if in_time { Ok(()) } else { Err(Error::Deadline(deadline)) }
    }

    async fn shut_down_plugins(&self, until: Instant) -> bool {
        let mut in_time = true;
        // `on_shutdown` belongs to no meeting, and neither do its requests to language models.
        let no_meeting = MeetingId::new("(shutdown)").expect("invariant: a well-formed id");
        for (instance, plugin) in &self.resources.plugins {
            let (models, meeting) = (self.resources.llm.clone(), no_meeting.clone());
            let (plugin, name) = (plugin.clone(), instance.clone());
            let hook = async move { plugin.shutdown(models, meeting, name).await };
            match tokio::time::timeout_at(until, self.resources.plugin_runtime.spawn(hook)).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => warn!(%instance, error = error.chain(), "on_shutdown failed"),
                // The panic's message may quote anything, and is left out; the panic hook has named the place.
                Ok(Err(_)) => warn!(%instance, "on_shutdown panicked"),
                Err(_) => {
                    warn!(%instance, "on_shutdown was cut off");
                    in_time = false;
                }
            }
        }
        in_time
    }
}
