//! An owner of a meeting: its ingress, its instances' actors and its commits.

use std::ops::ControlFlow;

use super::{
    meeting::{InstanceUpdate, Issued},
    *,
};
use crate::{
    Producer, Publish,
    graph::PLUGIN_STATUS,
    store::{InstanceRecord, Mark, PacketQuery, Take},
};

/// A batch that is in flight to an instance's actor, and how many of its packets are handled.
struct InFlight {
    batch: Batch,
    handled: usize,
}

/// The effects of volatile packets that an instance's next update or checkpoint is to store.
#[derive(Default)]
struct Waiting {
    state: Option<u64>,
    keys: Vec<KeyValue>,
    /// The packets.
    volatile: Vec<Arc<DataPacket>>,
    is_due: bool,
}

pub(super) struct Owner {
    pub(super) log: MeetingLog,
    sequencer: Sequencer,
    /// The last number of each producer that the ingress accepted, and its packet.
    producers: BTreeMap<Arc<str>, (u64, Seq)>,
    in_flight: BTreeMap<Slot, InFlight>,
    fetches: BTreeMap<Slot, Fetch>,
    waiting: BTreeMap<Slot, Waiting>,
    /// The commit that is taken and not settled; `answer` is its outcome.
    commit: Option<Commit>,
    pub(super) answer: Option<Outcome>,
    /// The volatile packets that it appended, ticks aside.
    passed: Vec<(Seq, Name)>,
    /// How many of those each instance has seen or was told of as lost, since it joined.
    counted: BTreeMap<Slot, u64>,
}

impl Owner {
    /// Starts the meeting, or goes on with it.
    pub(super) fn new(store: &MemoryStore, meeting: &mut Meeting, record: &MeetingRecord) -> Self {
        let packets = |query| ready(store.packets(meeting.id.clone(), query));
        let last = packets(PacketQuery::default().take(Take::Last(1))).pop();
        let lifecycle = packets(PacketQuery::default().sources(vec![name(Lifecycle::SOURCE)]));
        let stored = StoredMeeting::new(
            record.clone(),
            last.as_slice(),
            &lifecycle,
            ready(store.instances(meeting.id.clone())),
        );
        let marks = ready(store.marks(meeting.id.clone())).into_iter();
        let is_started = stored.is_started();
        let log = if is_started {
            let opened = stored.members().into_iter().map(|member| {
                let state = member.state.as_deref().map_or(0, |json| json.parse().unwrap());
                (member.clone(), subscribed(member.name.as_str()), StateRef::new::<u64>(state))
            });
            MeetingLog::recover(&stored, LIMITS, opened.collect::<Vec<_>>())
        } else {
            MeetingLog::new(record, Seq::ZERO, LIMITS)
        };
        let first = Seq(record.reserved.0 - RESERVE).next();
        let mut owner = Self {
            log,
            sequencer: Sequencer::new(first, record.reserved),
            producers: marks.map(|mark| (mark.producer, (mark.number, mark.seq))).collect(),
            in_flight: BTreeMap::new(),
            fetches: BTreeMap::new(),
            waiting: BTreeMap::new(),
            commit: None,
            answer: None,
            passed: Vec::new(),
            counted: BTreeMap::new(),
        };
        if !is_started {
            let instances = record.instances.clone();
            let packet = owner.lifecycle(
                meeting,
                &Lifecycle::Start { instances, setups: std::collections::BTreeMap::new() },
            );
            let begins = |instance: &Name| (subscribed(instance.as_str()), StateRef::new(0_u64));
            owner.log.start(packet.clone(), record.instances.iter().map(begins).collect::<Vec<_>>());
            owner.issue(meeting, Issued::Packet(packet));
        }
        for slot in owner.log.slots() {
            let view = owner.log.view(slot);
            if !meeting.stored.rows.contains_key(view.name) {
                owner.issue_update(meeting, slot, Waiting::default(), Effects::default());
            }
            if owner.is_active(slot) {
                owner.log.set_ready(slot, true);
            }
        }
        if owner.log.status() != record.status {
            owner.issue(meeting, Issued::Status(owner.log.status()));
        }
        owner
    }

