//! The log against a model: publishing, delivering, applying, committing and failing actors, at random.

mod batch_cache;
mod history;
mod model;
mod policies;
mod recovery;
mod redrive;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;

use super::{
    failure::{ActorDecision, FailurePolicy, RestartDecision},
    *,
};
use crate::{
    DataPacket, DeliveryPolicy, Durability, KeyValue, Lifecycle, MeetingId, MeetingMetadata, Name, Payload,
    Seq, Tick, Timestamp,
    backoff::Backoff,
    plugin::StateRef,
    store::{Commit, DeadLetter, Epoch, InstanceStatus, MeetingRecord, MeetingStatus},
};

const LIMITS: Limits = Limits {
    batch_packets: 4,
    batch_bytes: 4_000,
    tail_bytes: 2_000,
    backlog_bytes: 1 << 20,
    block_bytes: 1_000,
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn packet(seq: Seq, source: &str, causes: Vec<Seq>) -> Arc<DataPacket> {
    Arc::new(DataPacket {
        meeting: MeetingId::new("m").unwrap(),
        seq,
        source: name(source),
        timestamp: Timestamp::UNIX_EPOCH,
        received_at: Timestamp::UNIX_EPOCH,
        participant: None,
        payload: Payload::Bytes(vec![0; 64].into()),
        producer: None,
        causes,
        trace: None,
    })
}

fn lifecycle(seq: Seq, event: &Lifecycle) -> Arc<DataPacket> {
    let packet = packet(seq, Lifecycle::SOURCE, vec![]);
    Arc::new(DataPacket { payload: event.to_payload(), ..(*packet).clone() })
}

fn started(seq: Seq) -> Arc<DataPacket> {
    lifecycle(
        seq,
        &Lifecycle::Start {
            instances: SOURCES.iter().map(|(instance, _)| name(instance)).collect(),
            setups: BTreeMap::new(),
        },
    )
}

fn joins(seq: Seq, instance: &str) -> Arc<DataPacket> {
    lifecycle(seq, &Lifecycle::Join { instance: name(instance), setup: None })
}

fn subscription(instance: &str, sources: &[&str]) -> ConsumerSpec {
    subscribes(instance, sources.iter().map(|source| (*source, DeliveryPolicy::Spill)))
}

fn subscribes<'a>(
    instance: &str,
    sources: impl IntoIterator<Item = (&'a str, DeliveryPolicy)>,
) -> ConsumerSpec {
    let sources = sources.into_iter().map(|(source, policy)| (name(source), policy)).collect();
    ConsumerSpec { instance: name(instance), sources }
}

/// A meeting with its store: `early` takes x and v (volatile), `relay` takes early, `late` takes x and relay.
struct World {
    log: MeetingLog,
    seqs: Sequencer,
    /// The meeting's row in the store.
    record: MeetingRecord,
    stored: Vec<Arc<DataPacket>>,
    rows: BTreeMap<Name, crate::store::InstanceRecord>,
    in_flight: Option<Commit>,
    batches: BTreeMap<usize, (Batch, usize)>,
    /// The packets that each instance has finished with, in order.
    handled: BTreeMap<Name, Vec<Arc<DataPacket>>>,
    gaps: BTreeMap<Name, u64>,
    published: Vec<Arc<DataPacket>>,
    last_done: BTreeMap<Name, usize>,
}

const SOURCES: &[(&str, &[&str])] =
    &[("early", &["x", "v"]), ("relay", &["early"]), ("late", &["x", "relay"])];

impl World {
    fn new() -> Self {
        let metadata = MeetingMetadata::new(MeetingId::new("m").unwrap());
        let record =
            MeetingRecord::first(metadata, Vec::new(), Seq(Sequencer::BLOCK), jiff::Timestamp::UNIX_EPOCH);
        let mut seqs = Sequencer::new(Seq(1), record.reserved);
        let mut log = MeetingLog::new(&record, Seq::ZERO, LIMITS);
        let start = started(seqs.internal());
        let instances = SOURCES.iter().map(|(i, s)| (subscription(i, s), StateRef::new(0_u64)));
        log.start(start, instances.collect::<Vec<_>>());
        for slot in log.slots() {
            log.set_ready(slot, true);
        }
        Self {
            log,
            seqs,
            record,
            stored: vec![],
            rows: BTreeMap::new(),
            in_flight: None,
            batches: BTreeMap::new(),
            handled: BTreeMap::new(),
            gaps: BTreeMap::new(),
            published: vec![],
            last_done: BTreeMap::new(),
        }
    }

    fn publish(&mut self, source: &str) {
        let packet = packet(self.seqs.external().unwrap(), source, vec![]);
        self.published.push(packet.clone());
        let durability = if source == "v" { Durability::Volatile } else { Durability::Durable };
        self.log.append(Append::new(packet, durability, true));
    }

    fn deliver(&mut self, index: usize) -> bool {
        let slot = Slot(index);
        let mut delivery = self.log.deliver(slot);
        while let Delivery::Fetch(fetch) = &delivery {
            let wanted = |p: &&Arc<DataPacket>| {
                p.seq >= fetch.from && p.seq <= fetch.to && fetch.sources.contains(&p.source)
            };
            let packets = self.stored.iter().filter(wanted).take(fetch.limit).cloned().collect();
            delivery = self.log.fetched(slot, &fetch.clone(), packets);
        }
        let Delivery::Batch(batch) = delivery else { return false };
        assert!(!batch.packets.is_empty());
        self.batches.insert(index, (batch, 0));
        true
    }

    /// Runs the hooks on the next `count` packets of an instance's batch and applies the effects. Each `x`
    /// and each output of another instance makes an output.
    fn work(&mut self, index: usize, count: usize) -> bool {
        let Some((batch, at)) = self.batches.get(&index).cloned() else { return false };
        let view = self.log.view(Slot(index));
        let instance = view.name.clone();
        let to = (at + count).min(batch.packets.len());
        let done = to == batch.packets.len();
        let mut outputs = vec![];
        for packet in &batch.packets[at..to] {
            let outgoing = packet.source != "v" && packet.source != Lifecycle::SOURCE;
            self.handled.entry(instance.clone()).or_default().push(packet.clone());
            if outgoing {
                outputs.push(self::packet(self.seqs.internal(), instance.as_str(), vec![packet.seq]));
            }
        }
        if at == 0 {
            *self.gaps.entry(instance.clone()).or_default() += batch.gap;
        }
        let effects = Effects {
            cursor: batch.packets[to - 1].seq,
            state: (!outputs.is_empty()).then(|| StateRef::new(self.handled[&instance].len() as u64)),
            outputs,
            done,
            ..Effects::default()
        };
        self.log.apply(Slot(index), effects);
        if done {
            self.batches.remove(&index);
            self.last_done.insert(instance, self.stored.len());
        } else {
            self.batches.insert(index, (batch, to));
        }
        true
    }

    fn die(&mut self, index: usize) {
        if let Some((batch, at)) = self.batches.remove(&index)
            && at == 0
        {
            // No packet of the batch was finished: the next batch tells of the same gap.
            let _ = batch;
        }
        self.log.set_ready(Slot(index), false);
        self.log.set_ready(Slot(index), true);
    }

    /// Applies a commit as a store does.
    fn store(&mut self, commit: &Commit) {
        assert_eq!((commit.epoch, commit.number), (self.record.epoch, self.record.commit + 1));
        (self.record.commit, self.record.reserved, self.record.status) =
            (commit.number, commit.reserved, commit.status);
        self.stored.extend(commit.packets.iter().cloned());
        for row in commit.instances.clone() {
            let stored = self.rows.entry(row.instance.clone()).or_insert(row.clone());
            assert!(stored.cursor <= row.cursor, "a cursor never goes back");
            let state = row.state.clone().or(stored.state.take());
            *stored = crate::store::InstanceRecord { state, ..row };
        }
    }

    fn commit(&mut self) -> bool {
        if let Some(commit) = self.in_flight.take() {
            self.store(&commit);
            let committed = self.log.committed();
            assert_eq!(committed.packets, commit.packets);
            self.seqs.reserved(committed.reserved);
            return true;
        }
        let Some((commit, unwritable)) = self.log.next_commit(self.seqs.wanted()) else { return false };
        assert!(unwritable.is_empty());
        self.in_flight = Some(commit);
        true
    }

    fn settle(&mut self) {
        loop {
            let mut moved = false;
            for index in 0..SOURCES.len() {
                moved |= self.deliver(index);
                moved |= self.work(index, 3);
            }
            moved |= self.commit();
            if !moved {
                return;
            }
        }
    }

    fn end(&mut self) {
        self.log.end(lifecycle(self.seqs.internal(), &Lifecycle::Ending));
    }

    fn finish(&mut self) {
        if self.log.status() == MeetingStatus::Running {
            self.end();
        }
        self.settle();
        if self.log.status() == MeetingStatus::Ending {
            assert!(self.log.is_finished(), "all instances are done: {:?}", self.log);
            self.log.ended(lifecycle(self.seqs.internal(), &Lifecycle::Ended));
        }
        self.settle();
    }

    fn walk(&mut self, steps: &[Step]) {
        for step in steps {
            self.step(step);
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Publish(_) if self.log.status() != MeetingStatus::Running => {}
            Step::Publish(volatile) => self.publish(if volatile { "v" } else { "x" }),
            Step::Deliver(index) => {
                self.deliver(index);
            }
            Step::Work(index, count) => {
                self.work(index, count);
            }
            Step::Die(index) => self.die(index),
            Step::Commit => {
                self.commit();
            }
        }
    }

    /// Checks what must hold at the end.
    fn check(&self) {
        self.check_stored();
        let seen = self.handled[&name("early")].iter().filter(|p| p.source == "v").count() as u64;
        let gap = self.gaps.get(&name("early")).copied().unwrap_or(0);
        let published = self.published.iter().filter(|p| p.source == "v").count() as u64;
        assert_eq!(seen + gap, published, "every volatile packet is seen or counted");
    }

    /// Checks what must hold at the end if owners changed: volatile packets may be lost with an owner.
    fn check_stored(&self) {
        let seqs: Vec<Seq> = self.stored.iter().map(|p| p.seq).collect();
        assert!(seqs.is_sorted() && seqs.iter().collect::<BTreeSet<_>>().len() == seqs.len());
        for (instance, sources) in SOURCES {
            let handled = &self.handled[&name(instance)];
            let durable: Vec<Seq> = handled
                .iter()
                .filter(|p| p.source != "v" && p.source != Lifecycle::SOURCE)
                .map(|p| p.seq)
                .collect();
            let wanted: Vec<Seq> =
                self.stored.iter().filter(|p| sources.contains(&p.source.as_str())).map(|p| p.seq).collect();
            assert_eq!(durable, wanted, "{instance} sees every durable packet once and in order");
            let outputs: Vec<&Vec<Seq>> =
                self.stored.iter().filter(|p| p.source == *instance).map(|p| &p.causes).collect();
            let causes: Vec<Vec<Seq>> = wanted.iter().map(|seq| vec![*seq]).collect();
            assert_eq!(outputs, causes.iter().collect::<Vec<_>>(), "{instance} makes one output of each");
            let ends = handled.iter().filter(|p| p.source == Lifecycle::SOURCE).count();
            assert_eq!(ends, 2, "{instance} starts once and ends once");
            assert_eq!(handled[0].source, Lifecycle::SOURCE, "{instance} starts before all else");
            assert_eq!(handled.last().unwrap().source, Lifecycle::SOURCE, "{instance} ends after all else");
            let row = &self.rows[&name(instance)];
            assert_eq!(row.status, InstanceStatus::Finished);
        }
        let external = self.published.iter().filter(|p| p.source != "v").map(|p| p.seq);
        let stored = self.stored.iter().filter(|p| p.source == "x").map(|p| p.seq);
        assert!(external.eq(stored), "every durable packet is stored, in order");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Publish(bool),
    Deliver(usize),
    Work(usize, usize),
    Die(usize),
    Commit,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => any::<bool>().prop_map(Step::Publish),
        3 => (0..3_usize).prop_map(Step::Deliver),
        3 => (0..3_usize, 1..4_usize).prop_map(|(i, n)| Step::Work(i, n)),
        1 => (0..3_usize).prop_map(Step::Die),
        2 => Just(Step::Commit),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn every_packet_once_in_order_whatever_happens(steps in steps()) {
        let mut world = World::new();
        world.walk(&steps);
        world.settle();
        world.finish();
        world.check();
        prop_assert_eq!(world.log.status(), MeetingStatus::Ended);
        prop_assert_eq!(world.log.tail_bytes(), 0);
    }

    #[test]
    fn the_tail_stays_in_its_bound(count in 1..200_usize) {
        let mut world = World::new();
        for _ in 0..count {
            world.publish("v");
        }
        // The `start` packet is durable and not stored yet: it comes on top.
        prop_assert!(world.log.tail_bytes() <= LIMITS.tail_bytes + started(Seq(1)).cost());
    }
}

#[test]
fn stored_packets_leave_the_tail_and_are_read_back() {
    let mut world = World::new();
    for _ in 0..100 {
        world.publish("x");
    }
    while world.commit() {}
    assert!(world.log.tail_bytes() <= LIMITS.tail_bytes);
    assert!(matches!(world.log.deliver(Slot(0)), Delivery::Fetch(_)));
    world.log.fetch_failed(Slot(0));
    world.settle();
    world.finish();
    world.check();
}

#[test]
fn a_commit_is_a_prefix_and_no_update_is_split() {
    let mut world = World::new();
    for _ in 0..3 {
        world.publish("x");
    }
    world.deliver(0);
    world.work(0, 4);
    let (commit, _) = world.log.next_commit(Seq(Sequencer::BLOCK)).unwrap();
    assert!(world.log.next_commit(Seq(Sequencer::BLOCK)).is_none(), "one at a time");
    let seqs: Vec<u64> = commit.packets.iter().map(|p| p.seq.0).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6, 7]);
    let early = commit.instances.iter().find(|row| row.instance == "early").unwrap();
    assert_eq!((early.cursor, early.state.as_deref()), (Seq(4), Some("4")));
}

