//! Nodes that share a store: who may own a meeting, and how one is handed over.

use std::{sync::Arc, time::Duration};

use teammy_config::Config;
use teammy_kernel::{
    Factory, MeetingMetadata, Name, PublishError, Seq, Store,
    log::Snapshot,
    store::{self, Incarnation},
};
use teammy_runtime::{
    Node,
    node::{Error, HandOver},
};

use super::support::*;

const TTL: Duration = Duration::from_secs(6);

fn incarnation(node: &str) -> Incarnation {
    Incarnation { node: Name::new(node).unwrap(), boot: 1 }
}

/// A node with a lease, which lasts for [`TTL`].
async fn owner(store: &FaultyStore, name: &str) -> Node {
    let me = incarnation(name);
    assert!(store.leases().take_lease(me.clone(), TTL, "{}".into()).await.unwrap());
    let config = format!("{}\n[[source]]\nname = \"up\"\n", probe_toml(name));
    Node::builder(Config::from_toml(&config).unwrap())
        .plugins([Factory::of::<Probe>("probe")])
        .store(Arc::new(store.clone()))
        .owner(me)
        .plugin_runtime(tokio::runtime::Handle::current())
        .start()
        .await
        .unwrap()
}

fn is_owned_by(error: &Error, name: &str) -> bool {
    matches!(error, Error::Store(store::Error::Owned { owner, .. }) if *owner == incarnation(name))
}

