//! Redrives of dead letters, and suspended instances that are resumed.

use futures::StreamExt;
use serde_json::json;
use teammy_kernel::{
    Name, Seq, Store,
    store::{InstanceStatus, MeetingStatus},
};
use teammy_runtime::{admin, meeting, node};

use super::support::*;

/// Redrives the dead letters of one instance.
fn of_instance(name: &str) -> admin::Redrive {
    admin::Redrive::all().instance(Name::new(name).unwrap())
}

/// The seqs of the dead letters.
async fn letters(store: &FaultyStore) -> Vec<u64> {
    let letters = store.inner.dead_letters(id("m")).await.unwrap();
    letters.iter().map(|letter| letter.seq.0).collect()
}

#[tokio::test(start_paused = true)]
async fn a_poison_packet_is_tried_three_times_and_redriven_after_a_fix() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("poison")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    let bad = publish_durable(&meeting, "poison").await;
    publish_durable(&meeting, "after").await;
    meeting.caught_up().await.unwrap();
    let tries = events("poison").iter().filter(|line| *line == "probe poison").count();
    assert_eq!(
        (tries, letters(&store).await),
        (3, vec![bad.0]),
        "the packet is a dead letter and the cursor has moved on"
    );

    // Redriven before the fix, it fails again and stays a dead letter.
    let redriven = node.redrive(&id("m"), &admin::Redrive::all()).await.unwrap();
    assert_eq!(redriven.count, 1);
    redriven.done().await.unwrap();
    assert_eq!(letters(&store).await, [bad.0]);

    record("poison", "fixed");
    assert_eq!(node.redrive(&id("m"), &of_instance("nobody")).await.unwrap().count, 0);
    let (m, which) = (id("m"), of_instance("probe"));
    let both = tokio::join!(node.redrive(&m, &which), node.redrive(&m, &which));
    assert_eq!(
        (both.0.unwrap().count, both.1.unwrap().count),
        (1, 0),
        "a dead letter that is being redriven is skipped"
    );
    meeting.caught_up().await.unwrap();
    assert!(letters(&store).await.is_empty());
    assert_eq!(node.redrive(&id("m"), &admin::Redrive::all()).await.unwrap().count, 0);
    meeting.end().await.unwrap();
    let of_bad = all_outputs(&meeting).await.into_iter().filter(|(_, causes)| *causes == [bad.0]).count();
    assert_eq!(of_bad, 1, "it has one output");
}

