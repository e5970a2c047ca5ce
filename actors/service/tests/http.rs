//! The API over a real socket, with a node in this process and a client that writes and reads bytes.

// Helpers may unwrap, as tests may; clippy recognises only the tests themselves.
#![allow(clippy::unwrap_used)]

#[path = "http/all_meetings.rs"]
mod all_meetings;
#[path = "http/client.rs"]
mod client;
#[path = "http/description.rs"]
mod description;
#[path = "http/tenants.rs"]
mod tenants;
#[path = "http/tls.rs"]
mod tls;
#[path = "http/traces.rs"]
mod traces;
#[path = "http/web_socket.rs"]
mod web_socket;

use std::{sync::Arc, time::Duration};

use client::{Answer, Client};
use serde_json::{Value, json};
use teammy_config::Config;
use teammy_kernel::{
    Cx, Error, Factory, Hooks, InCallPlugin, Json, Receive, StartupCx, data::Chat, store::MemoryStore,
};
use teammy_runtime::Node;
use teammy_service::{Service, Stop};
use tokio::task::JoinHandle;

/// Answers each chat message with its text in capitals, and fails at `fail`.
struct Loud;

impl InCallPlugin for Loud {
    type Config = ();
    type State = u64;
    type Scratch = ();
    type Output = Json<Value>;
    const KIND: &'static str = "loud";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Chat>>("chat")
    }
}

