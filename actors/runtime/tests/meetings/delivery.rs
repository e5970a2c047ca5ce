//! What hooks get: batches, ticks, mapped sources; and what an output has: causes and timestamps.

use std::time::Duration;

use futures::StreamExt;
use serde_json::json;
use teammy_kernel::{MeetingMetadata, Publish, Timestamp};

use super::support::*;

#[tokio::test(start_paused = true)]
async fn a_batch_hook_takes_what_has_queued_up_in_one_call() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("batches")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    meeting.publish(chat("wait 2")).await.unwrap();
    wait_for_event("batches", "probe start m").await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    for text in ["a", "b", "c"] {
        meeting.publish(chat(text)).await.unwrap();
    }
    meeting.publish(transcription("between")).await.unwrap();
    meeting.publish(chat("d")).await.unwrap();
    meeting.end().await.unwrap();
    let lines: Vec<_> = events("batches").into_iter().filter(|line| line.contains("batch")).collect();
    assert_eq!(lines, ["probe batch wait 2", "probe batch a,b,c", "probe batch d"], "in order, by source");
    let outputs = all_outputs(&meeting).await;
    assert_eq!(outputs[1], (json!(["a", "b", "c"]), vec![3, 4, 5]));
}

#[tokio::test(start_paused = true)]
async fn ticks_come_on_time_until_the_end_and_are_never_stored() {
    let store = FaultyStore::default();
    let toml = r#"
        [[plugin]]
        name = "ticked"
        kind = "probe"
        config = { events = "ticks" }
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["ticked"]).await;
    wait_for_event("ticks", "ticked start m").await;
    tokio::time::sleep(Duration::from_millis(3500)).await;
    meeting.end().await.unwrap();
    let ticks = events("ticks").iter().filter(|line| *line == "ticked tick").count();
    assert_eq!(ticks, 3);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(events("ticks").iter().filter(|line| *line == "ticked tick").count(), 3, "none after the end");
    let stored = store.packets("m").await;
    assert!(stored.iter().all(|packet| packet.source != "tick"), "a tick is never stored");
}

#[tokio::test(start_paused = true)]
async fn an_output_has_its_causes_and_the_latest_of_their_timestamps() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    let metadata = MeetingMetadata::new(id("m")).started_at("2026-01-05T09:00:00Z".parse().unwrap());
    let meeting = node.start_meeting(metadata, ["probe"]).await.unwrap();
    let at: Timestamp = "2026-01-05T09:00:02.4Z".parse().unwrap();
    let receipt = meeting.publish(transcription("hello").timestamp(at).participant("Ada")).await.unwrap();
    let output = meeting.outputs().next().await.unwrap().unwrap();
    assert_eq!(output.causes, [receipt.seq()]);
    assert_eq!(output.timestamp, at);
    assert_eq!(output.source, "probe");
    meeting.end().await.unwrap();
    let stored = store.packets("m").await;
    let in_its_time = stored.iter().all(|packet| packet.timestamp < "2026-01-06T00:00:00Z".parse().unwrap());
    assert!(in_its_time, "all packets of a recording are in its own time, including its start and end");
}

#[tokio::test(start_paused = true)]
async fn an_instance_takes_the_outputs_of_another() {
    let store = FaultyStore::default();
    let toml = r#"
        [[plugin]]
        name = "second"
        kind = "probe"
        sources = { up = "first", transcription = "captions" }
        config = { events = "chain", outputs = true }
        [[plugin]]
        name = "first"
        kind = "probe"
        config = { outputs = true }
        [[source]]
        name = "captions"
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["first", "second"]).await;
    meeting.publish(transcription("for the first")).await.unwrap();
    meeting.publish(Publish::json("captions", &json!({"text": "for the second"})).unwrap()).await.unwrap();
    meeting.end().await.unwrap();
    let outputs = all_outputs(&meeting).await;
    assert!(outputs.contains(&(json!({"count": 1}), vec![2])));
    let output = outputs.iter().find(|(value, _)| *value == json!({"from": {"count": 1}})).unwrap();
    let stored = store.packets("m").await;
    let cause = stored.iter().find(|packet| packet.seq.0 == output.1[0]).unwrap();
    assert_eq!(
        (cause.source.as_str(), cause.causes[0].0),
        ("first", 2),
        "the cause is an output, whose cause is the packet"
    );
    assert!(events("chain").contains(&"second for the second".to_owned()));
    assert!(
        !events("chain").contains(&"second for the first".to_owned()),
        "its source transcription is mapped to captions"
    );
}

