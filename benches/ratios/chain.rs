//! Four plugins in a chain, each of which takes the outputs of the one before it: packets a second from end
//! to end.

use std::{sync::Arc, time::Duration};

use teammy_kernel::{Factory, Name, Payload, Publish};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    datum::{Datum, payload, received},
    options::RunOptions,
    ours,
    peers::{self, RactorMessage},
    report::{Figure, FigureUnit, RatioReport},
    tally::{DeliveryCounter, DeliveryTally},
};

const STAGES: usize = 4;

fn mpsc_chain(last: DeliveryCounter) -> mpsc::UnboundedSender<Datum> {
    let (first, mut input) = mpsc::unbounded_channel::<Datum>();
    for _ in 1..STAGES {
        let (sender, next) = mpsc::unbounded_channel::<Datum>();
        let mut from = std::mem::replace(&mut input, next);
        tokio::spawn(async move {
            while let Some(datum) = from.recv().await {
                let _ = sender.send(Arc::new((*datum).clone()));
            }
        });
    }
    tokio::spawn(async move {
        while let Some(datum) = input.recv().await {
            received(&last, &datum);
        }
    });
    first
}

pub async fn run(options: &RunOptions, report: &mut RatioReport) {
    let packets: u64 = if options.quick { 1 << 13 } else { 1 << 15 };
    let tallies: Vec<_> = (0..3).map(|_| DeliveryTally::of(1)).collect();
    let last = |tally: &Arc<DeliveryTally>| tally.counters().next().expect("it has one");

    let mut settings = "delivery.tail_bytes = \"1GiB\"\n".to_owned();
    for stage in 0..STAGES {
        let source = if stage == 0 { "audio".to_owned() } else { format!("relay{}", stage - 1) };
        settings +=
            &format!("[[plugin]]\nname = \"relay{stage}\"\nkind = \"relay\"\nconfig.place = {stage}\n");
        settings += &format!("sources.audio = \"{source}\"\n");
    }
    // Only the last stage's packets are waited for; the other stages count on a tally of their own.
    let intermediate = DeliveryTally::of(STAGES - 1);
    let counters = intermediate.counters().chain([last(&tallies[0])]);
    ours::register(counters);
    let node = ours::node_of(&settings, Factory::of::<ours::Relay>("relay")).await;
    let names: Vec<_> = (0..STAGES).map(|stage| format!("relay{stage}")).collect();
    let meeting = ours::meeting_of(&node, "chain", &names).await;
    let source = Name::new("audio").expect("a well-formed name");

    let mpsc = mpsc_chain(last(&tallies[1]));
    let ractor = peers::ractor_chain(STAGES, last(&tallies[2])).await;

    let mut figures: [Figure; 3] = Default::default();
    for round in 0..=options.rounds {
        for (index, tally) in tallies.iter().enumerate() {
            if index > 0 && options.alone {
                continue;
            }
            tally.expect(packets);
            let began = Instant::now();
            for _ in 0..packets {
                match index {
                    0 => {
                        let packet = Publish::on(source.clone(), Payload::Bytes(payload()));
                        meeting.publish(packet).await.expect("the meeting takes it");
                    }
                    1 => drop(mpsc.send(Arc::new(payload()))),
                    _ => drop(ractor.cast(RactorMessage(Arc::new(payload())))),
                }
                tokio::task::coop::consume_budget().await;
            }
            tally.reached().await;
            if round > 0 {
                figures[index].add(packets as f64 / began.elapsed().as_secs_f64());
            }
        }
    }
    let [ours, peers @ ..] = &figures;
    for (peer_name, peer) in ["tokio mpsc", "ractor"].into_iter().zip(peers) {
        report.add("chain of 4", ours, peer_name, peer, FigureUnit::Rate("packets/s"));
    }
    meeting.end().await.expect("the meeting ends");
    node.shutdown(Duration::from_secs(10)).await.expect("the node stops");
}
