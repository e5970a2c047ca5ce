//! The node: what runs meetings.
//!
//! The node's actor supervises the persistence actor and the meetings. It does little else: a meeting that ends or fails
//! is taken off the list, and whoever waits for it is told.

mod actor;
mod builder;
mod error;
mod settings;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use ractor::{Actor, ActorRef};
use teammy_kernel::{
    Llm, MeetingId, MeetingMetadata, Name, Seq, SharedLlm, ShutdownCx, Store, chain,
    graph::{Graph, Instance},
    log::Sequencer,
    plugin::StartedPlugin,
};
use tokio::{
    runtime::{Handle, Runtime},
    time::Instant,
};
use tracing::{info, warn};

pub use builder::{Builder, open_store};
pub use error::Error;

use crate::{
    clock,
    meeting::{self, MeetingActor, MeetingRef, Shared, door::Door, readers::Published},
    persistence,
};
pub(crate) use settings::Settings;

/// What all meetings of a node share.
pub(crate) struct Resources {
    pub(crate) graph: Arc<Graph>,
    pub(crate) plugins: BTreeMap<Name, StartedPlugin>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) persistence: ActorRef<persistence::Message>,
    pub(crate) llm: SharedLlm,
    pub(crate) plugin_runtime: Handle,
    pub(crate) settings: Settings,
}

impl Resources {
    /// An instance that takes part in a meeting here.
    pub(crate) fn instance(&self, name: &Name) -> &Instance {
        self.graph.instance(name.as_str()).expect("invariant: the handle knows the instances")
    }
}

pub(crate) type Meetings = Arc<Mutex<HashMap<MeetingId, MeetingRef>>>;

/// A running node. Dropping it ends its meetings' actors at once, without ending the meetings; [`Node::shutdown`] does
/// it gracefully.
pub struct Node {
    resources: Arc<Resources>,
    meetings: Meetings,
    actor: ActorRef<actor::Message>,
    /// The plugins' runtime, if it is this node's own.
    runtime: Option<Runtime>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("meetings", &self.meetings.lock().len()).finish_non_exhaustive()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for meeting in self.meetings.lock().drain() {
            meeting.1.kill("the node is gone");
        }
        self.actor.stop(None);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Node {
    /// A node with this configuration, to be started.
    pub fn builder(config: teammy_config::Config) -> Builder {
        Builder::new(config)
    }

    /// The instances and sources that are configured.
    pub fn graph(&self) -> &Graph {
        &self.resources.graph
    }

    /// Whether there is a language model to ask. Without one a meeting takes no instance that needs it.
    pub fn has_llm(&self) -> bool {
        self.resources.llm.is_configured()
    }

    /// Where meetings are kept.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.resources.store
    }

    /// A meeting that runs here.
    pub fn meeting(&self, id: &MeetingId) -> Option<MeetingRef> {
        self.meetings.lock().get(id).cloned()
    }

    /// The meetings that run here, by id.
    pub fn meetings(&self) -> Vec<MeetingRef> {
        let mut meetings: Vec<_> = self.meetings.lock().values().cloned().collect();
        meetings.sort_by(|a, b| a.id().cmp(b.id()));
        meetings
    }

    /// Starts a meeting with these instances; one that is named twice takes part once.
    ///
    /// # Errors
    /// [`Error::UnknownInstance`], [`Error::NeedsLlm`], [`Error::MeetingExists`], [`Error::Store`], [`Error::Spawn`].
    ///
    /// # Cancel safety
    /// A dropped call may have made the meeting in the store: its id is taken then, though nobody runs it.
    pub async fn start_meeting(
        &self,
        metadata: MeetingMetadata,
        instances: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<MeetingRef, Error> {
        let graph = &self.resources.graph;
        let mut names: Vec<Name> = Vec::new();
        for name in instances {
            let name = name.as_ref();
            let instance = graph.instance(name).ok_or_else(|| Error::UnknownInstance {
                instance: name.to_owned(),
                suggestion: graph.closest_instance(name).cloned(),
            })?;
            if instance.factory.needs_llm() && !self.resources.llm.is_configured() {
                return Err(Error::NeedsLlm(instance.name.clone()));
            }
            if !names.contains(&instance.name) {
                names.push(instance.name.clone());
            }
        }
        let id = metadata.id.clone();
        let reserve = Seq(Sequencer::BLOCK);
        let created = self.resources.store.create(metadata, reserve).await;
        let record = created.map_err(|error| match error {
            teammy_kernel::store::Error::Exists(id) => Error::MeetingExists(id),
            error => Error::Store(error),
        })?;
        let settings = &self.resources.settings;
        let sequencer = Sequencer::new(Seq(1), record.reserved);
        let (packet, backlog) = (settings.packet_bytes, settings.backlog_bytes);
        let store = self.resources.store.clone();
        let shared = Arc::new(Shared {
            metadata: Arc::new(record.metadata.clone()),
            graph: graph.clone(),
            door: Door::new(id.clone(), graph.clone(), sequencer, packet, backlog),
            published: Arc::new(Published::new(id.clone(), store, settings.recent_bytes)),
            recorders: Mutex::default(),
        });
        let args = meeting::Args {
            shared: shared.clone(),
            resources: self.resources.clone(),
            record,
            instances: names,
        };
        let spawned = MeetingActor::spawn_linked(None, MeetingActor, args, self.actor.get_cell()).await;
        let (actor, _) =
            spawned.map_err(|error| Error::Spawn { meeting: id.clone(), cause: error.to_string() })?;
        let meeting = MeetingRef::new(shared, actor);
        self.meetings.lock().insert(id.clone(), meeting.clone());
        if meeting.has_stopped() {
            // Its end may have been told before it was on the list.
            self.meetings.lock().remove(&id);
            meeting.shared().gone("its actor failed");
        }
        Ok(meeting)
    }

    /// Stops gracefully: meetings finish what is in flight, store it and are let go of, without being ended; then every
    /// plugin's `on_shutdown` runs, and the store is closed. What is not done within `deadline` is cut off.
    ///
    /// # Errors
    /// [`Error::Deadline`] if something was cut off: nothing that was stored is lost, but hooks that were cut off run
    /// again when the meeting goes on. [`Error::Store`] if the store could not be closed.
    ///
    /// # Cancel safety
    /// A dropped call leaves the rest to `drop`.
    pub async fn shutdown(mut self, deadline: Duration) -> Result<(), Error> {
        let until = Instant::now() + deadline.min(clock::FOREVER);
        let meetings = self.meetings();
        info!(meetings = meetings.len(), "node shuts down");
        let stops = futures::future::join_all(meetings.iter().map(MeetingRef::stop));
        let mut in_time = tokio::time::timeout_at(until, stops).await.is_ok();
        for meeting in self.meetings() {
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
        // A plugin's own meeting is over; its questions belong to none.
        let nowhere = MeetingId::new("(shutdown)").expect("invariant: a well-formed id");
        for (instance, plugin) in &self.resources.plugins {
            let llm = Llm::new(self.resources.llm.clone(), nowhere.clone(), instance.clone());
            let plugin = plugin.clone();
            let hook = async move { plugin.shutdown(&ShutdownCx::new(llm)).await };
            match tokio::time::timeout_at(until, self.resources.plugin_runtime.spawn(hook)).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => warn!(%instance, error = error.chain(), "on_shutdown failed"),
                Ok(Err(error)) => warn!(%instance, error = chain(&error), "on_shutdown panicked"),
                Err(_) => {
                    warn!(%instance, "on_shutdown was cut off");
                    in_time = false;
                }
            }
        }
        in_time
    }
}
