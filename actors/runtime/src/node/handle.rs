//! The way to a node from outside.

use std::{
    fmt,
    sync::{Arc, OnceLock, Weak},
};

use parking_lot::Mutex;
use ractor::ActorRef;
use teammy_kernel::{MeetingId, Store, graph::Graph, store::Incarnation};

use super::{
    actor,
    beginnings::{Announcer, Beginnings},
    cluster::Cluster,
    error::Error,
    plugin_threads::PluginThreads,
    registry::{Meetings, Reserved},
    shutdown_progress::ShutdownProgress,
    watchdog::Watchdog,
};
use crate::{
    keys::Keys,
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
    pub(super) announcer: Announcer,
    pub(super) actor: ActorRef<actor::Message>,
    /// As which incarnation it owns meetings, if its store is shared.
    pub(super) owner: Option<Incarnation>,
    pub(super) cluster: OnceLock<Weak<dyn Cluster>>,
    /// Why it may run no meetings. Locked while the meetings are, or alone.
    pub(super) fenced: Mutex<Option<Arc<str>>>,
    pub(super) shutdown: ShutdownProgress,
    /// None once the node has shut down.
    pub(super) watchdog: Mutex<Option<Watchdog>>,
    /// How many threads it has.
    pub(super) plugin_threads: Option<usize>,
    /// The plugins' runtime, if it is this node's own and has not shut down.
    pub(super) runtime: Mutex<Option<PluginThreads>>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("meetings", &self.meetings.lock().len()).finish_non_exhaustive()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop_at_once();
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

    /// Who may ask the node for what over the network.
    pub fn keys(&self) -> &Keys {
        &self.resources.keys
    }

    pub(crate) fn plugin_threads(&self) -> Option<usize> {
        self.plugin_threads
    }

    /// The meetings' label that names their tenant (`llm.tenant_label`).
    pub fn tenant_label(&self) -> &str {
        &self.resources.tenant_label
    }

    /// A meeting that this node runs.
    pub fn meeting(&self, id: &MeetingId) -> Option<MeetingRef> {
        self.local_meeting(id).map(Into::into)
    }

    /// The meetings that this node runs, by id.
    pub fn meetings(&self) -> Vec<MeetingRef> {
        self.local_meetings().into_iter().map(Into::into).collect()
    }

    /// Tells from now on of each meeting that begins to run here.
    pub fn beginnings(&self) -> Beginnings {
        self.announcer.listen()
    }

    /// How many meetings this node runs.
    pub fn meeting_count(&self) -> usize {
        self.meetings.lock().len()
    }

    /// A meeting that this node runs and has not lost, ended or released.
    pub fn running(&self, id: &MeetingId) -> Option<MeetingRef> {
        self.running_meeting(id).map(Into::into)
    }

    pub(crate) fn local_meeting(&self, id: &MeetingId) -> Option<LocalMeeting> {
        self.meetings.lock().get(id).cloned()
    }

    /// A meeting that this node runs and has not lost, ended or released.
    pub(crate) fn running_meeting(&self, id: &MeetingId) -> Option<LocalMeeting> {
        self.local_meeting(id).filter(LocalMeeting::is_open)
    }

    pub(crate) fn local_meetings(&self) -> Vec<LocalMeeting> {
        let mut meetings: Vec<_> = self.meetings.lock().values().cloned().collect();
        meetings.sort_by(|a, b| a.id().cmp(b.id()));
        meetings
    }

    pub(crate) fn resources(&self) -> &Resources {
        &self.resources
    }

    /// # Errors
    /// [`Error::ShutDown`] once a shutdown has begun, [`Error::NoMember`] once the node is fenced.
    pub(super) fn check_open(&self) -> Result<(), Error> {
        if self.shutdown.has_begun() { Err(Error::ShutDown) } else { self.check_fence() }
    }

    /// Stops what still runs.
    pub(super) fn stop_at_once(&self) {
        for (_, meeting) in self.meetings.lock().drain() {
            meeting.kill("the node is gone");
        }
        self.watchdog.lock().take();
        self.actor.stop(None);
        self.runtime.lock().take();
    }

    /// Forgets a meeting: deletes everything that is stored of it, and ends the meeting's actors if this node
    /// runs it. An owner elsewhere is fenced. Returns whether anything was stored of it. While a meeting is being
    /// forgotten, calls that would start or resume it here wait.
    ///
    /// From then on the database shows nothing of it. What the database's files still hold is overwritten when
    /// the database compacts them: see `docs/embedding.md`.
    ///
    /// # Errors
    /// [`Error::Store`]: a part of it may be gone; call it again. [`Error::Running`] while this node takes the
    /// meeting over or forgets it already, [`Error::ShutDown`].
    ///
    /// # Cancel safety
    /// As for an error.
    pub async fn forget(&self, id: &MeetingId) -> Result<bool, Error> {
        self.check_open()?;
        // Keeps this node from taking it over meanwhile.
        let _reserved = self.reserved.reserve(id).await;
        if let Some(meeting) = self.meetings.lock().remove(id) {
            meeting.kill("it was forgotten");
        }
        self.resources.store.forget(id.clone()).await.map_err(Error::Store)
    }
}
