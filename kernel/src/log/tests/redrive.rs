//! Redrives.

use super::*;

/// A meeting of one instance that takes `x`, and what is stored of it.
struct World {
    log: MeetingLog,
    seqs: Sequencer,
    record: MeetingRecord,
    stored: Vec<Arc<DataPacket>>,
    row: Option<crate::store::InstanceRecord>,
    /// The stored dead letters.
    letters: BTreeSet<Seq>,
    /// The packets that hooks ran on, each with the cursor of its effects.
    runs: Vec<(Seq, Seq)>,
}

const SLOT: Slot = Slot(0);

impl World {
    fn new() -> Self {
        let metadata = MeetingMetadata::new(MeetingId::new("m").unwrap());
        let record =
            MeetingRecord::first(metadata, Vec::new(), Seq(Sequencer::BLOCK), jiff::Timestamp::UNIX_EPOCH);
        let mut seqs = Sequencer::new(Seq(1), record.reserved);
        let mut log = MeetingLog::new(&record, Seq::ZERO, LIMITS);
        let start = lifecycle(
            seqs.internal(),
            &Lifecycle::Start { instances: vec![name("one")], setups: std::collections::BTreeMap::new() },
        );
        log.start(start, [(subscription("one", &["x"]), StateRef::new(0_u64))]);
        log.set_ready(SLOT, true);
        let (stored, row, letters, runs) = (vec![], None, BTreeSet::new(), vec![]);
        let mut world = Self { log, seqs, record, stored, row, letters, runs };
        world.settle(|_| true);
        world
    }

    fn publish(&mut self) -> Seq {
        let packet = packet(self.seqs.external().unwrap(), "x", vec![]);
        self.log.append(Append::new(packet.clone(), Durability::Durable, true));
        packet.seq
    }

    fn redrive(&mut self, seq: Seq) -> Seq {
        self.log.can_redrive(SLOT, seq).unwrap();
        let at = self.seqs.internal();
        self.log.redrive(SLOT, lifecycle(at, &Lifecycle::Redrive { instance: name("one"), seq }), seq);
        at
    }

    fn find(&self, seq: Seq) -> Option<Arc<DataPacket>> {
        self.stored.iter().find(|packet| packet.seq == seq).cloned()
    }

    fn deliver(&mut self) -> Option<Batch> {
        let mut delivery = self.log.deliver(SLOT);
        loop {
            delivery = match delivery {
                Delivery::Idle => return None,
                Delivery::Batch(batch) => return Some(batch),
                Delivery::Redrive(redrive) => self.log.redriven(SLOT, redrive, self.find(redrive.seq)),
                Delivery::Fetch(fetch) => {
                    let wanted = |p: &&Arc<DataPacket>| {
                        (fetch.from..=fetch.to).contains(&p.seq) && fetch.sources.contains(&p.source)
                    };
                    let packets = self.stored.iter().filter(wanted).take(fetch.limit).cloned().collect();
                    self.log.fetched(SLOT, &fetch, packets)
                }
            }
        }
    }

    /// Runs hooks that end well on the packets that `ends_well` accepts; others are given up at once.
    fn work(&mut self, mut ends_well: impl FnMut(Seq) -> bool) -> bool {
        let Some(batch) = self.deliver() else { return false };
        for packet in batch.packets.iter() {
            let cursor = batch.redriven_at.unwrap_or(packet.seq);
            let well = ends_well(packet.seq);
            self.runs.push((packet.seq, cursor));
            let dead_letters =
                (!well).then(|| DeadLetter::new(name("one"), packet, 1, "as asked", Timestamp::UNIX_EPOCH));
            let outputs = well
                .then(|| super::packet(self.seqs.internal(), "one", vec![packet.seq]))
                .into_iter()
                .collect();
            self.log.apply(
                SLOT,
                Effects {
                    cursor,
                    outputs,
                    redriven: batch.redriven_at.filter(|_| well).map(|_| packet.seq),
                    dead_letters: dead_letters.into_iter().collect(),
                    done: packet.seq == batch.packets.last().unwrap().seq,
                    ..Effects::default()
                },
            );
        }
        true
    }

    fn commit(&mut self) -> bool {
        let Some((commit, _)) = self.log.next_commit(self.seqs.wanted()) else { return false };
        (self.record.commit, self.record.status) = (commit.number, commit.status);
        self.stored.extend(commit.packets);
        self.row = commit.instances.into_iter().next().or(self.row.take());
        self.letters.extend(commit.dead_letters.iter().map(|letter| letter.seq));
        for (_, seq) in commit.redriven {
            self.letters.remove(&seq);
        }
        self.seqs.reserved(self.log.committed().reserved);
        true
    }

