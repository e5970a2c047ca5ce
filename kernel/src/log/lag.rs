//! Lag: how many packets instances have not finished with, source by source.

use super::{ids::Slot, meeting_log::MeetingLog, tail::Entry};
use crate::{Name, Seq, Timestamp};

/// The packets of one source in memory that an instance has not finished with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// The source.
    pub source: Name,
    /// How many packets there are, those of the batch in flight included.
    pub packets: u64,
    /// The earliest time of these packets.
    pub oldest: Option<Timestamp>,
    /// The latest time of these packets.
    pub newest: Option<Timestamp>,
}

impl MeetingLog {
    /// An instance's lag by source, and the range of the store that it has to read first, if any: the packets
    /// there come on top. Costs a pass over the packets in memory.
    pub fn lag(&self, slot: Slot) -> (Vec<Lag>, Option<(Seq, Seq)>) {
        let consumer = &self.consumers[slot.0];
        let name = |id| self.sources.iter().find(|(_, other)| **other == id).map(|(name, _)| name.clone());
        let mut lags: Vec<(_, Lag)> = consumer
            .sources
            .iter()
            .filter_map(|subscribed| {
                let lag = Lag { source: name(subscribed.source)?, packets: 0, oldest: None, newest: None };
                Some((subscribed.source, lag))
            })
            .collect();
        let mut count = |entry: &Entry| {
            if !consumer.wants(slot, entry, self.lifecycle) || self.is_replaced(consumer, entry) {
                return;
            }
            if let Some((_, lag)) = lags.iter_mut().find(|(source, _)| *source == entry.source) {
                let at = entry.packet.timestamp;
                lag.packets += 1;
                lag.oldest = Some(lag.oldest.map_or(at, |oldest| oldest.min(at)));
                lag.newest = Some(lag.newest.map_or(at, |newest| newest.max(at)));
            }
        };
        self.tail.after(consumer.cursor).for_each(&mut count);
        let stored_only = self.tail.stored_only_up_to();
        let is_behind = consumer.cursor < stored_only
            && consumer.sources.iter().any(|subscribed| consumer.spills(subscribed.source));
        let spilled = is_behind.then(|| (consumer.cursor.next(), stored_only));
        (lags.into_iter().map(|(_, lag)| lag).collect(), spilled)
    }
}
