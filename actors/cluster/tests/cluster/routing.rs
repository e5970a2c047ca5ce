//! Meetings are reached from every node.

use futures::StreamExt;
use teammy_kernel::MeetingMetadata;
use teammy_runtime::meeting::{StartAt, Subscribe};

use super::support::*;

#[tokio::test(start_paused = true)]
async fn every_node_starts_publishes_subscribes_and_ends_by_id() {
    let cluster = cluster();
    let nodes = [
        start(&cluster, "a", 100).await,
        start(&cluster, "b", 100).await,
        // A gateway runs nothing itself.
        start(&cluster, "gateway", 0).await,
    ];
    for node in &nodes {
        node.sees(3).await;
    }
    let mut owners = std::collections::BTreeSet::new();
    for number in 0..12 {
        let meeting = format!("m{number}");
        let opened = nodes[number % 3].open(MeetingMetadata::new(id(&meeting)), ["counter"]).await.unwrap();
        assert_eq!(opened.as_str(), "started");
        let again =
            nodes[(number + 1) % 3].open(MeetingMetadata::new(id(&meeting)), ["counter"]).await.unwrap();
        assert_eq!(again.as_str(), "running");
        owners.insert(cluster.owner(&meeting).await.unwrap().node.to_string());
        let reader = nodes[(number + 2) % 3].find_meeting(&id(&meeting)).await.unwrap();
        let mut outputs = reader.subscribe(Subscribe::to(["counter"]).from(StartAt::Start)).await.unwrap();
        for (place, node) in nodes.iter().enumerate() {
            let publisher = node.find_meeting(&id(&meeting)).await.unwrap();
            let receipt = publisher.publish(chat(&format!("from {place}"))).await.unwrap();
            receipt.durable().await.unwrap();
        }
        for place in 0..3_u64 {
            let packet = outputs.next().await.unwrap().unwrap().packet;
            assert_eq!(output(&packet), (place + 1, format!("from {place}")));
        }
        nodes[(number + 1) % 3].find_meeting(&id(&meeting)).await.unwrap().end().await.unwrap();
        assert!(outputs.next().await.is_none(), "the meeting has ended");
        let ended = nodes[number % 3].find_meeting(&id(&meeting)).await.unwrap();
        assert!(ended.has_ended());
        let history: Vec<_> = ended.outputs().map(|packet| output(&packet.unwrap())).collect().await;
        assert_eq!(history.len(), 3);
    }
    assert_eq!(
        owners,
        ["a", "b"].map(str::to_owned).into(),
        "meetings are spread, and none runs on the gateway"
    );
}

#[tokio::test(start_paused = true)]
async fn errors_are_the_same_from_every_node() {
    let cluster = cluster();
    let (owner, other) = (start(&cluster, "a", 10).await, start(&cluster, "b", 0).await);
    other.sees(2).await;
    let meeting = open(&other, "m").await;
    let local = owner.find_meeting(&id("m")).await.unwrap();
    for publish in [
        chat("x").numbered("p", 2),
        chat("x").numbered("p", 0),
        teammy_kernel::Publish::json("nothing", &1).unwrap(),
        teammy_kernel::Publish::json("counter", &1).unwrap(),
    ] {
        let (here, there) = (local.publish(publish.clone()).await, meeting.publish(publish).await);
        let (here, there) = (here.unwrap_err(), there.unwrap_err());
        assert_eq!((here.to_string(), here.class()), (there.to_string(), there.class()));
    }
    let (here, there) =
        (local.assign("nobody").await.unwrap_err(), meeting.assign("nobody").await.unwrap_err());
    assert_eq!((here.to_string(), here.class()), (there.to_string(), there.class()));
    let (here, there) =
        (local.assign("counter").await.unwrap_err(), meeting.assign("counter").await.unwrap_err());
    assert_eq!((here.to_string(), here.class()), (there.to_string(), there.class()));
    assert_eq!(meeting.expects("p").await.unwrap(), 1);
    let first = meeting.publish(chat("one").numbered("p", 1)).await.unwrap();
    let again = meeting.publish(chat("one").numbered("p", 1)).await.unwrap();
    assert_eq!((first.seq(), first.is_repeat(), again.is_repeat()), (again.seq(), false, true));
    assert_eq!(meeting.numbered("p", 1).await.unwrap(), Some(first.seq()));
    assert!(meeting.stats().await.unwrap().packets > 0);
    let error = other.find_meeting(&id("missing")).await.unwrap_err();
    assert_eq!(error.code(), "no-meeting");
}

#[tokio::test(start_paused = true)]
async fn a_meeting_that_no_node_has_room_for_is_refused_with_the_reasons() {
    let cluster = cluster();
    let (a, b) = (start(&cluster, "a", 1).await, start(&cluster, "b", 0).await);
    b.sees(2).await;
    open(&b, "m").await;
    let error = b.open(MeetingMetadata::new(id("n")), ["counter"]).await.unwrap_err();
    assert_eq!(error.to_string(), "no node takes meeting n now: node a is full: it has room for 1 meetings");
    assert!(error.can_retry());
    a.find_meeting(&id("m")).await.unwrap().end().await.unwrap();
    open(&b, "n").await;
}
