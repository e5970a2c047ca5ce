//! Nothing that is said in a meeting gets into logs, errors, dead letters and statuses: a marker word is in
//! every packet, name and configuration, and each kind of failure happens.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{Arc, Mutex},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use teammy_config::Config;
use teammy_kernel::{
    Cx, Error, Factory, Hooks, InCallPlugin, Json, LlmError, LlmMessage, MeetingMetadata, Publish, Receive,
    StartupCx, Store, chain, testing::ScriptedLlm,
};
use teammy_runtime::{Node, node};

use super::support::*;

/// The marker.
const WORD: &str = "zqmarker";

/// Collects the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
struct Table {
    secret: String,
}

/// Fails in the way that a packet asks for. A test chooses the type of its state.
struct Leaky<S>(std::marker::PhantomData<fn() -> S>);

/// The JSON of a packet: how to fail, and the words to put into the failure.
#[derive(Debug, Deserialize)]
struct Order {
    how: String,
    words: String,
}

/// It takes what a chat message is not, so its schema says nothing.
impl JsonSchema for Order {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Order".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        true.into()
    }
}

/// A value that cannot be serialised.
struct Unwritable(String);

impl Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom(&self.0))
    }
}

impl<S> InCallPlugin for Leaky<S>
where
    S: Clone + Default + Serialize + DeserializeOwned + Send + Sync + Remember + 'static,
{
    type Config = Table;
    type State = S;
    type Scratch = ();
    type Output = Json<Value>;
    const KIND: &'static str = "leaky";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup(_: Table, _: &StartupCx) -> Result<Self, Error> {
        Ok(Self(std::marker::PhantomData))
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Order>>("chat").on_batch::<Json<Order>>("transcription", 8)
    }
}

trait Remember {
    fn remember(&mut self, words: &str);
}

impl Remember for String {
    fn remember(&mut self, words: &str) {
        self.push_str(words);
    }
}

impl Remember for u64 {
    fn remember(&mut self, _: &str) {}
}

