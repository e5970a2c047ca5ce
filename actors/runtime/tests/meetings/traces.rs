//! Traces: from a publisher through hooks and models to outputs.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use teammy_config::Config;
use teammy_kernel::{
    Batch, Cx, DataPacket, Error, Factory, Hooks, InCallPlugin, Json, LlmMessage, Receive, Span, StartupCx,
    TraceContext,
    data::{Chat, Transcription},
    store::MemoryStore,
    testing::{Fields, Logged, ScriptedLlm},
};
use teammy_runtime::{MeetingRef, Node};

use super::support::*;

const DEADLINE: Duration = Duration::from_secs(10);

/// Asks a model about each chat message, and counts the batches of speech. It panics at a chat message that says so.
struct Asker;

impl InCallPlugin for Asker {
    type Config = ();
    type State = ();
    type Scratch = ();
    type Output = Json<String>;
    const KIND: &'static str = "asker";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Chat>>("chat").on_batch::<Json<Transcription>>("transcription", 10)
    }
}

impl Receive<Json<Chat>> for Asker {
    async fn receive(&self, chat: Json<Chat>, cx: &mut Cx<'_, Self>) -> Result<Option<Json<String>>, Error> {
        assert!(chat.0.text != "panic", "it was told to");
        let answer = cx.engine().llm().prompt([LlmMessage::user(chat.0.text)], 0.5).await?;
        Ok(Some(Json(answer)))
    }
}

impl Receive<Batch<Json<Transcription>>> for Asker {
    async fn receive(
        &self,
        batch: Batch<Json<Transcription>>,
        _: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<String>>, Error> {
        Ok(Some(Json(batch.len().to_string())))
    }
}

async fn node(models: &ScriptedLlm, toml: &str) -> Node {
    Node::builder(
        Config::from_toml(&format!("hooks.backoff = \"1ms\"\nrestart.backoff = \"1ms\"\n{toml}")).unwrap(),
    )
    .plugin(Factory::of::<Asker>("asker"))
    .store(Arc::new(MemoryStore::default()))
    .plugin_runtime(tokio::runtime::Handle::current())
    .llm(models.clone())
    .start()
    .await
    .unwrap()
}

/// The position of a client.
fn client(span: u64, is_sampled: bool) -> TraceContext {
    let flags = if is_sampled { "01" } else { "00" };
    format!("00-000000000000000000000000000000ab-{span:016x}-{flags}").parse().unwrap()
}

async fn ended(meeting: &MeetingRef) -> Vec<Arc<DataPacket>> {
    meeting.end().await.unwrap();
    meeting.outputs().map(Result::unwrap).collect().await
}

fn named<'a>(spans: &'a [Fields], name: &str) -> Vec<&'a Fields> {
    spans.iter().filter(|span| span["name"] == name).collect()
}

