//! One instance in one meeting: what it takes, how far it is, whether it has credit.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{
    Batch, Redrive,
    failure::Failures,
    tail::{Entry, SourceId},
};
use crate::{DataPacket, Name, Seq, plugin::StateRef, store::InstanceStatus};

/// An instance's place in a log's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub(super) usize);

impl Slot {
    /// Its index, from 0 in the order in which instances joined.
    pub fn index(self) -> usize {
        self.0
    }
}

/// An instance as it stands, to look at.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct InstanceView<'a> {
    /// Its name.
    pub name: &'a Name,
    /// How it stands.
    pub status: InstanceStatus,
    /// The seq up to which it has finished with the log.
    pub cursor: Seq,
    /// Its newest state.
    pub state: &'a StateRef,
    /// Whether it was asked to leave.
    pub is_leaving: bool,
    /// Whether a batch is with its actor.
    pub has_batch: bool,
    /// How many packets it lost that it has not been told of, or is just being told of.
    pub gap: u64,
}

/// A source that an instance takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SubscribedSource {
    pub(super) source: SourceId,
    pub(super) policy: ResolvedPolicy,
}

/// What becomes of its packets while the instance is busy: a [`DeliveryPolicy`](crate::DeliveryPolicy), in the log's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResolvedPolicy {
    Spill,
    DropOldest,
    /// With the place in the log's table of [`Latest`](super::latest::Latest).
    Latest(usize),
    Block,
}

/// A batch that is with an instance's actor.
#[derive(Debug)]
struct InFlight {
    packets: Arc<[Arc<DataPacket>]>,
    /// The seq up to which it takes the instance: packets behind its last one were not for it.
    up_to: Seq,
    /// It is the meeting's end: with it the instance is finished.
    is_ending: bool,
    /// It is a packet that was given up, delivered once more: at the place of `up_to`.
    is_redriven: bool,
}

/// What waits of sources that are blocked on, up to the cursor.
#[derive(Debug, Default)]
struct Waiting {
    packets: VecDeque<(Seq, usize)>,
    bytes: usize,
}

impl Waiting {
    fn push(&mut self, seq: Seq, cost: usize) {
        self.packets.push_back((seq, cost));
        self.bytes += cost;
    }

