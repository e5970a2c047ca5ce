//! A meeting's log: what is in it, who has seen how much of it, and what is to be committed next.
//!
//! [`MeetingLog`] is a pure state machine. It does no I/O, knows no clock and no actor: its owner tells it
//! what happened and asks it what to do. One log serves routing, backpressure, late join, recovery and the
//! end of a meeting:
//!
//! * [`append`](MeetingLog::append) puts packets at the end, in the order of their seqs;
//! * [`deliver`](MeetingLog::deliver) gives an instance that has credit its next batch, from the tail in
//!   memory or, past that, by way of a [`Delivery::Fetch`] from the store;
//! * [`apply`](MeetingLog::apply) takes what its hooks made of it;
//! * [`next_commit`](MeetingLog::next_commit) gives what is to be stored, and
//!   [`committed`](MeetingLog::committed) says that it is.
//!
//! # Invariants
//! * Everything that is to be stored goes through one queue, first in first out, and a commit takes a prefix
//!   of it. So an instance may work on a packet that is not stored yet: if the packet is lost, so is all that
//!   came of it.
//! * A hand-on is one unit in that queue: cursor, state, keys, outputs and dead letters are stored together
//!   or not at all.
//! * A durable packet leaves the tail only when it is stored; a volatile one that leaves before an instance
//!   saw it is counted in that instance's gap.
//! * While too much waits to be stored, no instance gets more to work on: the store's pace is the meeting's.
//! * An instance has at most one batch in flight: its credit. It comes back with [`Effects::done`].

mod batch_cache;
mod commit;
mod consumer;
mod delivery;
pub mod failure;
mod history;
mod lag;
mod latest;
mod recovery;
mod redrive;
mod sequencer;
mod shedding;
mod tail;

use std::{collections::HashMap, sync::Arc, time::Duration};

pub use commit::{Committed, Due};
pub use consumer::{InstanceView, Slot};
pub use delivery::{Batch, Delivery, Fetch};
pub use history::HistoryRead;
pub use lag::Lag;
pub use recovery::{Member, StoredMeeting};
pub use redrive::{Redrive, RedriveError};
pub use sequencer::Sequencer;

use crate::{
    DataPacket, KeyValue, MeetingId, Name, Seq,
    meeting::Lifecycle,
    plugin::{DeliveryPolicy, Durability, StateRef},
    store::{Commit, DeadLetter, Epoch, InstanceStatus, MeetingRecord, MeetingStatus},
};
use batch_cache::BatchCache;
use commit::{CommitQueue, InstanceUpdate, Item};
use consumer::{Consumer, ResolvedPolicy, SubscribedSource};
use failure::{ActorDecision, FailurePolicy};
use latest::Latest;
use tail::{Entry, Retention, SourceId, Tail};

/// Bounds of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most packets in one batch.
    pub batch_packets: usize,
    /// The most bytes in one batch; a single packet may be larger.
    pub batch_bytes: usize,
    /// The most bytes of packets that the tail keeps for instances that are behind, of volatile ones and of
    /// durable ones each. Durable packets that are not stored yet come on top; the door bounds those.
    pub tail_bytes: usize,
    /// How many bytes may wait to be stored before no instance gets more to work on.
    pub backlog_bytes: usize,
    /// How many bytes may wait for an instance, of the sources that it takes with [`DeliveryPolicy::Block`], before
    /// it [blocks](MeetingLog::is_blocking).
    pub block_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            batch_packets: 4096,
            batch_bytes: 1 << 20,
            tail_bytes: 16 << 20,
            backlog_bytes: 16 << 20,
            block_bytes: 1 << 20,
        }
    }
}

/// What an instance takes and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The instance.
    pub instance: Name,
    /// The sources it takes, as they are called in this meeting, and what becomes of their packets while it
    /// is busy. (Of a source that is not stored, [`DeliveryPolicy::Spill`] is [`DeliveryPolicy::DropOldest`]: there is
    /// nowhere to read from.)
    pub sources: Vec<(Name, DeliveryPolicy)>,
}

