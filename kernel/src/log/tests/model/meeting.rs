//! The model of a meeting, and what must hold for the stored one.

use std::{collections::VecDeque, fmt};

use super::*;
use crate::store::{InstanceRecord, PacketQuery};

/// One item that an owner issued: it is stored as a whole, in the order in which it was issued.
pub(super) enum Issued {
    Packet(Arc<DataPacket>),
    Update(InstanceUpdate),
    Status(MeetingStatus),
    /// The cursors of all instances when a commit was taken. The commit stores them if no item is left behind
    /// it.
    Cursors(Vec<(Name, Seq)>),
}

/// An instance's row (without a state if it hasn't changed) and the effects stored with it.
pub(super) struct InstanceUpdate {
    pub(super) row: InstanceRecord,
    pub(super) keys: Vec<KeyValue>,
    pub(super) outputs: Vec<Arc<DataPacket>>,
    pub(super) dead_letters: Vec<DeadLetter>,
    /// The volatile packets that had effects, which are among these effects.
    pub(super) volatile: Vec<Arc<DataPacket>>,
}

/// Everything that is stored of a meeting but its owner. `Debug` leaves payloads out.
#[derive(Clone, PartialEq)]
pub(super) struct Contents {
    status: MeetingStatus,
    pub(super) packets: BTreeMap<Seq, Arc<DataPacket>>,
    pub(super) rows: BTreeMap<Name, InstanceRecord>,
    keys: BTreeMap<(Name, String), Arc<str>>,
    dead_letters: BTreeMap<(Name, Seq), DeadLetter>,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packets = self.packets.values().map(|packet| (packet.seq.0, &packet.source)).collect::<Vec<_>>();
        let rows = self.rows.values().map(|row| (&row.instance, row.cursor.0, row.status, &row.state));
        let shown = (self.status, packets, rows.collect::<Vec<_>>(), &self.keys, self.dead_letters.keys());
        write!(f, "{shown:?}")
    }
}

impl Contents {
    fn read(store: &MemoryStore, id: &MeetingId) -> Self {
        let rows = ready(store.instances(id.clone()));
        let mut keys = BTreeMap::new();
        for row in &rows {
            let of_instance = ready(store.list(id.clone(), row.instance.clone(), String::new()));
            keys.extend(of_instance.into_iter().map(|(key, value)| ((row.instance.clone(), key), value)));
        }
        let dead_letters = ready(store.dead_letters(id.clone())).into_iter();
        let packets = ready(store.packets(id.clone(), PacketQuery::default()));
        Self {
            status: ready(store.meeting(id.clone())).expect("it was created").status,
            packets: packets.into_iter().map(|packet| (packet.seq, packet)).collect(),
            rows: rows.into_iter().map(|row| (row.instance.clone(), row)).collect(),
            keys,
            dead_letters: dead_letters.map(by_key).collect(),
        }
    }

    fn apply(&mut self, issued: &Issued) {
        match issued {
            Issued::Packet(packet) => {
                self.packets.insert(packet.seq, packet.clone());
            }
            Issued::Status(status) => self.status = *status,
            Issued::Cursors(cursors) => {
                for (instance, cursor) in cursors {
                    let row = self.rows.get_mut(instance).expect("a cursor moves after its row is made");
                    row.cursor = *cursor;
                }
            }
            Issued::Update(update) => {
                let mut row = update.row.clone();
                let before = self.rows.remove(&row.instance).and_then(|row| row.state);
                row.state = row.state.or(before);
                self.packets.extend(update.outputs.iter().map(|packet| (packet.seq, packet.clone())));
                for (key, value) in &update.keys {
                    let key = (row.instance.clone(), key.clone());
                    match value {
                        Some(value) => self.keys.insert(key, value.clone()),
                        None => self.keys.remove(&key),
                    };
                }
                self.dead_letters.extend(update.dead_letters.iter().cloned().map(by_key));
                self.rows.insert(row.instance.clone(), row);
            }
        }
    }

    /// The meeting's lifecycle packets.
    fn lifecycle(&self) -> Vec<(Seq, Lifecycle)> {
        let packets = self.packets.values().filter(|packet| packet.source == Lifecycle::SOURCE);
        let read = |packet: &DataPacket| {
            Lifecycle::from_payload(&packet.payload).expect("a lifecycle packet is readable")
        };
        packets.map(|packet| (packet.seq, read(packet))).collect()
    }
}

