//! Hooks that err, panic, hang or get the wrong data, and other instances, which are not affected.

use std::time::Duration;

use serde_json::json;
use teammy_kernel::{
    Publish, Store,
    store::{InstanceStatus, MeetingStatus},
};

use super::support::*;

/// Two probes: `failing` takes `transcription`, and `healthy` takes the same packets in batches.
fn two(events: &str) -> String {
    format!(
        "[[plugin]]\nname = \"failing\"\nkind = \"probe\"\nconfig = {{ events = \"{events}\", outputs = true }}\n\
         [[plugin]]\nname = \"healthy\"\nkind = \"probe\"\nsources = {{ transcription = \"chat\", chat = \"transcription\" }}\n\
         config = {{ outputs = true }}\n"
    )
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_panics_is_restarted_with_its_state() {
    let store = FaultyStore::default();
    let node = node(&store, &two("panics")).await;
    let meeting = start(&node, "m", &["failing", "healthy"]).await;
    for text in ["one", "two", "panic-once", "four"] {
        publish_durable(&meeting, text).await;
    }
    meeting.end().await.unwrap();
    let stats = meeting.stats().await.unwrap();
    let of = |instance: &str| stats.instances.iter().find(|i| i.name == *instance).unwrap();
    assert_eq!((of("failing").outputs, of("failing").errors, of("failing").dead_letters), (4, 1, 0));
    assert_eq!(of("healthy").errors, 0);
    let outputs = all_outputs(&meeting).await;
    let counts: Vec<_> = outputs.iter().filter(|(value, _)| value.is_object()).collect();
    let expected: Vec<_> = (1..=4).map(|n| json!({"count": n})).collect();
    assert_eq!(counts.iter().map(|(value, _)| value.clone()).collect::<Vec<_>>(), expected);
    let batches = outputs.iter().filter(|(value, _)| value.is_array()).count();
    assert_eq!(batches as u64, of("healthy").outputs);
    let texts: Vec<_> = outputs
        .iter()
        .filter(|(v, _)| v.is_array())
        .flat_map(|(v, _)| v.as_array().unwrap().clone())
        .collect();
    let all = [json!("one"), json!("two"), json!("panic-once"), json!("four")];
    assert_eq!(texts, all, "the other instance saw every packet");
}

#[tokio::test(start_paused = true)]
async fn a_packet_whose_hook_always_panics_is_a_dead_letter_after_three_tries() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("always panics")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    publish_durable(&meeting, "one").await;
    let bad = publish_durable(&meeting, "panic").await;
    publish_durable(&meeting, "three").await;
    meeting.end().await.unwrap();
    let tried = events("always panics").iter().filter(|line| *line == "probe panic").count();
    assert_eq!(tried, 3);
    let dead = store.inner.dead_letters(id("m")).await.unwrap();
    assert_eq!((dead.len(), dead[0].seq, dead[0].tries), (1, bad, 3));
    assert!(dead[0].error.contains("as asked"), "{}", dead[0].error);
    assert_eq!(events("always panics").last().unwrap(), "probe end m 2");
}

#[tokio::test(start_paused = true)]
async fn a_hook_whose_process_is_gone_counts_as_one_that_panics() {
    let store = FaultyStore::default();
    let toml = format!("{}\n[restart]\nintensity = 3\n", probe_toml("crashes"));
    let node = node(&store, &toml).await;
    let meeting = start(&node, "m", &["probe"]).await;
    let given_up = publish_durable(&meeting, "crash").await;
    publish_durable(&meeting, "crash").await;
    meeting.end().await.unwrap();
    // Three tries of the first packet are three failures of the actor, and the fourth suspends the instance.
    let dead = store.inner.dead_letters(id("m")).await.unwrap();
    assert_eq!((dead.len(), dead[0].seq, dead[0].tries), (1, given_up, 3));
    assert!(dead[0].error.contains("its process is gone"), "{}", dead[0].error);
    assert_eq!(store.instance("m", "probe").await.status, InstanceStatus::Suspended);
}

