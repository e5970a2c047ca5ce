//! Replays with plugins of the test's own, which run in this process.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use clap::Parser;
use indicatif::MultiProgress;
use teammy::{
    Batch, Cx, DeliveryPolicy, FromPacket, Hooks, InCallPlugin, Json, Receive, StartupCx, Tick, Wake,
    data::{AudioFrame, Chat},
    graph::Bundle,
    plugin,
    store::MemoryStore,
};

use super::*;
use crate::cli::output::Form;

/// What an instance heard.
#[derive(Default)]
struct Ears {
    heard: Mutex<Vec<Arc<DataPacket>>>,
    /// How many packets it lost.
    lost: Mutex<u64>,
}

/// Hears audio, more slowly than a replay plays it.
struct Listener(Arc<Ears>);

impl InCallPlugin for Listener {
    type Config = ();
    type State = ();
    type Scratch = ();
    type Output = std::convert::Infallible;
    const KIND: &'static str = "listener";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): (), cx: &StartupCx) -> Result<Self, plugin::Error> {
        Ok(Self(Arc::clone(&*cx.resource::<Arc<Ears>>()?)))
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on_batch::<Arc<DataPacket>>("audio", 256)
    }
}

impl Receive<Batch<Arc<DataPacket>>> for Listener {
    async fn receive(
        &self,
        packets: Batch<Arc<DataPacket>>,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<std::convert::Infallible>, plugin::Error> {
        self.0.heard.lock().unwrap().extend(packets.iter().cloned());
        *self.0.lost.lock().unwrap() += cx.gap();
        if packets.iter().any(|packet| packet.timestamp.as_second() % 2 == 0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(None)
    }
}

/// Chooses a policy itself.
struct Chooser;

impl InCallPlugin for Chooser {
    type Config = ();
    type State = ();
    type Scratch = ();
    type Output = std::convert::Infallible;
    const KIND: &'static str = "chooser";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, plugin::Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<AudioFrame>("audio").policy(DeliveryPolicy::DropOldest).on::<Json<Chat>>("chat")
    }
}

impl Receive<AudioFrame> for Chooser {
    async fn receive(
        &self,
        _: AudioFrame,
        _: &mut Cx<'_, Self>,
    ) -> Result<Option<std::convert::Infallible>, plugin::Error> {
        Ok(None)
    }
}

impl Receive<Json<Chat>> for Chooser {
    async fn receive(
        &self,
        _: Json<Chat>,
        _: &mut Cx<'_, Self>,
    ) -> Result<Option<std::convert::Infallible>, plugin::Error> {
        Ok(None)
    }
}

/// Panics at each packet.
struct Panicking;

impl InCallPlugin for Panicking {
    type Config = ();
    type State = ();
    type Scratch = ();
    type Output = std::convert::Infallible;
    const KIND: &'static str = "panicking";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, plugin::Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<Json<Chat>>("chat")
    }
}