    /// Acts, if the action is possible. Breaks when the owner is done with the meeting.
    pub(super) fn act(&mut self, store: &MemoryStore, meeting: &mut Meeting, act: Act) -> ControlFlow<()> {
        let is_running = self.log.status() == MeetingStatus::Running;
        match act {
            Act::Publish(publisher, content) if is_running => self.publish(meeting, publisher, content),
            Act::Deliver(instance) => self.deliver(store, meeting, instance),
            Act::Work { instance, packets, ends, done } => {
                if !self.work(meeting, instance, packets, ends, done) {
                    self.deliver(store, meeting, instance);
                    self.work(meeting, instance, packets, ends, done);
                }
            }
            Act::Tick(instance) => self.tick(meeting, instance),
            Act::Suspend(instance) => self.suspend(meeting, instance),
            Act::Leave(instance) if is_running => self.leave(meeting, instance),
            Act::Join(instance, at) if is_running => self.join(meeting, instance, at),
            Act::End if is_running => {
                let packet = self.lifecycle(meeting, &Lifecycle::Ending);
                self.log.end(packet.clone());
                self.issue(meeting, Issued::Packet(packet));
                self.issue(meeting, Issued::Status(MeetingStatus::Ending));
            }
            Act::Expire(instance) => self.expire(meeting, instance),
            Act::Checkpoint(instance) => {
                if let Some(slot) = self.log.slot(INSTANCES[instance].0) {
                    self.log.checkpoint_due(slot);
                    self.waiting.entry(slot).and_modify(|waiting| waiting.is_due = true);
                    assert_eq!(self.log.has_checkpoint(slot), self.waiting.contains_key(&slot));
                }
            }
            Act::Commit if self.commit.is_some() => return self.take_answer(meeting),
            Act::Commit => self.take_commit(meeting),
            Act::Publish(..) | Act::Leave(_) | Act::Join(..) | Act::End => {}
        }
        if self.log.is_finished() {
            assert!(self.waiting.is_empty(), "an instance's last update takes its checkpoint along");
            let packet = self.lifecycle(meeting, &Lifecycle::Ended);
            self.log.ended(packet.clone());
            self.issue(meeting, Issued::Packet(packet));
            self.issue(meeting, Issued::Status(MeetingStatus::Ended));
        }
        ControlFlow::Continue(())
    }

    /// The commit that it has taken and that is not answered.
    pub(super) fn sent(&self) -> Option<&Commit> {
        self.commit.as_ref().filter(|_| self.answer.is_none())
    }

    /// An instance's slot, if it takes part.
    fn active(&self, instance: usize) -> Option<Slot> {
        self.log.slot(INSTANCES[instance].0).filter(|slot| self.is_active(*slot))
    }

    fn is_active(&self, slot: Slot) -> bool {
        self.log.view(slot).status == InstanceStatus::Active
    }

    fn issue(&self, meeting: &mut Meeting, issued: Issued) {
        meeting.issues(self.log.epoch(), issued);
    }

    /// Issues an instance's effects with its row as it is now, and what has waited for that.
    fn issue_update(&mut self, meeting: &mut Meeting, slot: Slot, made: Waiting, effects: Effects) {
        let mut all = self.waiting.remove(&slot).unwrap_or_default();
        all.state = made.state.or(all.state);
        all.keys.extend(made.keys);
        all.volatile.extend(made.volatile);
        let Waiting { state, keys, volatile, .. } = all;
        let view = self.log.view(slot);
        let row = InstanceRecord {
            instance: view.name.clone(),
            cursor: view.cursor,
            joined: self.log.consumers[slot.0].joined,
            status: view.status,
            state: state.map(|state| state.to_string().into()),
        };
        let Effects { outputs, dead_letters, .. } = effects;
        self.issue(meeting, Issued::Update(InstanceUpdate { row, keys, outputs, dead_letters, volatile }));
    }

    /// A runtime packet or an output, with the next seq.
    fn packet(&mut self, meeting: &mut Meeting, source: &str, payload: Payload) -> DataPacket {
        let seq = self.sequencer.internal();
        meeting.uses(self.log.epoch(), seq);
        packet_of(meeting, seq, source, payload)
    }

