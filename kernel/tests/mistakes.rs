//! Makes the mistakes that docs/mistakes.md shows, and compares what the compiler, a test and a node say with the page.
//!
//! Those that do not compile are the files in `mistakes/`, each a program of one package that is checked here.
//! The page shows the lines of a message that matter; they must be in the message, in their order.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use teammy_kernel::{
    Cx, Durability, Error, Factory, Hooks, InCallPlugin, Json, LlmMessage, Publish, Receive, StartupCx,
    chain,
    data::{Chat, Transcription},
    graph::{Graph, InstanceSpec, SourceSpec},
    testing::PluginTest,
};

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The messages that the page shows, by the name in the comment above each.
fn page() -> BTreeMap<String, Vec<String>> {
    let page = fs::read_to_string(folder().join("../docs/mistakes.md")).unwrap();
    let mut lines = page.lines();
    let mut shown = BTreeMap::new();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("<!-- says: ").and_then(|rest| rest.strip_suffix(" -->")) else {
            continue;
        };
        assert_eq!(lines.next(), Some("```text"), "{name}: a message follows its comment");
        let message = lines.by_ref().take_while(|line| *line != "```").map(str::to_owned).collect();
        assert!(shown.insert(name.to_owned(), message).is_none(), "{name} is shown twice");
    }
    shown
}

/// Whether a message has these lines, in this order; a line `…` stands for any others.
fn has(message: &str, shown: &[String]) -> bool {
    let mut lines = message.lines().map(str::trim);
    shown.iter().filter(|line| *line != "…").all(|shown| lines.any(|line| line == shown.trim()))
}

/// Fails with each message that the page shows otherwise.
fn compare(said: &BTreeMap<String, String>, is_meant: impl Fn(&str) -> bool) {
    let page: BTreeMap<_, _> = page().into_iter().filter(|(name, _)| is_meant(name)).collect();
    let (on_the_page, made): (Vec<_>, Vec<_>) = (page.keys().collect(), said.keys().collect());
    assert_eq!(on_the_page, made, "the page shows each mistake that is made here");
    let wrong: Vec<_> = page.iter().filter(|(name, shown)| !has(&said[*name], shown)).collect();
    let wrong: Vec<_> = wrong.iter().map(|(name, _)| format!("{name} says:\n{}", said[*name])).collect();
    assert!(wrong.is_empty(), "docs/mistakes.md shows something else:\n{}", wrong.join("\n"));
}

/// The mistakes that do not compile.
fn programs() -> Vec<PathBuf> {
    let files = fs::read_dir(folder().join("tests/mistakes")).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

fn name(program: &Path) -> String {
    program.file_stem().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn the_compiler_says_what_the_page_shows() {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mistakes");
    let bins = package.join("src/bin");
    drop(fs::remove_dir_all(package.join("src")));
    fs::create_dir_all(&bins).unwrap();
    for program in programs() {
        fs::copy(&program, bins.join(program.file_name().unwrap())).unwrap();
    }
    let manifest = format!(
        "[package]\nname = \"mistakes\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
         teammy-kernel = {{ path = {:?} }}\nschemars = \"1\"\nserde = {{ version = \"1\", features = [\"derive\"] }}\n",
        folder()
    );
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    // The versions that the workspace is tested with, which are here already.
    fs::copy(folder().join("../Cargo.lock"), package.join("Cargo.lock")).unwrap();
    let checked = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--keep-going", "--bins", "--message-format", "json", "--quiet"])
        .current_dir(&package)
        .env("CARGO_TARGET_DIR", package.join("target"))
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&checked.stderr);
    let mut said: BTreeMap<String, String> =
        programs().iter().map(|program| (name(program), String::new())).collect();
    for line in String::from_utf8(checked.stdout).unwrap().lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        let target = message["target"]["name"].as_str().unwrap_or_default();
        if let (Some(said), Some(text)) = (said.get_mut(target), message["message"]["rendered"].as_str()) {
            said.push_str(text);
        }
    }
    for (name, said) in &said {
        assert!(said.contains("error"), "{name} compiles, or was not reached:\n{stderr}");
    }
    let files: Vec<String> = programs().iter().map(|program| name(program)).collect();
    compare(&said, |name| files.iter().any(|file| file == name));
}

/// A plugin with the mistakes that only show when it runs.
struct Tally;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Seen {
    by: HashMap<(String, u32), u64>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    every: u32,
}