impl Receive<Json<Chat>> for Panicking {
    async fn receive(
        &self,
        _: Json<Chat>,
        _: &mut Cx<'_, Self>,
    ) -> Result<Option<std::convert::Infallible>, plugin::Error> {
        panic!("the test wants this")
    }
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// Runs the command in memory, with these plugins.
fn replay(
    arguments: &[&str],
    config: &str,
    plugins: impl Into<Bundle>,
    ears: &Arc<Ears>,
) -> Result<(), Error> {
    let ears = ears.clone();
    replay_on(arguments, config, plugins, move |builder| builder.resource(ears.clone()))
}

/// Runs the command with these plugins, on a node that is prepared so.
fn replay_on(
    arguments: &[&str],
    config: &str,
    plugins: impl Into<Bundle>,
    prepare: impl Fn(Builder) -> Builder + Send + Sync + 'static,
) -> Result<(), Error> {
    let line = Line::parse_from([&["replay"], arguments].concat());
    let mut plugins = PluginSet::from(plugins.into());
    plugins.prepare = Box::new(prepare);
    let config = format!("database.url = \"mem://\"\nnode.socket = \"off\"\n{config}");
    let config = Config::from_toml(&config).unwrap();
    run(&line.args, &plugins, config, &Output::new(Form::Text, MultiProgress::new()))
}

/// Less memory than a second of sound needs.
const SMALL: &str = "limits.packet_bytes = \"4KiB\"\n[delivery]\ntail_bytes = \"64KiB\"\nblock_bytes = \"16KiB\"\nbacklog_bytes = \"64KiB\"\n";

const START: &str = "2026-01-05T09:00:00Z";

/// Checks that each frame came once, in order: the samples count, and the times are 20 ms apart.
fn are_all_there(ears: &Ears, seconds: usize, rate: usize) {
    let heard = ears.heard.lock().unwrap();
    assert_eq!((heard.len(), *ears.lost.lock().unwrap()), (seconds * 50, 0));
    let start: Timestamp = START.parse().unwrap();
    let mut sample = 0_u16;
    for (index, packet) in (0..).zip(heard.iter()) {
        assert_eq!(packet.timestamp, start + Duration::from_millis(20 * index));
        let frame = AudioFrame::from_packet(packet).unwrap();
        assert_eq!(frame.samples.len(), rate / 50 * 2);
        for bytes in frame.samples.chunks_exact(2) {
            assert_eq!(bytes, sample.to_le_bytes(), "frame {index}");
            sample = sample.wrapping_add(1);
        }
    }
}

/// A recording of one packet of source `chat`.
fn chat(payload: &str) -> String {
    format!("{{\"source\":\"chat\",\"timestamp\":\"{START}\",\"payload\":{payload}}}\n")
}

/// A sample that counts.
fn low_bytes(sample: u64) -> [u8; 2] {
    let [low, high, ..] = sample.to_le_bytes();
    [low, high]
}

/// A WAV file whose samples count.
fn counting_wave(path: &Path, seconds: u64, rate: u32) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for sample in 0..seconds * u64::from(rate) {
        writer.write_sample(i16::from_le_bytes(low_bytes(sample))).unwrap();
    }
    writer.finalize().unwrap();
}

#[test]
fn a_quarter_of_an_hour_of_sound_is_heard_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call.wav");
    counting_wave(&path, 900, 8000);
    let ears = Arc::default();
    let arguments = [path.to_str().unwrap(), "--started-at", START, "--participant", "Ada"];
    replay(&arguments, SMALL, [Factory::of::<Listener>("listener")], &ears).unwrap();
    are_all_there(&ears, 900, 8000);
    assert!(ears.heard.lock().unwrap().iter().all(|packet| packet.participant.as_deref() == Some("Ada")));
}

#[test]
fn audio_in_json_lines_is_heard_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call.jsonl");
    let start: Timestamp = START.parse().unwrap();
    let mut lines = String::new();
    for frame in 0..500_u64 {
        let samples: Vec<u8> = (0..160).flat_map(|n| low_bytes(frame * 160 + n)).collect();
        let frame_of = AudioFrame { sample_rate: 8000, channels: 1, samples: samples.into() };
        let packet = Publish::audio(frame_of).timestamp(start + Duration::from_millis(20 * frame));
        lines += &serde_json::to_string(&packet).unwrap();
        lines.push('\n');
    }
    fs::write(&path, lines).unwrap();
    let ears = Arc::default();
    replay(&[path.to_str().unwrap()], SMALL, [Factory::of::<Listener>("listener")], &ears).unwrap();
    are_all_there(&ears, 10, 8000);
}

#[test]
fn an_instance_that_only_the_builder_knows_hears_all_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call.wav");
    counting_wave(&path, 20, 8000);
    let ears: Arc<Ears> = Arc::default();
    let given = ears.clone();
    let prepared = Arc::new(Mutex::new(0));
    let count = prepared.clone();
    let prepare = move |builder: Builder| {
        *count.lock().unwrap() += 1;
        builder.plugin(Factory::of::<Listener>("listener")).resource(given.clone())
    };
    let config = format!("plugin = []\n{SMALL}");
    replay_on(&[path.to_str().unwrap(), "--started-at", START], &config, Bundle::default(), prepare).unwrap();
    are_all_there(&ears, 20, 8000);
    assert_eq!(*prepared.lock().unwrap(), 1, "a program prepares each node once");
}

