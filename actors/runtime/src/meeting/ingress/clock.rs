//! A meeting's clock.

use teammy_kernel::{DataPacket, Timestamp};

/// The time in a meeting: the latest timestamp of its packets, plus the time since it was received. So a recording
/// that is replayed fast keeps its own time.
#[derive(Debug, Default)]
pub(super) struct MeetingClock {
    /// The latest timestamp, and when its packet was received. Packets may come out of order, for example when
    /// speakers talk at the same time.
    latest: Option<(Timestamp, Timestamp)>,
}

impl MeetingClock {
    /// A packet has come in.
    pub(super) fn observe(&mut self, packet: &DataPacket) {
        if self.latest.is_none_or(|(latest, _)| packet.timestamp >= latest) {
            self.latest = Some((packet.timestamp, packet.received_at));
        }
    }

    /// Sets the time, unless a packet has set it.
    pub(super) fn start(&mut self, timestamp: Timestamp, now: Timestamp) {
        self.latest.get_or_insert((timestamp, now));
    }

    /// The meeting's time at wall-clock time `now`; that itself, if nothing has set the clock.
    pub(super) fn at(&self, now: Timestamp) -> Timestamp {
        match self.latest {
            Some((timestamp, received_at)) => {
                timestamp.checked_add(now.duration_since(received_at)).unwrap_or(timestamp)
            }
            None => now,
        }
    }
}