impl InCallPlugin for Tally {
    type Config = Settings;
    type State = Seen;
    type Scratch = ();
    type Output = Json<Transcription>;
    const KIND: &'static str = "tally";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup(_: Settings, _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Transcription>>("transcription")
    }
}

impl Receive<Json<Transcription>> for Tally {
    async fn receive(
        &self,
        Json(said): Json<Transcription>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Transcription>>, Error> {
        if said.text == "what is it about?" {
            cx.engine().llm().fast_prompt([LlmMessage::user(said.text)], 0.0).await?;
            return Ok(None);
        }
        cx.state_mut().by.insert((said.text, 1), said.start_ms);
        Ok(None)
    }
}

impl Receive<Json<Chat>> for Tally {
    async fn receive(
        &self,
        _: Json<Chat>,
        _: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Transcription>>, Error> {
        Ok(None)
    }
}

/// A plugin that names a source twice.
struct Twice;

impl InCallPlugin for Twice {
    type Config = ();
    type State = ();
    type Scratch = ();
    type Output = std::convert::Infallible;
    const KIND: &'static str = "twice";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Chat>>("chat").on::<Json<Chat>>("chat")
    }
}

impl Receive<Json<Chat>> for Twice {
    async fn receive(
        &self,
        _: Json<Chat>,
        _: &mut Cx<'_, Self>,
    ) -> Result<Option<std::convert::Infallible>, Error> {
        Ok(None)
    }
}

/// What a node says that has these instances: name, kind, the source that `transcription` is mapped to, the table.
fn node(instances: &[(&str, &str, &str, Value)]) -> String {
    let instances = instances.iter().map(|(name, kind, source, config)| InstanceSpec {
        sources: if *source == "transcription" {
            BTreeMap::new()
        } else {
            [("transcription".to_owned(), (*source).to_owned())].into()
        },
        config: config.clone(),
        ..InstanceSpec::new(*name, *kind)
    });
    let factories = [Factory::of::<Tally>("tally"), Factory::of::<Twice>("twice")];
    let sources = vec![SourceSpec::new("captions", Durability::Durable)];
    chain(&Graph::build(instances.collect(), &factories, &[], sources).unwrap_err())
}

#[tokio::test(start_paused = true)]
async fn tests_and_nodes_say_what_the_page_shows() {
    let none = || Value::Null;
    let mut said = BTreeMap::new();
    let mut says = |name: &str, message: String| said.insert(name.to_owned(), message);

    let test = async || PluginTest::<Tally>::start_with(json!({})).await.unwrap();
    let chat = Publish::json("chat", &Chat::new("hello")).unwrap();
    says("hook-not-named", test().await.receive(chat).await.unwrap_err().chain());
    let spoken = |text: &str| Publish::json("transcription", &Transcription::new(text, 0, 900)).unwrap();
    says("no-model", test().await.receive(spoken("what is it about?")).await.unwrap_err().chain());
    says("state-without-json", test().await.receive(spoken("well")).await.unwrap_err().chain());
    let unreadable = Publish::json("transcription", &json!({"text": ["well"]})).unwrap();
    says("unreadable", test().await.receive(unreadable).await.unwrap_err().chain());
    let misspelt = PluginTest::<Tally>::start_with(json!({"evry": 2})).await.map(drop);
    says("misspelt-key-in-a-test", misspelt.unwrap_err().chain());

    says("named-twice", node(&[("twice", "twice", "transcription", none())]));
    says("misspelt-kind", node(&[("tally", "taly", "transcription", none())]));
    says("misspelt-key", node(&[("tally", "tally", "transcription", json!({"evry": 2}))]));
    says("misspelt-source", node(&[("tally", "tally", "caption", none())]));
    says("wrong-type", node(&[("tally", "tally", "chat", none())]));
    let cycle = [("first", "tally", "second", none()), ("second", "tally", "first", none())];
    says("cycle", node(&cycle));

    let files: Vec<String> = programs().iter().map(|program| name(program)).collect();
    compare(&said, |name| !files.iter().any(|file| file == name));
}

#[test]
fn a_message_is_compared_line_by_line() {
    let shown = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert!(has("a\n  b\nc", &shown(&["a", "…", "c"])));
    assert!(has("a\n  b\nc", &shown(&["b"])));
    for other in [&["c", "a"][..], &["a", "d"], &["a b"]] {
        assert!(!has("a\n  b\nc", &shown(other)), "{other:?}");
    }
}