    fn lifecycle(&mut self, meeting: &mut Meeting, event: &Lifecycle) -> Arc<DataPacket> {
        self.packet(meeting, Lifecycle::SOURCE, event.to_payload()).into()
    }

    /// Publishes a packet. A producer that is ahead of the ingress goes back to the number that the ingress
    /// expects.
    fn publish(&mut self, meeting: &mut Meeting, publisher: Publisher, content: Content) {
        let payload = match content {
            Content::Small(value) => Payload::Bytes(vec![value].into()),
            Content::Filling => {
                let empty = packet_of(meeting, Seq::ZERO, "x", Payload::Text("".into())).cost();
                let room = LARGE.len().saturating_sub(self.log.queue.bytes() + empty + PRODUCERS[0].len());
                Payload::Bytes(LARGE.slice(..room.max(SMALL) - 1))
            }
        };
        let (source, durability) = match publisher {
            Publisher::Volatile => ("v", Durability::Volatile),
            _ => ("x", Durability::Durable),
        };
        let Publisher::Numbered { producer: index, back } = publisher else {
            self.accept(meeting, source, durability, None, payload);
            return;
        };
        let producer: Arc<str> = PRODUCERS[index].into();
        let (last, _) = self.producers.get(&producer).copied().unwrap_or_default();
        let earlier = &mut meeting.published[index];
        let number = (earlier.len() + 1).saturating_sub(back).max(1) as u64;
        if number <= last {
            return self.repeat(meeting, &producer, number);
        }
        let number = last + 1;
        let known = earlier.get(usize::try_from(last).unwrap()).cloned();
        let payload = known.unwrap_or_else(|| {
            earlier.push(payload.clone());
            payload
        });
        let numbered = Producer { id: producer.clone(), number };
        if let Some(seq) = self.accept(meeting, source, durability, Some(numbered), payload) {
            self.producers.insert(producer, (number, seq));
        }
    }

    /// The ingress accepts a packet, unless no seq is left before a commit reserves more.
    fn accept(
        &mut self,
        meeting: &mut Meeting,
        source: &str,
        durability: Durability,
        producer: Option<Producer>,
        payload: Payload,
    ) -> Option<Seq> {
        let seq = self.sequencer.external()?;
        meeting.tells(seq);
        let packet = Arc::new(DataPacket { producer, ..packet_of(meeting, seq, source, payload) });
        self.log.append(Append::new(packet.clone(), durability, true));
        match durability {
            Durability::Durable => self.issue(meeting, Issued::Packet(packet)),
            Durability::Volatile => self.passed.push((packet.seq, packet.source.clone())),
        }
        Some(seq)
    }

    /// A packet that the meeting has is published again: the log or the store knows its seq.
    fn repeat(&self, meeting: &Meeting, producer: &Arc<str>, number: u64) {
        if self.log.epoch() != meeting.epoch {
            return;
        }
        let is_it = |packet: &DataPacket| {
            packet.producer.as_ref().is_some_and(|by| by.id == *producer && by.number == number)
        };
        let stored = meeting.stored.packets.values().filter(|packet| is_it(packet)).cloned();
        let seqs: BTreeSet<Seq> = stored.chain(self.log.unstored(is_it)).map(|packet| packet.seq).collect();
        assert_eq!(seqs.len(), 1, "{number} of {producer} has one seq: {seqs:?}");
        let (last, seq) = self.producers[producer];
        assert!(number < last || seqs.contains(&seq), "{number} of {producer} has its receipt's seq");
    }