impl<S> Receive<Json<Order>> for Leaky<S>
where
    S: Clone + Default + Serialize + DeserializeOwned + Send + Sync + Remember + 'static,
{
    async fn receive(&self, order: Json<Order>, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Value>>, Error> {
        let Json(Order { how, words }) = order;
        cx.state_mut().remember(&words);
        let data = cx.engine().datastore();
        match how.as_str() {
            "panic" => panic!("formatted: {words}"),
            "serde" => drop(serde_json::from_value::<u64>(json!(words))?),
            "key" => data.set(&words.repeat(1000), &1)?,
            "value" => data.set(&words, &words.repeat(1 << 18))?,
            "encode" => data.set(&words, &Unwritable(words.clone()))?,
            "encode-key" => data.set(&words, &BTreeMap::from([((1, words.as_str()), 1)]))?,
            "decode" => {
                data.set(&words, &words)?;
                data.get::<u64>(&words).await?;
            }
            "ask" => drop(cx.engine().llm().prompt([LlmMessage::user(words)], 0.0).await?),
            "output" => return Ok(Some(Json(json!(words.repeat(1 << 18))))),
            _ => {}
        }
        Ok(None)
    }
}

impl<S> Receive<teammy_kernel::Batch<Json<Order>>> for Leaky<S>
where
    S: Clone + Default + Serialize + DeserializeOwned + Send + Sync + Remember + 'static,
{
    async fn receive(
        &self,
        _: teammy_kernel::Batch<Json<Order>>,
        _: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Value>>, Error> {
        Ok(None)
    }
}

async fn leaky<S>(store: &FaultyStore, llm: &ScriptedLlm) -> Node
where
    S: Clone + Default + Serialize + DeserializeOwned + Send + Sync + Remember + 'static,
{
    let toml = format!(
        "hooks.backoff = \"1ms\"\nrestart.intensity = 100\nlimits.packet_bytes = \"64KiB\"\n\
         [[plugin]]\nname = \"leaky\"\nkind = \"leaky\"\nconfig = {{ secret = \"{WORD}\" }}"
    );
    let builder = Node::builder(Config::from_toml(&toml).unwrap()).plugin(Factory::of::<Leaky<S>>("leaky"));
    let builder = builder.store(Arc::new(store.clone())).llm(llm.clone());
    builder.plugin_runtime(tokio::runtime::Handle::current()).start().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn no_words_of_a_meeting_get_into_logs_and_errors() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    // With a single subscriber in the process, `tracing` caches the interest of the first thread that reaches
    // a log line. That may be the thread of another test, which has no subscriber.
    let _another = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let (store, llm) = (FaultyStore::default(), ScriptedLlm::default().reply(WORD));
    let mut texts = Vec::new();
    {
        let node = leaky::<String>(&store, &llm).await;
        let metadata = MeetingMetadata::new(id("m")).title(WORD);
        let meeting = node.start_meeting(metadata, ["leaky"]).await.unwrap();
        let orders =
            ["panic", "serde", "key", "value", "encode", "encode-key", "decode", "ask", "output", "fine"];
        let fine = json!({"how": "fine", "words": WORD});
        let undecodable = [
            json!(WORD),
            json!({"how": WORD, "words": [WORD]}),
            json!({"how": {WORD: WORD}}),
            json!({WORD: WORD}),
            json!([WORD]),
        ];
        for source in ["chat", "transcription"] {
            let orders = orders.iter().map(|how| json!({"how": how, "words": WORD}));
            for data in orders.chain(undecodable.clone()).chain([fine.clone()]) {
                let publish = Publish::json(source, &data).unwrap().participant(WORD);
                meeting.publish(publish).await.unwrap();
            }
            let text = Publish::text(source, WORD).unwrap().participant(WORD);
            meeting.publish(text).await.unwrap();
        }
        for rejected in [
            Publish::json("chat", &WORD.repeat(1 << 16)).unwrap(),
            Publish::json("chat", WORD).unwrap().participant(WORD.repeat(1000)),
            Publish::json("participant", WORD).unwrap().numbered(WORD.repeat(100), 1),
        ] {
            texts.push(chain(&meeting.publish(rejected).await.unwrap_err()));
        }
        texts.push(format!("{:?}", Publish::json("chat", &Unwritable(WORD.into())).unwrap_err()));
        meeting.caught_up().await.unwrap();
        texts.push(serde_json::to_string(&node.status().await).unwrap());
        texts.push(format!("{:?}", meeting.stats().await.unwrap()));
        node.shutdown(std::time::Duration::from_mins(1)).await.unwrap();
    }
    // A build whose state type is another one cannot read the stored state.
    let node = leaky::<u64>(&store, &llm).await;
    let meeting = node.resume_meeting(&id("m")).await.unwrap();
    texts.push(serde_json::to_string(&node.status().await).unwrap());
    texts.push(format!("{:?}", meeting.resume_instance("leaky").await.map_err(|error| chain(&error))));
    node.shutdown(std::time::Duration::from_mins(1)).await.unwrap();

    let letters = store.inner.dead_letters(id("m")).await.unwrap();
    // For each of the two sources 5 packets that do not decode and 1 text, and for the hook on single packets
    // all orders but 2.
    assert_eq!(letters.len(), 6 + 6 + 8, "{letters:#?}");
    texts.extend(letters.iter().map(|letter| letter.error.clone()));
    let statuses: Vec<_> =
        store.packets("m").await.into_iter().filter(|packet| packet.source == "plugin-status").collect();
    assert_eq!(statuses.len(), 1, "the instance whose state cannot be read");
    texts.extend(statuses.iter().map(|packet| value(packet).to_string()));

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("packet given up") && log.contains("instance suspended"), "{log}");
    let leaks = |text: &str| text.to_lowercase().contains(WORD);
    for line in log.lines().chain(texts.iter().map(String::as_str)) {
        assert!(!leaks(line), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_about_a_plugins_configuration_does_not_quote_its_secrets() {
    for config in [
        format!("config = {{ secret = [\"{WORD}\"] }}"),
        format!("config = {{ secret = {{ a = \"{WORD}\" }} }}"),
    ] {
        let toml = format!("[[plugin]]\nname = \"leaky\"\nkind = \"leaky\"\n{config}");
        let builder =
            Node::builder(Config::from_toml(&toml).unwrap()).plugin(Factory::of::<Leaky<String>>("leaky"));
        let error = builder.check().unwrap_err();
        let text = format!("{} {error:?}", chain(&error));
        assert!(text.contains("secret: invalid type") && !text.contains(WORD), "{text}");
    }
    // A plugin whose `on_startup` panics.
    let error = node::Error::Startup {
        instance: teammy_kernel::Name::new("x").unwrap(),
        cause: "on_startup panicked".into(),
    };
    assert!(!chain(&error).contains(WORD));
}

#[test]
fn errors_of_a_provider_are_truncated() {
    let error = Error::retry(LlmError::Failed("x".repeat(1 << 20)));
    assert!(error.chain().len() <= teammy_kernel::error::MAX_BYTES);
}