fn by_key(letter: DeadLetter) -> ((Name, Seq), DeadLetter) {
    ((letter.instance.clone(), letter.seq), letter)
}

/// A meeting under all its owners.
pub(super) struct Meeting {
    pub(super) id: MeetingId,
    /// The newest owner's epoch.
    pub(super) epoch: Epoch,
    pub(super) stored: Contents,
    /// The stored lifecycle packets.
    lifecycle: Vec<(Seq, Lifecycle)>,
    /// The stored reservation.
    reserved: Seq,
    /// The unstored items of the newest owner.
    issued: VecDeque<Issued>,
    /// The seqs that publishers were told.
    told: BTreeSet<Seq>,
    /// The packets that an owner has reported as stored.
    acknowledged: BTreeMap<Seq, Arc<DataPacket>>,
    /// What each producer has published, by number: a repeated packet has the same payload.
    pub(super) published: [Vec<Payload>; PRODUCERS.len()],
    /// The volatile packets whose effects are stored, by instance.
    volatile: BTreeMap<Name, BTreeMap<Seq, Arc<DataPacket>>>,
    /// Where each joining instance began, by its `join` packet.
    joins: BTreeMap<Seq, JoinAt>,
    /// The packets that each instance's hooks ran on.
    seen: BTreeMap<Name, BTreeSet<Seq>>,
}

