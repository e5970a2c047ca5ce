//! Where packets enter a meeting.
//!
//! A publisher needs no round trip to the meeting's actor: the graph checks the packet; [`admission`] finds it
//! room within the backlog's bytes (or makes it wait, or says `Busy`); under one short lock the packet gets a seq
//! and a place in the [`queue`]; and if the [`wake_gate`] says so, the publisher wakes the meeting. A packet's
//! room is free again when it is stored (durable) or in the log (volatile).
//!
//! While every instance that takes a source is busy, its packets wake nobody: nothing could be done with them.
//! The meeting is woken all the same before the room or the reserved seqs run out.

mod admission;
mod clock;
mod publisher;
mod queue;
mod wake_gate;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use teammy_kernel::{
    DataPacket, Durability, MeetingId, Name, Payload, Producer, Publish, PublishError, Seq, Timestamp,
    graph::{Graph, SourceView},
    log::{Append, Sequencer},
    store::Mark,
};
use tokio::sync::Notify;

pub(crate) use publisher::{Publisher, Wake};

use super::{error::Closed, source_set::SourceSet};
use crate::{clock as wall_clock, memory::Memory, metrics::Metrics};
use admission::Admission;
use queue::Queue;
use wake_gate::WakeGate;

/// A packet that was accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted {
    pub(crate) seq: Seq,
    /// Its source's index in the graph, if the source is volatile.
    pub(crate) volatile: Option<u32>,
    /// Whether the meeting had the packet of this number before.
    pub(crate) is_repeat: bool,
}

impl Accepted {
    fn new(seq: Seq, source: SourceView) -> Self {
        let volatile = (source.durability == Durability::Volatile).then_some(source.place);
        Self { seq, volatile, is_repeat: false }
    }

    /// Numbered packets are of durable sources.
    pub(crate) fn repeated(seq: Seq) -> Self {
        Self { seq, volatile: None, is_repeat: true }
    }
}

/// What became of a packet.
enum Entered {
    /// It has a seq.
    New {
        seq: Seq,
        /// Whether the meeting must run at once.
        is_urgent: bool,
    },
    /// The packet with its number has this one.
    Repeated(Seq),
}

/// What the meeting gets from the ingress when it runs, beside the packets.
pub(crate) struct Drained {
    /// Seqs for the runtime's own packets and for outputs, directly behind those that came in.
    pub(crate) seqs: Vec<Seq>,
    /// The reservation that the next commit should write.
    pub(crate) wanted_reservation: Seq,
}

/// What an ingress is made of.
pub(crate) struct Options {
    pub(crate) meeting: MeetingId,
    pub(crate) graph: Arc<Graph>,
    /// The largest payload, in bytes.
    pub(crate) packet_bytes: usize,
    /// How many bytes of packets may wait to be stored.
    pub(crate) backlog_bytes: usize,
    pub(crate) sequencer: Sequencer,
    /// Each producer's last number.
    pub(crate) marks: Vec<Mark>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) metrics: Arc<Metrics>,
    /// For which share of the packets that come without a trace one begins.
    pub(crate) new_traces: f64,
}

#[derive(Debug)]
pub(crate) struct Ingress {
    meeting: MeetingId,
    graph: Arc<Graph>,
    packet_bytes: usize,
    admission: Admission,
    queue: Mutex<Queue>,
    /// Notified when more seqs may be given out.
    reservation_raised: Notify,
    wake_gate: WakeGate,
    metrics: Arc<Metrics>,
    pub(super) new_traces: f64,
}

impl Ingress {
    pub(crate) fn new(options: Options) -> Self {
        let Options { meeting, graph, packet_bytes, backlog_bytes, sequencer, marks, memory, .. } = options;
        let Options { metrics, new_traces, .. } = options;
        let sources = graph.sources().len();
        Self {
            meeting,
            graph,
            packet_bytes,
            admission: Admission::new(backlog_bytes, packet_bytes, sources, memory),
            queue: Mutex::new(Queue::new(sequencer, sources, marks)),
            reservation_raised: Notify::new(),
            wake_gate: WakeGate::new(SourceSet::ALL.bits()),
            metrics,
            new_traces,
        }
    }

    fn check(&self, publish: &Publish) -> Result<SourceView, PublishError> {
        self.graph.check_publish(publish, self.packet_bytes)
    }

    /// Checks packets. Returns their sources.
    pub(crate) fn check_all(&self, publishes: &[Publish]) -> Result<Vec<SourceView>, PublishError> {
        publishes.iter().map(|publish| self.check(publish)).collect()
    }

    fn duplicate(&self, producer: Option<&Producer>) -> Result<Option<Seq>, PublishError> {
        match producer {
            Some(_) => self.queue.lock().duplicate(producer),
            None => Ok(None),
        }
    }

    fn packet(&self, publish: Publish, now: Timestamp) -> DataPacket {
        publish.into_packet(self.meeting.clone(), Seq::ZERO, now)
    }

    /// Gives the packet a seq and queues it. Returns the packet if the reserved seqs are used up.
    fn enter(&self, mut append: Append, source: u32) -> Result<Result<Entered, Append>, PublishError> {
        let mut queue = self.queue.lock();
        if let Some(closed) = &queue.closed {
            return Err(closed.clone().into());
        }
        if let Some(seq) = queue.duplicate(append.packet().producer.as_ref())? {
            // A concurrent publish of the same number came first. The room that was acquired is given back.
            self.admission.release(append.cost());
            return Ok(Ok(Entered::Repeated(seq)));
        }
        let Some(seq) = queue.sequencer.external() else { return Ok(Err(append)) };
        append.set_seq(seq);
        queue.push(append, source);
        Ok(Ok(Entered::New { seq, is_urgent: queue.is_urgent(self.admission.capacity()) }))
    }