#[tokio::test(start_paused = true)]
async fn without_an_exporter_a_position_goes_through_unchanged() {
    let models = ScriptedLlm::default().reply("At nine.").reply("At ten.");
    let node = node(&models, "traces.endpoint = \"http://127.0.0.1:1\"\ntraces.one_in = 1").await;
    let meeting = start(&node, "m", &["asker"]).await;
    meeting.publish(chat("When?").traced(client(7, true))).await.unwrap();
    meeting.publish(chat("And then?")).await.unwrap();
    let outputs = ended(&meeting).await;
    let traces: Vec<_> = outputs.iter().map(|output| output.trace).collect();
    assert_eq!(traces, [Some(client(7, true)), None]);
    let asked: Vec<_> = models.requests().iter().map(|request| request.caller.trace).collect();
    assert_eq!(asked, traces);
    node.shutdown(DEADLINE).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_sampled_packet_has_a_span_for_each_step() {
    let logged = Logged::of_target(Span::TARGET);
    let _guard = logged.listen();
    let models = ScriptedLlm::default().fail("overloaded").reply("At nine.").reply("At ten.");
    let node = node(&models, "").await;
    let meeting = start(&node, "m", &["asker"]).await;
    let sent = meeting.publish(chat("When?").traced(client(7, true))).await.unwrap();
    let output = meeting.outputs().next().await.unwrap().unwrap();
    // One whose trace is not recorded has none, and is passed on.
    meeting.publish(chat("And then?").traced(client(8, false))).await.unwrap();
    let outputs = ended(&meeting).await;
    assert_eq!(outputs[1].trace, Some(client(8, false)));

    let spans = logged.take();
    let [publish] = named(&spans, "publish")[..] else { panic!("{spans:?}") };
    let [failed, done] = named(&spans, "hook")[..] else { panic!("{spans:?}") };
    assert_eq!(spans.len(), 3);
    let trace = "000000000000000000000000000000ab";
    assert!(spans.iter().all(|span| span["trace_id"] == trace && span["meeting"] == "m"), "{spans:?}");
    assert_eq!((&*publish["parent_id"], &*publish["source"]), ("0000000000000007", "chat"));
    assert_eq!(publish["seq"], sent.seq().to_string());
    for (hook, error) in [(failed, Some("failed")), (done, None)] {
        assert_eq!(hook["parent_id"], publish["span_id"]);
        assert_eq!((&*hook["instance"], hook.get("error").map(String::as_str)), ("asker", error));
        assert_eq!(hook["seq"], publish["seq"]);
    }
    let output = output.trace.unwrap();
    assert_eq!(format!("{:016x}", output.span_id()), done["span_id"]);
    let asked = models.requests().iter().map(|request| request.caller.trace.unwrap()).collect::<Vec<_>>();
    assert_eq!(format!("{:016x}", asked[0].span_id()), failed["span_id"]);
    assert_eq!((asked[1], asked[2]), (output, client(8, false)));
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_below_its_last_packet_and_linked_to_the_others() {
    let logged = Logged::of_target(Span::TARGET);
    let _guard = logged.listen();
    let node = node(&ScriptedLlm::default(), "").await;
    let meeting = start(&node, "m", &["asker"]).await;
    let packets = [Some(1), Some(2), None, Some(3), None].map(|span| {
        let packet = transcription("hello");
        span.map_or(packet.clone(), |span| packet.traced(client(span, true)))
    });
    meeting.publish_all(packets).await.unwrap();
    let outputs = ended(&meeting).await;
    let spans = logged.take();
    let publishes = named(&spans, "publish");
    let parents: Vec<_> = publishes.iter().map(|span| span["parent_id"].trim_start_matches('0')).collect();
    assert_eq!(parents, ["1", "2", "3"]);
    let [hook] = named(&spans, "hook")[..] else { panic!("{spans:?}") };
    assert_eq!(hook["parent_id"], publishes[2]["span_id"]);
    let links: Vec<_> = hook["links"].split(' ').map(|link| link.split('-').nth(2).unwrap()).collect();
    assert_eq!(links, [&publishes[1]["span_id"], &publishes[0]["span_id"]]);
    assert_eq!(format!("{:016x}", outputs[0].trace.unwrap().span_id()), hook["span_id"]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_ends_the_span_of_its_hook() {
    let logged = Logged::of_target(Span::TARGET);
    let _guard = logged.listen();
    let node = node(&ScriptedLlm::default(), "hooks.tries = 1").await;
    let meeting = start(&node, "m", &["asker"]).await;
    meeting.publish(chat("panic").traced(client(7, true))).await.unwrap();
    ended(&meeting).await;
    let spans = logged.take();
    let hooks = named(&spans, "hook");
    assert!(!hooks.is_empty() && hooks.iter().all(|hook| hook["error"] == "panic"), "{spans:?}");
}

#[tokio::test(start_paused = true)]
async fn a_trace_begins_here_if_that_is_configured() {
    let logged = Logged::of_target(Span::TARGET);
    let _guard = logged.listen();
    let models = ScriptedLlm::default().reply("At nine.");
    let node = node(&models, "traces.endpoint = \"http://127.0.0.1:1\"\ntraces.one_in = 1").await;
    let meeting = start(&node, "m", &["asker"]).await;
    meeting.publish(chat("When?")).await.unwrap();
    let outputs = ended(&meeting).await;
    let spans = logged.take();
    let [publish] = named(&spans, "publish")[..] else { panic!("{spans:?}") };
    assert_eq!(publish["parent_id"], "0".repeat(16));
    assert_eq!(format!("{:032x}", outputs[0].trace.unwrap().trace_id()), publish["trace_id"]);
}

#[tokio::test(start_paused = true)]
async fn a_position_is_stored_with_its_packet() {
    let store = FaultyStore::default();
    let first = super::support::node(&store, &probe_toml("")).await;
    let meeting = start(&first, "m", &["probe"]).await;
    meeting.publish(transcription("hello").traced(client(7, true))).await.unwrap().durable().await.unwrap();
    first.shutdown(DEADLINE).await.unwrap();
    let traced: Vec<_> = store.packets("m").await.iter().filter_map(|packet| packet.trace).collect();
    assert_eq!(traced, [client(7, true); 2], "the packet's, and its output's");
}
