//! Bounds of a log.

/// How much a log keeps in memory and delivers at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most packets in one batch.
    pub batch_packets: usize,
    /// The most bytes in one batch; a single packet may be larger.
    pub batch_bytes: usize,
    /// The most bytes of packets that the tail keeps for instances that are behind: of volatile packets and
    /// of stored ones, each. Durable packets that are not stored yet come on top; the ingress bounds those.
    pub tail_bytes: usize,
    /// How many bytes may be queued for the store before delivery stops for all instances.
    pub backlog_bytes: usize,
    /// How many bytes may be queued for an instance, of the sources that it takes with
    /// [`DeliveryPolicy::Block`](crate::DeliveryPolicy::Block), before it
    /// [blocks](super::MeetingLog::is_blocking).
    pub block_bytes: usize,
}
