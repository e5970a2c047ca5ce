//! Encoding and decoding a packet for the wire, beside copying its bytes. `cargo bench -p teammy-benches
//! --bench codec`

#![allow(missing_docs, reason = "criterion's macros make functions without them")]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use teammy_kernel::{
    DataPacket, MeetingId, Name, Payload, Publish, Seq, Timestamp,
    wire::{decode, encode},
};

fn packet(bytes: usize) -> DataPacket {
    let source = Name::new("audio").expect("a well-formed name");
    let publish = Publish::on(source, Payload::Bytes(Bytes::from(vec![7; bytes]))).participant("Ada");
    let meeting = MeetingId::new("bench").expect("a well-formed id");
    publish.into_packet(meeting, Seq(1), Timestamp::UNIX_EPOCH)
}

/// The sizes of payloads, in bytes.
const SIZES: [usize; 2] = [256, 4096];

fn encoded(bytes: usize) -> Vec<u8> {
    encode(&packet(bytes)).expect("a packet has a form on the wire")
}

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    for bytes in SIZES {
        let (packet, encoded) = (packet(bytes), encoded(bytes));
        group.throughput(Throughput::Bytes(encoded.len() as u64));
        group.bench_with_input(BenchmarkId::new("write", bytes), &packet, |bencher, packet| {
            bencher.iter(|| encode(black_box(packet)));
        });
        group.bench_with_input(BenchmarkId::new("read", bytes), &encoded, |bencher, encoded| {
            bencher.iter(|| decode::<DataPacket>(black_box(encoded)));
        });
        group.bench_with_input(BenchmarkId::new("copy", bytes), &encoded, |bencher, encoded| {
            bencher.iter(|| black_box(encoded).clone());
        });
    }
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
