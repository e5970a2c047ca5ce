//! One instance as a consumer of the log: what it takes, its cursor, its batch in flight and its gap.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{
    batch::{Batch, Collected, DueRedrive, Durables},
    checkpoint::Checkpoint,
    failure::Failures,
    ids::{Slot, SourceId},
    tail::Entry,
};
use crate::{DataPacket, Name, Seq, plugin::StateRef, store::InstanceStatus};

/// An instance's state in the log, to read.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct InstanceView<'a> {
    /// The instance's name.
    pub name: &'a Name,
    /// Whether it takes part.
    pub status: InstanceStatus,
    /// The seq up to which it has finished with the log.
    pub cursor: Seq,
    /// Its newest state.
    pub state: &'a StateRef,
    /// Whether it was told to leave and has not reached its `leave` packet.
    pub is_leaving: bool,
    /// Whether a batch is in flight to its actor.
    pub has_batch: bool,
    /// How many packets it lost that no finished batch has told it of.
    pub gap: u64,
}

/// A source that an instance takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SubscribedSource {
    pub(super) source: SourceId,
    pub(super) policy: ResolvedPolicy,
}

/// What happens to a source's packets while the instance is busy: a
/// [`DeliveryPolicy`](crate::DeliveryPolicy) with the key resolved to an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResolvedPolicy {
    Spill,
    DropOldest,
    /// The index of the source and key in the log's table of [`Latest`](super::latest::Latest).
    Latest(usize),
    Block,
}

/// A batch that was sent to an instance's actor.
#[derive(Debug)]
struct InFlight {
    packets: Arc<[Arc<DataPacket>]>,
    durables: Durables,
    /// The instance's cursor once the batch is done. It may be above the last packet: packets in between are
    /// not for the instance.
    up_to: Seq,
    /// Whether the batch is the meeting's `ending` packet, which finishes the instance.
    is_ending: bool,
    /// Whether the batch is a redriven packet, with the redrive's seq as `up_to`.
    is_redriven: bool,
}

/// The packets of sources that an instance blocks on and that are above its cursor.
#[derive(Debug, Default)]
struct BlockingQueue {
    /// The packets' seqs and costs.
    packets: VecDeque<(Seq, usize)>,
    bytes: usize,
}

impl BlockingQueue {
    fn push(&mut self, seq: Seq, cost: usize) {
        self.packets.push_back((seq, cost));
        self.bytes += cost;
    }

    fn pop_up_to(&mut self, cursor: Seq) {
        while let Some((_, cost)) = self.packets.pop_front_if(|(seq, _)| *seq <= cursor) {
            self.bytes -= cost;
        }
    }
}

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) name: Name,
    pub(super) sources: Vec<SubscribedSource>,
    /// The source of the instance's outputs.
    pub(super) output: SourceId,
    pub(super) status: InstanceStatus,
    /// The packet on which `on_meeting_start` runs.
    pub(super) joined: Seq,
    /// The `leave` packet, on which the instance leaves.
    pub(super) leaving: Option<Seq>,
    /// The seq up to which the instance has finished with the log.
    pub(super) cursor: Seq,
    pub(super) state: StateRef,
    /// Whether the cursor has moved and no update in the queue holds it.
    pub(super) cursor_moved: bool,
    /// Effects that wait to be stored.
    pub(super) checkpoint: Checkpoint,
    /// A tick that the instance has not finished with.
    pub(super) tick: Option<Seq>,
    /// Whether the store is being read for the instance.
    pub(super) fetching: bool,
    /// Whether its actor takes batches.
    ready: bool,
    in_flight: Option<InFlight>,
    /// A batch whose actor failed. It is kept because volatile packets of it may be gone from the tail.
    unfinished: Option<InFlight>,
    /// How many packets it lost since the batch in flight.
    pub(super) gap: u64,
    /// The gap that the batch in flight tells of.
    gap_in_flight: u64,
    pub(super) failures: Failures,
    blocking: BlockingQueue,
    /// The redrives to come: the seq of each `redrive` packet, and the packet to deliver again there.
    pub(super) redrives: BTreeMap<Seq, Seq>,
    /// The redrive whose packet is being read from the store.
    pub(super) redriving: Option<DueRedrive>,
}

impl Consumer {
    pub(super) fn new(
        name: Name,
        sources: Vec<SubscribedSource>,
        output: SourceId,
        cursor: Seq,
        joined: Seq,
        state: StateRef,
    ) -> Self {
        Self {
            name,
            sources,
            output,
            status: InstanceStatus::Active,
            joined,
            leaving: None,
            cursor,
            state,
            cursor_moved: false,
            checkpoint: Checkpoint::default(),
            tick: None,
            fetching: false,
            ready: false,
            in_flight: None,
            unfinished: None,
            gap: 0,
            gap_in_flight: 0,
            failures: Failures::default(),
            blocking: BlockingQueue::default(),
            redrives: BTreeMap::new(),
            redriving: None,
        }
    }

