//! Instances that are slow, stuck or silent, and what the others, the publishers and the memory notice of it.

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use serde_json::json;
use teammy_kernel::{MeetingMetadata, Publish, Store};
use teammy_runtime::{
    PublishError,
    meeting::{StartAt, Subscribe},
};

use super::support::*;

/// A packet of a kibibyte that some participant says.
fn long(who: &str) -> Publish {
    Publish::json("sound", &json!({"text": "x", "pad": "x".repeat(1_000)})).unwrap().participant(who)
}

#[tokio::test(start_paused = true)]
async fn who_publishes_waits_for_an_instance_that_blocks_and_then_goes_on() {
    let store = Gate::default();
    let toml = r#"
        delivery.block_bytes = "4KiB"
        [[plugin]]
        name = "blocks"
        kind = "probe"
        sources = { up = "sound" }
        delivery = { up = "block" }
        config = { diary = "blocks" }
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["blocks"]).await;
    meeting.caught_up().await.unwrap();
    let slow = Publish::json("sound", &json!({"wait": 1_000})).unwrap();
    meeting.publish(slow).await.unwrap();
    let mut taken = 0;
    let busy = loop {
        match meeting.try_publish(long("a")).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(busy, PublishError::Busy(_)), "{busy}");
    assert!((2..=4).contains(&taken), "{taken}");
    assert!(meeting.publish(long("b")).now_or_never().is_none(), "it would wait");
    // Of another source it takes as much as ever.
    meeting.publish(said("free")).now_or_never().unwrap().unwrap();
    meeting.publish(long("c")).await.unwrap();
    meeting.end().await.unwrap();
    let seen = diary("blocks").iter().filter(|line| line.contains(" up ")).count();
    assert_eq!(seen, taken + 2, "it lost nothing");
    assert_eq!(meeting.stats().await.unwrap().instances[0].lost, 0);
}

#[tokio::test(start_paused = true)]
async fn a_chain_with_a_block_in_the_middle_comes_to_its_end() {
    let store = Gate::default();
    let toml = r#"
        delivery.block_bytes = 1
        [[plugin]]
        name = "first"
        kind = "probe"
        config = { answers = true }
        [[plugin]]
        name = "second"
        kind = "probe"
        sources = { up = "first", transcription = "chat", chat = "participant" }
        delivery = { up = "block" }
        config = { answers = true }
        [[plugin]]
        name = "third"
        kind = "probe"
        sources = { up = "second", transcription = "chat", chat = "participant" }
        delivery = { up = "block" }
        config = { diary = "chained" }
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["first", "second", "third"]).await;
    for n in 0..50 {
        meeting.publish(said(&n.to_string())).await.unwrap();
    }
    meeting.end().await.unwrap();
    let seen = diary("chained").iter().filter(|line| line.contains(" up ")).count();
    assert_eq!(seen, 50);
}

#[tokio::test(start_paused = true)]
async fn of_a_flood_of_partial_transcripts_the_newest_of_each_is_left() {
    let store = Gate::default();
    let toml = r#"
        [[plugin]]
        name = "latest"
        kind = "probe"
        delivery = { transcription = { latest = "/segment" } }
        config = { diary = "partial" }
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["latest"]).await;
    say(&meeting, "wait 1").await;
    for n in 0..500 {
        let partial = json!({"segment": n % 2, "text": format!("partial {n}")});
        meeting.publish(Publish::json("transcription", &partial).unwrap()).await.unwrap();
    }
    meeting.end().await.unwrap();
    let heard: Vec<_> = diary("partial").into_iter().filter(|line| line.contains("partial")).collect();
    assert_eq!(heard, ["latest partial 498", "latest partial 499"]);
    assert_eq!(meeting.stats().await.unwrap().instances[0].lost, 498, "those that were replaced are counted");
}

#[tokio::test(start_paused = true)]
async fn while_a_node_has_too_much_in_memory_publishers_wait_and_meetings_let_go() {
    let store = Gate::default();
    let toml = r#"
        node.memory = "1MiB"
        [[plugin]]
        name = "slow"
        kind = "probe"
        sources = { up = "sound" }
        config = { diary = "memory" }
    "#;
    let node = node(&store, toml).await;
    let mut meetings = Vec::new();
    for name in ["one", "two", "three"] {
        let meeting = start(&node, name, &["slow"]).await;
        meeting.publish(Publish::json("sound", &json!({"wait": 60_000})).unwrap()).await.unwrap();
        meetings.push(meeting);
    }
    // Three times what a tail may hold of it.
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
    let seen = diary("memory").iter().filter(|line| line.contains(" up ")).count() as u64;
    assert_eq!(seen + lost, published, "what was let go of is counted");
    node.shutdown(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_holds_its_thread_past_its_deadline_is_suspended_and_the_others_go_on() {
    let store = Gate::default();
    let toml = r#"
        node.plugin_threads = 4
        hooks = { watchdog = "20ms", deadline = "2s" }
        [[plugin]]
        name = "stuck"
        kind = "probe"
        config = { diary = "stuck" }
        [[plugin]]
        name = "well"
        kind = "probe"
        sources = { transcription = "chat", chat = "transcription" }
        config = { answers = true }
        [[source]]
        name = "up"
    "#;
    let config = teammy_config::Config::from_toml(toml).unwrap();
    let node = teammy_runtime::Node::builder(config).plugin(teammy_kernel::Factory::of::<Probe>("probe"));
    let node = node.store(std::sync::Arc::new(store.clone())).start().await.unwrap();
    let meeting = node.start_meeting(MeetingMetadata::new(id("m")), ["stuck", "well"]).await.unwrap();
    let told = Subscribe::to(["plugin-status", "well"]).from(StartAt::Start);
    let mut told = meeting.subscribe(told).await.unwrap();
    let mut next = async || told.next().await.unwrap().unwrap().packet;
    meeting.publish(said("spin")).await.unwrap();
    // Until its thread is released, which is below, the one is stuck and the other goes on.
    let (mut heard, mut status) = (0, None);
    while heard == 0 || status.is_none() {
        let packet = next().await;
        if packet.source == "plugin-status" {
            status = Some(value(&packet));
        } else {
            heard += 1;
        }
        meeting.publish(said("on")).await.unwrap();
    }
    let status = status.unwrap();
    assert_eq!((&status["instance"], &status["status"]), (&json!("stuck"), &json!("suspended")));
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.contains("hook for transcription has held a thread"), "{reason}");
    // What it makes after all is nobody's.
    note("stuck", "released");
    meeting.end().await.unwrap();
    let row = store.instance("m", "stuck").await;
    assert!(row.state.is_none(), "{row:?}");
    node.shutdown(Duration::from_secs(10)).await.unwrap();
    assert!(store.store.dead_letters(id("m")).await.unwrap().is_empty());
}
