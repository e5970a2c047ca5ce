//! The backend over a real socket, as a client in any language uses it.

#![allow(clippy::unwrap_used, reason = "a helper of a test may panic")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde_json::{Value, json};
use teammy::{Node, config::Config};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

const CONFIG: &str = r#"
database.url = "mem://"
[[plugin]]
name = "watch-list"
config = { terms = ["map"] }
[[plugin]]
name = "talk-time"
"#;

/// A server of a node that keeps its meetings in memory.
struct Server {
    address: SocketAddr,
    node: Arc<Node>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start() -> Self {
        let builder = Node::builder(Config::from_toml(CONFIG).unwrap()).plugins(teammy::plugins::bundle());
        let node = Arc::new(builder.start().await.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = axum::serve(listener, teammy_http_backend::router(node.clone()));
        let serving =
            tokio::spawn(server.with_graceful_shutdown(async { drop(stopped.await) }).into_future());
        Self { address, node, stop, serving }
    }

    /// Stops as the program does.
    async fn stop(self) {
        drop(self.stop);
        self.node.shutdown(Duration::from_mins(10)).await.unwrap();
        self.serving.await.unwrap().unwrap();
    }

    /// Sends a request, and returns its answer after the status and the headers.
    async fn send(&self, request: &str, headers: &str, body: &[u8]) -> (u16, BufReader<TcpStream>) {
        let mut stream = BufReader::new(TcpStream::connect(self.address).await.unwrap());
        let head = format!("{request} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}");
        stream.write_all(format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line: &String| !line.trim().is_empty()) {
            let mut line = String::new();
            assert!(stream.read_line(&mut line).await.unwrap() > 0, "{lines:?}");
            lines.push(line);
        }
        (lines[0].split(' ').nth(1).unwrap().parse().unwrap(), stream)
    }

    async fn get_status_and_json(&self, request: &str, body: &[u8]) -> (u16, Value) {
        let (status, mut answer) = self.send(request, "Content-Type: application/json\r\n", body).await;
        let mut body = String::new();
        answer.read_to_string(&mut body).await.unwrap();
        (status, if body.is_empty() { Value::Null } else { serde_json::from_str(&body).expect(&body) })
    }

    async fn ask(&self, request: &str, body: Value) -> (u16, Value) {
        self.get_status_and_json(request, body.to_string().as_bytes()).await
    }

    async fn open(&self, id: &str) -> (u16, Value) {
        let labels = json!({"team": "maps"});
        let instances = ["watch-list", "talk-time"];
        self.ask(
            "POST /meetings",
            json!({"id": id, "title": "Weekly", "labels": labels, "instances": instances}),
        )
        .await
    }

    async fn follow(&self, path: &str, last: u64) -> Events {
        let (status, stream) =
            self.send(&format!("GET {path}"), &format!("Last-Event-ID: {last}\r\n"), b"").await;
        assert_eq!(status, 200);
        Events { stream, last }
    }
}

/// A stream of server-sent events. The chunks in which they come are skipped: their sizes are lines of their own.
struct Events {
    stream: BufReader<TcpStream>,
    last: u64,
}

impl Events {
    /// The next event's packet, or an error's message; none at the end.
    async fn next(&mut self) -> Option<Value> {
        let mut event = String::new();
        loop {
            let mut line = String::new();
            let is_over = self.stream.read_line(&mut line).await.unwrap() == 0;
            match line.trim_end().split_once(": ") {
                Some(("id", seq)) => self.last = seq.parse().unwrap(),
                Some(("event", name)) => name.clone_into(&mut event),
                Some(("data", text)) if event.is_empty() => return Some(serde_json::from_str(text).unwrap()),
                Some(("data", text)) => return Some(json!(text)),
                _ if event == "end" => return None,
                _ => assert!(!is_over, "the stream ended without saying so"),
            }
        }
    }

