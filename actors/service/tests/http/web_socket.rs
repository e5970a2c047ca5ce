//! Publishing and reading over a WebSocket.

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use super::{Running, numbered, run, run_with};

type Socket = WebSocketStream<TcpStream>;

async fn connect(running: &Running, path: &str) -> Socket {
    let address = running.client.address();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut socket, _) = client_async(format!("ws://{address}{path}"), stream).await.unwrap();
    let hello = next(&mut socket).await;
    assert_eq!((&hello["type"], &hello["meeting"]), (&json!("hello"), &json!("m")));
    socket
}

async fn say(socket: &mut Socket, message: &Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

/// The next text frame.
async fn next(socket: &mut Socket) -> Value {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The code with which the other side closes, after whatever it sent before.
async fn close_code(socket: &mut Socket) -> u16 {
    loop {
        match socket.next().await {
            Some(Ok(Message::Close(frame))) => return frame.unwrap().code.into(),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn publish(number: u64) -> Value {
    json!({"type": "publish", "packet": numbered(number)})
}

#[tokio::test]
async fn packets_go_in_and_outputs_come_out_and_a_cut_loses_nothing() {
    let running = run().await;
    running.open("m").await;
    let mut socket = connect(&running, "/v1/meetings/m/ws?durable=true").await;
    say(&mut socket, &json!({"type": "subscribe", "outputs": true})).await;
    for number in 1..=3 {
        say(&mut socket, &publish(number)).await;
    }
    let (mut acknowledged, mut seen, mut last) = (0, Vec::new(), String::new());
    while acknowledged < 3 || seen.len() < 3 {
        let message = next(&mut socket).await;
        match message["type"].as_str().unwrap() {
            "ack" => acknowledged = message["number"].as_u64().unwrap(),
            "packet" => {
                seen.push(message["packet"]["payload"]["number"].clone());
                last = message["packet"]["seq"].to_string();
            }
            other => panic!("{other}"),
        }
    }
    // Cut off without a word.
    drop(socket);
    let mut socket = connect(&running, "/v1/meetings/m/ws").await;
    say(&mut socket, &json!({"type": "subscribe", "outputs": true, "after": last})).await;
    for number in 3..=4 {
        say(&mut socket, &publish(number)).await;
    }
    let (mut duplicates, mut number) = (0, 0);
    while number < 2 || seen.len() < 4 {
        let message = next(&mut socket).await;
        match message["type"].as_str().unwrap() {
            "ack" => {
                number = message["number"].as_u64().unwrap();
                duplicates += message["duplicates"].as_u64().unwrap_or(0);
            }
            _ => seen.push(message["packet"]["payload"]["number"].clone()),
        }
    }
    assert_eq!((duplicates, seen), (1, vec![json!(1), json!(2), json!(3), json!(4)]));
    running.client.json("POST", "/v1/meetings/m/end", &json!({})).await;
    assert_eq!(close_code(&mut socket).await, 1000);
}

fn frame(source: &str, participant: &str, producer: (&str, u64), payload: &[u8]) -> Message {
    let mut frame = vec![1];
    frame.extend(i64::MIN.to_be_bytes());
    frame.extend(producer.1.to_be_bytes());
    frame.push(source.len().try_into().unwrap());
    frame.extend(source.bytes());
    frame.extend(u16::try_from(participant.len()).unwrap().to_be_bytes());
    frame.extend(participant.bytes());
    frame.push(producer.0.len().try_into().unwrap());
    frame.extend(producer.0.bytes());
    frame.extend(payload);
    Message::binary(frame)
}

#[tokio::test]
async fn sound_goes_in_and_out_as_bytes() {
    let running = run().await;
    running.open("m").await;
    let mut socket = connect(&running, "/v1/meetings/m/ws?durable=true").await;
    let mut reader = connect(&running, "/v1/meetings/m/ws").await;
    say(&mut reader, &json!({"type": "subscribe", "sources": ["audio"], "binary": true})).await;
    // Answered in order, so the reader subscribes before anything is published.
    say(&mut reader, &json!({"type": "nonsense"})).await;
    assert_eq!(next(&mut reader).await["type"], "problem");
    socket.send(frame("audio", "Ada", ("", 0), &[7; 640])).await.unwrap();
    assert_eq!(next(&mut socket).await["number"], 1);
    let Message::Binary(bytes) = reader.next().await.unwrap().unwrap() else { panic!() };
    assert_eq!(&bytes[17..], [&[5][..], b"audio", &[0, 3], b"Ada", &[0], &[7; 640]].concat());
}

#[tokio::test]
async fn acknowledgements_wait_for_more_if_the_client_wants_it() {
    let running = run().await;
    running.open("m").await;
    let mut reader = connect(&running, "/v1/meetings/m/ws").await;
    say(&mut reader, &json!({"type": "subscribe", "sources": ["audio"], "binary": true})).await;
    say(&mut reader, &json!({"type": "nonsense"})).await;
    assert_eq!(next(&mut reader).await["type"], "problem");
    let mut socket = connect(&running, "/v1/meetings/m/ws?ack_ms=10000").await;
    for _ in 0..3 {
        socket.send(frame("audio", "Ada", ("", 0), &[7; 640])).await.unwrap();
        // It is published, and could be acknowledged.
        assert!(reader.next().await.unwrap().unwrap().is_binary());
    }
    // Whatever is sent takes them along.
    say(&mut socket, &json!({"type": "nonsense"})).await;
    let acknowledged = next(&mut socket).await;
    assert_eq!((&acknowledged["type"], &acknowledged["number"]), (&json!("ack"), &json!(3)));
    assert_eq!(next(&mut socket).await["type"], "problem");

    let mut socket = connect(&running, "/v1/meetings/m/ws?ack_ms=1").await;
    socket.send(frame("audio", "Ada", ("", 0), &[7; 640])).await.unwrap();
    assert_eq!(next(&mut socket).await["number"], 1, "it does not wait for ever");
    let wrong = running.client.get("/v1/meetings/m/ws?ack_ms=10001").await;
    assert!(wrong.json()["title"].as_str().unwrap().contains("ack_ms"), "{wrong:?}");
}

#[tokio::test]
async fn mistakes_are_told_and_do_not_end_the_connection() {
    let running = run().await;
    running.open("m").await;
    let mut socket = connect(&running, "/v1/meetings/m/ws").await;
    for (message, number, says) in [
        (Message::text("{\"type\": \"shout\"}"), None, "shout"),
        (Message::text("{\"type\": \"subscribe\", \"after\": \"x\"}"), None, "65541"),
        (Message::text("{\"type\": \"subscribe\", \"sources\": [\"chta\"]}"), None, "chat"),
        (Message::text("{\"type\": \"publish\", \"packet\": {\"source\": \"chat\"}}"), Some(1), "payload"),
        (Message::binary(vec![9]), Some(2), "version"),
        (frame("audio", "", ("b", 0), b"x"), Some(3), "producer"),
        (Message::text("{\"type\": \"publish\", \"packet\": {}, \"x\": 1}"), Some(4), "x"),
        (Message::text(publish(7).to_string()), Some(5), "1"),
    ] {
        socket.send(message).await.unwrap();
        let problem = next(&mut socket).await;
        assert_eq!(problem["number"].as_u64(), number, "{problem}");
        assert!(problem["problem"]["title"].as_str().unwrap().contains(says), "{problem}");
        assert!(number != Some(5) || problem["problem"]["next"] == "1", "{problem}");
    }
    socket.send(Message::text("no JSON")).await.unwrap();
    assert_eq!(close_code(&mut socket).await, 1007);
    let plain = running.client.get("/v1/meetings/m/ws").await;
    assert!((400..427).contains(&plain.status) && plain.json()["code"].is_string(), "{plain:?}");
}

#[tokio::test]
async fn a_reader_gets_as_many_packets_as_it_asked_for() {
    let running = run().await;
    running.open("m").await;
    for number in 1..=4 {
        running.publish("m", &numbered(number)).await;
    }
    let mut socket = connect(&running, "/v1/meetings/m/ws").await;
    say(&mut socket, &json!({"type": "subscribe", "sources": ["chat"], "credit": 2})).await;
    for _ in 0..2 {
        assert_eq!(next(&mut socket).await["type"], "packet");
    }
    say(&mut socket, &json!({"type": "nonsense"})).await;
    assert_eq!(next(&mut socket).await["type"], "problem", "no third packet comes before");
    say(&mut socket, &json!({"type": "credit", "packets": 1})).await;
    assert_eq!(next(&mut socket).await["packet"]["payload"]["text"], "line 3");
    say(&mut socket, &json!({"type": "unsubscribe"})).await;
    say(&mut socket, &json!({"type": "credit", "packets": 9})).await;
    say(&mut socket, &json!({"type": "nonsense"})).await;
    assert_eq!(next(&mut socket).await["type"], "problem");
}

#[tokio::test]
async fn a_frame_that_is_too_large_is_not_read() {
    let running = run().await;
    running.open("m").await;
    let mut socket = connect(&running, "/v1/meetings/m/ws").await;
    let stream = socket.get_mut();
    // A frame of 4 GB is announced, as RFC 6455 has it: final, binary, masked, a length of 64 bits.
    let head = [&[0x82, 0xff][..], &(4_u64 << 30).to_be_bytes(), &[0; 4]].concat();
    tokio::io::AsyncWriteExt::write_all(stream, &head).await.unwrap();
    assert_eq!(close_code(&mut socket).await, 1009);
}

#[tokio::test]
async fn a_node_that_stops_says_come_back() {
    let running = run().await;
    running.open("m").await;
    let mut socket = connect(&running, "/v1/meetings/m/ws").await;
    running.stop.stop();
    assert_eq!(close_code(&mut socket).await, 1012);
    drop(socket);
    running.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_socket_takes_a_connection_as_long_as_it_is_open() {
    let running = run_with("[service]\nlisten = \"127.0.0.1:0\"\nconnections = 2").await;
    running.open("m").await;
    let first = connect(&running, "/v1/meetings/m/ws").await;
    let mut second = connect(&running, "/v1/meetings/m/ws").await;
    assert!(running.client.try_send("GET", "/livez", &[], b"").await.is_err(), "there is no third");
    second.close(None).await.unwrap();
    // The other side answers the close.
    assert!(matches!(second.next().await, Some(Ok(Message::Close(_)))));
    assert!(second.next().await.is_none());
    while running.client.try_send("GET", "/livez", &[], b"").await.is_err() {
        tokio::task::yield_now().await;
    }
    drop(first);
}
