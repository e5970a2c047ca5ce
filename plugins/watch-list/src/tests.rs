use serde_json::{Value, json};
use teammy_kernel::{
    Publish,
    testing::{self, PluginTest},
};

use super::*;

fn said(text: &str) -> Publish {
    Publish::json("transcription", &Transcription::new(text, 0, 1_000)).unwrap()
}

fn written(text: &str) -> Publish {
    Publish::json("chat", &Chat::new(text)).unwrap()
}

async fn watching(terms: &[&str]) -> PluginTest<WatchList> {
    PluginTest::start_with(Config::new(terms.iter().copied())).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn mentions_are_of_the_documented_shape() {
    let mut meeting = watching(&["Tuesday", "item", "Action Item"]).await;
    let text = "One action item, ITEM two.";
    let output = meeting.receive(said(text).participant("Ada")).await.unwrap().unwrap();
    assert_eq!(
        testing::json::<Value>(&output),
        json!({
            "hits": [{"term": "item", "count": 2}, {"term": "Action Item", "count": 1}],
            "participant": "Ada",
            "text": text,
        })
    );
    assert_eq!(output.causes.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn chat_is_watched_too_and_silence_is_no_output() {
    let mut meeting = PluginTest::<WatchList>::start_default().await.unwrap();
    let output = meeting.receive(written("the deadline?")).await.unwrap().unwrap();
    let mentions: Mentions = testing::json(&output);
    assert_eq!(mentions.hits, [Hit { term: "deadline".into(), count: 1 }]);
    assert_eq!(testing::json::<Value>(&output)["participant"], Value::Null);
    assert!(meeting.receive(written("nothing to see")).await.unwrap().is_none());
    assert!(meeting.end().await.unwrap().is_none());
    assert_eq!(meeting.outputs().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_final_is_not_watched() {
    let mut meeting = watching(&["deadline"]).await;
    let mut partial = Transcription::new("the deadline", 0, 500);
    partial.is_final = false;
    assert!(meeting.receive(Publish::json("transcription", &partial).unwrap()).await.unwrap().is_none());
    assert!(meeting.receive(said("the deadline")).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_makes_no_sense_is_refused() {
    for (table, said) in [
        (json!({"terms": []}), "`terms` is empty"),
        (json!({"terms": ["a", ""]}), "`terms` holds a blank term at position 2"),
        (json!({"terms": ["Plan", "plan"]}), "`terms` holds \"Plan\" and \"plan\""),
        (json!({"term": ["a"]}), "unknown field `term`, expected `terms`"),
    ] {
        let error = PluginTest::<WatchList>::start_with(&table).await.unwrap_err().to_string();
        assert!(error.starts_with(said), "{table}: {error}");
    }
}