/// Puts out the index of each hundredth frame, and the number of frames at the end.
struct Counter;

impl InCallPlugin for Counter {
    type Config = ();
    type State = u64;
    type Scratch = ();
    type Output = Json<u64>;
    const KIND: &'static str = "counter";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, plugin::Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<AudioFrame>("audio")
    }

    async fn on_meeting_end(&self, cx: &mut Cx<'_, Self>) -> Result<Option<Json<u64>>, plugin::Error> {
        Ok(Some(Json(*cx.state())))
    }
}

impl Receive<AudioFrame> for Counter {
    async fn receive(
        &self,
        _: AudioFrame,
        cx: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<u64>>, plugin::Error> {
        *cx.state_mut() += 1;
        Ok(Some(Json(*cx.state())).filter(|Json(count)| count.is_multiple_of(100)))
    }
}

#[test]
fn outputs_of_sound_are_compared_with_their_causes() {
    let folder = tempfile::tempdir().unwrap();
    let (path, golden) = (folder.path().join("call.wav"), folder.path().join("golden.jsonl"));
    counting_wave(&path, 5, 8000);
    let compare = |options: &[&str]| {
        let arguments = [path.to_str().unwrap(), "--started-at", START, "--expect", golden.to_str().unwrap()];
        let plugins = [Factory::of::<Counter>("counter")];
        replay(&[&arguments, options].concat(), "", plugins, &Arc::default())
    };
    compare(&["--update"]).unwrap();
    let written = fs::read_to_string(&golden).unwrap();
    let ends: Vec<_> = written.lines().map(|line| &line[line.find("\"payload\"").unwrap()..]).collect();
    assert_eq!(
        ends,
        [
            r#""payload":100,"causes":[100]}"#,
            r#""payload":200,"causes":[200]}"#,
            r#""payload":250,"causes":[]}"#
        ]
    );
    assert!(written.contains(r#""timestamp":"2026-01-05T09:00:01.98Z""#), "{written}");
    compare(&[]).unwrap();
    assert!(matches!(compare(&["--limit", "249"]), Err(Error::Different(_))));
}

/// A resumed meeting whose end had begun ends by itself, maybe before the replay has passed over its packets.
#[tokio::test]
async fn a_meeting_that_has_ended_with_all_packets_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.jsonl");
    fs::write(&path, chat("{\"text\":\"Hello.\"}")).unwrap();
    let args = Line::parse_from([Path::new("replay"), &path]).args;
    let config = Config::from_toml("database.url = \"mem://\"\nplugin = []").unwrap();
    let packet_bytes = config.limits.packet_bytes;
    let node = Node::builder(config).start().await.unwrap();
    let rules = Rules { graph: node.graph().clone(), packet_bytes };
    let options = Options {
        limit: None,
        on_broken: OnBroken::Stop,
        encoding: None,
        started_at: None,
        participants: Vec::new(),
    };
    let replay = Replay {
        args: &args,
        id: MeetingId::new("m").unwrap(),
        instances: Vec::new(),
        recording: Recording::check(&path, rules, options).unwrap(),
        golden: None,
        output: &Output::new(Form::Text, MultiProgress::new()),
    };
    let meeting = node.start_meeting(MeetingMetadata::new(replay.id.clone()), [""; 0]).await.unwrap();
    let producer: Arc<str> = replay.recording.producer().unwrap().into();
    let bar = ProgressBar::hidden();
    replay.publish(&node, &meeting, &producer, 0, &bar).await.unwrap();
    replay.publish(&node, &meeting, &producer, 1, &bar).await.unwrap();
    let missing = replay.publish(&node, &meeting, &"another".into(), 0, &bar).await.unwrap_err();
    assert!(matches!(missing, Error::Publish { .. }), "{missing}");
}

#[test]
fn a_meeting_of_sound_is_not_continued() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call.wav");
    counting_wave(&path, 1, 8000);
    let store: Arc<MemoryStore> = Arc::default();
    let play = || {
        let store = store.clone();
        let plugins = [Factory::of::<Counter>("counter")];
        replay_on(&[path.to_str().unwrap()], "", plugins, move |builder| builder.store(store.clone()))
    };
    play().unwrap();
    let again = play().unwrap_err();
    assert!(matches!(again, Error::Node(teammy::node::Error::MeetingExists(_))), "{again}");
}

/// Gives up each packet.
struct Rejecting;

impl InCallPlugin for Rejecting {
    type Config = ();
    type State = ();
    type Scratch = ();
    type Output = std::convert::Infallible;
    const KIND: &'static str = "rejecting";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, plugin::Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        hooks.on::<AudioFrame>("audio").on::<Json<Chat>>("chat")
    }
}

