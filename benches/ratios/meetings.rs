//! The same packets a second to one meeting of five plugins and to thousands: what a delivery costs in time of the processor.

use std::{sync::Arc, time::Duration};

use cpu_time::ProcessTime;
use teammy_kernel::{Factory, Name, Payload, Publish};
use tokio::time::Instant;

use crate::{
    Run,
    fanout::payload,
    ours,
    peers::{self, RactorMessage},
    report::{Figure, Report, Unit},
    tally::Tally,
};

const PLUGINS: usize = 5;
/// How many packets a second, to all meetings together.
const RATE: usize = 20_000;
/// How long the publisher sleeps between bursts.
const EVERY: Duration = Duration::from_millis(1);

/// Publishes packets to so many meetings in turn, and says what a delivery cost in nanoseconds of processor time, and how many
/// there were a second.
async fn paced(
    meetings: usize,
    bursts: usize,
    tally: &Arc<Tally>,
    publish: impl AsyncFn(usize),
) -> (f64, f64) {
    let burst = RATE / 1_000;
    let packets = bursts * burst;
    let deliveries = (packets * PLUGINS) as f64;
    tally.expect(packets as u64);
    let mut clock = tokio::time::interval(EVERY);
    let (began, processor) = (Instant::now(), ProcessTime::now());
    let mut next = (0..meetings).cycle();
    for _ in 0..bursts {
        clock.tick().await;
        for meeting in next.by_ref().take(burst) {
            publish(meeting).await;
        }
    }
    tally.reached().await;
    let cost = processor.elapsed().as_nanos() as f64 / deliveries;
    (cost, deliveries / began.elapsed().as_secs_f64())
}

pub async fn run(run: &Run, report: &mut Report) {
    let source = Name::new("audio").expect("a well-formed name");
    let tally = Tally::of(PLUGINS);
    let node = ours::node("", Factory::of::<ours::Sink>("sink"), tally.counters()).await;
    let counts: &[usize] = if run.quick { &[1, 1_000] } else { &[1, 100, 1_000, 5_000] };
    let most = *counts.last().expect("there are some");
    let mut meetings = Vec::with_capacity(most);
    for index in 0..most {
        meetings.push(ours::meeting(&node, &format!("meeting-{index}"), PLUGINS).await);
    }
    let peer_tally = Tally::of(PLUGINS);
    let mut actors = Vec::with_capacity(most);
    for _ in 0..most {
        actors.push(peers::ractors(&peer_tally).await);
    }
    let mut costs: Vec<Figure> = vec![Figure::default(); counts.len()];
    let mut peer_costs = costs.clone();
    let mut rates = costs.clone();
    let mut peer_rates = costs.clone();
    let bursts = if run.quick { 500 } else { 2_000 };
    for round in 0..=run.rounds {
        for (index, &count) in counts.iter().enumerate() {
            let ours = paced(count, bursts, &tally, async |index| {
                let packet = Publish::on(source.clone(), Payload::Bytes(payload()));
                meetings[index].publish(packet).await.expect("the meeting takes it");
            });
            let (cost, rate) = ours.await;
            let peer = paced(count, bursts, &peer_tally, async |index| {
                let datum = Arc::new(payload());
                for actor in &actors[index] {
                    let _ = actor.cast(RactorMessage(datum.clone()));
                }
            });
            let (peer_cost, peer_rate) = peer.await;
            if round > 0 {
                costs[index].add(cost);
                rates[index].add(rate);
                peer_costs[index].add(peer_cost);
                peer_rates[index].add(peer_rate);
            }
        }
    }
    for (index, count) in counts.iter().enumerate() {
        let unit = Unit::Cost("ns of CPU a delivery");
        report.add(format!("CPU, meetings: {count}"), &costs[index], "ractor", &peer_costs[index], unit);
        report.add(format!("CPU, meetings: {count}"), &costs[index], "1 meeting", &costs[0], unit);
        let unit = Unit::Rate("deliveries/s, paced");
        report.add(format!("meetings: {count}"), &rates[index], "ractor", &peer_rates[index], unit);
    }
    node.shutdown(Duration::from_mins(1)).await.expect("the node stops");
}
