//! The queue of what is to be stored, and how a prefix of it becomes one commit.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{Slot, consumer::Consumer};
use crate::{
    DataPacket, KeyValue, MeetingId, Seq,
    plugin::{StateError, StateRef},
    store::{
        Commit, DeadLetter, Epoch, InstanceRecord, InstanceStatus, KeyWrite, MeetingRecord, MeetingStatus,
    },
};

/// How soon something should be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// There is nothing to commit, or a commit is in flight.
    Nothing,
    /// Only cursors have moved: it may wait, at the price of hooks that run again after a crash.
    Soon,
    /// Somebody waits for it.
    Now,
}

/// What a commit that is stored leaves to be done.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Committed {
    /// The packets that are stored now, in the log's order.
    pub packets: Vec<Arc<DataPacket>>,
    /// The last of them.
    pub stored_up_to: Option<Seq>,
    /// The keys that are stored now.
    pub keys: Vec<(Slot, KeyValue)>,
    /// How much of the door's bound is free again, in bytes.
    pub released: usize,
    /// The reservation that is stored.
    pub reserved: Seq,
    /// The status that is stored.
    pub status: MeetingStatus,
}

#[derive(Debug)]
pub(super) enum Item {
    Packet { packet: Arc<DataPacket>, external: bool },
    Update(InstanceUpdate),
    Status(MeetingStatus),
}

impl Item {
    fn bytes(&self) -> usize {
        /// What a store needs for a record beside what it holds.
        const RECORD: usize = 1024;
        match self {
            Self::Packet { packet, .. } => packet.cost(),
            Self::Update(update) => {
                let outputs = update.outputs.iter().map(|packet| packet.cost());
                let keys = update.keys.iter().map(crate::Datastore::cost);
                let dead_letters = update.dead_letters.iter().map(|letter| RECORD + letter.error.len());
                RECORD + outputs.chain(keys).chain(dead_letters).sum::<usize>()
            }
            Self::Status(_) => 0,
        }
    }
}

/// What an instance's hooks made, and its row after it.
#[derive(Debug)]
pub(super) struct InstanceUpdate {
    pub(super) slot: Slot,
    pub(super) cursor: Seq,
    pub(super) joined: Seq,
    pub(super) status: InstanceStatus,
    pub(super) state: Option<StateRef>,
    pub(super) keys: Vec<KeyValue>,
    pub(super) outputs: Vec<Arc<DataPacket>>,
    pub(super) dead_letters: Vec<DeadLetter>,
    pub(super) redriven: Option<Seq>,
}

impl InstanceUpdate {
    /// An instance's row as it stands, and nothing else.
    pub(super) fn row(slot: Slot, instance: &Consumer) -> Self {
        Self {
            slot,
            cursor: instance.cursor,
            joined: instance.joined,
            status: instance.status,
            state: None,
            keys: Vec::new(),
            outputs: Vec::new(),
            dead_letters: Vec::new(),
            redriven: None,
        }
    }
}

/// An instance's units of one commit, folded.
struct Row {
    cursor: Seq,
    joined: Seq,
    status: InstanceStatus,
    state: Option<StateRef>,
}

#[derive(Debug)]
pub(super) struct CommitQueue {
    epoch: Epoch,
    number: u64,
    reserved: Seq,
    status: MeetingStatus,
    items: VecDeque<Item>,
    /// What the items hold, those of the commit in flight included.
    bytes: usize,
    /// How many items, from the front, are in the commit in flight.
    taken: usize,
    in_flight: Option<(Seq, MeetingStatus)>,
}

impl CommitQueue {
    /// The most packets that one commit stores, give or take a unit's outputs.
    const MAX_PACKETS: usize = 256;
    /// The most bytes of packets and keys that one commit stores, give or take a unit's.
    const MAX_BYTES: usize = 4 << 20;

    /// The most instances whose units one commit stores: each may have a state of [`StateRef::MAX_BYTES`].
    const MAX_ROWS: usize = 16;

    pub(super) fn new(record: &MeetingRecord) -> Self {
        Self {
            epoch: record.epoch,
            number: record.commit,
            reserved: record.reserved,
            status: record.status,
            items: VecDeque::new(),
            bytes: 0,
            taken: 0,
            in_flight: None,
        }
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn reserved(&self) -> Seq {
        self.reserved
    }

    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }

    pub(super) fn has_items(&self) -> bool {
        !self.items.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, item: Item) {
        self.bytes += item.bytes();
        self.items.push_back(item);
    }

    /// The packets in the queue in the order of their seqs, those of the commit in flight included.
    pub(super) fn packets(&self) -> impl DoubleEndedIterator<Item = &Arc<DataPacket>> {
        self.items.iter().flat_map(|item| match item {
            Item::Packet { packet, .. } => std::slice::from_ref(packet),
            Item::Update(update) => update.outputs.as_slice(),
            Item::Status(_) => &[],
        })
    }

    fn updates(&self, slot: Slot) -> impl Iterator<Item = &InstanceUpdate> {
        self.items.iter().filter_map(move |item| match item {
            Item::Update(update) if update.slot == slot => Some(update),
            _ => None,
        })
    }

