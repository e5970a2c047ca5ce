//! The memory of an idle meeting with five plugins, beside six bare ractor actors; and how long a meeting
//! takes to start and to end.
//!
//! It must run first. Later the allocator has freed memory that it can use again, and the growth of resident
//! memory would no longer be what each side takes.

use std::time::Duration;

use teammy_kernel::Factory;
use tokio::time::Instant;

use crate::{
    options::RunOptions,
    ours, peers,
    report::{Figure, FigureUnit, RatioReport},
    tally::DeliveryTally,
};

const PLUGINS: usize = 5;

fn resident() -> f64 {
    memory_stats::memory_stats().expect("this platform tells resident memory").physical_mem as f64
}

pub async fn run(options: &RunOptions, report: &mut RatioReport) {
    let meetings = if options.quick { 1_000 } else { 10_000 };
    let per_meeting = |bytes: f64, took: Duration| {
        (bytes / f64::from(meetings), took.as_secs_f64() * 1e6 / f64::from(meetings))
    };
    let tally = DeliveryTally::of(PLUGINS);
    let node = ours::node("", Factory::of::<ours::Sink>("sink"), tally.counters()).await;
    // What is allocated once for all meetings is allocated before the measurement.
    let first = ours::meeting(&node, "first", PLUGINS).await;
    first.caught_up().await.expect("the meeting runs");
    let peer_tally = DeliveryTally::of(PLUGINS + 1);
    let mut actors = vec![peers::ractors(&peer_tally).await];

    let (before, began) = (resident(), Instant::now());
    let mut running = Vec::with_capacity(meetings as usize);
    for index in 0..meetings {
        running.push(ours::meeting(&node, &format!("idle-{index}"), PLUGINS).await);
    }
    for meeting in &running {
        meeting.caught_up().await.expect("the meeting runs");
    }
    let (ours_bytes, ours_start) = per_meeting(resident() - before, began.elapsed());

    let (before, began) = (resident(), Instant::now());
    for _ in 0..if options.alone { 0 } else { meetings } {
        actors.push(peers::ractors(&peer_tally).await);
    }
    let (peer_bytes, peer_start) = per_meeting(resident() - before, began.elapsed());

    let began = Instant::now();
    for meeting in &running {
        meeting.end().await.expect("the meeting ends");
    }
    let (_, ours_end) = per_meeting(0.0, began.elapsed());
    let began = Instant::now();
    for actor in actors.iter().flatten() {
        actor.stop_and_wait(None, None).await.expect("the actor stops");
    }
    let (_, peer_end) = per_meeting(0.0, began.elapsed());

    let figure = |value| {
        let mut figure = Figure::default();
        figure.add(value);
        figure
    };
    for (name, ours, peer, unit) in [
        ("an idle meeting", ours_bytes, peer_bytes, "bytes resident"),
        ("starting a meeting", ours_start, peer_start, "µs"),
        ("ending a meeting", ours_end, peer_end, "µs"),
    ] {
        report.add(name, &figure(ours), "6 ractor actors", &figure(peer), FigureUnit::Cost(unit));
    }
    node.shutdown(Duration::from_mins(1)).await.expect("the node stops");
}