    fn deliver(&mut self, store: &MemoryStore, meeting: &Meeting, instance: usize) {
        let Some(slot) = self.log.slot(INSTANCES[instance].0) else { return };
        let delivery = match self.fetches.remove(&slot) {
            None => self.log.deliver(slot),
            Some(fetch) => {
                let query = PacketQuery::range(fetch.from, fetch.to).sources(fetch.sources.clone());
                let packets = store.packets(meeting.id.clone(), query.take(Take::First(fetch.limit)));
                self.log.fetched(slot, &fetch, ready(packets))
            }
        };
        match delivery {
            Delivery::Idle => {}
            Delivery::Fetch(fetch) => {
                self.fetches.insert(slot, fetch);
            }
            Delivery::Redrive(_) => unreachable!("the model has no redrives"),
            Delivery::Batch(batch) => {
                assert!(!batch.packets.is_empty(), "a batch has packets");
                let earlier = self.in_flight.insert(slot, InFlight { batch, handled: 0 });
                assert!(earlier.is_none(), "one batch at a time");
            }
        }
    }

    /// Runs an instance's hooks on the next packets of its batch and applies the effects as one update.
    /// Returns whether there was something to do.
    fn work(
        &mut self,
        meeting: &mut Meeting,
        instance: usize,
        packets: usize,
        ends: Ends,
        done: Done,
    ) -> bool {
        let Some(slot) = self.active(instance) else { return true };
        let Some(InFlight { batch, handled }) = self.in_flight.remove(&slot) else {
            return self.work_on_nothing(slot, ends);
        };
        let rest = &batch.packets[handled..];
        let now = &rest[..packets.min(rest.len())];
        let (well, bad) = match now.split_last() {
            Some((bad, well)) if ends != Ends::Well => (well, Some(bad)),
            _ => (now, None),
        };
        let (made, mut update) = self.run(meeting, slot, well);
        let instance = self.log.view(slot).name.clone();
        let mut to = handled + well.len();
        if let Some(bad) = bad {
            meeting.sees(&instance, bad.seq);
            if ends == Ends::GivenUp {
                update.dead_letters.extend(dead_letter(&instance, bad));
                to += 1;
            }
        }
        if to > handled || rest.is_empty() {
            let counted = self.counted.entry(slot).or_default();
            *counted += if handled == 0 { batch.gap } else { 0 };
            *counted += batch.packets[handled..to].iter().filter(|packet| is_counted(packet)).count() as u64;
            update.cursor = batch.packets[to - 1].seq;
            update.holds_end =
                self.log.ending().is_some_and(|ending| batch.packets[handled..to].contains(ending));
            update.done = to == batch.packets.len() && (done == Done::WithIt || rest.is_empty());
            let is_done = update.done;
            let is_new = |packet: &&Arc<DataPacket>| {
                packet.seq > self.log.view(slot).cursor && packet.seq <= update.cursor
            };
            let mut finished = batch.packets.iter().filter(is_new);
            let may_wait = finished.all(|packet| is_volatile(packet.source.as_str()));
            self.apply(meeting, slot, made, update, may_wait);
            if is_done || !self.is_active(slot) {
                return true;
            }
        }
        self.in_flight.insert(slot, InFlight { batch: batch.clone(), handled: to });
        if let (Some(bad), Ends::Dying | Ends::Fatal) = (bad, ends) {
            self.die(meeting, slot, bad, ends);
        }
        true
    }

    /// An actor without a batch fails, or the store cannot be read for it.
    fn work_on_nothing(&mut self, slot: Slot, ends: Ends) -> bool {
        match ends {
            Ends::Dying | Ends::Fatal => {
                self.log.set_ready(slot, false);
                self.log.set_ready(slot, true);
                true
            }
            Ends::Failing if self.fetches.remove(&slot).is_some() => {
                self.log.fetch_failed(slot);
                true
            }
            _ => false,
        }
    }

    /// The effects of an instance's hooks on some packets: its memory, and the rest.
    fn run(&mut self, meeting: &mut Meeting, slot: Slot, packets: &[Arc<DataPacket>]) -> (Waiting, Effects) {
        let view = self.log.view(slot);
        let (instance, before) = (view.name.clone(), view.state.to_json().unwrap().parse().unwrap());
        let mut all = Waiting::default();
        let mut update = Effects { output: output_of(&instance), ..Effects::default() };
        for packet in packets {
            meeting.sees(&instance, packet.seq);
            let made = hook(all.state.unwrap_or(before), packet);
            if is_volatile(packet.source.as_str()) && !made.is_nothing() {
                all.volatile.push(packet.clone());
            }
            all.state = made.state.or(all.state);
            all.keys.extend(made.key);
            if let Some(output) = made.output {
                let output = self.packet(meeting, instance.as_str(), output);
                update.outputs.push(Arc::new(DataPacket { causes: vec![packet.seq], ..output }));
            }
        }
        (all, update)
    }