impl Meeting {
    pub(super) fn new(store: &MemoryStore, id: &str) -> Self {
        let id = MeetingId::new(id).unwrap();
        let instances = INSTANCES.iter().filter(|(instance, ..)| *instance != GUEST);
        let instances = instances.map(|(instance, ..)| name(instance)).collect();
        let record = ready(store.create(
            MeetingMetadata::new(id.clone()),
            instances,
            Seq(RESERVE),
            jiff::Timestamp::UNIX_EPOCH,
        ));
        Self {
            stored: Contents::read(store, &id),
            id,
            lifecycle: Vec::new(),
            epoch: record.epoch,
            reserved: record.reserved,
            issued: VecDeque::new(),
            told: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            published: Default::default(),
            volatile: BTreeMap::new(),
            joins: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.stored.status == MeetingStatus::Ended
    }

    /// A new owner claimed the meeting: unstored items of the last owner will never be stored.
    pub(super) fn is_claimed(&mut self, store: &MemoryStore, record: &MeetingRecord) {
        assert_eq!(record.epoch.0, self.epoch.0 + 1, "each claim raises the epoch");
        self.epoch = record.epoch;
        self.issued.clear();
        self.check(store);
    }

    /// An owner tells a publisher a seq. The packet is lost if the owner was replaced, but no seq may be told
    /// twice.
    pub(super) fn tells(&mut self, seq: Seq) {
        assert!(seq <= self.reserved, "seq {seq} is told and not reserved");
        assert!(!self.stored.packets.contains_key(&seq), "seq {seq} is told and is a stored packet's");
        assert!(self.told.insert(seq), "seq {seq} was told before");
    }

    /// An owner assigns a seq to a runtime packet or an output, which no publisher learns.
    pub(super) fn uses(&self, by: Epoch, seq: Seq) {
        let is_free = !self.told.contains(&seq) && !self.stored.packets.contains_key(&seq);
        assert!(is_free || by != self.epoch, "seq {seq} is used twice");
    }

    /// An owner issues an item. Items of a replaced owner will not be stored.
    pub(super) fn issues(&mut self, by: Epoch, issued: Issued) {
        if by == self.epoch {
            self.issued.push_back(issued);
        }
    }

    /// An owner takes a commit. The commit before it is settled and has stored its cursors, if it had to.
    pub(super) fn takes(&mut self, by: Epoch, cursors: Vec<(Name, Seq)>) {
        if by == self.epoch {
            self.issued.retain(|issued| !matches!(issued, Issued::Cursors(_)));
            self.issued.push_back(Issued::Cursors(cursors));
        }
    }

    pub(super) fn joins(&mut self, by: Epoch, seq: Seq, at: JoinAt) {
        if by == self.epoch {
            self.joins.insert(seq, at);
        }
    }

    pub(super) fn sees(&mut self, instance: &Name, seq: Seq) {
        self.seen.entry(instance.clone()).or_default().insert(seq);
    }

    /// An owner learns that these packets are stored.
    pub(super) fn acknowledges(&mut self, packets: &[Arc<DataPacket>]) {
        self.acknowledged.extend(packets.iter().map(|packet| (packet.seq, packet.clone())));
        self.check_acknowledged();
    }

    /// Checks what must hold at any time.
    pub(super) fn check(&mut self, store: &MemoryStore) {
        let now = Contents::read(store, &self.id);
        if now != self.stored {
            self.check_prefix(now);
            self.lifecycle = self.stored.lifecycle();
            self.check_acknowledged();
            self.check_numbers(store);
            for instance in &INSTANCES {
                self.check_instance(instance);
            }
        }
        let record = ready(store.meeting(self.id.clone())).unwrap();
        assert!(record.reserved >= self.reserved, "a reservation is never taken back");
        self.reserved = record.reserved;
    }

    /// Checks that the stored meeting is what was stored before and a prefix of the items that the newest
    /// owner has issued since, without items of earlier owners.
    fn check_prefix(&mut self, now: Contents) {
        let mut stored = self.stored.clone();
        let mut count = 0;
        while stored != now {
            let Some(issued) = self.issued.get(count) else {
                let before = &self.stored;
                panic!("the stored meeting is no prefix of what was issued: {now:?}, and before: {before:?}")
            };
            stored.apply(issued);
            count += 1;
        }
        for issued in self.issued.drain(..count) {
            if let Issued::Update(InstanceUpdate { row, volatile, .. }) = issued {
                let of_instance = self.volatile.entry(row.instance).or_default();
                of_instance.extend(volatile.into_iter().map(|packet| (packet.seq, packet)));
            }
        }
        self.stored = now;
    }

    /// Checks that every acknowledged packet is stored under its seq.
    fn check_acknowledged(&self) {
        for (seq, packet) in &self.acknowledged {
            assert!(self.stored.packets.get(seq) == Some(packet), "packet {seq} was acknowledged");
        }
    }

    /// Checks that each producer's packets are stored once and in the order of their numbers, that the store
    /// finds each by its number, and that the producer's mark is the last.
    fn check_numbers(&self, store: &MemoryStore) {
        let mut marks = BTreeMap::new();
        for packet in self.stored.packets.values() {
            let Some(producer) = &packet.producer else { continue };
            let last: &mut (u64, Seq) = marks.entry(producer.id.clone()).or_default();
            assert_eq!(producer.number, last.0 + 1, "producer {} goes on without holes", producer.id);
            *last = (producer.number, packet.seq);
            let found = ready(store.numbered(self.id.clone(), producer.id.clone(), producer.number));
            assert_eq!(found, Some(packet.seq), "{} of {} is found", producer.number, producer.id);
        }
        let stored = ready(store.marks(self.id.clone())).into_iter();
        let stored: BTreeMap<_, _> = stored.map(|mark| (mark.producer, (mark.number, mark.seq))).collect();
        assert_eq!(stored, marks, "each mark is the producer's last stored number");
    }

    fn ending(&self) -> Option<Seq> {
        self.lifecycle.iter().find(|(_, event)| *event == Lifecycle::Ending).map(|(seq, _)| *seq)
    }

    /// The ranges of the log in which an instance took part, both ends included.
    fn memberships(&self, instance: &str) -> Vec<(Seq, Seq)> {
        let mut memberships = Vec::new();
        let mut start = Seq::ZERO;
        for (seq, event) in &self.lifecycle {
            match event {
                Lifecycle::Start { instances, .. } => {
                    start = *seq;
                    if instances.iter().any(|name| *name == instance) {
                        memberships.push((start, Seq::MAX));
                    }
                }
                Lifecycle::Join { instance: name, .. } if *name == instance => {
                    let from = if self.joins[seq] == JoinAt::Now { *seq } else { start };
                    memberships.push((from, Seq::MAX));
                }
                Lifecycle::Leave { instance: name } if *name == instance => {
                    memberships.last_mut().expect("an instance that leaves took part").1 = *seq;
                }
                _ => {}
            }
        }
        memberships
    }

    /// The stored packets that an instance is to handle, the meeting's `ending` aside: those of the sources
    /// that it takes while it takes part, its `join` and its `leave`.
    fn wanted(&self, instance: &str, sources: &[&str]) -> BTreeMap<Seq, Arc<DataPacket>> {
        let memberships = self.memberships(instance).into_iter();
        let wanted = memberships.flat_map(|(from, to)| {
            let packets = self.stored.packets.range(from..=to);
            packets.filter(move |(seq, packet)| {
                **seq == from || **seq == to || sources.contains(&packet.source.as_str())
            })
        });
        wanted.map(|(seq, packet)| (*seq, packet.clone())).collect()
    }

    /// Checks that an instance's state, keys and outputs are what its hook makes of the packets up to its
    /// cursor, each handled once and in order, except for its dead letters.
    fn check_instance(&self, (instance, sources, output): &Consumer) {
        let of_instance = |packet: &&Arc<DataPacket>| packet.source == *instance;
        let outputs: Vec<_> = self.stored.packets.values().filter(of_instance).collect();
        let keys = self.stored.keys.iter().filter(|((of, _), _)| of == instance);
        let keys: BTreeMap<_, _> = keys.map(|((_, key), value)| (key.clone(), value.clone())).collect();
        let (cursor, status, state) = match self.stored.rows.get(*instance) {
            Some(row) => (row.cursor, row.status, row.state.clone()),
            None => (Seq::ZERO, InstanceStatus::Active, None),
        };

        let mut handled = self.wanted(instance, sources);
        handled.retain(|seq, _| *seq <= cursor);
        let ending = self.ending().filter(|_| status == InstanceStatus::Finished);
        let mut last = ending.map(|seq| self.stored.packets[&seq].clone());
        for (_, seq) in self.stored.dead_letters.keys().filter(|(of, _)| of == instance) {
            let given_up = handled.remove(seq).or_else(|| last.take_if(|ending| ending.seq == *seq));
            assert!(given_up.is_some(), "{instance} gave up {seq}, which it had not reached");
        }
        for packet in handled.values().chain(&last) {
            let is_seen = self.seen.get(*instance).is_some_and(|seen| seen.contains(&packet.seq));
            assert!(is_seen, "{instance} is past {} and never saw it", packet.seq);
        }
        handled.extend(self.volatile.get(*instance).cloned().unwrap_or_default());

        let mut expected = (None, BTreeMap::new(), Vec::new());
        for packet in handled.values().chain(&last) {
            let made = hook(expected.0.unwrap_or(0), packet);
            expected.0 = made.state.or(expected.0);
            match made.key {
                Some((key, Some(value))) => drop(expected.1.insert(key, value)),
                Some((key, None)) => drop(expected.1.remove(&key)),
                None => {}
            }
            let stored = made.output.filter(|_| *output == Durability::Durable);
            expected.2.extend(stored.map(|output| (vec![packet.seq], gist(&output))));
        }
        let outputs: Vec<_> =
            outputs.into_iter().map(|packet| (packet.causes.clone(), gist(&packet.payload))).collect();
        assert_eq!(outputs, expected.2, "{instance} makes one output of each");
        let expected_state = expected.0.map(|state| state.to_string());
        assert_eq!(state.as_deref(), expected_state.as_deref(), "{instance}'s state at {cursor}");
        assert_eq!(keys, expected.1, "{instance}'s keys at {cursor}");
    }

    /// Checks an ended meeting: all items are stored, and all instances have seen their packets.
    pub(super) fn check_end(&self) {
        let mut last = self.stored.clone();
        self.issued.iter().for_each(|issued| last.apply(issued));
        assert_eq!(last, self.stored, "every item of the last owner is stored");
        for event in [Lifecycle::Ending, Lifecycle::Ended] {
            let count = self.lifecycle.iter().filter(|(_, other)| *other == event).count();
            assert_eq!(count, 1, "{event:?} comes once");
        }
        let (last, _) = self.stored.packets.last_key_value().expect("it has ended");
        assert_eq!(self.lifecycle.last(), Some(&(*last, Lifecycle::Ended)), "nothing comes after the end");
        let ending = self.ending().expect("it has ended");
        for (instance, sources, _) in INSTANCES {
            let Some(row) = self.stored.rows.get(instance) else { continue };
            let was_cut_off = self.stored.dead_letters.contains_key(&(name(instance), ending));
            let (last, _) = self.wanted(instance, sources).pop_last().expect("it joined");
            match row.status {
                InstanceStatus::Active => panic!("{instance} has not finished"),
                InstanceStatus::Suspended => {}
                InstanceStatus::Finished if was_cut_off => {}
                _ => assert!(row.cursor >= last, "{instance} has not seen all its packets"),
            }
        }
    }
}
