//! Ticks and wakes: by the meeting's clock, the same at any speed, and once whatever happens.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use teammy_config::Config;
use teammy_kernel::{
    Batch, Cx, Error, Factory, Hooks, InCallPlugin, Json, MeetingMetadata, Publish, Receive, StartupCx, Tick,
    Timestamp, Wake,
    store::{InstanceStatus, MeetingStatus},
};
use teammy_runtime::{MeetingRef, Node};

use super::support::{FaultyStore, Message, id};

/// Does what messages say: `wake MILLIS KEY`, `cancel KEY`, or nothing. It puts out what comes, and when.
struct Reminder;

impl InCallPlugin for Reminder {
    type Config = ();
    type State = u64;
    type Scratch = ();
    type Output = String;
    const KIND: &'static str = "reminder";
    const VERSION: &'static str = "1";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks
            .on::<Json<Message>>("transcription")
            .on_batch::<Json<Message>>("chat", 8)
            .every(Duration::from_secs(5))
            .on_wake()
    }

    async fn on_meeting_end(&self, _: &mut Cx<'_, Self>) -> Result<Option<String>, Error> {
        Ok(Some("end".to_owned()))
    }
}

fn obey(text: &str, at: Timestamp, cx: &mut Cx<'_, Reminder>) -> Result<(), Error> {
    match text.split(' ').collect::<Vec<_>>()[..] {
        ["wake", millis, key] => cx.wake_at(at + Duration::from_millis(millis.parse()?), key)?,
        ["cancel", key] => cx.cancel(key)?,
        _ => {}
    }
    Ok(())
}

