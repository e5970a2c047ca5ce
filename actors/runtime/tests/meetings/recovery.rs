//! Owners that go, in any way, and others that go on with the meeting.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use teammy_config::Config;
use teammy_kernel::{
    Cx, DataPacket, Error, Factory, Hooks, InCallPlugin, Json, Lifecycle, MeetingMetadata, Name, Receive,
    Seq, Store,
    data::Chat,
    log::{JoinAt, Sequencer},
    store::{InstanceStatus, MeetingStatus},
};
use teammy_runtime::{Node, meeting, node};

use super::support::*;

const DEADLINE: Duration = Duration::from_secs(10);

/// A meeting's stored packets: lifecycle events by their names, outputs with what they came from.
async fn log(store: &Gate, meeting: &str) -> Vec<String> {
    let line = |packet: &Arc<DataPacket>| match Lifecycle::from_payload(&packet.payload) {
        Some(event) if packet.source == Lifecycle::SOURCE => {
            let event = serde_json::to_value(event).unwrap();
            event["event"].as_str().unwrap().to_owned()
        }
        _ if packet.causes.is_empty() => packet.source.to_string(),
        _ => format!("{} of {}", packet.source, packet.causes[0]),
    };
    store.packets(meeting).await.iter().map(line).collect()
}

fn lines(diary_: &str, start: &str) -> usize {
    diary(diary_).iter().filter(|line| line.starts_with(start)).count()
}

