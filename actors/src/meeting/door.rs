//! The door: where packets come in.
//!
//! A publisher goes through it without a round trip to the actor: checks, then bytes of the backlog's bound (waiting, or
//! `Busy`), then a seq and a place in the queue under one short lock, then a wake if the actor isn't awake. A packet's
//! bytes are given back when it is stored (durable) or in the log (volatile).

use std::{
    cmp,
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use teammy_kernel::{
    DataPacket, Durability, MeetingId, Name, Payload, Producer, Publish, Seq, Timestamp,
    graph::Graph,
    log::{Append, Sequencer},
    store::Mark,
};
use tokio::sync::{Notify, Semaphore};

use super::{Error, PublishError};
use crate::clock;

/// A packet that was taken: its seq, and whether it will be stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) seq: Seq,
    pub(crate) durability: Durability,
}

#[derive(Debug)]
struct Inner {
    sequencer: Sequencer,
    queue: VecDeque<Append>,
    closed: Option<Error>,
    taken: u64,
    /// How far each producer has come.
    producers: HashMap<Arc<str>, (u64, Seq)>,
    /// The newest packet's own time and when it came: what the meeting's clock is read off.
    latest: Option<(Timestamp, Timestamp)>,
}

#[derive(Debug)]
pub(crate) struct Door {
    meeting: MeetingId,
    graph: Arc<Graph>,
    packet_limit: usize,
    /// How many bytes of packets there is room for.
    capacity: usize,
    inner: Mutex<Inner>,
    room: Semaphore,
    raised: Notify,
    awake: AtomicBool,
}

/// Packets that have room and no seq yet. Their room is given back if they get none.
struct Run<'a> {
    door: &'a Door,
    waiting: VecDeque<Append>,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.door.release(self.waiting.iter().map(|append| append.packet.cost()).sum());
    }
}

impl Inner {
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

impl Door {
    pub(crate) fn new(
        meeting: MeetingId,
        graph: Arc<Graph>,
        sequencer: Sequencer,
        packet_limit: usize,
        capacity: usize,
        marks: Vec<Mark>,
    ) -> Self {
        // The largest packet must fit, or it would wait for ever.
        let capacity = capacity.max(DataPacket::max_cost(packet_limit)).min(u32::MAX as usize);
        Self {
            meeting,
            graph,
            packet_limit,
            capacity,
            inner: Mutex::new(Inner {
                sequencer,
                queue: VecDeque::new(),
                closed: None,
                taken: 0,
                producers: marks.into_iter().map(|mark| (mark.producer, (mark.number, mark.seq))).collect(),
                latest: None,
            }),
            room: Semaphore::new(capacity),
            raised: Notify::new(),
            awake: AtomicBool::new(false),
        }
    }

    /// Takes a packet, waiting for room. Says whether the actor must be woken.
    ///
    /// # Cancel safety
    /// A dropped call has taken nothing.
    pub(crate) async fn take(&self, publish: Publish, mut wake: impl FnMut()) -> Result<Taken, PublishError> {
        let durability = check(&publish, &self.graph, self.packet_limit)?;
        // A repeat is answered even where nothing more is taken, and does not wait for room.
        if let Some(seq) = self.repeated(publish.producer.as_ref())? {
            return Ok(Taken { seq, durability });
        }
        let mut packet = self.prepare(publish, clock::now());
        let room = self.room.acquire_many(cost(&packet)).await.map_err(|_| self.closed())?;
        loop {
            let raised = self.raised.notified();
            match self.enter(packet, durability)? {
                Ok(seq) => {
                    room.forget();
                    self.wake(&mut wake);
                    return Ok(Taken { seq, durability });
                }
                Err(back) => packet = back,
            }
            // The reservation is used up: the actor raises it with its next commit.
            self.wake(&mut wake);
            raised.await;
        }
    }

    /// Takes a packet if there is room now.
    pub(crate) fn try_take(&self, publish: Publish, mut wake: impl FnMut()) -> Result<Taken, PublishError> {
        let durability = check(&publish, &self.graph, self.packet_limit)?;
        if let Some(seq) = self.repeated(publish.producer.as_ref())? {
            return Ok(Taken { seq, durability });
        }
        let packet = self.prepare(publish, clock::now());
        let room = self.room.try_acquire_many(cost(&packet)).map_err(|error| match error {
            tokio::sync::TryAcquireError::NoPermits => PublishError::Busy(self.meeting.clone()),
            tokio::sync::TryAcquireError::Closed => self.closed(),
        })?;
        let entered = self.enter(packet, durability)?;
        self.wake(&mut wake);
        match entered {
            Ok(seq) => {
                room.forget();
                Ok(Taken { seq, durability })
            }
            Err(_) => Err(PublishError::Busy(self.meeting.clone())),
        }
    }

