//! The queue of what is to be stored. A prefix of it becomes one commit.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::{consumer::Consumer, ids::Slot};
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
    /// Only cursors have moved. The commit may wait; after a crash, hooks run again on what it would have
    /// covered. The cursor of an instance that has a checkpoint waits with the checkpoint.
    Soon,
    /// Items are queued, a checkpoint is due, or the reservation is to be raised.
    Now,
}

/// What a stored commit changes for readers, publishers and the owner.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Committed {
    /// The packets of the commit, in the order of their seqs.
    pub packets: Vec<Arc<DataPacket>>,
    /// The seq of the last packet.
    pub stored_up_to: Option<Seq>,
    /// The keys of the commit, each with the instance that wrote it, oldest first.
    pub keys: Vec<(Slot, KeyValue)>,
    /// How many bytes of published packets count against the ingress's bound no more.
    pub released: usize,
    /// The meeting's reservation.
    pub reserved: Seq,
    /// The meeting's status.
    pub status: MeetingStatus,
}

/// One thing to store: all of it in one commit, or none.
#[derive(Debug)]
pub(super) enum Item {
    Packet {
        packet: Arc<DataPacket>,
        /// Whether it was published from outside and counts against the ingress's bound.
        external: bool,
    },
    Update(InstanceUpdate),
    Status(MeetingStatus),
}

impl Item {
    fn bytes(&self) -> usize {
        /// The bytes that a store needs for a record beside its fields.
        const RECORD: usize = 1024;
        match self {
            Self::Packet { packet, .. } => packet.cost(),
            Self::Update(update) => {
                let outputs = update.outputs.iter().map(|packet| packet.cost());
                let keys = update.keys.iter().map(crate::write_cost);
                let dead_letters = update.dead_letters.iter().map(|letter| RECORD + letter.error.len());
                RECORD + outputs.chain(keys).chain(dead_letters).sum::<usize>()
            }
            Self::Status(_) => 0,
        }
    }
}

/// The effects of an instance's hooks, and its row with them applied.
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
    /// The instance's row as it is now, with its checkpoint and without other effects.
    pub(super) fn row(slot: Slot, consumer: &mut Consumer) -> Self {
        let (state, keys) = consumer.checkpoint.take();
        Self {
            slot,
            cursor: consumer.cursor,
            joined: consumer.joined,
            status: consumer.status,
            state,
            keys,
            outputs: Vec::new(),
            dead_letters: Vec::new(),
            redriven: None,
        }
    }
}

/// An instance's updates of one commit, folded into its newest row.
struct Row {
    cursor: Seq,
    joined: Seq,
    status: InstanceStatus,
    state: Option<StateRef>,
}

/// What is to be stored, first in, first out.
#[derive(Debug)]
pub(super) struct CommitQueue {
    epoch: Epoch,
    /// The number of the last stored commit.
    number: u64,
    /// The stored reservation.
    reserved: Seq,
    /// The stored status.
    status: MeetingStatus,
    items: VecDeque<Item>,
    /// The bytes of all items, those of the commit in flight included.
    bytes: usize,
    /// How many items, from the front, are in the commit in flight.
    items_in_flight: usize,
    /// The reservation and the status of the commit in flight.
    in_flight: Option<(Seq, MeetingStatus)>,
    /// The bytes of each instance's state when it was last written as JSON: about as many as it will have.
    state_bytes: BTreeMap<Slot, usize>,
}

impl CommitQueue {
    /// The most packets of one commit; the last item may bring more.
    const MAX_PACKETS: usize = 256;
    /// The most bytes of one commit; the last item may bring more. A meeting that writes much waits for itself:
    /// no other one waits for more than this of it.
    const MAX_BYTES: usize = 1 << 20;
    /// The most instances of one commit: each may have a state of [`StateRef::MAX_BYTES`].
    const MAX_ROWS: usize = 16;

    pub(super) fn new(record: &MeetingRecord) -> Self {
        Self {
            epoch: record.epoch,
            number: record.commit,
            reserved: record.reserved,
            status: record.status,
            items: VecDeque::new(),
            bytes: 0,
            items_in_flight: 0,
            in_flight: None,
            state_bytes: BTreeMap::new(),
        }
    }

