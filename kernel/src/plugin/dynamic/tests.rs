use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use futures::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use super::*;
use crate::{
    DataPacket, EngineControl, Factory, History, JsonText, LlmMessage, MeetingMetadata, Name, Publish, Seq,
    Timestamp, chain,
    graph::{self, Graph, InstanceSpec, SourceSpec},
    plugin::input::Tries,
    plugin::{Call, HandlerOutcome, Hosted, Invocation, StartedPlugin, StateRef},
    plugin::{HookObserver, Outputs, Pace, ResourceMap},
    testing::{PluginTest, ScriptedLlm},
};

/// A script as a file would hold it: name, version, sources and what to do with a packet are read at run
/// time.
#[derive(Debug, Clone, Deserialize)]
struct Script {
    name: String,
    version: String,
    single: Vec<String>,
    batch: Option<(String, usize)>,
    tick_ms: Option<u64>,
    #[serde(default)]
    wakes: bool,
    #[serde(default)]
    needs_llm: bool,
}

const COUNTER: &str = r#"
    {"name": "counter", "version": "0.3.0", "single": ["chat"], "batch": ["number", 3], "tick_ms": 10000}
"#;

impl Script {
    fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap()
    }

    fn factory(text: &str) -> Factory {
        let script = Self::read(text);
        Factory::dynamic(script.name.clone(), script)
    }
}

/// Interprets a script: counts what comes, and does what text packets say.
struct Interpreter {
    greeting: String,
    /// Hooks that began and were dropped before they ended.
    cut_off: Arc<AtomicUsize>,
}

impl DynamicPlugin for Script {
    type Instance = Interpreter;

    fn spec(&self) -> DynamicSpec {
        let mut spec = DynamicSpec::new(self.name.clone(), self.version.clone());
        spec = self.single.iter().fold(spec, |spec, source| spec.on(source));
        if let Some((source, max)) = &self.batch {
            spec = spec.on_batch(source, *max).policy(DeliveryPolicy::Block);
        }
        if let Some(period) = self.tick_ms {
            spec = spec.every(Duration::from_millis(period));
        }
        if self.wakes {
            spec = spec.on_wake();
        }
        if self.needs_llm { spec.needs_llm() } else { spec }
    }

    fn check_config(&self, table: &Value) -> Result<(), ConfigError> {
        match table.get("greeting") {
            None | Some(Value::String(_)) => Ok(()),
            Some(_) => Err(ConfigError::new("greeting", "invalid type, expected a string")),
        }
    }

    async fn on_install(&self) -> Result<(), Error> {
        if self.version == "0.0.0" { Err(Error::reject("cannot be installed")) } else { Ok(()) }
    }

    async fn on_startup(&self, table: Value, _: &StartupCx) -> Result<Interpreter, Error> {
        let greeting = table["greeting"].as_str().unwrap_or("hello").to_owned();
        Ok(Interpreter { greeting, cut_off: Arc::default() })
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Counted {
    packets: u64,
    ticks: u64,
}

fn counted(cx: &DynamicCx<'_>) -> Result<Counted, Error> {
    Ok(serde_json::from_str::<Option<Counted>>(cx.state())?.unwrap_or_default())
}

fn keep(cx: &mut DynamicCx<'_>, counted: &Counted) -> Result<(), Error> {
    cx.set_state(serde_json::value::to_raw_value(counted)?);
    Ok(())
}

fn plain(text: impl Into<Arc<str>>) -> Payload {
    Payload::Text(text.into())
}

/// Counts, unless it is disarmed.
struct CutOff<'a>(Option<&'a AtomicUsize>);

impl Drop for CutOff<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.0 {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl DynamicInstance for Interpreter {
    async fn receive(&self, hook: &Hook, cx: &mut DynamicCx<'_>) -> Result<Option<Payload>, Error> {
        let mut counted = counted(cx)?;
        match hook {
            Hook::Every(_) => {
                counted.ticks += 1;
                keep(cx, &counted)?;
                Ok(Some(plain(format!("tick {}", counted.ticks))))
            }
            Hook::Wake => Ok(Some(plain("awake".to_owned()))),
            Hook::Source { max: 1, .. } => {
                let Payload::Text(said) = &cx.packet().payload else { return Err(Error::reject("no text")) };
                let said = said.clone();
                cx.engine().datastore().set("last", &*said)?;
                counted.packets += 1;
                keep(cx, &counted)?;
                match &*said {
                    "fail" => Err(Error::retry("asked to fail")),
                    "give up" => Err(Error::reject("asked to give up")),
                    "nothing" => Ok(None),
                    "broken" => Ok(Some(JsonText::new("{oops").into())),
                    "wait" => {
                        let mut cut_off = CutOff(Some(&self.cut_off));
                        tokio::time::sleep(Duration::from_mins(1)).await;
                        cut_off.0 = None;
                        Ok(None)
                    }
                    "gap" => Ok(Some(plain(cx.gap().to_string()))),
                    "history" => {
                        let found =
                            cx.engine().datastore().stream_history(History::of(cx.instance())?).await?;
                        Ok(Some(plain(found.len().to_string())))
                    }
                    "ask" => {
                        Ok(Some(plain(cx.engine().llm().prompt([LlmMessage::user("why?")], 0.0).await?)))
                    }
                    _ => Ok(Some(plain(format!("{} in {}", counted.packets, cx.meeting().id)))),
                }
            }
            Hook::Source { source, .. } => {
                let mut sum = 0;
                for (index, packet) in cx.packets().to_vec().iter().enumerate() {
                    match &packet.payload {
                        Payload::Json(text) => sum += serde_json::from_str::<u64>(text)?,
                        _ => cx.reject(index, "no number"),
                    }
                }
                counted.packets += cx.packets().len() as u64;
                keep(cx, &counted)?;
                Ok(Some(plain(format!("{source} {sum}"))))
            }
        }
    }

