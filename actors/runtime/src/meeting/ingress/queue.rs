//! The packets that have a seq and are not in the log yet, and what decides about the next one.

use std::{
    cmp,
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use teammy_kernel::{
    Durability, Producer, PublishError, Seq,
    log::{Append, Sequencer},
    store::Mark,
};

use super::clock::MeetingClock;
use crate::meeting::error::Closed;

/// Packets and payload bytes of one source that were accepted since they were last counted.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Received {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) sequencer: Sequencer,
    pub(super) clock: MeetingClock,
    /// Why nothing more is accepted, once nothing is.
    pub(super) closed: Option<Closed>,
    packets: VecDeque<Append>,
    /// Bytes of all queued packets.
    bytes: usize,
    /// Bytes of the queued volatile packets.
    volatile_bytes: usize,
    /// By the source's index in the graph.
    received: Box<[Received]>,
    /// How many packets were ever accepted.
    accepted: u64,
    /// Each producer's last number, and that packet's seq.
    producers: HashMap<Arc<str>, (u64, Seq)>,
}

impl Queue {
    pub(super) fn new(sequencer: Sequencer, sources: usize, marks: Vec<Mark>) -> Self {
        Self {
            sequencer,
            clock: MeetingClock::default(),
            closed: None,
            packets: VecDeque::new(),
            bytes: 0,
            volatile_bytes: 0,
            received: vec![Received::default(); sources].into(),
            accepted: 0,
            producers: marks.into_iter().map(|mark| (mark.producer, (mark.number, mark.seq))).collect(),
        }
    }

    /// Adds a packet that has a seq. `source` is its source's index in the graph.
    pub(super) fn push(&mut self, append: Append, source: u32) {
        let packet = append.packet();
        let received = &mut self.received[source as usize];
        received.packets += 1;
        received.bytes += packet.payload.len() as u64;
        self.clock.observe(packet);
        if let Some(Producer { id, number }) = &packet.producer {
            self.producers.insert(id.clone(), (*number, packet.seq));
        }
        self.accepted += 1;
        self.bytes += append.cost();
        if append.durability() == Durability::Volatile {
            self.volatile_bytes += append.cost();
        }
        self.packets.push_back(append);
    }

    /// Whether the meeting must run soon: the queue is half full, or seqs run low.
    pub(super) fn is_urgent(&self, capacity: usize) -> bool {
        self.bytes >= capacity / 2 || self.sequencer.is_low()
    }

    /// The seq of the packet that has this number already; none if the number is the producer's next.
    pub(super) fn duplicate(&self, producer: Option<&Producer>) -> Result<Option<Seq>, PublishError> {
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

    /// The number that a producer is to publish next.
    pub(super) fn next_number(&self, producer: &str) -> u64 {
        self.producers.get(producer).map_or(1, |(last, _)| last + 1)
    }

    /// The last number of each producer.
    pub(super) fn marks(&self) -> impl Iterator<Item = Mark> + '_ {
        let mark = |(producer, (number, seq)): (&Arc<str>, &(u64, Seq))| Mark {
            producer: producer.clone(),
            number: *number,
            seq: *seq,
        };
        self.producers.iter().map(mark)
    }

    /// Moves all packets into `packets`, which is empty. Returns the bytes of the volatile ones.
    pub(super) fn drain_into(&mut self, packets: &mut VecDeque<Append>) -> usize {
        debug_assert!(packets.is_empty(), "invariant: drained packets are in the log");
        std::mem::swap(&mut self.packets, packets);
        self.bytes = 0;
        std::mem::take(&mut self.volatile_bytes)
    }

    /// Takes the counts of the sources that have any, with the sources' indices.
    pub(super) fn take_received(&mut self) -> impl Iterator<Item = (usize, Received)> + '_ {
        let sources = self.received.iter_mut().enumerate();
        sources
            .filter(|(_, received)| received.packets > 0)
            .map(|(index, received)| (index, std::mem::take(received)))
    }

    /// How many packets were ever accepted.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }
}