    async fn rest(mut self) -> Vec<Value> {
        let mut rest = Vec::new();
        while let Some(packet) = self.next().await {
            rest.push(packet);
        }
        rest
    }
}

fn said(text: &str) -> Value {
    let payload = json!({"text": text, "start_ms": 0, "end_ms": 1000});
    json!({"source": "transcription", "participant": "Ada", "payload": payload})
}

#[tokio::test]
async fn a_meeting_from_its_start_to_its_end() {
    let server = Server::start().await;
    assert_eq!(server.open("weekly").await, (201, json!({"id": "weekly", "opened": "started"})));
    assert_eq!(server.open("weekly").await.1["opened"], "running");

    let packets = json!([said("The map?"), said("This map."), said("Done.")]);
    let (status, seqs) = server.ask("POST /meetings/weekly/packets", packets).await;
    assert_eq!((status, seqs.as_array().unwrap().len()), (200, 3), "{seqs}");
    let (status, _) =
        server.get_status_and_json("POST /meetings/weekly/audio?participant=Ada", &[0; 640]).await;
    assert_eq!(status, 202);

    let mut outputs = server.follow("/meetings/weekly/outputs", 0).await;
    let first = outputs.next().await.unwrap();
    assert_eq!((&first["source"], &first["seq"]), (&json!("watch-list"), &json!(outputs.last)));
    let last = outputs.last;
    drop(outputs);
    assert_eq!(server.ask("POST /meetings/weekly/end", Value::Null).await.0, 204);
    // Who comes back goes on after its last event, also when the meeting has ended.
    let rest = server.follow("/meetings/weekly/outputs", last).await.rest().await;
    assert!(rest.iter().all(|packet| packet["seq"].as_u64() > Some(last)), "{rest:?}");
    let sources: Vec<_> = rest.iter().map(|packet| packet["source"].as_str().unwrap()).collect();
    assert_eq!(sources, ["watch-list", "talk-time"]);
    let all = server.follow("/meetings/weekly/packets", 0).await.rest().await;
    let said = all.iter().filter(|packet| packet["source"] == "transcription");
    let texts: Vec<_> = said.map(|packet| packet["payload"]["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["The map?", "This map.", "Done."]);

    assert_eq!(server.open("weekly").await, (200, json!({"id": "weekly", "opened": "ended"})));
    let ended = json!({"ask": "meetings", "query": {"statuses": ["ended"], "labels": {"team": "maps"}}});
    let (_, listed) = server.ask("POST /admin", ended.clone()).await;
    assert_eq!(listed["meetings"][0]["title"], "Weekly", "{listed}");
    let letters = json!({"ask": "dead-letters", "meeting": "weekly"});
    assert_eq!(server.ask("POST /admin", letters).await.1["letters"], json!([]));
    assert_eq!(server.ask("POST /admin", json!({"ask": "forget", "meeting": "weekly"})).await.0, 200);
    assert_eq!(server.ask("POST /admin", ended).await.1["meetings"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn a_repeated_request_publishes_once() {
    let server = Server::start().await;
    server.open("m").await;
    let mut packet = said("Once.");
    packet["producer"] = json!({"id": "recogniser", "number": 1});
    let first = server.ask("POST /meetings/m/packets", json!([packet])).await;
    assert_eq!(server.ask("POST /meetings/m/packets", json!([packet])).await, first);
    server.ask("POST /meetings/m/end", Value::Null).await;
    assert_eq!(server.ask("POST /meetings/m/packets", json!([packet])).await, first, "also after the end");
    server.stop().await;
}

#[tokio::test]
async fn errors_are_problems_with_a_code() {
    let server = Server::start().await;
    server.open("m").await;
    server.open("over").await;
    server.ask("POST /meetings/over/end", Value::Null).await;
    let packet = |source: &str| json!([{"source": source, "payload": 1}]);
    let instances = |instances: Value| json!({"id": "new", "instances": instances});
    for (request, body, status, code, title) in [
        ("POST /meetings/none/packets", packet("chat"), 404, "no-meeting", "no meeting none"),
        ("GET /meetings/none/outputs", Value::Null, 404, "no-meeting", "no meeting none"),
        (
            "POST /meetings",
            instances(json!(["watchlist"])),
            404,
            "unknown-instance",
            "did you mean watch-list?",
        ),
        ("POST /meetings/m/packets", packet("speech"), 404, "unknown-source", "speech"),
        ("POST /meetings/m/packets", packet("talk-time"), 400, "source-not-external", "talk-time"),
        ("POST /meetings/over/packets", packet("chat"), 410, "ended", "has ended"),
        ("POST /meetings/m/packets", json!([{"payload": 1}]), 422, "request-malformed", "source"),
        ("POST /meetings/m/packets", packet("a source"), 422, "request-malformed", "a source"),
        ("POST /meetings/a%0Ab/end", Value::Null, 400, "request-malformed", "control character"),
        ("POST /admin", json!({"ask": "tea"}), 422, "request-malformed", "tea"),
    ] {
        let (found, problem) = server.ask(request, body).await;
        assert_eq!((found, problem["code"].as_str()), (status, Some(code)), "{request}: {problem}");
        assert!(problem["title"].as_str().unwrap().contains(title), "{request}: {problem}");
        assert_eq!((&problem["status"], &problem["can_retry"]), (&json!(status), &json!(false)));
    }
    let (status, problem) = server.get_status_and_json("POST /meetings/m/packets", b"[{\"source\":").await;
    assert_eq!((status, &problem["kind"]), (400, &json!("invalid")), "{problem}");
    server.stop().await;
}

#[tokio::test]
async fn clients_that_open_one_meeting_at_once_get_the_same() {
    let server = Server::start().await;
    let answers = futures::future::join_all((0..8).map(|_| server.open("m"))).await;
    let count = |opened: &str| answers.iter().filter(|(_, answer)| answer["opened"] == opened).count();
    assert_eq!((count("started"), count("running")), (1, 7), "{answers:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_stream_of_a_running_meeting_does_not_hold_up_the_end_of_the_server() {
    let server = Server::start().await;
    server.open("m").await;
    server.ask("POST /meetings/m/packets", json!([said("The map?")])).await;
    let mut outputs = server.follow("/meetings/m/outputs", 0).await;
    assert_eq!(outputs.next().await.unwrap()["source"], "watch-list");
    let ((), error) = tokio::join!(server.stop(), outputs.next());
    assert_eq!(error.unwrap(), "meeting m is no longer run by this node: the node has released it");
}
