//! Encoding and decoding a packet for the wire, beside copying its bytes.

use std::hint::black_box;

use bytes::Bytes;
use teammy_kernel::{
    DataPacket, MeetingId, Name, Payload, Publish, Seq, Timestamp,
    wire::{decode, encode},
};
use tokio::time::Instant;

use crate::{
    options::RunOptions,
    report::{Figure, FigureUnit, RatioReport},
};

fn packet(bytes: usize) -> DataPacket {
    let source = Name::new("audio").expect("a well-formed name");
    let publish = Publish::on(source, Payload::Bytes(Bytes::from(vec![7; bytes]))).participant("Ada");
    let meeting = MeetingId::new("bench").expect("a well-formed id");
    publish.into_packet(meeting, Seq(1), Timestamp::UNIX_EPOCH)
}

/// Nanoseconds a call.
fn time<T>(times: u32, mut work: impl FnMut() -> T) -> f64 {
    let began = Instant::now();
    for _ in 0..times {
        black_box(work());
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(times)
}

pub fn run(options: &RunOptions, report: &mut RatioReport) {
    let times = if options.quick { 50_000 } else { 500_000 };
    for bytes in [256, 4096] {
        let packet = packet(bytes);
        let encoded = encode(&packet).expect("a packet has a form on the wire");
        let (mut written, mut read, mut copied) = (Figure::default(), Figure::default(), Figure::default());
        for round in 0..=options.rounds {
            let figures = [
                time(times, || encode(black_box(&packet))),
                time(times, || decode::<DataPacket>(black_box(&encoded))),
                time(times, || black_box(&encoded).clone()),
            ];
            if round > 0 {
                for (figure, value) in [&mut written, &mut read, &mut copied].into_iter().zip(figures) {
                    figure.add(value);
                }
            }
        }
        for (what, ours) in [("writing", &written), ("reading", &read)] {
            report.add(format!("codec, {what} {bytes} B"), ours, "memcpy", &copied, FigureUnit::Cost("ns"));
        }
    }
}