    fn done(&mut self, up_to: Seq) {
        while let Some((_, cost)) = self.packets.pop_front_if(|(seq, _)| *seq <= up_to) {
            self.bytes -= cost;
        }
    }
}

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) name: Name,
    pub(super) sources: Vec<SubscribedSource>,
    /// The source of its outputs.
    pub(super) output: SourceId,
    pub(super) status: InstanceStatus,
    /// The packet on which `on_meeting_start` runs.
    pub(super) joined: Seq,
    /// The packet on which it leaves.
    pub(super) leaving: Option<Seq>,
    /// The seq up to which it has finished with the log.
    pub(super) cursor: Seq,
    pub(super) state: StateRef,
    /// The cursor has moved, and nothing in the queue says so.
    pub(super) cursor_moved: bool,
    /// A tick that waits.
    pub(super) tick: Option<Seq>,
    /// A read of the store is under way.
    pub(super) fetching: bool,
    ready: bool,
    in_flight: Option<InFlight>,
    /// A batch whose actor did not survive it. It is kept because what was volatile in it may be gone from
    /// the tail.
    again: Option<InFlight>,
    pub(super) gap: u64,
    gap_in_flight: u64,
    pub(super) failures: Failures,
    /// What it has not finished with of the sources that it blocks on.
    waiting: Waiting,
    /// The packets that it gave up and is to get once more, with the places where.
    pub(super) redrives: BTreeMap<Seq, Seq>,
    /// The redrive whose packet is read from the store.
    pub(super) redriving: Option<Redrive>,
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
            tick: None,
            fetching: false,
            ready: false,
            in_flight: None,
            again: None,
            gap: 0,
            gap_in_flight: 0,
            failures: Failures::default(),
            waiting: Waiting::default(),
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
        self.again = None;
        self.gap = 0;
        self.waiting = Waiting::default();
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
        // The meeting's end is sent anew when its time has come.
        let unfinished = self.in_flight.take().filter(|batch| !batch.is_ending);
        self.again = unfinished.or(self.again.take());
        self.gap += std::mem::take(&mut self.gap_in_flight);
    }

    /// Whether its actor is there and nothing is read from the store for it.
    pub(super) fn is_there(&self) -> bool {
        self.ready && !self.fetching && self.status == InstanceStatus::Active
    }

    pub(super) fn has_credit(&self) -> bool {
        self.is_there() && self.in_flight.is_none()
    }

    /// The seq up to which the batch that is with its actor takes it.
    pub(super) fn in_flight_up_to(&self) -> Option<Seq> {
        self.in_flight.as_ref().map(|batch| batch.up_to)
    }

    /// How it takes a source, if it does.
    pub(super) fn takes(&self, source: SourceId) -> Option<ResolvedPolicy> {
        self.sources.iter().find(|taken| taken.source == source).map(|taken| taken.policy)
    }

    /// Whether its packets of a source that is stored are read from the store where they are in memory no
    /// more.
    pub(super) fn spills(&self, source: SourceId) -> bool {
        self.takes(source).is_some_and(|policy| policy != ResolvedPolicy::DropOldest)
    }

    pub(super) fn wants(&self, slot: Slot, entry: &Entry, lifecycle: SourceId) -> bool {
        let seq = entry.seq;
        if entry.source == lifecycle {
            let is_redrive = entry.redrives.is_some() && entry.to == Some(slot);
            return seq == self.joined || Some(seq) == self.leaving || is_redrive;
        }
        if self.leaving.is_some_and(|leaving| seq > leaving) {
            return false;
        }
        match entry.to {
            Some(to) => to == slot,
            None => self.takes(entry.source).is_some(),
        }
    }

    /// Whether a packet could still be sent to it.
    pub(super) fn awaits(&self, seq: Seq) -> bool {
        let sent = self.in_flight.as_ref().or(self.again.as_ref()).map_or(self.cursor, |batch| batch.up_to);
        self.status == InstanceStatus::Active && seq > sent
    }

    /// A packet is gone: if this instance would have got it, it has a gap.
    pub(super) fn miss(&mut self, slot: Slot, entry: &Entry, lifecycle: SourceId) {
        let seq = entry.seq;
        if !self.awaits(seq) {
            return;
        }
        if self.tick == Some(seq) {
            self.tick = None;
        } else if self.wants(slot, entry, lifecycle) {
            self.gap += 1;
        }
    }

    /// A packet has come. Says whether it must be kept for this instance.
    pub(super) fn waits(&mut self, entry: &Entry) -> bool {
        let waits = self.status == InstanceStatus::Active
            && self.leaving.is_none()
            && entry.to.is_none()
            && self.takes(entry.source) == Some(ResolvedPolicy::Block);
        if waits {
            self.waiting.push(entry.seq, entry.cost);
        }
        waits
    }

    /// Whether packets are held for it.
    pub(super) fn can_block(&self) -> bool {
        self.status == InstanceStatus::Active
            && self.sources.iter().any(|taken| taken.policy == ResolvedPolicy::Block)
    }

    /// How many bytes wait for it of the sources that it blocks on.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting.bytes
    }

    pub(super) fn skip_to(&mut self, seq: Seq) {
        if seq > self.cursor {
            self.cursor = seq;
            self.cursor_moved = true;
            self.waiting.done(seq);
            if self.tick.is_some_and(|tick| tick <= seq) {
                self.tick = None;
            }
        }
    }

    /// What is left of a batch whose actor did not survive it.
    pub(super) fn send_again(&mut self) -> Option<Batch> {
        let InFlight { packets, up_to, is_redriven, .. } = self.again.take()?;
        if is_redriven {
            return (self.cursor < up_to).then(|| self.send_redriven(packets, up_to));
        }
        let done = packets.partition_point(|packet| packet.seq <= self.cursor);
        if done == packets.len() {
            self.skip_to(up_to);
            return None;
        }
        Some(self.send(packets[done..].into(), up_to))
    }

    pub(super) fn in_hand(&self, seq: Seq) -> Option<&Arc<DataPacket>> {
        let batch = self.in_flight.as_ref().or(self.again.as_ref())?;
        batch.packets.iter().find(|packet| packet.seq == seq)
    }

    pub(super) fn send(&mut self, packets: Arc<[Arc<DataPacket>]>, up_to: Seq) -> Batch {
        self.in_flight =
            Some(InFlight { packets: packets.clone(), up_to, is_ending: false, is_redriven: false });
        self.gap_in_flight = std::mem::take(&mut self.gap);
        Batch { packets, gap: self.gap_in_flight, tried: self.failures.tried(), redriven_at: None }
    }

    /// Sends a packet once more that it gave up.
    pub(super) fn send_redriven(&mut self, packets: Arc<[Arc<DataPacket>]>, at: Seq) -> Batch {
        self.in_flight =
            Some(InFlight { packets: packets.clone(), up_to: at, is_ending: false, is_redriven: true });
        Batch { packets, gap: 0, tried: self.failures.tried(), redriven_at: Some(at) }
    }

    /// The place of the redrive by which it has this packet, or last had it with an actor that did not
    /// survive it; with that it is done.
    pub(super) fn take_redriven(&mut self, seq: Seq) -> Option<Seq> {
        let is_it =
            |batch: &mut InFlight| batch.is_redriven && batch.packets.iter().any(|packet| packet.seq == seq);
        let batch = self.in_flight.take_if(is_it).or_else(|| self.again.take_if(is_it))?;
        Some(batch.up_to)
    }

    /// Whether the meeting's end is with its actor.
    pub(super) fn has_ending(&self) -> bool {
        self.in_flight.as_ref().is_some_and(|batch| batch.is_ending)
    }

    /// Sends the meeting's end.
    pub(super) fn send_ending(&mut self, packet: Arc<DataPacket>) -> Batch {
        let batch = self.send([packet].into(), self.cursor);
        self.is_at_its_end();
        batch
    }

    /// What is in flight, if anything, is the meeting's end.
    pub(super) fn is_at_its_end(&mut self) {
        let packets = self.in_flight.take().map_or_else(|| [].into(), |batch| batch.packets);
        self.in_flight = Some(InFlight { packets, up_to: self.cursor, is_ending: true, is_redriven: false });
    }

    /// Moves the cursor; with `done` the batch is finished and there is credit again.
    pub(super) fn advance(&mut self, cursor: Seq, done: bool) {
        // Large units are handed on before the batch is done. One that has the end in it is the last, and
        // says so: a new owner that found it without would end once more.
        let is_ended = self.in_flight.as_ref().is_some_and(|batch| {
            let ending = batch.packets.last().map(|packet| packet.seq);
            batch.is_ending && (done || ending == Some(cursor))
        });
        self.cursor = self.cursor.max(cursor);
        self.gap_in_flight = 0;
        if done && let Some(batch) = self.in_flight.take() {
            self.cursor = self.cursor.max(batch.up_to);
        }
        self.waiting.done(self.cursor);
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
        let is_redriven = self.in_flight.as_ref().is_some_and(|batch| batch.is_redriven);
        if !is_redriven {
            self.failures.finished_up_to(self.cursor);
        }
    }
}
