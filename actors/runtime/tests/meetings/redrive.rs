//! Packets that were given up and come once more, and instances that were suspended and go on.

use futures::StreamExt;
use serde_json::json;
use teammy_kernel::{
    Name, Seq, Store,
    store::{InstanceStatus, MeetingStatus},
};
use teammy_runtime::{admin, meeting, node};

use super::support::*;

fn of(text: &str) -> admin::Redrive {
    admin::Redrive::all().instance(Name::new(text).unwrap())
}

async fn letters(store: &Gate) -> Vec<u64> {
    let letters = store.store.dead_letters(id("m")).await.unwrap();
    letters.iter().map(|letter| letter.seq.0).collect()
}

#[tokio::test(start_paused = true)]
async fn a_poison_packet_is_tried_three_times_and_after_a_fix_gives_its_output_once() {
    let store = Gate::default();
    let node = node(&store, &probe("poison")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    let bad = say(&meeting, "poison").await;
    say(&meeting, "after").await;
    meeting.caught_up().await.unwrap();
    let tries = diary("poison").iter().filter(|line| *line == "probe poison").count();
    assert_eq!(
        (tries, letters(&store).await),
        (3, vec![bad.0]),
        "the cursor went on, and the letter is there"
    );

    // Too early, it fails again and stays.
    let redriven = node.redrive(&id("m"), &admin::Redrive::all()).await.unwrap();
    assert_eq!(redriven.count, 1);
    redriven.done().await.unwrap();
    assert_eq!(letters(&store).await, [bad.0]);

    note("poison", "fixed");
    assert_eq!(node.redrive(&id("m"), &of("nobody")).await.unwrap().count, 0);
    let (m, which) = (id("m"), of("probe"));
    let both = tokio::join!(node.redrive(&m, &which), node.redrive(&m, &which));
    assert_eq!((both.0.unwrap().count, both.1.unwrap().count), (1, 0), "it is on its way once");
    meeting.caught_up().await.unwrap();
    assert!(letters(&store).await.is_empty());
    assert_eq!(node.redrive(&id("m"), &admin::Redrive::all()).await.unwrap().count, 0);
    meeting.end().await.unwrap();
    let of_bad = all_outputs(&meeting).await.into_iter().filter(|(_, causes)| *causes == [bad.0]).count();
    assert_eq!(of_bad, 1, "one output, whose cause is the packet");
}

#[tokio::test(start_paused = true)]
async fn a_meeting_that_has_ended_is_opened_for_its_letters_alone() {
    let store = Gate::default();
    let toml = r#"
        [[plugin]]
        name = "hurt"
        kind = "probe"
        config = { diary = "reopened", answers = true, answers_at_end = true }
        [[plugin]]
        name = "well"
        kind = "probe"
        sources = { up = "hurt", transcription = "chat", chat = "transcription" }
        config = { diary = "reopened well" }
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["hurt", "well"]).await;
    let bad = say(&meeting, "poison").await;
    meeting.end().await.unwrap();
    let before = all_outputs(&meeting).await.len();
    let ends = diary("reopened").len();
    note("reopened", "fixed");

    let redriven = node.redrive(&id("m"), &admin::Redrive::all().seq(bad)).await.unwrap();
    assert_eq!(redriven.count, 1);
    let meeting = redriven.meeting().unwrap();
    assert!(meeting.publish(said("late")).await.is_err(), "nothing comes from outside");
    redriven.done().await.unwrap();
    let after: Vec<_> = meeting.outputs().map(Result::unwrap).collect().await;
    assert_eq!(after.len(), before + 1);
    assert_eq!((after[before].causes.clone(), after[before].source.as_str()), (vec![bad], "hurt"));
    assert!(letters(&store).await.is_empty());
    assert_eq!(store.row("m").await.status, MeetingStatus::Ended);
    assert_eq!(diary("reopened").len(), ends + 2, "its end did not run again: {:?}", diary("reopened"));
    let last = store.packets("m").await.last().unwrap().payload.clone();
    assert_eq!(last, teammy_kernel::Lifecycle::Ended.to_payload());
    let well = diary("reopened well").iter().filter(|line| line.contains(" up ")).count();
    assert_eq!(well, 1, "the other is not taken back; it had heard of the end");

    assert_eq!(node.redrive(&id("m"), &admin::Redrive::all()).await.unwrap().count, 0);
    assert!(node.meeting(&id("m")).is_none());
    let error = node.redrive(&id("nowhere"), &admin::Redrive::all()).await.unwrap_err();
    assert!(matches!(error, node::Error::NoMeeting(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn who_was_suspended_goes_on_from_where_it_was_when_it_is_resumed() {
    let store = Gate::default();
    let toml = format!("restart.intensity = 0\n{}", probe("back"));
    let node = node(&store, &toml).await;
    let meeting = start(&node, "m", &["probe"]).await;
    say(&meeting, "one").await;
    say(&meeting, "panic-once").await;
    let status = meeting.packets().map(Result::unwrap);
    let mut status = Box::pin(status.filter(|packet| std::future::ready(packet.source == "plugin-status")));
    let suspended = status.next().await.unwrap();
    assert_eq!(value(&suspended)["status"], json!("suspended"));
    let three = say(&meeting, "three").await;
    let error = node.redrive(&id("m"), &admin::Redrive::all()).await;
    assert_eq!(error.unwrap().count, 0, "what it did not finish with is no dead letter");

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

    // By another owner, too.
    say(&meeting, "panic").await;
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
async fn a_packet_that_panics_once_more_is_given_up_once_more_and_harms_nobody() {
    let store = Gate::default();
    let node = node(&store, &format!("restart.intensity = 100\n{}", probe("panics again"))).await;
    let meeting = start(&node, "m", &["probe"]).await;
    let bad = say(&meeting, "panic").await;
    meeting.caught_up().await.unwrap();
    let redriven = node.redrive(&id("m"), &admin::Redrive::all()).await.unwrap();
    redriven.done().await.unwrap();
    assert_eq!(letters(&store).await, [bad.0]);
    say(&meeting, "after").await;
    meeting.end().await.unwrap();
    let tries = diary("panics again").iter().filter(|line| *line == "probe panic").count();
    assert_eq!(tries, 6, "three each time");
    assert_eq!(store.instance("m", "probe").await.status, InstanceStatus::Finished);
}

#[tokio::test(start_paused = true)]
async fn a_redrive_is_told_of_though_the_meeting_is_never_at_rest() {
    let store = Gate::default();
    let toml = r#"
        [[plugin]]
        name = "hurt"
        kind = "probe"
        config = { diary = "busy" }
        [[plugin]]
        name = "slow"
        kind = "probe"
        sources = { up = "sound", transcription = "chat", chat = "participant" }
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["hurt", "slow"]).await;
    say(&meeting, "poison").await;
    meeting.caught_up().await.unwrap();
    let slow = json!({"wait": 3_600_000});
    meeting.publish(teammy_kernel::Publish::json("sound", &slow).unwrap()).await.unwrap();
    note("busy", "fixed");
    let redriven = node.redrive(&id("m"), &admin::Redrive::all()).await.unwrap();
    let at_once = tokio::time::timeout(std::time::Duration::from_secs(30), redriven.done()).await;
    at_once.expect("it does not wait for the other").unwrap();
    assert!(letters(&store).await.is_empty());
}
