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
    assert_eq!((requests[0].meeting.as_str(), requests[0].instance.as_str()), ("m", "helper"));
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
