//! Starting a meeting, new or taken over.

use std::sync::Arc;

use parking_lot::Mutex;
use ractor::Actor;
use teammy_kernel::{
    MeetingMetadata, Name, Seq, chain,
    log::Sequencer,
    store::{self, Mark},
};

use super::{error::Error, handle::Node, opened::Opened};
use crate::{
    clock,
    kill_points::{self, KillPoint},
    meeting::{
        self, Combiner, CommittedLog, Ingress, IngressOptions, LocalMeeting, MeetingActor, MeetingRef,
        Shared, StartFrom, Taps,
    },
};

impl Node {
    /// Starts a meeting with these instances; one that is named twice takes part once.
    ///
    /// # Errors
    /// [`Error::UnknownInstance`], [`Error::NeedsLlm`], [`Error::MeetingExists`], [`Error::Store`],
    /// [`Error::Spawn`], [`Error::ShutDown`].
    ///
    /// # Cancel safety
    /// A dropped call may have created the meeting in the store, though no node runs it: resume or forget it.
    /// So may a call that a shutdown overtook.
    pub async fn start_meeting(
        &self,
        metadata: MeetingMetadata,
        instances: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<MeetingRef, Error> {
        self.check_open()?;
        let names = self.instance_names(instances)?;
        if let Some(cluster) = self.cluster() {
            let id = metadata.id.clone();
            return match cluster.open(metadata, names).await? {
                Opened::Started(meeting) => Ok(meeting),
                _ => Err(Error::MeetingExists(id)),
            };
        }
        let _reserved = self.reserved.reserve(&metadata.id).await;
        Ok(self.start_new(metadata, names).await?.into())
    }

    /// The names of instances for a new meeting, each once.
    pub(super) fn instance_names(
        &self,
        instances: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Vec<Name>, Error> {
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
        Ok(names)
    }

    /// Starts a meeting that this node has reserved.
    pub(super) async fn start_new(
        &self,
        metadata: MeetingMetadata,
        instances: Vec<Name>,
    ) -> Result<LocalMeeting, Error> {
        self.check_open()?;
        let reserve = Seq(Sequencer::BLOCK);
        let store = &self.resources.store;
        let created = match self.owner.clone() {
            Some(owner) => store.leases().create_as(owner, metadata, instances, reserve, clock::now()).await,
            None => store.create(metadata, instances, reserve, clock::now()).await,
        };
        let record = created.map_err(|error| match error {
            store::Error::Exists(id) => Error::MeetingExists(id),
            error => Error::Store(error),
        })?;
        kill_points::pass(KillPoint::MeetingCreated);
        self.run(StartFrom::New(record), Vec::new()).await
    }

    /// Runs a meeting that this node owns. `marks` are the last numbers of its producers.
    pub(super) async fn run(&self, start_from: StartFrom, marks: Vec<Mark>) -> Result<LocalMeeting, Error> {
        let resources = &self.resources;
        let settings = &resources.settings;
        let (record, last) = match &start_from {
            StartFrom::New(record) => (record, Seq::ZERO),
            StartFrom::Stored(stored) => (&stored.record, stored.last_seq()),
        };
        let id = record.metadata.id.clone();
        // Earlier owners have given out seqs of their reservations only, which end where this one begins.
        let reserved_before = Seq(record.reserved.0.saturating_sub(Sequencer::BLOCK));
        let first_seq = reserved_before.max(last).next();
        let sequencer = Sequencer::new(first_seq, record.reserved);
        let ingress = Ingress::new(IngressOptions {
            meeting: id.clone(),
            graph: resources.graph.clone(),
            packet_bytes: settings.packet_bytes(),
            backlog_bytes: settings.backlog_bytes(),
            sequencer,
            marks,
            memory: resources.memory.clone(),
            metrics: resources.metrics.clone(),
            new_traces: settings.new_traces(),
        });
        let committed_log =
            CommittedLog::new(id.clone(), resources.store.clone(), last, settings.recent_bytes());
        let shared = Arc::new(Shared {
            metadata: Arc::new(record.metadata.clone()),
            created: record.created,
            epoch: record.epoch,
            first_seq,
            graph: resources.graph.clone(),
            ingress,
            committed_log: Arc::new(committed_log),
            recorders: Mutex::default(),
            taps: Arc::new(Taps::default()),
            watched: Mutex::default(),
            submitted: Mutex::default(),
            state: Combiner::default(),
        });
        let args = meeting::Args { shared: shared.clone(), resources: resources.clone(), start_from };
        let spawned = MeetingActor::spawn_linked(None, MeetingActor, args, self.actor.get_cell()).await;
        let (actor, _) =
            spawned.map_err(|error| Error::Spawn { meeting: id.clone(), cause: chain(&error) })?;
        let meeting = LocalMeeting::new(shared, actor);
        let mut meetings = self.meetings.lock();
        if let Err(error) = self.check_open() {
            // The shutdown does not know this meeting: it looks at the list after it has begun.
            drop(meetings);
            meeting.kill("the node is shutting down");
            return Err(error);
        }
        meetings.insert(id.clone(), meeting.clone());
        drop(meetings);
        if meeting.has_stopped() {
            // The supervision event may have come before the meeting was on the list.
            self.meetings.lock().remove(&id);
            meeting.shared().gone("its actor failed");
        }
        self.announcer.announce(id);
        Ok(meeting)
    }
}