    /// The number of the last stored commit.
    pub(super) fn number(&self) -> u64 {
        self.number
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

    /// Whether an instance has finished with a redriven packet in an update that is not stored.
    pub(super) fn has_redriven(&self, slot: Slot, seq: Seq) -> bool {
        self.updates(slot).any(|update| update.redriven == Some(seq))
    }

    /// Whether an instance's update with a cursor up to this one is not stored.
    pub(super) fn has_update_up_to(&self, slot: Slot, cursor: Seq) -> bool {
        self.updates(slot).any(|update| update.cursor <= cursor)
    }

    /// The unstored writes to an instance's keys, oldest first.
    pub(super) fn keys(&self, slot: Slot) -> impl Iterator<Item = &KeyValue> {
        self.updates(slot).flat_map(|update| &update.keys)
    }

    /// Makes a commit of as many items as fit, each instance's updates folded into one row. If no item is
    /// left then, the commit also stores cursors that moved without an update. States that cannot be
    /// written as JSON are left out and returned.
    pub(super) fn next_commit(
        &mut self,
        meeting: &MeetingId,
        reserve: Seq,
        consumers: &mut [Consumer],
    ) -> (Commit, Vec<(Slot, StateError)>) {
        let mut rows: BTreeMap<Slot, Row> = BTreeMap::new();
        let mut keys: BTreeMap<(Slot, &str), Option<Arc<str>>> = BTreeMap::new();
        let mut commit = Commit::new(meeting.clone(), self.epoch, self.number + 1, reserve);
        commit.status = self.status;
        let mut bytes = 0;
        let mut count = 0;
        for item in &self.items {
            let full = commit.packets.len() >= Self::MAX_PACKETS || bytes >= Self::MAX_BYTES;
            let is_row_too_many =
                |update: &InstanceUpdate| !rows.contains_key(&update.slot) && rows.len() >= Self::MAX_ROWS;
            if full || matches!(item, Item::Update(update) if is_row_too_many(update)) {
                break;
            }
            count += 1;
            bytes += item.bytes();
            match item {
                Item::Packet { packet, .. } => {
                    commit.packets.push(packet.clone());
                }
                Item::Status(status) => commit.status = *status,
                Item::Update(update) => {
                    commit.packets.extend(update.outputs.iter().cloned());
                    let instance = &consumers[update.slot.0].name;
                    // A packet may be given up, redriven and given up again in one commit: the last one
                    // counts.
                    for letter in &update.dead_letters {
                        commit.redriven.retain(|(by, seq)| (by, *seq) != (instance, letter.seq));
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
                    if state.is_some() && rows.get(&update.slot).is_none_or(|row| row.state.is_none()) {
                        bytes += self.state_bytes.get(&update.slot).copied().unwrap_or(0);
                    }
                    let earlier = rows.remove(&update.slot).and_then(|row| row.state);
                    let (cursor, joined, status) = (update.cursor, update.joined, update.status);
                    rows.insert(update.slot, Row { cursor, joined, status, state: state.or(earlier) });
                }
            }
        }
        commit.keys = keys
            .into_iter()
            .map(|((slot, key), value)| KeyWrite {
                instance: consumers[slot.0].name.clone(),
                key: key.to_owned(),
                value,
            })
            .collect();
        if count == self.items.len() {
            for (index, consumer) in consumers.iter_mut().enumerate() {
                if std::mem::take(&mut consumer.cursor_moved) {
                    let (cursor, joined, status) = (consumer.cursor, consumer.joined, consumer.status);
                    let row = rows.entry(Slot(index)).or_insert(Row { cursor, joined, status, state: None });
                    row.cursor = cursor;
                }
            }
        }
        let mut unwritable = Vec::new();
        for (slot, row) in rows {
            let state: Option<Arc<str>> = match row.state.map(|state| state.to_json()).transpose() {
                Ok(json) => json.map(Into::into),
                Err(error) => {
                    unwritable.push((slot, error));
                    None
                }
            };
            if let Some(state) = &state {
                self.state_bytes.insert(slot, state.len());
            }
            commit.instances.push(InstanceRecord {
                instance: consumers[slot.0].name.clone(),
                cursor: row.cursor,
                joined: row.joined,
                status: row.status,
                state,
            });
        }
        self.items_in_flight = count;
        self.in_flight = Some((reserve, commit.status));
        (commit, unwritable)
    }

    /// Removes the items of the commit in flight, which is stored.
    pub(super) fn committed(&mut self) -> Committed {
        let (reserved, status) = self.in_flight.take().expect("invariant: a commit was in flight");
        self.number += 1;
        self.reserved = reserved;
        self.status = status;
        let mut committed = Committed { reserved, status, ..Committed::default() };
        for item in self.items.drain(..std::mem::take(&mut self.items_in_flight)) {
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
