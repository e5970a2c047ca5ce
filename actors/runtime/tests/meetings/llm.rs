//! Plugins that use language models, on nodes with a model and without one.

use std::{sync::Arc, time::Duration};

use teammy_config::Config;
use teammy_kernel::{
    Cx, Error, Factory, Hooks, InCallPlugin, Json, LlmMessage, MeetingMetadata, Model, Receive, ShutdownCx,
    StartupCx, data::Chat, store::MemoryStore, testing::ScriptedLlm,
};
use teammy_runtime::{Builder, Node, meeting, node};

use super::support::*;

const DEADLINE: Duration = Duration::from_secs(10);

/// Forwards chat messages to the model; its outputs are the replies.
struct Helper;

impl InCallPlugin for Helper {
    type Config = ();
    type State = ();
    type Scratch = ();
    type Output = Json<String>;
    const KIND: &'static str = "helper";
    const VERSION: &'static str = "1.0.0";
    const NEEDS_LLM: bool = true;

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Chat>>("chat")
    }

    async fn on_shutdown(&self, cx: &ShutdownCx) -> Result<(), Error> {
        cx.llm().fast_prompt([LlmMessage::user("bye")], 0.0).await?;
        Ok(())
    }
}

impl Receive<Json<Chat>> for Helper {
    async fn receive(&self, chat: Json<Chat>, cx: &mut Cx<'_, Self>) -> Result<Option<Json<String>>, Error> {
        Ok(Some(Json(cx.engine().llm().prompt([LlmMessage::user(chat.0.text)], 0.5).await?)))
    }
}

fn builder() -> Builder {
    Node::builder(Config::from_toml("hooks.backoff = \"1ms\"").unwrap())
        .plugin(Factory::of::<Helper>("helper"))
        .store(Arc::new(MemoryStore::default()))
        .plugin_runtime(tokio::runtime::Handle::current())
}

#[tokio::test(start_paused = true)]
async fn prompts_reach_the_provider_and_a_failed_one_is_retried() {
    let models = ScriptedLlm::default().fail("overloaded").reply("At nine.").reply("Bye.");
    let node = builder().llm(models.clone()).start().await.unwrap();
    assert!(node.has_llm());
    let meeting = start(&node, "m", &["helper"]).await;
    meeting.publish(chat("When?")).await.unwrap();
    meeting.end().await.unwrap();
    let outputs: Vec<_> = all_outputs(&meeting).await.into_iter().map(|(output, _)| output).collect();
    assert_eq!(outputs, ["At nine."]);
    node.shutdown(DEADLINE).await.unwrap();

    let requests = models.requests();
    let prompts: Vec<_> =
        requests.iter().map(|request| (&*request.messages[0].content, request.model)).collect();
    assert_eq!(prompts, [("When?", Model::Default), ("When?", Model::Default), ("bye", Model::Fast)]);
    assert_eq!((requests[0].caller.meeting.as_str(), requests[0].caller.instance.as_str()), ("m", "helper"));
}

/// Makes an output of the reply, or of the error.
struct Reporter;

impl InCallPlugin for Reporter {
    type Config = ();
    type State = ();
    type Scratch = ();
    type Output = Json<String>;
    const KIND: &'static str = "reporter";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Chat>>("chat")
    }
}