    /// Applies effects. If hooks made them of volatile packets alone, a state and keys may wait.
    fn apply(
        &mut self,
        meeting: &mut Meeting,
        slot: Slot,
        made: Waiting,
        mut update: Effects,
        may_wait: bool,
    ) {
        let before = self.log.view(slot).status;
        (update.state, update.keys) = (made.state.map(StateRef::new), made.keys.clone());
        self.log.apply(slot, update.clone());
        if update.output == Durability::Volatile {
            let passed = update.outputs.drain(..);
            self.passed.extend(passed.map(|packet| (packet.seq, packet.source.clone())));
        }
        let has_memory = made.state.is_some() || !made.keys.is_empty();
        let is_urgent = !update.outputs.is_empty()
            || !update.dead_letters.is_empty()
            || self.log.view(slot).status != before;
        if is_urgent || has_memory && !may_wait {
            self.issue_update(meeting, slot, made, update);
        } else if has_memory {
            let waiting = self.waiting.entry(slot).or_default();
            waiting.state = made.state.or(waiting.state);
            waiting.keys.extend(made.keys);
            waiting.volatile.extend(made.volatile);
        }
        // A cursor alone is no item: the next commit stores it.
        self.check_counted(slot);
    }

    /// Checks that the instance has seen or was told of every volatile packet up to its cursor. It may also
    /// have been told of lost packets behind the cursor.
    fn check_counted(&self, slot: Slot) {
        let instance = &self.log.consumers[slot.0];
        let (cursor, to) = (instance.cursor, instance.leaving.unwrap_or(Seq::MAX));
        let sources = definition(instance.name.as_str()).1;
        let is_wanted = |(seq, source): &&(Seq, Name)| {
            (instance.joined..=to).contains(seq) && sources.contains(&source.as_str())
        };
        let wanted: Vec<Seq> = self.passed.iter().filter(is_wanted).map(|(seq, _)| *seq).collect();
        let past = wanted.iter().filter(|seq| **seq <= cursor).count() as u64;
        let (instance, counted, expected) = (&instance.name, self.counted[&slot], past..=wanted.len() as u64);
        assert!(
            expected.contains(&counted),
            "{instance} saw or was told of {counted} volatile packets, not {expected:?}"
        );
    }

    /// An instance's actor fails on a packet, and a new one starts. The packet is tried again or given up.
    fn die(&mut self, meeting: &mut Meeting, slot: Slot, packet: &Arc<DataPacket>, ends: Ends) {
        self.in_flight.remove(&slot);
        self.log.set_ready(slot, false);
        self.log.count_try(slot, packet.seq);
        let before = self.log.view(slot).status;
        if ends == Ends::Fatal {
            let known = self.log.packet_in_flight(slot, packet.seq);
            assert_eq!(known, Some(packet), "the log knows the packet in flight");
            let dead_letters: Vec<_> = dead_letter(self.log.view(slot).name, packet).into_iter().collect();
            self.log.give_up(slot, packet.seq, dead_letters.first().cloned());
            *self.counted.entry(slot).or_default() += u64::from(is_counted(packet));
            if !dead_letters.is_empty() || self.log.view(slot).status != before {
                self.issue_update(
                    meeting,
                    slot,
                    Waiting::default(),
                    Effects { dead_letters, ..Effects::default() },
                );
            }
        }
        if self.is_active(slot) {
            self.log.set_ready(slot, true);
        }
    }

    /// Appends a tick if the instance can take one and its outputs are stored.
    fn tick(&mut self, meeting: &mut Meeting, instance: usize) {
        let can_tick = |slot: &Slot| self.log.can_tick(*slot) && INSTANCES[instance].2 == Durability::Durable;
        let Some(slot) = self.active(instance).filter(can_tick) else { return };
        let packet = Arc::new(self.packet(meeting, Tick::SOURCE, Payload::Text("".into())));
        self.log.tick(slot, packet);
    }

