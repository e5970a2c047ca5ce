//! The ingress: where packets come in.
//!
//! A publisher goes through it without a round trip to the actor: checks, then bytes of the backlog's bound
//! (waiting, or `Busy`), then a seq and a place in the queue under one short lock, then a call of the
//! meeting. A packet's bytes are given back when it is stored (durable) or in the log (volatile).
//!
//! While every instance that takes a source is busy and will say when it isn't, and, if it is durable, a
//! commit is under way, its packets call nobody: nothing could be done with them. Somebody is called all the
//! same before the room or the reservation runs out.

use std::{
    cmp,
    collections::{HashMap, VecDeque},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering, fence},
    },
};

use futures::future::select;
use parking_lot::Mutex;
use teammy_kernel::{
    DataPacket, Durability, MeetingId, Name, Payload, Producer, Publish, Seq, Timestamp,
    graph::{Graph, SourceView},
    log::{Append, Sequencer},
    store::Mark,
};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::{Error, PublishError};
use crate::{clock, memory::Memory, metrics::Metrics, node::Resources};

/// A packet that was taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted {
    pub(crate) seq: Seq,
    /// Its source's place in the graph, if that is one whose packets are never stored.
    pub(crate) volatile: Option<u32>,
}

impl Accepted {
    fn new(seq: Seq, source: SourceView) -> Self {
        let volatile = (source.durability == Durability::Volatile).then_some(source.place);
        Self { seq, volatile }
    }
}

#[derive(Debug)]
struct Inner {
    sequencer: Sequencer,
    queue: VecDeque<Append>,
    /// How many bytes there are in the queue.
    bytes: usize,
    volatile_bytes: usize,
    /// By the source's place in the graph: packets and payloads' bytes since they were last counted.
    counts: Box<[(u64, u64)]>,
    closed: Option<Error>,
    taken: u64,
    /// How far each producer has come.
    producers: HashMap<Arc<str>, (u64, Seq)>,
    /// The latest packet's own time, and when it came: what the meeting's clock is read off. Packets may
    /// come out of order, as those do whose speakers talk at the same time.
    latest: Option<(Timestamp, Timestamp)>,
}

#[derive(Debug)]
pub(crate) struct Ingress {
    meeting: MeetingId,
    graph: Arc<Graph>,
    packet_limit: usize,
    /// How many bytes of packets there is room for.
    capacity: usize,
    inner: Mutex<Inner>,
    room: Semaphore,
    raised: Notify,
    /// The packets with which something could be done now.
    wanted: AtomicU64,
    /// By the place of a source from outside: how many instances block it.
    blocked: Box<[AtomicU32]>,
    /// Notified when one of them no longer does.
    unblocked: Notify,
    memory: Arc<Memory>,
    metrics: Arc<Metrics>,
}

/// What packets are of, as far as a word can tell sources apart: bit by bit of their places in the graph,
/// those beyond its end together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SourceSet(u64);

impl SourceSet {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ALL: Self = Self(u64::MAX);
    /// All sources whose packets are stored.
    pub(crate) const DURABLE: Self = Self(1 << 63);
    const LAST_PLACE: u32 = 62;

    /// Adds the source at a place in the graph.
    pub(crate) fn add(&mut self, place: u32) {
        self.0 |= 1 << place.min(Self::LAST_PLACE);
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    fn of(sources: &[SourceView]) -> Self {
        let mut of = Self::NONE;
        for source in sources {
            of.add(source.place);
            if source.durability == Durability::Durable {
                of.add_all(Self::DURABLE);
            }
        }
        of
    }

    pub(crate) fn add_all(&mut self, others: Self) {
        self.0 |= others.0;
    }

    fn overlaps(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }
}

/// What the meeting finds when it looks.
pub(crate) struct Drained {
    /// Seqs for packets of the runtime's own, behind those that came in.
    pub(crate) seqs: Vec<Seq>,
    /// The reservation that the next commit should write.
    pub(crate) wanted_reservation: Seq,
}

/// A packet's place, and whether the meeting must look at it at once.
struct Entered {
    seq: Seq,
    is_pressing: bool,
}

/// Packets that have room and no seq yet. Their room is given back if they get none.
struct Run<'a> {
    ingress: &'a Ingress,
    waiting: VecDeque<Append>,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.ingress.release(self.waiting.iter().map(Append::cost).sum());
    }
}

