//! What an idle meeting with five plugins takes of memory, beside six bare ractor actors; and how long a
//! meeting takes to start and to end.
//!
//! Run first, while nothing has been freed that could be used again: what is resident is what each side has
//! added.

use std::time::Duration;

use teammy_kernel::Factory;
use tokio::time::Instant;

use crate::{
    Run, ours, peers,
    report::{Figure, Report, Unit},
    tally::Tally,
};

const PLUGINS: usize = 5;

fn resident() -> f64 {
    memory_stats::memory_stats().expect("this platform says what is resident").physical_mem as f64
}

pub async fn run(run: &Run, report: &mut Report) {
    let meetings = if run.quick { 1_000 } else { 10_000 };
    let per_meeting = |bytes: f64, took: Duration| {
        (bytes / f64::from(meetings), took.as_secs_f64() * 1e6 / f64::from(meetings))
    };
    let tally = Tally::of(PLUGINS);
    let node = ours::node("", Factory::of::<ours::Sink>("sink"), tally.counters()).await;
    // What is made once is there before it is counted.
    let first = ours::meeting(&node, "first", PLUGINS).await;
    first.caught_up().await.expect("the meeting runs");
    let peer_tally = Tally::of(PLUGINS + 1);
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
    for _ in 0..if run.alone { 0 } else { meetings } {
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
        report.add(name, &figure(ours), "6 ractor actors", &figure(peer), Unit::Cost(unit));
    }
    node.shutdown(Duration::from_mins(1)).await.expect("the node stops");
}