    /// Whether a packet that an instance had given up is finished with, and that is not stored.
    pub(super) fn has_redriven(&self, slot: Slot, seq: Seq) -> bool {
        self.updates(slot).any(|update| update.redriven == Some(seq))
    }

    /// Whether what an instance made up to a place is not stored.
    pub(super) fn has_unit_up_to(&self, slot: Slot, cursor: Seq) -> bool {
        self.updates(slot).any(|update| update.cursor <= cursor)
    }

    /// What an instance has written to its keys and is not stored, oldest first.
    pub(super) fn keys(&self, slot: Slot) -> impl Iterator<Item = &KeyValue> {
        self.updates(slot).flat_map(|update| &update.keys)
    }

    pub(super) fn next_commit(
        &mut self,
        meeting: &MeetingId,
        reserve: Seq,
        instances: &mut [Consumer],
    ) -> (Commit, Vec<(Slot, StateError)>) {
        let mut rows: BTreeMap<Slot, Row> = BTreeMap::new();
        let mut keys: BTreeMap<(Slot, &str), Option<Arc<str>>> = BTreeMap::new();
        let mut commit = Commit::new(meeting.clone(), self.epoch, self.number + 1, reserve);
        commit.status = self.status;
        let mut bytes = 0;
        let mut taken = 0;
        for item in &self.items {
            let full = commit.packets.len() >= Self::MAX_PACKETS || bytes >= Self::MAX_BYTES;
            let one_more =
                |update: &InstanceUpdate| !rows.contains_key(&update.slot) && rows.len() >= Self::MAX_ROWS;
            if full || matches!(item, Item::Update(update) if one_more(update)) {
                break;
            }
            taken += 1;
            bytes += item.bytes();
            match item {
                Item::Packet { packet, .. } => {
                    commit.packets.push(packet.clone());
                }
                Item::Status(status) => commit.status = *status,
                Item::Update(update) => {
                    commit.packets.extend(update.outputs.iter().cloned());
                    let instance = &instances[update.slot.0].name;
                    // Of a packet that is given up and finished with in one commit, what came last counts.
                    for letter in &update.dead_letters {
                        commit.redriven.retain(|(who, seq)| (who, *seq) != (instance, letter.seq));
                        commit.dead_letters.push(letter.clone());
                    }
                    if let Some(seq) = update.redriven {
                        commit
                            .dead_letters
                            .retain(|letter| (&letter.instance, letter.seq) != (instance, seq));
                        commit.redriven.push((instance.clone(), seq));
                    }
                    for (key, value) in &update.keys {
                        keys.insert((update.slot, key), value.clone());
                    }
                    let state = update.state.clone();
                    let earlier = rows.remove(&update.slot).and_then(|row| row.state);
                    let (cursor, joined, status) = (update.cursor, update.joined, update.status);
                    rows.insert(update.slot, Row { cursor, joined, status, state: state.or(earlier) });
                }
            }
        }
        commit.keys = keys
            .into_iter()
            .map(|((slot, key), value)| KeyWrite {
                instance: instances[slot.0].name.clone(),
                key: key.to_owned(),
                value,
            })
            .collect();
        if taken == self.items.len() {
            for (index, instance) in instances.iter_mut().enumerate() {
                if std::mem::take(&mut instance.cursor_moved) {
                    let (cursor, joined, status) = (instance.cursor, instance.joined, instance.status);
                    let row = rows.entry(Slot(index)).or_insert(Row { cursor, joined, status, state: None });
                    row.cursor = cursor;
                }
            }
        }
        let mut unwritable = Vec::new();
        for (slot, row) in rows {
            let state = match row.state.map(|state| state.to_json()).transpose() {
                Ok(json) => json.map(Into::into),
                Err(error) => {
                    unwritable.push((slot, error));
                    None
                }
            };
            commit.instances.push(InstanceRecord {
                instance: instances[slot.0].name.clone(),
                cursor: row.cursor,
                joined: row.joined,
                status: row.status,
                state,
            });
        }
        self.taken = taken;
        self.in_flight = Some((reserve, commit.status));
        (commit, unwritable)
    }

    pub(super) fn committed(&mut self) -> Committed {
        let (reserved, status) = self.in_flight.take().expect("invariant: a commit was in flight");
        self.number += 1;
        self.reserved = reserved;
        self.status = status;
        let mut committed = Committed { reserved, status, ..Committed::default() };
        for item in self.items.drain(..std::mem::take(&mut self.taken)) {
            self.bytes -= item.bytes();
            match item {
                Item::Packet { packet, external } => {
                    if external {
                        committed.released += packet.cost();
                    }
                    committed.packets.push(packet);
                }
                Item::Update(update) => {
                    committed.packets.extend(update.outputs);
                    committed.keys.extend(update.keys.into_iter().map(|write| (update.slot, write)));
                }
                Item::Status(_) => {}
            }
        }
        committed.stored_up_to = committed.packets.last().map(|packet| packet.seq);
        committed
    }
}
