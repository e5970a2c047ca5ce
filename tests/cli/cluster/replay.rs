//! `teammy replay --cluster`: plays a recording into nodes that run elsewhere, of which some die meanwhile.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{Node, Server, commands};
use crate::{
    Place, Ran,
    node::{self, client::Client},
    said, sample,
};

/// An address where nobody listens.
const NOBODY: &str = "127.0.0.1:1";

/// How many outputs the recording has.
const OUTPUTS: usize = 14;

/// So fast that its first output comes after two seconds, and the last packet after ten.
const PACED: [&str; 2] = ["--speed", "25x"];

fn get(client: &Client, path: &str) -> Value {
    Runtime::new().unwrap().block_on(client.get(path)).json()
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// A place with a recording, and the outputs of its replay there as a golden file.
fn place() -> Place {
    let place = Place::new();
    place.file("standup.jsonl", std::fs::read(sample("standup.jsonl")).unwrap());
    let written = place.run(&["replay", "standup.jsonl", "--expect", "golden.jsonl", "--update", "--json"]);
    assert_eq!(written.ends_with(0).packets().len(), OUTPUTS);
    place
}

/// The arguments that play the recording into nodes, and compare the outputs.
fn arguments<'a>(cluster: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let replay = ["replay", "standup.jsonl", "--cluster", cluster, "--expect", "golden.jsonl", "--json"];
    [&replay[..], more].concat()
}

/// A replay that is under way. It is killed when it is dropped.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    read: String,
}

