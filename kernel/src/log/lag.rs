//! How far instances are behind: what they have not finished with, source by source.

use super::{MeetingLog, Slot, tail::Entry};
use crate::{Name, Seq, Timestamp};

/// What an instance has not finished with of one source, as far as it is in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// The source.
    pub source: Name,
    /// How many packets it has not finished with, those in its hands included.
    pub packets: u64,
    /// The time of the oldest of them.
    pub oldest: Option<Timestamp>,
    /// The time of the newest of them.
    pub newest: Option<Timestamp>,
}

impl MeetingLog {
    /// How far an instance is behind, by source, and the stretch of the store that it has to read first, if
    /// any: what is there comes on top. Costs a pass over what is in memory.
    pub fn lag(&self, slot: Slot) -> (Vec<Lag>, Option<(Seq, Seq)>) {
        let instance = &self.consumers[slot.0];
        let name = |id| self.sources.iter().find(|(_, other)| **other == id).map(|(name, _)| name.clone());
        let mut lags: Vec<(_, Lag)> = instance
            .sources
            .iter()
            .filter_map(|taken| {
                let lag = Lag { source: name(taken.source)?, packets: 0, oldest: None, newest: None };
                Some((taken.source, lag))
            })
            .collect();
        let mut count = |entry: &Entry| {
            if !instance.wants(slot, entry, self.lifecycle) || self.is_replaced(instance, entry) {
                return;
            }
            if let Some((_, lag)) = lags.iter_mut().find(|(source, _)| *source == entry.source) {
                let at = entry.packet.timestamp;
                lag.packets += 1;
                lag.oldest = Some(lag.oldest.map_or(at, |oldest| oldest.min(at)));
                lag.newest = Some(lag.newest.map_or(at, |newest| newest.max(at)));
            }
        };
        self.tail.after(instance.cursor).for_each(&mut count);
        let stored_only = self.tail.stored_only_up_to();
        let is_behind = instance.cursor < stored_only
            && instance.sources.iter().any(|taken| instance.spills(taken.source));
        let spilled = is_behind.then(|| (instance.cursor.next(), stored_only));
        (lags.into_iter().map(|(_, lag)| lag).collect(), spilled)
    }

    /// How many bytes wait to be stored.
    pub fn backlog_bytes(&self) -> usize {
        self.queue.bytes()
    }
}
