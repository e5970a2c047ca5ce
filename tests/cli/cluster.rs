//! Three nodes over a SurrealDB server, started by the commands of docs/cluster.md: a meeting is reached from each of them, and goes
//! on when its node is killed, drained, or stopped.

#[path = "cluster/replay.rs"]
mod replay;

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    Place,
    node::client::{Client, Events},
    surrealdb_server::{ROOT, Server},
};

const MEETING: &str = "/v1/meetings/standup-7";

/// A node that is killed when it is dropped.
struct Node {
    child: Child,
    /// Its output, which stays open.
    _stdout: BufReader<ChildStdout>,
    name: String,
    socket: String,
    address: SocketAddr,
    client: Client,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of the guide's first block of commands, each whole.
fn commands() -> Vec<String> {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cluster.md")).unwrap();
    let block = guide.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    block.replace("\\\n", " ").lines().map(|line| line.trim_end_matches('&').trim().to_owned()).collect()
}

impl Node {
    /// Starts a node by its command in the guide, at free ports and over this server.
    fn start(place: &Place, server: &Server, command: &str) -> Self {
        let socket = |value: &str| place.path().join(value.trim_start_matches("/tmp/")).display().to_string();
        let (mut variables, mut words) = (Vec::new(), Vec::new());
        for word in command.split_whitespace() {
            match word.split_once('=') {
                Some((key, value)) if words.is_empty() => variables.push((key.to_owned(), value.to_owned())),
                _ => words.push(word.to_owned()),
            }
        }
        assert_eq!(words.remove(0), "teammy", "{command}");
        let listen = words.iter().position(|word| word == "--listen").unwrap() + 1;
        "127.0.0.1:0".clone_into(&mut words[listen]);
        let database = words.iter().position(|word| word == "--db").unwrap() + 1;
        server.url().clone_into(&mut words[database]);
        words.push("--json".to_owned());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut program = place.teammy(&words);
        let (mut name, mut path) = (String::new(), String::new());
        for (key, value) in variables {
            let value = match key.as_str() {
                "TEAMMY_NODE__SOCKET" => {
                    path = socket(&value);
                    path.clone()
                }
                "TEAMMY_CLUSTER__NODE" => {
                    name.clone_from(&value);
                    value
                }
                "TEAMMY_DATABASE__USERNAME" | "TEAMMY_DATABASE__PASSWORD" => ROOT.to_owned(),
                _ => value,
            };
            program.env(key, value);
        }
        // A busy machine may take longer for all of it.
        program.env("TEAMMY_CLUSTER__LEASE", "10s").env("TEAMMY_CLUSTER__PATIENCE", "2m");
        let mut child = program.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let listening: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let address: SocketAddr = listening["address"].as_str().unwrap().parse().unwrap();
        Self { child, _stdout: stdout, name, socket: path, address, client: Client::new(address) }
    }

    /// Kills it as a crash would.
    fn crash(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Runs a command for the operator of this node, and returns what it prints.
    fn command(&self, place: &Place, arguments: &[&str]) -> String {
        let mut command: Command = place.teammy(arguments);
        let output = command.env("TEAMMY_NODE__SOCKET", &self.socket).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Whether it runs the meeting.
    fn runs_it(&self, place: &Place) -> bool {
        let status: Value = serde_json::from_str(&self.command(place, &["status", "--json"])).unwrap();
        status["meetings"].as_array().unwrap().iter().any(|meeting| meeting["id"] == "standup-7")
    }

    async fn publish(&self, number: u64) {
        let packet = json!({
            "source": "chat",
            "participant": "Ada",
            "payload": {"text": format!("The deadline is on Friday, {number}.")},
            "producer": {"id": "me", "number": number},
        });
        let answer = self.client.json("POST", &format!("{MEETING}/packets?durable=true"), &packet).await;
        assert_eq!(answer.status, 200, "{number}: {answer:?}");
    }
}

/// The next output is about the message of this number.
async fn next(events: &mut Events, number: u64) {
    let text = events.next().await.unwrap().json()["payload"].to_string();
    assert!(text.contains(&format!("Friday, {number}.")), "{number}: {text}");
}

#[test]
fn the_guides_three_nodes_share_a_meeting_and_lose_nothing_with_one_of_them() {
    let Some(server) = Server::start() else { return };
    let place = Place::new();
    let commands = commands();
    assert_eq!(commands.len(), 4, "the server and three nodes");
    let start = |command: &String| Node::start(&place, &server, command);
    Runtime::new().unwrap().block_on(async {
        let mut nodes: Vec<Node> = commands[1..].iter().map(start).collect();
        let opening = json!({"id": "standup-7", "plugins": ["watch-list"]});
        assert_eq!(nodes[0].client.json("POST", "/v1/meetings", &opening).await.status, 201);
        assert_eq!(nodes[1].client.json("POST", "/v1/meetings", &opening).await.status, 200);
        let owner = nodes.iter().position(|node| node.runs_it(&place)).unwrap();
        let mut owner = nodes.remove(owner);
        let mut events =
            nodes[0].client.try_events(&format!("{MEETING}/events?outputs=true"), None).await.unwrap();
        for number in 1..=3 {
            nodes[usize::from(number == 2)].publish(number).await;
            next(&mut events, number).await;
        }
        // Its node is killed: the next request waits until another one has taken the meeting over.
        owner.crash();
        nodes[1].publish(4).await;
        next(&mut events, 4).await;
        // Back again, under its name, while its old lease may still be there.
        let place_of = commands.iter().position(|command| command.contains(&owner.name)).unwrap();
        nodes.push(start(&commands[place_of]));
        // Drained, by way of the one that has just come.
        let owner = nodes.iter().position(|node| node.runs_it(&place)).unwrap();
        let drained = nodes[2].command(&place, &["drain", &nodes[owner].name]);
        assert_eq!(drained, format!("node {} runs no meetings and takes none\n", nodes[owner].name));
        assert!(!nodes[owner].runs_it(&place));
        nodes[1].publish(5).await;
        next(&mut events, 5).await;
        let report = nodes[0].command(&place, &["cluster", "--json"]);
        let report: Vec<Value> = report.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let drains = report
            .iter()
            .find(|node| node["node"]["incarnation"].as_str().unwrap().starts_with(&nodes[owner].name));
        assert_eq!(drains.unwrap()["node"]["is_draining"], true, "{report:?}");
        // The last one that may run it stops: the reader that is told to come again finds it elsewhere.
        let ended = nodes[1].client.json("POST", &format!("{MEETING}/end"), &json!({"wait": true})).await;
        assert_eq!(ended.status, 200, "{ended:?}");
        while let Some(event) = events.next().await {
            assert!(event.name.is_some(), "no more outputs: {event:?}");
        }
        let page = nodes[2].client.get(&format!("{MEETING}/packets?sources=chat")).await.json();
        assert_eq!(page["packets"].as_array().unwrap().len(), 5, "each packet once");
        for node in &mut nodes {
            let id = node.child.id().to_string();
            assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
            assert!(node.child.wait().unwrap().success());
        }
    });
}