#[test]
fn a_cursor_alone_may_wait() {
    let mut world = World::new();
    world.settle();
    world.publish("v");
    assert_eq!(world.log.due(Seq(Sequencer::BLOCK)), Due::Nothing, "a volatile packet is not stored");
    world.deliver(0);
    world.work(0, 1);
    assert_eq!(world.log.due(Seq(Sequencer::BLOCK)), Due::Soon);
    assert_eq!(world.log.due(Seq(Sequencer::BLOCK + 1)), Due::Now, "a reservation may not wait");
    world.publish("x");
    assert_eq!(world.log.due(Seq(Sequencer::BLOCK)), Due::Now);
}

#[test]
fn no_instance_gets_a_batch_while_the_backlog_is_full() {
    let mut world = World::new();
    world.log.limits.backlog_bytes = 1_000;
    for _ in 0..10 {
        world.publish("x");
    }
    assert!(!world.deliver(0), "{} bytes are queued for the store", world.log.queue.bytes());
    while world.commit() {}
    assert!(world.deliver(0));
    world.settle();
    world.finish();
    world.check();
}

#[test]
fn what_was_read_for_an_instance_waits_too_while_the_backlog_is_full() {
    let mut world = World::new();
    // More than the tail holds, all of it stored: the instance reads it from the store.
    for _ in 0..400 {
        world.publish("x");
        while world.commit() {}
    }
    let Delivery::Fetch(fetch) = world.log.deliver(Slot(0)) else { panic!("the tail has it all") };
    world.log.limits.backlog_bytes = 1_000;
    for _ in 0..10 {
        world.publish("x");
    }
    let read = world.stored.iter().filter(|packet| packet.seq >= fetch.from && packet.seq <= fetch.to);
    let read = read.cloned().collect();
    assert_eq!(world.log.fetched(Slot(0), &fetch, read), Delivery::Idle);
    while world.commit() {}
    assert!(world.deliver(0), "it is read again");
    world.settle();
    world.finish();
    world.check();
}

