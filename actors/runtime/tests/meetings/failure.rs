//! Hooks that err, panic, hang or get the wrong data: the others see nothing of it.

use std::time::Duration;

use serde_json::json;
use teammy_kernel::{
    Publish, Store,
    store::{InstanceStatus, MeetingStatus},
};

use super::support::*;

/// Two probes: one to be hurt, one that must not notice.
fn two(diary: &str) -> String {
    format!(
        "[[plugin]]\nname = \"hurt\"\nkind = \"probe\"\nconfig = {{ diary = \"{diary}\", answers = true }}\n\
         [[plugin]]\nname = \"well\"\nkind = \"probe\"\nsources = {{ transcription = \"chat\", chat = \"transcription\" }}\n\
         config = {{ answers = true }}\n"
    )
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_panics_is_started_again_and_goes_on_with_its_state() {
    let store = Gate::default();
    let node = node(&store, &two("panics")).await;
    let meeting = start(&node, "m", &["hurt", "well"]).await;
    for text in ["one", "two", "panic-once", "four"] {
        say(&meeting, text).await;
    }
    meeting.end().await.unwrap();
    let stats = meeting.stats().await.unwrap();
    let of = |instance: &str| stats.instances.iter().find(|i| i.name == *instance).unwrap();
    assert_eq!((of("hurt").outputs, of("hurt").errors, of("hurt").dead_letters), (4, 1, 0));
    assert_eq!(of("well").errors, 0);
    let outputs = all_outputs(&meeting).await;
    let counts: Vec<_> = outputs.iter().filter(|(value, _)| value.is_object()).collect();
    let expected: Vec<_> = (1..=4).map(|n| json!({"count": n})).collect();
    assert_eq!(counts.iter().map(|(value, _)| value.clone()).collect::<Vec<_>>(), expected);
    let told = outputs.iter().filter(|(value, _)| value.is_array()).count();
    assert_eq!(told as u64, of("well").outputs, "and the other saw every packet");
    let heard: Vec<_> = outputs
        .iter()
        .filter(|(v, _)| v.is_array())
        .flat_map(|(v, _)| v.as_array().unwrap().clone())
        .collect();
    assert_eq!(heard, [json!("one"), json!("two"), json!("panic-once"), json!("four")]);
}

#[tokio::test(start_paused = true)]
async fn a_packet_that_always_kills_is_a_dead_letter_after_three_tries() {
    let store = Gate::default();
    let node = node(&store, &probe("kills")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    say(&meeting, "one").await;
    let killer = say(&meeting, "panic").await;
    say(&meeting, "three").await;
    meeting.end().await.unwrap();
    let tried = diary("kills").iter().filter(|line| *line == "probe panic").count();
    assert_eq!(tried, 3);
    let dead = store.store.dead_letters(id("m")).await.unwrap();
    assert_eq!((dead.len(), dead[0].seq, dead[0].tries), (1, killer, 3));
    assert!(dead[0].error.contains("as asked"), "{}", dead[0].error);
    assert_eq!(diary("kills").last().unwrap(), "probe end m 2");
}

#[tokio::test(start_paused = true)]
async fn what_was_finished_before_a_packet_that_kills_is_kept() {
    let store = Gate::default();
    let node = node(&store, &probe("neighbours")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    meeting.publish(said("wait 1")).await.unwrap();
    noted("neighbours", "probe wait 1").await;
    for text in ["one", "two", "panic", "four"] {
        meeting.publish(said(text)).await.unwrap();
    }
    meeting.end().await.unwrap();
    let counts: Vec<_> = (1..=4).map(|n| json!({"count": n})).collect();
    let outputs = all_outputs(&meeting).await;
    assert_eq!(outputs.iter().map(|(value, _)| value.clone()).collect::<Vec<_>>(), counts);
    assert_eq!(
        diary("neighbours").iter().filter(|line| *line == "probe one").count(),
        1,
        "it did not run again"
    );
    let stats = &meeting.stats().await.unwrap().instances[0];
    assert_eq!((stats.delivered, stats.outputs, stats.errors, stats.dead_letters), (4, 4, 3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_packet_that_does_not_decode_is_not_quoted() {
    let store = Gate::default();
    let node = node(&store, &probe("")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    meeting.publish(Publish::json("transcription", "my secret").unwrap()).await.unwrap();
    meeting.publish(Publish::json("transcription", &json!({"text": ["my secret"]})).unwrap()).await.unwrap();
    meeting.end().await.unwrap();
    let dead = store.store.dead_letters(id("m")).await.unwrap();
    assert_eq!(dead[0].error, "invalid type: string, expected struct Said");
    assert_eq!(dead[1].error, "text: invalid type: sequence, expected a string");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_fails_too_often_is_suspended_and_says_so() {
    let store = Gate::default();
    let toml = format!("{}\n[restart]\nintensity = 3\n", two("suspends"));
    let node = node(&store, &toml).await;
    let meeting = start(&node, "m", &["hurt", "well"]).await;
    for _ in 0..2 {
        say(&meeting, "panic").await;
    }
    say(&meeting, "unheard").await;
    meeting.end().await.unwrap();
    assert_eq!(store.instance("m", "hurt").await.status, InstanceStatus::Suspended);
    let packets = store.packets("m").await;
    let status = packets.iter().find(|packet| packet.source == "plugin-status").unwrap();
    assert_eq!(value(status)["instance"], "hurt");
    assert_eq!(value(status)["status"], "suspended");
    assert!(!diary("suspends").contains(&"hurt unheard".to_owned()));
    assert!(!diary("suspends").iter().any(|line| line.starts_with("hurt end")));
    assert_eq!(store.instance("m", "well").await.status, InstanceStatus::Finished);
    assert_eq!(store.row("m").await.status, MeetingStatus::Ended);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_errs_is_tried_again_and_leaves_no_trace_of_the_failed_tries() {
    let store = Gate::default();
    let node = node(&store, &probe("retries")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    say(&meeting, "fail-twice").await;
    say(&meeting, "list").await;
    meeting.end().await.unwrap();
    assert_eq!(diary("retries").iter().filter(|line| *line == "probe fail-twice").count(), 3);
    let outputs = all_outputs(&meeting).await;
    assert_eq!(
        outputs,
        [(json!({"count": 1}), vec![2]), (json!([]), vec![3])],
        "no count and no key of a failed try"
    );
    let stats = &meeting.stats().await.unwrap().instances[0];
    assert_eq!((stats.delivered, stats.outputs, stats.errors, stats.dead_letters), (2, 2, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_keeps_erring_or_rejects_gives_the_packet_up() {
    let store = Gate::default();
    let node = node(&store, &probe("gives-up")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    let (failed, rejected) = (say(&meeting, "fail").await, say(&meeting, "reject").await);
    let oversized = say(&meeting, "big").await;
    say(&meeting, "fine").await;
    meeting.end().await.unwrap();
    let dead = store.store.dead_letters(id("m")).await.unwrap();
    let dead: Vec<_> = dead.iter().map(|letter| (letter.seq, letter.tries, letter.error.as_str())).collect();
    let too_big = "the output is 2097154 bytes; the limit is 1048576 (limits.packet_bytes)";
    assert_eq!(dead, [(failed, 3, "as asked"), (rejected, 1, "as asked"), (oversized, 1, too_big)]);
    assert_eq!(diary("gives-up").last().unwrap(), "probe end m 1");
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_passes_its_deadline_counts_as_failed() {
    let store = Gate::default();
    let toml = format!("{}\n[hooks]\ndeadline = \"5s\"\ntries = 2\n", probe("deadline"));
    let node = node(&store, &toml).await;
    let meeting = start(&node, "m", &["probe"]).await;
    let hung = say(&meeting, "hang").await;
    say(&meeting, "wait 4").await;
    meeting.end().await.unwrap();
    let dead = store.store.dead_letters(id("m")).await.unwrap();
    assert_eq!((dead.len(), dead[0].seq, dead[0].tries), (1, hung, 2));
    assert_eq!(dead[0].error, "the hook passed its deadline of 5s");
    assert_eq!(all_outputs(&meeting).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn data_of_the_wrong_type_is_that_instances_error_and_a_batch_goes_on_without_it() {
    let store = Gate::default();
    let node = node(&store, &probe("wrong")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    meeting.publish(chat("wait 1")).await.unwrap();
    noted("wrong", "probe start m").await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    meeting.publish(chat("a")).await.unwrap();
    let wrong = meeting.publish(Publish::json("chat", &json!({"txt": "b"})).unwrap()).await.unwrap();
    meeting.publish(chat("c")).await.unwrap();
    let text = meeting.publish(Publish::text("transcription", "plain").unwrap()).await.unwrap();
    meeting.end().await.unwrap();
    let dead = store.store.dead_letters(id("m")).await.unwrap();
    assert_eq!(dead.iter().map(|letter| letter.seq).collect::<Vec<_>>(), [wrong.seq(), text.seq()]);
    assert!(dead[0].error.contains("missing field `text`"), "{}", dead[0].error);
    assert_eq!(dead[1].error, "expected a JSON payload, got text");
    let outputs = all_outputs(&meeting).await;
    assert_eq!(outputs[1], (json!(["a", "c"]), vec![3, 5]), "the wrong one is no cause");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_never_finishes_does_not_keep_the_meeting_from_ending() {
    let store = Gate::default();
    let toml = format!("{}\n[hooks]\ndeadline = \"1h\"\n[meeting]\nend_deadline = \"30s\"\n", two("late"));
    let node = node(&store, &toml).await;
    let meeting = start(&node, "m", &["hurt", "well"]).await;
    say(&meeting, "hang").await;
    let started = tokio::time::Instant::now();
    meeting.end().await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 30);
    let dead = store.store.dead_letters(id("m")).await.unwrap();
    assert_eq!((dead.len(), dead[0].instance.as_str(), dead[0].source.as_str()), (1, "hurt", "meeting"));
    assert!(dead[0].error.ends_with("it has seen the log up to seq 1"), "{}", dead[0].error);
    assert_eq!(store.instance("m", "hurt").await.cursor.0, 1, "its row doesn't claim more");
    assert_eq!(store.instance("m", "well").await.status, InstanceStatus::Finished);
    tokio::time::sleep(Duration::from_hours(2)).await;
    assert_eq!(all_outputs(&meeting).await.len(), 1, "what it makes later is not listened to");
}
