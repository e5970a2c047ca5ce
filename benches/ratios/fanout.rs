//! One meeting with eight plugins: deliveries a second, beside the same fan-out through the peers.
//!
//! Each round publishes packets of 256 bytes and waits until each of the eight receivers has got all of them.
//! Nothing is lost and no sender waits for a slow receiver, because all buffers are large enough. A delivery
//! is a hook that has run, or a message that a peer's receiver has handled; both look at the payload's length
//! and count it.

use std::{future::Future, sync::Arc, time::Duration};

use teammy_kernel::{Factory, Name, Payload, Publish};
use teammy_runtime::{MeetingRef, Node};
use tokio::time::Instant;

use crate::{
    datum::{Datum, payload, received},
    options::RunOptions,
    ours,
    report::{Figure, FigureUnit, RatioReport},
    tally::DeliveryTally,
};

const RECEIVERS: usize = 8;

trait Fanout {
    /// Publishes `packets` packets, and does not wait until they arrive.
    fn publish(&mut self, packets: u64) -> impl Future<Output = ()>;
}

async fn deliveries_per_second(fanout: &mut impl Fanout, tally: &Arc<DeliveryTally>, packets: u64) -> f64 {
    tally.expect(packets);
    let began = Instant::now();
    fanout.publish(packets).await;
    tally.reached().await;
    let took = began.elapsed();
    (packets * RECEIVERS as u64) as f64 / took.as_secs_f64()
}

struct Ours {
    node: Node,
    meeting: MeetingRef,
    source: Name,
    at_once: u64,
}

impl Ours {
    async fn new(tally: &Arc<DeliveryTally>, at_once: u64) -> Self {
        let settings = "delivery.tail_bytes = \"1GiB\"\n";
        let node = ours::node(settings, Factory::of::<ours::Sink>("sink"), tally.counters()).await;
        let meeting = ours::meeting(&node, &format!("fanout-{at_once}"), RECEIVERS).await;
        Self { node, meeting, source: Name::new("audio").expect("a well-formed name"), at_once }
    }
}

impl Fanout for Ours {
    async fn publish(&mut self, packets: u64) {
        let packet = || Publish::on(self.source.clone(), Payload::Bytes(payload()));
        if self.at_once == 1 {
            for _ in 0..packets {
                self.meeting.publish(packet()).await.expect("the meeting takes it");
            }
        } else {
            for _ in 0..packets / self.at_once {
                let packets = (0..self.at_once).map(|_| packet());
                self.meeting.publish_all(packets).await.expect("the meeting takes them");
            }
        }
    }
}

struct Broadcast(tokio::sync::broadcast::Sender<Datum>);

impl Broadcast {
    fn new(tally: &Arc<DeliveryTally>, capacity: u64) -> Self {
        let (sender, _) = tokio::sync::broadcast::channel(capacity as usize);
        for counter in tally.counters() {
            let mut receiver = sender.subscribe();
            tokio::spawn(async move {
                while let Ok(datum) = receiver.recv().await {
                    received(&counter, &datum);
                }
            });
        }
        Self(sender)
    }
}

impl Fanout for Broadcast {
    async fn publish(&mut self, packets: u64) {
        for _ in 0..packets {
            let _ = self.0.send(Arc::new(payload()));
            yield_now_and_then().await;
        }
    }
}

struct Mpsc(Vec<tokio::sync::mpsc::UnboundedSender<Datum>>);

impl Mpsc {
    fn new(tally: &Arc<DeliveryTally>) -> Self {
        let senders = tally.counters().map(|counter| {
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<Datum>();
            tokio::spawn(async move {
                while let Some(datum) = receiver.recv().await {
                    received(&counter, &datum);
                }
            });
            sender
        });
        Self(senders.collect())
    }
}

impl Fanout for Mpsc {
    async fn publish(&mut self, packets: u64) {
        for _ in 0..packets {
            let datum = Arc::new(payload());
            for sender in &self.0 {
                let _ = sender.send(datum.clone());
            }
            yield_now_and_then().await;
        }
    }
}

