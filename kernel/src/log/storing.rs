//! Storing the log: when to commit, and what a stored commit changes.

use super::{
    commit::{Committed, Due, InstanceUpdate, Item},
    ids::Slot,
    meeting_log::MeetingLog,
};
use crate::{KeyValue, Seq, plugin::StateError, store::Commit};

impl MeetingLog {
    /// How soon something should be committed.
    pub fn due(&self, wanted_reservation: Seq) -> Due {
        if self.queue.is_in_flight() {
            Due::Nothing
        } else if self.queue.has_items()
            || wanted_reservation > self.queue.reserved()
            || self.consumers.iter().any(|consumer| consumer.checkpoint.is_due())
        {
            Due::Now
        } else if self
            .consumers
            .iter()
            .any(|consumer| consumer.cursor_moved && consumer.checkpoint.is_empty())
        {
            Due::Soon
        } else {
            Due::Nothing
        }
    }

    /// Whether a commit is under way.
    pub fn is_committing(&self) -> bool {
        self.queue.is_in_flight()
    }

    /// Whether everything is stored, cursors, checkpoints and reservation included.
    pub fn is_stored(&self, wanted_reservation: Seq) -> bool {
        !self.queue.is_in_flight()
            && self.due(wanted_reservation) == Due::Nothing
            && !self.slots().any(|slot| self.has_checkpoint(slot))
    }

    /// Whether a cursor has moved that no commit has taken yet.
    pub fn has_moved_cursors(&self) -> bool {
        self.consumers.iter().any(|consumer| consumer.cursor_moved)
    }

    /// Whether effects of an instance wait for its checkpoint.
    pub fn has_checkpoint(&self, slot: Slot) -> bool {
        !self.consumers[slot.0].checkpoint.is_empty()
    }

    /// An instance's checkpoint, if it has one, is to be stored with the next commit.
    pub fn checkpoint_due(&mut self, slot: Slot) {
        self.consumers[slot.0].checkpoint.set_due();
    }

    /// The next commit: as much of the queue as fits, with each instance's rows folded into the newest.
    /// `None` while one is in flight or there is nothing to store.
    ///
    /// An instance whose state cannot be written as JSON is returned beside the commit. Its row is stored
    /// without the state; the owner suspends the instance.
    pub fn next_commit(&mut self, reserve: Seq) -> Option<(Commit, Vec<(Slot, StateError)>)> {
        if self.due(reserve) == Due::Nothing {
            return None;
        }
        for (index, consumer) in self.consumers.iter_mut().enumerate() {
            if consumer.checkpoint.is_due() {
                self.queue.push(Item::Update(InstanceUpdate::row(Slot(index), consumer)));
            }
        }
        Some(self.queue.next_commit(&self.meeting, reserve, &mut self.consumers))
    }

    /// The commit in flight is stored.
    pub fn committed(&mut self) -> Committed {
        let committed = self.queue.committed();
        if let Some(seq) = committed.stored_up_to {
            self.tail.stored(seq);
        }
        self.trim();
        committed
    }

    /// How many bytes are queued for the store.
    pub fn backlog_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Durable packets that are not stored yet and match, oldest first.
    #[cfg(test)]
    pub(super) fn unstored(
        &self,
        matches: impl Fn(&crate::DataPacket) -> bool,
    ) -> Vec<std::sync::Arc<crate::DataPacket>> {
        self.queue.packets().filter(|packet| matches(packet)).cloned().collect()
    }

    /// The unstored writes to an instance's keys, oldest first.
    pub fn unstored_keys(&self, slot: Slot) -> impl Iterator<Item = &KeyValue> {
        self.queue.keys(slot).chain(self.consumers[slot.0].checkpoint.keys())
    }
}
