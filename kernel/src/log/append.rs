//! Appending packets.

use std::sync::Arc;

use super::{
    commit::Item,
    ids::Slot,
    meeting_log::MeetingLog,
    tail::{Entry, Retention},
};
use crate::{DataPacket, Seq, plugin::Durability};

/// A packet to append, and what the log must know of it.
///
/// The packet's cost is read where the packet is made, while it is in that core's cache.
#[derive(Debug, Clone)]
pub struct Append {
    packet: Arc<DataPacket>,
    durability: Durability,
    external: bool,
    cost: usize,
}

impl Append {
    /// A packet to append. An `external` one was published through the ingress and counts against its bound
    /// until it is stored.
    pub fn new(packet: Arc<DataPacket>, durability: Durability, external: bool) -> Self {
        let cost = packet.cost();
        Self { packet, durability, external, cost }
    }

    /// The packet.
    pub fn packet(&self) -> &Arc<DataPacket> {
        &self.packet
    }

    /// Whether the packet is to be stored.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// The bytes that the packet counts against limits.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Assigns the packet's seq.
    ///
    /// # Panics
    /// If the packet is shared already.
    pub fn set_seq(&mut self, seq: Seq) {
        Arc::get_mut(&mut self.packet).expect("invariant: the packet is not shared yet").seq = seq;
    }
}

impl MeetingLog {
    /// Appends a packet. Its seq is above all before it.
    pub fn append(&mut self, append: Append) {
        self.append_for(append, None);
    }

    /// Appends a packet, for one instance only where `recipient` names one.
    pub(super) fn append_for(&mut self, append: Append, recipient: Option<Slot>) {
        let durability = append.durability;
        if durability == Durability::Durable {
            let (packet, external) = (append.packet.clone(), append.external);
            self.queue.push(Item::Packet { packet, external });
        }
        self.push_to_tail(append, recipient);
        if durability == Durability::Volatile {
            self.shed();
        }
    }

    /// Appends a packet in memory only: the caller queues it for the store.
    pub(super) fn push_to_tail(&mut self, append: Append, recipient: Option<Slot>) {
        let Append { packet, durability, cost, .. } = append;
        debug_assert!(packet.seq > self.end, "invariant: the log is in the order of its seqs");
        self.end = packet.seq;
        let source = self.source(&packet.source);
        self.push_entry(
            Entry { seq: packet.seq, packet, cost, source, recipient, redrives: None },
            durability,
        );
    }

    pub(super) fn push_entry(&mut self, entry: Entry, durability: Durability) {
        if entry.source == self.lifecycle {
            self.lifecycle_history.take(&entry.packet);
        }
        if entry.recipient.is_none() {
            for latest in self.latest.iter_mut().filter(|latest| latest.source == entry.source) {
                latest.appended(&entry.packet);
            }
        }
        let mut is_blocked_on = false;
        if self.can_block {
            for consumer in &mut self.consumers {
                is_blocked_on |= consumer.queue_blocking(&entry);
            }
        }
        let retention = match durability {
            Durability::Durable => Retention::Durable,
            Durability::Volatile if is_blocked_on => Retention::Held,
            Durability::Volatile => Retention::Volatile,
        };
        self.tail.push(entry, retention);
    }
}
