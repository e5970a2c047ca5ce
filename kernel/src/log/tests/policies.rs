//! Packets for an instance that is busy: with every policy, each lost one is counted.

use super::*;
use crate::plugin::Key;

/// The sources: `d` is durable, `v` is volatile.
const SOURCES: [&str; 2] = ["d", "v"];

fn by(seq: Seq, source: &str, speaker: u8) -> Arc<DataPacket> {
    let packet = packet(seq, source, vec![]);
    Arc::new(DataPacket { participant: Some(speaker.to_string().into()), ..(*packet).clone() })
}

fn policy() -> impl Strategy<Value = DeliveryPolicy> {
    prop_oneof![
        Just(DeliveryPolicy::Spill),
        Just(DeliveryPolicy::DropOldest),
        Just(DeliveryPolicy::Latest(Key::Participant)),
        Just(DeliveryPolicy::Block),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Publish { volatile: bool, speaker: u8 },
    Deliver(usize),
    Done(usize),
    Die(usize),
    Store,
    Squeeze,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (any::<bool>(), 0..4_u8).prop_map(|(volatile, speaker)| Step::Publish { volatile, speaker }),
        3 => (0..3_usize).prop_map(Step::Deliver),
        3 => (0..3_usize).prop_map(Step::Done),
        1 => (0..3_usize).prop_map(Step::Die),
        2 => Just(Step::Store),
        1 => Just(Step::Squeeze),
    ];
    prop::collection::vec(step, 0..300)
}

/// A meeting of three instances that take both sources, each with policies of its own.
struct World {
    log: MeetingLog,
    seqs: Sequencer,
    policies: Vec<[DeliveryPolicy; 2]>,
    published: Vec<Arc<DataPacket>>,
    stored: Vec<Arc<DataPacket>>,
    batches: BTreeMap<usize, Batch>,
    seen: Vec<Vec<Arc<DataPacket>>>,
    gaps: Vec<u64>,
}

impl World {
    fn new(policies: Vec<[DeliveryPolicy; 2]>) -> Self {
        let metadata = MeetingMetadata::new(MeetingId::new("m").unwrap());
        let record =
            MeetingRecord::first(metadata, Vec::new(), Seq(Sequencer::BLOCK), jiff::Timestamp::UNIX_EPOCH);
        let mut seqs = Sequencer::new(Seq(1), record.reserved);
        let mut log = MeetingLog::new(&record, Seq::ZERO, LIMITS);
        let subscriptions = policies.iter().enumerate().map(|(index, policies)| {
            let sources = SOURCES.into_iter().zip(policies.clone());
            (subscribes(&format!("i{index}"), sources), StateRef::new(0_u64))
        });
        log.start(started(seqs.internal()), subscriptions.collect::<Vec<_>>());
        log.slots().for_each(|slot| log.set_ready(slot, true));
        let count = policies.len();
        let (seen, gaps) = (vec![vec![]; count], vec![0; count]);
        let (published, stored, batches) = (vec![], vec![], BTreeMap::new());
        Self { log, seqs, policies, published, stored, batches, seen, gaps }
    }

    fn publish(&mut self, source: &str, speaker: u8) {
        let packet = by(self.seqs.external().unwrap(), source, speaker);
        self.published.push(packet.clone());
        let durability = if source == "v" { Durability::Volatile } else { Durability::Durable };
        self.log.append(Append::new(packet, durability, true));
    }

    fn deliver(&mut self, index: usize) -> bool {
        let slot = Slot(index);
        let mut delivery = self.log.deliver(slot);
        while let Delivery::Fetch(fetch) = &delivery {
            let wanted = |p: &&Arc<DataPacket>| {
                (fetch.from..=fetch.to).contains(&p.seq) && fetch.sources.contains(&p.source)
            };
            let packets = self.stored.iter().filter(wanted).take(fetch.limit).cloned().collect();
            delivery = self.log.fetched(slot, &fetch.clone(), packets);
        }
        let Delivery::Batch(batch) = delivery else { return false };
        self.batches.insert(index, batch);
        true
    }

    fn done(&mut self, index: usize) -> bool {
        let Some(batch) = self.batches.remove(&index) else { return false };
        self.gaps[index] += batch.gap;
        self.seen[index].extend(batch.packets.iter().filter(|p| p.source != Lifecycle::SOURCE).cloned());
        let cursor = batch.packets.last().unwrap().seq;
        self.log.apply(Slot(index), Effects { cursor, done: true, ..Effects::default() });
        true
    }

    fn die(&mut self, index: usize) {
        self.batches.remove(&index);
        self.log.set_ready(Slot(index), false);
        self.log.set_ready(Slot(index), true);
    }

