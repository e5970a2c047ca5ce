//! Several outputs of one hook, and hooks that know their last try.

use std::sync::Arc;

use teammy_config::Config;
use teammy_kernel::{
    Batch, Cx, DataPacket, Error, Factory, Hooks, InCallPlugin, Payload, Publish, Receive, StartupCx,
};
use teammy_runtime::{MeetingRef, Node};

use super::support::{FaultyStore, chat, start, transcription};

/// Puts out each word of a text by itself, one such as `@Ada` as Ada's, and fails on some.
struct Words;

impl InCallPlugin for Words {
    type Config = ();
    type State = u64;
    type Scratch = ();
    type Output = String;
    const KIND: &'static str = "words";
    const VERSION: &'static str = "1";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Arc<DataPacket>>("transcription").on_batch::<Arc<DataPacket>>("chat", 64)
    }

    async fn on_meeting_end(&self, cx: &mut Cx<'_, Self>) -> Result<Option<String>, Error> {
        cx.emit("almost".to_owned());
        Ok(Some("over".to_owned()))
    }
}

fn text(packet: &DataPacket) -> String {
    match &packet.payload {
        Payload::Text(text) => text.to_string(),
        other => serde_json::from_str::<serde_json::Value>(other.as_text().unwrap()).unwrap()["text"]
            .as_str()
            .unwrap()
            .to_owned(),
    }
}

fn put_out(text: &str, cx: &mut Cx<'_, Words>) -> Result<Option<String>, Error> {
    *cx.state_mut() += 1;
    for word in text.split(' ') {
        cx.emit_by(word.strip_prefix('@').map(Into::into), word.to_owned());
    }
    match text {
        "fail once" if cx.attempt() == 1 => Err(Error::retry("as asked")),
        "fail" if cx.is_last_attempt() => Ok(Some(format!("gave up at {}", cx.attempt()))),
        "fail" => Err(Error::retry("as asked")),
        "reject" => Err(Error::reject("as asked")),
        "panic" if cx.is_last_attempt() => Ok(Some(format!("survived {}", cx.attempt()))),
        "panic" => panic!("as asked"),
        _ => Ok(Some("|".to_owned())),
    }
}

impl Receive<Arc<DataPacket>> for Words {
    async fn receive(&self, packet: Arc<DataPacket>, cx: &mut Cx<'_, Self>) -> Result<Option<String>, Error> {
        put_out(&text(&packet), cx)
    }
}

impl Receive<Batch<Arc<DataPacket>>> for Words {
    async fn receive(
        &self,
        batch: Batch<Arc<DataPacket>>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<String>, Error> {
        let texts: Vec<_> = batch.iter().map(|packet| text(packet)).collect();
        put_out(&texts.join(" "), cx)
    }
}

async fn meeting(store: &FaultyStore) -> (Node, MeetingRef) {
    let config = Config::from_toml("[[plugin]]\nname = \"words\"\n").unwrap();
    let builder = Node::builder(config).plugin(Factory::of::<Words>("words")).store(Arc::new(store.clone()));
    let node = builder.plugin_runtime(tokio::runtime::Handle::current()).start().await.unwrap();
    let meeting = start(&node, "m", &["words"]).await;
    (node, meeting)
}

/// The outputs of the meeting, and the causes of each.
async fn outputs(store: &FaultyStore) -> Vec<(String, Vec<u64>)> {
    let packets = store.packets("m").await;
    let outputs = packets.iter().filter(|packet| packet.source == *"words");
    outputs.map(|packet| (text(packet), packet.causes.iter().map(|seq| seq.0).collect())).collect()
}

#[tokio::test(start_paused = true)]
async fn the_outputs_of_a_hook_keep_their_order_and_have_its_causes() {
    let store = FaultyStore::default();
    let (_node, meeting) = meeting(&store).await;
    let publishes: Vec<Publish> = ["a b", "fail once", "reject", "c"]
        .map(transcription)
        .into_iter()
        .chain([chat("d e"), chat("f")])
        .collect();
    let receipts = meeting.publish_all(publishes).await.unwrap();
    let seqs: Vec<u64> = receipts.seqs().map(|seq| seq.0).collect();
    meeting.end().await.unwrap();
    let mut expected = Vec::new();
    for (words, causes) in [
        (vec!["a", "b", "|"], vec![seqs[0]]),
        (vec!["fail", "once", "|"], vec![seqs[1]]),
        (vec!["c", "|"], vec![seqs[3]]),
        (vec!["d", "e", "f", "|"], seqs[4..].to_vec()),
    ] {
        expected.extend(words.into_iter().map(|word| (word.to_owned(), causes.clone())));
    }
    let outputs = outputs(&store).await;
    assert_eq!(outputs[..expected.len()], expected);
    let last: Vec<_> = outputs[expected.len()..].iter().map(|(word, _)| word.as_str()).collect();
    assert_eq!(last, ["almost", "over"]);
    let stats = meeting.stats().await.unwrap().instances.remove(0);
    assert_eq!((stats.outputs, stats.errors, stats.dead_letters), (outputs.len() as u64, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn an_output_names_the_participant_that_its_hook_names() {
    let store = FaultyStore::default();
    let (_node, meeting) = meeting(&store).await;
    meeting.publish_all([transcription("@Ada a"), chat("@Bo")]).await.unwrap();
    meeting.end().await.unwrap();
    let packets = store.packets("m").await;
    let outputs = packets.iter().filter(|packet| packet.source == *"words");
    let names: Vec<_> = outputs.filter_map(|packet| packet.participant.as_deref()).collect();
    assert_eq!(names, ["Ada", "Bo"]);
}

#[tokio::test(start_paused = true)]
async fn a_hook_knows_its_last_try_whether_it_errs_or_panics() {
    let store = FaultyStore::default();
    let (_node, meeting) = meeting(&store).await;
    meeting.publish_all(["fail", "panic", "a"].map(transcription)).await.unwrap();
    meeting.end().await.unwrap();
    let words: Vec<_> = outputs(&store).await.into_iter().map(|(word, _)| word).collect();
    assert_eq!(words, ["fail", "gave up at 3", "panic", "survived 3", "a", "|", "almost", "over"]);
    let stats = meeting.stats().await.unwrap().instances.remove(0);
    assert_eq!((stats.errors, stats.dead_letters), (4, 0));
    assert_eq!(store.instance("m", "words").await.state.as_deref(), Some("3"));
}