#[tokio::test(start_paused = true)]
async fn a_redrive_reopens_an_ended_meeting_for_its_instance_alone() {
    let store = FaultyStore::default();
    let toml = r#"
        [[plugin]]
        name = "failing"
        kind = "probe"
        config = { events = "reopened", outputs = true, outputs_at_end = true }
        [[plugin]]
        name = "healthy"
        kind = "probe"
        sources = { up = "failing", transcription = "chat", chat = "transcription" }
        config = { events = "reopened healthy" }
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["failing", "healthy"]).await;
    let bad = publish_durable(&meeting, "poison").await;
    meeting.end().await.unwrap();
    let before = all_outputs(&meeting).await.len();
    let ends = events("reopened").len();
    record("reopened", "fixed");

    let redriven = node.redrive(&id("m"), &admin::Redrive::all().seq(bad)).await.unwrap();
    assert_eq!(redriven.count, 1);
    let meeting = redriven.meeting().unwrap();
    assert!(meeting.publish(transcription("late")).await.is_err(), "publishers are still rejected");
    redriven.done().await.unwrap();
    let after: Vec<_> = meeting.outputs().map(Result::unwrap).collect().await;
    assert_eq!(after.len(), before + 1);
    assert_eq!((after[before].causes.clone(), after[before].source.as_str()), (vec![bad], "failing"));
    assert!(letters(&store).await.is_empty());
    assert_eq!(store.row("m").await.status, MeetingStatus::Ended);
    assert_eq!(
        events("reopened").len(),
        ends + 2,
        "on_meeting_end did not run again: {:?}",
        events("reopened")
    );
    let last = store.packets("m").await.last().unwrap().payload.clone();
    assert_eq!(last, teammy_kernel::Lifecycle::Ended.to_payload());
    let healthy = events("reopened healthy").iter().filter(|line| line.contains(" up ")).count();
    assert_eq!(healthy, 1, "an instance that has finished gets no more outputs");

    assert_eq!(node.redrive(&id("m"), &admin::Redrive::all()).await.unwrap().count, 0);
    assert!(node.meeting(&id("m")).is_none());
    let error = node.redrive(&id("nowhere"), &admin::Redrive::all()).await.unwrap_err();
    assert!(matches!(error, node::Error::NoMeeting(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_resumed_instance_continues_where_it_was_suspended() {
    let store = FaultyStore::default();
    let toml = format!("restart.intensity = 0\n{}", probe_toml("back"));
    let node = node(&store, &toml).await;
    let meeting = start(&node, "m", &["probe"]).await;
    publish_durable(&meeting, "one").await;
    publish_durable(&meeting, "panic-once").await;
    let status = meeting.packets().map(Result::unwrap);
    let mut status = Box::pin(status.filter(|packet| std::future::ready(packet.source == "plugin-status")));
    let suspended = status.next().await.unwrap();
    assert_eq!(value(&suspended)["status"], json!("suspended"));
    let three = publish_durable(&meeting, "three").await;
    let error = node.redrive(&id("m"), &admin::Redrive::all()).await;
    assert_eq!(error.unwrap().count, 0, "a packet that it has not finished with is not a dead letter");

    meeting.resume_instance("probe").await.unwrap();
    let resumed = status.next().await.unwrap();
    assert_eq!(value(&resumed), json!({"instance": "probe", "status": "resumed"}));
    meeting.caught_up().await.unwrap();
    let outputs = outputs(&meeting, 3).await;
    let counts: Vec<_> = outputs.iter().map(|(value, _)| value.clone()).collect();
    assert_eq!(counts, [json!({"count": 1}), json!({"count": 2}), json!({"count": 3})]);
    assert_eq!(outputs[2].1, [three.0]);
    let error = meeting.resume_instance("probe").await.unwrap_err();
    assert!(matches!(error, meeting::Error::NotSuspended { .. }), "{error}");
    assert_eq!(store.instance("m", "probe").await.status, InstanceStatus::Active);

    // Another owner can resume it, too.
    publish_durable(&meeting, "panic").await;
    let again = status.next().await.unwrap();
    assert_eq!(value(&again)["status"], json!("suspended"));
    drop(status);
    drop(node);
    let node = self::node(&store, &toml).await;
    let meeting = node.resume_meeting(&id("m")).await.unwrap();
    meeting.resume_instance("probe").await.unwrap();
    let mut status = Box::pin(meeting.packets_after(again.seq).map(Result::unwrap));
    let resumed = status.next().await.unwrap();
    assert_eq!((resumed.source.as_str(), resumed.seq > Seq(0)), ("plugin-status", true));
}

#[tokio::test(start_paused = true)]
async fn a_redriven_packet_that_panics_again_is_given_up_again() {
    let store = FaultyStore::default();
    let node = node(&store, &format!("restart.intensity = 100\n{}", probe_toml("panics again"))).await;
    let meeting = start(&node, "m", &["probe"]).await;
    let bad = publish_durable(&meeting, "panic").await;
    meeting.caught_up().await.unwrap();
    let redriven = node.redrive(&id("m"), &admin::Redrive::all()).await.unwrap();
    redriven.done().await.unwrap();
    assert_eq!(letters(&store).await, [bad.0]);
    publish_durable(&meeting, "after").await;
    meeting.end().await.unwrap();
    let tries = events("panics again").iter().filter(|line| *line == "probe panic").count();
    assert_eq!(tries, 6, "three the first time, and three in the redrive");
    assert_eq!(store.instance("m", "probe").await.status, InstanceStatus::Finished);
}

#[tokio::test(start_paused = true)]
async fn a_redrive_completes_while_another_instance_is_busy() {
    let store = FaultyStore::default();
    let toml = r#"
        [[plugin]]
        name = "failing"
        kind = "probe"
        config = { events = "busy" }
        [[plugin]]
        name = "slow"
        kind = "probe"
        sources = { up = "sound", transcription = "chat", chat = "up" }
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["failing", "slow"]).await;
    publish_durable(&meeting, "poison").await;
    meeting.caught_up().await.unwrap();
    let slow = json!({"wait": 3_600_000});
    meeting.publish(teammy_kernel::Publish::json("sound", &slow).unwrap()).await.unwrap();
    record("busy", "fixed");
    let redriven = node.redrive(&id("m"), &admin::Redrive::all()).await.unwrap();
    let done = tokio::time::timeout(std::time::Duration::from_secs(30), redriven.done()).await;
    done.expect("it does not wait for the other instance").unwrap();
    assert!(letters(&store).await.is_empty());
}