#[tokio::test(start_paused = true)]
async fn a_volatile_output_is_delivered_and_not_stored() {
    let store = FaultyStore::default();
    let toml = r#"
        [[plugin]]
        name = "volatile"
        kind = "probe"
        output = "volatile"
        config = { outputs = true }
        [[plugin]]
        name = "taker"
        kind = "probe"
        sources = { up = "volatile", transcription = "chat", chat = "transcription" }
        config = { events = "volatile-output" }
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["volatile", "taker"]).await;
    let seq = publish_durable(&meeting, "one").await;
    meeting.end().await.unwrap();
    assert!(events("volatile-output").contains(&format!("taker up {{\"count\":1}} of [Seq({seq})]")));
    assert!(store.packets("m").await.iter().all(|packet| packet.source != "volatile"));
    assert_eq!(store.instance("m", "volatile").await.state.as_deref(), Some("{\"count\":1}"));
}

#[tokio::test(start_paused = true)]
async fn volatile_packets_are_delivered_or_counted_as_lost() {
    let store = FaultyStore::default();
    let toml = r#"
        [[plugin]]
        name = "slow"
        kind = "probe"
        sources = { up = "sound" }
        config = { events = "slow" }
        [delivery]
        tail_bytes = "16KiB"
        backlog_bytes = "16KiB"
        [limits]
        packet_bytes = "1KiB"
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["slow"]).await;
    meeting.publish(transcription("wait 5")).await.unwrap();
    wait_for_event("slow", "slow wait 5").await;
    for n in 0..500 {
        meeting.publish(Publish::json("sound", &n).unwrap()).await.unwrap();
    }
    meeting.end().await.unwrap();
    let stats = &meeting.stats().await.unwrap().instances[0];
    assert!(stats.lost > 0, "more was published than the tail holds");
    assert_eq!(stats.delivered + stats.lost, 501);
    assert!(events("slow").contains(&"slow up 499 of []".to_owned()), "the newest packet is not lost");
}

#[tokio::test(start_paused = true)]
async fn each_reason_to_reject_a_packet_has_its_own_error() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    let error_of = async |source: &str| {
        let publish = Publish::text(source, "x").unwrap();
        meeting.publish(publish).await.unwrap_err().to_string()
    };
    let unknown = error_of("transcripton").await;
    assert!(unknown.contains("did you mean transcription?") && unknown.contains("[[source]]"), "{unknown}");
    for source in ["probe", "meeting", "tick", "plugin-status"] {
        let error = error_of(source).await;
        assert!(error.contains("not published from outside"), "{error}");
    }
    let big = Publish::text("chat", "x".repeat((1 << 20) + 1)).unwrap();
    let error = meeting.publish(big).await.unwrap_err().to_string();
    assert_eq!(error, "the packet carries 1048577 bytes; the limit is 1048576 (limits.packet_bytes)");
    let long = Publish::text("chat", "x").unwrap().participant("x".repeat(1025));
    let error = meeting.publish(long).await.unwrap_err().to_string();
    assert_eq!(error, "the participant is 1025 bytes long; the limit is 1024");
    let exactly = Publish::text("chat", "x".repeat(1 << 20)).unwrap();
    meeting.publish(exactly).await.unwrap().durable().await.unwrap();
    let volatile = meeting.publish(Publish::text("sound", "la").unwrap()).await.unwrap();
    let error = volatile.durable().await.unwrap_err().to_string();
    assert_eq!(error, "source sound is volatile: its packets are never stored");
}