impl Receive<AudioFrame> for Rejecting {
    async fn receive(
        &self,
        _: AudioFrame,
        _: &mut Cx<'_, Self>,
    ) -> Result<Option<std::convert::Infallible>, plugin::Error> {
        Err(plugin::Error::reject("the test wants this"))
    }
}

impl Receive<Json<Chat>> for Rejecting {
    async fn receive(
        &self,
        _: Json<Chat>,
        _: &mut Cx<'_, Self>,
    ) -> Result<Option<std::convert::Infallible>, plugin::Error> {
        Err(plugin::Error::reject("the test wants this"))
    }
}

#[test]
fn packets_that_leave_no_dead_letter_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call.wav");
    counting_wave(&path, 1, 8000);
    let plugins = [Factory::of::<Rejecting>("rejecting")];
    let error = replay(&[path.to_str().unwrap()], "", plugins, &Arc::default()).unwrap_err();
    assert_eq!(error.to_string(), "instances failed in meeting call: rejecting gave up 50 packets");
}

#[test]
fn a_complete_meeting_fails_as_long_as_it_has_dead_letters() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call.jsonl");
    fs::write(&path, chat("1")).unwrap();
    let store: Arc<MemoryStore> = Arc::default();
    let play = |options: &[&str]| {
        let store = store.clone();
        let plugins = [Factory::of::<Rejecting>("rejecting")];
        let arguments = [&[path.to_str().unwrap()], options].concat();
        replay_on(&arguments, "", plugins, move |builder| builder.store(store.clone()))
    };
    for _ in 0..2 {
        let error = play(&[]).unwrap_err();
        assert_eq!(error.to_string(), "instances failed in meeting call: rejecting gave up 1 packet");
    }
    play(&["--allow-failures"]).unwrap();
}

