//! Checkpoints: what hooks make of volatile packets is stored once an interval.

use std::time::Duration;

use serde_json::json;
use teammy_kernel::Publish;
use teammy_runtime::{MeetingRef, Node};

use crate::support::*;

/// An instance whose hook takes the volatile source `sound` as the probe takes `transcription`: each packet
/// changes its state. It takes the durable `chat`, too.
fn listener(events: &str, more: &str) -> String {
    format!(
        "[[plugin]]\nname = \"listener\"\nkind = \"probe\"\nsources = {{ transcription = \"sound\" }}\n\
         config = {{ events = \"{events}\" }}\n{more}\n"
    )
}

/// Nothing is stored by a timer.
const NEVER: &str = "[delivery]\ncheckpoint_interval = \"1h\"\ncursor_interval = \"1h\"";

async fn listening(store: &FaultyStore, toml: &str) -> (Node, MeetingRef) {
    let node = node(store, toml).await;
    let meeting = start(&node, "m", &["listener"]).await;
    meeting.caught_up().await.unwrap();
    store.take_batches();
    (node, meeting)
}

async fn sound(meeting: &MeetingRef, text: &str) {
    meeting.publish(Publish::json("sound", &json!({"text": text})).unwrap()).await.unwrap();
}

/// The stored count of packets that changed the state.
async fn stored(store: &FaultyStore) -> u64 {
    let row = store.instance("m", "listener").await;
    let state: Option<serde_json::Value> = row.state.map(|json| serde_json::from_str(&json).unwrap());
    state.map_or(0, |state| state["count"].as_u64().unwrap())
}

async fn stored_key(store: &FaultyStore, key: &str) -> Option<String> {
    use teammy_kernel::Store;
    let name = teammy_kernel::Name::new("listener").unwrap();
    store.inner.get(id("m"), name, key.to_owned()).await.unwrap().map(|value| value.to_string())
}

/// Waits until so many packets' effects are stored, for at most ten seconds.
async fn wait_for(store: &FaultyStore, count: u64) {
    for _ in 0..10_000 {
        if stored(store).await >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{} of {count} are stored", stored(store).await);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_each_frame_changes_is_stored_once_a_second() {
    let store = FaultyStore::default();
    let (_node, meeting) = listening(&store, &listener("frames", "")).await;
    for n in 1..=500_u64 {
        sound(&meeting, "la").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let behind = n - stored(&store).await;
        assert!(behind <= 51, "{behind} frames of 20 ms are not stored");
    }
    let commits = store.take_batches().len();
    assert!((9..=11).contains(&commits), "{commits} commits in 10 seconds");
    meeting.caught_up().await.unwrap();
    assert_eq!(stored(&store).await, 500, "who catches up waits for the checkpoint");
}

#[tokio::test(start_paused = true)]
async fn an_instance_has_an_interval_of_its_own() {
    for (interval, commits) in [("2s", 4..=6), ("0s", 100..=120)] {
        let store = FaultyStore::default();
        let toml = listener("intervals", &format!("checkpoint_interval = \"{interval}\""));
        let (_node, meeting) = listening(&store, &toml).await;
        for _ in 0..100 {
            sound(&meeting, "la").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let made = store.take_batches().len();
        assert!(commits.contains(&made), "{made} commits in 10 seconds at {interval}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_effects_of_a_durable_packet_take_the_checkpoint_along() {
    let store = FaultyStore::default();
    let (_node, meeting) = listening(&store, &listener("along", NEVER)).await;
    sound(&meeting, "set key before").await;
    wait_for_event("along", "listener set key before").await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!((stored(&store).await, stored_key(&store, "key").await), (0, None));
    meeting.publish(chat("a durable packet")).await.unwrap();
    wait_for(&store, 2).await;
    assert_eq!(stored_key(&store, "key").await.as_deref(), Some("\"before\""));
}

#[tokio::test(start_paused = true)]
async fn the_end_stores_it() {
    let store = FaultyStore::default();
    let (_node, meeting) = listening(&store, &listener("the-end", NEVER)).await;
    sound(&meeting, "la").await;
    meeting.end().await.unwrap();
    assert_eq!(stored(&store).await, 1);
}

#[tokio::test(start_paused = true)]
async fn leaving_stores_it() {
    let store = FaultyStore::default();
    let (_node, meeting) = listening(&store, &listener("leaving", NEVER)).await;
    sound(&meeting, "la").await;
    meeting.unassign("listener").await.unwrap();
    wait_for(&store, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_suspension_stores_it() {
    let store = FaultyStore::default();
    let toml = format!("{}[restart]\nintensity = 0", listener("suspension", NEVER));
    let (_node, meeting) = listening(&store, &toml).await;
    sound(&meeting, "la").await;
    sound(&meeting, "panic").await;
    wait_for(&store, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_stores_it_and_the_next_owner_goes_on() {
    let store = FaultyStore::default();
    let toml = listener("handover", NEVER);
    let (first, meeting) = listening(&store, &toml).await;
    for _ in 0..3 {
        sound(&meeting, "la").await;
    }
    sound(&meeting, "set key value").await;
    wait_for_event("handover", "listener set key value").await;
    first.shutdown(Duration::from_secs(10)).await.unwrap();
    assert_eq!(stored(&store).await, 4);
    let second = node(&store, &toml).await;
    let meeting = second.resume_meeting(&id("m")).await.unwrap();
    sound(&meeting, "la").await;
    meeting.end().await.unwrap();
    assert_eq!(stored(&store).await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_crash_loses_no_more_than_an_interval_and_nothing_durable() {
    let store = FaultyStore::default();
    let toml = listener("crash", "");
    let (first, meeting) = listening(&store, &toml).await;
    for n in 0..155 {
        sound(&meeting, &format!("set frame {n}")).await;
        if n == 20 {
            publish_chat(&meeting).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(first);
    let kept = stored(&store).await;
    assert!((105..=156).contains(&kept), "{kept} of 156 are stored");
    // The state and the key are of the same frame; one of those counted is the durable packet.
    assert_eq!(stored_key(&store, "frame").await, Some(format!("\"{}\"", kept - 2)));

    let second = node(&store, &toml).await;
    let meeting = second.resume_meeting(&id("m")).await.unwrap();
    sound(&meeting, "la").await;
    meeting.end().await.unwrap();
    assert_eq!(stored(&store).await, kept + 1, "it goes on from there");
}

async fn publish_chat(meeting: &MeetingRef) {
    meeting.publish(chat("a durable packet")).await.unwrap().durable().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_panics_goes_on_from_what_waits() {
    let store = FaultyStore::default();
    let (_node, meeting) = listening(&store, &listener("waits", NEVER)).await;
    sound(&meeting, "set key value").await;
    sound(&meeting, "panic-once").await;
    sound(&meeting, "la").await;
    meeting.caught_up().await.unwrap();
    assert_eq!(stored(&store).await, 3);
    assert_eq!(stored_key(&store, "key").await.as_deref(), Some("\"value\""));
}

#[tokio::test(start_paused = true)]
async fn a_volatile_output_needs_no_commit() {
    let store = FaultyStore::default();
    let toml = r#"
        [[plugin]]
        name = "listener"
        kind = "probe"
        sources = { up = "sound" }
        output = "volatile"
        config = { outputs = true }
        [delivery]
        cursor_interval = "1h"
    "#;
    let (_node, meeting) = listening(&store, toml).await;
    for n in 0..50 {
        meeting.publish(Publish::json("sound", &json!(n)).unwrap()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(store.take_batches().len(), 0);
    assert_eq!(meeting.stats().await.unwrap().instances[0].outputs, 50);
}
