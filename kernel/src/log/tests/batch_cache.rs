//! Batches that several instances take: no packet in them is for one instance only or was counted as lost.

use super::*;

/// A meeting of two instances that take `v` and are past its start.
struct Twins {
    log: MeetingLog,
    seqs: Sequencer,
}

impl Twins {
    fn new() -> Self {
        let metadata = MeetingMetadata::new(MeetingId::new("m").unwrap());
        let record =
            MeetingRecord::first(metadata, Vec::new(), Seq(Sequencer::BLOCK), jiff::Timestamp::UNIX_EPOCH);
        let mut seqs = Sequencer::new(Seq(1), record.reserved);
        let mut log = MeetingLog::new(&record, Seq::ZERO, LIMITS);
        let twins = ["one", "other"].map(|twin| (subscription(twin, &["v"]), StateRef::new(0_u64)));
        log.start(started(seqs.internal()), twins);
        let mut twins = Self { log, seqs };
        for slot in twins.log.slots() {
            twins.log.set_ready(slot, true);
            let batch = twins.deliver(slot.0);
            twins.done(slot.0, &batch);
        }
        twins
    }

    fn publish(&mut self) {
        let packet = packet(self.seqs.internal(), "v", vec![]);
        self.log.append(Append::new(packet, Durability::Volatile, true));
    }

    fn deliver(&mut self, index: usize) -> Batch {
        match self.log.deliver(Slot(index)) {
            Delivery::Batch(batch) => batch,
            other => panic!("{index} gets a batch, not {other:?}"),
        }
    }

    fn done(&mut self, index: usize, batch: &Batch) {
        let cursor = batch.packets.last().unwrap().seq;
        self.log.apply(Slot(index), Effects { cursor, done: true, ..Effects::default() });
    }
}

#[test]
fn instances_that_keep_pace_share_a_batch() {
    let mut twins = Twins::new();
    for _ in 0..3 {
        twins.publish();
    }
    let (one, other) = (twins.deliver(0), twins.deliver(1));
    assert_eq!(one.packets.len(), 3);
    assert!(Arc::ptr_eq(&one.packets, &other.packets));
}

#[test]
fn an_instance_that_is_behind_gets_all_newer_packets() {
    let mut twins = Twins::new();
    twins.publish();
    assert_eq!(twins.deliver(0).packets.len(), 1);
    twins.publish();
    assert_eq!(twins.deliver(1).packets.len(), 2, "it doesn't take the other's short batch");
}

#[test]
fn a_packet_for_one_instance_is_not_shared() {
    let mut twins = Twins::new();
    twins.publish();
    let tick = packet(twins.seqs.internal(), Tick::SOURCE, vec![]);
    twins.log.tick(Slot(0), tick);
    let (one, other) = (twins.deliver(0), twins.deliver(1));
    assert_eq!((one.packets.len(), other.packets.len()), (2, 1));
}

#[test]
fn a_lifecycle_packet_for_one_instance_is_not_shared() {
    let mut twins = Twins::new();
    let join = joins(twins.seqs.internal(), "third");
    let third = subscription("third", &["v"]);
    // Its cursor is that of the twins.
    let slot = twins.log.join(third, StateRef::new(0_u64), JoinAt::Now, join.clone());
    twins.log.set_ready(slot, true);
    twins.publish();
    let (third, one) = (twins.deliver(slot.0), twins.deliver(0));
    assert_eq!((third.packets.len(), third.packets[0].seq), (2, join.seq));
    assert_eq!(one.packets.len(), 1);
}

#[test]
fn a_packet_counted_as_lost_is_not_delivered() {
    let mut twins = Twins::new();
    for _ in 0..4 {
        twins.publish();
    }
    let one = twins.deliver(0);
    let first = one.packets[0].seq;
    for _ in 0..12 {
        twins.publish();
    }
    let other = twins.deliver(1);
    assert!(other.gap > 0, "the tail is too short for all");
    assert_eq!(other.packets[0].seq, Seq(first.0 + other.gap), "its batch begins after the lost packets");
}