    fn settle(&mut self, mut ends_well: impl FnMut(Seq) -> bool) {
        while self.work(&mut ends_well) | self.commit() {}
    }

    fn end(&mut self, ends_well: impl FnMut(Seq) -> bool) {
        self.log.end(lifecycle(self.seqs.internal(), &Lifecycle::Ending));
        self.settle(ends_well);
        self.ended();
    }

    fn ended(&mut self) {
        assert!(self.log.is_finished());
        self.log.ended(lifecycle(self.seqs.internal(), &Lifecycle::Ended));
        self.commit();
        assert_eq!(self.record.status, MeetingStatus::Ended);
    }

    /// A new owner goes on from what is stored.
    fn recover(&mut self) {
        let lifecycle: Vec<_> =
            self.stored.iter().filter(|packet| packet.source == Lifecycle::SOURCE).cloned().collect();
        let rows = self.row.clone().into_iter().collect();
        let stored =
            StoredMeeting::new(self.record.clone(), self.stored.last().cloned().as_slice(), &lifecycle, rows);
        let members = stored.members().into_iter();
        let opened = members.map(|member| (member, subscription("one", &["x"]), StateRef::new(0_u64)));
        self.log = MeetingLog::recover(&stored, LIMITS, opened.collect::<Vec<_>>());
        self.log.set_ready(SLOT, true);
    }

    fn outputs(&self) -> Vec<(Seq, Seq)> {
        let outputs = self.stored.iter().filter(|packet| packet.source == "one");
        outputs.map(|packet| (packet.seq, packet.causes[0])).collect()
    }
}

#[test]
fn a_redriven_packet_is_delivered_again_and_its_dead_letter_is_removed() {
    let mut world = World::new();
    let bad = world.publish();
    let good = world.publish();
    world.settle(|seq| seq != bad);
    assert_eq!(world.letters, [bad].into());
    let at = world.redrive(bad);
    assert_eq!(world.log.can_redrive(SLOT, bad), Err(RedriveError::Underway));
    let next = world.publish();
    world.settle(|_| true);
    assert!(world.letters.is_empty(), "it is removed with the effects");
    assert_eq!(world.runs[1..], [(bad, bad), (good, good), (bad, at), (next, next)]);
    let causes: Vec<_> = world.outputs().into_iter().map(|(_, cause)| cause).collect();
    assert_eq!(causes[1..], [good, bad, next], "once, and in the order of the log");
    world.end(|_| true);
}

#[test]
fn a_redriven_packet_that_fails_stays_a_dead_letter_and_can_be_redriven_again() {
    let mut world = World::new();
    let bad = world.publish();
    world.settle(|seq| seq != bad);
    world.redrive(bad);
    world.settle(|seq| seq != bad);
    assert_eq!(world.letters, [bad].into());
    world.redrive(bad);
    world.settle(|_| true);
    assert!(world.letters.is_empty());
}

#[test]
fn a_redriven_packet_whose_actor_failed_is_sent_again() {
    let mut world = World::new();
    let bad = world.publish();
    world.settle(|seq| seq != bad);
    let at = world.redrive(bad);
    let batch = world.deliver().unwrap();
    assert_eq!((batch.packets[0].seq, batch.redriven_at), (bad, Some(at)));
    world.log.set_ready(SLOT, false);
    assert_eq!(world.log.count_try(SLOT, bad), 1);
    world.log.set_ready(SLOT, true);
    let resent = world.deliver().unwrap();
    assert_eq!((resent.packets, resent.redriven_at, resent.tried), (batch.packets, Some(at), Some((bad, 1))));
}

#[test]
fn a_new_owner_goes_on_with_a_redrive_and_does_none_twice() {
    let mut world = World::new();
    let bad = world.publish();
    world.settle(|seq| seq != bad);
    let at = world.redrive(bad);
    while world.commit() {}
    world.recover();
    assert_eq!(world.log.can_redrive(SLOT, bad), Err(RedriveError::Underway));
    world.settle(|_| true);
    assert_eq!(world.runs.last(), Some(&(bad, at)));
    assert!(world.letters.is_empty());
    let outputs = world.outputs().len();
    world.recover();
    world.settle(|_| true);
    assert_eq!(world.outputs().len(), outputs, "the redrive is done");
}