#[tokio::test]
async fn a_meeting_accepts_more_packets_than_one_reservation_has_seqs() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    let meeting = start(&node, "m", &[]).await;
    let count = 2 * teammy_kernel::log::Sequencer::BLOCK;
    let mut last = None;
    for _ in 0..count {
        last = Some(meeting.publish(Publish::text("sound", "la").unwrap()).await.unwrap().seq());
    }
    meeting.end().await.unwrap();
    let row = store.row("m").await;
    assert!(row.reserved >= last.unwrap(), "every seq that a publisher knows is reserved");
    assert_eq!(store.packets("m").await.len(), 3, "start, ending, ended");
}

#[tokio::test(start_paused = true)]
async fn a_hook_without_effects_delays_nothing() {
    let store = FaultyStore::default();
    let toml = r#"
        [[plugin]]
        name = "silent"
        kind = "probe"
        sources = { up = "sound" }
        config = { events = "silent", outputs = false }
        [delivery]
        cursor_interval = "1h"
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["silent"]).await;
    wait_for_event("silent", "silent start m").await;
    let began = tokio::time::Instant::now();
    let sound = async |value| meeting.publish(Publish::json("sound", &value).unwrap()).await.unwrap();
    // Each packet comes when the previous one is done.
    for n in 0..3 {
        sound(json!(n)).await;
        wait_for_event("silent", &format!("silent up {n} of []")).await;
    }
    // A packet comes while a hook runs.
    sound(json!({"wait": 300})).await;
    wait_for_event("silent", "silent up {\"wait\":300} of []").await;
    sound(json!("next")).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(
        events("silent").contains(&"silent up \"next\" of []".to_owned()),
        "it was delivered when the hook was done"
    );
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "nothing waited for delivery.cursor_interval: {took:?}");
    // The instance sends no message that it is done, but its cursor is stored.
    meeting.caught_up().await.unwrap();
    assert_eq!(meeting.stats().await.unwrap().packets, 5);
    assert_eq!(store.instance("m", "silent").await.cursor, teammy_kernel::Seq(6));
    meeting.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_instance_yields_its_thread_after_a_millisecond() {
    let store = FaultyStore::default();
    let toml = r#"
        [[plugin]]
        name = "one"
        kind = "probe"
        config = { events = "turns" }
        [[plugin]]
        name = "two"
        kind = "probe"
        config = { events = "turns" }
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["one", "two"]).await;
    meeting.caught_up().await.unwrap();
    meeting.publish_all((0..4).map(|_| transcription("take-ms 1"))).await.unwrap();
    meeting.caught_up().await.unwrap();
    let lines: Vec<_> = events("turns").into_iter().filter(|line| line.ends_with("take-ms 1")).collect();
    assert_eq!(lines.len(), 8);
    let (first, other) = (&lines[0], lines.iter().position(|line| *line != lines[0]).unwrap());
    let last = lines.iter().rposition(|line| line == first).unwrap();
    assert!(other < last, "the other instance ran within the batch: {lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_thread_without_a_runtime_can_publish() {
    let store = FaultyStore::default();
    let toml = r#"
        [[plugin]]
        name = "probe"
        kind = "probe"
        sources = { up = "sound" }
        config = { events = "threads", outputs = true }
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["probe"]).await;
    meeting.caught_up().await.unwrap();
    let publisher = {
        let meeting = meeting.clone();
        std::thread::spawn(move || {
            // The second comes while the instance has the first; the third is of a volatile source.
            let up = Publish::json("sound", &json!("up")).unwrap();
            let publish = |packet| futures::executor::block_on(meeting.try_publish(packet)).unwrap();
            [transcription("one"), transcription("two"), up].map(|packet| publish(packet).seq())
        })
    };
    let seqs = publisher.join().unwrap();
    let outputs = outputs(&meeting, 3).await;
    let causes: Vec<_> = outputs.iter().map(|(_, causes)| causes[0]).collect();
    assert_eq!(causes, seqs.map(|seq| seq.0));
}
