//! One stream of all meetings.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Running, client::Events, numbered, run};

/// Reads until every meeting has so many chat packets, and returns their numbers and the last seqs by meeting.
async fn read(events: &mut Events, most: &[(&str, usize)]) -> (BTreeMap<String, Vec<Value>>, Value) {
    let (mut seen, mut last) = (BTreeMap::<String, Vec<Value>>::new(), json!({}));
    let is_done = |seen: &BTreeMap<String, Vec<Value>>| {
        most.iter().all(|(meeting, count)| seen.get(*meeting).map_or(0, Vec::len) >= *count)
    };
    while !is_done(&seen) {
        let event = events.next().await.unwrap();
        assert_eq!(event.name, None, "{event:?}");
        let packet = event.json();
        let meeting = packet["meeting"].as_str().unwrap().to_owned();
        assert_eq!(event.id, Some(format!("{meeting}:{}", packet["seq"])));
        last[&meeting] = packet["seq"].to_string().into();
        seen.entry(meeting).or_default().push(packet["payload"]["text"].clone());
    }
    (seen, last)
}

async fn publish(running: &Running, meeting: &str, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        assert_eq!(running.publish(meeting, &numbered(number)).await.status, 200);
    }
}

#[tokio::test]
async fn a_backend_reads_all_meetings_and_goes_on_where_it_was() {
    let running = run().await;
    running.open("a").await;
    running.open("b: c").await;
    publish(&running, "a", 1..=2).await;
    publish(&running, "b:%20c", 1..=1).await;
    let mut events = running.client.try_events("/v1/events?sources=chat", None).await.unwrap();
    let (seen, mut last) = read(&mut events, &[("a", 2), ("b: c", 1)]).await;
    assert_eq!(seen["a"], ["line 1", "line 2"]);
    // One that is opened meanwhile comes from its start.
    running.open("d").await;
    publish(&running, "d", 1..=1).await;
    let (_, of_d) = read(&mut events, &[("d", 1)]).await;
    last["d"] = of_d["d"].clone();
    drop(events);
    // The backend is away, and comes back with what it knows. Meanwhile one meeting has ended, and another began and ended.
    publish(&running, "a", 3..=3).await;
    running.open("e").await;
    publish(&running, "e", 1..=1).await;
    for meeting in ["a", "e"] {
        let path = format!("/v1/meetings/{meeting}/end");
        assert_eq!(running.client.json("POST", &path, &json!({"wait": true})).await.status, 200);
    }
    let mut body = json!({"after": last, "sources": ["chat"], "since": "2020-01-01T00:00:00Z"});
    let mut events = running.client.post_events("/v1/events", &body).await;
    let (mut ends, mut texts) = (Vec::new(), Vec::new());
    while ends.len() < 2 {
        let event = events.next().await.unwrap();
        let data = event.json();
        match event.name.as_deref() {
            Some("end") => ends.push(data["meeting"].clone()),
            None => texts.push((data["meeting"].clone(), data["payload"]["text"].clone())),
            other => panic!("{other:?}"),
        }
    }
    ends.sort_by_key(Value::to_string);
    texts.sort_by_key(|text| format!("{text:?}"));
    assert_eq!(ends, ["a", "e"]);
    assert_eq!(texts, [(json!("a"), json!("line 3")), (json!("e"), json!("line 1"))]);
    running.stop.stop();
    assert_eq!(events.next().await.unwrap().name.as_deref(), Some("again"));
    body["after"] = json!({"a": "x"});
    assert_eq!(run().await.client.json("POST", "/v1/events", &body).await.status, 400);
}
