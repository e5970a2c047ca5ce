//! Meetings move: their owner dies, is drained, or hands one over.

use std::time::Duration;

use futures::StreamExt;
use teammy_kernel::Name;
use teammy_runtime::{
    Node, admin,
    meeting::{StartAt, Subscribe},
};
use tokio::time::Instant;

use super::support::*;

#[tokio::test(start_paused = true)]
async fn a_dead_nodes_meetings_go_on_and_publishers_and_readers_see_a_pause() {
    let cluster = cluster();
    let (a, b) = (start(&cluster, "a", 10).await, start(&cluster, "b", 10).await);
    let gateway = start(&cluster, "gateway", 0).await;
    gateway.sees(3).await;
    let meeting = open(&gateway, "m").await;
    let mut outputs = meeting.subscribe(Subscribe::to(["counter"]).from(StartAt::Start)).await.unwrap();
    meeting.publish(chat("one").numbered("p", 1)).await.unwrap().durable().await.unwrap();
    assert_eq!(output(&outputs.next().await.unwrap().unwrap().packet), (1, "one".to_owned()));
    let (dead, other) = if cluster.owner("m").await.unwrap().node == "a" { (a, b) } else { (b, a) };
    let dead_one = dead.incarnation().clone();
    dead.kill();
    let began = Instant::now();
    let receipt = meeting.publish(chat("two").numbered("p", 2)).await.unwrap();
    let pause = began.elapsed();
    assert!(pause <= Duration::from_secs(8), "{pause:?}");
    receipt.durable().await.unwrap();
    assert_eq!(output(&outputs.next().await.unwrap().unwrap().packet), (2, "two".to_owned()));
    assert_eq!(cluster.owner("m").await.as_ref(), Some(other.incarnation()));
    assert_ne!(cluster.owner("m").await.unwrap(), dead_one);
    meeting.end().await.unwrap();
    assert_eq!(stored_outputs(&cluster, "m").await, [(1, "one".to_owned()), (2, "two".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn meetings_without_publishers_are_taken_over_too() {
    let cluster = cluster();
    let a = start(&cluster, "a", 100).await;
    for number in 0..40 {
        open(&a, &format!("m{number}")).await;
    }
    let (b, c) = (start(&cluster, "b", 100).await, start(&cluster, "c", 100).await);
    for node in [&a, &b, &c] {
        node.sees(3).await;
    }
    a.kill();
    let began = Instant::now();
    while b.meeting_count() + c.meeting_count() < 40 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(began.elapsed() < Duration::from_secs(8), "{} and {}", b.meeting_count(), c.meeting_count());
    }
    assert!(b.meeting_count() >= 5 && c.meeting_count() >= 5, "both took some");
}

/// A handover names the new owner in the store, and then tells it. If that word is lost, the new owner finds the meeting among its
/// own, though nobody asks for it.
#[tokio::test(start_paused = true)]
async fn a_new_owner_that_was_not_told_runs_the_meeting_all_the_same() {
    let cluster = cluster();
    let a = start(&cluster, "a", 100).await;
    open(&a, "m").await;
    let b = start(&cluster, "b", 100).await;
    a.sees(2).await;
    // So there is time between the store's doing and the owner's knowing.
    a.store_link().delay(Duration::from_millis(100)..Duration::from_millis(101));
    let request = admin::Request::Move { meeting: id("m"), node: Name::new("b").unwrap() };
    let passed_on = async {
        while cluster.owner("m").await.as_ref() != Some(b.incarnation()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        cluster.network().cut_one_way(a.incarnation(), b.incarnation());
        assert!(b.running(&id("m")).is_none());
        Instant::now()
    };
    let (moved, began) = tokio::join!(admin::handle(&a, request), passed_on);
    let error = teammy_kernel::chain(&moved.unwrap_err());
    assert!(error.contains("which owns it and is not known to run it yet"), "{error}");
    while b.running(&id("m")).is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(began.elapsed() < Duration::from_secs(12), "it looks each 10 s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drained_node_is_empty_at_once_and_a_move_goes_where_it_is_told() {
    let cluster = cluster();
    let (a, b) = (start(&cluster, "a", 100).await, start(&cluster, "b", 100).await);
    a.sees(2).await;
    let mut meetings = Vec::new();
    for number in 0..20 {
        meetings.push(open(&b, &format!("m{number}")).await);
    }
    assert!(a.meeting_count() > 0 && b.meeting_count() > 0);
    for meeting in &meetings {
        meeting.publish(chat("wait 30").numbered("p", 1)).await.unwrap();
    }
    let began = Instant::now();
    admin::handle(&b, admin::Request::Drain { node: Name::new("a").unwrap() }).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!((a.meeting_count(), b.meeting_count()), (0, 20));
    for meeting in &meetings {
        meeting.publish(chat("two").numbered("p", 2)).await.unwrap();
        meeting.caught_up().await.unwrap();
    }
    for number in 0..20 {
        let outputs = stored_outputs(&cluster, &format!("m{number}")).await;
        assert_eq!(outputs, [(1, "wait 30".to_owned()), (2, "two".to_owned())]);
    }
    let c = start(&cluster, "c", 100).await;
    b.sees(3).await;
    let request = admin::Request::Move { meeting: id("m0"), node: Name::new("c").unwrap() };
    admin::handle(&a, request).await.unwrap();
    assert_eq!(cluster.owner("m0").await.as_ref(), Some(c.incarnation()));
    let admin::Response::Cluster { cluster: report } =
        admin::handle(&a, admin::Request::Cluster).await.unwrap()
    else {
        panic!("another answer");
    };
    let nodes: Vec<_> =
        report.nodes.iter().map(|node| (node.incarnation.node.as_str(), node.is_draining)).collect();
    assert_eq!(nodes, [("a", true), ("b", false), ("c", false)]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_shuts_down_leaves_its_meetings_to_the_others_at_once() {
    let cluster = cluster();
    let (a, b) = (start(&cluster, "a", 100).await, start(&cluster, "b", 100).await);
    b.sees(2).await;
    for number in 0..20 {
        open(&b, &format!("m{number}")).await;
    }
    let began = Instant::now();
    a.shutdown(Duration::from_secs(10)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(b.meeting_count(), 20);
    b.sees(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_hand_over_waits_for_what_runs_though_a_shutdown_releases_the_meeting_too() {
    let cluster = cluster();
    let (a, b) = (start(&cluster, "a", 100).await, start(&cluster, "b", 0).await);
    a.sees(2).await;
    let meeting = open(&a, "m").await;
    let receipt = meeting.publish(chat("wait 5")).await.unwrap();
    receipt.durable().await.unwrap();
    let (to, began) = (b.incarnation().clone(), Instant::now());
    let m = id("m");
    let hand_over = a.hand_over(&m, to, Duration::from_secs(20));
    let (released, shut_down) = tokio::join!(hand_over, Node::shutdown(&a, Duration::from_secs(30)));
    assert!(matches!(released.unwrap(), teammy_runtime::node::HandOver::Released { .. }));
    shut_down.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(4), "the hook was not cut off: {:?}", began.elapsed());
    assert_eq!(stored_outputs(&cluster, "m").await, [(1, "wait 5".to_owned())]);
}