#[test]
fn an_instance_ends_after_those_that_feed_it() {
    let mut world = World::new();
    world.settle();
    world.end();
    assert!(!world.deliver(1), "relay waits for early");
    assert!(!world.deliver(2), "late waits for relay");
    assert!(world.deliver(0));
    assert!(!world.deliver(1), "early has its end, and has not finished with it");
    world.work(0, 1);
    assert!(world.deliver(1));
    assert!(!world.log.is_finished());
    world.settle();
    assert!(world.log.is_finished());
}

#[test]
fn a_commit_keeps_the_newest_state_though_a_later_update_has_none() {
    let mut world = World::new();
    world.settle();
    let update = |state: Option<u64>, key: &str| Effects {
        cursor: Seq(1),
        state: state.map(StateRef::new),
        keys: vec![(key.to_owned(), None)],
        ..Effects::default()
    };
    for (state, key) in [(Some(1), "a"), (Some(2), "b"), (None, "c")] {
        world.log.apply(Slot(1), update(state, key));
    }
    let (commit, _) = world.log.next_commit(Seq(Sequencer::BLOCK)).unwrap();
    assert_eq!(commit.instances.len(), 1);
    assert_eq!(commit.instances[0].state.as_deref(), Some("2"));
    assert_eq!(commit.keys.len(), 3);
}

