//! The cost of the log alone: packets are appended, delivered to eight instances, submitted and committed,
//! without an actor, a hook or a store. `cargo bench -p teammy-benches --bench log`

#![allow(missing_docs, reason = "criterion's macros make functions without them")]

use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use teammy_kernel::{
    DataPacket, DeliveryPolicy, Durability, MeetingId, MeetingMetadata, Name, Payload, Publish, Seq,
    Timestamp,
    log::{Append, ConsumerSpec, Delivery, Effects, Limits, MeetingLog, Sequencer},
    plugin::StateRef,
    store::MeetingRecord,
};

const INSTANCES: u64 = 8;
const PACKETS: u64 = 1024;

/// As the configuration's defaults.
const LIMITS: Limits = Limits {
    batch_packets: 4096,
    batch_bytes: 1 << 20,
    tail_bytes: 16 << 20,
    backlog_bytes: 16 << 20,
    block_bytes: 1 << 20,
};

fn name(name: &str) -> Name {
    Name::new(name).expect("a well-formed name")
}

fn packet(meeting: &MeetingId, seq: Seq, source: &Name) -> Arc<DataPacket> {
    let publish = Publish::on(source.clone(), Payload::Bytes(vec![7; 256].into()));
    Arc::new(publish.into_packet(meeting.clone(), seq, Timestamp::UNIX_EPOCH))
}

/// The log of a started meeting whose instances take `source`.
fn meeting(source: &Name) -> (MeetingLog, Sequencer, MeetingId) {
    let id = MeetingId::new("bench").expect("a well-formed id");
    let record = MeetingRecord::first(
        MeetingMetadata::new(id.clone()),
        Vec::new(),
        Seq(Sequencer::BLOCK),
        Timestamp::UNIX_EPOCH,
    );
    let mut seqs = Sequencer::new(Seq(1), record.reserved);
    let mut log = MeetingLog::new(&record, Seq::ZERO, LIMITS);
    let subscription = |n| ConsumerSpec {
        instance: name(&format!("i{n}")),
        sources: vec![(source.clone(), DeliveryPolicy::Spill)],
    };
    let instances: Vec<_> = (0..INSTANCES).map(|n| (subscription(n), StateRef::new(0_u64))).collect();
    log.start(packet(&id, seqs.internal(), &name("meeting")), instances);
    for slot in log.slots() {
        log.set_ready(slot, true);
    }
    (log, seqs, id)
}

/// Appends all packets, then delivers them to each instance in batches, and commits after each round.
/// Returns the number of deliveries.
fn run(log: &mut MeetingLog, packets: Vec<Arc<DataPacket>>, durability: Durability) -> u64 {
    for packet in packets {
        log.append(Append::new(packet, durability, true));
    }
    let mut delivered = 0;
    loop {
        let mut moved = false;
        for slot in log.slots() {
            if let Delivery::Batch(batch) = log.deliver(slot) {
                moved = true;
                delivered += batch.packets.len() as u64;
                let cursor = batch.packets.last().map_or(Seq::ZERO, |packet| packet.seq);
                log.apply(slot, Effects { cursor, done: true, ..Effects::default() });
            }
        }
        if log.next_commit(Seq(Sequencer::BLOCK)).is_some() {
            log.committed();
        } else if !moved {
            return delivered;
        }
    }
}

fn fanout(criterion: &mut Criterion) {
    let source = name("audio");
    let mut group = criterion.benchmark_group("log/fanout");
    group.throughput(Throughput::Elements(INSTANCES * PACKETS));
    for durability in [Durability::Volatile, Durability::Durable] {
        let set_up = || {
            let (log, mut seqs, id) = meeting(&source);
            let packets = (0..PACKETS).map(|_| packet(&id, seqs.internal(), &source)).collect::<Vec<_>>();
            (log, packets)
        };
        group.bench_function(format!("{durability:?}"), |bencher| {
            let run = |(mut log, packets)| run(&mut log, packets, durability);
            bencher.iter_batched(set_up, run, BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(benches, fanout);
criterion_main!(benches);
