use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use tokio::time::{Duration, sleep};

use super::world::*;
use crate::{CallError, LinkSettings, handler::Call, links::Opened, testing::Network};

type Items = BoxStream<'static, Result<Bytes, CallError>>;

async fn open(world: &World, call: Call) -> Result<Opened, CallError> {
    world.node("a").links.open(&incarnation("b"), call).await
}

async fn items(world: &World, what: &'static str) -> Items {
    let (body, items) = open(world, call(what)).await.unwrap();
    assert_eq!(body, "opened");
    items.expect("it has items")
}

fn open_at_b(world: &World) -> usize {
    world.handler("b").streams.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn a_stream_comes_whole_and_in_order() {
    let world = World::pair().await;
    for (what, bytes) in [("count 0 8", 8), ("count 3000 300", 300), ("count 5 1048576", 1 << 20)] {
        let count: usize = what.split(' ').nth(1).unwrap().parse().unwrap();
        let got: Vec<_> = items(&world, what).await.collect().await;
        assert_eq!(got.len(), count, "{what}");
        for (number, item) in got.into_iter().enumerate() {
            let item = item.unwrap();
            assert_eq!((item.len(), &item[..8]), (bytes, &(number as u64).to_le_bytes()[..]));
        }
    }
    let (body, none) = open(&world, call("no items")).await.unwrap();
    assert_eq!((&body[..], none.is_none()), (&b"no items"[..], true));
    settle().await;
    assert_eq!(open_at_b(&world), 0);
    assert_eq!(world.status("a", "b").breaks, 0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_holds_the_writer() {
    let world = World::pair().await;
    let mut items = items(&world, "count 100000 1024").await;
    sleep(Duration::from_secs(10)).await;
    let made = || world.handler("b").items.load(Ordering::SeqCst);
    let window = LinkSettings::default().stream_window / 1024;
    // One more is made, and waits at the writer.
    assert_eq!(made(), window + 1);
    let received = world.status("a", "b").received_messages;
    assert_eq!(received, window as u64 + 1, "the answer, and the items");
    // Others go on meanwhile.
    assert_eq!(world.call("a", "b", call("echo")).await.unwrap(), "echo");
    for _ in 0..window / 2 {
        items.next().await.unwrap().unwrap();
    }
    settle().await;
    assert!(made() > window + window / 4 && made() <= window + window / 2 + 1, "{}", made());
    drop(items);
    settle().await;
    assert_eq!((open_at_b(&world), world.status("a", "b").breaks), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_reader_drops_the_stream() {
    let world = World::pair().await;
    let mut items = items(&world, "forever").await;
    assert_eq!(items.next().await.unwrap().unwrap(), "first");
    sleep(Duration::from_mins(1)).await;
    assert_eq!(open_at_b(&world), 1);
    drop(items);
    settle().await;
    assert_eq!(open_at_b(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_whoever_waits_for_a_stream_ends_the_opening() {
    let world = World::pair().await;
    let links = std::sync::Arc::clone(&world.node("a").links);
    let waits = tokio::spawn(async move { links.open(&incarnation("b"), call("wait")).await.map(drop) });
    settle().await;
    assert_eq!(open_at_b(&world), 1);
    waits.abort();
    settle().await;
    assert_eq!(open_at_b(&world), 0);
    assert_eq!(world.call("a", "b", call("echo")).await.unwrap(), "echo");
    assert_eq!(world.status("a", "b").breaks, 0);
}

#[tokio::test(start_paused = true)]
async fn a_broken_link_ends_streams_with_one_error() {
    let world = World::pair().await;
    let mut items = items(&world, "forever").await;
    settle().await;
    world.network.break_connections(&incarnation("a"), &incarnation("b"));
    settle().await;
    assert_eq!(items.next().await.unwrap().unwrap(), "first", "what has come is read");
    assert!(matches!(items.next().await, Some(Err(CallError::Unknown { .. }))));
    assert!(items.next().await.is_none());
    assert_eq!(open_at_b(&world), 0, "nobody would read it");
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_source_fails_ends_with_an_error() {
    let world = World::pair().await;
    for what in ["panic", "count 1 9000000"] {
        let got: Vec<_> = items(&world, what).await.collect().await;
        assert!(matches!(&got[..], [Err(CallError::Unknown { .. })]), "{what}: {got:?}");
    }
    assert_eq!((open_at_b(&world), world.status("a", "b").breaks), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_ordered_opening_waits_its_turn_and_its_items_hold_nobody() {
    let world = World::pair().await;
    let first = world.begin("a", "b", ordered("m", "wait"));
    settle().await;
    let links = std::sync::Arc::clone(&world.node("a").links);
    let opening = tokio::spawn(async move { links.open(&incarnation("b"), ordered("m", "forever")).await });
    settle().await;
    assert_eq!(world.handler("b").bodies(), ["wait"]);
    world.handler("b").permits.add_permits(1);
    first.await.unwrap().unwrap();
    let (_, items) = opening.await.unwrap().unwrap();
    assert_eq!(world.call("a", "b", ordered("m", "echo")).await.unwrap(), "echo");
    drop(items);
}

#[tokio::test(start_paused = true)]
async fn many_streams_share_a_slow_network() {
    let world = World::pair().await;
    let network: &Network = &world.network;
    network.delay(Duration::from_millis(1)..Duration::from_millis(20));
    let streams = (0..50).map(|_| async {
        let got: Vec<_> = items(&world, "count 200 5000").await.collect().await;
        got.into_iter().filter(|item| item.as_ref().is_ok_and(|item| item.len() == 5000)).count()
    });
    assert_eq!(futures::future::join_all(streams).await, vec![200; 50]);
}