struct Ractor(Vec<ractor::ActorRef<crate::peers::RactorMessage>>);

impl Fanout for Ractor {
    async fn publish(&mut self, packets: u64) {
        for _ in 0..packets {
            let datum = Arc::new(payload());
            for actor in &self.0 {
                let _ = actor.cast(crate::peers::RactorMessage(datum.clone()));
            }
            yield_now_and_then().await;
        }
    }
}

struct Kameo(Vec<kameo::actor::ActorRef<crate::peers::KameoActor>>);

impl Fanout for Kameo {
    async fn publish(&mut self, packets: u64) {
        for _ in 0..packets {
            let datum = Arc::new(payload());
            for actor in &self.0 {
                let _ = actor.tell(crate::peers::KameoMessage(datum.clone())).await;
            }
        }
    }
}

struct Actix(crate::peers::ActixThreads);

impl Fanout for Actix {
    async fn publish(&mut self, packets: u64) {
        for _ in 0..packets {
            let datum = Arc::new(payload());
            for actor in self.0.addresses() {
                actor.do_send(crate::peers::ActixMessage(datum.clone()));
            }
            yield_now_and_then().await;
        }
    }
}

/// Takes part in tokio's cooperative scheduling, as each publisher that awaits does.
async fn yield_now_and_then() {
    tokio::task::coop::consume_budget().await;
}

pub async fn run(options: &RunOptions, report: &mut RatioReport) {
    let packets = if options.quick { 1 << 14 } else { 1 << 16 };
    let tallies: Vec<_> = (0..7).map(|_| DeliveryTally::of(RECEIVERS)).collect();
    let mut singly = Ours::new(&tallies[0], 1).await;
    let mut in_16s = Ours::new(&tallies[1], 16).await;
    let mut broadcast = Broadcast::new(&tallies[2], packets);
    let mut mpsc = Mpsc::new(&tallies[3]);
    let mut ractor = Ractor(crate::peers::ractors(&tallies[4]).await);
    let mut kameo = Kameo(crate::peers::kameos(&tallies[5]));
    let mut actix = Actix(crate::peers::actixes(&tallies[6]));
    let mut figures: [Figure; 7] = Default::default();
    for round in 0..=options.rounds {
        let ours = [
            deliveries_per_second(&mut singly, &tallies[0], packets).await,
            deliveries_per_second(&mut in_16s, &tallies[1], packets).await,
        ];
        let [a, b] = &mut figures[..2] else { unreachable!("the first two figures are ours") };
        if round > 0 {
            a.add(ours[0]);
            b.add(ours[1]);
        }
        if options.alone {
            continue;
        }
        let measured = [
            deliveries_per_second(&mut broadcast, &tallies[2], packets).await,
            deliveries_per_second(&mut mpsc, &tallies[3], packets).await,
            deliveries_per_second(&mut ractor, &tallies[4], packets).await,
            deliveries_per_second(&mut kameo, &tallies[5], packets).await,
            deliveries_per_second(&mut actix, &tallies[6], packets).await,
        ];
        // The first round warms up.
        if round > 0 {
            for (figure, value) in figures[2..].iter_mut().zip(measured) {
                figure.add(value);
            }
        }
    }
    let [singly_figure, in_16s_figure, peers @ ..] = &figures;
    for (name, ours) in [("fanout, singly", singly_figure), ("fanout, in 16s", in_16s_figure)] {
        for (peer_name, peer) in
            ["tokio broadcast", "tokio mpsc", "ractor", "kameo", "actix"].into_iter().zip(peers)
        {
            report.add(name, ours, peer_name, peer, FigureUnit::Rate("deliveries/s"));
        }
    }
    for ours in [singly, in_16s] {
        ours.meeting.end().await.expect("the meeting ends");
        ours.node.shutdown(Duration::from_secs(10)).await.expect("the node stops");
    }
}