    /// Takes packets that are not numbered, in their order, in runs that fit into the backlog: room, seqs and a wake once for
    /// each run.
    ///
    /// # Cancel safety
    /// A dropped call has taken a part of them, from the first on.
    pub(crate) async fn take_all(
        &self,
        publishes: Vec<Publish>,
        mut wake: impl FnMut(),
    ) -> Result<Vec<Taken>, PublishError> {
        let durabilities = self.check_all(&publishes)?;
        let now = clock::now();
        let packets = publishes.into_iter().map(|publish| self.prepare(publish, now));
        let mut packets = packets.zip(durabilities).peekable();
        let mut taken = Vec::with_capacity(packets.len());
        while packets.peek().is_some() {
            let mut run = VecDeque::with_capacity(packets.len());
            let mut bytes = 0;
            // The largest packet fits, so a run has at least one.
            while let Some((packet, durability)) =
                packets.next_if(|(packet, _)| bytes + packet.cost() <= self.capacity)
            {
                bytes += packet.cost();
                run.push_back(Append { packet: Arc::new(packet), durability, external: true });
            }
            let room = u32::try_from(bytes).expect("invariant: the capacity is within u32");
            self.room.acquire_many(room).await.map_err(|_| self.closed())?.forget();
            // What is not entered, because this is dropped or the meeting is over, gives its room back.
            let mut run = Run { door: self, waiting: run };
            loop {
                let raised = self.raised.notified();
                let is_all = self.enter_all(&mut run.waiting, &mut taken)?;
                self.wake(&mut wake);
                if is_all {
                    break;
                }
                raised.await;
            }
        }
        Ok(taken)
    }

    /// Whether the meeting takes these packets, and which of them will be stored.
    pub(crate) fn check_all(&self, publishes: &[Publish]) -> Result<Vec<Durability>, PublishError> {
        publishes.iter().map(|publish| check(publish, &self.graph, self.packet_limit)).collect()
    }

    /// Gives packets seqs and places, from the first on, as long as seqs may be given out; says whether all have theirs.
    fn enter_all(
        &self,
        waiting: &mut VecDeque<Append>,
        taken: &mut Vec<Taken>,
    ) -> Result<bool, PublishError> {
        let mut inner = self.inner.lock();
        if let Some(closed) = &inner.closed {
            return Err(closed.clone().into());
        }
        while let Some(mut append) = waiting.pop_front() {
            let Some(seq) = inner.sequencer.external() else {
                waiting.push_front(append);
                return Ok(false);
            };
            let packet = Arc::get_mut(&mut append.packet).expect("invariant: nobody else has it yet");
            packet.seq = seq;
            inner.latest = Some((packet.timestamp, packet.received_at));
            inner.taken += 1;
            taken.push(Taken { seq, durability: append.durability });
            inner.queue.push_back(append);
        }
        Ok(true)
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
    #[allow(clippy::result_large_err)]
    fn enter(
        &self,
        mut packet: DataPacket,
        durability: Durability,
    ) -> Result<Result<Seq, DataPacket>, PublishError> {
        let mut inner = self.inner.lock();
        if let Some(closed) = &inner.closed {
            return Err(closed.clone().into());
        }
        if let Some(seq) = inner.repeated(packet.producer.as_ref())? {
            // Another publish of the same number came first. Its room is not needed.
            self.release(cost(&packet) as usize);
            return Ok(Ok(seq));
        }
        let Some(seq) = inner.sequencer.external() else { return Ok(Err(packet)) };
        if let Some(Producer { id, number }) = &packet.producer {
            inner.producers.insert(id.clone(), (*number, seq));
        }
        packet.seq = seq;
        inner.latest = Some((packet.timestamp, packet.received_at));
        inner.taken += 1;
        inner.queue.push_back(Append { packet: Arc::new(packet), durability, external: true });
        Ok(Ok(seq))
    }

    fn wake(&self, wake: &mut impl FnMut()) {
        if !self.awake.swap(true, Ordering::AcqRel) {
            wake();
        }
    }

    fn closed(&self) -> PublishError {
        let inner = self.inner.lock();
        let closed = inner.closed.clone();
        closed.unwrap_or_else(|| Error::Ended(self.meeting.clone())).into()
    }

    /// Says that the actor is about to look: what comes from here on wakes it again.
    pub(crate) fn looked_at(&self) {
        self.awake.store(false, Ordering::Release);
    }

    /// Takes what has come in, and `count` seqs right behind it for packets of the runtime's own.
    pub(crate) fn drain(&self, count: usize) -> (VecDeque<Append>, Vec<Seq>) {
        let mut inner = self.inner.lock();
        let queue = std::mem::take(&mut inner.queue);
        let seqs = (0..count).map(|_| inner.sequencer.internal()).collect();
        drop(inner);
        let volatile = queue.iter().filter(|append| append.durability == Durability::Volatile);
        self.release(volatile.map(|append| append.packet.cost()).sum());
        (queue, seqs)
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

    /// The time in the meeting: the newest packet's own, and what has passed since it came. So a recording that is
    /// played fast stays in its own time.
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

    /// The reservation that the next commit should write.
    pub(crate) fn wanted_reservation(&self) -> Seq {
        self.inner.lock().sequencer.wanted()
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

/// Whether a meeting takes a packet: its source is one that is published from outside, and it is within the limits.
/// `packet_bytes` is the limit on the payload. Says whether the packet will be stored.
///
/// # Errors
/// [`PublishError::UnknownSource`], [`PublishError::NotExternal`], [`PublishError::TooLarge`] and
/// [`PublishError::ParticipantTooLong`].
pub fn check(publish: &Publish, graph: &Graph, packet_bytes: usize) -> Result<Durability, PublishError> {
    let source = &publish.source;
    let Some(durability) = graph.durability(source.as_str()) else {
        let suggestion = graph.closest_source(source.as_str()).cloned();
        return Err(PublishError::UnknownSource { source_name: source.clone(), suggestion });
    };
    if !graph.is_external(source.as_str()) {
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
        if durability == Durability::Volatile {
            return Err(PublishError::NumberedVolatile(source.clone()));
        }
    }
    Ok(durability)
}

fn cost(packet: &DataPacket) -> u32 {
    u32::try_from(packet.cost()).expect("invariant: a packet within the limit is far smaller")
}
