//! Owners that die and new ones that go on: what is stored is a prefix without missing or double packets.

use super::*;

impl World {
    /// The owner dies, and another goes on. The commit in flight is stored or not; its answer is lost.
    fn change_owner(&mut self, in_flight_is_stored: bool) {
        if let Some(commit) = self.in_flight.take().filter(|_| in_flight_is_stored) {
            self.store(&commit);
        }
        self.record.epoch.0 += 1;
        let next = self.record.reserved.next();
        self.record.reserved = Seq(self.record.reserved.0 + Sequencer::BLOCK);
        self.seqs = Sequencer::new(next, self.record.reserved);
        self.batches.clear();
        self.gaps.clear();
        let is_stored = |packet: &Arc<DataPacket>| self.stored.iter().any(|stored| stored.seq == packet.seq);
        self.published.retain(is_stored);
        for (instance, handled) in &mut self.handled {
            let row = self.rows.get(instance);
            let (cursor, status) =
                row.map_or((Seq::ZERO, InstanceStatus::Active), |row| (row.cursor, row.status));
            handled.retain(|packet| {
                let is_ending = Lifecycle::from_payload(&packet.payload) == Some(Lifecycle::Ending);
                packet.seq <= cursor && (!is_ending || status == InstanceStatus::Finished)
            });
        }
        let stored = self.found();
        if stored.is_started() {
            let opened = stored.members().into_iter().map(|member| {
                let (_, sources) = SOURCES.iter().find(|(instance, _)| member.name == **instance).unwrap();
                let subscription = subscription(member.name.as_str(), sources);
                let state: u64 = member.state.as_deref().map_or(0, |json| json.parse().unwrap());
                (member, subscription, StateRef::new(state))
            });
            self.log = MeetingLog::recover(&stored, LIMITS, opened.collect::<Vec<_>>());
        } else {
            self.log = MeetingLog::new(&self.record, Seq::ZERO, LIMITS);
            let start = started(self.seqs.internal());
            let instances = SOURCES.iter().map(|(i, s)| (subscription(i, s), StateRef::new(0_u64)));
            self.log.start(start, instances.collect::<Vec<_>>());
        }
        for slot in self.log.slots() {
            self.log.set_ready(slot, true);
        }
    }

    fn found(&self) -> StoredMeeting {
        let lifecycle = self.stored.iter().filter(|packet| packet.source == Lifecycle::SOURCE);
        let lifecycle: Vec<_> = lifecycle.cloned().collect();
        let instances = self.rows.values().cloned().collect();
        StoredMeeting::new(self.record.clone(), self.stored.last().cloned().as_slice(), &lifecycle, instances)
    }

    fn store_all(&mut self) {
        while self.commit() {}
    }
}

proptest! {
    #[test]
    fn every_output_once_whoever_owns_the_meeting(
        owners in prop::collection::vec((steps(), any::<bool>()), 1..5),
        ending in steps(),
        is_stored in any::<bool>(),
    ) {
        let mut world = World::new();
        for (steps, is_stored) in owners {
            world.walk(&steps);
            world.change_owner(is_stored);
        }
        world.end();
        world.walk(&ending);
        world.change_owner(is_stored);
        world.finish();
        world.check_stored();
        prop_assert_eq!(world.log.status(), MeetingStatus::Ended);
        prop_assert_eq!(world.record.status, MeetingStatus::Ended);
        // An owner of a complete meeting has nothing to do.
        world.change_owner(false);
        prop_assert_eq!(world.log.status(), MeetingStatus::Ended);
        prop_assert!((0..SOURCES.len()).all(|index| !world.deliver(index)));
    }
}

#[test]
fn acknowledged_packets_and_states_survive() {
    let mut world = World::new();
    for _ in 0..10 {
        world.publish("x");
    }
    world.deliver(0);
    world.work(0, 4);
    world.store_all();
    world.publish("x");
    world.change_owner(false);
    let view = world.log.view(Slot(0));
    assert_eq!((view.cursor, view.state.to_json().unwrap().as_str()), (Seq(4), "4"));
    assert_eq!(world.published.len(), 10, "the last one was never stored");
    world.publish("x");
    assert_eq!(world.published[10].seq, Seq(Sequencer::BLOCK + 1), "no seq is used twice");
    world.finish();
    world.check_stored();
}

#[test]
fn a_leaving_instance_leaves_and_a_joined_one_takes_part() {
    let mut world = World::new();
    world.publish("x");
    world.settle();
    let seq = world.seqs.internal();
    let late = world.log.slot("late").unwrap();
    world.log.leave(late, lifecycle(seq, &Lifecycle::Leave { instance: name("late") }));
    world.store_all();
    world.change_owner(false);
    assert!(world.log.view(late).is_leaving);
    world.settle();
    assert_eq!(world.log.view(late).status, InstanceStatus::Left);

    let seq = world.seqs.internal();
    let state = StateRef::new(0_u64);
    world.log.join(subscription("late", &["x"]), state, JoinAt::Now, joins(seq, "late"));
    world.store_all();
    world.change_owner(false);
    let view = world.log.view(late);
    assert_eq!((view.status, view.cursor, view.is_leaving), (InstanceStatus::Active, seq.previous(), false));
    assert!(world.deliver(late.index()));
    assert_eq!(world.batches[&late.index()].0.packets[0].seq, seq, "its start comes before all else");
}

