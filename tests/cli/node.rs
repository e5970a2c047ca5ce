//! `teammy node`, over a real socket: killed, stopped, and asked for what it does not do.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, ChildStdout, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::Place;

#[path = "../../actors/service/tests/http/client.rs"]
pub(crate) mod client;

use client::Client;

/// A node that is killed when it is dropped.
pub(crate) struct Node {
    child: Child,
    /// Its output, which stays open.
    _stdout: BufReader<ChildStdout>,
    pub(crate) client: Client,
    resumed: u64,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    /// Starts a node, and waits until it has resumed its meetings.
    pub(crate) fn start(place: &Place) -> Self {
        let arguments = ["node", "--json", "--db", "surrealkv://db", "--listen", "127.0.0.1:0"];
        let mut child =
            place.teammy(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = || -> Value {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
        };
        let (listening, resumed) = (line(), line());
        assert_eq!((&listening["type"], &resumed["type"]), (&json!("listening"), &json!("resumed")));
        assert_eq!(resumed["failed"], 0);
        let address: SocketAddr = listening["address"].as_str().unwrap().parse().unwrap();
        let resumed = resumed["meetings"].as_u64().unwrap();
        Self { child, _stdout: stdout, client: Client::new(address), resumed }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    async fn open(&self) -> u16 {
        let opening = json!({"id": "m", "plugins": ["talk-time"]});
        self.client.json("POST", "/v1/meetings", &opening).await.status
    }
}

const SETTINGS: &str = "[[plugin]]\nname = \"talk-time\"\nconfig = { every = 1 }\n";

fn place() -> Place {
    let place = Place::new();
    place.file("teammy.toml", SETTINGS);
    place
}

fn packet(number: u64) -> String {
    let payload = json!({"text": format!("word {number}"), "start_ms": 0, "end_ms": 1000, "is_final": true});
    let producer = json!({"id": "backend", "number": number});
    json!({"source": "transcription", "participant": "Ada", "payload": payload, "producer": producer})
        .to_string()
}

/// A backend publishes numbered packets and another one reads the outputs, while the node is killed again and again. Both
/// come back and say where they were.
#[test]
fn a_node_that_is_killed_loses_and_doubles_nothing() {
    const PACKETS: u64 = 150;
    let seed = std::env::var("CRASH_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("CRASH_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let place = place();
    Runtime::new().unwrap().block_on(async {
        let mut node = Node::start(&place);
        assert_eq!(node.open().await, 201);
        let (mut acknowledged, mut last_id, mut turns) = (0, None::<String>, Vec::new());
        let (mut kills, mut duplicates) = (0, 0);
        while acknowledged < PACKETS {
            let client = node.client.clone();
            // Killed while the packet after this one is under way.
            let (last, is_there) = (acknowledged + random.u64(1..40), tokio::sync::Notify::new());
            let publish = async {
                while acknowledged < PACKETS {
                    let headers = [("content-type", "application/json")];
                    let packet = packet(acknowledged + 1);
                    let path = "/v1/meetings/m/packets?durable=true";
                    let Ok(answer) = client.try_send("POST", path, &headers, packet.as_bytes()).await else {
                        return;
                    };
                    // Cut off in the middle of an answer, it has none.
                    let Ok(result) = serde_json::from_str::<Value>(answer.text()) else { return };
                    assert_eq!(answer.status, 200, "{answer:?}");
                    duplicates += u64::from(result["duplicate"] == true);
                    acknowledged += 1;
                    if acknowledged >= last.min(PACKETS) {
                        is_there.notify_one();
                    }
                }
            };
            let read = async {
                let path = "/v1/meetings/m/events?outputs=true";
                let Ok(mut events) = client.try_events(path, last_id.as_deref()).await else { return };
                while let Some(event) = events.next().await {
                    turns.push(event.json()["payload"]["turns"].as_u64().unwrap());
                    last_id = event.id;
                }
            };
            let kill = async {
                is_there.notified().await;
                tokio::time::sleep(Duration::from_micros(random.u64(0..2000))).await;
                node.child.kill().unwrap();
                node.child.wait().unwrap();
            };
            tokio::join!(publish, read, kill);
            kills += 1;
            node = Node::start(&place);
            assert_eq!(node.resumed, 1);
            assert_eq!(node.open().await, 200, "it runs already");
        }
        println!("{kills} kills, {duplicates} packets were sent again");
        let mut events =
            node.client.try_events("/v1/meetings/m/events?outputs=true", last_id.as_deref()).await.unwrap();
        let ended = node.client.json("POST", "/v1/meetings/m/end", &json!({"wait": true})).await;
        assert_eq!(ended.status, 200);
        while let Some(event) = events.next().await
            && event.name.is_none()
        {
            turns.push(event.json()["payload"]["turns"].as_u64().unwrap());
        }
        // The last one comes at the end.
        let expected: Vec<_> = (1..=PACKETS).chain([PACKETS]).collect();
        assert_eq!(turns, expected, "each output once, in order");
        let (mut words, mut after) = (Vec::new(), "0".to_owned());
        loop {
            let path = format!("/v1/meetings/m/packets?sources=transcription&after={after}");
            let page = node.client.get(&path).await.json();
            let packets = page["packets"].as_array().unwrap();
            words.extend(packets.iter().map(|packet| packet["payload"]["text"].as_str().unwrap().to_owned()));
            match page["next"].as_str() {
                Some(next) => after = next.to_owned(),
                None => break,
            }
        }
        let sent: Vec<_> = (1..=PACKETS).map(|number| format!("word {number}")).collect();
        assert_eq!(words, sent, "each acknowledged packet once");
    });
}

#[test]
fn a_node_stops_gracefully_and_the_next_one_goes_on() {
    let place = place();
    Runtime::new().unwrap().block_on(async {
        let mut node = Node::start(&place);
        assert_eq!(node.open().await, 201);
        let mut events = node.client.try_events("/v1/meetings/m/events?outputs=true", None).await.unwrap();
        let publish = async |client: &Client, number| {
            let headers = [("content-type", "application/json")];
            client.send("POST", "/v1/meetings/m/packets", &headers, packet(number).as_bytes()).await.status
        };
        assert_eq!(publish(&node.client, 1).await, 200);
        let first = events.next().await.unwrap();
        node.signal("-TERM");
        assert_eq!(events.next().await.unwrap().name.as_deref(), Some("again"));
        assert!(node.child.wait().unwrap().success());
        let node = Node::start(&place);
        let events = node.client.try_events("/v1/meetings/m/events?outputs=true", first.id.as_deref()).await;
        assert_eq!(publish(&node.client, 2).await, 200);
        let second = events.unwrap().next().await.unwrap();
        assert_eq!(
            (&first.json()["payload"]["turns"], &second.json()["payload"]["turns"]),
            (&json!(1), &json!(2))
        );
    });
}

#[test]
fn other_machines_are_not_served() {
    let ran = place().run(&["node", "--listen", "0.0.0.0:0"]).ends_with(2);
    assert!(ran.stderr.contains("reached by other machines"), "{ran:#?}");
    assert!(ran.stderr.contains("teammy key create"), "{ran:#?}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ran = place().run(&["node", "--listen", &taken.local_addr().unwrap().to_string()]).ends_with(1);
    assert!(ran.stderr.contains("cannot listen on"), "{ran:#?}");
}

/// Keys are made before the first start and while the node runs, and what is revoked is refused at once.
#[test]
fn keys_tell_who_may_do_what() {
    let place = place();
    let made = place.run(&[
        "key",
        "create",
        "--tenant",
        "acme",
        "--scope",
        "publish,read",
        "--db",
        "surrealkv://db",
    ]);
    let made = made.ends_with(0);
    let key = made.stdout.trim().to_owned();
    assert!(key.starts_with("tmy_") && made.stderr.contains("not shown again"), "{made:#?}");
    let node = Node::start(&place);
    let opening = json!({"id": "m", "plugins": ["talk-time"]});
    let status = |key: Option<&str>| {
        let client = key.map_or_else(|| node.client.clone(), |key| node.client.with_key(key));
        let sent = async { client.json("POST", "/v1/meetings", &opening).await.status };
        Runtime::new().unwrap().block_on(sent)
    };
    assert_eq!((status(None), status(Some(&key))), (401, 201));
    // The running node holds the database, and is asked.
    let other =
        ["key", "create", "--tenant", "other", "--scope", "publish", "--json", "--db", "surrealkv://db"];
    let other: Value = serde_json::from_str(&place.run(&other).ends_with(0).stdout).unwrap();
    assert_eq!(status(other["secret"].as_str()), 201, "another tenant's meeting of the same id");
    let id = &key[4..20];
    place.run(&["key", "revoke", id, "--db", "surrealkv://db"]).ends_with(0);
    assert_eq!(status(Some(&key)), 401);
    let listed = place.run(&["key", "list", "--db", "surrealkv://db"]).ends_with(0).stdout;
    assert!(listed.contains(id) && listed.contains("revoked") && !listed.contains(&key[21..]), "{listed}");
    let meetings = place.run(&["meetings", "--db", "surrealkv://db"]).ends_with(0).stdout;
    assert!(meetings.contains("acme/m") && meetings.contains("other/m"), "{meetings}");
    let wrong = place.run(&["key", "create", "--tenant", "acme", "--scope", "everything"]).ends_with(2);
    assert!(wrong.stderr.contains("publish, read, admin or node"), "{wrong:#?}");
    let text = |path: &str| Runtime::new().unwrap().block_on(node.client.get(path)).text().to_owned();
    assert!(text("/readyz").contains("ok") && text("/openapi.json").contains("3.1"));
}
