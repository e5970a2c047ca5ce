//! Stored packets: how many a second, and how long it takes from publishing until a packet is stored; beside
//! the raw SDK with the same writes.
//!
//! Both sides write the same rows in one transaction: a packet's with 256 bytes, and its meeting's. The raw
//! SDK's rate is that of its best batch size of a few. For the time until stored, packets are published by a
//! clock, and the raw SDK writes each packet that is due in a task and a transaction of its own.

use std::{sync::Arc, time::Duration};

use hdrhistogram::Histogram;
use teammy_kernel::{Factory, Name, Payload, Publish};
use teammy_surreal as surreal;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    datum::payload,
    options::RunOptions,
    ours, raw,
    report::{Figure, FigureUnit, RatioReport},
    tally::DeliveryTally,
};

/// How many packets one call publishes.
const AT_ONCE: usize = 64;
/// How many packets the raw SDK writes in a transaction.
const BATCHES: [usize; 3] = [64, 256, 1024];

pub async fn run(options: &RunOptions, report: &mut RatioReport) {
    let counts: &[usize] = if options.quick { &[1, 100] } else { &[1, 100, 1_000] };
    for &count in counts {
        measure(options, report, count).await;
    }
}

async fn measure(options: &RunOptions, report: &mut RatioReport, count: usize) {
    let packets = if options.quick { 6_400 } else { 32_000 }.max(count * AT_ONCE);
    let directory = tempfile::tempdir().expect("a directory");
    let (our_directory, raw_directory) = (directory.path().join("ours"), directory.path().join("raw"));
    let store =
        surreal::open(surreal::Options::new(raw::url(&our_directory))).await.expect("the store opens");
    // The node's only plugin is in no meeting.
    let tally = DeliveryTally::of(1);
    ours::register(tally.counters());
    let node = ours::node_on(Arc::new(store), "", Factory::of::<ours::Sink>("sink")).await;
    let mut meetings = Vec::with_capacity(count);
    for index in 0..count {
        meetings.push(ours::meeting_of(&node, &format!("durable-{index}"), &[]).await);
    }
    let db = raw::open(&raw::url(&raw_directory)).await;
    let source = Name::new("transcription").expect("a well-formed name");
    let packet = || Publish::on(source.clone(), Payload::Bytes(payload()));

    let (mut ours, mut peer) = (Figure::default(), Figure::default());
    let mut raw_seq = 0;
    for round in 0..=options.rounds {
        let began = Instant::now();
        let mut last = vec![None; count];
        for index in 0..packets / AT_ONCE {
            let index = index % count;
            let receipts = meetings[index].publish_all((0..AT_ONCE).map(|_| packet())).await;
            last[index] = Some(receipts.expect("the meeting takes them"));
        }
        for receipts in last.into_iter().flatten() {
            receipts.durable().await.expect("they are stored");
        }
        let our_rate = packets as f64 / began.elapsed().as_secs_f64();
        let mut best = 0.0_f64;
        for batch in BATCHES {
            let began = Instant::now();
            for _ in 0..packets / batch {
                let mut of = Vec::new();
                let mut rows = Vec::with_capacity(batch);
                for part in 0..batch / AT_ONCE {
                    let meeting = format!("durable-{}", part % count);
                    rows.extend((0..AT_ONCE).map(|_| {
                        raw_seq += 1;
                        raw::packet(&meeting, raw_seq, &payload())
                    }));
                    if !of.contains(&meeting) {
                        of.push(meeting);
                    }
                }
                raw::insert(&db, of, rows).await;
            }
            best = best.max((packets / batch * batch) as f64 / began.elapsed().as_secs_f64());
        }
        if round > 0 {
            ours.add(our_rate);
            peer.add(best);
        }
    }
    let name = |what: &str| format!("{what}, surrealkv, meetings: {count}");
    report.add(name("durable"), &ours, "raw SDK", &peer, FigureUnit::Rate("packets/s"));

    let mut figures: [(Figure, Figure); 2] = Default::default();
    let wanted = if options.quick { 200 } else { 1_000 };
    for _ in 0..options.rounds {
        let our_times = paced(wanted, |index| {
            let meeting = meetings[index % count].clone();
            let packet = packet();
            async move {
                let receipt = meeting.publish(packet).await.expect("the meeting takes it");
                receipt.durable().await.expect("it is stored");
            }
        });
        let our_times = our_times.await;
        let peer_times = paced(wanted, |index| {
            raw_seq += 1;
            let (db, meeting) = (db.clone(), format!("alone-{}-{raw_seq}", index % count));
            let row = raw::packet(&meeting, raw_seq, &payload());
            async move { raw::insert(&db, vec![meeting], vec![row]).await }
        });
        let peer_times = peer_times.await;
        for ((ours, peer), quantile) in figures.iter_mut().zip([0.5, 0.99]) {
            ours.add(our_times.value_at_quantile(quantile) as f64);
            peer.add(peer_times.value_at_quantile(quantile) as f64);
        }
    }
    for ((ours, peer), quantile) in figures.iter().zip(["p50", "p99"]) {
        let name = name(&format!("until stored, {quantile}"));
        report.add(name, ours, "raw SDK", peer, FigureUnit::Cost("µs"));
    }
    drop(meetings);
    node.shutdown(Duration::from_mins(1)).await.expect("the node stops");
}

/// Starts a task 500 times a second. Returns how long each took from when it was due, in microseconds.
async fn paced<F>(count: usize, mut start: impl FnMut(usize) -> F) -> Histogram<u64>
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut clock = tokio::time::interval(Duration::from_millis(2));
    for index in 0..count {
        let due = clock.tick().await;
        let work = start(index);
        running.spawn(async move {
            work.await;
            due.elapsed()
        });
    }
    let mut times = Histogram::new(3).expect("three digits are allowed");
    while let Some(took) = running.join_next().await {
        let took = took.expect("it is done").as_micros() as u64;
        times.record(took).expect("the histogram grows");
    }
    times
}
