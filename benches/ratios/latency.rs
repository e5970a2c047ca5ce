//! The time from publishing to the hook, with one plugin, at a part of the highest rate that a meeting takes.
//!
//! A clock decides when packets are published, not the arrival of the packet before. Each packet's time
//! counts from when it was due, so a packet that a busy machine publishes late counts as late.

use std::{sync::Arc, thread, time::Duration};

use bytes::Bytes;
use futures::FutureExt;
use hdrhistogram::Histogram;
use teammy_kernel::{Factory, Name, Payload, Publish};
use teammy_runtime::{MeetingRef, PublishError};
use tokio::time::Instant;

use crate::{
    datum::payload,
    lateness::LatenessRecorder,
    options::RunOptions,
    ours,
    peers::{self, RactorMessage},
    report::{Figure, FigureUnit, RatioReport},
    tally::DeliveryTally,
};

/// A payload that begins with when it is due, as [`LatenessRecorder::arrived`] reads it.
fn payload_due(at: Duration) -> Bytes {
    let mut data = payload().to_vec();
    data[..8].copy_from_slice(&(at.as_nanos() as u64).to_le_bytes());
    data.into()
}

/// Publishes packets at `rate` a second from a thread of its own, and waits until all have arrived.
async fn open_loop(
    recorder: &LatenessRecorder,
    tally: &Arc<DeliveryTally>,
    rate: f64,
    packets: u64,
    publish: impl Fn(Bytes) + Send + 'static,
) -> Histogram<u64> {
    tally.expect(packets);
    let epoch = recorder.epoch;
    let publisher = thread::spawn(move || {
        let start = epoch.elapsed() + Duration::from_millis(1);
        for index in 0..packets {
            let at = start + Duration::from_secs_f64(index as f64 / rate);
            let data = payload_due(at);
            while epoch.elapsed() < at {
                std::hint::spin_loop();
            }
            publish(data);
        }
    });
    tally.reached().await;
    publisher.join().expect("the publisher ends");
    let mut times = recorder.times.lock();
    let taken = times.clone();
    times.reset();
    taken
}

fn publisher(meeting: &MeetingRef) -> impl Fn(Bytes) + Send + use<> {
    let (meeting, source) = (meeting.clone(), Name::new("audio").expect("a well-formed name"));
    move |data| {
        let packet = Publish::on(source.clone(), Payload::Bytes(data));
        // A full meeting makes publishers wait; this thread's wait counts as any other lateness.
        while let Err(busy) = meeting.try_publish(packet.clone()).now_or_never().expect("a local meeting") {
            assert!(matches!(busy, PublishError::Busy(_)), "{busy}");
            thread::yield_now();
        }
    }
}

pub async fn run(options: &RunOptions, report: &mut RatioReport) {
    let epoch = Instant::now();
    let (our_tally, peer_tally) = (DeliveryTally::of(1), DeliveryTally::of(1));
    let (our_recorder, peer_recorder) =
        (LatenessRecorder::new(&our_tally, epoch), LatenessRecorder::new(&peer_tally, epoch));
    ours::set_recorder(our_recorder.clone());
    let settings = "delivery.tail_bytes = \"1GiB\"\ndelivery.backlog_bytes = \"1GiB\"\n";
    let node = ours::node(settings, Factory::of::<ours::LatenessProbe>("clock"), our_tally.counters()).await;
    let meeting = ours::meeting(&node, "latency", 1).await;
    let actor = peers::ractor_lateness_probe(peer_recorder.clone()).await;
    let cast = {
        let actor = actor.clone();
        move |data| {
            let _ = actor.cast(RactorMessage(Arc::new(data)));
        }
    };

    // The highest rate that a meeting takes from one thread that publishes as fast as it can.
    let packets = if options.quick { 50_000 } else { 200_000 };
    let mut rates = Vec::new();
    for _ in 0..3 {
        let began = Instant::now();
        open_loop(&our_recorder, &our_tally, 1e9, packets, publisher(&meeting)).await;
        rates.push(packets as f64 / began.elapsed().as_secs_f64());
    }
    let highest = rates.into_iter().fold(0.0, f64::max);
    for percent in [10_u32, 50, 80] {
        let rate = highest * f64::from(percent) / 100.0;
        let packets = (rate * if options.quick { 0.2 } else { 1.0 }) as u64;
        let mut figures: [(Figure, Figure); 3] = Default::default();
        for round in 0..=options.rounds {
            let ours = open_loop(&our_recorder, &our_tally, rate, packets, publisher(&meeting)).await;
            let peer = open_loop(&peer_recorder, &peer_tally, rate, packets, cast.clone()).await;
            if round > 0 {
                for ((our_figure, peer_figure), quantile) in figures.iter_mut().zip([0.5, 0.99, 0.999]) {
                    our_figure.add(ours.value_at_quantile(quantile) as f64);
                    peer_figure.add(peer.value_at_quantile(quantile) as f64);
                }
            }
        }
        for ((ours, peer), quantile) in figures.iter().zip(["p50", "p99", "p99.9"]) {
            let name = format!("latency at {percent} %, {quantile}");
            report.add(name, ours, "ractor", peer, FigureUnit::Cost("ns"));
        }
    }
    meeting.end().await.expect("the meeting ends");
    node.shutdown(Duration::from_secs(10)).await.expect("the node stops");
}