#[test]
fn a_state_whose_serialize_panics_is_named() {
    struct Bomb;
    impl serde::Serialize for Bomb {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            panic!("as asked")
        }
    }
    let error = StateRef::new(Bomb).to_json().unwrap_err();
    assert_eq!(error.to_string(), "the state's Serialize panicked");
}

#[test]
fn one_commit_holds_the_rows_of_so_many_instances() {
    let mut world = World::new();
    world.settle();
    for n in 0..40 {
        let seq = world.seqs.internal();
        let state = StateRef::new(n);
        world.log.join(subscription(&format!("i{n}"), &[]), state, JoinAt::Now, joins(seq, &format!("i{n}")));
    }
    let (commit, _) = world.log.next_commit(Seq(Sequencer::BLOCK)).unwrap();
    assert!(commit.instances.len() <= 16, "{}", commit.instances.len());
    world.in_flight = Some(commit);
    while world.commit() {}
    assert_eq!(world.rows.len(), 43);
}

/// Commits everything. Returns how many packets and states each commit has.
fn parts(log: &mut MeetingLog) -> Vec<(usize, usize)> {
    let next = || {
        let (commit, _) = log.next_commit(Seq(Sequencer::BLOCK))?;
        log.committed();
        let states = commit.instances.iter().filter(|instance| instance.state.is_some());
        Some((commit.packets.len(), states.count()))
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn what_is_large_is_committed_in_parts() {
    let mut world = World::new();
    world.settle();
    for _ in 0..40 {
        let small = packet(world.seqs.external().unwrap(), "x", vec![]);
        let large = DataPacket { payload: Payload::Bytes(vec![7; 100_000].into()), ..(*small).clone() };
        world.log.append(Append::new(Arc::new(large), Durability::Durable, true));
    }
    assert_eq!(parts(&mut world.log), [(11, 0), (11, 0), (11, 0), (7, 0)], "1 MiB and one packet at most");
    // How large a state is shows when it is written: the second time it is known before.
    for expected in [vec![(0, 3)], vec![(0, 2), (0, 1)]] {
        for slot in world.log.slots() {
            let cursor = world.log.view(slot).cursor;
            let state = Some(StateRef::new("x".repeat(700_000)));
            world.log.apply(slot, Effects { cursor, state, ..Effects::default() });
        }
        assert_eq!(parts(&mut world.log), expected);
    }
}

#[test]
fn a_state_that_is_too_large_is_named() {
    let mut world = World::new();
    world.settle();
    let state = StateRef::new("x".repeat(StateRef::MAX_BYTES));
    world.log.apply(Slot(1), Effects { cursor: Seq(1), state: Some(state), ..Effects::default() });
    let (_, unwritable) = world.log.next_commit(Seq(Sequencer::BLOCK)).unwrap();
    assert_eq!(unwritable[0].1.to_string(), "the state is 1048578 bytes of JSON; the limit is 1048576");
}

#[test]
fn a_joining_instance_begins_now_or_at_the_start() {
    let mut world = World::new();
    for _ in 0..5 {
        world.publish("x");
    }
    world.settle();
    for (instance, from, first) in [("fresh", JoinAt::Now, Seq(0)), ("reader", JoinAt::Start, Seq(1))] {
        let seq = world.seqs.internal();
        let state = StateRef::new(0_u64);
        let slot = world.log.join(subscription(instance, &["x"]), state, from, joins(seq, instance));
        world.log.set_ready(slot, true);
        while world.commit() {}
        world.deliver(slot.index());
        let (batch, _) = &world.batches[&slot.index()];
        let expected = if first == Seq::ZERO { seq } else { first };
        assert_eq!(batch.packets[0].seq, expected, "{instance}");
        let xs = batch.packets.iter().filter(|p| p.source == "x").count();
        assert_eq!(xs, if from == JoinAt::Now { 0 } else { 3 }, "{instance}");
    }
}

#[test]
fn an_instance_that_leaves_ends_there_and_may_come_back() {
    let mut world = World::new();
    world.publish("x");
    let seq = world.seqs.internal();
    let slot = world.log.slot("late").unwrap();
    world.log.leave(slot, lifecycle(seq, &Lifecycle::Leave { instance: name("late") }));
    world.publish("x");
    world.settle();
    assert_eq!(world.log.view(slot).status, InstanceStatus::Left);
    let handled: Vec<Seq> = world.handled[&name("late")].iter().map(|p| p.seq).collect();
    assert_eq!(handled, [Seq(1), Seq(2), seq], "no packet behind its leave");

    let seq = world.seqs.internal();
    let rejoined =
        world.log.join(subscription("late", &["x"]), StateRef::new(0_u64), JoinAt::Now, joins(seq, "late"));
    assert_eq!(rejoined, slot);
    assert_eq!(world.log.view(slot).state.to_json().unwrap(), "3", "it goes on with its state");
    world.log.set_ready(slot, true);
    world.publish("x");
    world.settle();
    let handled = &world.handled[&name("late")];
    assert_eq!(handled[handled.len() - 2].seq, seq);
}

#[test]
fn a_packet_that_kills_is_given_up_and_the_next_comes() {
    let mut world = World::new();
    for _ in 0..3 {
        world.publish("x");
    }
    let slot = Slot(0);
    world.deliver(0);
    world.work(0, 2);
    assert_eq!(world.log.count_try(slot, Seq(3)), 1);
    world.die(0);
    world.deliver(0);
    assert_eq!(world.batches[&0].0.tried, Some((Seq(3), 1)));
    assert_eq!(world.log.count_try(slot, Seq(3)), 2);
    world.die(0);
    let dead_letter = DeadLetter {
        instance: name("early"),
        seq: Seq(3),
        source: name("x"),
        tries: 2,
        error: "it panicked".to_owned(),
        at: Timestamp::UNIX_EPOCH,
    };
    assert_eq!(world.log.packet_in_flight(slot, Seq(3)).unwrap().source, "x");
    world.log.give_up(slot, Seq(3), Some(dead_letter.clone()));
    world.deliver(0);
    assert_eq!(world.batches[&0].0.packets[0].seq, Seq(4));
    assert_eq!(world.batches[&0].0.tried, None);
    let (commit, _) = world.log.next_commit(Seq(Sequencer::BLOCK)).unwrap();
    assert_eq!(commit.dead_letters, [dead_letter]);
}

#[test]
fn the_log_decides_about_an_actor_that_failed() {
    let policy = FailurePolicy {
        tries: 2,
        retry: Backoff::new(Duration::ZERO, Duration::ZERO),
        intensity: 2,
        within: Duration::from_mins(1),
        restart: Backoff::new(Duration::from_secs(1), Duration::from_secs(8)),
    };
    let mut world = World::new();
    world.publish("x");
    let slot = Slot(0);
    let restart = |seconds| RestartDecision::RestartAfter(Duration::from_secs(seconds));
    let failed = |world: &mut World, seq: Option<Seq>| {
        world.batches.remove(&0);
        world.log.actor_failed(slot, seq, Duration::from_secs(5), &policy)
    };
    world.deliver(0);
    world.work(0, 1);
    assert_eq!(failed(&mut world, Some(Seq(2))), Some(ActorDecision { give_up: None, restart: restart(1) }));
    assert!(!world.deliver(0), "its actor failed");
    world.log.set_ready(slot, true);
    world.deliver(0);
    let batch = &world.batches[&0].0;
    assert_eq!((batch.tries_of(Seq(2)), batch.tries_of(Seq(1))), (1, 0));
    let decision = failed(&mut world, Some(Seq(2)));
    assert_eq!(decision, Some(ActorDecision { give_up: Some(2), restart: restart(2) }));
    world.log.give_up(slot, Seq(2), None);
    assert_eq!(world.log.view(slot).cursor, Seq(2));
    let decision = failed(&mut world, None);
    assert_eq!(decision, Some(ActorDecision { give_up: None, restart: RestartDecision::Suspend }));
    world.log.suspend(slot);
    assert_eq!(failed(&mut world, Some(Seq(3))), None, "it is not active any more");
    world.log.reinstate(slot, packet(world.seqs.internal(), "plugin-status", vec![]));
    let decision = failed(&mut world, None);
    assert_eq!(
        decision,
        Some(ActorDecision { give_up: None, restart: restart(1) }),
        "it has all its restarts"
    );
}

#[test]
fn a_suspended_instance_gets_nothing_and_does_not_hold_up_the_end() {
    let mut world = World::new();
    world.publish("x");
    world.log.suspend(Slot(0));
    world.settle();
    assert!(!world.handled.contains_key(&name("early")));
    world.end();
    world.settle();
    assert!(world.log.is_finished());
    assert_eq!(world.rows[&name("early")].status, InstanceStatus::Suspended);
}

#[test]
fn a_state_without_a_json_form_is_named_and_stored_without() {
    let mut world = World::new();
    world.settle();
    let state: BTreeMap<(u8, u8), u8> = [((1, 2), 3)].into();
    let effects = Effects { cursor: Seq(1), state: Some(StateRef::new(state)), ..Effects::default() };
    world.log.apply(Slot(1), effects);
    let (commit, unwritable) = world.log.next_commit(Seq(Sequencer::BLOCK)).unwrap();
    assert_eq!(unwritable[0].0, Slot(1));
    assert_eq!(commit.instances[0].state, None);
}

#[test]
fn one_tick_waits_at_a_time() {
    let mut world = World::new();
    world.settle();
    assert!(world.log.can_tick(Slot(1)));
    world.log.tick(Slot(1), packet(world.seqs.internal(), Tick::SOURCE, vec![]));
    assert!(!world.log.can_tick(Slot(1)));
    world.settle();
    assert!(world.log.can_tick(Slot(1)));
    assert_eq!(world.handled[&name("relay")].iter().filter(|p| p.source == Tick::SOURCE).count(), 1);
    assert_eq!(world.handled[&name("early")].iter().filter(|p| p.source == Tick::SOURCE).count(), 0);
}
