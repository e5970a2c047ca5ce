//! Applying what an instance's hooks made.

use std::sync::Arc;

use super::{
    append::Append,
    commit::{InstanceUpdate, Item},
    ids::Slot,
    meeting_log::MeetingLog,
};
use crate::{
    DataPacket, KeyValue, Seq,
    plugin::{Durability, StateRef},
    store::DeadLetter,
};

/// What an instance's hooks made, to be applied and stored as one update.
#[derive(Debug, Clone, Default)]
pub struct Effects {
    /// The last packet that the hooks have finished with.
    pub cursor: Seq,
    /// The newest state, if a hook changed it.
    pub state: Option<StateRef>,
    /// The keys that the hooks wrote.
    pub keys: Vec<KeyValue>,
    /// The outputs, with their seqs.
    pub outputs: Vec<Arc<DataPacket>>,
    /// Whether the outputs are to be stored.
    pub output: Durability,
    /// The dead letters of packets that were given up.
    pub dead_letters: Vec<DeadLetter>,
    /// A redriven packet that a hook has finished with: its dead letter is removed.
    pub redriven: Option<Seq>,
    /// Whether those of the meeting's end are among them. The cursor does not say so: an instance that was restored may
    /// begin there, because it had nothing left to do before it.
    pub holds_end: bool,
    /// Whether a hook waits until they are stored: then they are not held back for the next checkpoint.
    pub is_awaited: bool,
    /// Whether the batch is finished: the instance has credit again.
    pub done: bool,
}

impl MeetingLog {
    /// Applies what an instance's hooks made: appends the outputs, moves the cursor, and queues the update or,
    /// if it may wait, adds it to the instance's checkpoint.
    pub fn apply(&mut self, slot: Slot, effects: Effects) {
        let mut durable = Vec::new();
        let mut has_volatile = false;
        for packet in effects.outputs {
            match effects.output {
                Durability::Durable => durable.push(packet.clone()),
                Durability::Volatile => has_volatile = true,
            }
            self.push_to_tail(Append::new(packet, effects.output, false), None);
        }
        let consumer = &mut self.consumers[slot.0];
        let before = consumer.status;
        let is_of_volatile = consumer.is_past_volatile_only(effects.cursor);
        consumer.advance(effects.cursor, effects.holds_end, effects.done);
        if let Some(state) = &effects.state {
            consumer.state = state.clone();
        }
        let is_moved_only = consumer.status == before
            && durable.is_empty()
            && effects.dead_letters.is_empty()
            && effects.redriven.is_none();
        let has_memory = effects.state.is_some() || !effects.keys.is_empty();
        if is_moved_only && !effects.is_awaited && (is_of_volatile || !has_memory) {
            consumer.cursor_moved = true;
            consumer.checkpoint.add(effects.state, effects.keys);
        } else {
            let mut update = InstanceUpdate::row(slot, consumer);
            update.state = effects.state.or(update.state);
            update.keys.extend(effects.keys);
            update.outputs = durable;
            update.dead_letters = effects.dead_letters;
            update.redriven = effects.redriven;
            self.queue.push(Item::Update(update));
        }
        if has_volatile {
            self.shed();
        }
        self.trim();
    }
}