impl Inner {
    fn push(&mut self, append: Append, place: u32) {
        let (packets, bytes) = &mut self.counts[place as usize];
        *packets += 1;
        *bytes += append.packet().payload.len() as u64;
        let packet = append.packet();
        if self.latest.is_none_or(|(latest, _)| packet.timestamp >= latest) {
            self.latest = Some((packet.timestamp, packet.received_at));
        }
        self.taken += 1;
        self.bytes += append.cost();
        if append.durability() == Durability::Volatile {
            self.volatile_bytes += append.cost();
        }
        self.queue.push_back(append);
    }

    /// Whether the meeting must look before there is no room or no seq left.
    fn is_pressing(&self, capacity: usize) -> bool {
        self.bytes >= capacity / 2 || self.sequencer.is_low()
    }

    /// Where the packet of this number is, if the meeting has it.
    fn repeated(&self, producer: Option<&Producer>) -> Result<Option<Seq>, PublishError> {
        let Some(Producer { id, number }) = producer else { return Ok(None) };
        let (last, seq) = self.producers.get(id).copied().unwrap_or_default();
        match number.cmp(&last) {
            cmp::Ordering::Less => Err(PublishError::Repeated { producer: id.clone(), number: *number }),
            cmp::Ordering::Equal => Ok(Some(seq)),
            cmp::Ordering::Greater if *number == last + 1 => Ok(None),
            cmp::Ordering::Greater => {
                Err(PublishError::Expected { producer: id.clone(), expected: last + 1 })
            }
        }
    }
}

impl Ingress {
    /// A meeting's ingress on a node, with how far its producers have come.
    pub(crate) fn new(meeting: MeetingId, node: &Resources, sequencer: Sequencer, marks: Vec<Mark>) -> Self {
        let (graph, packet_limit) = (node.graph.clone(), node.settings.packet_bytes);
        let (memory, metrics) = (node.memory.clone(), node.metrics.clone());
        let capacity = node.settings.backlog_bytes;
        // The largest packet must fit, or it would wait for ever.
        let capacity = capacity.max(DataPacket::max_cost(packet_limit)).min(u32::MAX as usize);
        let counts = graph.sources().map(|_| (0, 0)).collect();
        let blocked = graph.sources().map(|_| AtomicU32::new(0)).collect();
        Self {
            meeting,
            graph,
            packet_limit,
            capacity,
            inner: Mutex::new(Inner {
                sequencer,
                queue: VecDeque::new(),
                bytes: 0,
                volatile_bytes: 0,
                counts,
                closed: None,
                taken: 0,
                producers: marks.into_iter().map(|mark| (mark.producer, (mark.number, mark.seq))).collect(),
                latest: None,
            }),
            room: Semaphore::new(capacity),
            raised: Notify::new(),
            wanted: AtomicU64::new(SourceSet::ALL.0),
            blocked,
            unblocked: Notify::new(),
            memory,
            metrics,
        }
    }

    /// Takes a packet, waiting for room. `call` has the meeting look at it.
    ///
    /// # Cancel safety
    /// A dropped call has taken nothing.
    pub(crate) async fn take(
        &self,
        publish: Publish,
        mut call: impl FnMut(),
    ) -> Result<Accepted, PublishError> {
        let source = check(&publish, &self.graph, self.packet_limit)?;
        // A repeat is answered even where nothing more is taken, and does not wait for room.
        if let Some(seq) = self.repeated(publish.producer.as_ref())? {
            return Ok(Accepted::new(seq, source));
        }
        if self.is_held_up(&[source]) {
            self.let_in(&[source], &mut call).await?;
        }
        let packet = Arc::new(self.prepare(publish, clock::now()));
        let mut append = Append::new(packet, source.durability, true);
        let cost = room_for(&append);
        let room = match self.room.try_acquire_many(cost) {
            Ok(room) => {
                // As if it had waited: who publishes without a pause lets others run, too.
                tokio::task::coop::consume_budget().await;
                room
            }
            Err(_) => self.room.acquire_many(cost).await.map_err(|_| self.closed())?,
        };
        loop {
            let raised = self.raised.notified();
            match self.enter(append, source.place)? {
                Ok(Entered { seq, is_pressing }) => {
                    room.forget();
                    self.call(is_pressing, SourceSet::of(&[source]), &mut call);
                    return Ok(Accepted::new(seq, source));
                }
                Err(back) => append = back,
            }
            // The reservation is used up: the actor raises it with its next commit.
            self.call(true, SourceSet::NONE, &mut call);
            raised.await;
        }
    }

