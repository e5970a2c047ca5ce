//! The node: what runs meetings.
//!
//! The node's actor supervises the persistence actor and the meetings. It does little else: a meeting that
//! ends or fails is taken off the list, and whoever waits for it is told.

mod actor;
mod builder;
mod dead_letters;
mod error;
mod settings;
pub mod status;
mod watchdog;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use parking_lot::Mutex;
use ractor::{Actor, ActorRef};
use teammy_kernel::{
    DataPacket, Lifecycle, Llm, MeetingId, MeetingMetadata, Name, Seq, Setup, SharedLlm, ShutdownCx, Store,
    chain,
    graph::{Graph, Instance},
    log::{Sequencer, StoredMeeting},
    plugin::StartedPlugin,
    store::{self, Mark, MeetingRecord, MeetingStatus, PacketQuery, Take},
};
use tokio::{
    runtime::{Handle, Runtime},
    time::Instant,
};
use tracing::{info, warn};

pub use builder::Builder;
pub use dead_letters::{Redrive, Redriven};
pub use error::{BoxError, Error};

use crate::{
    clock,
    kill_points::{self, KillPoint},
    meeting::{
        self, Combiner, MeetingActor, MeetingRef, MeetingShared, Taps, committed_log::CommittedLog,
        ingress::Ingress,
    },
    memory::Memory,
    metrics::Metrics,
    persistence::{self, Health},
};
pub(crate) use settings::Settings;
use watchdog::Watchdog;

/// What all meetings of a node share.
pub(crate) struct Resources {
    pub(crate) graph: Arc<Graph>,
    pub(crate) plugins: BTreeMap<Name, StartedPlugin>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) persistence: ActorRef<persistence::Message>,
    pub(crate) llm: SharedLlm,
    pub(crate) plugin_runtime: Handle,
    pub(crate) memory: Arc<Memory>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) settings: Settings,
}

impl Resources {
    /// Whether an instance's plugin needs a language model, and there is none.
    pub(crate) fn lacks_llm(&self, instance: &Instance) -> bool {
        instance.factory.needs_llm() && !self.llm.is_configured()
    }

    /// An instance that takes part in a meeting here.
    pub(crate) fn instance(&self, name: &Name) -> &Instance {
        self.graph.instance(name.as_str()).expect("invariant: the handle knows the instances")
    }
}

/// How much a node keeps in memory of its meetings' packets, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryUse {
    /// What it keeps, to within 16 KiB a meeting. The batches that instances have in hand come on top
    /// (`delivery.batch_bytes` each), and what waits at the meetings' doors (`delivery.backlog_bytes` each
    /// at most).
    pub used: usize,
    /// Where publishers begin to wait.
    pub limit: usize,
}

pub(crate) type Meetings = Arc<Mutex<HashMap<MeetingId, MeetingRef>>>;

/// A running node. Dropping it ends its meetings' actors at once, without ending the meetings;
/// [`Node::shutdown`] does it gracefully.
pub struct Node {
    resources: Arc<Resources>,
    meetings: Meetings,
    /// The meetings that are on their way to the list.
    resuming: Mutex<HashSet<MeetingId>>,
    actor: ActorRef<actor::Message>,
    _watchdog: Watchdog,
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

/// A meeting that is being resumed: a second claim by the same node would only fence the first.
struct ResumeGuard<'a>(&'a Node, &'a MeetingId);

impl<'a> ResumeGuard<'a> {
    fn new(node: &'a Node, id: &'a MeetingId) -> Result<Self, Error> {
        let is_first = node.resuming.lock().insert(id.clone());
        if !is_first {
            return Err(Error::Running(id.clone()));
        }
        let resuming = Self(node, id);
        if node.meetings.lock().contains_key(id) { Err(Error::Running(id.clone())) } else { Ok(resuming) }
    }
}

impl Drop for ResumeGuard<'_> {
    fn drop(&mut self) {
        self.0.resuming.lock().remove(self.1);
    }
}

/// A meeting's own packets, as far as they were read: they never change, so who reads again reads only what
/// came since.
#[derive(Default)]
struct LifecyclePackets {
    packets: Vec<Arc<DataPacket>>,
    up_to: Seq,
}

/// What a store holds of a meeting.
async fn stored(
    store: &dyn Store,
    record: MeetingRecord,
    known: &mut LifecyclePackets,
) -> Result<StoredMeeting, Error> {
    let id = record.metadata.id.clone();
    // The last packet first: up to it the log is complete.
    let last = PacketQuery::default().take(Take::Last(1));
    let last = store.packets(id.clone(), last).await.map_err(Error::Store)?.into_iter().last();
    let end = last.as_ref().map_or(Seq::ZERO, |last| last.seq);
    let lifecycle = Name::new(Lifecycle::SOURCE).expect("invariant: a well-formed name");
    let since = PacketQuery::range(known.up_to.next(), end).sources(vec![lifecycle]);
    let (instances, since) =
        futures::try_join!(store.instances(id.clone()), store.packets(id, since)).map_err(Error::Store)?;
    known.packets.extend(since);
    known.up_to = end;
    Ok(StoredMeeting::new(record, last, &known.packets, instances))
}