impl Receive<Json<Chat>> for Reporter {
    async fn receive(&self, _: Json<Chat>, cx: &mut Cx<'_, Self>) -> Result<Option<Json<String>>, Error> {
        let answer = cx.engine().llm().prompt([LlmMessage::user("well?")], 0.0).await;
        Ok(Some(Json(answer.unwrap_or_else(|error| error.to_string()))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_prompt_fails_before_its_hook_passes_the_deadline() {
    let models = ScriptedLlm::default()
        .delay(Duration::from_secs(50))
        .reply("in time")
        .delay(DEADLINE * 100)
        .reply("never");
    let node = builder().plugin(Factory::of::<Reporter>("reporter")).llm(models).start().await.unwrap();
    let meeting = start(&node, "m", &["reporter"]).await;
    meeting.publish(chat("one")).await.unwrap();
    meeting.publish(chat("two")).await.unwrap();
    meeting.end().await.unwrap();
    let outputs: Vec<_> = all_outputs(&meeting).await.into_iter().map(|(output, _)| output).collect();
    let error = "the language model failed: no answer came in the time that the hook has";
    assert_eq!(outputs, ["in time", error]);
}

#[tokio::test(start_paused = true)]
async fn without_a_model_a_meeting_rejects_instances_that_need_one() {
    let node = builder().start().await.unwrap();
    assert!(!node.has_llm());
    let metadata = MeetingMetadata::new(id("m"));
    let rejected = node.start_meeting(metadata, ["helper"]).await.unwrap_err();
    assert!(matches!(&rejected, node::Error::NeedsLlm(name) if *name == "helper"), "{rejected}");
    // Nothing was stored: the id is still free.
    let meeting = start(&node, "m", &[]).await;
    let rejected = meeting.assign("helper").await.unwrap_err();
    assert!(matches!(&rejected, meeting::Error::NeedsLlm(name) if *name == "helper"), "{rejected}");
    meeting.end().await.unwrap();
}

/// Asks what each chat message says, and does what it says with the answer: `wait` waits for ever the first time, `fail`
/// fails the first time, `panic` panics the first time, `stuck` waits for ever the second time, before it asks, `twice` asks
/// the same once more, and `detach` leaves a task behind the first time, which asks the same after the actor has failed.
struct Careful;

/// How often the hook has run on each text.
static RUNS: parking_lot::Mutex<std::collections::BTreeMap<String, u32>> =
    parking_lot::Mutex::new(std::collections::BTreeMap::new());

static DETACHED: tokio::sync::Notify = tokio::sync::Notify::const_new();

impl InCallPlugin for Careful {
    type Config = ();
    type State = ();
    type Scratch = ();
    type Output = Json<String>;
    const KIND: &'static str = "careful";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Chat>>("chat")
    }
}

impl Receive<Json<Chat>> for Careful {
    async fn receive(&self, chat: Json<Chat>, cx: &mut Cx<'_, Self>) -> Result<Option<Json<String>>, Error> {
        let (text, llm) = (chat.0.text, cx.engine().llm().clone());
        let key = format!("{} {text}", cx.meeting().id);
        let run = {
            let mut runs = RUNS.lock();
            let run = runs.entry(key.clone()).or_default();
            *run += 1;
            *run
        };
        if run == 2 && text.contains("stuck") {
            std::future::pending::<()>().await;
        }
        if run == 1 && text.contains("detach") {
            tokio::spawn(async move {
                DETACHED.notified().await;
                llm.prompt([LlmMessage::user(text.as_str())], 0.0).await
            });
            panic!("as told");
        }
        if text.contains("detach") {
            DETACHED.notify_one();
            // Until the other one has its answer.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let mut answer = llm.prompt([LlmMessage::user(text.as_str())], 0.0).await?;
        if text.starts_with("twice") {
            answer = format!("{answer} {}", llm.prompt([LlmMessage::user(text.as_str())], 0.0).await?);
        }
        RUNS.lock().insert(format!("{key} was answered"), run);
        if run == 1 && text.contains("wait") {
            std::future::pending::<()>().await;
        }
        if run == 1 && text.contains("fail") {
            return Err(Error::retry("as told"));
        }
        assert!(run > 1 || !text.contains("panic"), "as told");
        Ok((text != "silent").then_some(Json(answer)))
    }
}

/// A model that counts: its answers are all different.
#[derive(Clone, Default)]
struct Counting(Arc<std::sync::atomic::AtomicU32>);

impl Counting {
    fn asked(&self) -> u32 {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl teammy_kernel::LlmProvider for Counting {
    async fn complete(
        &self,
        request: teammy_kernel::LlmRequest,
    ) -> Result<teammy_kernel::LlmResponse, teammy_kernel::LlmError> {
        let number = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        let mut charges = teammy_kernel::Charges::default();
        charges.calls = 1;
        request.caller.meter.charge("big", charges);
        Ok(teammy_kernel::LlmResponse::new(format!("answer {number}")))
    }
}

async fn careful(store: &FaultyStore, models: &Counting) -> Node {
    Node::builder(Config::from_toml("hooks.backoff = \"1ms\"\nrestart.backoff = \"1ms\"").unwrap())
        .plugin(Factory::of::<Careful>("careful"))
        .store(Arc::new(store.clone()))
        .plugin_runtime(tokio::runtime::Handle::current())
        .llm(models.clone())
        .start()
        .await
        .unwrap()
}

/// The runtime's own keys of the instance: whether an answer is kept, and how many calls are counted.
async fn kept_and_counted(store: &FaultyStore, meeting: &str) -> (usize, u64) {
    use teammy_kernel::Store;
    let keys =
        store.list(id(meeting), teammy_kernel::Name::new("careful").unwrap(), "\0".to_owned()).await.unwrap();
    let kept = keys.iter().filter(|(key, _)| key.starts_with("\0llm/")).count();
    let counted = keys.iter().filter(|(key, _)| key.starts_with(teammy_kernel::ledger::PREFIX));
    let counted =
        counted.map(|(_, value)| serde_json::from_str::<teammy_kernel::Charges>(value).unwrap().calls);
    (kept, counted.sum())
}

async fn asked(models: &Counting, times: u32) {
    while models.asked() < times {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_is_cut_off_gets_the_same_answers_without_asking() {
    for text in ["wait", "twice wait"] {
        let (store, models) = (FaultyStore::default(), Counting::default());
        let times = if text == "wait" { 1 } else { 2 };
        let first = careful(&store, &models).await;
        let meeting = start(&first, "cut", &["careful"]).await;
        meeting.publish(chat(text)).await.unwrap().durable().await.unwrap();
        asked(&models, times).await;
        while kept_and_counted(&store, "cut").await.0 < times as usize {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(kept_and_counted(&store, "cut").await, (times as usize, times.into()));
        drop(first);

        let second = careful(&store, &models).await;
        let meeting = second.resume_meeting(&id("cut")).await.unwrap();
        meeting.publish(chat("next")).await.unwrap();
        meeting.end().await.unwrap();
        let outputs: Vec<_> = all_outputs(&meeting).await.into_iter().map(|(output, _)| output).collect();
        let expected = if times == 1 { ["answer 1", "answer 2"] } else { ["answer 1 answer 2", "answer 3"] };
        assert_eq!(outputs, expected);
        assert_eq!(models.asked(), times + 1, "only the next message's hook asked");
        assert_eq!(kept_and_counted(&store, "cut").await, (0, (times + 1).into()));
        second.shutdown(DEADLINE).await.unwrap();
        RUNS.lock().retain(|key, _| !key.starts_with("cut "));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_failed_asks_anew_and_every_call_is_counted() {
    let (store, models) = (FaultyStore::default(), Counting::default());
    let node = careful(&store, &models).await;
    let meeting = start(&node, "anew", &["careful"]).await;
    for text in ["fail", "panic", "silent", "last"] {
        meeting.publish(chat(text)).await.unwrap();
    }
    meeting.end().await.unwrap();
    let outputs: Vec<_> = all_outputs(&meeting).await.into_iter().map(|(output, _)| output).collect();
    assert_eq!(outputs, ["answer 2", "answer 4", "answer 6"]);
    assert_eq!(kept_and_counted(&store, "anew").await, (0, 6));
    node.shutdown(DEADLINE).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn another_owner_knows_that_the_hook_failed() {
    let (store, models) = (FaultyStore::default(), Counting::default());
    let first = careful(&store, &models).await;
    let meeting = start(&first, "failed", &["careful"]).await;
    meeting.publish(chat("fail stuck")).await.unwrap().durable().await.unwrap();
    asked(&models, 1).await;
    tokio::time::timeout(DEADLINE, async {
        let failed = async || {
            RUNS.lock().get("failed fail stuck") == Some(&2)
                && kept_and_counted(&store, "failed").await == (0, 1)
        };
        while !failed().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("the answer is deleted, and the hook runs again");
    drop(first);
    let second = careful(&store, &models).await;
    let meeting = second.resume_meeting(&id("failed")).await.unwrap();
    meeting.end().await.unwrap();
    let outputs: Vec<_> = all_outputs(&meeting).await.into_iter().map(|(output, _)| output).collect();
    assert_eq!(outputs, ["answer 2"]);
    second.shutdown(DEADLINE).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_actor_left_behind_holds_up_nobody() {
    let (store, models) = (FaultyStore::default(), Counting::default());
    let node = careful(&store, &models).await;
    let meeting = start(&node, "left", &["careful"]).await;
    let began = tokio::time::Instant::now();
    meeting.publish(chat("detach")).await.unwrap();
    meeting.end().await.unwrap();
    let outputs: Vec<_> = all_outputs(&meeting).await.into_iter().map(|(output, _)| output).collect();
    assert_eq!(outputs, ["answer 2"]);
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    node.shutdown(DEADLINE).await.unwrap();
}

/// An answer is seen once it is stored: a hook whose owner has lost the meeting never sees one.
#[tokio::test(start_paused = true)]
async fn an_answer_is_stored_before_the_hook_sees_it() {
    let (store, models) = (FaultyStore::default(), Counting::default());
    let node = careful(&store, &models).await;
    let meeting = start(&node, "held", &["careful"]).await;
    meeting.publish(chat("first")).await.unwrap().durable().await.unwrap();
    assert_eq!(outputs(&meeting, 1).await.len(), 1);
    meeting.publish(chat("second")).await.unwrap().durable().await.unwrap();
    store.hold_commits();
    asked(&models, 2).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let seen = |text: &str| RUNS.lock().get(text).copied();
    assert_eq!((seen("held second"), seen("held second was answered")), (Some(1), None));
    assert_eq!(kept_and_counted(&store, "held").await, (0, 1));
    store.release_commits();
    meeting.end().await.unwrap();
    assert_eq!(seen("held second was answered"), Some(1));
    assert_eq!(all_outputs(&meeting).await.len(), 2);
    assert_eq!(models.asked(), 2);
}
