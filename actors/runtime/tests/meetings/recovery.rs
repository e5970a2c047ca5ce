//! Takeovers: an owner crashes, shuts down or is replaced, and another node resumes the meeting.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::json;
use teammy_config::Config;
use teammy_kernel::{
    Cx, DataPacket, Error, Factory, Hooks, InCallPlugin, Json, Lifecycle, MeetingMetadata, Name, Receive,
    Seq, StartupCx, Store, Timestamp,
    data::Chat,
    log::{JoinAt, Sequencer},
    store::{InstanceStatus, MeetingStatus},
};
use teammy_runtime::{Node, meeting, node};

use super::support::*;

const DEADLINE: Duration = Duration::from_secs(10);

/// A meeting's stored packets, a line each: the event of a lifecycle packet, or the source and the first
/// cause.
async fn log(store: &FaultyStore, meeting: &str) -> Vec<String> {
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

/// How many events of a list start with `start`.
fn count(list: &str, start: &str) -> usize {
    events(list).iter().filter(|event| event.starts_with(start)).count()
}

#[tokio::test(start_paused = true)]
async fn a_crash_loses_no_acknowledged_packet_and_repeats_no_output() {
    let store = FaultyStore::default();
    let first = node(&store, &probe_toml("crash")).await;
    let meeting = start(&first, "m", &["probe"]).await;
    publish_durable(&meeting, "one").await;
    assert_eq!(outputs(&meeting, 1).await, [(json!({"count": 1}), vec![2])]);
    // From here on nothing is stored; hooks still run.
    store.hold_commits();
    meeting.publish(transcription("lost")).await.unwrap();
    wait_for_event("crash", "probe lost").await;
    drop(first);

    let second = node(&store, &probe_toml("crash")).await;
    let meeting = second.resume_meeting(&id("m")).await.unwrap();
    // The commits of the first owner are fenced.
    store.release_commits();
    let seq = publish_durable(&meeting, "two").await;
    assert!(seq > Seq(Sequencer::BLOCK), "the seqs of lost packets are not reused: {seq}");
    meeting.end().await.unwrap();
    let counts: Vec<_> = all_outputs(&meeting).await.into_iter().map(|(output, _)| output).collect();
    assert_eq!(counts, [json!({"count": 1}), json!({"count": 2})], "the state continues from the stored one");
    assert_eq!(count("crash", "probe start"), 1, "stored work is not repeated");
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
async fn work_that_was_not_stored_is_repeated() {
    let store = FaultyStore::default();
    let first = node(&store, &probe_toml("again")).await;
    let meeting = start(&first, "m", &["probe"]).await;
    // The packet is stored, and its hook is still running when the owner goes.
    publish_durable(&meeting, "wait 30").await;
    wait_for_event("again", "probe wait 30").await;
    drop(first);

    let second = node(&store, &probe_toml("again")).await;
    let meeting = second.resume_meeting(&id("m")).await.unwrap();
    meeting.end().await.unwrap();
    assert_eq!(count("again", "probe wait"), 2, "a hook sees a packet at least once");
    assert_eq!(all_outputs(&meeting).await, [(json!({"count": 1}), vec![2])], "its output is stored once");
}

#[tokio::test(start_paused = true)]
async fn after_a_shutdown_another_node_resumes_without_a_loss() {
    let store = FaultyStore::default();
    let mut expected = 0;
    for round in 0..3 {
        let node = node(&store, &probe_toml("rounds")).await;
        let meeting = match round {
            0 => start(&node, "m", &["probe"]).await,
            _ => node.resume_meeting(&id("m")).await.unwrap(),
        };
        for n in 0..5 {
            meeting.publish(transcription(&format!("{round} {n}"))).await.unwrap();
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
    assert_eq!((count("rounds", "probe start"), count("rounds", "probe end")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_replaced_owner_stops_and_stores_nothing_more() {
    let store = FaultyStore::default();
    let first = node(&store, &probe_toml("")).await;
    let old = start(&first, "m", &["probe"]).await;
    publish_durable(&old, "one").await;
    let second = node(&store, &probe_toml("")).await;
    let new = second.resume_meeting(&id("m")).await.unwrap();
    let receipt = old.publish(transcription("by the old one")).await.unwrap();
    let error = receipt.durable().await.unwrap_err().to_string();
    assert_eq!(error, "meeting m is no longer run by this node: another owner has taken it over");
    assert!(old.publish(transcription("more")).await.is_err());
    assert!(first.meeting(&id("m")).is_none());
    publish_durable(&new, "two").await;
    new.end().await.unwrap();
    let stored = store.packets("m").await;
    let transcriptions = stored.iter().filter(|packet| packet.source == "transcription");
    let texts: Vec<_> = transcriptions.map(|packet| value(packet)["text"].clone()).collect();
    assert_eq!(texts, ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_finishes_a_meeting_that_was_ending() {
    let store = FaultyStore::default();
    let toml = r#"
        [[plugin]]
        name = "behind"
        kind = "probe"
        sources = { up = "front" }
        config = { events = "end", outputs = true }
        [[plugin]]
        name = "front"
        kind = "probe"
        config = { events = "end", outputs_at_end = true }
    "#;
    let first = node(&store, toml).await;
    let meeting = start(&first, "m", &["behind", "front"]).await;
    publish_durable(&meeting, "one").await;
    // The end begins and is stored while a hook is still running.
    publish_durable(&meeting, "wait 30").await;
    wait_for_event("end", "front wait 30").await;
    let ending = meeting.clone();
    let ended = tokio::spawn(async move { ending.end().await });
    while store.row("m").await.status != MeetingStatus::Ending {
        tokio::task::yield_now().await;
    }
    drop(first);
    assert!(ended.await.unwrap().is_err(), "the waiter for the end gets the error");

    let second = node(&store, toml).await;
    let meeting = second.resume_meeting(&id("m")).await.unwrap();
    assert!(meeting.publish(transcription("too late")).await.is_err());
    meeting.end().await.unwrap();
    for once in ["front end m 2", "behind up {\"end\":2}", "behind end m"] {
        assert_eq!(count("end", once), 1, "{once}: {:?}", events("end"));
    }
    let log = log(&store, "m").await;
    assert_eq!(log.iter().filter(|line| *line == "ending").count(), 1, "{log:?}");
    assert_eq!(log.last().unwrap(), "ended");
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_restores_instances_that_joined_and_left() {
    let store = FaultyStore::default();
    let two = "[[plugin]]\nname = \"a\"\nkind = \"probe\"\nconfig = { outputs = true }\n\
               [[plugin]]\nname = \"b\"\nkind = \"probe\"\nconfig = { outputs = true }\n";
    let first = node(&store, two).await;
    let meeting = start(&first, "m", &["a"]).await;
    publish_durable(&meeting, "one").await;
    meeting.assign_at("b", JoinAt::Start).await.unwrap();
    meeting.unassign("a").await.unwrap();
    publish_durable(&meeting, "two").await;
    first.shutdown(DEADLINE).await.unwrap();

    let second = node(&store, two).await;
    let meeting = second.resume_meeting(&id("m")).await.unwrap();
    publish_durable(&meeting, "three").await;
    meeting.assign("a").await.unwrap();
    publish_durable(&meeting, "four").await;
    meeting.end().await.unwrap();
    let counts = |name: &'static str| {
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
    assert_eq!(counts("a").await, [1, 2], "it left and rejoined with its state");
    assert_eq!(counts("b").await, [1, 2, 3, 4], "it joined at the start");
}

/// The state of the first version.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct First {
    words: Vec<String>,
}

/// The state of a version with a new field.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct WithNewField {
    words: Vec<String>,
    #[serde(default)]
    letters: usize,
}

/// The state of a version in which a field has another type.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct WithChangedField {
    words: u64,
}

trait ChatState: Clone + Default + Serialize + for<'a> Deserialize<'a> + Send + Sync + 'static {
    fn add(&mut self, text: &str) -> usize;
}

impl ChatState for First {
    fn add(&mut self, text: &str) -> usize {
        self.words.push(text.to_owned());
        self.words.len()
    }
}

impl ChatState for WithNewField {
    fn add(&mut self, text: &str) -> usize {
        self.letters += text.len();
        self.words.push(text.to_owned());
        self.words.len() * 100 + self.letters
    }
}

impl ChatState for WithChangedField {
    fn add(&mut self, _: &str) -> usize {
        self.words += 1;
        0
    }
}

/// Keeps chat messages in a state of one of these types.
struct Memory<S>(std::marker::PhantomData<S>);

impl<S: ChatState> InCallPlugin for Memory<S> {
    type Config = ();
    type State = S;
    type Scratch = ();
    type Output = Json<usize>;
    const KIND: &'static str = "memory";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self(std::marker::PhantomData))
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Chat>>("chat")
    }
}

impl<S: ChatState> Receive<Json<Chat>> for Memory<S> {
    async fn receive(&self, chat: Json<Chat>, cx: &mut Cx<'_, Self>) -> Result<Option<Json<usize>>, Error> {
        Ok(Some(Json(cx.state_mut().add(&chat.0.text))))
    }
}

async fn memory_node<S: ChatState>(store: &FaultyStore) -> Node {
    Node::builder(Config::default())
        .plugin(Factory::of::<Memory<S>>("memory"))
        .store(Arc::new(store.clone()))
        .plugin_runtime(tokio::runtime::Handle::current())
        .start()
        .await
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_state_of_another_version_is_read_or_suspends_its_instance() {
    let store = FaultyStore::default();
    let node = memory_node::<First>(&store).await;
    let meeting = start(&node, "m", &["memory"]).await;
    meeting.publish(chat("abc")).await.unwrap();
    outputs(&meeting, 1).await;
    node.shutdown(DEADLINE).await.unwrap();

    let node = memory_node::<WithNewField>(&store).await;
    let meeting = node.resume_meeting(&id("m")).await.unwrap();
    meeting.publish(chat("de")).await.unwrap();
    assert_eq!(outputs(&meeting, 2).await[1].0, json!(202), "the new field has its default");
    node.shutdown(DEADLINE).await.unwrap();

    let kept = store.instance("m", "memory").await.state;
    let node = memory_node::<WithChangedField>(&store).await;
    let meeting = node.resume_meeting(&id("m")).await.unwrap();
    let receipt = meeting.publish(chat("f")).await.unwrap();
    receipt.durable().await.unwrap();
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
    assert_eq!((row.status, row.state), (InstanceStatus::Suspended, kept), "the stored state is unchanged");
}

#[tokio::test(start_paused = true)]
async fn a_meeting_that_cannot_be_resumed_stays_with_its_owner() {
    let store = FaultyStore::default();
    let first = node(&store, &probe_toml("")).await;
    let error = first.resume_meeting(&id("m")).await.unwrap_err();
    assert!(matches!(error, node::Error::NoMeeting(_)), "{error}");
    let meeting = start(&first, "m", &["probe"]).await;
    let error = first.resume_meeting(&id("m")).await.unwrap_err();
    assert!(matches!(error, node::Error::Running(_)), "{error}");
    publish_durable(&meeting, "one").await;

    let other = node(&store, "[[plugin]]\nname = \"other\"\nkind = \"probe\"").await;
    let error = other.resume_meeting(&id("m")).await.unwrap_err();
    assert!(
        matches!(&error, node::Error::MissingInstance { instance, .. } if *instance == "probe"),
        "{error}"
    );
    publish_durable(&meeting, "its owner continues").await;
    meeting.end().await.unwrap();
    let error = first.resume_meeting(&id("m")).await.unwrap_err();
    assert!(matches!(error, node::Error::Ended(_)), "{error}");
    let error = meeting.assign("probe").await.unwrap_err();
    assert!(matches!(error, meeting::Error::Ended(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_meeting_without_a_stored_commit_starts_from_the_beginning() {
    let store = FaultyStore::default();
    let instances = vec![Name::new("probe").unwrap()];
    store
        .inner
        .create(MeetingMetadata::new(id("m")), instances, Seq(Sequencer::BLOCK), Timestamp::UNIX_EPOCH)
        .await
        .unwrap();
    let other = node(&store, "[[plugin]]\nname = \"other\"\nkind = \"probe\"").await;
    let error = other.resume_meeting(&id("m")).await.unwrap_err();
    assert!(matches!(error, node::Error::MissingInstance { .. }), "{error}");

    let node = node(&store, &probe_toml("")).await;
    let meeting = node.resume_meeting(&id("m")).await.unwrap();
    publish_durable(&meeting, "one").await;
    meeting.end().await.unwrap();
    assert_eq!(all_outputs(&meeting).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_resumed_meeting_catches_up_without_new_packets() {
    let store = FaultyStore::default();
    let first = node(&store, &probe_toml("catch up")).await;
    let meeting = start(&first, "m", &["probe"]).await;
    // The hook ends between two ticks.
    for text in ["wait-ms 29500", "two", "three"] {
        publish_durable(&meeting, text).await;
    }
    drop(first);

    let second = node(&store, &probe_toml("catch up")).await;
    let meeting = second.resume_meeting(&id("m")).await.unwrap();
    let last = store.packets("m").await.last().unwrap().seq;
    meeting.caught_up().await.unwrap();
    let outputs: Vec<_> = store.packets("m").await.into_iter().filter(|packet| packet.seq > last).collect();
    let of: Vec<_> = outputs.iter().map(|packet| packet.causes[0]).collect();
    assert_eq!(of, [Seq(2), Seq(3), Seq(4)]);
    let row = store.instance("m", "probe").await;
    assert!(row.cursor >= outputs[2].seq, "the cursor is stored without waiting for other changes");
    // A reader that resumes gets the packets after its seq.
    let rest: Vec<_> = meeting.outputs_after(outputs[0].seq).take(2).map(Result::unwrap).collect().await;
    assert_eq!(rest, outputs[1..]);
    meeting.caught_up().await.unwrap();

    // Once the end has begun, `caught_up` waits for the end.
    let (ended, caught_up) = tokio::join!(meeting.end(), meeting.caught_up());
    ended.unwrap();
    caught_up.unwrap();
    assert_eq!(store.row("m").await.status, MeetingStatus::Ended);
    let error = meeting.caught_up().await.unwrap_err();
    assert!(matches!(error, meeting::Error::Ended(_)), "{error}");
}

/// Takes five seconds for its end.
struct SlowEnd;

impl InCallPlugin for SlowEnd {
    type Config = ();
    type State = u64;
    type Scratch = ();
    type Output = Json<u64>;
    const KIND: &'static str = "slow-end";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks
    }

    async fn on_meeting_end(&self, cx: &mut Cx<'_, Self>) -> Result<Option<Json<u64>>, Error> {
        tokio::time::sleep(Duration::from_secs(5)).await;
        *cx.state_mut() += 1;
        Ok(Some(Json(*cx.state())))
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_dies_while_an_instance_ends_leaves_the_end_to_the_next() {
    let store = FaultyStore::default();
    let node = async || {
        let builder = Node::builder(Config::from_toml("[database]\nurl = \"mem://\"").unwrap());
        let builder = builder.plugin(Factory::of::<SlowEnd>("slow-end")).store(Arc::new(store.clone()));
        builder.plugin_runtime(tokio::runtime::Handle::current()).start().await.unwrap()
    };
    let first = node().await;
    let meeting = start(&first, "m", &["slow-end"]).await;
    let ending = meeting.clone();
    tokio::spawn(async move { ending.end().await });
    // The instance has seen all packets, and what is stored says so; its end is not done.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let [row] = store.inner.instances(id("m")).await.unwrap().try_into().unwrap();
    assert_eq!(row.status, InstanceStatus::Active);

    let second = node().await;
    let meeting = second.resume_meeting(&id("m")).await.unwrap();
    meeting.end().await.unwrap();
    let [row] = store.inner.instances(id("m")).await.unwrap().try_into().unwrap();
    assert_eq!((row.status, row.state.as_deref()), (InstanceStatus::Finished, Some("1")));
    assert_eq!(all_outputs(&meeting).await.len(), 1, "the end's output is stored");
}
