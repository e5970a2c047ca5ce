//! Fifty meetings in one process, with a chain of two plugins that keep keys and read history, and one whose
//! state changes with each audio frame.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use teammy::{
    Bytes, Cx, Factory, History, Hooks, InCallPlugin, Json, MeetingId, MeetingMetadata, Node, Payload,
    Publish, Receive, StartupCx, config::Config, meeting, node, plugin::Error,
};

use super::{Contents, End, Kill, KillPoint, PACED, contents, kills, random, recordings, run};
use crate::{Place, payload, read};

const MEETINGS: usize = 50;
/// How many packets of each recording are played.
const PACKETS: usize = 16;
/// How many audio frames come before each packet.
const FRAMES: u32 = 4;

/// Keeps a digest of all its packets, in its state and as a key, and puts it out together with the digest
/// before it. A packet that is lost, repeated or out of order changes all later digests.
struct Ledger;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Seen {
    count: u64,
    digest: u64,
}

impl InCallPlugin for Ledger {
    type Config = ();
    type State = Seen;
    type Scratch = ();
    type Output = Json<Value>;
    const KIND: &'static str = "ledger";
    const VERSION: &'static str = "1";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Value>>("transcription")
    }

    async fn on_meeting_end(&self, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Value>>, Error> {
        Ok(Some(Json(json!({"seen": cx.state()}))))
    }
}

impl Receive<Json<Value>> for Ledger {
    async fn receive(&self, said: Json<Value>, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Value>>, Error> {
        let text = said.0.to_string();
        let state = cx.state_mut();
        state.count += 1;
        state.digest = text.bytes().fold(state.digest, |digest, byte| {
            digest.wrapping_mul(0x0000_0100_0000_01b3).wrapping_add(u64::from(byte) + 1)
        });
        let (count, digest) = (state.count, state.digest);
        let store = cx.engine().datastore();
        store.set("newest", &digest)?;
        store.set(&format!("seen/{}", count % 5), &count)?;
        let own = store.stream_history(History::of(cx.instance())?.last(1)).await?;
        let before = own.last().map(|packet| match &packet.payload {
            Payload::Json(before) => serde_json::from_str::<Value>(before).unwrap()["digest"].clone(),
            other => panic!("{other:?}"),
        });
        Ok(count.is_multiple_of(2).then(|| Json(json!({"count": count, "digest": digest, "before": before}))))
    }
}

/// Counts audio frames in its state and as a key: effects of volatile packets, which wait for a checkpoint. It
/// counts durable packets in the same state, and puts out every second count.
struct Meter;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Heard {
    frames: u64,
    said: u64,
}

impl InCallPlugin for Meter {
    type Config = ();
    type State = Heard;
    type Scratch = ();
    type Output = Json<Value>;
    const KIND: &'static str = "meter";
    const VERSION: &'static str = "1";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Bytes>("audio").on::<Json<Value>>("transcription")
    }
}

