//! What reaches a hook: batches, ticks, sources by another name, causes, times.

use std::time::Duration;

use futures::StreamExt;
use serde_json::json;
use teammy_kernel::{MeetingMetadata, Publish, Timestamp};

use super::support::*;

#[tokio::test(start_paused = true)]
async fn a_batch_hook_takes_what_has_queued_up_in_one_call() {
    let store = Gate::default();
    let node = node(&store, &probe("batches")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    meeting.publish(chat("wait 2")).await.unwrap();
    noted("batches", "probe start m").await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    for text in ["a", "b", "c"] {
        meeting.publish(chat(text)).await.unwrap();
    }
    meeting.publish(said("between")).await.unwrap();
    meeting.publish(chat("d")).await.unwrap();
    meeting.end().await.unwrap();
    let lines: Vec<_> = diary("batches").into_iter().filter(|line| line.contains("batch")).collect();
    assert_eq!(lines, ["probe batch wait 2", "probe batch a,b,c", "probe batch d"], "in order, by source");
    let outputs = all_outputs(&meeting).await;
    assert_eq!(outputs[1], (json!(["a", "b", "c"]), vec![3, 4, 5]));
}

#[tokio::test(start_paused = true)]
async fn ticks_come_in_time_and_only_to_whom_they_are_for() {
    let store = Gate::default();
    let toml = r#"
        [[plugin]]
        name = "ticked"
        kind = "probe"
        config = { diary = "ticks" }
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["ticked"]).await;
    noted("ticks", "ticked start m").await;
    tokio::time::sleep(Duration::from_millis(3500)).await;
    meeting.end().await.unwrap();
    let ticks = diary("ticks").iter().filter(|line| *line == "ticked tick").count();
    assert_eq!(ticks, 3);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(diary("ticks").iter().filter(|line| *line == "ticked tick").count(), 3, "none after the end");
    let stored = store.packets("m").await;
    assert!(stored.iter().all(|packet| packet.source != "tick"), "a tick is never stored");
}

#[tokio::test(start_paused = true)]
async fn an_output_has_its_causes_and_the_latest_of_their_times() {
    let store = Gate::default();
    let node = node(&store, &probe("")).await;
    let metadata = MeetingMetadata::new(id("m")).started_at("2026-01-05T09:00:00Z".parse().unwrap());
    let meeting = node.start_meeting(metadata, ["probe"]).await.unwrap();
    let at: Timestamp = "2026-01-05T09:00:02.4Z".parse().unwrap();
    let receipt = meeting.publish(said("hello").timestamp(at).participant("Ada")).await.unwrap();
    let output = meeting.outputs().next().await.unwrap().unwrap();
    assert_eq!(output.causes, [receipt.seq()]);
    assert_eq!(output.timestamp, at);
    assert_eq!(output.source, "probe");
    meeting.end().await.unwrap();
    let stored = store.packets("m").await;
    let past = stored.iter().all(|packet| packet.timestamp < "2026-01-06T00:00:00Z".parse().unwrap());
    assert!(past, "a recording stays in its own time, its start and end too");
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_instances_feeds_itself_by_configuration() {
    let store = Gate::default();
    let toml = r#"
        [[plugin]]
        name = "second"
        kind = "probe"
        sources = { up = "first", transcription = "captions" }
        config = { diary = "chain", answers = true }
        [[plugin]]
        name = "first"
        kind = "probe"
        config = { answers = true }
        [[source]]
        name = "captions"
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["first", "second"]).await;
    meeting.publish(said("for the first")).await.unwrap();
    meeting.publish(Publish::json("captions", &json!({"text": "for the second"})).unwrap()).await.unwrap();
    meeting.end().await.unwrap();
    let outputs = all_outputs(&meeting).await;
    assert!(outputs.contains(&(json!({"count": 1}), vec![2])));
    let fed = outputs.iter().find(|(value, _)| *value == json!({"from": {"count": 1}})).unwrap();
    let stored = store.packets("m").await;
    let cause = stored.iter().find(|packet| packet.seq.0 == fed.1[0]).unwrap();
    assert_eq!((cause.source.as_str(), cause.causes[0].0), ("first", 2), "the cause's cause is the packet");
    assert!(diary("chain").contains(&"second for the second".to_owned()));
    assert!(
        !diary("chain").contains(&"second for the first".to_owned()),
        "its transcription is another source"
    );
}

#[tokio::test(start_paused = true)]
async fn a_volatile_output_flows_on_and_is_not_stored() {
    let store = Gate::default();
    let toml = r#"
        [[plugin]]
        name = "fleeting"
        kind = "probe"
        output = "volatile"
        config = { answers = true }
        [[plugin]]
        name = "keeper"
        kind = "probe"
        sources = { up = "fleeting", transcription = "chat", chat = "transcription" }
        config = { diary = "volatile-output" }
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["fleeting", "keeper"]).await;
    let seq = say(&meeting, "one").await;
    meeting.end().await.unwrap();
    assert!(diary("volatile-output").contains(&format!("keeper up {{\"count\":1}} of [Seq({seq})]")));
    assert!(store.packets("m").await.iter().all(|packet| packet.source != "fleeting"));
    assert_eq!(store.instance("m", "fleeting").await.state.as_deref(), Some("{\"count\":1}"));
}

