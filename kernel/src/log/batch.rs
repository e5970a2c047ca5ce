//! What the log gives an instance: a batch, or what to read from the store for it.

use std::sync::Arc;

use crate::{DataPacket, Name, Seq};

/// What to do for an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing.
    Idle,
    /// Send the instance this batch.
    Batch(Batch),
    /// The instance is behind the tail: read these packets from the store and pass them to
    /// [`MeetingLog::fetched`](super::MeetingLog::fetched).
    Fetch(Fetch),
    /// A redrive is next: read the packet from the store and pass it to
    /// [`MeetingLog::redriven`](super::MeetingLog::redriven).
    Redrive(DueRedrive),
}

/// Packets for an instance, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The packets.
    pub packets: Arc<[Arc<DataPacket>]>,
    /// How many packets the instance lost before these.
    pub gap: u64,
    /// The packet that actors of this instance failed on, if one did, and how often it was tried.
    pub tried: Option<(Seq, u32)>,
    /// The seq of the redrive, if the batch is a redriven packet: the cursor of what its hook makes.
    pub redriven_at: Option<Seq>,
}

impl Batch {
    /// How often actors that failed had tried a packet of this batch.
    pub fn tries_of(&self, seq: Seq) -> u32 {
        self.tried.filter(|(tried, _)| *tried == seq).map_or(0, |(_, tries)| tries)
    }
}

/// Which packets of a batch are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Durables {
    All,
    None,
    /// These, in order.
    Some(Arc<[Seq]>),
}

impl Durables {
    /// Of a batch that begins with a durable packet or a volatile one, and changes from one kind to the other
    /// at these indices.
    pub(super) fn of(packets: &[Arc<DataPacket>], begins_durable: bool, changes: &[usize]) -> Self {
        if changes.is_empty() {
            return if begins_durable { Self::All } else { Self::None };
        }
        let mut is_durable = begins_durable;
        let mut durable = Vec::new();
        let mut from = 0;
        for to in changes.iter().copied().chain([packets.len()]) {
            if is_durable {
                durable.extend(packets[from..to].iter().map(|packet| packet.seq));
            }
            is_durable = !is_durable;
            from = to;
        }
        Self::Some(durable.into())
    }

    /// Whether a packet after the first seq and up to the second is durable.
    pub(super) fn any(&self, after: Seq, up_to: Seq) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Some(seqs) => {
                let next = seqs.partition_point(|seq| *seq <= after);
                seqs.get(next).is_some_and(|seq| *seq <= up_to)
            }
        }
    }
}

/// Packets that were collected for an instance.
#[derive(Debug, Clone)]
pub(super) struct Collected {
    pub(super) packets: Arc<[Arc<DataPacket>]>,
    pub(super) durables: Durables,
    /// The instance's cursor once it is done with them.
    pub(super) up_to: Seq,
}

/// A range of the store to read for an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// The first seq.
    pub from: Seq,
    /// The last seq.
    pub to: Seq,
    /// The most packets; the oldest come first.
    pub limit: usize,
    /// The sources that the instance takes, and [`Lifecycle::SOURCE`](crate::meeting::Lifecycle::SOURCE).
    pub sources: Vec<Name>,
}

impl Fetch {
    /// The most packets to read at once. A store read is limited by count only.
    pub(super) const MAX_PACKETS: usize = 1024;
}

/// A dead letter's packet that is delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueRedrive {
    /// The seq of the `redrive` packet.
    pub at: Seq,
    /// The seq of the packet that was given up.
    pub seq: Seq,
}