#[tokio::test(start_paused = true)]
async fn a_crash_loses_nothing_acknowledged_and_doubles_nothing() {
    let store = Gate::default();
    let first = node(&store, &probe("crash")).await;
    let meeting = start(&first, "m", &["probe"]).await;
    say(&meeting, "one").await;
    assert_eq!(outputs(&meeting, 1).await, [(json!({"count": 1}), vec![2])]);
    // From here on nothing is stored any more, though the hooks go on.
    store.shut();
    meeting.publish(said("lost")).await.unwrap();
    noted("crash", "probe lost").await;
    drop(first);

    let second = node(&store, &probe("crash")).await;
    let meeting = second.resume_meeting(&id("m")).await.unwrap();
    // What the first was storing comes too late.
    store.open();
    let seq = say(&meeting, "two").await;
    assert!(seq > Seq(Sequencer::BLOCK), "no seq is used twice, not even one that was lost: {seq}");
    meeting.end().await.unwrap();
    let counts: Vec<_> = all_outputs(&meeting).await.into_iter().map(|(output, _)| output).collect();
    assert_eq!(counts, [json!({"count": 1}), json!({"count": 2})], "the state goes on from what was stored");
    assert_eq!(lines("crash", "probe start"), 1, "what was stored is not done again");
    let mut log = log(&store, "m").await;
    let tail = log.split_off(3);
    assert_eq!(log, ["start", "transcription", "probe of 2"]);
    for packet in ["transcription", &format!("probe of {seq}"), "ending", "ended"] {
        assert_eq!(tail.iter().filter(|line| *line == packet).count(), 1, "{packet}: {tail:?}");
    }
    assert_eq!(tail.len(), 4);
    assert_eq!(store.row("m").await.status, MeetingStatus::Ended);
    second.shutdown(DEADLINE).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn work_that_was_not_stored_is_done_again() {
    let store = Gate::default();
    let first = node(&store, &probe("again")).await;
    let meeting = start(&first, "m", &["probe"]).await;
    // Said and stored, but its hook waits until the owner is gone.
    say(&meeting, "wait 30").await;
    noted("again", "probe wait 30").await;
    drop(first);

    let second = node(&store, &probe("again")).await;
    let meeting = second.resume_meeting(&id("m")).await.unwrap();
    meeting.end().await.unwrap();
    assert_eq!(lines("again", "probe wait"), 2, "a hook sees a packet at least once");
    assert_eq!(all_outputs(&meeting).await, [(json!({"count": 1}), vec![2])], "and its output is there once");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_shut_down_hands_over_without_a_loss() {
    let store = Gate::default();
    let mut expected = 0;
    for round in 0..3 {
        let node = node(&store, &probe("rounds")).await;
        let meeting = match round {
            0 => start(&node, "m", &["probe"]).await,
            _ => node.resume_meeting(&id("m")).await.unwrap(),
        };
        for n in 0..5 {
            meeting.publish(said(&format!("{round} {n}"))).await.unwrap();
            expected += 1;
        }
        if round == 2 {
            meeting.end().await.unwrap();
            let counts: Vec<_> = all_outputs(&meeting).await.into_iter().map(|(output, _)| output).collect();
            let all: Vec<_> = (1..=expected).map(|n| json!({"count": n})).collect();
            assert_eq!(counts, all);
        }
        node.shutdown(DEADLINE).await.unwrap();
    }
    assert_eq!(store.row("m").await.epoch.0, 3);
    assert_eq!((lines("rounds", "probe start"), lines("rounds", "probe end")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_owner_that_is_replaced_stops_at_once_and_nothing_of_it_shows() {
    let store = Gate::default();
    let first = node(&store, &probe("")).await;
    let old = start(&first, "m", &["probe"]).await;
    say(&old, "one").await;
    let second = node(&store, &probe("")).await;
    let new = second.resume_meeting(&id("m")).await.unwrap();
    let receipt = old.publish(said("by the old one")).await.unwrap();
    let refused = receipt.durable().await.unwrap_err().to_string();
    assert_eq!(refused, "meeting m is no longer run by this node: another owner has taken it over");
    assert!(old.publish(said("more")).await.is_err());
    assert!(first.meeting(&id("m")).is_none());
    say(&new, "two").await;
    new.end().await.unwrap();
    let stored = store.packets("m").await;
    let said = stored.iter().filter(|packet| packet.source == "transcription");
    let texts: Vec<_> = said.map(|packet| value(packet)["text"].clone()).collect();
    assert_eq!(texts, ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn the_end_is_taken_over() {
    let store = Gate::default();
    let toml = r#"
        [[plugin]]
        name = "behind"
        kind = "probe"
        sources = { up = "front" }
        config = { diary = "end", answers = true }
        [[plugin]]
        name = "front"
        kind = "probe"
        config = { diary = "end", answers_at_end = true }
    "#;
    let first = node(&store, toml).await;
    let meeting = start(&first, "m", &["behind", "front"]).await;
    say(&meeting, "one").await;
    // Its end begins, and is stored, while the first instance is still at work.
    say(&meeting, "wait 30").await;
    noted("end", "front wait 30").await;
    let ending = meeting.clone();
    let ended = tokio::spawn(async move { ending.end().await });
    while store.row("m").await.status != MeetingStatus::Ending {
        tokio::task::yield_now().await;
    }
    drop(first);
    assert!(ended.await.unwrap().is_err(), "who waits for the end hears that its owner is gone");

    let second = node(&store, toml).await;
    let meeting = second.resume_meeting(&id("m")).await.unwrap();
    assert!(meeting.publish(said("too late")).await.is_err());
    meeting.end().await.unwrap();
    for once in ["front end m 2", "behind up {\"end\":2}", "behind end m"] {
        assert_eq!(lines("end", once), 1, "{once}: {:?}", diary("end"));
    }
    let log = log(&store, "m").await;
    assert_eq!(log.iter().filter(|line| *line == "ending").count(), 1, "{log:?}");
    assert_eq!(log.last().unwrap(), "ended");
}

#[tokio::test(start_paused = true)]
async fn instances_that_came_and_went_are_where_they_were() {
    let store = Gate::default();
    let two = "[[plugin]]\nname = \"a\"\nkind = \"probe\"\nconfig = { answers = true }\n\
               [[plugin]]\nname = \"b\"\nkind = \"probe\"\nconfig = { answers = true }\n";
    let first = node(&store, two).await;
    let meeting = start(&first, "m", &["a"]).await;
    say(&meeting, "one").await;
    meeting.assign_at("b", JoinAt::Start).await.unwrap();
    meeting.unassign("a").await.unwrap();
    say(&meeting, "two").await;
    first.shutdown(DEADLINE).await.unwrap();

    let second = node(&store, two).await;
    let meeting = second.resume_meeting(&id("m")).await.unwrap();
    say(&meeting, "three").await;
    meeting.assign("a").await.unwrap();
    say(&meeting, "four").await;
    meeting.end().await.unwrap();
    let count = |name: &'static str| {
        let packets = store.packets("m");
        async move {
            packets
                .await
                .into_iter()
                .filter(|packet| packet.source == name)
                .map(|p| value(&p)["count"].clone())
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(count("a").await, [1, 2], "it left, came back, and had its state");
    assert_eq!(count("b").await, [1, 2, 3, 4], "it read from the start");
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Before {
    words: Vec<String>,
}

/// As a later version has it: one field is new, another has changed its type.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Gained {
    words: Vec<String>,
    #[serde(default)]
    letters: usize,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Changed {
    words: u64,
}

trait Remembers: Clone + Default + Serialize + for<'a> Deserialize<'a> + Send + Sync + 'static {
    fn hear(&mut self, text: &str) -> usize;
}

impl Remembers for Before {
    fn hear(&mut self, text: &str) -> usize {
        self.words.push(text.to_owned());
        self.words.len()
    }
}

impl Remembers for Gained {
    fn hear(&mut self, text: &str) -> usize {
        self.letters += text.len();
        self.words.push(text.to_owned());
        self.words.len() * 100 + self.letters
    }
}

impl Remembers for Changed {
    fn hear(&mut self, _: &str) -> usize {
        self.words += 1;
        0
    }
}

/// Remembers chat messages in a state of one of these types.
struct Memory<S>(std::marker::PhantomData<S>);

impl<S: Remembers> InCallPlugin for Memory<S> {
    type Config = ();
    type State = S;
    type Output = Json<usize>;
    const KIND: &'static str = "memory";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): ()) -> Result<Self, Error> {
        Ok(Self(std::marker::PhantomData))
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Chat>>("chat")
    }
}

impl<S: Remembers> Receive<Json<Chat>> for Memory<S> {
    async fn receive(&self, chat: Json<Chat>, cx: &mut Cx<'_, Self>) -> Result<Option<Json<usize>>, Error> {
        Ok(Some(Json(cx.state_mut().hear(&chat.0.text))))
    }
}

async fn remembering<S: Remembers>(store: &Gate) -> Node {
    Node::builder(Config::default())
        .plugin(Factory::of::<Memory<S>>("memory"))
        .store(Arc::new(store.clone()))
        .plugin_runtime(tokio::runtime::Handle::current())
        .start()
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_state_of_another_version_is_read_or_kept_for_one_that_can() {
    let store = Gate::default();
    let node = remembering::<Before>(&store).await;
    let meeting = start(&node, "m", &["memory"]).await;
    meeting.publish(chat("abc")).await.unwrap();
    outputs(&meeting, 1).await;
    node.shutdown(DEADLINE).await.unwrap();

    let node = remembering::<Gained>(&store).await;
    let meeting = node.resume_meeting(&id("m")).await.unwrap();
    meeting.publish(chat("de")).await.unwrap();
    assert_eq!(outputs(&meeting, 2).await[1].0, json!(202), "what is new has its default");
    node.shutdown(DEADLINE).await.unwrap();

    let kept = store.instance("m", "memory").await.state;
    let node = remembering::<Changed>(&store).await;
    let meeting = node.resume_meeting(&id("m")).await.unwrap();
    let said = meeting.publish(chat("f")).await.unwrap();
    said.durable().await.unwrap();
    let is_status = |packet: &Arc<DataPacket>| packet.source == "plugin-status";
    let status = meeting.packets().map(Result::unwrap).filter(|packet| std::future::ready(is_status(packet)));
    let status = value(&Box::pin(status).next().await.unwrap());
    assert_eq!((&status["instance"], &status["status"]), (&json!("memory"), &json!("suspended")));
    let reason = status["reason"].as_str().unwrap();
    assert!(
        reason.contains("the stored state is not of the plugin's state type: words: invalid type"),
        "{reason}"
    );
    node.shutdown(DEADLINE).await.unwrap();
    let row = store.instance("m", "memory").await;
    assert_eq!((row.status, row.state), (InstanceStatus::Suspended, kept), "its bytes are kept");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_go_on_is_refused_and_left_as_it_was() {
    let store = Gate::default();
    let first = node(&store, &probe("")).await;
    let error = first.resume_meeting(&id("m")).await.unwrap_err();
    assert!(matches!(error, node::Error::NoMeeting(_)), "{error}");
    let meeting = start(&first, "m", &["probe"]).await;
    let error = first.resume_meeting(&id("m")).await.unwrap_err();
    assert!(matches!(error, node::Error::Running(_)), "{error}");
    say(&meeting, "one").await;

    let other = node(&store, "[[plugin]]\nname = \"other\"\nkind = \"probe\"").await;
    let error = other.resume_meeting(&id("m")).await.unwrap_err();
    assert!(
        matches!(&error, node::Error::MissingInstance { instance, .. } if *instance == "probe"),
        "{error}"
    );
    say(&meeting, "its owner goes on").await;
    meeting.end().await.unwrap();
    let error = first.resume_meeting(&id("m")).await.unwrap_err();
    assert!(matches!(error, node::Error::Ended(_)), "{error}");
    let error = meeting.assign("probe").await.unwrap_err();
    assert!(matches!(error, meeting::Error::Ended(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_meeting_that_never_stored_anything_starts_anew() {
    let store = Gate::default();
    let instances = vec![Name::new("probe").unwrap()];
    store.store.create(MeetingMetadata::new(id("m")), instances, Seq(Sequencer::BLOCK)).await.unwrap();
    let other = node(&store, "[[plugin]]\nname = \"other\"\nkind = \"probe\"").await;
    let error = other.resume_meeting(&id("m")).await.unwrap_err();
    assert!(matches!(error, node::Error::MissingInstance { .. }), "{error}");

    let node = node(&store, &probe("")).await;
    let meeting = node.resume_meeting(&id("m")).await.unwrap();
    say(&meeting, "one").await;
    meeting.end().await.unwrap();
    assert_eq!(all_outputs(&meeting).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_meeting_that_nobody_publishes_to_catches_up() {
    let store = Gate::default();
    let first = node(&store, &probe("catch up")).await;
    let meeting = start(&first, "m", &["probe"]).await;
    // It ends between two ticks.
    for text in ["wait-ms 29500", "two", "three"] {
        say(&meeting, text).await;
    }
    drop(first);

    let second = node(&store, &probe("catch up")).await;
    let meeting = second.resume_meeting(&id("m")).await.unwrap();
    let last = store.packets("m").await.last().unwrap().seq;
    meeting.caught_up().await.unwrap();
    let outputs: Vec<_> = store.packets("m").await.into_iter().filter(|packet| packet.seq > last).collect();
    let of: Vec<_> = outputs.iter().map(|packet| packet.causes[0]).collect();
    assert_eq!(of, [Seq(2), Seq(3), Seq(4)]);
    let row = store.instance("m", "probe").await;
    assert_eq!(row.cursor, outputs[2].seq, "the cursor is stored too, and did not wait for company");
    // Whoever reads on from a place sees what is behind it.
    let behind: Vec<_> = meeting.outputs_after(outputs[0].seq).take(2).map(Result::unwrap).collect().await;
    assert_eq!(behind, outputs[1..]);
    meeting.caught_up().await.unwrap();

    // Once the end has begun, it is when that is over.
    let (ended, caught_up) = tokio::join!(meeting.end(), meeting.caught_up());
    ended.unwrap();
    caught_up.unwrap();
    assert_eq!(store.row("m").await.status, MeetingStatus::Ended);
    let error = meeting.caught_up().await.unwrap_err();
    assert!(matches!(error, meeting::Error::Ended(_)), "{error}");
}