#[tokio::test(start_paused = true)]
async fn what_is_volatile_is_seen_or_counted() {
    let store = Gate::default();
    let toml = r#"
        [[plugin]]
        name = "slow"
        kind = "probe"
        sources = { up = "sound" }
        config = { diary = "slow" }
        [delivery]
        tail_bytes = "16KiB"
        backlog_bytes = "16KiB"
        [limits]
        packet_bytes = "1KiB"
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["slow"]).await;
    meeting.publish(said("wait 5")).await.unwrap();
    noted("slow", "slow wait 5").await;
    for n in 0..500 {
        meeting.publish(Publish::json("sound", &n).unwrap()).await.unwrap();
    }
    meeting.end().await.unwrap();
    let stats = &meeting.stats().await.unwrap().instances[0];
    assert!(stats.lost > 0, "the tail is smaller than what was published");
    assert_eq!(stats.delivered + stats.lost, 501);
    assert!(diary("slow").contains(&"slow up 499 of []".to_owned()), "the oldest are lost, not the newest");
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_published_is_told_apart() {
    let store = Gate::default();
    let node = node(&store, &probe("")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    let refused = async |source: &str| {
        let publish = Publish::text(source, "x").unwrap();
        meeting.publish(publish).await.unwrap_err().to_string()
    };
    let unknown = refused("transcripton").await;
    assert!(unknown.contains("did you mean transcription?") && unknown.contains("[[source]]"), "{unknown}");
    for source in ["probe", "meeting", "tick", "plugin-status"] {
        let error = refused(source).await;
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
async fn more_packets_than_a_reservation_holds_come_through() {
    let store = Gate::default();
    let node = node(&store, &probe("")).await;
    let meeting = start(&node, "m", &[]).await;
    let count = 2 * teammy_kernel::log::Sequencer::BLOCK;
    let mut last = None;
    for _ in 0..count {
        last = Some(meeting.publish(Publish::text("sound", "la").unwrap()).await.unwrap().seq());
    }
    meeting.end().await.unwrap();
    let row = store.row("m").await;
    assert!(row.reserved >= last.unwrap(), "no seq is known outside that is not reserved");
    assert_eq!(store.packets("m").await.len(), 3, "start, ending, ended");
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_made_nothing_holds_nobody_up() {
    let store = Gate::default();
    let toml = r#"
        [[plugin]]
        name = "silent"
        kind = "probe"
        sources = { up = "sound" }
        config = { diary = "silent", answers = false }
        [delivery]
        cursor_interval = "1h"
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["silent"]).await;
    noted("silent", "silent start m").await;
    let began = tokio::time::Instant::now();
    let sound = async |value| meeting.publish(Publish::json("sound", &value).unwrap()).await.unwrap();
    // One behind the other, each when the one before is done.
    for n in 0..3 {
        sound(json!(n)).await;
        noted("silent", &format!("silent up {n} of []")).await;
    }
    // One that comes while a hook runs.
    sound(json!({"wait": 300})).await;
    noted("silent", "silent up {\"wait\":300} of []").await;
    sound(json!("behind")).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(
        diary("silent").contains(&"silent up \"behind\" of []".to_owned()),
        "it came when the hook was done"
    );
    let took = began.elapsed();
    assert!(took < Duration::from_secs(1), "nothing waited for the cursor's time: {took:?}");
    // Nobody says that it is done, and it is stored all the same.
    meeting.caught_up().await.unwrap();
    assert_eq!(meeting.stats().await.unwrap().packets, 5);
    assert_eq!(store.instance("m", "silent").await.cursor, teammy_kernel::Seq(6));
    meeting.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_has_had_the_thread_for_a_millisecond_lets_others_have_their_turn() {
    let store = Gate::default();
    let toml = r#"
        [[plugin]]
        name = "one"
        kind = "probe"
        config = { diary = "turns" }
        [[plugin]]
        name = "two"
        kind = "probe"
        config = { diary = "turns" }
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["one", "two"]).await;
    meeting.caught_up().await.unwrap();
    meeting.publish_all((0..4).map(|_| said("take-ms 1"))).await.unwrap();
    meeting.caught_up().await.unwrap();
    let lines: Vec<_> = diary("turns").into_iter().filter(|line| line.ends_with("take-ms 1")).collect();
    assert_eq!(lines.len(), 8);
    let (first, other) = (&lines[0], lines.iter().position(|line| *line != lines[0]).unwrap());
    let last = lines.iter().rposition(|line| line == first).unwrap();
    assert!(other < last, "the other had its turn within the batch: {lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_thread_without_a_runtime_publishes_as_any_other() {
    let store = Gate::default();
    let toml = r#"
        [[plugin]]
        name = "probe"
        kind = "probe"
        sources = { up = "sound" }
        config = { diary = "threads", answers = true }
    "#;
    let node = node(&store, toml).await;
    let meeting = start(&node, "m", &["probe"]).await;
    meeting.caught_up().await.unwrap();
    let publisher = {
        let meeting = meeting.clone();
        std::thread::spawn(move || {
            // The second while the first is with the instance, the third of a source that is not stored.
            let up = Publish::json("sound", &json!("up")).unwrap();
            let publish = |packet| futures::executor::block_on(meeting.try_publish(packet)).unwrap();
            [said("one"), said("two"), up].map(|packet| publish(packet).seq())
        })
    };
    let seqs = publisher.join().unwrap();
    let outputs = outputs(&meeting, 3).await;
    let causes: Vec<_> = outputs.iter().map(|(_, causes)| causes[0]).collect();
    assert_eq!(causes, seqs.map(|seq| seq.0));
}
