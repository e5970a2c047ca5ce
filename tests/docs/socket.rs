//! Sends the requests of `docs/socket.md` to a node's socket, and compares the answers with those of the guide:
//! their values may differ, such as times, but not their shape.

use std::{
    convert::Infallible,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use serde_json::Value;
use teammy::{
    Charges, Cx, Factory, Hooks, InCallPlugin, Json, LlmError, LlmMessage, LlmProvider, LlmRequest,
    LlmResponse, MeetingId, MeetingMetadata, Node, Publish, Receive, StartupCx,
    config::Config,
    control::Socket,
    data::{Chat, Transcription},
    plugin::Error,
};

use crate::guides::{Block, blocks};

/// Fails on each chat message, and asks a model about transcriptions.
struct Picky;

impl InCallPlugin for Picky {
    type Config = ();
    type State = u64;
    type Scratch = ();
    type Output = Infallible;
    const KIND: &'static str = "picky";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Chat>>("chat").on::<Json<Transcription>>("transcription")
    }
}

impl Receive<Json<Chat>> for Picky {
    async fn receive(&self, _: Json<Chat>, _: &mut Cx<'_, Self>) -> Result<Option<Infallible>, Error> {
        Err(Error::reject("no chat, please"))
    }
}

impl Receive<Json<Transcription>> for Picky {
    async fn receive(
        &self,
        _: Json<Transcription>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Infallible>, Error> {
        cx.engine().llm().prompt([LlmMessage::user("well?")], 0.0).await?;
        *cx.state_mut() += 1;
        Ok(None)
    }
}

/// A model that says nothing, and counts as one call.
struct Mute;

impl LlmProvider for Mute {
    async fn complete(&self, request: LlmRequest) -> Result<LlmResponse, LlmError> {
        let mut charges = Charges::default();
        charges.calls = 1;
        request.caller.meter.charge("big", charges);
        Ok(LlmResponse::new("…"))
    }
}

/// Differences between two values in their shape: their kinds, the keys of their objects, the shapes of their
/// arrays' first items, and what a program tells answers apart by.
fn differences(at: &str, guide: &Value, answer: &Value, wrong: &mut Vec<String>) {
    match (guide, answer) {
        (Value::Object(guide), Value::Object(answer)) => {
            let keys = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            let (mut there, mut here) = (keys(guide), keys(answer));
            there.sort();
            here.sort();
            if there != here {
                wrong.push(format!("{at}: the keys are {here:?}, not {there:?}"));
            }
            for (key, value) in guide {
                let at = format!("{at}.{key}");
                let Some(answer) = answer.get(key) else { continue };
                let is_told_apart_by =
                    matches!(key.as_str(), "answer" | "code" | "error" | "status" | "source");
                if is_told_apart_by && value.is_string() && value != answer {
                    wrong.push(format!("{at} is {answer}, not {value}"));
                }
                differences(&at, value, answer, wrong);
            }
        }
        (Value::Array(guide), Value::Array(answer)) => match (guide.first(), answer.first()) {
            (Some(guide), Some(answer)) => differences(&format!("{at}[0]"), guide, answer, wrong),
            (None, None) => {}
            (there, here) => wrong.push(format!("{at} begins with {here:?}, not {there:?}")),
        },
        (guide, answer) => {
            if std::mem::discriminant(guide) != std::mem::discriminant(answer) {
                wrong.push(format!("{at} is {answer}, not like {guide}"));
            }
        }
    }
}

/// Sends each request of the guide, and returns what is wrong with its answers.
fn talk(path: &Path, blocks: &[Block]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut socket = BufReader::new(UnixStream::connect(path).unwrap());
    for block in blocks {
        let [request, answer @ ..] = block.lines.as_slice() else { panic!("{}: no request", block.at) };
        let request =
            request.strip_prefix("> ").unwrap_or_else(|| panic!("{}: a request begins with >", block.at));
        socket.get_mut().write_all(format!("{request}\n").as_bytes()).unwrap();
        let mut line = String::new();
        socket.read_line(&mut line).unwrap();
        let there: Value = match serde_json::from_str(&answer.join("\n")) {
            Ok(there) => there,
            Err(error) => {
                wrong.push(format!("{}: {error}; the answer is {line}", block.at));
                continue;
            }
        };
        let before = wrong.len();
        differences(&block.at, &there, &serde_json::from_str(&line).unwrap(), &mut wrong);
        if wrong.len() > before {
            wrong.push(format!("{}: the whole answer is {line}", block.at));
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sockets_answers_have_the_shapes_that_the_guide_shows() {
    let all = blocks("json").into_iter();
    let talked: Vec<Block> = all.filter(|block| block.comment.as_deref() == Some("socket")).collect();
    assert!(!talked.is_empty(), "no guide shows a request: this test looks at nothing");
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("node.sock");
    let config = Config::from_toml("database.url = \"mem://\"").unwrap();
    let node = Node::builder(config).plugin(Factory::of::<Picky>("picky")).llm(Mute).start().await.unwrap();
    let metadata = MeetingMetadata::new(MeetingId::new("standup").unwrap());
    let meeting = node.start_meeting(metadata, ["picky"]).await.unwrap();
    let said = Publish::json("transcription", &Transcription::new("Shall we?", 0, 900)).unwrap();
    meeting.publish(said.participant("Ada").numbered("recogniser", 1)).await.unwrap();
    meeting.publish(Publish::json("chat", &Chat::new("hello")).unwrap().participant("Bo")).await.unwrap();
    meeting.caught_up().await.unwrap();
    let socket = Socket::bind(&path).unwrap().database("surrealkv:///var/lib/teammy/db teammy/teammy");
    let talking = tokio::task::spawn_blocking(move || talk(&path, &talked));
    let wrong = tokio::select! {
        wrong = talking => wrong.unwrap(),
        () = socket.serve(&node) => unreachable!("it serves until it is dropped"),
    };
    crate::nothing_wrong(&wrong);
    node.shutdown(Duration::from_mins(10)).await.unwrap();
}

#[test]
fn another_shape_is_noticed() {
    let differ = |a: &str, b: &str| {
        let mut wrong = Vec::new();
        let [a, b] = [a, b].map(|text| serde_json::from_str(text).unwrap());
        differences("it", &a, &b, &mut wrong);
        !wrong.is_empty()
    };
    assert!(!differ(r#"{"a":1,"b":[{"c":"x"}],"d":null}"#, r#"{"d":null,"b":[{"c":"y"},{"c":"z"}],"a":2}"#));
    for (a, b) in [
        (r#"{"a":1}"#, r#"{"a":"1"}"#),
        (r#"{"a":1}"#, r#"{"a":1,"b":1}"#),
        (r#"{"a":1,"b":1}"#, r#"{"a":1}"#),
        (r#"{"a":[{"b":1}]}"#, r#"{"a":[{"c":1}]}"#),
        (r#"{"a":[]}"#, r#"{"a":[1]}"#),
        (r#"{"a":null}"#, r#"{"a":1}"#),
        (r#"{"code":"ended"}"#, r#"{"code":"other"}"#),
    ] {
        assert!(differ(a, b), "{a} and {b}");
    }
}