impl Receive<Json<Chat>> for Loud {
    async fn receive(&self, chat: Json<Chat>, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Value>>, Error> {
        if chat.0.text == "fail" {
            return Err(Error::reject("as told"));
        }
        *cx.state_mut() += 1;
        Ok(Some(Json(json!({"loud": chat.0.text.to_uppercase(), "number": *cx.state()}))))
    }
}

struct Running {
    client: Client,
    stop: Stop,
    node: Arc<Node>,
    serving: JoinHandle<Result<(), teammy_service::Error>>,
}

fn config(more: &str) -> Config {
    let config = "limits.packet_bytes = \"4KiB\"\n[[plugin]]\nname = \"loud\"\n[[plugin]]\nname = \"second\"\nkind = \"loud\"\n";
    let listen = if more.contains("[service]") { "" } else { "[service]\nlisten = \"127.0.0.1:0\"\n" };
    Config::from_toml(&format!("{config}{listen}{more}")).unwrap()
}

async fn node(config: Config) -> Node {
    Node::builder(config)
        .plugin(Factory::of::<Loud>("loud"))
        .store(Arc::new(MemoryStore::default()))
        .plugin_runtime(tokio::runtime::Handle::current())
        .start()
        .await
        .unwrap()
}

async fn run() -> Running {
    run_with("").await
}

async fn run_with(more: &str) -> Running {
    let config = config(more);
    let service = Service::bind(&config).await.unwrap();
    let node = Arc::new(node(config).await);
    let client = Client::new(service.address());
    let stop = Stop::default();
    stop.ready();
    let serving = tokio::spawn(service.serve(node.clone(), stop.clone(), Duration::from_secs(10)));
    Running { client, stop, node, serving }
}

impl Running {
    async fn open(&self, id: &str) -> Value {
        let answer = self.client.json("POST", "/v1/meetings", &json!({"id": id, "plugins": ["loud"]})).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    async fn publish(&self, meeting: &str, packet: &Value) -> Answer {
        self.client.json("POST", &format!("/v1/meetings/{meeting}/packets?durable=true"), packet).await
    }
}

fn chat(text: &str) -> Value {
    json!({"source": "chat", "participant": "Ada", "payload": {"text": text}})
}

fn numbered(number: u64) -> Value {
    let mut packet = chat(&format!("line {number}"));
    packet["producer"] = json!({"id": "backend", "number": number});
    packet
}

#[tokio::test]
async fn a_meeting_is_opened_shown_listed_ended_and_forgotten() {
    let running = run().await;
    let client = &running.client;
    let opening = json!({"id": "standup", "title": "Daily", "labels": {"team": "maps"}, "plugins": ["loud"]});
    let first = client.json("POST", "/v1/meetings", &opening).await;
    let again = client.json("POST", "/v1/meetings", &opening).await;
    assert_eq!((first.status, again.status), (201, 200));
    let (first, again) = (first.json(), again.json());
    assert_eq!((&first["opened"], &again["opened"]), (&json!("started"), &json!("running")));
    assert_eq!((&first["id"], &first["title"]), (&json!("standup"), &json!("Daily")));
    assert_eq!(again["running"]["instances"][0]["name"], "loud");

    running.open("other").await;
    let listed = client.get("/v1/meetings?label=team:maps&status=running").await.json();
    assert_eq!((listed["meetings"].as_array().unwrap().len(), listed.get("answer")), (1, None), "{listed}");
    let page = client.get("/v1/meetings?limit=1").await.json();
    let next = page["next"].as_str().unwrap();
    let rest = client.get(&format!("/v1/meetings?limit=1&after={}", client::escaped(next))).await.json();
    assert_eq!(
        (&page["meetings"][0]["id"], &rest["meetings"][0]["id"]),
        (&json!("other"), &json!("standup"))
    );

    let assigned = client.json("PUT", "/v1/meetings/standup/instances/second?from=start", &json!({})).await;
    assert_eq!(assigned.status, 204, "{assigned:?}");
    assert_eq!(client.send("DELETE", "/v1/meetings/standup/instances/second", &[], b"").await.status, 204);
    let ended = client.json("POST", "/v1/meetings/standup/end", &json!({"wait": true})).await;
    assert_eq!((ended.status, &ended.json()["status"]), (200, &json!("ended")));
    let again = client.json("POST", "/v1/meetings/standup/end", &json!({"wait": true})).await;
    assert_eq!(again.status, 200, "the client may have sent it before");
    assert_eq!(client.send("DELETE", "/v1/meetings/standup", &[], b"").await.status, 204);
    let gone = client.get("/v1/meetings/standup").await;
    assert_eq!((gone.status, &gone.json()["code"]), (404, &json!("no-meeting")));
}

#[tokio::test]
async fn a_meeting_without_an_id_has_that_of_its_key() {
    let running = run().await;
    let open = async |key: Option<&str>| {
        let key = key.map(|key| [("idempotency-key", key)]);
        let headers =
            [&[("content-type", "application/json")][..], key.as_ref().map_or(&[], |key| key)].concat();
        let answer = running.client.send("POST", "/v1/meetings", &headers, b"{\"plugins\": []}").await;
        answer.json()["id"].as_str().unwrap().to_owned()
    };
    let (first, again, other) =
        (open(Some("call-1")).await, open(Some("call-1")).await, open(Some("call-2")).await);
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert_ne!(open(None).await, open(None).await);
}

#[tokio::test]
async fn a_numbered_packet_can_be_sent_again_and_a_gap_is_named() {
    let running = run().await;
    running.open("m").await;
    let first = running.publish("m", &numbered(1)).await.json();
    assert_eq!(first["duplicate"], false);
    let again = running.publish("m", &numbered(1)).await.json();
    assert_eq!((&again["seq"], &again["duplicate"]), (&first["seq"], &json!(true)));
    let gap = running.publish("m", &numbered(3)).await;
    let problem = gap.json();
    assert_eq!((gap.status, &problem["next"]), (409, &json!("2")));
    assert_eq!(gap.header("content-type"), Some("application/problem+json"));
}

#[tokio::test]
async fn a_producer_without_its_numbers_asks_where_it_is() {
    let running = run().await;
    running.open("m").await;
    let place =
        async |path: &str| running.client.get(&format!("/v1/meetings/m/producers/{path}")).await.json();
    let nothing = json!({"producer": "backend", "next": "1", "last_seq": null});
    assert_eq!(place("backend").await, nothing);
    let mut last = Value::Null;
    for number in 1..=3 {
        last = running.publish("m", &numbered(number)).await.json()["seq"].clone();
    }
    let there = json!({"producer": "backend", "next": "4", "last_seq": last});
    for path in ["backend", "backend?durable=true"] {
        assert_eq!(place(path).await, there, "{path}");
    }
    assert_eq!(place("a%2Fb%20%C3%BC").await["producer"], "a/b ü");
    assert_eq!(place("backend?durabel=true").await["status"], 400);
    assert_eq!(place(&"p".repeat(255)).await["next"], "1");
    assert_eq!(place(&"p".repeat(256)).await["code"], "bad-number", "nobody can publish so");
    // Also what only its row and its marks know, once it has ended.
    running.client.json("POST", "/v1/meetings/m/end", &json!({"wait": true})).await;
    assert_eq!(place("backend").await, there);
    assert_eq!(running.client.get("/v1/meetings/none/producers/backend").await.status, 404);
}

#[tokio::test]
async fn lists_lines_and_bytes_are_published_with_a_result_for_each() {
    let running = run().await;
    running.open("m").await;
    let list = json!([chat("one"), {"source": "nothing", "payload": 1}, chat("two")]);
    let results = running.publish("m", &list).await.json()["results"].clone();
    assert_eq!(results.as_array().unwrap().len(), 3);
    assert!(results[0]["seq"].is_string() && results[2]["seq"].is_string(), "{results}");
    assert_eq!(results[1]["problem"]["code"], "unknown-source");

    let lines = format!("{}\n\n{}\nnot JSON\n{}", numbered(1), numbered(2), numbered(3));
    let kind = [("content-type", "application/x-ndjson")];
    let path = "/v1/meetings/m/packets?durable=true";
    let answer = running.client.send("POST", path, &kind, lines.as_bytes()).await;
    let lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!([0, 1, 3].iter().all(|index| lines[*index]["duplicate"] == false), "{lines:?}");
    assert_eq!(lines[2]["problem"]["status"], 422);

    let headers = [
        ("content-type", "application/octet-stream"),
        ("teammy-source", "chat"),
        ("teammy-participant", "Bo"),
        ("teammy-timestamp", "2026-01-05T09:00:00Z"),
        ("teammy-producer", "recorder"),
        ("teammy-number", "1"),
    ];
    let answer = running.client.send("POST", path, &headers, b"{\"text\": \"bytes\"}").await;
    assert_eq!(answer.json()["duplicate"], false, "{answer:?}");
    assert_eq!(
        running.client.send("POST", path, &headers, b"{\"text\": \"bytes\"}").await.json()["duplicate"],
        true
    );
}

#[tokio::test]
async fn a_reader_that_comes_back_misses_and_doubles_nothing() {
    let running = run().await;
    running.open("m").await;
    let mut events = running.client.try_events("/v1/meetings/m/events?outputs=true", None).await.unwrap();
    for number in 1..=3 {
        assert_eq!(running.publish("m", &numbered(number)).await.status, 200);
    }
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push(events.next().await.unwrap());
    }
    drop(events);
    running.publish("m", &numbered(4)).await;
    let last = seen.last().unwrap().id.clone();
    let mut events =
        running.client.try_events("/v1/meetings/m/events?outputs=true", last.as_deref()).await.unwrap();
    assert_eq!(running.client.json("POST", "/v1/meetings/m/end", &json!({})).await.status, 202);
    while let Some(event) = events.next().await {
        seen.push(event);
    }
    let end = seen.pop().unwrap();
    assert_eq!((end.name.as_deref(), end.id), (Some("end"), None));
    let numbers: Vec<_> = seen.iter().map(|event| event.json()["payload"]["number"].clone()).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    for event in &seen {
        let packet = event.json();
        assert_eq!(event.id, Some(packet["seq"].to_string()));
        assert_eq!((&packet["source"], &packet["meeting"]), (&json!("loud"), &json!("m")));
    }