/// A packet on its way into the log, with what the log must know beside it.
///
/// It is put together where the packet is made, so that the log need not look into one that is in another
/// core's cache.
#[derive(Debug, Clone)]
pub struct Append {
    packet: Arc<DataPacket>,
    durability: Durability,
    external: bool,
    cost: usize,
}

impl Append {
    /// A packet; whether it is to be stored; whether it came through the door, whose bound it counts against
    /// until it is.
    pub fn new(packet: Arc<DataPacket>, durability: Durability, external: bool) -> Self {
        let cost = packet.cost();
        Self { packet, durability, external, cost }
    }

    /// The packet.
    pub fn packet(&self) -> &Arc<DataPacket> {
        &self.packet
    }

    /// Whether it is to be stored.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// What the packet counts against limits in bytes.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Gives it its place in the log.
    ///
    /// # Panics
    /// If somebody else has the packet already.
    pub fn set_seq(&mut self, seq: Seq) {
        Arc::get_mut(&mut self.packet).expect("invariant: nobody else has it yet").seq = seq;
    }
}

/// What an instance's hooks made, handed on as one update.
#[derive(Debug, Clone, Default)]
pub struct Effects {
    /// The last packet that it has finished with.
    pub cursor: Seq,
    /// Its newest state, if a hook changed it.
    pub state: Option<StateRef>,
    /// The keys that its hooks wrote.
    pub keys: Vec<KeyValue>,
    /// Its outputs, with their places in the log.
    pub outputs: Vec<Arc<DataPacket>>,
    /// Whether the outputs are to be stored.
    pub output: Durability,
    /// The packets that it gave up.
    pub dead_letters: Vec<DeadLetter>,
    /// The packet that it had given up and has finished with now: it is no dead letter any more.
    pub redriven: Option<Seq>,
    /// Whether its batch is finished: it has credit again.
    pub done: bool,
}

impl Effects {
    fn changes_nothing_but_the_cursor(&self) -> bool {
        self.state.is_none()
            && self.keys.is_empty()
            && self.outputs.is_empty()
            && self.dead_letters.is_empty()
            && self.redriven.is_none()
    }
}

/// Where an instance that is added to a running meeting begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinAt {
    /// With the next packet.
    #[default]
    Now,
    /// With the meeting's first packet: it reads what is stored, then goes on.
    Start,
}

/// The log of one meeting. See the module.
#[derive(Debug)]
pub struct MeetingLog {
    meeting: MeetingId,
    limits: Limits,
    sources: HashMap<Name, SourceId>,
    /// The source that was asked for last: the next packet is often of the same.
    last_source: Option<(Name, SourceId)>,
    lifecycle: SourceId,
    tail: Tail,
    /// The last packet appended.
    end: Seq,
    /// The packet on which the meeting's first instances start.
    start: Seq,
    consumers: Vec<Consumer>,
    status: MeetingStatus,
    ending: Option<Arc<DataPacket>>,
    /// Reopened after its end for redrives; `on_meeting_end` does not run again.
    is_reopened: bool,
    /// What is replaced of sources that instances take by a key.
    latest: Vec<Latest>,
    /// Some instance may block.
    blocks: bool,
    queue: CommitQueue,
    /// Batches that others can take, too.
    batch_cache: BatchCache,
}

impl MeetingLog {
    /// The log of a meeting that was just created: empty. [`recover`](Self::recover) makes one of what was
    /// claimed.
    pub fn new(record: &MeetingRecord, last_stored: Seq, limits: Limits) -> Self {
        let mut log = Self {
            meeting: record.metadata.id.clone(),
            limits,
            sources: HashMap::new(),
            last_source: None,
            lifecycle: SourceId(0),
            tail: Tail::new(last_stored),
            end: last_stored,
            start: Seq::ZERO,
            consumers: Vec::new(),
            status: record.status,
            ending: None,
            is_reopened: false,
            latest: Vec::new(),
            blocks: false,
            queue: CommitQueue::new(record),
            batch_cache: BatchCache::default(),
        };
        let lifecycle = Name::new(Lifecycle::SOURCE).expect("invariant: a well-formed name");
        log.lifecycle = log.source(&lifecycle);
        log
    }

    /// The meeting.
    pub fn meeting(&self) -> &MeetingId {
        &self.meeting
    }