#[test]
fn a_suspended_instance_fails_the_replay() {
    const ONCE: &str = "restart.intensity = 0\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call.jsonl");
    fs::write(&path, chat(r#"{"text":"boo"}"#)).unwrap();
    let file = path.to_str().unwrap();
    let plugins = || [Factory::of::<Panicking>("panicking")];
    let error = replay(&[file], ONCE, plugins(), &Arc::default()).unwrap_err();
    let says = "instances failed in meeting call: panicking is suspended";
    assert_eq!(error.to_string(), says);
    replay(&[file, "--allow-failures"], ONCE, plugins(), &Arc::default()).unwrap();
}

#[test]
fn a_chosen_policy_stays() {
    let policies = |toml: &str| {
        let config = Config::from_toml(toml).unwrap();
        let plugins = || [Factory::of::<Listener>("listener"), Factory::of::<Chooser>("chooser")];
        let graph = |config: &Config| Node::builder(config.clone()).plugins(plugins()).check().unwrap();
        let before = graph(&config);
        let after = graph(&lossless::waiting(&before, config));
        let names: Vec<_> = before.instances().map(|it| it.name.clone()).collect();
        assert_eq!(names, after.instances().map(|it| it.name.clone()).collect::<Vec<_>>());
        let policies = after.instances().flat_map(|it| {
            it.policies.iter().map(|(source, policy)| format!("{} {source} {policy}", it.name))
        });
        policies.collect::<Vec<_>>()
    };
    let without = policies("");
    assert_eq!(without, ["listener audio block", "chooser audio drop-oldest", "chooser chat spill"]);
    let toml = "[[source]]\nname = \"sound\"\ndurable = false\n[[plugin]]\nname = \"a\"\nkind = \"listener\"\n\
                sources = { audio = \"sound\" }\n[[plugin]]\nname = \"b\"\nkind = \"listener\"\n\
                delivery = { audio = \"drop-oldest\" }\n[[plugin]]\nname = \"c\"\nkind = \"chooser\"\n\
                delivery = { audio = \"block\" }\n";
    assert_eq!(policies(toml), ["a sound block", "b audio drop-oldest", "c audio block", "c chat spill"]);
}

/// Repeats what is in the chat, and has a timer or none.
struct Echo<const TICKS: bool, const WAKES: bool>;

impl<const TICKS: bool, const WAKES: bool> InCallPlugin for Echo<TICKS, WAKES> {
    type Config = ();
    type State = ();
    type Scratch = ();
    type Output = Json<Chat>;
    const KIND: &'static str = match (TICKS, WAKES) {
        (false, false) => "echo",
        (true, false) => "ticking",
        (false, true) => "waking",
        (true, true) => "timed",
    };
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, plugin::Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        let hooks = hooks.on::<Json<Chat>>("chat");
        let hooks = if TICKS { hooks.every(Duration::from_secs(1)) } else { hooks };
        if WAKES { hooks.on_wake() } else { hooks }
    }
}

impl<const TICKS: bool, const WAKES: bool> Receive<Json<Chat>> for Echo<TICKS, WAKES> {
    async fn receive(
        &self,
        chat: Json<Chat>,
        _: &mut Cx<'_, Self>,
    ) -> Result<Option<Json<Chat>>, plugin::Error> {
        Ok(Some(chat))
    }
}

impl<const TICKS: bool, const WAKES: bool> Receive<Tick> for Echo<TICKS, WAKES> {
    async fn receive(&self, _: Tick, _: &mut Cx<'_, Self>) -> Result<Option<Json<Chat>>, plugin::Error> {
        Ok(None)
    }
}

impl<const TICKS: bool, const WAKES: bool> Receive<Wake> for Echo<TICKS, WAKES> {
    async fn receive(&self, _: Wake, _: &mut Cx<'_, Self>) -> Result<Option<Json<Chat>>, plugin::Error> {
        Ok(None)
    }
}

#[test]
fn outputs_beside_another_source_or_a_timer_depend_on_the_pace() {
    let depends = |kind: &str, source: &str| {
        let toml = format!(
            "[[plugin]]\nname = \"first\"\nkind = \"echo\"\n\
             [[plugin]]\nname = \"second\"\nkind = \"{kind}\"\nsources = {{ chat = \"{source}\" }}\n"
        );
        let plugins = [
            Factory::of::<Echo<false, false>>("echo"),
            Factory::of::<Echo<true, false>>("ticking"),
            Factory::of::<Echo<false, true>>("waking"),
            Factory::of::<Echo<true, true>>("timed"),
            Factory::of::<Chooser>("chooser"),
        ];
        let graph = Node::builder(Config::from_toml(&toml).unwrap()).plugins(plugins).check().unwrap();
        let all = ["first".to_owned(), "second".to_owned()];
        (lossless::depends_on_pace(&graph, &all), lossless::depends_on_pace(&graph, &all[..1]))
    };
    for kind in ["ticking", "waking", "timed", "chooser"] {
        assert_eq!(depends(kind, "first"), (true, false), "{kind} of outputs");
        assert_eq!(depends(kind, "chat"), (false, false), "{kind} of the recording alone");
    }
    assert_eq!(depends("echo", "first"), (false, false), "outputs alone come in their order");
}
