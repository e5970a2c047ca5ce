//! What a hook reads of the meeting's history: from the store, and from the packets that are not stored yet.
//!
//! A hook's answer must not depend on when a commit happens to be stored. So a [`HistoryRead`] is asked of
//! both: first of the log, for what is unstored ([`MeetingLog::unstored_history`]), then of the store
//! ([`HistoryRead::stored`]). A packet that is stored in between is in both answers and counts once
//! ([`HistoryRead::merge`]); in the other order it could be in neither.

use std::{collections::BTreeMap, sync::Arc};

use super::meeting_log::MeetingLog;
use crate::{
    DataPacket, History, Name, Seq,
    store::{PacketQuery, Take},
};

/// A read of history by an instance's hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRead {
    history: History,
    reader: Name,
    before: Seq,
}

impl HistoryRead {
    /// A read by `reader`'s hook on the packet `before`: the hook sees packets of other sources before that
    /// one, and of the instance's own outputs all that there are.
    pub fn new(history: History, reader: Name, before: Seq) -> Self {
        Self { history, reader, before }
    }

    /// Whether a packet is one of those asked for, as far as one packet can tell (all but the number).
    pub fn matches(&self, packet: &DataPacket) -> bool {
        (packet.seq < self.before || packet.source == self.reader) && self.history.matches(packet)
    }

    /// What to read from the store: at most two queries, whose answers together hold every stored packet of
    /// this read.
    pub fn stored(&self) -> Vec<PacketQuery> {
        let History { source, from, to, .. } = &self.history;
        let (from, to) = (*from, *to);
        let others_to = to.min(self.before.previous());
        let ranges = match source {
            Some(source) if *source == self.reader => vec![(Some(source), from, to)],
            Some(source) => vec![(Some(source), from, others_to)],
            None => vec![(None, from, others_to), (Some(&self.reader), from.max(self.before), to)],
        };
        let query = |(source, from, to): (Option<&Name>, Seq, Seq)| {
            let mut query = PacketQuery::range(from, to);
            query.sources = source.map(|source| vec![source.clone()]);
            query.not_before = self.history.not_before;
            query.take = self.history.last.map_or(Take::All, Take::Last);
            query
        };
        ranges.into_iter().filter(|(_, from, to)| from <= to).map(query).collect()
    }

    /// Puts the answers together: each packet once, oldest first, the newest so many.
    pub fn merge(
        &self,
        stored: impl IntoIterator<Item = Arc<DataPacket>>,
        unstored: impl IntoIterator<Item = Arc<DataPacket>>,
    ) -> Vec<Arc<DataPacket>> {
        let packets = stored.into_iter().chain(unstored).map(|packet| (packet.seq, packet));
        let packets: BTreeMap<Seq, Arc<DataPacket>> = packets.collect();
        let skip = self.history.last.map_or(0, |last| packets.len().saturating_sub(last));
        packets.into_values().skip(skip).collect()
    }
}

impl MeetingLog {
    /// The durable packets of a read that are not stored yet, oldest first. Costs a pass over the newest
    /// unstored packets, back to the first one that cannot be asked for; only those that match are cloned.
    pub fn unstored_history(&self, read: &HistoryRead) -> Vec<Arc<DataPacket>> {
        let asked_for = self.queue.packets().rev().take_while(|packet| packet.seq >= read.history.from);
        let matching = asked_for.filter(|packet| read.matches(packet));
        let mut packets: Vec<_> = matching.take(read.history.last.unwrap_or(usize::MAX)).cloned().collect();
        packets.reverse();
        packets
    }

    /// The seq of the packet that a producer gave this number, if that packet is not stored yet.
    pub fn unstored_number(&self, producer: &str, number: u64) -> Option<Seq> {
        let is_it = |packet: &&Arc<DataPacket>| {
            packet.producer.as_ref().is_some_and(|by| by.number == number && *by.id == *producer)
        };
        self.queue.packets().find(is_it).map(|packet| packet.seq)
    }
}