    /// The owner's epoch.
    pub fn epoch(&self) -> Epoch {
        self.queue.epoch()
    }

    /// How far the meeting has come.
    pub fn status(&self) -> MeetingStatus {
        self.status
    }

    /// The last packet appended.
    pub fn end_seq(&self) -> Seq {
        self.end
    }

    /// Bytes of packets in memory for instances that have not seen them, or until they are stored.
    pub fn tail_bytes(&self) -> usize {
        self.tail.bytes()
    }

    /// An instance's slot, if it was ever part of this meeting.
    pub fn slot(&self, instance: &str) -> Option<Slot> {
        self.consumers.iter().position(|i| i.name == *instance).map(Slot)
    }

    /// All slots.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..self.consumers.len()).map(Slot)
    }

    /// An instance as it stands.
    pub fn view(&self, slot: Slot) -> InstanceView<'_> {
        self.consumers[slot.0].view()
    }

    fn source(&mut self, name: &Name) -> SourceId {
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

    /// Starts the meeting: its first packet, and the instances that take part from there on.
    pub fn start(
        &mut self,
        packet: Arc<DataPacket>,
        instances: impl IntoIterator<Item = (Subscription, StateRef)>,
    ) {
        let seq = packet.seq;
        self.start = seq;
        self.append_to(packet, Durability::Durable, None, false);
        let instances = instances.into_iter();
        // Most meetings stay with those that they start with.
        self.consumers.reserve_exact(instances.size_hint().0);
        for (subscription, state) in instances {
            let slot = self.add(subscription, state, seq.previous(), seq);
            self.queue.push(Item::Update(InstanceUpdate::row(slot, &self.consumers[slot.0])));
        }
    }

    /// Puts a packet at the end. Its seq is above all before it.
    pub fn append(&mut self, append: Append) {
        self.append_as(append, None);
    }

    fn append_to(
        &mut self,
        packet: Arc<DataPacket>,
        durability: Durability,
        to: Option<Slot>,
        external: bool,
    ) {
        self.append_as(Append::new(packet, durability, external), to);
    }

    fn append_as(&mut self, append: Append, to: Option<Slot>) {
        let durability = append.durability;
        if durability == Durability::Durable {
            let (packet, external) = (append.packet.clone(), append.external);
            self.queue.push(Item::Packet { packet, external });
        }
        self.place(append, to);
        if durability == Durability::Volatile {
            self.shed();
        }
    }

    /// Puts a packet at the end of what is in memory; whether it is to be stored is for the caller to queue.
    fn place(&mut self, append: Append, to: Option<Slot>) {
        let Append { packet, durability, cost, .. } = append;
        debug_assert!(packet.seq > self.end, "invariant: the log is in the order of its seqs");
        self.end = packet.seq;
        let source = self.source(&packet.source);
        self.enter(Entry { seq: packet.seq, packet, cost, source, to, redrives: None }, durability);
    }

    fn enter(&mut self, entry: Entry, durability: Durability) {
        if entry.to.is_none() {
            for latest in self.latest.iter_mut().filter(|latest| latest.source == entry.source) {
                latest.note(&entry.packet);
            }
        }
        let mut is_blocked_on = false;
        if self.blocks {
            for instance in &mut self.consumers {
                is_blocked_on |= instance.waits(&entry);
            }
        }
        let keep = match durability {
            Durability::Durable => Retention::Durable,
            Durability::Volatile if is_blocked_on => Retention::Held,
            Durability::Volatile => Retention::Volatile,
        };
        self.tail.push(entry, keep);
    }

    /// What an instance takes, in the log's terms.
    fn taken(&mut self, subscription: &Subscription) -> Vec<SubscribedSource> {
        let taken = |(name, policy): &(Name, DeliveryPolicy)| {
            let source = self.source(name);
            let resolved = match policy {
                DeliveryPolicy::Spill => ResolvedPolicy::Spill,
                DeliveryPolicy::DropOldest => ResolvedPolicy::DropOldest,
                DeliveryPolicy::Block => {
                    self.blocks = true;
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
            SubscribedSource { source, policy: resolved }
        };
        subscription.sources.iter().map(taken).collect()
    }

    /// Adds an instance to the running meeting with its `join` packet, or takes one back that had left. One
    /// that comes back goes on from here, with the state it had.
    ///
    /// # Panics
    /// If the instance takes part already; ask [`slot`](Self::slot) and [`view`](Self::view) first.
    pub fn join(
        &mut self,
        subscription: Subscription,
        state: StateRef,
        at: JoinAt,
        packet: Arc<DataPacket>,
    ) -> Slot {
        let seq = packet.seq;
        let known = self.slot(subscription.instance.as_str());
        let slot = known.unwrap_or(Slot(self.consumers.len()));
        let (cursor, joined) = match at {
            JoinAt::Now => (seq.previous(), seq),
            JoinAt::Start => (self.start.previous(), self.start),
        };
        match known {
            None => {
                self.add(subscription, state, cursor, joined);
            }
            Some(slot) => {
                let sources = self.taken(&subscription);
                let instance = &mut self.consumers[slot.0];
                assert_eq!(instance.status, InstanceStatus::Left, "invariant: it takes part at most once");
                instance.rejoin(sources, cursor, joined);
            }
        }
        // With its row as one update: where it began cannot be told from the packet alone.
        self.place(Append::new(packet.clone(), Durability::Durable, false), Some(slot));
        let row = InstanceUpdate::row(slot, &self.consumers[slot.0]);
        self.queue.push(Item::Update(InstanceUpdate { outputs: vec![packet], ..row }));
        slot
    }

    fn add(&mut self, subscription: Subscription, state: StateRef, cursor: Seq, joined: Seq) -> Slot {
        let sources = self.taken(&subscription);
        let output = self.source(&subscription.instance);
        let slot = Slot(self.consumers.len());
        self.consumers.push(Consumer::new(subscription.instance, sources, output, cursor, joined, state));
        slot
    }

    /// Takes an instance out with its `leave` packet: it finishes what is before that, then `on_meeting_end`
    /// runs on it.
    pub fn leave(&mut self, slot: Slot, packet: Arc<DataPacket>) {
        self.consumers[slot.0].leaving = Some(packet.seq);
        self.append_to(packet, Durability::Durable, Some(slot), false);
    }

    /// Gives an instance a tick, unless the last one still waits.
    pub fn tick(&mut self, slot: Slot, packet: Arc<DataPacket>) {
        self.consumers[slot.0].tick = Some(packet.seq);
        self.append_to(packet, Durability::Volatile, Some(slot), false);
    }

    /// Whether an instance can take a tick now.
    pub fn takes_tick(&self, slot: Slot) -> bool {
        let instance = &self.consumers[slot.0];
        self.status == MeetingStatus::Running
            && instance.status == InstanceStatus::Active
            && instance.leaving.is_none()
            && instance.tick.is_none()
    }

    /// Begins the meeting's end with its `ending` packet: nothing comes from outside any more.
    pub fn end(&mut self, packet: Arc<DataPacket>) {
        debug_assert_eq!(self.status, MeetingStatus::Running, "invariant: a meeting ends once");
        self.status = MeetingStatus::Ending;
        self.append_to(packet.clone(), Durability::Durable, None, false);
        self.ending = Some(packet);
        self.queue.push(Item::Status(MeetingStatus::Ending));
    }

    /// Whether every instance is done with the meeting's end, so that [`ended`](Self::ended) may follow.
    pub fn is_finished(&self) -> bool {
        self.status == MeetingStatus::Ending && self.unfinished().next().is_none()
    }

    /// The instances that still have something to do.
    pub fn unfinished(&self) -> impl Iterator<Item = Slot> + '_ {
        let active = |slot: &Slot| self.consumers[slot.0].status == InstanceStatus::Active;
        self.slots().filter(active)
    }

    /// Whether every instance that takes part has finished with all that is in the log.
    pub fn is_worked_off(&self) -> bool {
        self.unfinished().all(|slot| {
            let view = self.view(slot);
            !view.has_batch && view.cursor == self.end
        })
    }

    /// Completes the log with its `ended` packet.
    pub fn ended(&mut self, packet: Arc<DataPacket>) {
        debug_assert!(self.is_finished(), "invariant: a meeting ends after its instances");
        self.status = MeetingStatus::Ended;
        self.append_to(packet, Durability::Durable, None, false);
        self.queue.push(Item::Status(MeetingStatus::Ended));
    }

    /// Says whether an instance's actor is there to take batches. One that was replaced gets again what it
    /// had not handed on.
    pub fn set_ready(&mut self, slot: Slot, ready: bool) {
        self.consumers[slot.0].set_ready(ready);
    }

    /// Whether there is something to do as soon as an instance is done with the batch that is with it: it can
    /// be sent more, or its end, or somebody else's end waits for it.
    pub fn waits_for(&self, slot: Slot) -> bool {
        let instance = &self.consumers[slot.0];
        match instance.in_flight_up_to() {
            Some(up_to) => {
                up_to < self.end || self.status != MeetingStatus::Running || instance.leaving.is_some()
            }
            None => false,
        }
    }

    /// Whether a batch is with any instance's actor.
    pub fn has_batches(&self) -> bool {
        self.consumers.iter().any(|instance| instance.in_flight_up_to().is_some())
    }

    /// Whether a packet that comes in now could go to an instance at once, or must at least be noted for it:
    /// that it has to be [waited for](Self::waits_for). An instance that is not open is sent more when
    /// what it waits for happens.
    pub fn is_open(&self, slot: Slot) -> bool {
        self.consumers[slot.0].is_there()
            && !self.waits_for(slot)
            && self.queue.bytes() < self.limits.backlog_bytes
    }

    /// Whether a commit is under way.
    pub fn is_committing(&self) -> bool {
        self.queue.is_in_flight()
    }

    /// Takes what an instance's hooks made. Its outputs go to the end of the log.
    pub fn apply(&mut self, slot: Slot, effects: Effects) {
        let lone_cursor = effects.changes_nothing_but_the_cursor();
        let mut stored = Vec::new();
        let mut shed = false;
        for packet in effects.outputs {
            match effects.output {
                Durability::Durable => stored.push(packet.clone()),
                Durability::Volatile => shed = true,
            }
            self.place(Append::new(packet, effects.output, false), None);
        }
        let instance = &mut self.consumers[slot.0];
        let before = instance.status;
        instance.advance(effects.cursor, effects.done);
        if let Some(state) = &effects.state {
            instance.state = state.clone();
        }
        if lone_cursor && instance.status == before {
            instance.cursor_moved = true;
        } else {
            self.queue.push(Item::Update(InstanceUpdate {
                state: effects.state,
                keys: effects.keys,
                outputs: stored,
                dead_letters: effects.dead_letters,
                redriven: effects.redriven,
                ..InstanceUpdate::row(slot, instance)
            }));
        }
        if shed {
            self.shed();
        }
        self.trim();
    }

    /// Counts one more try of a packet that an instance's actor did not survive, and says how many there
    /// were.
    pub fn count_try(&mut self, slot: Slot, seq: Seq) -> u32 {
        self.consumers[slot.0].failures.count_try(seq)
    }

    /// An instance's actor failed while it worked on a packet, or on none: the instance gets no batch until
    /// [`set_ready`](Self::set_ready). Says what to do about the packet and the actor; `None` if the instance
    /// is not active any more. For `now` see [`Failures::actor_failed`](failure::Failures::actor_failed).
    pub fn actor_failed(
        &mut self,
        slot: Slot,
        packet: Option<Seq>,
        now: Duration,
        policy: &FailurePolicy,
    ) -> Option<ActorDecision> {
        let consumer = &mut self.consumers[slot.0];
        let is_active = consumer.status == InstanceStatus::Active;
        let decision = consumer.failures.actor_failed(packet.filter(|_| is_active), now, policy);
        if !is_active {
            return None;
        }
        consumer.set_ready(false);
        Some(decision)
    }

    /// A packet of the batch that is, or last was, with an instance's actor.
    pub fn in_hand(&self, slot: Slot, seq: Seq) -> Option<&Arc<DataPacket>> {
        let ending = self.ending.as_ref().filter(|packet| packet.seq == seq);
        self.consumers[slot.0].in_hand(seq).or(ending)
    }

    /// Gives up a packet for an instance whose actor is gone: the cursor moves on, and a durable packet goes
    /// to the dead letters. With the packet of a meeting's end, the instance is finished.
    pub fn give_up(&mut self, slot: Slot, seq: Seq, dead_letter: Option<DeadLetter>) {
        // One that was redriven is done with at the redrive's place, not at its own.
        let redriven_at = self.consumers[slot.0].take_redriven(seq);
        if redriven_at.is_none() && self.ending.as_ref().is_some_and(|packet| packet.seq == seq) {
            self.consumers[slot.0].is_at_its_end();
        }
        let (cursor, dead_letters) = (redriven_at.unwrap_or(seq), dead_letter.into_iter().collect());
        self.apply(slot, Effects { cursor, dead_letters, done: true, ..Effects::default() });
    }

    /// Finishes with an instance that had its time at the meeting's end. Its cursor stays where it is.
    pub fn expire(&mut self, slot: Slot, dead_letter: DeadLetter) {
        let instance = &mut self.consumers[slot.0];
        instance.status = InstanceStatus::Finished;
        instance.set_ready(false);
        instance.redrives.clear();
        let dead_letters = vec![dead_letter];
        let update = InstanceUpdate { dead_letters, ..InstanceUpdate::row(slot, instance) };
        self.queue.push(Item::Update(update));
        self.trim();
    }

    /// The `ending` packet, once there is one.
    pub fn ending(&self) -> Option<&Arc<DataPacket>> {
        self.ending.as_ref()
    }

    /// Stops delivering to an instance that failed too often.
    pub fn suspend(&mut self, slot: Slot) {
        let instance = &mut self.consumers[slot.0];
        instance.status = InstanceStatus::Suspended;
        instance.set_ready(false);
        let update = InstanceUpdate::row(slot, instance);
        self.queue.push(Item::Update(update));
        self.trim();
    }

    /// How soon something should be committed.
    pub fn due(&self, wanted_reservation: Seq) -> Due {
        if self.queue.is_in_flight() {
            Due::Nothing
        } else if self.queue.has_items() || wanted_reservation > self.queue.reserved() {
            Due::Now
        } else if self.consumers.iter().any(|instance| instance.cursor_moved) {
            Due::Soon
        } else {
            Due::Nothing
        }
    }

    /// Whether all that was issued is stored, cursors included.
    pub fn is_stored(&self, wanted_reservation: Seq) -> bool {
        !self.queue.is_in_flight() && self.due(wanted_reservation) == Due::Nothing
    }

    /// The next commit: as much of the queue as fits, with each instance's rows folded into the newest.
    /// `None` while one is in flight or there is nothing to store.
    ///
    /// An instance whose state cannot be written as JSON is named beside the commit. Its row is stored
    /// without the state; the owner suspends it.
    pub fn next_commit(&mut self, reserve: Seq) -> Option<(Commit, Vec<(Slot, crate::plugin::StateError)>)> {
        if self.due(reserve) == Due::Nothing {
            return None;
        }
        Some(self.queue.next_commit(&self.meeting, reserve, &mut self.consumers))
    }

    /// The commit that was in flight is stored.
    pub fn committed(&mut self) -> Committed {
        let committed = self.queue.committed();
        if let Some(seq) = committed.stored_up_to {
            self.tail.stored(seq);
        }
        self.trim();
        committed
    }

    /// Durable packets that are not stored yet and match, oldest first: what a reader must add to the store's
    /// answer.
    pub fn unstored(&self, matches: impl Fn(&DataPacket) -> bool) -> Vec<Arc<DataPacket>> {
        self.queue.packets().filter(|packet| matches(packet)).cloned().collect()
    }

    /// What an instance has written to its keys and is not stored, oldest first.
    pub fn unstored_keys(&self, slot: Slot) -> impl Iterator<Item = &KeyValue> {
        self.queue.keys(slot)
    }

    /// Whether too much waits for an instance of the sources that it blocks on, while it works and the
    /// meeting runs.
    pub fn is_blocking(&self, slot: Slot) -> bool {
        let instance = &self.consumers[slot.0];
        self.status == MeetingStatus::Running
            && instance.status == InstanceStatus::Active
            && instance.waiting_bytes() > self.limits.block_bytes
    }
}

#[cfg(test)]
mod tests;
