//! What a packet costs on the wire, beside copying its bytes. `cargo bench -p teammy-benches --bench codec`

use bytes::Bytes;
use divan::{Bencher, black_box, counter::BytesCount};
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

#[divan::bench(args = SIZES)]
fn write(bencher: Bencher<'_, '_>, bytes: usize) {
    let packet = packet(bytes);
    bencher.counter(BytesCount::new(encoded(bytes).len())).bench_local(|| encode(black_box(&packet)));
}

#[divan::bench(args = SIZES)]
fn read(bencher: Bencher<'_, '_>, bytes: usize) {
    let encoded = encoded(bytes);
    bencher.counter(BytesCount::new(encoded.len())).bench_local(|| decode::<DataPacket>(black_box(&encoded)));
}

#[divan::bench(args = SIZES)]
fn copy(bencher: Bencher<'_, '_>, bytes: usize) {
    let encoded = encoded(bytes);
    bencher.counter(BytesCount::new(encoded.len())).bench_local(|| black_box(&encoded).clone());
}

fn main() {
    divan::main();
}