#[test]
fn a_meeting_that_had_ended_is_opened_for_it_and_ends_again() {
    for crash in [false, true] {
        let mut world = World::new();
        let bad = world.publish();
        world.settle(|seq| seq != bad);
        world.end(|_| true);
        let runs = world.runs.len();
        world.recover();
        assert_eq!(world.log.status(), MeetingStatus::Ended);
        let at = world.redrive(bad);
        if crash {
            while world.commit() {}
            assert_eq!(world.record.status, MeetingStatus::Ending);
            world.recover();
        }
        assert_eq!(world.log.status(), MeetingStatus::Ending);
        world.settle(|_| true);
        assert_eq!(world.runs[runs..], [(bad, at)], "its end does not run again");
        assert!(world.letters.is_empty());
        world.ended();
        assert_eq!(world.row.as_ref().unwrap().status, InstanceStatus::Finished);
    }
}

#[test]
fn an_end_that_was_given_up_can_be_redriven() {
    let mut world = World::new();
    world.publish();
    world.settle(|_| true);
    let before = world.runs.len();
    world.end(|_| false);
    let (ending, _) = world.runs[before];
    assert_eq!(world.letters, [ending].into());
    world.recover();
    world.redrive(ending);
    world.settle(|_| true);
    assert!(world.letters.is_empty());
    assert_eq!(world.outputs().last().unwrap().1, ending);
    world.ended();
}

#[test]
fn a_reinstated_instance_goes_on_from_its_cursor() {
    let mut world = World::new();
    let first = world.publish();
    world.log.suspend(SLOT);
    let second = world.publish();
    while world.commit() {}
    assert!(world.log.can_redrive(SLOT, first) == Err(RedriveError::Suspended));
    let packet = packet(world.seqs.internal(), "plugin-status", vec![]);
    world.log.reinstate(SLOT, packet);
    world.log.set_ready(SLOT, true);
    world.settle(|_| true);
    let seen: Vec<_> = world.runs[1..].iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seen, [first, second]);
    assert_eq!(world.row.as_ref().unwrap().status, InstanceStatus::Active);
}

#[test]
fn a_redriven_packet_that_kills_again_is_given_up_and_stays_a_dead_letter() {
    let mut world = World::new();
    let bad = world.publish();
    world.settle(|seq| seq != bad);
    let at = world.redrive(bad);
    let batch = world.deliver().unwrap();
    // Its actors fail on the packet until its tries are used up.
    world.log.set_ready(SLOT, false);
    world.log.count_try(SLOT, bad);
    let letter = DeadLetter::new(name("one"), &batch.packets[0], 3, "it panicked", Timestamp::UNIX_EPOCH);
    world.log.give_up(SLOT, bad, Some(letter));
    world.log.set_ready(SLOT, true);
    let runs = world.runs.len();
    let next = world.publish();
    world.settle(|_| true);
    assert_eq!(world.runs[runs..], [(next, next)], "it is not delivered again");
    assert!(world.log.view(SLOT).cursor >= at);
    assert_eq!(world.letters, [bad].into());
    world.redrive(bad);
    world.settle(|_| true);
    assert!(world.letters.is_empty());
}

#[test]
fn a_redrive_is_under_way_until_it_is_stored() {
    let mut world = World::new();
    let bad = world.publish();
    world.settle(|seq| seq != bad);
    let at = world.redrive(bad);
    assert!(!world.log.is_redriven(SLOT, at));
    while world.work(|_| true) {}
    assert_eq!(world.letters, [bad].into(), "the commit is not stored");
    assert_eq!(world.log.can_redrive(SLOT, bad), Err(RedriveError::Underway));
    assert!(!world.log.is_redriven(SLOT, at));
    while world.commit() {}
    assert_eq!(world.log.can_redrive(SLOT, bad), Ok(()));
    assert!(world.log.is_redriven(SLOT, at));
}

#[test]
fn an_end_that_is_under_way_comes_first() {
    let mut world = World::new();
    let bad = world.publish();
    world.settle(|seq| seq != bad);
    world.log.end(lifecycle(world.seqs.internal(), &Lifecycle::Ending));
    let ending = world.deliver().unwrap();
    assert_eq!(world.log.can_redrive(SLOT, bad), Err(RedriveError::Ending));
    let cursor = ending.packets[0].seq;
    world.log.apply(SLOT, Effects { cursor, done: true, ..Effects::default() });
    assert_eq!(world.log.can_redrive(SLOT, bad), Err(RedriveError::Ending), "the meeting has not ended yet");
    world.ended();
    world.recover();
    world.redrive(bad);
    world.settle(|_| true);
    assert!(world.letters.is_empty());
}