#[test]
fn an_instance_that_joined_at_the_start_still_reads_from_there() {
    let mut world = World::new();
    world.publish("x");
    world.settle();
    // If a commit's bound split the packet from the row, the new owner would not know where it begins.
    let seq = world.seqs.internal();
    let subscription = subscription("relay2", &["x"]);
    let slot = world.log.join(subscription, StateRef::new(0_u64), JoinAt::Start, joins(seq, "relay2"));
    let (commit, _) = world.log.next_commit(world.seqs.wanted()).unwrap();
    let row = commit.instances.iter().find(|row| row.instance == "relay2").unwrap();
    assert_eq!((row.joined, row.cursor), (Seq(1), Seq(0)));
    assert!(commit.packets.iter().any(|packet| packet.seq == seq));
    assert_eq!(world.log.view(slot).cursor, Seq(0));
}

#[test]
fn a_suspended_instance_stays_so_and_keeps_its_state() {
    let mut world = World::new();
    world.publish("x");
    world.settle();
    world.log.suspend(Slot(0));
    world.store_all();
    world.change_owner(false);
    assert_eq!(world.log.view(Slot(0)).status, InstanceStatus::Suspended);
    assert!(!world.deliver(0));
    assert_eq!(world.rows[&name("early")].state.as_deref(), Some("2"));
}

#[test]
fn a_meeting_whose_start_is_not_stored_is_started_again() {
    let mut world = World::new();
    world.publish("x");
    assert!(!world.found().is_started());
    assert_eq!(world.found().status(), MeetingStatus::Running);
    world.change_owner(false);
    world.finish();
    world.check_stored();
}

#[test]
fn a_commit_that_is_cut_forgets_neither_members_nor_the_end() {
    // More instances than one commit takes rows of.
    let mut world = World::new();
    let names: Vec<String> = (0..40).map(|n| format!("i{n}")).collect();
    let instances = names.iter().map(|instance| name(instance)).collect();
    world.log = MeetingLog::new(&world.record, Seq::ZERO, LIMITS);
    let start = lifecycle(Seq(1), &Lifecycle::Start { instances, setups: std::collections::BTreeMap::new() });
    let subscribed = names.iter().map(|instance| (subscription(instance, &["x"]), StateRef::new(0_u64)));
    world.log.start(start, subscribed.collect::<Vec<_>>());
    world.commit();
    world.commit();
    assert_eq!(world.rows.len(), 16);
    let stored = world.found();
    let members = stored.members();
    assert_eq!(members.len(), 40);
    let opened = members.into_iter().map(|member| {
        let subscription = subscription(member.name.as_str(), &["x"]);
        (member, subscription, StateRef::new(0_u64))
    });
    world.log = MeetingLog::recover(&stored, LIMITS, opened.collect::<Vec<_>>());
    for slot in world.log.slots() {
        world.log.set_ready(slot, true);
    }
    assert!((0..40).all(|index| world.deliver(index)), "each gets the start, with a row or without");
    assert!(world.batches.values().all(|(batch, _)| batch.packets[0].seq == Seq(1)));
    world.store_all();
    assert_eq!(world.rows.len(), 40);

    // The `ending` packet is the last item that fits; the status comes with the next commit.
    let mut world = World::new();
    (0..254).for_each(|_| world.publish("x"));
    world.end();
    world.commit();
    world.commit();
    assert_eq!((world.stored.len(), world.record.status), (256, MeetingStatus::Running));
    world.change_owner(false);
    assert_eq!(world.log.status(), MeetingStatus::Ending);
    world.store_all();
    assert_eq!(world.record.status, MeetingStatus::Ending);
    world.finish();
    world.check_stored();
}

#[test]
fn an_ended_instance_ends_once_though_its_batch_was_not_done() {
    let mut world = World::new();
    world.settle();
    world.end();
    assert!(world.deliver(0));
    let (batch, _) = world.batches.remove(&0).unwrap();
    let cursor = batch.packets[0].seq;
    let output = packet(world.seqs.internal(), "early", vec![cursor]);
    // Its timers come first, and those effects do not end it, wherever its cursor is.
    world.log.apply(Slot(0), Effects { cursor, state: Some(StateRef::new(1_u64)), ..Effects::default() });
    assert_eq!(world.log.view(Slot(0)).status, InstanceStatus::Active);
    let update = Effects { cursor, outputs: vec![output], holds_end: true, ..Effects::default() };
    world.log.apply(Slot(0), update);
    world.store_all();
    world.change_owner(false);
    assert_eq!(world.log.view(Slot(0)).status, InstanceStatus::Finished);
    world.settle();
    let outputs = world.stored.iter().filter(|packet| packet.source == "early").count();
    assert_eq!(outputs, 1, "the end's hook makes one output");

    let mut world = World::new();
    world.settle();
    let seq = world.seqs.internal();
    world.log.leave(Slot(2), lifecycle(seq, &Lifecycle::Leave { instance: name("late") }));
    assert!(world.deliver(2));
    world.batches.clear();
    world.log.apply(Slot(2), Effects { cursor: seq, done: false, ..Effects::default() });
    world.store_all();
    world.change_owner(false);
    assert_eq!(world.log.view(Slot(2)).status, InstanceStatus::Left);
}
