//! Plugins in Python, run by real processes: what their hooks do becomes their effects, and nothing else does.

#![cfg(unix)]
// Helpers may unwrap, as tests may; clippy recognises only the tests themselves.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, process::Command, sync::Arc};

use serde_json::{Value, json};
use teammy_kernel::{
    DataPacket, Error, Factory, Name, Payload, Publish,
    testing::{PluginTest, ScriptedLlm},
};
use tempfile::TempDir;

/// A plugin of version 0.2 with the source `chat`, whose hook is `body`.
fn two(body: &str) -> String {
    plugin(&format!("async def on_chat(packet, engine):\n{body}"))
}

/// A plugin with the source `chat` and the function `on_chat` in `top`.
fn plugin(top: &str) -> String {
    format!(
        "import asyncio, os, sys, time, dataclasses
from teammy.api.plugin import *
from teammy.api.data import *

@dataclasses.dataclass(frozen=True)
class Config(PluginConfig):
    word: str = 'hello'

{top}

class P(InCallPlugin):
    @classmethod
    async def get_metadata(cls):
        return InCallPluginMetadata(name='p', version='1.2.3', sources=['chat'], config=Config())
    @classmethod
    async def on_install(cls):
        if os.path.exists('refuse'): raise OSError('secret')
    @classmethod
    async def on_startup(cls, config): cls.config = config
    @classmethod
    async def get_data_receive_hooks(cls): return {{'chat': on_chat}}
    @classmethod
    async def on_meeting_start(cls, info, engine): await engine.datastore().set(info, 'started', info.meeting_id)
    @classmethod
    async def on_meeting_end(cls, info, engine): await engine.datastore().set(info, 'ended', True)
    @classmethod
    async def on_shutdown(cls, engine): pass
"
    )
}

/// A plugin's folder.
struct Folder(TempDir);

impl Folder {
    fn with(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("plugin")).unwrap();
        fs::write(folder.path().join("plugin/__init__.py"), text).unwrap();
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn table(&self, more: &Value) -> Value {
        let mut table = json!({"path": self.path(), "python": "python3"});
        let (Some(table_keys), Some(more)) = (table.as_object_mut(), more.as_object()) else { return table };
        table_keys.extend(more.clone());
        table
    }

    async fn prepare(&self, table: &Value) -> Result<Factory, Error> {
        let factory = teammy_plugin_python::factory();
        let name = Name::new("mine").unwrap();
        let prepared = factory.as_host().unwrap().prepare(&name, table).await?;
        assert!(factory.as_host().unwrap().is_current(&name, table, &prepared));
        Ok(factory.of_instance(&name, table, &prepared).unwrap())
    }

    async fn start(&self, more: Value) -> PluginTest<()> {
        self.start_with(more, ScriptedLlm::default()).await
    }

    async fn start_with(&self, more: Value, llm: ScriptedLlm) -> PluginTest<()> {
        let table = self.table(&more);
        let factory = self.prepare(&table).await.unwrap();
        PluginTest::<()>::of(factory).config(table).instance("mine").llm(llm).start().await.unwrap()
    }
}

/// Whether there is a Python that can run plugins; if not, it says so.
fn has_python() -> bool {
    let check = "import sys; sys.exit(sys.version_info < (3, 10))";
    let has = Command::new("python3").args(["-c", check]).status().is_ok_and(|status| status.success());
    if !has {
        eprintln!("skipped: there is no python3 of version 3.10 or later");
    }
    has
}

async fn says(test: &mut PluginTest<()>, words: &str) -> Result<Option<Arc<DataPacket>>, Error> {
    test.receive(Publish::text("chat", words).unwrap()).await
}

fn text(output: Option<Arc<DataPacket>>) -> String {
    output.and_then(|output| output.payload.as_text().map(str::to_owned)).unwrap_or_default()
}

