//! Packets in traces.

use serde_json::{Value, json};

use super::{chat, run};

const OF_REQUEST: &str = "00-000000000000000000000000000000ab-0000000000000001-01";
const OF_PACKET: &str = "00-000000000000000000000000000000cd-0000000000000002-00";

#[tokio::test]
async fn a_position_in_a_trace_comes_from_the_packet_or_its_request() {
    let running = run().await;
    running.open("m").await;
    let mut own = chat("two");
    own["traceparent"] = json!(OF_PACKET);
    let path = "/v1/meetings/m/packets?durable=true";
    let send = async |headers: &[(&str, &str)], body: &[u8]| {
        let answer = running.client.send("POST", path, headers, body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    let traced = ("traceparent", OF_REQUEST);
    send(&[("content-type", "application/json"), traced], json!([chat("one"), own]).to_string().as_bytes())
        .await;
    let lines = format!("{}\n{own}", chat("three"));
    send(&[("content-type", "application/x-ndjson"), traced], lines.as_bytes()).await;
    let of_bytes = [("content-type", "application/octet-stream"), ("teammy-source", "chat"), traced];
    send(&of_bytes, b"{\"text\": \"four\"}").await;
    // What cannot be read counts as none.
    for wrong in [vec![("traceparent", "wrong")], vec![traced, traced], vec![]] {
        send(
            &[&[("content-type", "application/json")], &wrong[..]].concat(),
            chat("x").to_string().as_bytes(),
        )
        .await;
    }
    let ended = running.client.json("POST", "/v1/meetings/m/end", &json!({"wait": true})).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    let packets = running.client.get("/v1/meetings/m/packets").await.json()["packets"].clone();
    let of = |source: &str| -> Vec<Value> {
        let packets = packets.as_array().unwrap().iter();
        packets
            .filter(|packet| packet["source"] == source)
            .map(|packet| packet["traceparent"].clone())
            .collect()
    };
    let expected =
        [json!(OF_REQUEST), json!(OF_PACKET), json!(OF_REQUEST), json!(OF_PACKET), json!(OF_REQUEST)];
    let expected: Vec<Value> = expected.into_iter().chain([Value::Null, Value::Null, Value::Null]).collect();
    assert_eq!(of("chat"), expected);
    // An output has that of its packet; bytes are no chat message.
    let of_bytes = 4;
    let outputs: Vec<_> = expected.iter().enumerate().filter(|(at, _)| *at != of_bytes).collect();
    assert_eq!(of("loud"), outputs.into_iter().map(|(_, position)| position.clone()).collect::<Vec<_>>());

    let mut wrong = chat("five");
    wrong["traceparent"] = json!("00-ab");
    let answer = running.publish("m", &wrong).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    assert!(answer.text().contains("`traceparent` takes a text as in W3C Trace Context"), "{answer:?}");
}