    fn store(&mut self) -> bool {
        let Some((commit, _)) = self.log.next_commit(self.seqs.wanted()) else { return false };
        self.stored.extend(commit.packets);
        self.seqs.reserved(self.log.committed().reserved);
        true
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Publish { volatile, speaker } => {
                // Publishers wait while an instance blocks.
                if !self.log.slots().any(|slot| self.log.is_blocking(slot)) {
                    self.publish(SOURCES[usize::from(volatile)], speaker);
                }
            }
            Step::Deliver(index) => drop(self.deliver(index)),
            Step::Done(index) => drop(self.done(index)),
            Step::Die(index) => self.die(index),
            Step::Store => drop(self.store()),
            Step::Squeeze => self.log.squeeze(),
        }
    }

    fn settle(&mut self) {
        loop {
            let mut moved = self.store();
            for index in 0..self.policies.len() {
                moved |= self.deliver(index);
                moved |= self.done(index);
            }
            if !moved {
                return;
            }
        }
    }

    fn check(&self) {
        for (index, policies) in self.policies.iter().enumerate() {
            let seqs: Vec<_> = self.seen[index].iter().map(|packet| packet.seq).collect();
            assert!(seqs.is_sorted_by(|a, b| a < b), "i{index} sees each packet once and in order: {seqs:?}");
            let published = self.published.len() as u64;
            let gap = self.gaps[index] + self.log.view(Slot(index)).gap;
            let seen = seqs.len() as u64;
            assert_eq!(
                seen + gap,
                published,
                "i{index} is told of every packet that it does not see: {policies:?}"
            );
            for (source, policy) in SOURCES.into_iter().zip(policies) {
                let of = |packets: &[Arc<DataPacket>]| -> Vec<Seq> {
                    packets
                        .iter()
                        .filter(|packet| packet.source == *source)
                        .map(|packet| packet.seq)
                        .collect()
                };
                let (seen, published) = (of(&self.seen[index]), of(&self.published));
                match policy {
                    DeliveryPolicy::Spill if source == "d" => {
                        assert_eq!(seen, published, "i{index} gets all of d");
                    }
                    DeliveryPolicy::Block => assert_eq!(seen, published, "i{index} gets all of {source}"),
                    // Of a volatile source even the newest packet may be dropped to make room for others.
                    DeliveryPolicy::Latest(_) if source == "d" => {
                        for speaker in 0..4_u8 {
                            let speaker = Some(speaker.to_string().into());
                            let last = |packets: &[Arc<DataPacket>]| {
                                let mut of = packets.iter().filter(|p| p.source == *source);
                                of.rfind(|p| p.participant == speaker).map(|p| p.seq)
                            };
                            let (seen, published) = (last(&self.seen[index]), last(&self.published));
                            assert_eq!(seen, published, "i{index} gets the newest of each key of {source}");
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn a_packet_that_is_not_seen_is_counted(
        policies in prop::collection::vec([policy(), policy()], 3),
        steps in steps(),
    ) {
        let mut world = World::new(policies);
        for step in &steps {
            world.step(step);
            let tail = world.log.tail_bytes();
            // Volatile, held and stored packets up to their bounds, one packet more each, and unstored ones.
            let unstored: usize = world.log.unstored(|_| true).iter().map(|packet| packet.cost()).sum();
            prop_assert!(tail <= 2 * LIMITS.tail_bytes + LIMITS.block_bytes + unstored + 2_000, "{tail}");
        }
        world.settle();
        world.check();
    }
}

#[test]
fn the_newest_packet_of_each_key_stays_in_order() {
    let latest = DeliveryPolicy::Latest(Key::Participant);
    let mut world = World::new(vec![[latest.clone(), latest]]);
    world.settle();
    // The first packet is sent at once; those that are appended while the instance is busy are replaced.
    world.publish("v", 1);
    world.deliver(0);
    for speaker in [1, 2, 1, 3, 2, 1] {
        world.publish("v", speaker);
    }
    world.done(0);
    world.deliver(0);
    let batch = &world.batches[&0];
    let order: Vec<_> = batch.packets.iter().map(|p| p.participant.as_deref().unwrap()).collect();
    assert_eq!(order, ["3", "2", "1"]);
    assert_eq!(batch.gap, 3);
    world.settle();
    world.check();
}

#[test]
fn a_flood_of_two_keys_never_pushes_out_a_third() {
    let mut world = World::new(vec![[DeliveryPolicy::Spill, DeliveryPolicy::Latest(Key::Participant)]]);
    world.settle();
    world.publish("v", 0);
    world.deliver(0);
    world.publish("v", 3);
    for speaker in [1, 2].repeat(500) {
        world.publish("v", speaker);
    }
    world.done(0);
    world.deliver(0);
    let order: Vec<_> = world.batches[&0].packets.iter().map(|p| p.participant.as_deref().unwrap()).collect();
    assert_eq!(order, ["3", "1", "2"], "the third key's packet is older than all that fit into memory");
    world.settle();
    world.check();
}

#[test]
fn an_instance_blocks_until_it_has_caught_up_is_suspended_or_the_meeting_ends() {
    let blocking = || vec![[DeliveryPolicy::Spill, DeliveryPolicy::Block]];
    let fill = |world: &mut World| {
        world.settle();
        while !world.log.is_blocking(Slot(0)) {
            world.publish("v", 0);
        }
    };
    let mut world = World::new(blocking());
    fill(&mut world);
    world.deliver(0);
    assert!(world.log.is_blocking(Slot(0)), "packets of the batch in flight count, too");
    world.done(0);
    world.settle();
    assert!(!world.log.is_blocking(Slot(0)));
    world.check();

    fill(&mut world);
    world.log.suspend(Slot(0));
    assert!(!world.log.is_blocking(Slot(0)), "it is suspended");

    let mut world = World::new(blocking());
    fill(&mut world);
    world.log.end(lifecycle(world.seqs.internal(), &Lifecycle::Ending));
    assert!(!world.log.is_blocking(Slot(0)), "the meeting ends");
}