    async fn on_meeting_start(&self, _: &mut DynamicCx<'_>) -> Result<Option<Payload>, Error> {
        Ok(Some(plain(&*self.greeting)))
    }

    async fn on_meeting_end(&self, cx: &mut DynamicCx<'_>) -> Result<Option<Payload>, Error> {
        Ok(Some(plain(format!("bye after {}", counted(cx)?.packets))))
    }

    async fn on_shutdown(&self, cx: &ShutdownCx) -> Result<(), Error> {
        cx.llm().fast_prompt([LlmMessage::user("good night")], 0.5).await?;
        Ok(())
    }
}

fn said(text: &str) -> Publish {
    Publish::text("chat", text).unwrap()
}

fn text(payload: &Payload) -> &str {
    match payload {
        Payload::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

fn texts(packets: &[Arc<DataPacket>]) -> Vec<&str> {
    packets.iter().map(|packet| text(&packet.payload)).collect()
}

#[test]
fn a_factory_made_at_run_time_owns_its_names() {
    let factory = Script::factory(COUNTER).clone();
    assert_eq!((factory.name(), factory.kind(), factory.version()), ("counter", "counter", "0.3.0"));
    assert!(!factory.needs_llm());
    assert!(Script::factory(&COUNTER.replace('}', r#", "needs_llm": true}"#)).needs_llm());

    let metadata = factory.metadata().unwrap();
    assert_eq!(metadata.sources, ["chat", "number"]);
    assert_eq!(metadata.policies[&Name::new("number").unwrap()], DeliveryPolicy::Block);
    assert_eq!((metadata.every, metadata.takes_wakes), (Some(Duration::from_secs(10)), false));
    assert!(Script::factory(&COUNTER.replace('}', r#", "wakes": true}"#)).metadata().unwrap().takes_wakes);
    let shown = serde_json::to_value(&metadata).unwrap();
    assert_eq!((&shown["name"], &shown["version"]), (&json!("counter"), &json!("0.3.0")));
    assert_eq!((&shown["config"], &shown["output_type"]), (&json!(true), &json!({"form": "any"})));
}

#[test]
fn a_graph_takes_a_dynamic_plugin_and_names_a_faulty_one() {
    let build = |script: &str, spec: InstanceSpec| {
        Graph::build(
            vec![spec],
            &[Script::factory(script)],
            &[],
            vec![SourceSpec::new("number", Durability::Durable)],
        )
    };
    let mapped = InstanceSpec {
        sources: [("chat".to_owned(), "transcription".to_owned())].into(),
        ..InstanceSpec::new("mine", "counter")
    };
    let graph = build(COUNTER, mapped).unwrap();
    let mine = graph.instance("mine").unwrap();
    assert_eq!(mine.subscriptions[&Name::new("transcription").unwrap()], "chat");
    let setup = mine.setup();
    assert_eq!((setup.kind.as_str(), setup.version.as_str()), ("counter", "0.3.0"));

    let shown = |result: Result<Graph, graph::Error>| chain(&result.unwrap_err());
    let twice = COUNTER.replace(r#"["chat"]"#, r#"["chat", "chat"]"#);
    assert_eq!(
        shown(build(&twice, InstanceSpec::new("mine", "counter"))),
        "plugin counter, of instance mine, is faulty: it takes chat twice; correct its `hooks`"
    );
    let config = json!({ "greeting": 3 });
    assert_eq!(
        shown(build(COUNTER, InstanceSpec { config, ..InstanceSpec::new("mine", "counter") })),
        "the [plugin.config] of instance mine does not fit its plugin counter: \
         greeting: invalid type, expected a string"
    );
    let unknown = shown(build(COUNTER, InstanceSpec::new("mine", "conter")));
    assert!(unknown.contains("(did you mean counter?)"), "{unknown}");
}

#[tokio::test]
async fn an_installation_that_fails_says_why() {
    Script::factory(COUNTER).install().await.unwrap();
    let error = Script::factory(&COUNTER.replace("0.3.0", "0.0.0")).install().await.unwrap_err();
    assert_eq!(error.to_string(), "cannot be installed");
}

#[tokio::test(start_paused = true)]
async fn a_meeting_goes_from_start_to_end() {
    let llm = ScriptedLlm::default().reply("because").reply("sleep well");
    let mut meeting = PluginTest::of(Script::factory(COUNTER))
        .config(json!({ "greeting": "hi" }))
        .llm(llm.clone())
        .instance("mine")
        .start()
        .await
        .unwrap();
    assert_eq!(texts(meeting.outputs()), ["hi"]);
    assert_eq!(meeting.state_json(), "null");

    let first = meeting.receive(said("one")).await.unwrap().unwrap();
    assert_eq!((text(&first.payload), first.source.as_str()), ("1 in test", "mine"));
    assert_eq!(first.causes, [Seq(3)]);
    assert_eq!(meeting.value::<String>("last").as_deref(), Some("one"));

    let number = |number: u64| Publish::json("number", &number).unwrap();
    let bad = Publish::text("number", "seven").unwrap();
    let sums = meeting.receive_batch([number(1), bad, number(2), number(4)]).await.unwrap();
    assert_eq!(texts(&sums), ["number 3", "number 4"]);
    assert_eq!(sums[0].causes, [Seq(5), Seq(7)]);
    assert_eq!(meeting.rejected().len(), 1);
    assert_eq!((meeting.rejected()[0].packet.seq, meeting.rejected()[0].error.is_reject()), (Seq(6), true));

    assert_eq!(texts(&meeting.advance(Duration::from_secs(20)).await.unwrap()), ["tick 1", "tick 2"]);
    assert_eq!(text(&meeting.receive(said("ask")).await.unwrap().unwrap().payload), "because");
    let bye = meeting.end().await.unwrap().unwrap();
    assert_eq!(text(&bye.payload), "bye after 6");
    meeting.shutdown().await.unwrap();
    assert_eq!(llm.requests()[1].caller.instance, "mine");
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_changes_nothing() {
    let mut meeting = PluginTest::of(Script::factory(COUNTER)).start().await.unwrap();
    meeting.receive(said("one")).await.unwrap();
    let before = (meeting.state_json(), meeting.value::<String>("last"), meeting.outputs().len());
    let bad = || Publish::text("number", "seven").unwrap();
    for (publish, message, is_reject) in [
        (said("fail"), "asked to fail", false),
        (said("give up"), "asked to give up", true),
        (Publish::bytes("chat", &b"x"[..]).unwrap(), "no text", true),
        (bad(), "no number", true),
    ] {
        let error = meeting.receive(publish).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.is_reject()), (message, is_reject));
    }
    let error = meeting.receive_batch([bad(), bad()]).await.unwrap_err();
    assert!(error.is_reject(), "a batch of which nothing is left has failed");
    assert_eq!((meeting.state_json(), meeting.value::<String>("last"), meeting.outputs().len()), before);
}

#[tokio::test(start_paused = true)]
async fn a_stored_state_is_read_back_as_it_was_written() {
    let mut meeting = PluginTest::of(Script::factory(COUNTER)).start().await.unwrap();
    meeting.receive(said("one")).await.unwrap();
    assert_eq!(meeting.state_json(), r#"{"packets":1,"ticks":0}"#);
    meeting.restart().await.unwrap();
    meeting.lose(7);
    assert_eq!(text(&meeting.receive(said("gap")).await.unwrap().unwrap().payload), "7");
    assert_eq!(meeting.state_json(), r#"{"packets":2,"ticks":0}"#);
    assert_eq!(text(&meeting.receive(said("history")).await.unwrap().unwrap().payload), "3");

    let hosted = started().await.open();
    let other = hosted.decode_state(r#"{ "any": ["json", 1.50] }"#).unwrap();
    assert_eq!(other.to_json().unwrap(), r#"{ "any": ["json", 1.50] }"#);
    assert!(hosted.decode_state("{").is_err());
}

async fn start(factory: &Factory) -> StartedPlugin {
    let instance = Name::new(factory.name()).unwrap();
    StartedPlugin::start(factory, Value::Null, instance, ResourceMap::default()).await.unwrap()
}

async fn started() -> StartedPlugin {
    start(&Script::factory(COUNTER)).await
}

/// A meeting's part of what a call needs.
struct Meeting {
    metadata: MeetingMetadata,
    instance: Name,
    engine: EngineControl,
}

impl Meeting {
    fn new(id: &str) -> Self {
        let (id, instance) = (crate::MeetingId::new(id).unwrap(), Name::new("counter").unwrap());
        let models = crate::SharedLlm::none();
        let engine = EngineControl::new(models, Arc::new(Nothing), id.clone(), instance.clone(), None);
        Self { metadata: MeetingMetadata::new(id), instance, engine }
    }

    fn packet(&self, seq: u64, text: &str) -> Arc<DataPacket> {
        said(text).into_packet(self.metadata.id.clone(), Seq(seq), Timestamp::UNIX_EPOCH).into()
    }

    fn call<'a>(&'a self, state: &StateRef, packets: &'a [Arc<DataPacket>]) -> Call<'a> {
        let (meeting, instance, engine) = (&self.metadata, &self.instance, self.engine.engine());
        Call {
            packets,
            gap: 0,
            tries: Tries { attempt: 1, most: 3 },
            state: state.clone(),
            meeting,
            instance,
            engine,
        }
    }
}

/// A store without anything in it.
struct Nothing;

impl crate::PersistenceProvider for Nothing {
    fn get<'a>(&'a self, _: &'a str) -> crate::ReadFuture<'a, Option<Arc<str>>> {
        async { Ok(None) }.boxed()
    }

    fn list<'a>(&'a self, _: &'a str) -> crate::ReadFuture<'a, Vec<(String, Arc<str>)>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn history(&self, _: History, _: Seq) -> crate::ReadFuture<'_, Vec<Arc<DataPacket>>> {
        async { Ok(Vec::new()) }.boxed()
    }
}

/// What an observer was told of a packet's hook: its seq, the new state, the output.
type Seen = (u64, Option<String>, Option<String>);

#[derive(Default)]
struct Observer(Mutex<Vec<Seen>>);

impl HookObserver for Observer {
    fn begins(&self, _: &Arc<DataPacket>) {}

    fn ended(
        &self,
        packet: &Arc<DataPacket>,
        state: Option<StateRef>,
        outputs: Option<Outputs>,
    ) -> Result<Pace, Error> {
        let state = state.map(|state| state.to_json().unwrap());
        let output = outputs.into_iter().flatten().map(|output| text(&output.payload).to_owned()).next();
        self.0.lock().unwrap().push((packet.seq.0, state, output));
        Ok(Pace::Yield)
    }

    fn resumes(&self) {}
}

fn chat_hook(hosted: &Hosted) -> crate::plugin::HookId {
    hosted.hooks()[0].0
}

#[tokio::test]
async fn a_run_of_single_hooks_reports_each_until_one_fails() {
    let (hosted, meeting, observer) = (started().await.open(), Meeting::new("m"), Observer::default());
    let state = hosted.initial_state();
    let packets = [meeting.packet(1, "one"), meeting.packet(2, "fail"), meeting.packet(3, "one")];
    let run = hosted.each(chat_hook(&hosted), meeting.call(&state, &packets), &observer);
    assert_eq!(run.await.unwrap_err().to_string(), "asked to fail");
    let seen = observer.0.into_inner().unwrap();
    let state = Some(r#"{"packets":1,"ticks":0}"#.to_owned());
    assert_eq!(seen, [(1, state, Some("1 in m".to_owned()))]);
    assert_eq!(hosted.every(), Some(Duration::from_secs(10)));
}

#[tokio::test]
async fn an_output_that_is_no_json_fails_its_hook_for_good() {
    let (hosted, meeting) = (started().await.open(), Meeting::new("m"));
    let (state, packets) = (hosted.initial_state(), [meeting.packet(1, "broken")]);
    let hook = chat_hook(&hosted);
    let observer = Observer::default();
    for error in [
        hosted.run(Invocation::Hook(hook), meeting.call(&state, &packets)).await.unwrap_err(),
        hosted.each(hook, meeting.call(&state, &packets), &observer).await.unwrap_err(),
    ] {
        assert!(error.is_reject(), "another try makes the same text");
        assert_eq!(error.to_string(), "key must be a string at line 1 column 2");
    }
    assert_eq!(observer.0.into_inner().unwrap(), []);
}

#[tokio::test]
async fn an_equal_state_is_no_change() {
    let (hosted, meeting) = (started().await.open(), Meeting::new("m"));
    let state = hosted.initial_state();
    let packets = [meeting.packet(1, "nothing")];
    let start = hosted.run(Invocation::MeetingStart, meeting.call(&state, &packets));
    assert!(start.await.unwrap().state.ptr_eq(&state));

    let mut cx_state = DynamicCx {
        packets: &packets,
        gap: 0,
        state: Arc::new(JsonState(RawValue::from_string("[1]".to_owned()).unwrap())),
        rejected: Vec::new(),
        tries: Tries { attempt: 1, most: 1 },
        takes_wakes: false,
        emitted: Vec::new(),
        meeting: &meeting.metadata,
        instance: &meeting.instance,
        engine: meeting.engine.engine(),
    };
    let before = cx_state.state.clone();
    cx_state.set_state(RawValue::from_string("[1]".to_owned()).unwrap());
    assert!(Arc::ptr_eq(&before, &cx_state.state));
    cx_state.set_state(RawValue::from_string("[2]".to_owned()).unwrap());
    assert_eq!(cx_state.state(), "[2]");
}

#[tokio::test(start_paused = true)]
async fn many_meetings_run_at_once_and_a_dropped_hook_is_cut_off() {
    let script = Script::read(COUNTER);
    let interpreter = script
        .on_startup(Value::Null, &StartupCx::of(Name::new("c").unwrap(), ResourceMap::default()))
        .await
        .unwrap();
    let cut_off = interpreter.cut_off.clone();
    let factory = Factory::dynamic("counter", Started(Mutex::new(Some(interpreter))));
    let started = start(&factory).await;

    let rooms: Vec<_> = (0..20).map(|room| (started.open(), Meeting::new(&format!("m{room}")))).collect();
    let hooks = rooms.iter().map(|(hosted, meeting)| async move {
        let packets = [meeting.packet(1, if meeting.metadata.id.as_str() == "m7" { "wait" } else { "one" })];
        let state = hosted.initial_state();
        let run = hosted.run(Invocation::Hook(chat_hook(hosted)), meeting.call(&state, &packets));
        tokio::time::timeout(Duration::from_secs(1), run).await
    });
    let ended = futures::future::join_all(hooks).await;
    for (room, ended) in ended.into_iter().enumerate() {
        match ended {
            Ok(Ok(HandlerOutcome { outputs, .. })) => {
                let texts: Vec<_> = outputs.iter().map(text).collect();
                assert_eq!(texts, [format!("1 in m{room}")]);
            }
            Err(_) => assert_eq!(room, 7),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(cut_off.load(Ordering::Relaxed), 1);
}

/// Hands out an interpreter that was started before.
struct Started(Mutex<Option<Interpreter>>);

impl DynamicPlugin for Started {
    type Instance = Interpreter;

    fn spec(&self) -> DynamicSpec {
        Script::read(COUNTER).spec()
    }

    async fn on_startup(&self, _: Value, _: &StartupCx) -> Result<Interpreter, Error> {
        Ok(self.0.lock().unwrap().take().unwrap())
    }
}
