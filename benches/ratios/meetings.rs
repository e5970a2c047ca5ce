//! The processor time of a delivery in one meeting of five plugins, and in thousands of them: with a rate for
//! each meeting, and with one rate that is spread over all meetings.

use std::{sync::Arc, time::Duration};

use cpu_time::ProcessTime;
use teammy_kernel::{Factory, Name, Payload, Publish};
use tokio::time::Instant;

use crate::{
    datum::payload,
    options::RunOptions,
    ours,
    peers::{self, RactorMessage},
    report::{Figure, FigureUnit, RatioReport},
    tally::DeliveryTally,
};

const PLUGINS: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PacketRate {
    /// Packets a second to each meeting.
    Each(usize),
    /// Packets a second to all meetings together.
    Together(usize),
}

impl PacketRate {
    /// Packets a second to all meetings together.
    fn total(self, meetings: usize) -> usize {
        match self {
            Self::Each(rate) => rate * meetings,
            Self::Together(rate) => rate,
        }
    }

    fn name(self, meetings: usize) -> String {
        match self {
            Self::Each(rate) => format!("{rate} packets/s to each of {meetings} meetings"),
            Self::Together(rate) => format!("{rate} packets/s over {meetings} meetings"),
        }
    }
}

/// Publishes packets to meetings in turn. Returns a delivery's nanoseconds of processor time, and the
/// deliveries a second. The publisher sleeps for a millisecond or longer between bursts.
async fn paced(
    meetings: usize,
    rate: PacketRate,
    lasts: Duration,
    tally: &Arc<DeliveryTally>,
    publish: impl AsyncFn(usize),
) -> (f64, f64) {
    let total = rate.total(meetings);
    let burst = (total / 1_000).max(1);
    let every = Duration::from_secs_f64(burst as f64 / total as f64);
    let bursts = (lasts.as_secs_f64() / every.as_secs_f64()) as usize;
    let packets = bursts * burst;
    let deliveries = (packets * PLUGINS) as f64;
    tally.expect(packets as u64);
    let mut clock = tokio::time::interval(every);
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

pub async fn run(options: &RunOptions, report: &mut RatioReport) {
    let source = Name::new("audio").expect("a well-formed name");
    let tally = DeliveryTally::of(PLUGINS);
    let node = ours::node("", Factory::of::<ours::Sink>("sink"), tally.counters()).await;
    let counts: &[usize] = if options.quick { &[1, 1_000] } else { &[1, 100, 1_000, 5_000] };
    let most = *counts.last().expect("there are some");
    let mut meetings = Vec::with_capacity(most);
    for index in 0..most {
        meetings.push(ours::meeting(&node, &format!("meeting-{index}"), PLUGINS).await);
    }
    let peer_tally = DeliveryTally::of(PLUGINS);
    let mut actors = Vec::with_capacity(most);
    for _ in 0..most {
        actors.push(peers::ractors(&peer_tally).await);
    }
    for packet_rate in [PacketRate::Each(10), PacketRate::Together(20_000)] {
        let mut costs: Vec<Figure> = vec![Figure::default(); counts.len()];
        let mut peer_costs = costs.clone();
        let mut rates = costs.clone();
        let mut peer_rates = costs.clone();
        let lasts = Duration::from_secs(if options.quick { 1 } else { 3 });
        for round in 0..=options.rounds {
            for (index, &count) in counts.iter().enumerate() {
                let ours = paced(count, packet_rate, lasts, &tally, async |index| {
                    let packet = Publish::on(source.clone(), Payload::Bytes(payload()));
                    meetings[index].publish(packet).await.expect("the meeting takes it");
                });
                let (cost, rate) = ours.await;
                if round > 0 {
                    costs[index].add(cost);
                    rates[index].add(rate);
                }
                if options.alone {
                    continue;
                }
                let peer = paced(count, packet_rate, lasts, &peer_tally, async |index| {
                    let datum = Arc::new(payload());
                    for actor in &actors[index] {
                        let _ = actor.cast(RactorMessage(datum.clone()));
                    }
                });
                let (peer_cost, peer_rate) = peer.await;
                if round > 0 {
                    peer_costs[index].add(peer_cost);
                    peer_rates[index].add(peer_rate);
                }
            }
        }
        for (index, &count) in counts.iter().enumerate() {
            let (name, unit) = (packet_rate.name(count), FigureUnit::Cost("ns of CPU a delivery"));
            report.add(&name, &costs[index], "ractor", &peer_costs[index], unit);
            report.add(&name, &costs[index], "1 meeting", &costs[0], unit);
            let unit = FigureUnit::Rate("deliveries/s, paced");
            report.add(&name, &rates[index], "ractor", &peer_rates[index], unit);
        }
    }
    node.shutdown(Duration::from_mins(1)).await.expect("the node stops");
}