impl Running {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut child =
            place.teammy(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout, read: String::new() }
    }

    /// Waits for a line of its output.
    fn line(&mut self) {
        assert!(self.stdout.read_line(&mut self.read).unwrap() > 0, "it ended: {}", self.read);
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    fn end(mut self) -> Ran {
        self.stdout.read_to_string(&mut self.read).unwrap();
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        Ran { code: self.child.wait().unwrap().code(), stdout: std::mem::take(&mut self.read), stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The outputs are those of a replay without a cluster, each once and in the order of the log.
#[track_caller]
fn is_whole(ran: Ran) -> Ran {
    let ran = ran.ends_with(0);
    assert_eq!(ran.summary()["expected"], "same", "{ran:#?}");
    let seqs: Vec<u64> = ran.packets().iter().map(|packet| packet["seq"].as_u64().unwrap()).collect();
    assert!(seqs.len() == OUTPUTS && seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
    ran
}

#[test]
fn nodes_may_die_while_a_recording_is_played_into_them() {
    let Some(server) = Server::start() else { return };
    let place = place();
    let mut nodes: Vec<Node> =
        commands()[1..].iter().map(|command| Node::start(&place, &server, command)).collect();
    let cluster = list(&nodes.iter().map(|node| node.address).collect::<Vec<_>>());
    let mut replay = Running::start(&place, &arguments(&cluster, &PACED));
    replay.line();
    replay.signal("-STOP");
    // It is asked for by the first address. Kill that node, and the one that runs the meeting.
    let owner =
        nodes.iter().position(|node| get(&node.client, "/v1/meetings/standup")["running"].is_object());
    let owner = owner.expect("a node runs the meeting");
    nodes[owner].crash();
    if owner != 0 {
        nodes[0].crash();
    }
    let lives = nodes.len() - 1;
    let lives = if owner == lives { lives - 1 } else { lives };
    replay.signal("-CONT");
    let ran = is_whole(replay.end());
    let summary = ran.summary();
    assert_eq!((&summary["packets"], &summary["failures"]), (&json!(58), &json!([])));
    let outputs = [&summary["instances"][0]["outputs"], &summary["instances"][1]["outputs"]];
    assert_eq!(outputs, [&json!(3), &json!(11)], "{summary}");

    // The same again plays nothing, by whatever address is left.
    let again = is_whole(place.run(&arguments(&cluster, &[])));
    let complete = "note: meeting standup is complete: all of standup.jsonl has been played";
    assert!(again.stderr.contains(complete), "{again:#?}");
    assert_eq!(again.summary()["packets"], 0);
    let page = get(
        &nodes[lives].client,
        "/v1/meetings/standup/packets?sources=transcription,chat,participant&limit=64",
    );
    assert_eq!(page["packets"].as_array().unwrap().len(), 58, "each packet once");
}

#[test]
fn a_replay_that_is_stopped_goes_on_and_leaves_other_meetings_alone() {
    let place = place();
    let node = node::Node::start(&place);
    let cluster = format!("{NOBODY},http://{}", node.client.address());
    let mut replay = Running::start(&place, &arguments(&cluster, &PACED));
    replay.line();
    replay.signal("-TERM");
    let stopped = replay.end().ends_with(143);
    assert!(stopped.stderr.contains("  hint: the same command continues from here"), "{stopped:#?}");
    let ran = is_whole(place.run(&arguments(&cluster, &[])));
    let (_, has) = ran.stderr.split_once("meeting standup resumes: it already has ").unwrap();
    let has: u64 = has.split(' ').next().unwrap().parse().unwrap();
    assert!(has > 0, "{ran:#?}");
    assert_eq!(ran.summary()["packets"], 58 - has);

    let run = |file: &str, more: &[&str]| {
        place.run(&[&["replay", file, "--meeting", "standup", "--cluster", &cluster], more].concat())
    };
    place.file("other.jsonl", said(0, "one"));
    let other = run("other.jsonl", &[]).ends_with(1);
    assert!(other.stderr.starts_with("note: "), "{other:#?}");
    assert!(
        other.stderr.contains("error: meeting standup exists already\n  hint: it was made from another"),
        "{other:#?}"
    );
    let fewer = run("standup.jsonl", &["--plugins", "talk-time"]).ends_with(2);
    assert!(
        fewer.stderr.contains("ran with talk-time, watch-list, but this command asks for talk-time;"),
        "{fewer:#?}"
    );
    let unknown =
        place.run(&["replay", "other.jsonl", "--cluster", &cluster, "--plugins", "talk-tiem"]).ends_with(2);
    assert!(
        unknown.stderr.contains("did you mean talk-time?") && unknown.stderr.contains("(unknown-instance)"),
        "{unknown:#?}"
    );
}

#[test]
fn what_instances_give_up_fails_the_replay_and_sound_is_played() {
    let place = Place::new();
    let node = node::Node::start(&place);
    let cluster = node.client.address().to_string();
    let broken = said(0, "one") + &said(1, "x").replace("\"text\"", "\"txt\"") + &said(2, "two");
    place.file("broken.jsonl", broken);
    let arguments = ["replay", "broken.jsonl", "--plugins", "talk-time", "--cluster", &cluster];
    let ran = place.run(&[&arguments[..], &["--json"]].concat()).ends_with(3);
    assert_eq!(
        ran.summary()["failures"],
        json!([{"instance": "talk-time", "suspended": false, "dead_letters": 1}])
    );
    // Complete by now, and still failed.
    place.run(&arguments).ends_with(3);
    let ran = place.run(&[&arguments[..], &["--allow-failures"]].concat()).ends_with(0);
    assert!(ran.stderr.contains("\nfailed: talk-time gave up 1 packet"), "{ran:#?}");

    let frame = |ms: u32| {
        format!(
            r#"{{"source":"audio","timestamp":"2026-01-05T09:00:00.{ms:03}Z","payload_base64":"AYA+AAABAAQAAAAAAAAAAQD+/w=="}}"#
        ) + "\n"
    };
    place.file("mixed.jsonl", frame(0) + &said(1, "one") + &said(2, "two") + &frame(20) + &said(3, "three"));
    let ran = place.run(&["replay", "mixed.jsonl", "--cluster", &cluster, "--json", "--all"]).ends_with(0);
    assert_eq!(ran.summary()["packets"], 5);
    assert_eq!(ran.of_source("transcription").len(), 3, "sound is not stored: {ran:#?}");
    place.file("sound.jsonl", frame(0));
    let arguments = ["replay", "sound.jsonl", "--cluster", &cluster, "--json"];
    assert_eq!(place.run(&arguments).ends_with(0).summary()["packets"], 1);
    let again = place.run(&arguments).ends_with(1);
    assert!(again.stderr.contains("error: meeting sound exists already"), "{again:#?}");
}

#[test]
fn nothing_is_sent_that_is_wrong_and_each_address_is_named_that_does_not_answer() {
    let place = Place::new();
    let node = node::Node::start(&place);
    let cluster = node.client.address().to_string();
    place.file("m.jsonl", said(0, "one") + "{\n");
    let run = |more: &[&str]| place.run(&[&["replay", "m.jsonl"], more].concat());
    let broken = run(&["--cluster", &cluster]).ends_with(2);
    assert!(broken.stderr.contains("m.jsonl, line 2, "), "{broken:#?}");
    for (more, says) in [
        (&["--db", "mem://"][..], "error: --db has no effect with --cluster"),
        (&["--expect", "golden.jsonl", "--update"][..], "error: --update has no effect with --cluster"),
    ] {
        let refused = run(&[&["--cluster", &cluster], more].concat()).ends_with(2);
        assert!(refused.stderr.contains(says) && refused.stderr.contains("  hint: "), "{refused:#?}");
    }
    let secret = run(&["--cluster", "http://tmy_secret@localhost:7600"]).ends_with(2);
    assert!(secret.stderr.contains("set the key in TEAMMY_KEY"), "{secret:#?}");
    assert_eq!(get(&node.client, "/v1/meetings")["meetings"], json!([]), "nothing was opened");

    drop(node);
    let away =
        run(&["--keep-going", "--cluster", &format!("{NOBODY},https://{cluster}/teammy")]).ends_with(1);
    assert!(
        away.stderr.contains("error: cannot ask which instances there are: no node answers\n"),
        "{away:#?}"
    );
    for address in [format!("http://{NOBODY}"), format!("https://{cluster}/teammy")] {
        assert!(away.stderr.contains(&format!("  tried {address}: cannot reach the node: ")), "{away:#?}");
    }
}

#[test]
fn a_key_is_read_from_the_environment_and_never_shown() {
    let place = Place::new();
    let create = ["key", "create", "--tenant", "acme", "--scope", "publish,read", "--db", "surrealkv://db"];
    let key = place.run(&create).ends_with(0).stdout.trim().to_owned();
    let node = node::Node::start(&place);
    let cluster = node.client.address().to_string();
    place.file("m.jsonl", said(0, "the deadline"));
    let run = |key: Option<&str>| {
        let mut replay = place.teammy(&["replay", "m.jsonl", "--cluster", &cluster, "--json", "-vv"]);
        replay.envs(key.map(|key| ("TEAMMY_KEY", key)));
        let ran = Ran::of(&mut replay);
        let secret = key.and_then(|key| key.get(21..)).unwrap_or("nothing of this kind");
        assert!(!ran.stderr.contains(secret) && !ran.stdout.contains(secret), "{ran:#?}");
        ran
    };
    let wrong = format!("{}{}", &key[..key.len() - 4], "0000");
    for refused in [None, Some(" "), Some(wrong.as_str())] {
        let ran = run(refused).ends_with(2);
        assert!(ran.stderr.contains(&format!("at http://{cluster}\n  because: ")), "{ran:#?}");
        assert!(ran.stderr.contains("  hint: set a key in the variable TEAMMY_KEY"), "{ran:#?}");
    }
    let ran = run(Some(&key)).ends_with(0);
    assert_eq!(ran.packets()[0]["meeting"], "m", "as the tenant knows it");
    assert!(!ran.stderr.contains("sets no key"), "the variable is known: {ran:#?}");
    assert!(ran.stderr.contains("that takes a key with the scope admin"), "{ran:#?}");
    assert_eq!(ran.summary()["instances"][0]["dead_letters"], Value::Null);
}