#[tokio::test(start_paused = true)]
async fn a_meeting_is_taken_from_no_live_node_and_handed_over_at_once() {
    let store = FaultyStore::default();
    let (north, south) = (owner(&store, "owned-north").await, owner(&store, "owned-south").await);
    let meeting = start(&north, "m", &["probe"]).await;
    let first = meeting.publish(transcription("one")).await.unwrap();
    first.durable().await.unwrap();

    let error = south.resume_here(&id("m")).await.unwrap_err();
    assert!(is_owned_by(&error, "owned-north"), "{error}");
    let error = south.open_here(MeetingMetadata::new(id("m")), Vec::new()).await.unwrap_err();
    assert!(is_owned_by(&error, "owned-north"), "{error}");
    meeting.publish(transcription("two")).await.unwrap();

    assert_eq!(south.hand_over(&id("m"), incarnation("owned-north"), TTL).await.unwrap(), HandOver::NotHere);
    assert!(matches!(
        north.hand_over(&id("m"), incarnation("owned-south"), TTL).await.unwrap(),
        HandOver::Released { .. }
    ));
    let error = meeting.publish(transcription("late")).await.unwrap_err();
    assert!(matches!(error, PublishError::Gone { .. }), "{error}");
    let meeting = south.resume_here(&id("m")).await.unwrap();
    meeting.stored(first.seq()).await.unwrap();
    meeting.publish(transcription("three")).await.unwrap();
    meeting.caught_up().await.unwrap();
    assert_eq!(texts(&store, "m", "transcription").await, ["one", "two", "three"]);
    south.shutdown(TTL).await.unwrap();
    // What it owned may be taken once its lease is given back.
    assert!(is_owned_by(&north.resume_here(&id("m")).await.unwrap_err(), "owned-south"));
    store.leases().release_lease(incarnation("owned-south")).await.unwrap();
    north.resume_here(&id("m")).await.unwrap();
    north.shutdown(TTL).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hand_over_waits_for_no_hook_but_for_all_that_was_accepted() {
    let store = FaultyStore::default();
    let (north, south) = (owner(&store, "grace-north").await, owner(&store, "grace-south").await);
    let meeting = start(&north, "m", &["probe"]).await;
    meeting.publish(transcription("wait 30")).await.unwrap();
    meeting.publish(transcription("accepted")).await.unwrap();
    let began = tokio::time::Instant::now();
    north.hand_over(&id("m"), incarnation("grace-south"), Duration::from_millis(250)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let meeting = south.resume_here(&id("m")).await.unwrap();
    meeting.caught_up().await.unwrap();
    assert_eq!(texts(&store, "m", "transcription").await, ["wait 30", "accepted"]);
    let outputs = texts(&store, "m", "probe").await;
    assert_eq!(
        outputs,
        [r#"{"count":1}"#, r#"{"count":2}"#],
        "the hook ran again, and its output is there once"
    );
    for node in [north, south] {
        node.shutdown(TTL).await.unwrap();
    }
}

/// Hands meeting `m` over. The snapshot goes from node to node as JSON.
async fn hand_over(from: &Node, to: &str) -> Snapshot {
    match from.hand_over(&id("m"), incarnation(to), TTL).await.unwrap() {
        HandOver::Released { snapshot: Some(snapshot), .. } => {
            serde_json::from_str(&serde_json::to_string(&snapshot).unwrap()).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_owner_goes_on_from_the_last_ones_memory_unless_the_store_has_more() {
    let store = FaultyStore::default();
    let (north, south) = (owner(&store, "memory-north").await, owner(&store, "memory-south").await);
    let meeting = start(&north, "m", &["probe"]).await;
    let say = |number: u64| transcription(&format!("{number}")).numbered("p", number);
    meeting.publish(say(1)).await.unwrap().durable().await.unwrap();
    meeting.publish(transcription("unnumbered")).await.unwrap();

    let snapshot = hand_over(&north, "memory-south").await;
    let old = snapshot.clone();
    store.take_reads();
    let meeting = south.resume_from(&id("m"), snapshot).await.unwrap();
    assert_eq!(store.take_reads(), 0);
    assert!(meeting.publish(say(1)).await.unwrap().is_repeat(), "its producers' numbers are known");
    meeting.publish(say(2)).await.unwrap();
    meeting.caught_up().await.unwrap();

    // It comes back, and what the first owner knew is not all any more.
    hand_over(&south, "memory-north").await;
    let meeting = north.resume_from(&id("m"), old).await.unwrap();
    assert!(store.take_reads() > 0);
    assert!(meeting.publish(say(2)).await.unwrap().is_repeat());
    meeting.publish(say(3)).await.unwrap();
    meeting.caught_up().await.unwrap();
    assert_eq!(texts(&store, "m", "transcription").await, ["1", "unnumbered", "2", "3"]);
    let counts: Vec<_> = (1..=4).map(|count| format!(r#"{{"count":{count}}}"#)).collect();
    assert_eq!(texts(&store, "m", "probe").await, counts, "its state goes along");
    meeting.end().await.unwrap();
    for node in [north, south] {
        node.shutdown(TTL).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_lease_has_ended_stops_its_meetings_and_takes_none() {
    let store = FaultyStore::default();
    let (north, south) = (owner(&store, "fence-north").await, owner(&store, "fence-south").await);
    let meeting = start(&north, "m", &["probe"]).await;
    meeting.publish(transcription("one")).await.unwrap().durable().await.unwrap();
    // What is accepted and not stored is lost with its owner.
    store.hold_commits();
    let lost = meeting.publish(transcription("lost")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    store.leases().renew_lease(incarnation("fence-south"), TTL, "{}".into()).await.unwrap();
    north.fence("its lease has ended");
    assert!(matches!(meeting.publish(transcription("late")).await.unwrap_err(), PublishError::Gone { .. }));
    assert!(matches!(lost.durable().await.unwrap_err(), PublishError::Gone { .. }));
    let error = north.start_meeting(MeetingMetadata::new(id("n")), ["probe"]).await.unwrap_err();
    assert!(matches!(error, Error::NoMember(_)), "{error}");

    let error = south.resume_here(&id("m")).await.unwrap_err();
    assert!(is_owned_by(&error, "fence-north"), "{error}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(store.leases().end_lease(incarnation("fence-north")).await.unwrap());
    let meeting = south.resume_here(&id("m")).await.unwrap();
    store.release_commits();
    meeting.publish(transcription("two")).await.unwrap().durable().await.unwrap();
    let error = meeting.stored(lost.seq()).await.unwrap_err();
    assert!(matches!(error, PublishError::Lost(_)), "{error}");
    assert!(lost.seq() > Seq::ZERO);
    assert_eq!(texts(&store, "m", "transcription").await, ["one", "two"]);
    south.shutdown(TTL).await.unwrap();
}

/// The texts of a source's stored packets.
async fn texts(store: &FaultyStore, meeting: &str, source: &str) -> Vec<String> {
    let packets = store.packets(meeting).await;
    let text = |packet: &Arc<teammy_kernel::DataPacket>| {
        value(packet)["text"].as_str().map_or_else(|| value(packet).to_string(), str::to_owned)
    };
    packets.iter().filter(|packet| packet.source == source).map(text).collect()
}
