//! What a hook reads: its own writes, writes of earlier hooks, and the meeting's history, whether they are
//! stored or not.

use serde_json::json;
use teammy_kernel::Store;

use super::support::*;

/// The results of the same reads, while the store commits or while its commits are held: they must not
/// differ.
async fn results(commits_held: bool, events: &str) -> Vec<(serde_json::Value, Vec<u64>)> {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml(events)).await;
    let meeting = start(&node, "m", &["probe"]).await;
    publish_durable(&meeting, "set a 1").await;
    publish_durable(&meeting, "set b 2").await;
    if commits_held {
        store.hold_commits();
    }
    let texts = [
        "set b 3",
        "set c 4",
        "delete a",
        "list",
        "get b",
        "get a",
        "history transcription 3",
        "history probe 2",
    ];
    for text in texts {
        meeting.publish(transcription(text)).await.unwrap();
    }
    wait_for_event(events, "probe history probe 2").await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    store.release_commits();
    meeting.end().await.unwrap();
    assert_eq!(store.inner.get(id("m"), name("probe"), "a".into()).await.unwrap(), None);
    assert_eq!(store.inner.get(id("m"), name("probe"), "c".into()).await.unwrap().as_deref(), Some("\"4\""));
    let stored = store.packets("m").await;
    let position = |seq: u64| stored.iter().position(|packet| packet.seq.0 == seq).unwrap();
    let outputs = all_outputs(&meeting).await;
    // The seqs of outputs depend on timing, so each seq is replaced by the packet that it stands for.
    let sources = |value: &serde_json::Value| match value {
        serde_json::Value::Array(items)
            if items.iter().all(serde_json::Value::is_u64) && !items.is_empty() =>
        {
            let name = |seq: &serde_json::Value| {
                let packet = &stored[position(seq.as_u64().unwrap())];
                json!([packet.source, packet.payload.form(), value_of(packet)])
            };
            json!(items.iter().map(name).collect::<Vec<_>>())
        }
        other => other.clone(),
    };
    outputs.iter().map(|(value, _)| (sources(value), vec![])).collect()
}

fn name(text: &str) -> teammy_kernel::Name {
    teammy_kernel::Name::new(text).unwrap()
}

fn value_of(packet: &teammy_kernel::DataPacket) -> serde_json::Value {
    value(packet)
}

#[tokio::test(start_paused = true)]
async fn reads_do_not_depend_on_what_is_stored_already() {
    let committed = results(false, "commits done").await;
    let held = results(true, "commits held").await;
    assert_eq!(committed, held);
    let values: Vec<_> = committed.into_iter().map(|(value, _)| value).skip(5).collect();
    assert_eq!(values[0], json!(["b", "c"]));
    assert_eq!(values[1], json!("3"));
    assert_eq!(values[2], json!(null));
    let packet = |text: &str| json!(["transcription", "JSON", {"text": text}]);
    assert_eq!(
        values[3],
        json!([packet("list"), packet("get b"), packet("get a")]),
        "packets before the hook's own packet"
    );
    assert_eq!(values[4][0], json!(["probe", "JSON", null]), "outputs of all earlier hooks of the instance");
    assert_eq!(values[4].as_array().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn history_is_read_by_time_and_by_range_stored_or_not() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("ranges")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    let at = |second: i64| teammy_kernel::Timestamp::from_second(1_000_000 + second).unwrap();
    let early = chat("early").timestamp(at(0));
    meeting.publish(early).await.unwrap().durable().await.unwrap();
    store.hold_commits();
    let mut seqs = vec![];
    for (second, text) in [(100, "middle"), (200, "late")] {
        seqs.push(meeting.publish(chat(text).timestamp(at(second))).await.unwrap().seq().0);
    }
    for text in ["within chat 110", "within chat 10", "range 2 3"] {
        meeting.publish(transcription(text).timestamp(at(205))).await.unwrap();
    }
    wait_for_event("ranges", "probe range 2 3").await;
    store.release_commits();
    meeting.end().await.unwrap();
    let outputs = all_outputs(&meeting).await;
    let results: Vec<_> =
        outputs.iter().filter(|(_, causes)| causes[0] > seqs[1]).map(|(value, _)| value).collect();
    assert_eq!(results[..2], [&json!(seqs), &json!([seqs[1]])], "counted back from the packet's own time");
    assert_eq!(results[2], &json!([2, 3]), "both ends are included");
}

#[tokio::test(start_paused = true)]
async fn without_a_model_a_prompt_fails() {
    let store = FaultyStore::default();
    let node = node(&store, &probe_toml("")).await;
    let meeting = start(&node, "m", &["probe"]).await;
    publish_durable(&meeting, "ask").await;
    let answer = outputs(&meeting, 1).await;
    assert_eq!(answer[0].0, json!({"Err": "no language model is configured for this node"}));
}

#[tokio::test(start_paused = true)]
async fn a_prompt_reaches_the_model() {
    use teammy_kernel::{Factory, testing::ScriptedLlm};
    let llm = ScriptedLlm::default().reply("very well");
    let config = teammy_config::Config::from_toml("[[source]]\nname = \"up\"").unwrap();
    let node = teammy_runtime::Node::builder(config)
        .plugin(Factory::of::<Probe>("mine"))
        .store(std::sync::Arc::new(FaultyStore::default()))
        .llm(llm.clone())
        .plugin_runtime(tokio::runtime::Handle::current())
        .start()
        .await
        .unwrap();
    let meeting = start(&node, "m", &["mine"]).await;
    publish_durable(&meeting, "ask").await;
    assert_eq!(outputs(&meeting, 1).await[0].0, json!({"Ok": "very well"}));
    assert_eq!(llm.requests()[0].caller.instance, "mine");
}
