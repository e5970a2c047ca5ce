//! When a plugin's handlers run; how meetings start, change and end.

use std::time::Duration;

use futures::StreamExt;
use serde_json::json;
use teammy_kernel::{
    MeetingMetadata,
    log::JoinAt,
    store::{InstanceStatus, MeetingStatus},
};

use super::support::*;

const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn handlers_run_in_the_documented_order() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("order")).await;
    assert_eq!(events("order"), ["startup"]);
    for name in ["first", "second"] {
        let meeting = start(&node, name, &["probe"]).await;
        publish_durable(&meeting, "hello").await;
        meeting.end().await.unwrap();
    }
    node.shutdown(DEADLINE).await.unwrap();
    let expected = [
        "startup",
        "probe start first",
        "probe hello",
        "probe end first 1",
        "probe start second",
        "probe hello",
        "probe end second 1",
        "shutdown",
    ];
    assert_eq!(events("order"), expected);
    assert!(events("installs").is_empty(), "a node does not run on_install");
}

#[tokio::test(start_paused = true)]
async fn outputs_of_on_meeting_end_reach_downstream_instances() {
    let store = FaultyStore::default();
    let toml = r#"
        [[plugin]]
        name = "behind"
        kind = "probe"
        sources = { up = "front" }
        config = { events = "ends", outputs = true }
        [[plugin]]
        name = "front"
        kind = "probe"
        config = { events = "ends", outputs_at_end = true }
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["behind", "front"]).await;
    meeting.end().await.unwrap();
    let ends: Vec<_> = events("ends").into_iter().filter(|line| !line.contains("start")).collect();
    assert_eq!(ends, ["front end m 0", "behind up {\"end\":0} of [Seq(2)]", "behind end m 0"]);
    let outputs = all_outputs(&meeting).await;
    assert_eq!(outputs, [(json!({"end": 0}), vec![2]), (json!({"from": {"end": 0}}), vec![3])]);
}

#[tokio::test(start_paused = true)]
async fn the_log_contains_the_meetings_lifecycle() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    let meeting = start(&node, "life", &[]).await;
    meeting.assign("probe").await.unwrap();
    publish_durable(&meeting, "hello").await;
    meeting.unassign("probe").await.unwrap();
    publish_durable(&meeting, "after").await;
    meeting.end().await.unwrap();
    let packets: Vec<_> = meeting.packets().map(|packet| packet.unwrap()).collect().await;
    let mut log: Vec<_> = packets.iter().map(|packet| (packet.source.as_str(), value(packet))).collect();
    // The instance's setup is part of its join packet, so that a later run can compare it.
    let setup = log[1].1.as_object_mut().unwrap().remove("setup").unwrap();
    let graph = node.graph().instance("probe").unwrap().setup();
    assert_eq!(setup, serde_json::to_value(graph).unwrap());
    assert_eq!((&setup["kind"], &setup["version"]), (&json!("probe"), &json!("1.0.0")));
    let expected = [
        ("meeting", json!({"event": "start", "instances": []})),
        ("meeting", json!({"event": "join", "instance": "probe"})),
        ("transcription", json!({"text": "hello"})),
        ("probe", json!({"count": 1})),
        ("meeting", json!({"event": "leave", "instance": "probe"})),
        ("transcription", json!({"text": "after"})),
        ("meeting", json!({"event": "ending"})),
        ("meeting", json!({"event": "ended"})),
    ];
    assert_eq!(log, expected);
    assert_eq!(store.packets("life").await, packets, "readers get what is stored");
    assert_eq!(store.row("life").await.status, MeetingStatus::Ended);
    assert_eq!(store.instance("life", "probe").await.status, InstanceStatus::Left);
}

