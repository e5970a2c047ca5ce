use std::collections::BTreeSet;

use futures::pin_mut;
use teammy_config::Config;
use teammy_kernel::{
    DataPacket, MeetingMetadata, Payload, Publish, Store,
    store::{Commit, Epoch, MemoryStore},
};

use teammy_runtime::Node;

use super::*;
use crate::{access::Caller, feed::Wanted, shared::Shared};

const MEETINGS: usize = 300;
const PACKETS: u64 = 30;
const BUFFER: usize = 256 << 10;

fn packets(id: &MeetingId, seqs: std::ops::RangeInclusive<u64>) -> Vec<Arc<DataPacket>> {
    let packet = |seq| {
        let publish = Publish::new("chat", Payload::Text("x".repeat(9_000).into())).unwrap();
        Arc::new(publish.into_packet(id.clone(), Seq(seq), Timestamp::UNIX_EPOCH))
    };
    seqs.map(packet).collect()
}

/// Stores the commit of a meeting's end with these packets.
async fn commit(store: &MemoryStore, id: &MeetingId, number: u64, packets: Vec<Arc<DataPacket>>) {
    let mut commit = Commit::new(id.clone(), Epoch(1), number, Seq(1 << 20));
    commit.status = MeetingStatus::Ended;
    commit.packets = packets;
    store.commit(&[commit]).await.unwrap();
}

/// Ended meetings of `old 0` on, and their packets.
async fn old_meetings(store: &MemoryStore, meetings: usize) -> Vec<Arc<DataPacket>> {
    let mut all = Vec::new();
    for number in 0..meetings {
        let id = MeetingId::new(format!("old {number}")).unwrap();
        let metadata = MeetingMetadata::new(id.clone());
        store.create(metadata, vec![], Seq(1 << 20), Timestamp::UNIX_EPOCH).await.unwrap();
        let packets = packets(&id, 1..=PACKETS);
        all.extend(packets.iter().cloned());
        commit(store, &id, 1, packets).await;
    }
    all
}

/// Reads all meetings of a store.
async fn reading(store: &MemoryStore) -> Reading {
    let node = Node::builder(Config::default())
        .store(Arc::new(store.clone()))
        .plugin_runtime(tokio::runtime::Handle::current())
        .start()
        .await
        .unwrap();
    let source = Source {
        shared: Shared::of_test(node),
        caller: Caller::default(),
        wanted: Wanted { budget: Some(ReadBudget::new(BUFFER)), ..Wanted::default() },
        labels: BTreeMap::new(),
        since: Some(Timestamp::UNIX_EPOCH),
    };
    Reading::new(source, BTreeMap::new()).await.unwrap()
}

/// The id of a packet's event, or what another event says.
fn shown(event: &axum::response::sse::Event) -> Result<String, String> {
    let text = format!("{event:?}");
    let field = |name: &str| Some(text.split_once(name)?.1.split_once("\\n")?.0.to_owned());
    field("id: ").ok_or_else(|| field("event: ").unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_thousands_of_old_meetings_holds_its_buffer_and_reads_them_in_turn() {
    let store = MemoryStore::default();
    let packets = old_meetings(&store, MEETINGS).await;
    let reading = reading(&store).await;
    let (outlet, events) = Outlet::new(BUFFER);
    pin_mut!(events);
    let running = tokio::spawn(async move { reading.run(&outlet).await });
    // The time stands still while anything can go on.
    tokio::time::sleep(Duration::from_mins(1)).await;
    let held = || packets.iter().filter(|packet| Arc::strong_count(packet) > 2).map(|packet| packet.cost());
    let (bytes, count) = (held().sum::<usize>(), held().count());
    assert!(count > 0 && bytes <= BUFFER, "{count} packets of {bytes} bytes");
    let (mut seen, mut ended, mut early) = (BTreeSet::new(), 0, BTreeSet::new());
    while ended < MEETINGS {
        let (event, is_last) = events.next().await.unwrap();
        assert!(!is_last);
        let Ok(id) = shown(&event) else {
            ended += 1;
            continue;
        };
        if seen.len() < 40 {
            early.insert(id.split_once(':').unwrap().0.to_owned());
        }
        assert!(seen.insert(id.clone()), "{id} comes once");
    }
    assert_eq!(seen.len(), packets.len());
    assert!(early.len() >= ReadBudget::TURNS, "one long meeting does not hold up the others: {early:?}");
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn what_another_node_redrove_or_opened_again_is_followed() {
    let store = MemoryStore::default();
    old_meetings(&store, 2).await;
    let reading = reading(&store).await;
    let (outlet, events) = Outlet::new(BUFFER);
    pin_mut!(events);
    let running = tokio::spawn(async move { reading.run(&outlet).await });
    let mut next = async || shown(&events.next().await.unwrap().0);
    let (mut ends, mut count) = (0, 0);
    while ends < 2 {
        match next().await {
            Ok(_) => count += 1,
            Err(name) => {
                assert_eq!(name, "end");
                ends += 1;
            }
        }
    }
    assert_eq!(count, 2 * PACKETS);
    let [first, second] = ["old 0", "old 1"].map(|id| MeetingId::new(id).unwrap());
    commit(&store, &first, 2, packets(&first, 40..=41)).await;
    let seen = [next().await, next().await, next().await];
    assert_eq!(seen, [Ok("old 0:40.0".to_owned()), Ok("old 0:41.0".to_owned()), Err("end".to_owned())]);
    store.forget(second.clone()).await.unwrap();
    let created = Timestamp::UNIX_EPOCH + Duration::from_secs(1);
    store.create(MeetingMetadata::new(second.clone()), vec![], Seq(1 << 20), created).await.unwrap();
    commit(&store, &second, 1, packets(&second, 1..=1)).await;
    let seen = [next().await, next().await, next().await];
    assert_eq!(seen, [Err("reset".to_owned()), Ok("old 1:1.1000000".to_owned()), Err("end".to_owned())]);
    running.abort();
}
