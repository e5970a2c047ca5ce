//! One stream of all meetings.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Running, chat, client::Events, numbered, run};

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
        let id = event.id.unwrap();
        let (of, place) = id.rsplit_once(':').unwrap();
        let (seq, created) = place.split_once('.').unwrap();
        assert_eq!((of, seq.to_owned()), (meeting.as_str(), packet["seq"].to_string()));
        assert!(created.parse::<i64>().is_ok_and(|at| at > 0), "{id}");
        last[&meeting] = place.into();
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

impl Running {
    async fn end(&self, meeting: &str) {
        let path = format!("/v1/meetings/{meeting}/end");
        assert_eq!(self.client.json("POST", &path, &json!({"wait": true})).await.status, 200);
    }

    async fn forget(&self, meeting: &str) {
        let path = format!("/v1/meetings/{meeting}");
        assert_eq!(self.client.send("DELETE", &path, &[], b"").await.status, 204);
    }
}

/// Reads until a meeting's end, and returns what came: names of events, or texts and sources.
async fn read_to_end(events: &mut Events, meeting: &str) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let event = events.next().await.unwrap();
        let data = event.json();
        assert_eq!(data["meeting"], meeting, "{event:?}");
        let name = event.name.clone();
        seen.push(name.unwrap_or_else(|| data["source"].as_str().unwrap().to_owned()));
        if event.name.as_deref() == Some("end") {
            return seen;
        }
    }
}

#[tokio::test]
async fn a_meeting_is_followed_again_when_it_is_redriven_after_its_end() {
    let running = run().await;
    running.open("m").await;
    assert_eq!(running.publish("m", &chat("fail")).await.status, 200);
    let mut events = running.client.try_events("/v1/events", None).await.unwrap();
    running.end("m").await;
    let seen = read_to_end(&mut events, "m").await;
    assert!(seen.contains(&"chat".to_owned()), "{seen:?}");
    // It fails again, which leaves a packet of the redrive, and another end.
    let redriven = running.client.json("POST", "/v1/meetings/m/dead-letters", &json!({})).await;
    assert_eq!(redriven.json()["count"], 1);
    let seen = read_to_end(&mut events, "m").await;
    assert!(seen.len() > 1 && !seen.contains(&"chat".to_owned()), "nothing comes twice: {seen:?}");
}

#[tokio::test]
async fn a_meeting_that_was_forgotten_and_is_opened_again_comes_from_its_start() {
    let running = run().await;
    running.open("m").await;
    publish(&running, "m", 1..=3).await;
    let mut events = running.client.try_events("/v1/events?sources=chat", None).await.unwrap();
    let (_, places) = read(&mut events, &[("m", 3)]).await;
    running.end("m").await;
    assert_eq!(read_to_end(&mut events, "m").await, ["end"]);
    running.forget("m").await;
    running.open("m").await;
    publish(&running, "m", 1..=2).await;
    running.end("m").await;
    let expected = ["reset", "chat", "chat", "end"];
    assert_eq!(read_to_end(&mut events, "m").await, expected);
    // A reader that was away meanwhile comes back with the place of the old one, or with a seq that the new one does not have.
    let place = places["m"].as_str().unwrap();
    let mut events =
        running.client.try_events(&format!("/v1/events?sources=chat&after=m:{place}"), None).await;
    assert_eq!(read_to_end(events.as_mut().unwrap(), "m").await, expected);
    let body = json!({"after": {"m": "900000"}, "sources": ["chat"]});
    let mut events = running.client.post_events("/v1/events", &body).await;
    assert_eq!(read_to_end(&mut events, "m").await, expected);
    let mut events = running.client.try_events("/v1/events?sources=chat&after=m:1", None).await.unwrap();
    assert_eq!(read_to_end(&mut events, "m").await, expected[1..], "a seq alone is the present one's");
}

#[tokio::test]
async fn a_meeting_that_is_forgotten_while_it_is_read_and_opened_again_comes_from_its_start() {
    let running = run().await;
    running.open("m").await;
    publish(&running, "m", 1..=2).await;
    let mut events = running.client.try_events("/v1/events?sources=chat", None).await.unwrap();
    read(&mut events, &[("m", 2)]).await;
    running.forget("m").await;
    running.open("m").await;
    publish(&running, "m", 1..=1).await;
    running.end("m").await;
    let seen = read_to_end(&mut events, "m").await;
    assert_eq!(seen[0], "error", "it was forgotten: {seen:?}");
    assert_eq!(seen[seen.len() - 3..], ["reset", "chat", "end"], "{seen:?}");
}

#[tokio::test]
async fn a_source_that_is_not_there_is_named_with_the_one_that_was_meant() {
    let running = run().await;
    running.open("m").await;
    for path in [
        "/v1/events?sources=chta",
        "/v1/meetings/m/events?sources=chta",
        "/v1/events?outputs=true&sources=chta",
    ] {
        let answer = running.client.get(path).await;
        assert_eq!(answer.status, 422, "{path}");
        assert!(answer.json()["title"].as_str().unwrap().contains("chat"), "{answer:?}");
    }
}