    pub(super) fn rejoin(&mut self, sources: Vec<SubscribedSource>, cursor: Seq, joined: Seq) {
        self.sources = sources;
        self.status = InstanceStatus::Active;
        self.joined = joined;
        self.leaving = None;
        self.cursor = cursor;
        self.tick = None;
        self.set_ready(false);
        self.unfinished = None;
        self.gap = 0;
        self.blocking = BlockingQueue::default();
    }

    pub(super) fn view(&self) -> InstanceView<'_> {
        InstanceView {
            name: &self.name,
            status: self.status,
            cursor: self.cursor,
            state: &self.state,
            is_leaving: self.leaving.is_some(),
            has_batch: self.in_flight.is_some(),
            gap: self.gap + self.gap_in_flight,
        }
    }

    pub(super) fn set_ready(&mut self, ready: bool) {
        self.ready = ready;
        // `ending` is not kept: it is sent again once nothing else is left for the instance.
        let unfinished = self.in_flight.take().filter(|batch| !batch.is_ending);
        self.unfinished = unfinished.or(self.unfinished.take());
        self.gap += std::mem::take(&mut self.gap_in_flight);
    }

    /// Whether its actor takes batches and no read of the store is under way for it.
    pub(super) fn is_available(&self) -> bool {
        self.ready && !self.fetching && self.status == InstanceStatus::Active
    }

    pub(super) fn has_credit(&self) -> bool {
        self.is_available() && self.in_flight.is_none()
    }

    /// The instance's cursor once the batch in flight is done.
    pub(super) fn in_flight_up_to(&self) -> Option<Seq> {
        self.in_flight.as_ref().map(|batch| batch.up_to)
    }

    /// The policy with which it takes a source; `None` if it doesn't take it.
    pub(super) fn policy(&self, source: SourceId) -> Option<ResolvedPolicy> {
        self.sources.iter().find(|subscribed| subscribed.source == source).map(|subscribed| subscribed.policy)
    }

    /// Whether it reads packets of a durable source from the store once they are gone from memory.
    pub(super) fn spills(&self, source: SourceId) -> bool {
        self.policy(source).is_some_and(|policy| policy != ResolvedPolicy::DropOldest)
    }

    pub(super) fn wants(&self, slot: Slot, entry: &Entry, lifecycle: SourceId) -> bool {
        let seq = entry.seq;
        if entry.source == lifecycle {
            let is_redrive = entry.redrives.is_some() && entry.recipient == Some(slot);
            return seq == self.joined || Some(seq) == self.leaving || is_redrive;
        }
        if self.leaving.is_some_and(|leaving| seq > leaving) {
            return false;
        }
        match entry.recipient {
            Some(recipient) => recipient == slot,
            None => self.policy(entry.source).is_some(),
        }
    }

    /// Whether a packet of this seq may still be sent to it.
    pub(super) fn may_receive(&self, seq: Seq) -> bool {
        let sent =
            self.in_flight.as_ref().or(self.unfinished.as_ref()).map_or(self.cursor, |batch| batch.up_to);
        self.status == InstanceStatus::Active && seq > sent
    }

    /// Notes that a packet was dropped: the gap grows if the instance would have received it.
    pub(super) fn packet_dropped(&mut self, slot: Slot, entry: &Entry, lifecycle: SourceId) {
        let seq = entry.seq;
        if !self.may_receive(seq) {
            return;
        }
        if self.tick == Some(seq) {
            self.tick = None;
        } else if self.wants(slot, entry, lifecycle) {
            self.gap += 1;
        }
    }

    /// Queues an appended packet if the instance blocks on its source. Returns whether it does: then the
    /// packet must be held until the instance has seen it.
    pub(super) fn queue_blocking(&mut self, entry: &Entry) -> bool {
        let blocks = self.status == InstanceStatus::Active
            && self.leaving.is_none()
            && entry.recipient.is_none()
            && self.policy(entry.source) == Some(ResolvedPolicy::Block);
        if blocks {
            self.blocking.push(entry.seq, entry.cost);
        }
        blocks
    }

    /// Whether packets are held for it.
    pub(super) fn can_block(&self) -> bool {
        self.status == InstanceStatus::Active
            && self.sources.iter().any(|subscribed| subscribed.policy == ResolvedPolicy::Block)
    }

    /// How many bytes are queued for it of the sources that it blocks on.
    pub(super) fn blocking_bytes(&self) -> usize {
        self.blocking.bytes
    }

    /// Moves the cursor past packets that are not for the instance.
    pub(super) fn skip_to(&mut self, seq: Seq) {
        if seq > self.cursor {
            self.cursor = seq;
            self.cursor_moved = true;
            self.blocking.pop_up_to(seq);
            if self.tick.is_some_and(|tick| tick <= seq) {
                self.tick = None;
            }
        }
    }

    /// Sends what the instance has not finished with of a batch whose actor failed.
    pub(super) fn resend(&mut self) -> Option<Batch> {
        let InFlight { packets, durables, up_to, is_redriven, .. } = self.unfinished.take()?;
        if is_redriven {
            return (self.cursor < up_to).then(|| self.send_redriven(packets, up_to));
        }
        let done = packets.partition_point(|packet| packet.seq <= self.cursor);
        if done == packets.len() {
            self.skip_to(up_to);
            return None;
        }
        Some(self.send(Collected { packets: packets[done..].into(), durables, up_to }))
    }

    /// A packet of the batch in flight, or of the last one if its actor failed.
    pub(super) fn packet_in_flight(&self, seq: Seq) -> Option<&Arc<DataPacket>> {
        let batch = self.in_flight.as_ref().or(self.unfinished.as_ref())?;
        batch.packets.iter().find(|packet| packet.seq == seq)
    }

    pub(super) fn send(&mut self, batch: Collected) -> Batch {
        let Collected { packets, durables, up_to } = batch;
        let is_ending = false;
        let sent = packets.clone();
        self.in_flight = Some(InFlight { packets: sent, durables, up_to, is_ending, is_redriven: false });
        self.gap_in_flight = std::mem::take(&mut self.gap);
        Batch { packets, gap: self.gap_in_flight, tried: self.failures.tried(), redriven_at: None }
    }

    /// Sends a packet again that it gave up, for the redrive at `at`.
    pub(super) fn send_redriven(&mut self, packets: Arc<[Arc<DataPacket>]>, at: Seq) -> Batch {
        let (durables, is_ending) = (Durables::All, false);
        let sent = packets.clone();
        self.in_flight = Some(InFlight { packets: sent, durables, up_to: at, is_ending, is_redriven: true });
        Batch { packets, gap: 0, tried: self.failures.tried(), redriven_at: Some(at) }
    }

    /// Removes the batch in flight, or the one whose actor failed, if it is this packet redriven. Returns the
    /// redrive's seq.
    pub(super) fn take_redriven(&mut self, seq: Seq) -> Option<Seq> {
        let is_it =
            |batch: &mut InFlight| batch.is_redriven && batch.packets.iter().any(|packet| packet.seq == seq);
        let batch = self.in_flight.take_if(is_it).or_else(|| self.unfinished.take_if(is_it))?;
        Some(batch.up_to)
    }

    /// Whether the batch in flight is the meeting's end.
    pub(super) fn has_ending(&self) -> bool {
        self.in_flight.as_ref().is_some_and(|batch| batch.is_ending)
    }

    /// Sends the meeting's end.
    pub(super) fn send_ending(&mut self, packet: Arc<DataPacket>) -> Batch {
        let (packets, durables) = ([packet].into(), Durables::All);
        let batch = self.send(Collected { packets, durables, up_to: self.cursor });
        self.mark_ending();
        batch
    }

    /// Makes the batch in flight, if any, the meeting's end: once it is done, the instance is finished.
    pub(super) fn mark_ending(&mut self) {
        let packets = self.in_flight.take().map_or_else(|| [].into(), |batch| batch.packets);
        let (durables, up_to) = (Durables::All, self.cursor);
        self.in_flight = Some(InFlight { packets, durables, up_to, is_ending: true, is_redriven: false });
    }

    /// Whether hooks that finish with the batch in flight up to here have had only volatile packets since the
    /// last effects.
    pub(super) fn is_past_volatile_only(&self, up_to: Seq) -> bool {
        self.in_flight.as_ref().is_some_and(|batch| !batch.durables.any(self.cursor, up_to))
    }

    /// Moves the cursor; with `done` the batch is finished and the instance has credit again. `holds_end` says whether the
    /// meeting's end is among what was done.
    pub(super) fn advance(&mut self, cursor: Seq, holds_end: bool, done: bool) {
        // Large effects are submitted before their batch is done. Those of the end are the instance's last, so they
        // finish it already: otherwise a new owner could find them stored and end the instance a second time.
        let is_ended = self.in_flight.as_ref().is_some_and(|batch| batch.is_ending && (done || holds_end));
        self.cursor = self.cursor.max(cursor);
        self.gap_in_flight = 0;
        if done && let Some(batch) = self.in_flight.take() {
            self.cursor = self.cursor.max(batch.up_to);
        }
        self.blocking.pop_up_to(self.cursor);
        self.redrives.retain(|at, _| *at > self.cursor);
        if is_ended {
            self.status = InstanceStatus::Finished;
            self.redrives.clear();
        } else if self.status == InstanceStatus::Active
            && self.leaving.is_some_and(|leaving| self.cursor >= leaving)
        {
            self.status = InstanceStatus::Left;
        }
        if self.tick.is_some_and(|tick| tick <= self.cursor) {
            self.tick = None;
        }
        // A redriven packet is below the cursor from the start.
        let is_redriven = self.in_flight.as_ref().is_some_and(|batch| batch.is_redriven);
        if !is_redriven {
            self.failures.finished_up_to(self.cursor);
        }
    }
}