    /// Takes a packet if there is room now.
    pub(crate) fn try_take(
        &self,
        publish: Publish,
        mut call: impl FnMut(),
    ) -> Result<Accepted, PublishError> {
        let source = check(&publish, &self.graph, self.packet_limit)?;
        if let Some(seq) = self.repeated(publish.producer.as_ref())? {
            return Ok(Accepted::new(seq, source));
        }
        if self.is_held_up(&[source]) {
            self.call(true, SourceSet::NONE, &mut call);
            if self.is_held_up(&[source]) {
                return Err(PublishError::Busy(self.meeting.clone()));
            }
        }
        let packet = Arc::new(self.prepare(publish, clock::now()));
        let append = Append::new(packet, source.durability, true);
        let room = self.room.try_acquire_many(room_for(&append)).map_err(|error| match error {
            tokio::sync::TryAcquireError::NoPermits => {
                self.call(true, SourceSet::NONE, &mut call);
                PublishError::Busy(self.meeting.clone())
            }
            tokio::sync::TryAcquireError::Closed => self.closed(),
        })?;
        if let Ok(Entered { seq, is_pressing }) = self.enter(append, source.place)? {
            room.forget();
            self.call(is_pressing, SourceSet::of(&[source]), &mut call);
            Ok(Accepted::new(seq, source))
        } else {
            self.call(true, SourceSet::NONE, &mut call);
            Err(PublishError::Busy(self.meeting.clone()))
        }
    }

    /// Takes packets that are not numbered, in their order, in runs that fit into the backlog: room, seqs and
    /// a call once for each run.
    ///
    /// # Cancel safety
    /// A dropped call has taken a part of them, from the first on.
    pub(crate) async fn take_all(
        &self,
        publishes: Vec<Publish>,
        mut call: impl FnMut(),
    ) -> Result<Vec<Accepted>, PublishError> {
        let sources = self.check_all(&publishes)?;
        let mut taken: Vec<Accepted> = Vec::with_capacity(sources.len());
        let durabilities = sources.iter().map(|source| source.durability);
        let now = clock::now();
        let packets = publishes.into_iter().map(|publish| Arc::new(self.prepare(publish, now)));
        let appends =
            packets.zip(durabilities).map(|(packet, durability)| Append::new(packet, durability, true));
        let mut appends = appends.peekable();
        while appends.peek().is_some() {
            let mut run = VecDeque::with_capacity(appends.len());
            let mut bytes = 0;
            // The largest packet fits, so a run has at least one.
            while let Some(append) = appends.next_if(|append| bytes + append.cost() <= self.capacity) {
                bytes += append.cost();
                run.push_back(append);
            }
            let of = &sources[taken.len()..][..run.len()];
            if self.is_held_up(of) {
                self.let_in(of, &mut call).await?;
            }
            let room = u32::try_from(bytes).expect("invariant: the capacity is within u32");
            if self.room.try_acquire_many(room).map(SemaphorePermit::forget).is_err() {
                self.room.acquire_many(room).await.map_err(|_| self.closed())?.forget();
            }
            // What is not entered, because this is dropped or the meeting is over, gives its room back.
            let mut run = Run { ingress: self, waiting: run };
            tokio::task::coop::consume_budget().await;
            let of = SourceSet::of(&sources[taken.len()..][..run.waiting.len()]);
            loop {
                let raised = self.raised.notified();
                let is_pressing = self.enter_all(&mut run.waiting, &sources, &mut taken)?;
                let is_all = run.waiting.is_empty();
                self.call(is_pressing || !is_all, of, &mut call);
                if is_all {
                    break;
                }
                raised.await;
            }
        }
        Ok(taken)
    }

    /// Whether the meeting takes these packets, and the sources that they are of.
    pub(crate) fn check_all(&self, publishes: &[Publish]) -> Result<Vec<SourceView>, PublishError> {
        publishes.iter().map(|publish| check(publish, &self.graph, self.packet_limit)).collect()
    }

    /// Gives packets seqs and places, from the first on, as long as seqs may be given out; says whether the
    /// meeting must look at once.
    fn enter_all(
        &self,
        waiting: &mut VecDeque<Append>,
        sources: &[SourceView],
        taken: &mut Vec<Accepted>,
    ) -> Result<bool, PublishError> {
        let mut inner = self.inner.lock();
        if let Some(closed) = &inner.closed {
            return Err(closed.clone().into());
        }
        while let Some(mut append) = waiting.pop_front() {
            let Some(seq) = inner.sequencer.external() else {
                waiting.push_front(append);
                break;
            };
            append.set_seq(seq);
            let source = sources[taken.len()];
            taken.push(Accepted::new(seq, source));
            inner.push(append, source.place);
        }
        Ok(inner.is_pressing(self.capacity))
    }