/// The instances that are not done with a meeting yet: those that a node must have to go on with it. None of
/// a meeting that is complete, or that isn't there.
///
/// # Errors
/// [`Error::Store`].
pub async fn unfinished(store: &dyn Store, meeting: &MeetingId) -> Result<Vec<Name>, Error> {
    match store.meeting(meeting.clone()).await.map_err(Error::Store)? {
        Some(record) => Ok(stored(store, record, &mut LifecyclePackets::default()).await?.unfinished()),
        None => Ok(Vec::new()),
    }
}

/// The instances that a meeting has had, and what they were configured as, so far as its log says it; none
/// where there is no such meeting.
///
/// # Errors
/// [`Error::Store`].
pub async fn members(store: &dyn Store, meeting: &MeetingId) -> Result<BTreeMap<Name, Option<Setup>>, Error> {
    let Some(record) = store.meeting(meeting.clone()).await.map_err(Error::Store)? else {
        return Ok(BTreeMap::new());
    };
    let lifecycle = Name::new(Lifecycle::SOURCE).expect("invariant: a well-formed name");
    let packets = store.packets(meeting.clone(), PacketQuery::default().sources(vec![lifecycle]));
    let mut members: BTreeMap<Name, Option<Setup>> =
        record.instances.into_iter().map(|name| (name, None)).collect();
    for packet in packets.await.map_err(Error::Store)? {
        match Lifecycle::from_payload(&packet.payload) {
            Some(Lifecycle::Start { instances, mut setups }) => {
                members.extend(instances.into_iter().map(|name| {
                    let setup = setups.remove(&name);
                    (name, setup)
                }));
            }
            Some(Lifecycle::Join { instance, setup }) => drop(members.insert(instance, setup)),
            _ => {}
        }
    }
    Ok(members)
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

    /// How much all meetings together keep in memory of their packets, and the bound (`node.memory`).
    pub fn memory(&self) -> MemoryUse {
        let memory = &self.resources.memory;
        MemoryUse { used: memory.used(), limit: memory.limit() }
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
    /// [`Error::UnknownInstance`], [`Error::NeedsLlm`], [`Error::MeetingExists`], [`Error::Store`],
    /// [`Error::Spawn`].
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
            if self.resources.lacks_llm(instance) {
                return Err(Error::NeedsLlm(instance.name.clone()));
            }
            if !names.contains(&instance.name) {
                names.push(instance.name.clone());
            }
        }
        let reserve = Seq(Sequencer::BLOCK);
        let created = self.resources.store.create(metadata, names, reserve).await;
        let record = created.map_err(|error| match error {
            store::Error::Exists(id) => Error::MeetingExists(id),
            error => Error::Store(error),
        })?;
        kill_points::pass(KillPoint::MeetingCreated);
        self.run(meeting::StartFrom::New(record), Vec::new()).await
    }

    /// Goes on with a meeting that is in the store: after a crash, a shutdown, or on another node. This node
    /// is its owner from here on, and whoever owned it is fenced off: what they have not stored is lost,
    /// and they stop. Each instance reads on from where its stored work ends, with the state it had; what
    /// was stored is not done again. A meeting whose first commit never came starts with the instances
    /// that it was made with.
    ///
    /// # Errors
    /// [`Error::NoMeeting`], [`Error::Running`], [`Error::Ended`], [`Error::MissingInstance`], [`Error::NeedsLlm`]: the
    /// meeting is left as it was. [`Error::Store`], [`Error::Spawn`].
    ///
    /// # Cancel safety
    /// A dropped call may have taken the meeting from its owner, though nobody runs it; it can be called
    /// again.
    pub async fn resume_meeting(&self, id: &MeetingId) -> Result<MeetingRef, Error> {
        self.go_on(id, |stored| self.can_go_on(stored)).await
    }

    /// Goes on with a meeting that had ended, so that instances can be taken back for packets that they had
    /// given up.
    async fn reopen_meeting(&self, id: &MeetingId) -> Result<MeetingRef, Error> {
        self.go_on(id, |_| Ok(())).await
    }

    async fn go_on(
        &self,
        id: &MeetingId,
        can_go_on: impl Fn(&StoredMeeting) -> Result<(), Error>,
    ) -> Result<MeetingRef, Error> {
        let store = &self.resources.store;
        let _resuming = ResumeGuard::new(self, id)?;
        let Some(record) = store.meeting(id.clone()).await.map_err(Error::Store)? else {
            return Err(Error::NoMeeting(id.clone()));
        };
        // Before it is claimed, so that one that cannot go on here stays with its owner.
        let mut lifecycle = LifecyclePackets::default();
        let mut before = stored(&**store, record, &mut lifecycle).await?;
        can_go_on(&before)?;
        let claimed = store.claim(id.clone(), Sequencer::BLOCK).await;
        let record = claimed.map_err(|error| match error {
            store::Error::NotFound(id) => Error::NoMeeting(id),
            error => Error::Store(error),
        })?;
        kill_points::pass(KillPoint::Claimed);
        let stored = if record.commit == before.record.commit {
            before.record = record;
            before
        } else {
            // Until the claim its owner has stored more.
            let stored = stored(&**store, record, &mut lifecycle).await?;
            can_go_on(&stored)?;
            stored
        };
        let marks = store.marks(id.clone()).await.map_err(Error::Store)?;
        let start_from = if stored.is_started() {
            meeting::StartFrom::StoredMeeting(stored)
        } else {
            meeting::StartFrom::New(stored.record)
        };
        self.run(start_from, marks).await
    }

    fn can_go_on(&self, stored: &StoredMeeting) -> Result<(), Error> {
        let meeting = &stored.record.metadata.id;
        if stored.status() == MeetingStatus::Ended {
            return Err(Error::Ended(meeting.clone()));
        }
        for name in stored.unfinished() {
            let Some(instance) = self.resources.graph.instance(name.as_str()) else {
                return Err(Error::MissingInstance { meeting: meeting.clone(), instance: name });
            };
            if self.resources.lacks_llm(instance) {
                return Err(Error::NeedsLlm(name));
            }
        }
        Ok(())
    }

    /// Runs a meeting that this node owns, with how far its producers have come.
    async fn run(&self, start_from: meeting::StartFrom, marks: Vec<Mark>) -> Result<MeetingRef, Error> {
        let settings = &self.resources.settings;
        let (record, last) = match &start_from {
            meeting::StartFrom::New(record) => (record, Seq::ZERO),
            meeting::StartFrom::StoredMeeting(stored) => (&stored.record, stored.last_seq()),
        };
        let id = record.metadata.id.clone();
        // What earlier owners may have given out is below what they had reserved.
        let taken = Seq(record.reserved.0.saturating_sub(Sequencer::BLOCK));
        let sequencer = Sequencer::new(taken.max(last).next(), record.reserved);
        let (graph, store) = (self.resources.graph.clone(), self.resources.store.clone());
        let shared = Arc::new(MeetingShared {
            metadata: Arc::new(record.metadata.clone()),
            graph: graph.clone(),
            ingress: Ingress::new(id.clone(), &self.resources, sequencer, marks),
            committed_log: Arc::new(CommittedLog::new(id.clone(), store, last, settings.recent_bytes)),
            recorders: Mutex::default(),
            taps: Taps::default(),
            lag: AtomicU64::new(0),
            watched: Mutex::default(),
            handed_on: Mutex::default(),
            meeting: Combiner::default(),
        });
        let args = meeting::Args { shared: shared.clone(), resources: self.resources.clone(), start_from };
        let spawned = MeetingActor::spawn_linked(None, MeetingActor, args, self.actor.get_cell()).await;
        let (actor, _) =
            spawned.map_err(|error| Error::Spawn { meeting: id.clone(), cause: chain(&error) })?;
        let meeting = MeetingRef::new(shared, actor);
        self.meetings.lock().insert(id.clone(), meeting.clone());
        if meeting.has_stopped() {
            // Its end may have been told before it was on the list.
            self.meetings.lock().remove(&id);
            meeting.shared().gone("its actor failed");
        }
        Ok(meeting)
    }

    /// Forgets a meeting: all that is stored of it goes, and so does the meeting if it runs here. An owner
    /// elsewhere is fenced off. Says whether there was anything of it.
    ///
    /// Nobody who asks the database finds anything of it from then on. What the database's files still hold
    /// is overwritten when the database writes them anew: see `docs/embedding.md`.
    ///
    /// # Errors
    /// [`Error::Store`]: a part of it may be gone; ask again.
    ///
    /// # Cancel safety
    /// As for an error.
    pub async fn forget(&self, id: &MeetingId) -> Result<bool, Error> {
        if let Some(meeting) = self.meetings.lock().remove(id) {
            meeting.kill("it was forgotten");
        }
        // Nobody goes on with it here meanwhile.
        let _alone = ResumeGuard::new(self, id)?;
        self.resources.store.forget(id.clone()).await.map_err(Error::Store)
    }

    /// Stops gracefully: meetings finish what is in flight, store it and are let go of, without being ended;
    /// then every plugin's `on_shutdown` runs, and the store is closed. What is not done within
    /// `deadline` is cut off.
    ///
    /// # Errors
    /// [`Error::Deadline`] if something was cut off: nothing that was stored is lost, but hooks that were cut
    /// off run again when the meeting goes on. [`Error::Store`] if the store could not be closed.
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
                // What it panicked with may quote anything; the panic hook has told where.
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