impl Receive<Json<Message>> for Reminder {
    async fn receive(
        &self,
        Json(said): Json<Message>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<String>, Error> {
        let at = cx.packet().timestamp;
        obey(&said.text, at, cx)?;
        Ok(Some(format!("said {}", said.text)))
    }
}

impl Receive<Batch<Json<Message>>> for Reminder {
    async fn receive(
        &self,
        said: Batch<Json<Message>>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<String>, Error> {
        for (index, Json(said)) in said.into_iter().enumerate() {
            let at = cx.packets()[index].timestamp;
            obey(&said.text, at, cx)?;
            // One output for each, with its own time: it does not show how packets were batched.
            cx.emit(format!("wrote {} at {at}", said.text));
        }
        Ok(None)
    }
}

impl Receive<Tick> for Reminder {
    async fn receive(&self, _: Tick, cx: &mut Cx<'_, Self>) -> Result<Option<String>, Error> {
        *cx.state_mut() += 1;
        Ok(Some(format!("tick {}", cx.state())))
    }
}

impl Receive<Wake> for Reminder {
    async fn receive(&self, wake: Wake, cx: &mut Cx<'_, Self>) -> Result<Option<String>, Error> {
        match wake.key.as_str() {
            "err" => Err(Error::retry("as asked")),
            "panic" => panic!("as asked"),
            "again" if cx.packet().timestamp < at(9_000) => {
                cx.wake_at(wake.at + Duration::from_millis(700), "again")?;
                Ok(Some("again".to_owned()))
            }
            key => Ok(Some(format!("wake {key}"))),
        }
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_767_603_600_000 + millis).unwrap()
}

fn message(source: &str, text: &str, millis: i64) -> Publish {
    Publish::json(source, &serde_json::json!({"text": text})).unwrap().timestamp(at(millis))
}

async fn node(store: &FaultyStore) -> Node {
    let config = Config::from_toml("[[plugin]]\nname = \"reminder\"\n").unwrap();
    Node::builder(config)
        .plugin(Factory::of::<Reminder>("reminder"))
        .store(Arc::new(store.clone()))
        .plugin_runtime(tokio::runtime::Handle::current())
        .start()
        .await
        .unwrap()
}

async fn start(node: &Node) -> MeetingRef {
    let metadata = MeetingMetadata::new(id("m")).started_at(at(0));
    node.start_meeting(metadata, ["reminder"]).await.unwrap()
}

/// What the instance has put out: each text, and its time in milliseconds.
async fn made(store: &FaultyStore) -> Vec<(String, i64)> {
    let packets = store.packets("m").await;
    let outputs = packets.iter().filter(|packet| packet.source == *"reminder");
    let made = outputs.map(|packet| {
        let millis = packet.timestamp.duration_since(at(0)).as_millis();
        let text = packet.payload.as_text().unwrap().to_owned();
        // The output of a batch has the time of its last packet.
        let millis = if text.starts_with("wrote") { 0 } else { i64::try_from(millis).unwrap() };
        (text, millis)
    });
    made.collect()
}

fn expected(made: &[(&str, i64)]) -> Vec<(String, i64)> {
    made.iter().map(|(text, millis)| ((*text).to_owned(), *millis)).collect()
}

#[tokio::test(start_paused = true)]
async fn they_come_as_time_passes_and_no_later_than_the_end() {
    let store = FaultyStore::default();
    let node = node(&store).await;
    let meeting = start(&node).await;
    for said in ["wake 1500 a", "wake 1500 gone", "wake 60000 never", "cancel gone", "wake 6500 b"] {
        meeting.publish(message("transcription", said, 1_000)).await.unwrap();
    }
    meeting.caught_up().await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    meeting.caught_up().await.unwrap();
    let so_far = made(&store).await;
    assert_eq!(so_far[5..], expected(&[("wake a", 2_500), ("tick 1", 5_000)]));
    // The end carries the clock past what is due by then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    meeting.end().await.unwrap();
    let made = made(&store).await;
    assert_eq!(made[7], ("wake b".to_owned(), 7_500));
    assert_eq!((made.len(), made[8].0.as_str()), (9, "end"));
    assert!(store.packets("m").await.iter().all(|packet| packet.source != "tick" && packet.source != "wake"));
}

/// Messages of a meeting of ten seconds, with the clocks of speakers that go back a little.
fn recording(rng: &mut Rng) -> Vec<Publish> {
    let mut millis = 0;
    let packets = (0..rng.usize(5..40)).map(|_| {
        millis += rng.i64(-50..600);
        let key = rng.choice(["a", "b", "c", "again"]).unwrap();
        // A wake that a batch asks for cannot come between the packets of that batch.
        let (source, text) = match rng.u8(..8) {
            0 | 1 => ("transcription", format!("wake {} {key}", rng.u32(..2_500))),
            2 => ("transcription", format!("cancel {key}")),
            3 => ("chat", format!("cancel {key}")),
            4 | 5 => ("transcription", "hello".to_owned()),
            _ => ("chat", "hello".to_owned()),
        };
        message(source, &text, millis.max(1))
    });
    packets.collect()
}

/// Plays a recording: at this speed, or without waiting.
async fn play(recording: &[Publish], speed: Option<u32>) -> Vec<(String, i64)> {
    let store = FaultyStore::default();
    let node = node(&store).await;
    let meeting = start(&node).await;
    let mut last = at(0);
    for packet in recording {
        let next = packet.timestamp.unwrap();
        meeting.hold_clock(next).await.unwrap();
        if let (Some(speed), Ok(wait)) = (speed, Duration::try_from(next.duration_since(last))) {
            tokio::time::sleep(wait / speed).await;
        }
        last = last.max(next);
        meeting.publish(packet.clone()).await.unwrap();
    }
    meeting.hold_clock(last).await.unwrap();
    meeting.end().await.unwrap();
    made(&store).await
}

#[tokio::test(start_paused = true)]
async fn a_recording_gives_the_same_at_any_speed() {
    for seed in 0..60 {
        let recording = recording(&mut Rng::with_seed(seed));
        let slow = play(&recording, Some(1)).await;
        assert!(slow.len() > recording.len(), "{slow:?}");
        assert_eq!(play(&recording, Some(10)).await, slow, "10x, seed {seed}");
        assert_eq!(play(&recording, None).await, slow, "at full speed, seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_comes_once_wherever_the_node_dies() {
    let mut wakes = 0;
    for seed in 0..5 {
        let recording = recording(&mut Rng::with_seed(seed));
        let undisturbed = play(&recording, None).await;
        wakes += undisturbed.iter().filter(|(text, _)| text.starts_with("wake") || text == "again").count();
        die_at_each_commit(&recording, &undisturbed).await;
    }
    assert!(wakes > 10, "{wakes}");
}

/// Plays a recording on a node that dies after a number of commits, and goes on with it on another; for each number.
async fn die_at_each_commit(recording: &[Publish], undisturbed: &[(String, i64)]) {
    for commits in 0.. {
        let store = FaultyStore::default();
        store.hold_commits_after(commits);
        let first = node(&store).await;
        let meeting = start(&first).await;
        let mut published = 0;
        for packet in recording {
            meeting.hold_clock(packet.timestamp.unwrap()).await.unwrap();
            let receipt = meeting.publish(packet.clone()).await.unwrap();
            // A publisher that gets no answer publishes again, to whoever runs the meeting then.
            if tokio::time::timeout(Duration::from_secs(1), receipt.durable()).await.is_err() {
                break;
            }
            published += 1;
        }
        let is_whole = published == recording.len();
        drop((meeting, first));
        store.hold_commits_after(usize::MAX);
        let second = node(&store).await;
        let meeting = second.resume_meeting(&id("m")).await.unwrap();
        for packet in &recording[published..] {
            meeting.hold_clock(packet.timestamp.unwrap()).await.unwrap();
            meeting.publish(packet.clone()).await.unwrap();
        }
        let last = recording.iter().filter_map(|packet| packet.timestamp).max().unwrap();
        meeting.hold_clock(last).await.unwrap();
        meeting.end().await.unwrap();
        assert_eq!(made(&store).await, *undisturbed, "after {commits} commits");
        if is_whole {
            assert!(commits > recording.len(), "{commits} commits");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_wake_whose_hook_fails_is_given_up_and_the_rest_goes_on() {
    for key in ["err", "panic"] {
        let store = FaultyStore::default();
        let node = node(&store).await;
        let meeting = start(&node).await;
        meeting.publish(message("transcription", &format!("wake 100 {key}"), 1_000)).await.unwrap();
        meeting.publish(message("transcription", "wake 200 fine", 1_000)).await.unwrap();
        meeting.publish(message("transcription", "hello", 2_000)).await.unwrap();
        meeting.end().await.unwrap();
        let made = made(&store).await;
        assert_eq!(made[2..4], expected(&[("wake fine", 1_200), ("said hello", 2_000)]), "{key}");
        let stats = meeting.stats().await.unwrap().instances.remove(0);
        assert_eq!((stats.errors, stats.dead_letters), (3, 1), "{key}");
        assert!(meeting.dead_letters().await.unwrap().is_empty(), "a wake is in no log");
        assert_eq!(store.instance("m", "reminder").await.status, InstanceStatus::Finished);
        assert_eq!(store.row("m").await.status, MeetingStatus::Ended);
    }
}