#[tokio::test(start_paused = true)]
async fn an_instance_joins_now_or_at_the_meetings_start() {
    let store = FaultyStore::default();
    let toml = r#"
        [[plugin]]
        name = "now"
        kind = "probe"
        config = { events = "joins" }
        [[plugin]]
        name = "all"
        kind = "probe"
        config = { events = "joins" }
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &[]).await;
    publish_durable(&meeting, "one").await;
    publish_durable(&meeting, "two").await;
    meeting.assign("now").await.unwrap();
    meeting.assign_at("all", JoinAt::Start).await.unwrap();
    publish_durable(&meeting, "three").await;
    meeting.end().await.unwrap();
    let of = |instance: &str| -> Vec<_> {
        let lines = events("joins").into_iter();
        lines.filter_map(|line| line.strip_prefix(&format!("{instance} ")).map(str::to_owned)).collect()
    };
    assert_eq!(of("now"), ["start m", "three", "end m 1"]);
    assert_eq!(of("all"), ["start m", "one", "two", "three", "end m 3"]);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_left_rejoins_with_its_state() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("back")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    publish_durable(&meeting, "one").await;
    meeting.unassign("probe").await.unwrap();
    let error = meeting.unassign("probe").await.unwrap_err().to_string();
    assert_eq!(error, "probe does not take part in meeting m");
    let error = meeting.assign_at("probe", JoinAt::Start).await.unwrap_err().to_string();
    assert_eq!(error, "probe took part in meeting m before, so it can only join it from now on");
    meeting.assign("probe").await.unwrap();
    let error = meeting.assign("probe").await.unwrap_err().to_string();
    assert_eq!(error, "probe takes part in meeting m already");
    publish_durable(&meeting, "two").await;
    meeting.end().await.unwrap();
    assert_eq!(
        events("back")[1..],
        ["probe start m", "probe one", "probe end m 1", "probe start m", "probe two", "probe end m 2"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_ended_meeting_rejects_packets_and_ends_once() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    let (first, second) = tokio::join!(meeting.end(), meeting.end());
    assert!(first.is_ok() && second.is_ok(), "both wait for the same end");
    let error = meeting.publish(transcription("late")).await.unwrap_err();
    assert_eq!(error.to_string(), "meeting m has ended");
    assert_eq!(meeting.end().await.unwrap_err().to_string(), "meeting m has ended");
    assert_eq!(meeting.assign("probe").await.unwrap_err().to_string(), "meeting m has ended");
    assert!(node.meeting(&id("m")).is_none());
    let again = node.start_meeting(MeetingMetadata::new(id("m")), ["probe"]).await.unwrap_err();
    assert_eq!(again.to_string(), "meeting m exists already");
}

#[tokio::test(start_paused = true)]
async fn unknown_names_get_a_suggestion() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    let error = node.start_meeting(MeetingMetadata::new(id("m")), ["prob"]).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no plugin instance prob; did you mean probe?");
    let meeting = start(&node, "m", &["probe", "probe"]).await;
    let error = meeting.assign("prode").await.unwrap_err();
    assert_eq!(error.to_string(), "there is no plugin instance prode; did you mean probe?");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_releases_meetings_without_ending_them() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("released")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    publish_durable(&meeting, "one").await;
    wait_for_event("released", "probe one").await;
    let receipt = meeting.publish(transcription("two")).await.unwrap();
    node.shutdown(DEADLINE).await.unwrap();
    receipt.durable().await.unwrap();
    assert_eq!(store.row("m").await.status, MeetingStatus::Running);
    assert!(!events("released").contains(&"probe end m 2".to_owned()));
    assert_eq!(events("released").last().unwrap(), "shutdown");
    let error = meeting.publish(transcription("late")).await.unwrap_err().to_string();
    assert_eq!(error, "meeting m is no longer run by this node: the node has released it");
    let row = store.instance("m", "probe").await;
    let packets = store.packets("m").await;
    let handled = packets.iter().filter(|packet| packet.source == "probe").count();
    assert_eq!(row.state.as_deref(), Some(format!("{{\"count\":{handled}}}").as_str()));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_cuts_off_hooks_that_pass_its_deadline() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("cut-off")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    meeting.publish(transcription("hang")).await.unwrap();
    wait_for_event("cut-off", "probe hang").await;
    let error = node.shutdown(DEADLINE).await.unwrap_err().to_string();
    assert_eq!(error, "the shutdown took longer than 10s; unfinished work was cut off");
}

#[tokio::test]
async fn two_nodes_live_in_one_process_and_dropping_one_leaves_the_other() {
    let (a, b) = (FaultyStore::default(), FaultyStore::default());
    let (one, two) = (node(&a, &probe_toml("")).await, node(&b, &probe_toml("")).await);
    let (here, there) = (start(&one, "m", &["probe"]).await, start(&two, "m", &["probe"]).await);
    publish_durable(&here, "hello").await;
    drop(one);
    let error = here.publish(transcription("late")).await.unwrap_err().to_string();
    assert_eq!(error, "meeting m is no longer run by this node: the node is gone");
    let error = here.outputs().collect::<Vec<_>>().await.pop().unwrap().unwrap_err().to_string();
    assert_eq!(error, "meeting m is no longer run by this node: the node is gone");
    let seq = publish_durable(&there, "hello").await;
    there.end().await.unwrap();
    assert_eq!(all_outputs(&there).await, [(json!({"count": 1}), vec![seq.0])]);
}

#[tokio::test]
async fn a_node_with_threads_of_its_own_runs_plugins_there_and_can_be_dropped_anywhere() {
    let toml = format!("{}\n[[source]]\nname = \"up\"", probe_toml(""));
    let config = teammy_config::Config::from_toml(&toml).unwrap();
    let builder = teammy_runtime::Node::builder(config)
        .plugins([teammy_kernel::Factory::of::<Probe>("probe")])
        .store(std::sync::Arc::new(FaultyStore::default()));
    let node = builder.start().await.unwrap();
    let meeting = start(&node, "m", &["probe"]).await;
    let seq = publish_durable(&meeting, "hello").await;
    assert_eq!(outputs(&meeting, 1).await, [(json!({"count": 1}), vec![seq.0])]);
    drop(node);
}
