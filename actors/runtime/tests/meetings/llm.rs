//! Plugins that ask language models: what they are told, and what becomes of them where there is none.

use std::{sync::Arc, time::Duration};

use teammy_config::Config;
use teammy_kernel::{
    Cx, Error, Factory, Hooks, InCallPlugin, Json, LlmMessage, MeetingMetadata, Model, Receive, ShutdownCx,
    data::Chat, store::MemoryStore, testing::ScriptedLlm,
};
use teammy_runtime::{Builder, Node, meeting, node};

use super::support::*;

const DEADLINE: Duration = Duration::from_secs(10);

/// Answers chat messages with what the model says.
struct Helper;

impl InCallPlugin for Helper {
    type Config = ();
    type State = ();
    type Output = Json<String>;
    const KIND: &'static str = "helper";
    const VERSION: &'static str = "1.0.0";
    const NEEDS_LLM: bool = true;

    async fn on_startup((): ()) -> Result<Self, Error> {
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
async fn questions_reach_the_provider_and_a_failing_one_is_asked_again() {
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
    let asked: Vec<_> =
        requests.iter().map(|request| (&*request.messages[0].content, request.model)).collect();
    assert_eq!(asked, [("When?", Model::Default), ("When?", Model::Default), ("bye", Model::Fast)]);
    assert_eq!((requests[0].meeting.as_str(), requests[0].instance.as_str()), ("m", "helper"));
}

/// Says in the chat what became of its question.
struct Patient;

impl InCallPlugin for Patient {
    type Config = ();
    type State = ();
    type Output = Json<String>;
    const KIND: &'static str = "patient";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): ()) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Chat>>("chat")
    }
}

impl Receive<Json<Chat>> for Patient {
    async fn receive(&self, _: Json<Chat>, cx: &mut Cx<'_, Self>) -> Result<Option<Json<String>>, Error> {
        let answer = cx.engine().llm().prompt([LlmMessage::user("well?")], 0.0).await;
        Ok(Some(Json(answer.unwrap_or_else(|error| error.to_string()))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_hears_of_an_answer_that_would_come_too_late() {
    let models = ScriptedLlm::default()
        .delay(Duration::from_secs(50))
        .reply("in time")
        .delay(DEADLINE * 100)
        .reply("never");
    let node = builder().plugin(Factory::of::<Patient>("patient")).llm(models).start().await.unwrap();
    let meeting = start(&node, "m", &["patient"]).await;
    meeting.publish(chat("one")).await.unwrap();
    meeting.publish(chat("two")).await.unwrap();
    meeting.end().await.unwrap();
    let outputs: Vec<_> = all_outputs(&meeting).await.into_iter().map(|(output, _)| output).collect();
    let late = "the language model failed: no answer came in the time that the hook has";
    assert_eq!(outputs, ["in time", late]);
}

#[tokio::test(start_paused = true)]
async fn without_a_model_a_meeting_refuses_who_needs_one() {
    let node = builder().start().await.unwrap();
    assert!(!node.has_llm());
    let metadata = MeetingMetadata::new(id("m"));
    let refused = node.start_meeting(metadata, ["helper"]).await.unwrap_err();
    assert!(matches!(&refused, node::Error::NeedsLlm(name) if *name == "helper"), "{refused}");
    // Nothing was made: the same id can be used.
    let meeting = start(&node, "m", &[]).await;
    let refused = meeting.assign("helper").await.unwrap_err();
    assert!(matches!(&refused, meeting::Error::NeedsLlm(name) if *name == "helper"), "{refused}");
    meeting.end().await.unwrap();
}