    // The same is in the history, page by page.
    let (mut read, mut after) = (Vec::new(), "0".to_owned());
    loop {
        let page =
            running.client.get(&format!("/v1/meetings/m/packets?sources=chat&limit=3&after={after}")).await;
        let page = page.json();
        read.extend(
            page["packets"].as_array().unwrap().iter().map(|packet| packet["payload"]["text"].clone()),
        );
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(read, ["line 1", "line 2", "line 3", "line 4"]);
}

#[tokio::test]
async fn a_node_that_stops_tells_its_readers_to_come_back() {
    let running = run().await;
    running.open("m").await;
    assert_eq!(running.client.get("/readyz").await.status, 200);
    let mut events = running.client.try_events("/v1/meetings/m/events?sources=chat", None).await.unwrap();
    running.publish("m", &chat("hello")).await;
    assert_eq!(events.next().await.unwrap().json()["payload"]["text"], "hello");
    running.stop.stop();
    assert_eq!(events.next().await.unwrap().name.as_deref(), Some("again"));
    assert!(events.next().await.is_none());
    running.serving.await.unwrap().unwrap();
    assert!(running.client.try_send("GET", "/livez", &[], b"").await.is_err(), "nobody listens");
    running.node.shutdown(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test]
async fn what_instances_gave_up_is_listed_and_delivered_again() {
    let running = run().await;
    running.open("m").await;
    running.publish("m", &chat("fail")).await;
    let ended = running.client.json("POST", "/v1/meetings/m/end", &json!({"wait": true})).await;
    assert_eq!(ended.status, 200);
    let letters = running.client.get("/v1/meetings/m/dead-letters").await.json()["letters"].clone();
    assert_eq!((letters.as_array().unwrap().len(), &letters[0]["instance"]), (1, &json!("loud")));
    let redriven =
        running.client.json("POST", "/v1/meetings/m/dead-letters", &json!({"instance": "loud"})).await;
    assert_eq!(redriven.json()["count"], 1, "{redriven:?}");
}

type Headers<'a> = &'a [(&'a str, &'a str)];

#[tokio::test]
async fn mistakes_are_answered_with_what_to_do() {
    let running = run().await;
    running.open("m").await;
    let client = &running.client;
    let json_type = [("content-type", "application/json")];
    let large = chat(&"x".repeat(5_000)).to_string();
    let cases: [(&str, &str, Headers<'_>, &str, u16, &str); 16] = [
        ("GET", "/nothing", &[], "", 404, "docs/http.md"),
        ("PATCH", "/v1/meetings", &[], "", 405, "method"),
        ("GET", "/v1/meetings/none", &[], "", 404, "none"),
        ("GET", "/v1/meetings?colour=red", &[], "", 400, "colour"),
        ("GET", "/v1/meetings?status=red", &[], "", 400, "running"),
        ("GET", "/v1/meetings/m/packets?after=x", &[], "", 400, "after"),
        ("POST", "/v1/meetings", &[], "{}", 415, "application/json"),
        ("POST", "/v1/meetings", &json_type, "{\"id\": \"a\", \"plugin\": []}", 422, "plugin"),
        ("POST", "/v1/meetings", &json_type, "{\"id\": \"a\", \"plugins\": [\"lout\"]}", 422, "loud"),
        ("POST", "/v1/meetings", &json_type, "[\"a\"]", 422, "object"),
        ("POST", "/v1/meetings/m/dead-letters", &json_type, "[null, null]", 422, "object"),
        ("POST", "/v1/meetings/m/packets", &json_type, "{\"source\": \"chat\"", 422, "EOF"),
        ("POST", "/v1/meetings/m/packets", &json_type, "{\"source\": \"chta\", \"payload\": 1}", 422, "chat"),
        ("POST", "/v1/meetings/m/packets", &json_type, &large, 413, "limits.packet_bytes"),
        (
            "POST",
            "/v1/meetings/m/packets",
            &[("content-type", "text/plain")],
            "hello",
            415,
            "application/json",
        ),
        ("GET", "/v1/meetings/m/events", &[("last-event-id", "yesterday")], "", 400, "Last-Event-ID"),
    ];
    let huge = client.announce("POST", "/v1/meetings", &json_type, (16 << 20) + 1).await;
    assert_eq!((huge.status, huge.header("content-type")), (413, Some("application/problem+json")));
    for (method, path, headers, body, status, says) in cases {
        let answer = client.send(method, path, headers, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{method} {path}");
        assert!(problem["title"].as_str().unwrap().contains(says), "{method} {path}: {problem}");
        assert!(problem["code"].is_string() && problem["can_retry"].is_boolean(), "{problem}");
    }
}

#[tokio::test]
async fn a_web_page_of_another_origin_can_do_nothing() {
    let running = run().await;
    let client = &running.client;
    let own = format!("http://{}", client.address());
    for (name, value, status) in [
        ("host", "evil.example", 403),
        ("host", "evil.example:7600", 403),
        ("host", "localhost:7600", 200),
        ("host", "[::1]:7600", 200),
        ("origin", "https://evil.example", 403),
        ("origin", "null", 403),
        ("origin", own.as_str(), 200),
    ] {
        let answer = client.send("GET", "/v1/plugins", &[(name, value)], b"").await;
        assert_eq!(answer.status, status, "{name}: {value}: {answer:?}");
    }
}

#[tokio::test]
async fn other_machines_are_not_served_without_keys() {
    let config = Config::from_toml("service.listen = \"0.0.0.0:0\"").unwrap();
    let service = Service::bind(&config).await.unwrap();
    let node = Arc::new(node(crate::config("")).await);
    let error = service.serve(node, Stop::default(), Duration::ZERO).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1") && error.contains("teammy key create"), "{error}");
}

#[tokio::test]
async fn the_node_says_what_it_has() {
    let running = run().await;
    let plugins = running.client.get("/v1/plugins").await.json();
    assert_eq!(plugins["plugins"][0]["kind"], "loud");
    assert_eq!(plugins["plugins"][0]["sources"], json!(["chat"]));
    assert_eq!(plugins["plugins"][0]["lacks_llm"], json!(false), "it needs none");
    assert_eq!(running.client.get("/v1/usage").await.json()["rows"], json!([]));
    assert!(running.client.get("/v1/status").await.json()["status"].is_object());
    assert_eq!(running.client.get("/livez").await.status, 200);
}
