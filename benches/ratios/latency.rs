//! From publishing to the hook, one plugin, at a part of the most that it takes.
//!
//! Packets are published when a clock says so, not when the last one has arrived, and each one's time counts
//! from when it was due: who is late because the machine is busy counts as late.

use std::{sync::Arc, thread, time::Duration};

use bytes::Bytes;
use hdrhistogram::Histogram;
use teammy_kernel::{Factory, Name, Payload, Publish};
use teammy_runtime::{MeetingRef, PublishError};
use tokio::time::Instant;

use crate::{
    Run,
    fanout::payload,
    ours,
    peers::{self, RactorMessage},
    report::{Figure, Report, Unit},
    tally::{Counter, Tally},
};

/// What counts, and how late its packets come.
#[derive(Clone)]
pub struct Clocked {
    pub counter: Counter,
    pub times: Arc<parking_lot::Mutex<Histogram<u64>>>,
    pub epoch: Instant,
}

impl Clocked {
    fn new(tally: &Arc<Tally>, epoch: Instant) -> Self {
        let times = Histogram::new(3).expect("three digits are allowed");
        let counter = tally.counters().next().expect("it has one");
        Self { counter, times: Arc::new(parking_lot::Mutex::new(times)), epoch }
    }

    /// A packet has arrived; its first bytes say when it was due.
    pub fn arrived(&self, data: &Bytes) {
        let due = u64::from_le_bytes(data[..8].try_into().expect("a packet is longer"));
        let now = self.epoch.elapsed().as_nanos() as u64;
        self.times.lock().record(now.saturating_sub(due)).expect("the histogram grows");
        self.counter.count();
    }
}

fn due(at: Duration) -> Bytes {
    let mut data = payload().to_vec();
    data[..8].copy_from_slice(&(at.as_nanos() as u64).to_le_bytes());
    data.into()
}

/// Publishes `packets` at a rate from a thread of its own, and waits until all have arrived.
async fn open_loop(
    clocked: &Clocked,
    tally: &Arc<Tally>,
    rate: f64,
    packets: u64,
    publish: impl Fn(Bytes) + Send + 'static,
) -> Histogram<u64> {
    tally.expect(packets);
    let epoch = clocked.epoch;
    let publisher = thread::spawn(move || {
        let start = epoch.elapsed() + Duration::from_millis(1);
        for index in 0..packets {
            let at = start + Duration::from_secs_f64(index as f64 / rate);
            let data = due(at);
            while epoch.elapsed() < at {
                std::hint::spin_loop();
            }
            publish(data);
        }
    });
    tally.reached().await;
    publisher.join().expect("the publisher ends");
    let mut times = clocked.times.lock();
    let taken = times.clone();
    times.reset();
    taken
}

fn publisher(meeting: &MeetingRef) -> impl Fn(Bytes) + Send + use<> {
    let (meeting, source) = (meeting.clone(), Name::new("audio").expect("a well-formed name"));
    move |data| {
        let packet = Publish::on(source.clone(), Payload::Bytes(data));
        // At its most a meeting makes publishers wait; what this thread waits counts as everything else.
        while let Err(busy) = meeting.try_publish(packet.clone()) {
            assert!(matches!(busy, PublishError::Busy(_)), "{busy}");
            thread::yield_now();
        }
    }
}

pub async fn run(run: &Run, report: &mut Report) {
    let epoch = Instant::now();
    let (our_tally, peer_tally) = (Tally::of(1), Tally::of(1));
    let (our_clock, peer_clock) = (Clocked::new(&our_tally, epoch), Clocked::new(&peer_tally, epoch));
    ours::clock(our_clock.clone());
    let settings = "delivery.tail_bytes = \"1GiB\"\ndelivery.backlog_bytes = \"1GiB\"\n";
    let node = ours::node(settings, Factory::of::<ours::Clock>("clock"), our_tally.counters()).await;
    let meeting = ours::meeting(&node, "latency", 1).await;
    let actor = peers::ractor_clock(peer_clock.clone()).await;
    let cast = {
        let actor = actor.clone();
        move |data| {
            let _ = actor.cast(RactorMessage(Arc::new(data)));
        }
    };

    // The most that we take: as fast as one thread publishes.
    let packets = if run.quick { 50_000 } else { 200_000 };
    let mut most = Vec::new();
    for _ in 0..3 {
        let began = Instant::now();
        open_loop(&our_clock, &our_tally, 1e9, packets, publisher(&meeting)).await;
        most.push(packets as f64 / began.elapsed().as_secs_f64());
    }
    let most = most.into_iter().fold(0.0, f64::max);
    for percent in [10_u32, 50, 80] {
        let rate = most * f64::from(percent) / 100.0;
        let packets = (rate * if run.quick { 0.2 } else { 1.0 }) as u64;
        let mut figures: [(Figure, Figure); 3] = Default::default();
        for round in 0..=run.rounds {
            let ours = open_loop(&our_clock, &our_tally, rate, packets, publisher(&meeting)).await;
            let peer = open_loop(&peer_clock, &peer_tally, rate, packets, cast.clone()).await;
            if round > 0 {
                for ((our_figure, peer_figure), quantile) in figures.iter_mut().zip([0.5, 0.99, 0.999]) {
                    our_figure.add(ours.value_at_quantile(quantile) as f64);
                    peer_figure.add(peer.value_at_quantile(quantile) as f64);
                }
            }
        }
        for ((ours, peer), quantile) in figures.iter().zip(["p50", "p99", "p99.9"]) {
            let name = format!("latency at {percent} %, {quantile}");
            report.add(name, ours, "ractor", peer, Unit::Cost("ns"));
        }
    }
    meeting.end().await.expect("the meeting ends");
    node.shutdown(Duration::from_secs(10)).await.expect("the node stops");
}