#[tokio::test(start_paused = true)]
async fn effects_from_before_a_panic_in_the_same_batch_are_kept() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("neighbours")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    meeting.publish(transcription("wait 1")).await.unwrap();
    wait_for_event("neighbours", "probe wait 1").await;
    for text in ["one", "two", "panic", "four"] {
        meeting.publish(transcription(text)).await.unwrap();
    }
    meeting.end().await.unwrap();
    let counts: Vec<_> = (1..=4).map(|n| json!({"count": n})).collect();
    let outputs = all_outputs(&meeting).await;
    assert_eq!(outputs.iter().map(|(value, _)| value.clone()).collect::<Vec<_>>(), counts);
    assert_eq!(
        events("neighbours").iter().filter(|line| *line == "probe one").count(),
        1,
        "its hook did not run again"
    );
    let stats = &meeting.stats().await.unwrap().instances[0];
    assert_eq!((stats.delivered, stats.outputs, stats.errors, stats.dead_letters), (4, 4, 3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_decode_error_does_not_quote_the_packet() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    meeting.publish(Publish::json("transcription", "my secret").unwrap()).await.unwrap();
    meeting.publish(Publish::json("transcription", &json!({"text": ["my secret"]})).unwrap()).await.unwrap();
    meeting.end().await.unwrap();
    let dead = store.inner.dead_letters(id("m")).await.unwrap();
    let names = "instance probe takes transcription as Json<Message>, and cannot read this packet:";
    assert_eq!(dead[0].error, format!("{names} invalid type: string, expected struct Message"));
    assert_eq!(dead[1].error, format!("{names} text: invalid type: sequence, expected a string"));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_fails_too_often_is_suspended_and_the_log_reports_it() {
    let store = FaultyStore::default();
    let toml = format!("{}\n[restart]\nintensity = 3\n", two("suspends"));
    let node = node(&store, &toml).await;
    let meeting = start(&node, "m", &["failing", "healthy"]).await;
    for _ in 0..2 {
        publish_durable(&meeting, "panic").await;
    }
    publish_durable(&meeting, "not delivered").await;
    meeting.end().await.unwrap();
    assert_eq!(store.instance("m", "failing").await.status, InstanceStatus::Suspended);
    let packets = store.packets("m").await;
    let status = packets.iter().find(|packet| packet.source == "plugin-status").unwrap();
    assert_eq!(value(status)["instance"], "failing");
    assert_eq!(value(status)["status"], "suspended");
    assert!(!events("suspends").contains(&"failing not delivered".to_owned()));
    assert!(!events("suspends").iter().any(|line| line.starts_with("failing end")));
    assert_eq!(store.instance("m", "healthy").await.status, InstanceStatus::Finished);
    assert_eq!(store.row("m").await.status, MeetingStatus::Ended);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_errs_is_retried_and_failed_tries_have_no_effects() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("retries")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    publish_durable(&meeting, "fail-twice").await;
    publish_durable(&meeting, "list").await;
    meeting.end().await.unwrap();
    assert_eq!(events("retries").iter().filter(|line| *line == "probe fail-twice").count(), 3);
    let outputs = all_outputs(&meeting).await;
    assert_eq!(
        outputs,
        [(json!({"count": 1}), vec![2]), (json!([]), vec![3])],
        "no state and no key of a failed try"
    );
    let stats = &meeting.stats().await.unwrap().instances[0];
    assert_eq!((stats.delivered, stats.outputs, stats.errors, stats.dead_letters), (2, 2, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_packet_is_given_up_after_repeated_errors_or_a_rejection() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("gives-up")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    let (failed, rejected) =
        (publish_durable(&meeting, "fail").await, publish_durable(&meeting, "reject").await);
    let oversized = publish_durable(&meeting, "big").await;
    publish_durable(&meeting, "fine").await;
    meeting.end().await.unwrap();
    let dead = store.inner.dead_letters(id("m")).await.unwrap();
    let dead: Vec<_> = dead.iter().map(|letter| (letter.seq, letter.tries, letter.error.as_str())).collect();
    let too_big = "the output is 2097154 bytes; the limit is 1048576 (limits.packet_bytes)";
    assert_eq!(dead, [(failed, 3, "as asked"), (rejected, 1, "as asked"), (oversized, 1, too_big)]);
    assert_eq!(events("gives-up").last().unwrap(), "probe end m 1");
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_passes_its_deadline_counts_as_failed() {
    let store = FaultyStore::default();
    let toml = format!("{}\n[hooks]\ndeadline = \"5s\"\ntries = 2\n", probe_toml("deadline"));
    let node = node(&store, &toml).await;
    let meeting = start(&node, "m", &["probe"]).await;
    let hung = publish_durable(&meeting, "hang").await;
    publish_durable(&meeting, "wait 4").await;
    meeting.end().await.unwrap();
    let dead = store.inner.dead_letters(id("m")).await.unwrap();
    assert_eq!((dead.len(), dead[0].seq, dead[0].tries), (1, hung, 2));
    assert_eq!(dead[0].error, "the hook passed its deadline of 5s");
    assert_eq!(all_outputs(&meeting).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_packet_of_the_wrong_type_is_given_up_and_the_rest_of_its_batch_is_handled() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("wrong")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    meeting.publish(chat("wait 1")).await.unwrap();
    wait_for_event("wrong", "probe start m").await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    meeting.publish(chat("a")).await.unwrap();
    let wrong = meeting.publish(Publish::json("chat", &json!({"txt": "b"})).unwrap()).await.unwrap();
    meeting.publish(chat("c")).await.unwrap();
    let text = meeting.publish(Publish::text("transcription", "plain").unwrap()).await.unwrap();
    meeting.end().await.unwrap();
    let dead = store.inner.dead_letters(id("m")).await.unwrap();
    assert_eq!(dead.iter().map(|letter| letter.seq).collect::<Vec<_>>(), [wrong.seq(), text.seq()]);
    assert!(dead[0].error.contains("missing field `text`"), "{}", dead[0].error);
    assert!(dead[1].error.ends_with(": expected a JSON payload, got text"), "{}", dead[1].error);
    let outputs = all_outputs(&meeting).await;
    assert_eq!(outputs[1], (json!(["a", "c"]), vec![3, 5]), "the packet of the wrong type is not a cause");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_never_finishes_is_cut_off_at_the_end_deadline() {
    let store = FaultyStore::default();
    let toml = format!("{}\n[hooks]\ndeadline = \"1h\"\n[meeting]\nend_deadline = \"30s\"\n", two("late"));
    let node = node(&store, &toml).await;
    let meeting = start(&node, "m", &["failing", "healthy"]).await;
    publish_durable(&meeting, "hang").await;
    let started = tokio::time::Instant::now();
    meeting.end().await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 30);
    let dead = store.inner.dead_letters(id("m")).await.unwrap();
    assert_eq!((dead.len(), dead[0].instance.as_str(), dead[0].source.as_str()), (1, "failing", "meeting"));
    assert!(dead[0].error.ends_with("it has seen the log up to seq 1"), "{}", dead[0].error);
    assert_eq!(
        store.instance("m", "failing").await.cursor.0,
        1,
        "the stored cursor stays at what it has seen"
    );
    assert_eq!(store.instance("m", "healthy").await.status, InstanceStatus::Finished);
    tokio::time::sleep(Duration::from_hours(2)).await;
    assert_eq!(all_outputs(&meeting).await.len(), 1, "outputs after the end are dropped");
}
