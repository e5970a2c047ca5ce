//! The log's state: what the other files of this module read and change, each for one topic.

use std::collections::HashMap;

use super::{
    batch_cache::BatchCache,
    commit::CommitQueue,
    consumer::{Consumer, InstanceView, ResolvedPolicy, SubscribedSource},
    consumer_spec::ConsumerSpec,
    ids::{Slot, SourceId},
    latest::Latest,
    lifecycle_history::LifecycleHistory,
    limits::Limits,
    tail::Tail,
};
use crate::{
    MeetingId, Name, Seq,
    meeting::Lifecycle,
    plugin::{DeliveryPolicy, StateRef},
    store::{Epoch, InstanceRecord, InstanceStatus, MeetingRecord, MeetingStatus},
};

/// The log of one meeting. See the [module](super).
#[derive(Debug)]
pub struct MeetingLog {
    pub(super) meeting: MeetingId,
    pub(super) limits: Limits,
    pub(super) sources: HashMap<Name, SourceId>,
    /// The source that was looked up last: the next packet is often of the same one.
    last_source: Option<(Name, SourceId)>,
    /// The source of [`Lifecycle`] packets.
    pub(super) lifecycle: SourceId,
    pub(super) lifecycle_history: LifecycleHistory,
    /// The rows of instances that are done with the meeting and not configured on this node.
    pub(super) absent: Vec<InstanceRecord>,
    pub(super) tail: Tail,
    /// The seq of the last appended packet.
    pub(super) end: Seq,
    pub(super) consumers: Vec<Consumer>,
    pub(super) status: MeetingStatus,
    /// For each source and key that an instance takes with [`DeliveryPolicy::Latest`]: the replaced packets.
    pub(super) latest: Vec<Latest>,
    /// Whether an instance takes a source with [`DeliveryPolicy::Block`].
    pub(super) can_block: bool,
    pub(super) queue: CommitQueue,
    pub(super) batch_cache: BatchCache,
}

impl MeetingLog {
    /// The empty log of a meeting that was just created. For a claimed meeting use
    /// [`recover`](Self::recover).
    pub fn new(record: &MeetingRecord, last_stored: Seq, limits: Limits) -> Self {
        let mut log = Self {
            meeting: record.metadata.id.clone(),
            limits,
            sources: HashMap::new(),
            last_source: None,
            lifecycle: SourceId(0),
            lifecycle_history: LifecycleHistory::default(),
            absent: Vec::new(),
            tail: Tail::new(last_stored),
            end: last_stored,
            consumers: Vec::new(),
            status: record.status,
            latest: Vec::new(),
            can_block: false,
            queue: CommitQueue::new(record),
            batch_cache: BatchCache::default(),
        };
        let lifecycle = Name::new(Lifecycle::SOURCE).expect("invariant: a well-formed name");
        log.lifecycle = log.source(&lifecycle);
        log
    }

    /// The meeting's id.
    pub fn meeting(&self) -> &MeetingId {
        &self.meeting
    }

    /// The owner's epoch.
    pub fn epoch(&self) -> Epoch {
        self.queue.epoch()
    }

    /// The meeting's status.
    pub fn status(&self) -> MeetingStatus {
        self.status
    }

    /// The seq of the last appended packet.
    pub fn end_seq(&self) -> Seq {
        self.end
    }

    /// The bytes of packets in memory.
    pub fn tail_bytes(&self) -> usize {
        self.tail.bytes()
    }

    /// An instance's slot; `None` if it never took part in this meeting.
    pub fn slot(&self, instance: &str) -> Option<Slot> {
        self.consumers.iter().position(|consumer| consumer.name == *instance).map(Slot)
    }

    /// All slots.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..self.consumers.len()).map(Slot)
    }

    /// An instance's state in the log.
    pub fn view(&self, slot: Slot) -> InstanceView<'_> {
        self.consumers[slot.0].view()
    }

    /// The instances that still have something to do.
    pub fn unfinished(&self) -> impl Iterator<Item = Slot> + '_ {
        let active = |slot: &Slot| self.consumers[slot.0].status == InstanceStatus::Active;
        self.slots().filter(active)
    }

    /// Whether every active instance has finished with the whole log.
    pub fn is_caught_up(&self) -> bool {
        self.unfinished().all(|slot| {
            let view = self.view(slot);
            !view.has_batch && view.cursor == self.end
        })
    }

    pub(super) fn source(&mut self, name: &Name) -> SourceId {
        if let Some((last, id)) = &self.last_source
            && last == name
        {
            return *id;
        }
        let id = if let Some(&id) = self.sources.get(name) {
            id
        } else {
            let id = SourceId(u32::try_from(self.sources.len()).expect("invariant: sources are few"));
            self.sources.insert(name.clone(), id);
            id
        };
        self.last_source = Some((name.clone(), id));
        id
    }

    /// Resolves the names and keys of what an instance takes.
    pub(super) fn resolve(&mut self, spec: &ConsumerSpec) -> Vec<SubscribedSource> {
        let resolve = |(name, policy): &(Name, DeliveryPolicy)| {
            let source = self.source(name);
            let policy = match policy {
                DeliveryPolicy::Spill => ResolvedPolicy::Spill,
                DeliveryPolicy::DropOldest => ResolvedPolicy::DropOldest,
                DeliveryPolicy::Block => {
                    self.can_block = true;
                    ResolvedPolicy::Block
                }
                DeliveryPolicy::Latest(key) => {
                    let known =
                        self.latest.iter().position(|latest| latest.source == source && latest.key == *key);
                    ResolvedPolicy::Latest(known.unwrap_or_else(|| {
                        self.latest.push(Latest::new(source, key.clone()));
                        self.latest.len() - 1
                    }))
                }
            };
            SubscribedSource { source, policy }
        };
        spec.sources.iter().map(resolve).collect()
    }

    pub(super) fn add(&mut self, spec: ConsumerSpec, state: StateRef, cursor: Seq, joined: Seq) -> Slot {
        let sources = self.resolve(&spec);
        let output = self.source(&spec.instance);
        let slot = Slot(self.consumers.len());
        self.consumers.push(Consumer::new(spec.instance, sources, output, cursor, joined, state));
        slot
    }
}