    fn repeated(&self, producer: Option<&Producer>) -> Result<Option<Seq>, PublishError> {
        if producer.is_none() {
            return Ok(None);
        }
        self.inner.lock().repeated(producer)
    }

    fn prepare(&self, publish: Publish, now: Timestamp) -> DataPacket {
        publish.into_packet(self.meeting.clone(), Seq::ZERO, now)
    }

    /// Gives the packet a seq and a place; gives it back while no seq may be given out.
    fn enter(&self, mut append: Append, place: u32) -> Result<Result<Entered, Append>, PublishError> {
        let mut inner = self.inner.lock();
        if let Some(closed) = &inner.closed {
            return Err(closed.clone().into());
        }
        if let Some(seq) = inner.repeated(append.packet().producer.as_ref())? {
            // Another publish of the same number came first. Its room is not needed.
            self.release(append.cost());
            return Ok(Ok(Entered { seq, is_pressing: false }));
        }
        let Some(seq) = inner.sequencer.external() else { return Ok(Err(append)) };
        if let Some(Producer { id, number }) = &append.packet().producer {
            inner.producers.insert(id.clone(), (*number, seq));
        }
        append.set_seq(seq);
        inner.push(append, place);
        Ok(Ok(Entered { seq, is_pressing: inner.is_pressing(self.capacity) }))
    }

    /// Calls the meeting if something can be done at once with what came in.
    fn call(&self, is_pressing: bool, sources: SourceSet, call: &mut impl FnMut()) {
        // Behind the lock: a meeting that has looked before this packet came has said what it wants, or is
        // about to look again.
        fence(Ordering::SeqCst);
        if is_pressing || SourceSet(self.wanted.load(Ordering::SeqCst)).overlaps(sources) {
            call();
        }
    }

    /// Whether an instance blocks one of these sources, or the node has too much in memory.
    fn is_held_up(&self, sources: &[SourceView]) -> bool {
        let is_blocked =
            |source: &SourceView| self.blocked[source.place as usize].load(Ordering::Relaxed) > 0;
        self.memory.is_over() || sources.iter().any(is_blocked)
    }

    /// Waits until nothing holds these sources up.
    async fn let_in(&self, sources: &[SourceView], call: &mut impl FnMut()) -> Result<(), PublishError> {
        loop {
            let (mut unblocked, mut freed) = (pin!(self.unblocked.notified()), pin!(self.memory.freed()));
            unblocked.as_mut().enable();
            freed.as_mut().enable();
            if self.inner.lock().closed.is_some() {
                return Err(self.closed());
            }
            // What is at the ingress counts, and the meeting lets go of what it can.
            self.call(true, SourceSet::NONE, call);
            if !self.is_held_up(sources) {
                return Ok(());
            }
            select(unblocked, freed).await;
        }
    }

    /// An instance blocks sources from outside, or does so no longer.
    pub(crate) fn block(&self, places: &[u32], is_blocking: bool) {
        for place in places {
            let blocked = &self.blocked[*place as usize];
            if is_blocking {
                blocked.fetch_add(1, Ordering::Relaxed);
            } else {
                blocked.fetch_sub(1, Ordering::Relaxed);
            }
        }
        if !is_blocking {
            self.unblocked.notify_waiters();
        }
    }

    fn closed(&self) -> PublishError {
        let inner = self.inner.lock();
        let closed = inner.closed.clone();
        closed.unwrap_or_else(|| Error::Ended(self.meeting.clone())).into()
    }

    /// Sets which sources wake the meeting; packets of others wait until it next runs. It runs without being
    /// woken as soon as an instance has room for another packet, or when none is left to take one.
    pub(crate) fn set_wake_sources(&self, sources: SourceSet) {
        self.wanted.store(sources.0, Ordering::SeqCst);
    }