#[tokio::test]
async fn what_a_hook_does_becomes_its_effects() {
    if !has_python() {
        return;
    }
    let folder = Folder::with(&two("    store, info = engine.datastore(), packet.meeting_metadata
    seen = (await store.get(info, 'seen')) or []
    await store.set(info, 'seen', seen + [packet.data])
    own = await store.get_stream_history(info, 2)
    return {'seen': seen, 'own': len(own), 'plugin': info.plugin_name, 'word': P.config.word}"));
    let mut test = folder.start(json!({"word": "aloha"})).await;
    assert!(test.value::<String>("started").is_some_and(|id| !id.is_empty()));
    says(&mut test, "a").await.unwrap();
    let second = says(&mut test, "b").await.unwrap().unwrap();
    let Payload::Json(json) = &second.payload else { panic!("{:?}", second.payload) };
    let value: Value = serde_json::from_str(json).unwrap();
    assert_eq!(value, json!({"seen": ["a"], "own": 1, "plugin": "mine", "word": "aloha"}));
    assert_eq!(test.value::<Vec<String>>("seen").unwrap(), ["a", "b"]);
    test.end().await.unwrap();
    assert_eq!(test.value::<bool>("ended"), Some(true));
    test.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_hook_of_three_arguments_has_a_state() {
    if !has_python() {
        return;
    }
    let folder = Folder::with(&plugin(
        "class Count(PluginState):
    n: int = 0

async def on_chat(packet: DataPacket, state: Count, engine):
    state.n += 1
    if packet.data == 'fail':
        raise ValueError('secret')
    return f'{state.n} {packet.data}', state",
    ));
    let mut test = folder.start(json!({})).await;
    assert_eq!(text(says(&mut test, "a").await.unwrap()), "1 a");
    let error = says(&mut test, "fail").await.unwrap_err();
    assert_eq!(error.chain(), "ValueError at plugin/__init__.py:15 in on_chat");
    assert!(!error.is_reject() && !error.is_crash());
    assert_eq!(text(says(&mut test, "b").await.unwrap()), "2 b", "the failed hook changed nothing");
    test.restart().await.unwrap();
    assert_eq!(text(says(&mut test, "c").await.unwrap()), "3 c");
}

#[tokio::test]
async fn models_answer_hooks() {
    if !has_python() {
        return;
    }
    let folder = Folder::with(&two(
        "    one = engine.llm().prompt(messages=[{'role': 'user', 'content': packet.data}], temperature=0.5)
    two = engine.llm().fast_prompt(messages=[{'role': 'system', 'content': 's'}], temperature=0.0)
    return ' '.join(await asyncio.gather(one, two))",
    ));
    let llm = ScriptedLlm::default()
        .when(|request| request.temperature == Some(0.5), "slow")
        .when(|request| request.temperature == Some(0.0), "fast");
    let mut test = folder.start_with(json!({}), llm).await;
    assert_eq!(text(says(&mut test, "a").await.unwrap()), "slow fast");
}

#[tokio::test]
async fn a_process_that_ends_is_a_crash_of_its_hook_and_followed_by_another() {
    if !has_python() {
        return;
    }
    let folder = Folder::with(&two("    if packet.data == 'exit': os._exit(3)
    if packet.data == 'abort': os.abort()
    if packet.data == 'kill': os.kill(os.getpid(), 9)
    if packet.data == 'eat': hold = bytearray(900 << 20)
    return str(os.getpid())"));
    let mut test = folder.start(json!({"memory": "256MiB"})).await;
    let first = text(says(&mut test, "a").await.unwrap());
    for (word, why) in [
        ("exit", "exited with code 3"),
        ("abort", "was ended by signal 6 (abort)"),
        ("kill", "was ended by signal 9 (kill)"),
        ("eat", "had no memory left; raise `memory`"),
    ] {
        let error = says(&mut test, word).await.unwrap_err();
        assert!(error.is_crash(), "{word}: {error}");
        assert!(error.chain().contains(why), "{word}: {error}");
        let next = text(says(&mut test, "a").await.unwrap());
        assert_ne!(next, first);
    }
}

#[tokio::test]
async fn a_hook_that_holds_the_event_loop_is_ended() {
    if !has_python() {
        return;
    }
    let folder = Folder::with(&two("    while packet.data == 'loop': pass
    return 'done'"));
    let mut test = folder.start(json!({"stall": "1s"})).await;
    let error = says(&mut test, "loop").await.unwrap_err();
    assert!(error.is_crash() && error.chain().contains("held its event loop for more than 1s"), "{error}");
    assert_eq!(text(says(&mut test, "b").await.unwrap()), "done");
}

#[tokio::test]
async fn what_is_wrong_with_a_plugin_is_said_with_what_to_do() {
    if !has_python() {
        return;
    }
    let refused = async |text: &str| {
        let folder = Folder::with(text);
        folder.prepare(&folder.table(&json!({}))).await.map(drop).unwrap_err().chain()
    };
    for (text, says) in [
        ("", "InCallPlugin"),
        ("import no_such_module", "no_such_module"),
        ("def oops(:", "SyntaxError"),
        ("raise SystemExit(4)", "SystemExit"),
        ("import os; os._exit(5)", "exited with code 5"),
        (
            &plugin("on_chat = None").replace("class P", "class Q").replace("on_shutdown", "on_off"),
            "on_shutdown",
        ),
    ] {
        let said = refused(text).await;
        assert!(said.contains(says), "{text}: {said}");
    }
    let folder = Folder::with("");
    let missing = folder.table(&json!({"path": "/no/such/folder"}));
    assert!(folder.prepare(&missing).await.map(drop).unwrap_err().chain().contains("is not a folder"));
    let missing = folder.table(&json!({"python": "no-such-python"}));
    assert!(folder.prepare(&missing).await.map(drop).unwrap_err().chain().contains("no-such-python"));
}

#[tokio::test]
async fn what_is_wrong_with_the_configuration_is_said_before_a_meeting() {
    if !has_python() {
        return;
    }
    let folder = Folder::with(&two("    return None"));
    for (more, says) in [(json!({"wrd": 1}), "wrd"), (json!({"memory": "1"}), "memory")] {
        let table = folder.table(&more);
        let error = match folder.prepare(&table).await {
            Err(error) => error.chain(),
            Ok(factory) => {
                let started = PluginTest::<()>::of(factory).config(table).start().await;
                started.map(drop).unwrap_err().chain()
            }
        };
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test]
async fn installing_runs_the_plugins_own_part() {
    if !has_python() {
        return;
    }
    let folder = Folder::with(&two("    return None"));
    let factory = folder.prepare(&folder.table(&json!({}))).await.unwrap();
    factory.install().await.unwrap();
    let metadata = factory.metadata().unwrap();
    assert_eq!((&*metadata.version, metadata.sources[0].as_str()), ("1.2.3", "chat"));
    fs::write(folder.path().join("refuse"), "").unwrap();
    let error = factory.install().await.unwrap_err().chain();
    assert!(error.contains("OSError") && !error.contains("secret"), "{error}");
}