    /// Gives packets seqs and queues them, from the first on, until the reserved seqs are used up. Returns
    /// whether the meeting must run at once.
    fn enter_all(
        &self,
        waiting: &mut VecDeque<Append>,
        sources: &[SourceView],
        accepted: &mut Vec<Accepted>,
    ) -> Result<bool, PublishError> {
        let mut queue = self.queue.lock();
        if let Some(closed) = &queue.closed {
            return Err(closed.clone().into());
        }
        while let Some(mut append) = waiting.pop_front() {
            let Some(seq) = queue.sequencer.external() else {
                waiting.push_front(append);
                break;
            };
            append.set_seq(seq);
            let source = sources[accepted.len()];
            accepted.push(Accepted::new(seq, source));
            queue.push(append, source.place);
        }
        Ok(queue.is_urgent(self.admission.capacity()))
    }

    /// An instance begins, or ends, to block sources of these indices in the graph.
    pub(crate) fn block(&self, sources: &[u32], is_blocking: bool) {
        self.admission.block(sources, is_blocking);
    }

    fn busy(&self) -> PublishError {
        PublishError::Busy(self.meeting.clone())
    }

    fn is_closed(&self) -> bool {
        self.queue.lock().closed.is_some()
    }

    fn why_closed(&self) -> PublishError {
        let closed = self.queue.lock().closed.clone();
        closed.unwrap_or_else(|| Closed::Ended(self.meeting.clone())).into()
    }

    /// Sets which sources wake the meeting; packets of others wait until it next runs. An instance that gets its
    /// credit back drives the meeting itself.
    pub(crate) fn set_wake_sources(&self, sources: SourceSet) {
        self.wake_gate.set(sources.bits());
    }

    /// Moves the queued packets into `packets`, and takes `count` seqs directly behind them.
    pub(crate) fn drain(&self, packets: &mut VecDeque<Append>, count: usize) -> Drained {
        // The gate opens first: a packet that comes in from here on may miss this drain, and must wake the
        // meeting.
        self.set_wake_sources(SourceSet::ALL);
        let mut queue = self.queue.lock();
        let volatile_bytes = queue.drain_into(packets);
        let seqs = (0..count).map(|_| queue.sequencer.internal()).collect();
        let wanted_reservation = queue.sequencer.wanted();
        for (source, received) in queue.take_received() {
            self.metrics.received(source, received.packets, received.bytes);
        }
        drop(queue);
        self.release(volatile_bytes);
        Drained { seqs, wanted_reservation }
    }

    /// How many bytes wait to be appended or stored.
    pub(crate) fn backlog(&self) -> usize {
        self.admission.used()
    }

    /// Gives room back.
    pub(crate) fn release(&self, bytes: usize) {
        self.admission.release(bytes);
    }

    /// The meeting's time.
    pub(crate) fn now(&self) -> Timestamp {
        self.queue.lock().clock.at(wall_clock::now())
    }

    /// A packet of the runtime's own.
    pub(crate) fn internal(
        &self,
        at: Timestamp,
        seq: Seq,
        source: Name,
        payload: Payload,
    ) -> Arc<DataPacket> {
        let publish = Publish::on(source, payload).timestamp(at);
        Arc::new(publish.into_packet(self.meeting.clone(), seq, wall_clock::now()))
    }

    /// Sets the meeting's time, unless a packet has set it.
    pub(crate) fn start_clock(&self, timestamp: Timestamp) {
        self.queue.lock().clock.start(timestamp, wall_clock::now());
    }

    /// An instance has timers: the meeting's clock must be exact.
    pub(crate) fn keep_exact_time(&self) {
        self.queue.lock().clock.keep_exact_time(wall_clock::now());
    }

    /// Keeps the meeting's clock from passing a time by itself.
    pub(crate) fn hold_clock(&self, at: Timestamp) {
        self.queue.lock().clock.hold(at);
    }

    /// How long until the meeting's clock reaches a time by itself; none if it is held before that.
    pub(crate) fn time_until(&self, at: Timestamp) -> Option<Duration> {
        self.queue.lock().clock.time_until(at, wall_clock::now())
    }

    /// A reservation is stored: seqs up to it may be given out.
    pub(crate) fn reserved(&self, up_to: Seq) {
        self.queue.lock().sequencer.reserved(up_to);
        self.reservation_raised.notify_waiters();
    }

    /// Accepts nothing more. Publishers that wait fail with `why`.
    pub(crate) fn close(&self, why: Closed) {
        self.queue.lock().closed.get_or_insert(why);
        self.admission.close();
        self.reservation_raised.notify_waiters();
    }

    /// The number that a producer is to publish next.
    pub(crate) fn expects(&self, producer: &str) -> u64 {
        self.queue.lock().next_number(producer)
    }

    /// The last number of each producer.
    pub(crate) fn marks(&self) -> Vec<Mark> {
        self.queue.lock().marks().collect()
    }

    /// How many packets were accepted.
    pub(crate) fn accepted(&self) -> u64 {
        self.queue.lock().accepted()
    }
}