impl Receive<Bytes> for Meter {
    async fn receive(&self, _: Bytes, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Value>>, Error> {
        cx.state_mut().frames += 1;
        let frames = cx.state().frames;
        cx.engine().datastore().set("frames", &frames)?;
        Ok(None)
    }
}

impl Receive<Json<Value>> for Meter {
    async fn receive(&self, _: Json<Value>, cx: &mut Cx<'_, Self>) -> Result<Option<Json<Value>>, Error> {
        cx.state_mut().said += 1;
        let said = cx.state().said;
        Ok(said.is_multiple_of(2).then(|| Json(json!({"said": said}))))
    }
}

const SETTINGS: &str = r#"
    [[plugin]]
    name = "first"
    kind = "ledger"
    [[plugin]]
    name = "second"
    kind = "ledger"
    sources = { transcription = "first" }
    [[plugin]]
    name = "meter"
    checkpoint_interval = "100ms"
"#;

/// The process: plays all recordings of a folder at once, each into a meeting of its own, and resumes
/// meetings that were cut off.
#[tokio::main]
async fn host(folder: &Path, database: &str, pause: Duration) {
    let config = Config::from_toml(&format!("database.url = {database:?}\n{SETTINGS}")).unwrap();
    let node = Node::builder(config)
        .plugin(Factory::of::<Ledger>("ledger"))
        .plugin(Factory::of::<Meter>("meter"))
        .start()
        .await
        .unwrap();
    let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    futures::future::join_all(files.iter().map(|file| play(&node, file, pause))).await;
    node.shutdown(Duration::from_secs(30)).await.unwrap();
}

async fn play(node: &Node, file: &Path, pause: Duration) {
    const PRODUCER: &str = "recorder";
    let id = MeetingId::new(file.file_stem().unwrap().to_str().unwrap()).unwrap();
    let meeting =
        match node.start_meeting(MeetingMetadata::new(id.clone()), ["first", "second", "meter"]).await {
            Ok(meeting) => meeting,
            Err(node::Error::MeetingExists(_)) => match node.resume_meeting(&id).await {
                Ok(meeting) => meeting,
                Err(node::Error::Ended(_)) => return,
                Err(error) => panic!("{error}"),
            },
            Err(error) => panic!("{error}"),
        };
    let done = meeting.expects(PRODUCER).await.unwrap() - 1;
    for (number, packet) in (1..).zip(read(file)).skip(usize::try_from(done).unwrap()) {
        for _ in 0..FRAMES {
            tokio::time::sleep(pause / FRAMES).await;
            meeting.publish(Publish::bytes("audio", vec![7; 640]).unwrap()).await.unwrap();
        }
        let said = Publish::json("transcription", payload(&packet)).unwrap();
        let said = said.timestamp(packet["timestamp"].as_str().unwrap().parse().unwrap());
        meeting.publish(said.numbered(PRODUCER, number)).await.unwrap();
    }
    match meeting.end().await {
        // Its end had begun when the process died, and was over before this.
        Ok(()) | Err(meeting::Error::Ended(_)) => {}
        Err(error) => panic!("{error}"),
    }
}

/// Not a test of its own: the process that the test below kills. It is this test program, with its task in a
/// variable.
#[test]
fn the_process_that_is_killed() {
    let Ok(what) = std::env::var("CRASH_HOST") else { return };
    let (database, pause) = what.split_once(' ').unwrap();
    host(Path::new("recordings"), database, Duration::from_millis(pause.parse().unwrap()));
}

struct Many {
    place: Place,
    meetings: Vec<String>,
}

impl Many {
    fn new() -> Self {
        let place = Place::new();
        fs::create_dir(place.path().join("recordings")).unwrap();
        let said = recordings().into_iter().map(|file| {
            let lines: Vec<_> = fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect();
            lines
                .into_iter()
                .filter(|line| line.contains("\"transcription\""))
                .take(PACKETS)
                .collect::<Vec<_>>()
        });
        let said: Vec<_> = said.collect();
        let mut meetings = Vec::new();
        for (index, lines) in (0..MEETINGS).zip(said.iter().cycle()) {
            let id = format!("meeting {index}");
            fs::write(place.path().join(format!("recordings/{id}.jsonl")), lines.join("\n")).unwrap();
            meetings.push(id);
        }
        Self { place, meetings }
    }

    fn host(&self, database: &str, pause: Duration) -> Command {
        let mut command = self.place.command(std::env::current_exe().unwrap());
        let name = concat!(module_path!(), "::the_process_that_is_killed");
        let name = name.split_once("::").unwrap().1;
        command.args(["--exact", name, "--nocapture"]);
        command.env("CRASH_HOST", format!("surrealkv://{database} {}", pause.as_millis()));
        command
    }

    fn contents(&self, database: &str) -> Vec<Contents> {
        contents(&self.place.path().join(database), &self.meetings)
    }
}

/// Checks that the meter counted each durable packet once, and that its state and its key are of the same frame:
/// frames may be lost, but not one without the other. Removes both, because the number of frames differs.
fn check_meter(contents: &mut Contents) {
    let (state, keys) = contents.take_memory("meter");
    let said = contents.count("transcription");
    assert_eq!(state["said"], json!(said), "each durable packet is counted once");
    assert_eq!(keys.get("frames").unwrap_or(&json!(0)), &state["frames"], "{state} with {keys:?}");
}

#[test]
fn fifty_meetings_of_one_process_lose_and_double_nothing() {
    let many = Many::new();
    let mut random = random();
    assert_eq!(run(&mut many.host("whole", Duration::ZERO), Kill::Never), End::Done);
    let mut undisturbed = many.contents("whole");
    for contents in &mut undisturbed {
        check_meter(contents);
        assert!(contents.count("first") > 1 && contents.count("second") > 1);
    }

    let pause = PACED / u32::try_from(PACKETS).unwrap();
    let (mut killed, wanted) = (0, kills() / 2);
    while killed < wanted {
        loop {
            let kill = match random.u32(0..3) {
                0 => Kill::At(random.choice(KillPoint::ALL).unwrap(), random.u32(1..500)),
                _ => Kill::After(PACED.mul_f64(2.0 * random.f64())),
            };
            match run(&mut many.host("db", pause), kill) {
                End::Killed => killed += 1,
                End::Done => break,
            }
        }
        println!("{killed} kills so far");
        for (contents, undisturbed) in many.contents("db").iter_mut().zip(&undisturbed) {
            check_meter(contents);
            contents.assert_is(undisturbed);
        }
        fs::remove_dir_all(many.place.path().join("db")).unwrap();
    }
}