    /// Takes what has come in, and `count` seqs right behind it for packets of the runtime's own.
    pub(crate) fn drain(&self, queue: &mut VecDeque<Append>, count: usize) -> Drained {
        // Until it says otherwise: what comes in from here on is not among what it finds.
        self.set_wake_sources(SourceSet::ALL);
        let mut inner = self.inner.lock();
        debug_assert!(queue.is_empty(), "invariant: what was taken is in the log");
        std::mem::swap(&mut inner.queue, queue);
        inner.bytes = 0;
        let volatile_bytes = std::mem::take(&mut inner.volatile_bytes);
        let seqs = (0..count).map(|_| inner.sequencer.internal()).collect();
        let wanted_reservation = inner.sequencer.wanted();
        for (place, counts) in inner.counts.iter_mut().enumerate().filter(|(_, (packets, _))| *packets > 0) {
            let (packets, bytes) = std::mem::take(counts);
            self.metrics.received(place, packets, bytes);
        }
        drop(inner);
        self.release(volatile_bytes);
        Drained { seqs, wanted_reservation }
    }

    /// How many bytes there are that are not appended yet, or wait to be stored.
    pub(crate) fn backlog(&self) -> usize {
        self.capacity.saturating_sub(self.room.available_permits())
    }

    /// Gives room back.
    pub(crate) fn release(&self, bytes: usize) {
        if bytes > 0 {
            self.room.add_permits(bytes);
        }
    }

    /// A packet of the runtime's own.
    pub(crate) fn internal(&self, seq: Seq, source: Name, payload: Payload) -> Arc<DataPacket> {
        let now = clock::now();
        let publish = Publish::on(source, payload).timestamp(self.event_time(now));
        Arc::new(publish.into_packet(self.meeting.clone(), seq, now))
    }

    /// The time in the meeting: the latest packet's own, and what has passed since it came. So a recording
    /// that is played fast stays in its own time.
    fn event_time(&self, now: Timestamp) -> Timestamp {
        match self.inner.lock().latest {
            Some((timestamp, received_at)) => {
                timestamp.checked_add(now.duration_since(received_at)).unwrap_or(timestamp)
            }
            None => now,
        }
    }

    /// Says what time it is in the meeting, before any packet does.
    pub(crate) fn set_time(&self, timestamp: Timestamp) {
        self.inner.lock().latest.get_or_insert((timestamp, clock::now()));
    }

    /// A reservation is stored: seqs up to it may be given out.
    pub(crate) fn reserved(&self, up_to: Seq) {
        self.inner.lock().sequencer.reserved(up_to);
        self.raised.notify_waiters();
    }

    /// Closes it: nothing more comes in. Who waits is told why.
    pub(crate) fn close(&self, why: Error) {
        self.inner.lock().closed.get_or_insert(why);
        self.room.close();
        self.raised.notify_waiters();
        self.unblocked.notify_waiters();
    }

    /// The number that a producer is to publish next.
    pub(crate) fn expects(&self, producer: &str) -> u64 {
        self.inner.lock().producers.get(producer).map_or(1, |(last, _)| last + 1)
    }

    /// How many packets came in from outside.
    pub(crate) fn taken(&self) -> u64 {
        self.inner.lock().taken
    }
}

/// Whether a meeting takes a packet: its source is one that is published from outside, and it is within the
/// limits. `packet_bytes` is the limit on the payload. Says what the source is.
///
/// # Errors
/// [`PublishError::UnknownSource`], [`PublishError::NotExternal`], [`PublishError::TooLarge`] and
/// [`PublishError::ParticipantTooLong`].
pub fn check(publish: &Publish, graph: &Graph, packet_bytes: usize) -> Result<SourceView, PublishError> {
    let source = &publish.source;
    let Some(view) = graph.source(source.as_str()) else {
        let suggestion = graph.closest_source(source.as_str()).cloned();
        return Err(PublishError::UnknownSource { source_name: source.clone(), suggestion });
    };
    if !view.is_external {
        return Err(PublishError::NotExternal(source.clone()));
    }
    let bytes = publish.payload.len();
    if bytes > packet_bytes {
        return Err(PublishError::TooLarge { bytes, limit: packet_bytes });
    }
    let bytes = publish.participant.as_ref().map_or(0, |participant| participant.len());
    if bytes > DataPacket::MAX_PARTICIPANT_BYTES {
        return Err(PublishError::ParticipantTooLong { bytes });
    }
    if let Some(Producer { id, number }) = &publish.producer {
        if id.is_empty() || id.len() > Producer::MAX_ID_BYTES || *number == 0 {
            return Err(PublishError::BadNumber);
        }
        if view.durability == Durability::Volatile {
            return Err(PublishError::NumberedVolatile(source.clone()));
        }
    }
    Ok(view)
}

fn room_for(append: &Append) -> u32 {
    u32::try_from(append.cost()).expect("invariant: a packet within the limit is far smaller")
}
