//! Resuming meetings of another owner: the time until an instance that has seen no packet has got each
//! meeting's 1,000, beside the raw SDK that reads the same rows.

use std::{path::Path, sync::Arc};

use surrealdb::{Surreal, engine::any::Any};
use teammy_kernel::{
    DataPacket, Factory, Lifecycle, MeetingId, MeetingMetadata, Name, Payload, Seq, Store, Timestamp,
    store::{Commit, InstanceRecord, InstanceStatus},
};
use teammy_surreal::{self as surreal, SurrealStore};
use tokio::time::Instant;

use crate::{
    datum::payload,
    options::RunOptions,
    ours, raw,
    report::{Figure, FigureUnit, RatioReport},
    tally::DeliveryTally,
};

const PACKETS: u64 = 1_000;

fn id(index: usize) -> MeetingId {
    MeetingId::new(format!("recover-{index}")).expect("a well-formed id")
}

fn name(name: &str) -> Name {
    Name::new(name).expect("a well-formed name")
}

/// Stores a meeting with its packets, of which its one instance has seen none.
async fn fill(store: &SurrealStore, db: &Surreal<Any>, index: usize) {
    let id = id(index);
    let metadata = MeetingMetadata::new(id.clone());
    let created = store
        .create(metadata, vec![name("p0")], Seq(PACKETS * 2), Timestamp::UNIX_EPOCH)
        .await
        .expect("it is made");
    let at = Timestamp::from_second(1_700_000_000).expect("a time of this century");
    let packet = |seq, source, payload| {
        Arc::new(DataPacket {
            meeting: id.clone(),
            seq,
            source,
            timestamp: at,
            received_at: at,
            participant: None,
            payload,
            producer: None,
            causes: Vec::new(),
            trace: None,
        })
    };
    let start = Lifecycle::Start { instances: vec![name("p0")], setups: std::collections::BTreeMap::new() };
    let mut commit = Commit::new(id.clone(), created.epoch, 1, created.reserved);
    commit.packets.push(packet(Seq(1), name(Lifecycle::SOURCE), start.to_payload()));
    let source = name("transcription");
    commit
        .packets
        .extend((2..=PACKETS + 1).map(|seq| packet(Seq(seq), source.clone(), Payload::Bytes(payload()))));
    commit.instances.push(unseen());
    store.commit(&[commit]).await.expect("it is stored");
    let rows = (1..=PACKETS + 1).map(|seq| raw::packet(id.as_str(), seq, &payload())).collect();
    raw::insert(db, vec![id.as_str().to_owned()], rows).await;
}

/// The row of an instance that has seen no packet.
fn unseen() -> InstanceRecord {
    InstanceRecord {
        instance: name("p0"),
        cursor: Seq::ZERO,
        joined: Seq(1),
        status: InstanceStatus::Active,
        state: None,
    }
}

/// Resets a meeting's instance, so that it has seen no packet.
async fn reset(store: &SurrealStore, index: usize) {
    let claimed = store.claim(id(index), 1).await.expect("it is there");
    let mut commit = Commit::new(id(index), claimed.epoch, claimed.commit + 1, claimed.reserved);
    commit.instances.push(unseen());
    store.commit(&[commit]).await.expect("it is stored");
}

pub async fn run(options: &RunOptions, report: &mut RatioReport) {
    let most = if options.quick { 20 } else { 1_000 };
    let directory = tempfile::tempdir().expect("a directory");
    let url = |name: &str| raw::url(&Path::new(directory.path()).join(name));
    let store = surreal::open(surreal::Options::new(url("ours"))).await.expect("the store opens");
    let db = raw::open(&url("raw")).await;
    for index in 0..most {
        fill(&store, &db, index).await;
    }
    let tally = DeliveryTally::of(1);
    ours::register(tally.counters());
    let toml = "[[plugin]]\nname = \"p0\"\nkind = \"sink\"\nsources.audio = \"transcription\"\n";
    for count in [1, most] {
        let (mut ours, mut peer) = (Figure::default(), Figure::default());
        for round in 0..=options.rounds {
            let shared: Arc<dyn Store> = Arc::new(store.clone());
            let node = ours::node_on(shared, toml, Factory::of::<ours::Sink>("sink")).await;
            tally.expect(PACKETS * count as u64);
            let began = Instant::now();
            let ids: Vec<_> = (0..count).map(id).collect();
            let resumed = ids.iter().map(|id| node.resume_meeting(id));
            for meeting in futures::future::join_all(resumed).await {
                drop(meeting.expect("the meeting goes on"));
            }
            tally.reached().await;
            let our_time = began.elapsed();
            // Ends the node and leaves the store open.
            drop(node);
            for index in 0..count {
                reset(&store, index).await;
            }
            let began = Instant::now();
            let ids: Vec<_> = (0..count).map(|index| id(index).to_string()).collect();
            let read = ids.iter().map(|id| raw::read(&db, id, PACKETS + 1));
            for rows in futures::future::join_all(read).await {
                assert_eq!(rows as u64, PACKETS + 1, "all rows are there");
            }
            let peer_time = began.elapsed();
            if round > 0 {
                ours.add(our_time.as_secs_f64() * 1e3);
                peer.add(peer_time.as_secs_f64() * 1e3);
            }
        }
        let name = format!("recover, meetings: {count}");
        report.add(name, &ours, "raw SDK", &peer, FigureUnit::Cost("ms"));
    }
    store.close().await.expect("the store closes");
}