    fn suspend(&mut self, meeting: &mut Meeting, instance: usize) {
        let Some(slot) = self.active(instance) else { return };
        self.in_flight.remove(&slot);
        self.log.suspend(slot);
        self.issue_update(meeting, slot, Waiting::default(), Effects::default());
        let packet = Arc::new(self.packet(meeting, PLUGIN_STATUS, Payload::Text("suspended".into())));
        self.log.append(Append::new(packet.clone(), Durability::Durable, false));
        self.issue(meeting, Issued::Packet(packet));
    }

    fn expire(&mut self, meeting: &mut Meeting, instance: usize) {
        let Some(slot) = self.active(instance) else { return };
        let Some(ending) = self.log.ending().cloned() else { return };
        self.in_flight.remove(&slot);
        let dead_letters: Vec<_> = dead_letter(self.log.view(slot).name, &ending).into_iter().collect();
        self.log.expire(slot, dead_letters[0].clone());
        self.issue_update(meeting, slot, Waiting::default(), Effects { dead_letters, ..Effects::default() });
    }

    fn leave(&mut self, meeting: &mut Meeting, instance: usize) {
        let Some(slot) = self.active(instance).filter(|slot| !self.log.view(*slot).is_leaving) else {
            return;
        };
        let instance = self.log.view(slot).name.clone();
        let packet = self.lifecycle(meeting, &Lifecycle::Leave { instance });
        self.log.leave(slot, packet.clone());
        self.issue(meeting, Issued::Packet(packet));
    }

    /// An instance joins. One that had left comes back at the log's end.
    fn join(&mut self, meeting: &mut Meeting, instance: usize, at: JoinAt) {
        let (instance, ..) = INSTANCES[instance];
        let known = self.log.slot(instance).map(|slot| self.log.view(slot));
        let (state, at) = match known {
            None => (StateRef::new(0_u64), at),
            Some(view) if view.status == InstanceStatus::Left => (view.state.clone(), JoinAt::Now),
            Some(_) => return,
        };
        let packet = self.lifecycle(meeting, &Lifecycle::Join { instance: name(instance), setup: None });
        meeting.joins(self.log.epoch(), packet.seq, at);
        let slot = self.log.join(subscribed(instance), state, at, packet.clone());
        self.issue_update(
            meeting,
            slot,
            Waiting::default(),
            Effects { outputs: vec![packet], ..Effects::default() },
        );
        self.counted.remove(&slot);
        self.log.set_ready(slot, true);
    }

    fn take_commit(&mut self, meeting: &mut Meeting) {
        let Some((commit, unwritable)) = self.log.next_commit(self.sequencer.wanted()) else { return };
        assert!(unwritable.is_empty(), "a number has a JSON form");
        let due =
            self.log.slots().filter(|slot| self.waiting.get(slot).is_some_and(|waiting| waiting.is_due));
        for slot in due.collect::<Vec<_>>() {
            self.issue_update(meeting, slot, Waiting::default(), Effects::default());
        }
        let cursor = |slot| (self.log.view(slot).name.clone(), self.log.view(slot).cursor);
        meeting.takes(self.log.epoch(), self.log.slots().map(cursor).collect());
        self.commit = Some(commit);
    }

