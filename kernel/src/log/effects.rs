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
    /// Whether the batch is finished: the instance has credit again.
    pub done: bool,
}

impl Effects {
    fn changes_nothing_but_the_cursor(&self) -> bool {
        self.state.is_none()
            && self.keys.is_empty()
            && self.outputs.is_empty()
            && self.dead_letters.is_empty()
            && self.redriven.is_none()
    }
}

impl MeetingLog {
    /// Applies what an instance's hooks made: appends the outputs, moves the cursor and queues the update.
    pub fn apply(&mut self, slot: Slot, effects: Effects) {
        let only_cursor = effects.changes_nothing_but_the_cursor();
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
        consumer.advance(effects.cursor, effects.done);
        if let Some(state) = &effects.state {
            consumer.state = state.clone();
        }
        if only_cursor && consumer.status == before {
            consumer.cursor_moved = true;
        } else {
            self.queue.push(Item::Update(InstanceUpdate {
                state: effects.state,
                keys: effects.keys,
                outputs: durable,
                dead_letters: effects.dead_letters,
                redriven: effects.redriven,
                ..InstanceUpdate::row(slot, consumer)
            }));
        }
        if has_volatile {
            self.shed();
        }
        self.trim();
    }
}
