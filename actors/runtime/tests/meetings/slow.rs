//! Slow and stuck instances: what it means for other instances, for publishers and for memory.

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use serde_json::json;
use teammy_kernel::{MeetingMetadata, Publish, Store};
use teammy_runtime::{
    PublishError,
    meeting::{StartAt, Subscribe},
};

use super::support::*;

/// A packet of a kibibyte.
fn long(participant: &str) -> Publish {
    Publish::json("sound", &json!({"text": "x", "pad": "x".repeat(1_000)})).unwrap().participant(participant)
}

#[tokio::test(start_paused = true)]
async fn publishers_wait_for_an_instance_that_blocks() {
    let store = FaultyStore::default();
    let toml = r#"
        delivery.block_bytes = "4KiB"
        [[plugin]]
        name = "blocks"
        kind = "probe"
        sources = { up = "sound" }
        delivery = { up = "block" }
        config = { events = "blocks" }
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["blocks"]).await;
    meeting.caught_up().await.unwrap();
    let slow = Publish::json("sound", &json!({"wait": 1_000})).unwrap();
    meeting.publish(slow).await.unwrap();
    let mut accepted = 0;
    let busy = loop {
        match meeting.try_publish(long("a")).await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(busy, PublishError::Busy(_)), "{busy}");
    assert!((2..=4).contains(&accepted), "{accepted}");
    assert!(meeting.publish(long("b")).now_or_never().is_none(), "it waits");
    // Another source is not blocked.
    meeting.publish(transcription("free")).now_or_never().unwrap().unwrap();
    meeting.publish(long("c")).await.unwrap();
    meeting.end().await.unwrap();
    let seen = events("blocks").iter().filter(|line| line.contains(" up ")).count();
    assert_eq!(seen, accepted + 2, "nothing is lost");
    assert_eq!(meeting.stats().await.unwrap().instances[0].lost, 0);
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_instances_that_block_does_not_deadlock() {
    let store = FaultyStore::default();
    let toml = r#"
        delivery.block_bytes = 1
        [[plugin]]
        name = "first"
        kind = "probe"
        config = { outputs = true }
        [[plugin]]
        name = "second"
        kind = "probe"
        sources = { up = "first", transcription = "chat", chat = "up" }
        delivery = { up = "block" }
        config = { outputs = true }
        [[plugin]]
        name = "third"
        kind = "probe"
        sources = { up = "second", transcription = "chat", chat = "up" }
        delivery = { up = "block" }
        config = { events = "chained" }
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["first", "second", "third"]).await;
    for n in 0..50 {
        meeting.publish(transcription(&n.to_string())).await.unwrap();
    }
    meeting.end().await.unwrap();
    let seen = events("chained").iter().filter(|line| line.contains(" up ")).count();
    assert_eq!(seen, 50);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_behind_gets_the_newest_partial_transcript_of_each_segment() {
    let store = FaultyStore::default();
    let toml = r#"
        [[plugin]]
        name = "latest"
        kind = "probe"
        delivery = { transcription = { latest = "/segment" } }
        config = { events = "partial" }
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["latest"]).await;
    publish_durable(&meeting, "wait 1").await;
    for n in 0..500 {
        let partial = json!({"segment": n % 2, "text": format!("partial {n}")});
        meeting.publish(Publish::json("transcription", &partial).unwrap()).await.unwrap();
    }
    meeting.end().await.unwrap();
    let delivered: Vec<_> = events("partial").into_iter().filter(|line| line.contains("partial")).collect();
    assert_eq!(delivered, ["latest partial 498", "latest partial 499"]);
    assert_eq!(meeting.stats().await.unwrap().instances[0].lost, 498, "replaced packets are counted");
}

#[tokio::test(start_paused = true)]
async fn while_a_node_is_over_its_memory_limit_publishers_wait_and_meetings_shed_packets() {
    let store = FaultyStore::default();
    let toml = r#"
        node.memory = "1MiB"
        [[plugin]]
        name = "slow"
        kind = "probe"
        sources = { up = "sound" }
        config = { events = "memory" }
    "#;
    let node = node(&store, toml).await;
    let mut meetings = Vec::new();
    for name in ["one", "two", "three"] {
        let meeting = start(&node, name, &["slow"]).await;
        meeting.publish(Publish::json("sound", &json!({"wait": 60_000})).unwrap()).await.unwrap();
        meetings.push(meeting);
    }
    // Three times what the tails may hold.
    for round in 0..3_000_usize {
        meetings[round % 3].publish(long("a")).await.unwrap();
        assert!(node.memory().used <= node.memory().limit + (64 << 10), "{:?}", node.memory());
    }
    let end = json!({"wait": 0});
    let (mut lost, mut published) = (0, 0);
    for meeting in &meetings {
        meeting.publish(Publish::json("sound", &end).unwrap()).await.unwrap();
        meeting.end().await.unwrap();
        let stats = meeting.stats().await.unwrap();
        assert!(stats.instances[0].lost > 0);
        lost += stats.instances[0].lost;
        published += stats.packets;
    }
    let seen = events("memory").iter().filter(|line| line.contains(" up ")).count() as u64;
    assert_eq!(seen + lost, published, "every packet is delivered or counted as lost");
    node.shutdown(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_whose_hook_holds_its_thread_past_the_deadline_is_suspended() {
    let store = FaultyStore::default();
    let toml = r#"
        node.plugin_threads = 4
        hooks = { watchdog = "20ms", deadline = "2s" }
        [[plugin]]
        name = "stuck"
        kind = "probe"
        config = { events = "stuck" }
        [[plugin]]
        name = "healthy"
        kind = "probe"
        sources = { transcription = "chat", chat = "transcription" }
        config = { outputs = true }
        [[source]]
        name = "up"
    "#;
    let config = teammy_config::Config::from_toml(toml).unwrap();
    let node = teammy_runtime::Node::builder(config).plugin(teammy_kernel::Factory::of::<Probe>("probe"));
    let node = node.store(std::sync::Arc::new(store.clone())).start().await.unwrap();
    let meeting = node.start_meeting(MeetingMetadata::new(id("m")), ["stuck", "healthy"]).await.unwrap();
    let subscribe = Subscribe::to(["plugin-status", "healthy"]).from(StartAt::Start);
    let mut subscription = meeting.subscribe(subscribe).await.unwrap();
    let mut next = async || subscription.next().await.unwrap().unwrap().packet;
    meeting.publish(transcription("spin")).await.unwrap();
    // One instance is stuck until the thread is released below; the other continues.
    let (mut outputs, mut status) = (0, None);
    while outputs == 0 || status.is_none() {
        let packet = next().await;
        if packet.source == "plugin-status" {
            status = Some(value(&packet));
        } else {
            outputs += 1;
        }
        meeting.publish(transcription("on")).await.unwrap();
    }
    let status = status.unwrap();
    assert_eq!((&status["instance"], &status["status"]), (&json!("stuck"), &json!("suspended")));
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.contains("hook for transcription has held a thread"), "{reason}");
    // Its effects are dropped.
    record("stuck", "released");
    meeting.end().await.unwrap();
    let row = store.instance("m", "stuck").await;
    assert!(row.state.is_none(), "{row:?}");
    node.shutdown(Duration::from_secs(10)).await.unwrap();
    assert!(store.inner.dead_letters(id("m")).await.unwrap().is_empty());
}