    /// Takes the answer to its commit, if there is one.
    fn take_answer(&mut self, meeting: &mut Meeting) -> ControlFlow<()> {
        assert!(self.log.next_commit(self.sequencer.wanted()).is_none(), "one commit at a time");
        let Some(outcome) = self.answer.take() else { return ControlFlow::Continue(()) };
        let commit = self.commit.take().expect("an answered commit was sent");
        match outcome {
            Outcome::Applied => {}
            Outcome::Fenced => return ControlFlow::Break(()),
            outcome => panic!("commits in order are never {outcome:?}"),
        }
        let committed = self.log.committed();
        assert!(committed.packets == commit.packets, "the log reports the packets of the commit");
        let external = commit.packets.iter().filter(|packet| packet.source == "x");
        let released: usize = external.map(|packet| packet.cost()).sum();
        assert_eq!(committed.released, released, "the ingress has room again for stored packets");
        self.sequencer.reserved(committed.reserved);
        meeting.acknowledges(&committed.packets);
        match committed.status {
            MeetingStatus::Ended => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }

    /// Checks that a snapshot, if all is stored, is what the next owner would read from the store.
    pub(super) fn check_snapshot(&self, store: &MemoryStore, meeting: &Meeting) {
        if !self.log.is_stored(self.sequencer.wanted()) {
            return;
        }
        let packets = |query| ready(store.packets(meeting.id.clone(), query));
        let newest = packets(PacketQuery::default().take(Take::Last(1)));
        let last = newest.last().map_or(Seq::ZERO, |packet| packet.seq);
        let marks = self.producers.iter().map(|(producer, (number, seq))| Mark {
            producer: producer.clone(),
            number: *number,
            seq: *seq,
        });
        let mut record = ready(store.meeting(meeting.id.clone())).unwrap();
        let beside = Beside::new(record.created, last, Timestamp::UNIX_EPOCH, marks.collect());
        let Some(snapshot) = self.log.snapshot(beside) else {
            assert_ne!(self.log.status(), MeetingStatus::Running);
            return;
        };
        assert!(snapshot.clone().of(&record).is_none(), "it is for the next owner");
        record.epoch.0 += 1;
        let snapshot: Snapshot = serde_json::from_str(&serde_json::to_string(&snapshot).unwrap()).unwrap();
        let (from_memory, marks) = snapshot.of(&record).expect("all is stored");
        let lifecycle = packets(PacketQuery::default().sources(vec![name(Lifecycle::SOURCE)]));
        let rows = ready(store.instances(meeting.id.clone()));
        let from_store = StoredMeeting::new(record, &newest, &lifecycle, rows);
        assert_eq!(from_memory.lifecycle, from_store.lifecycle);
        let of_store = from_store.members().into_iter().map(|mut member| {
            // Until it was stored, it is the first one.
            member.state.get_or_insert_with(|| "0".into());
            member
        });
        assert_eq!(from_memory.members(), of_store.collect::<Vec<_>>());
        assert_eq!(from_memory.last_seq(), from_store.last_seq());
        let by_name = |marks: Vec<Mark>| {
            marks.into_iter().map(|mark| (mark.producer.clone(), mark)).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(by_name(marks), by_name(ready(store.marks(meeting.id.clone()))));
    }

    /// Checks that an owner of an ended meeting has nothing to do.
    pub(super) fn has_nothing_to_do(&mut self, store: &MemoryStore, meeting: &Meeting) {
        assert_eq!(self.log.status(), MeetingStatus::Ended);
        (0..INSTANCES.len()).for_each(|instance| self.deliver(store, meeting, instance));
        assert!(self.in_flight.is_empty() && self.fetches.is_empty(), "an instance gets more after the end");
    }
}

fn packet_of(meeting: &Meeting, seq: Seq, source: &str, payload: Payload) -> DataPacket {
    Publish::on(name(source), payload).into_packet(meeting.id.clone(), seq, Timestamp::UNIX_EPOCH)
}

fn definition(instance: &str) -> &'static Consumer {
    INSTANCES.iter().find(|(of, ..)| *of == instance).expect("it is a known instance")
}

fn subscribed(instance: &str) -> ConsumerSpec {
    subscription(instance, definition(instance).1)
}

fn output_of(instance: &Name) -> Durability {
    definition(instance.as_str()).2
}

/// The dead letter of a packet; `None` if the packet is not stored.
fn dead_letter(instance: &Name, packet: &DataPacket) -> Option<DeadLetter> {
    let is_stored = !is_volatile(packet.source.as_str());
    is_stored.then(|| DeadLetter::new(instance.clone(), packet, 2, "as asked", Timestamp::UNIX_EPOCH))
}

/// Whether a lost packet is counted in an instance's gap: ticks are not.
fn is_counted(packet: &DataPacket) -> bool {
    is_volatile(packet.source.as_str()) && packet.source != Tick::SOURCE
}
