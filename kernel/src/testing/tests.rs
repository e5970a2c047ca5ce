use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::*;
use crate::{
    Batch, Cx, Error, History, Hooks, InCallPlugin, Json, LlmMessage, MeetingId, MeetingMetadata, Model,
    Publish, Receive, Seq, StartupCx, Tick, Timestamp, Wake, data::Chat,
};

/// A resource.
struct Shared(&'static str);

/// Does what its packets say, through every part of the contract.
struct Doer {
    greeting: String,
    /// What no plugin should have.
    own_memory: std::sync::atomic::AtomicU64,
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    greeting: String,
}

impl Default for Config {
    fn default() -> Self {
        Self { greeting: "hello".into() }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct State {
    chats: u64,
    batches: Vec<usize>,
    ticks: Vec<Timestamp>,
    #[serde(skip)]
    forgotten: u64,
    unwritable: BTreeMap<(u8, u8), u8>,
}

#[derive(Debug, thiserror::Error)]
#[error("asked to fail")]
struct AskedToFail;

impl InCallPlugin for Doer {
    type Config = Config;
    type State = State;
    type Scratch = u64;
    type Output = String;
    const KIND: &'static str = "doer";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup(config: Config, cx: &StartupCx) -> Result<Self, Error> {
        if config.greeting == "shared" {
            let Shared(greeting) = &*cx.resource::<Shared>()?;
            return Ok(Self { greeting: format!("{greeting}, {}", cx.instance()), own_memory: 0.into() });
        }
        if config.greeting.is_empty() {
            return Err(Error::reject("the greeting is empty"));
        }
        Ok(Self { greeting: config.greeting, own_memory: 0.into() })
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        let hooks = hooks.on::<Json<Chat>>("chat").on_batch::<Json<u64>>("number", 3);
        hooks.every(Duration::from_secs(10)).on_wake()
    }

    async fn on_meeting_start(&self, _: &mut Cx<'_, Self>) -> Result<Option<String>, Error> {
        Ok(Some(self.greeting.clone()))
    }

    async fn on_meeting_end(&self, cx: &mut Cx<'_, Self>) -> Result<Option<String>, Error> {
        let greetings = cx.engine().datastore().stream_history(History::of(cx.instance())?).await?;
        Ok(Some(format!("bye after {} outputs", greetings.len())))
    }

    async fn on_shutdown(&self, cx: &crate::ShutdownCx) -> Result<(), Error> {
        cx.llm().fast_prompt([LlmMessage::user("good night")], 0.5).await?;
        Ok(())
    }
}

impl Receive<Json<Chat>> for Doer {
    async fn receive(&self, Json(chat): Json<Chat>, cx: &mut Cx<'_, Self>) -> Result<Option<String>, Error> {
        cx.state_mut().chats += 1;
        cx.state_mut().forgotten += 1;
        let store = cx.engine().datastore().clone();
        store.set("last", &chat.text)?;
        let (verb, rest) = chat.text.split_once(' ').unwrap_or((&chat.text, ""));
        Ok(match verb {
            "fail" => return Err(AskedToFail.into()),
            "break" => {
                cx.state_mut().unwritable.insert((1, 2), 3);
                None
            }
            "gap" => Some(cx.gap().to_string()),
            "forgotten" => Some(cx.state().forgotten.to_string()),
            "delete" => {
                store.delete("last")?;
                None
            }
            "keys" => {
                store.set(rest, &true)?;
                Some(store.list("").await?.join(","))
            }
            "entries" => {
                store.set(rest, "new")?;
                let entries = store.entries::<String>("").await?;
                let entries: Vec<_> = entries.iter().map(|(key, value)| format!("{key}={value}")).collect();
                Some(entries.join(","))
            }
            "history" => {
                let minute = Duration::from_mins(1);
                let found = store.stream_history(History::of(rest)?.within(minute).last(2)).await?;
                Some(found.iter().map(|packet| packet.seq.to_string()).collect::<Vec<_>>().join(","))
            }
            "emit" | "emit-fail" | "emit-only" => {
                for word in rest.split(' ') {
                    cx.emit(word.to_owned());
                }
                match verb {
                    "emit" => Some("done".to_owned()),
                    "emit-only" => None,
                    _ => return Err(AskedToFail.into()),
                }
            }
            "emit-by" => {
                for word in rest.split(' ') {
                    cx.emit_by(Some(word.into()), word.to_owned());
                }
                cx.emit_by(None, "nobody's".to_owned());
                Some("done".to_owned())
            }
            "emit-much" => {
                let (count, bytes): (usize, usize) =
                    rest.split_once(' ').map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())).unwrap();
                for _ in 0..count {
                    cx.emit("x".repeat(bytes));
                }
                None
            }
            "wake" | "wake-fail" => {
                let (time, key) = rest.split_once(' ').unwrap_or((rest, "failed"));
                cx.wake_at(at(time), key)?;
                if verb == "wake-fail" {
                    return Err(AskedToFail.into());
                }
                None
            }
            "cancel" => {
                cx.cancel(rest)?;
                None
            }
            "panic" => panic!("{rest}"),
            "own-memory" => {
                Some(self.own_memory.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string())
            }
            "scratch" | "scratch-fail" => {
                *cx.scratch_mut() += 1;
                if verb == "scratch-fail" {
                    return Err(AskedToFail.into());
                }
                Some(cx.scratch().to_string())
            }
            "scratch-hang" => {
                *cx.scratch_mut() += 1;
                std::future::pending().await
            }
            "attempt" if cx.is_last_attempt() => Some(format!("at last, at try {}", cx.attempt())),
            "attempt" => return Err(Error::retry(format!("try {}", cx.attempt()))),
            "ask" => Some(cx.engine().llm().prompt([LlmMessage::user(rest)], 0.0).await?),
            _ => None,
        })
    }
}

impl Receive<Batch<Json<u64>>> for Doer {
    async fn receive(&self, batch: Batch<Json<u64>>, cx: &mut Cx<'_, Self>) -> Result<Option<String>, Error> {
        let sum: u64 = batch.iter().map(|Json(number)| number).sum();
        if sum == 13 {
            return Err(AskedToFail.into());
        }
        cx.state_mut().batches.push(batch.len());
        Ok(Some(sum.to_string()))
    }
}

impl Receive<Tick> for Doer {
    async fn receive(&self, _: Tick, cx: &mut Cx<'_, Self>) -> Result<Option<String>, Error> {
        let at = cx.packet().timestamp;
        cx.state_mut().ticks.push(at);
        if cx.state().chats == 99 {
            tokio::time::sleep(Duration::from_secs(35)).await;
        }
        Ok(Some("tick".into()))
    }
}

impl Receive<Wake> for Doer {
    async fn receive(&self, wake: Wake, cx: &mut Cx<'_, Self>) -> Result<Option<String>, Error> {
        assert_eq!(wake.at, cx.packet().timestamp);
        if wake.key == "again" {
            cx.wake_at(wake.at, "again")?;
        }
        Ok(Some(format!("wake {}", wake.key)))
    }
}

fn chat(text: &str) -> Publish {
    Publish::json("chat", &Chat::new(text)).unwrap()
}

fn number(number: u64) -> Publish {
    Publish::json("number", &number).unwrap()
}

fn text(packet: &DataPacket) -> &str {
    match &packet.payload {
        Payload::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

async fn say(meeting: &mut PluginTest<Doer>, said: &str) -> Option<String> {
    let output = meeting.receive(chat(said)).await.unwrap();
    output.map(|packet| text(&packet).to_owned())
}

fn at(time: &str) -> Timestamp {
    format!("2026-02-03T{time}Z").parse().unwrap()
}

#[test]
fn its_metadata_says_which_timers_it_has() {
    let metadata = crate::Factory::of::<Doer>("doer").metadata().unwrap();
    assert_eq!((metadata.every, metadata.takes_wakes), (Some(Duration::from_secs(10)), true));
}

#[tokio::test]
async fn a_hook_may_put_out_several_packets() {
    let mut meeting = PluginTest::<Doer>::start_default().await.unwrap();
    let outputs = meeting.receive_batch([chat("emit a b"), chat("emit-only c d")]).await.unwrap();
    let texts: Vec<_> = outputs.iter().map(|packet| text(packet)).collect();
    assert_eq!(texts, ["a", "b", "done", "c", "d"]);
    let causes: Vec<_> = outputs.iter().map(|packet| packet.causes[0].0).collect();
    assert_eq!(causes, [3, 3, 3, 4, 4]);
    assert_eq!(say(&mut meeting, "emit e f").await.as_deref(), Some("done"));
    assert_eq!(meeting.outputs().len(), 1 + 5 + 3);

    meeting.receive(chat("emit-fail lost")).await.unwrap_err();
    assert_eq!(meeting.outputs().len(), 1 + 5 + 3, "a hook that fails puts out nothing");
}

#[tokio::test]
async fn an_output_names_the_participant_that_its_hook_names() {
    let mut meeting = PluginTest::<Doer>::start_default().await.unwrap();
    let outputs =
        meeting.receive_batch([chat("emit-by Ada Jose\u{301} \u{a0}").participant("Bo")]).await.unwrap();
    let names: Vec<_> = outputs.iter().map(|packet| packet.participant.as_deref()).collect();
    assert_eq!(names, [Some("Ada"), Some("José"), None, None, None]);

    let long = "x".repeat(DataPacket::MAX_PARTICIPANT_BYTES + 1);
    let error = meeting.receive(chat(&format!("emit-by {long}"))).await.unwrap_err();
    assert!(error.is_reject());
    assert_eq!(error.to_string(), "an output names a participant in 1025 bytes; the limit is 1024");
}

#[tokio::test]
async fn a_hook_cannot_put_out_more_than_fits_into_a_commit() {
    let mut meeting = PluginTest::<Doer>::start_default().await.unwrap();
    for (count, bytes, problem) in [
        (1_001, 1, "the hook put out 1001 packets; the limit is 1000"),
        (5, 1 << 20, "the hook's outputs are 5242880 bytes in all; the limit is 4194304"),
    ] {
        let error = meeting.receive(chat(&format!("emit-much {count} {bytes}"))).await.unwrap_err();
        assert!(error.is_reject());
        assert_eq!(error.to_string(), problem);
    }
    for (count, bytes) in [(1_000, 1), (4, 1 << 20), (1, 5 << 20)] {
        let outputs = meeting.receive_batch([chat(&format!("emit-much {count} {bytes}"))]).await.unwrap();
        assert_eq!(outputs.len(), count);
    }
}

#[tokio::test(start_paused = true)]
async fn scratch_is_kept_by_failed_hooks_and_lost_with_a_restart() {
    let mut meeting = PluginTest::<Doer>::start_default().await.unwrap();
    assert_eq!(say(&mut meeting, "scratch").await.as_deref(), Some("1"));
    meeting.receive(chat("scratch-fail")).await.unwrap_err();
    let hanging = meeting.receive(chat("scratch-hang"));
    tokio::time::timeout(Duration::from_secs(1), hanging).await.unwrap_err();
    assert_eq!(say(&mut meeting, "scratch").await.as_deref(), Some("4"));
    meeting.restart().await.unwrap();
    assert_eq!(say(&mut meeting, "scratch").await.as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_has_failed_and_is_tried_again() {
    let mut meeting = PluginTest::<Doer>::start_default().await.unwrap();
    say(&mut meeting, "scratch").await;
    let error = meeting.receive(chat("panic at once")).await.unwrap_err();
    assert_eq!((error.is_reject(), error.to_string().as_str()), (false, "the hook panicked: at once"));
    meeting.retry().await.unwrap_err();
    assert_eq!(say(&mut meeting, "scratch").await.as_deref(), Some("1"), "the scratch is new");
    assert_eq!(meeting.state().chats, 2, "the hooks that ended well");
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_every_place_changes_nothing() {
    let crashes = crash_everywhere(PluginTest::<Doer>::builder, async |meeting| {
        meeting.receive_batch([number(1), number(2), chat("emit a b"), chat("keys c")]).await?;
        let now = meeting.log().last().expect("a log").received_at;
        meeting.receive(chat(&format!("wake {} tea", now.strftime("%H:%M:%S")))).await.ok();
        meeting.advance(Duration::from_secs(25)).await?;
        meeting.end().await?;
        Ok(())
    });
    assert!(crashes.await.unwrap() >= 14);
}

#[tokio::test(start_paused = true)]
async fn memory_in_the_plugin_itself_is_found_by_a_crash() {
    for said in ["own-memory", "scratch"] {
        let crashes = crash_everywhere(PluginTest::<Doer>::builder, async |meeting| {
            meeting.receive_batch([chat(said), chat(said)]).await.map(drop)
        });
        let error = crashes.await.unwrap_err().to_string();
        assert!(
            error.contains("changes the outputs\nwithout it:\n2026-01-05T09:00:00Z hello <- 1\n"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_plugin_gets_what_the_embedder_shares() {
    let builder = || PluginTest::<Doer>::builder().config(serde_json::json!({"greeting": "shared"}));
    let mut meeting = builder().resource(Shared("good day")).instance("mine").start().await.unwrap();
    assert_eq!(text(&meeting.outputs()[0]), "good day, mine");
    meeting.restart().await.unwrap();
    let error = builder().start().await.unwrap_err();
    assert!(error.is_reject());
    let text = error.to_string();
    assert!(
        text.starts_with("the node has no resource of type teammy_kernel::testing::tests::Shared;"),
        "{text}"
    );
}

#[tokio::test]
async fn a_hook_knows_its_last_attempt() {
    let mut meeting = PluginTest::<Doer>::start_default().await.unwrap();
    assert_eq!(meeting.receive(chat("attempt")).await.unwrap_err().to_string(), "try 1");
    assert_eq!(meeting.retry().await.unwrap_err().to_string(), "try 2");
    assert_eq!(text(&meeting.retry().await.unwrap()[0]), "at last, at try 3");
    assert_eq!(meeting.receive(chat("attempt")).await.unwrap_err().to_string(), "try 1");

    let mut meeting = PluginTest::<Doer>::builder().tries(1).start().await.unwrap();
    assert_eq!(say(&mut meeting, "attempt").await.as_deref(), Some("at last, at try 1"));
}

#[tokio::test(start_paused = true)]
async fn a_meeting_has_a_start_packets_and_an_end() {
    let metadata = MeetingMetadata::new(MeetingId::new("m").unwrap()).started_at(at("10:00:00"));
    let mut meeting = PluginTest::<Doer>::builder().instance("mine").meeting(metadata).start().await.unwrap();
    let greeting = meeting.outputs()[0].clone();
    assert_eq!(text(&greeting), "hello");
    assert_eq!((greeting.source.as_str(), greeting.meeting.as_str()), ("mine", "m"));
    assert_eq!((greeting.seq, greeting.causes.clone()), (Seq(2), vec![Seq(1)]));
    assert_eq!(greeting.timestamp, at("10:00:00"));

    assert_eq!(say(&mut meeting, "nothing").await, None);
    let late = meeting.receive(chat("gap").timestamp(at("10:00:09"))).await.unwrap().unwrap();
    assert_eq!((late.timestamp, late.causes.clone()), (at("10:00:09"), vec![Seq(4)]));
    meeting.advance(Duration::from_millis(500)).await.unwrap();
    let bye = meeting.end().await.unwrap().unwrap();
    assert_eq!(text(&bye), "bye after 2 outputs");
    assert_eq!(bye.timestamp, at("10:00:09.5"));

    let log: Vec<_> = meeting.log().iter().map(|packet| packet.source.to_string()).collect();
    assert_eq!(log, ["meeting", "mine", "chat", "chat", "mine", "meeting", "mine"]);
    let error = meeting.receive(chat("more")).await.unwrap_err();
    assert_eq!(error.to_string(), "the meeting has ended");
}

#[tokio::test(start_paused = true)]
async fn a_failing_hook_changes_nothing_until_a_retry_succeeds() {
    let llm = ScriptedLlm::default().fail("overloaded").reply("42");
    let mut meeting = PluginTest::<Doer>::builder().llm(llm.clone()).start().await.unwrap();
    say(&mut meeting, "one").await;
    let before = (meeting.state_json(), meeting.value::<String>("last"), meeting.outputs().len());

    let error = meeting.receive(chat("fail")).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.is_reject()), ("asked to fail", false));
    let error = meeting.receive(chat("ask why")).await.unwrap_err();
    assert_eq!(error.to_string(), "the language model failed: overloaded");
    assert_eq!((meeting.state_json(), meeting.value::<String>("last"), meeting.outputs().len()), before);

    let outputs = meeting.retry().await.unwrap();
    assert_eq!((text(&outputs[0]), outputs[0].causes.clone()), ("42", vec![Seq(5)]));
    assert_eq!(meeting.state().chats, 2);
    assert_eq!(meeting.value::<String>("last").as_deref(), Some("ask why"));
    assert_eq!(
        meeting.retry().await.unwrap_err().to_string(),
        "nothing has failed that could be tried again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_respects_its_bound_and_leaves_out_what_does_not_decode() {
    let mut meeting = PluginTest::<Doer>::start_default().await.unwrap();
    let bad = Publish::json("number", "seven").unwrap();
    let publishes = [number(1), bad, number(2), number(4), chat("gap"), number(8)];
    let outputs = meeting.receive_batch(publishes).await.unwrap();
    let seen: Vec<_> = outputs.iter().map(|packet| (text(packet), packet.causes.clone())).collect();
    let expected =
        [("3", vec![Seq(3), Seq(5)]), ("4", vec![Seq(6)]), ("0", vec![Seq(7)]), ("8", vec![Seq(8)])];
    assert_eq!(seen, expected);
    assert_eq!(meeting.state().batches, [2, 1, 1]);
    assert_eq!(meeting.rejected().len(), 1);
    assert_eq!(meeting.rejected()[0].packet.seq, Seq(4));
    assert!(meeting.rejected()[0].error.is_reject());
}

#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_failure_goes_on_with_the_retry() {
    let llm = ScriptedLlm::default().fail("overloaded").reply("because");
    let mut meeting = PluginTest::<Doer>::builder().llm(llm).start().await.unwrap();
    let publishes = [number(1), chat("ask why"), number(2)];
    meeting.receive_batch(publishes).await.unwrap_err();
    assert_eq!(text(meeting.outputs().last().unwrap()), "1");
    let outputs = meeting.retry().await.unwrap();
    assert_eq!(outputs.iter().map(|packet| text(packet)).collect::<Vec<_>>(), ["because", "2"]);

    meeting.receive_batch([number(13), chat("gap")]).await.unwrap_err();
    assert_eq!(say(&mut meeting, "gap").await.as_deref(), Some("0"), "the next packet gives both up");
    meeting.retry().await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn one_packet_for_a_batch_hook_is_a_batch_of_one() {
    let mut meeting = PluginTest::<Doer>::start_default().await.unwrap();
    let output = meeting.receive(number(5)).await.unwrap().unwrap();
    assert_eq!(text(&output), "5");
    assert_eq!(meeting.state().batches, [1]);
}

#[tokio::test(start_paused = true)]
async fn time_passes_when_told_to_and_brings_ticks() {
    let mut meeting = PluginTest::<Doer>::start_default().await.unwrap();
    assert!(meeting.advance(Duration::from_secs(9)).await.unwrap().is_empty());
    let outputs = meeting.advance(Duration::from_secs(21)).await.unwrap();
    assert_eq!(outputs.len(), 3);
    meeting.tick().await.unwrap().unwrap();
    let ticks = meeting.state().ticks;
    let after = |second| ticks[0] + Duration::from_secs(second);
    assert_eq!(ticks, [after(0), after(10), after(20), after(20)]);
}

#[tokio::test(start_paused = true)]
async fn ticks_that_come_while_one_runs_come_after_it() {
    let mut meeting = PluginTest::<Doer>::start_default().await.unwrap();
    for _ in 0..99 {
        say(&mut meeting, "one").await;
    }
    // The first tick is due at 10 and runs until 45. Those due at 20, 30 and 40 have their own times all the same.
    let outputs = meeting.advance(Duration::from_secs(45)).await.unwrap();
    assert_eq!(outputs.len(), 4);
    let ticks = meeting.state().ticks;
    assert_eq!(ticks[3].duration_since(ticks[0]).as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_tick_and_a_wake_come_before_the_packet_that_carries_the_clock_past_them() {
    let metadata = MeetingMetadata::new(MeetingId::new("m").unwrap()).started_at(at("10:00:00"));
    let mut meeting = PluginTest::<Doer>::builder().meeting(metadata).start().await.unwrap();
    let chat_at = |said: &str, time: &str| chat(said).timestamp(at(time));
    let batch = [
        chat_at("wake 10:00:02 late", "10:00:01"),
        chat_at("wake 10:00:05 never", "10:00:01"),
        chat_at("wake 10:00:05 tea", "10:00:01"),
        chat_at("cancel never", "10:00:04"),
        chat_at("forgotten", "10:00:05"),
        chat_at("wake-fail 10:00:06", "10:00:05"),
    ];
    meeting.receive_batch(batch).await.unwrap_err();
    let outputs = meeting.receive_batch([chat_at("forgotten", "10:00:12")]).await.unwrap();
    let texts = |outputs: &[std::sync::Arc<DataPacket>]| -> Vec<String> {
        outputs.iter().map(|packet| format!("{} {}", packet.timestamp, text(packet))).collect()
    };
    assert_eq!(texts(&outputs), ["2026-02-03T10:00:10Z tick", "2026-02-03T10:00:12Z 1"]);
    assert_eq!(
        texts(&meeting.outputs()[1..]),
        [
            "2026-02-03T10:00:02Z wake late",
            "2026-02-03T10:00:05Z wake tea",
            "2026-02-03T10:00:05Z 1",
            "2026-02-03T10:00:10Z tick",
            "2026-02-03T10:00:12Z 1",
        ]
    );
    assert_eq!(meeting.outputs()[1].causes, [Seq(3)], "of the packet whose hook asked for it");
    assert_eq!(meeting.keys(), ["last"], "wakes are no keys of the plugin");

    // They are kept with the state, and come when time passes.
    say(&mut meeting, "wake 10:00:15 kept").await;
    meeting.restart().await.unwrap();
    let outputs = meeting.advance(Duration::from_secs(10)).await.unwrap();
    assert_eq!(texts(&outputs), ["2026-02-03T10:00:15Z wake kept", "2026-02-03T10:00:20Z tick"]);
    // What is due by the end comes before it.
    say(&mut meeting, "wake 10:00:23 last").await;
    say(&mut meeting, "wake 11:00:00 too late").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let end = meeting.end().await.unwrap().unwrap();
    assert!(text(&end).starts_with("bye"), "{end:?}");
    let last = texts(&meeting.outputs()[meeting.outputs().len() - 2..]);
    assert_eq!(last[0], "2026-02-03T10:00:23Z wake last");
}

#[tokio::test(start_paused = true)]
async fn a_wake_may_ask_for_the_next_but_not_for_itself() {
    let metadata = MeetingMetadata::new(MeetingId::new("m").unwrap()).started_at(at("10:00:00"));
    let mut meeting = PluginTest::<Doer>::builder().meeting(metadata).start().await.unwrap();
    say(&mut meeting, "wake 10:00:01 again").await;
    let outputs = meeting.advance(Duration::from_millis(1_003)).await.unwrap();
    let times: Vec<_> = outputs.iter().map(|packet| packet.timestamp.subsec_millisecond()).collect();
    assert_eq!(times, [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn keys_are_kept_and_read_back() {
    let mut meeting = PluginTest::<Doer>::start_default().await.unwrap();
    assert_eq!(say(&mut meeting, "keys b").await.as_deref(), Some("b,last"));
    assert_eq!(say(&mut meeting, "keys a").await.as_deref(), Some("a,b,last"));
    say(&mut meeting, "delete").await;
    assert_eq!(meeting.keys(), ["a", "b"]);
    assert_eq!(meeting.value::<bool>("a"), Some(true));
    assert_eq!(meeting.value::<String>("last"), None);
}

#[tokio::test(start_paused = true)]
async fn history_reads_what_came_before() {
    let metadata = MeetingMetadata::new(MeetingId::new("m").unwrap()).started_at(at("10:01:30"));
    let mut meeting = PluginTest::<Doer>::builder().meeting(metadata).start().await.unwrap();
    for second in ["10:00:00", "10:00:30", "10:00:40", "10:00:50"] {
        let note = Publish::text("notes", "x").unwrap().timestamp(at(second));
        meeting.record(note).unwrap();
    }
    meeting.record(Publish::bytes("audio", &b"x"[..]).unwrap()).unwrap();
    let history = chat("history notes").timestamp(at("10:01:31"));
    let found = meeting.receive(history).await.unwrap().unwrap();
    assert_eq!(text(&found), "5,6", "seqs 3 and 4 are too old");
    assert_eq!(say(&mut meeting, "history audio").await.as_deref(), Some(""), "volatile packets aren't kept");
    assert_eq!(say(&mut meeting, "history chat").await.as_deref(), Some("8,10"), "only those before it");
    assert_eq!(say(&mut meeting, "history doer").await.as_deref(), Some("11,13"), "its own, to the last");
}

#[tokio::test(start_paused = true)]
async fn a_state_is_what_its_json_carries() {
    let mut meeting = PluginTest::<Doer>::start_default().await.unwrap();
    say(&mut meeting, "one").await;
    assert_eq!(say(&mut meeting, "forgotten").await.as_deref(), Some("1"), "a skipped field starts anew");
    let error = meeting.receive(chat("break")).await.unwrap_err();
    assert!(error.chain().contains("cannot be written as JSON"), "{}", error.chain());
    assert_eq!(meeting.state().chats, 2);
    meeting.restart().await.unwrap();
    say(&mut meeting, "one").await;
    assert_eq!(meeting.state().chats, 3);
}

#[tokio::test(start_paused = true)]
async fn an_instance_can_have_a_state_already() {
    let builder = || PluginTest::<Doer>::builder();
    let state = |chats: &str| format!(r#"{{"chats":{chats},"batches":[],"ticks":[],"unwritable":{{}}}}"#);
    let mut meeting = builder().state_json(state("7")).start().await.unwrap();
    say(&mut meeting, "one").await;
    assert_eq!(meeting.state().chats, 8);
    let error = builder().state_json(state("\"many\"")).start().await.unwrap_err();
    assert_eq!(error.to_string(), "the stored state is not of the plugin's state type");
}

#[tokio::test(start_paused = true)]
async fn entries_are_read_with_what_the_hook_has_written() {
    let mut meeting = PluginTest::<Doer>::start_default().await.unwrap();
    say(&mut meeting, "one").await;
    let entries = say(&mut meeting, "entries more").await;
    assert_eq!(entries.as_deref(), Some("last=entries more,more=new"));
    say(&mut meeting, "delete").await;
    assert_eq!(say(&mut meeting, "entries last").await.as_deref(), Some("last=new,more=new"));
    say(&mut meeting, "keys number").await;
    let error = meeting.receive(chat("entries x")).await.unwrap_err();
    assert_eq!(error.to_string(), "a key's value is not of the type asked for");
}

#[tokio::test(start_paused = true)]
async fn what_hooks_cost_is_counted() {
    let mut meeting = PluginTest::<Doer>::start_default().await.unwrap();
    let before = meeting.store_cost();
    say(&mut meeting, "delete").await;
    let state_bytes = meeting.state_json().len() as u64;
    let key_bytes = "last".len() as u64;
    let one = meeting.store_cost() - before;
    assert_eq!(one, StoreCost { hooks: 1, state_bytes, key_writes: 1, key_bytes, ..StoreCost::default() });

    let before = meeting.store_cost();
    assert_eq!(say(&mut meeting, "keys k").await.as_deref(), Some("k,last"));
    meeting.receive(chat("fail")).await.unwrap_err();
    assert_eq!(meeting.tick().await.unwrap().map(|packet| text(&packet).len()), Some("tick".len()));
    let cost = meeting.store_cost() - before;
    let key_bytes = r#"k true last "keys k""#.replace(' ', "").len() as u64 + " ".len() as u64;
    let output_bytes = "k,last tick".replace(' ', "").len() as u64;
    assert!(cost.state_bytes > 2 * state_bytes);
    assert_eq!(
        cost,
        StoreCost {
            hooks: 2,
            key_writes: 2,
            key_bytes,
            reads: 1,
            output_bytes,
            state_bytes: cost.state_bytes
        }
    );
    assert_eq!(cost.bytes_per_hook(), cost.bytes().div_ceil(2));
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_told_once() {
    let mut meeting = PluginTest::<Doer>::start_default().await.unwrap();
    meeting.lose(7);
    meeting.receive(chat("fail")).await.unwrap_err();
    assert_eq!(say(&mut meeting, "gap").await.as_deref(), Some("7"));
    assert_eq!(say(&mut meeting, "gap").await.as_deref(), Some("0"));
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_makes_no_sense_is_refused() {
    let table = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let start = async |text: &str| PluginTest::<Doer>::start_with(table(text)).await;
    let meeting = start(r#"{"greeting":"hi"}"#).await.unwrap();
    assert_eq!(text(&meeting.outputs()[0]), "hi");
    assert_eq!(start(r#"{"greeting":""}"#).await.unwrap_err().to_string(), "the greeting is empty");
    let error = start(r#"{"greeting":"hi","x":1}"#).await.unwrap_err().to_string();
    assert!(error.starts_with("unknown field `x`"), "{error}");
    let error = start(r#"{"greeting":["hi"]}"#).await.unwrap_err().to_string();
    assert_eq!(error, "greeting: invalid type: sequence, expected a string");
}

#[tokio::test(start_paused = true)]
async fn a_test_that_makes_a_mistake_is_told() {
    let mut meeting = PluginTest::<Doer>::builder().start_up().await.unwrap();
    assert_eq!(
        meeting.receive(chat("one")).await.unwrap_err().to_string(),
        "the meeting has not started: call `start` first"
    );
    assert_eq!(text(&meeting.start().await.unwrap().unwrap()), "hello");
    assert_eq!(meeting.start().await.unwrap_err().to_string(), "the meeting has started already");
    for (source, said) in [
        (
            "chats",
            "the plugin doer has no hook for chats: name it in `hooks`, or use `record` for what it only finds in the \
             history; it takes chat, number",
        ),
        ("doer", "doer is not a source to publish on: it is reserved, or the instance's own"),
        ("tick", "tick is not a source to publish on: it is reserved, or the instance's own"),
    ] {
        let error = meeting.receive(Publish::text(source, "x").unwrap()).await.unwrap_err();
        assert_eq!(error.to_string(), said);
    }
    assert_eq!(meeting.log().len(), 2, "what is refused leaves no packet");
}

/// Declares as many hooks as its type says, and implements more.
struct Takes<const SOURCES: usize>;

impl<const SOURCES: usize> InCallPlugin for Takes<SOURCES> {
    type Config = ();
    type State = ();
    type Scratch = ();
    type Output = String;
    const KIND: &'static str = "takes";
    const VERSION: &'static str = "1.0.0";

    async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
        Ok(Self)
    }

    fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
        (0..SOURCES).fold(hooks, |hooks, _| hooks.on::<Json<Chat>>("chat"))
    }
}

impl<const SOURCES: usize> Receive<Json<Chat>> for Takes<SOURCES> {
    async fn receive(&self, _: Json<Chat>, _: &mut Cx<'_, Self>) -> Result<Option<String>, Error> {
        Ok(None)
    }
}

impl<const SOURCES: usize> Receive<Tick> for Takes<SOURCES> {
    async fn receive(&self, _: Tick, _: &mut Cx<'_, Self>) -> Result<Option<String>, Error> {
        Ok(None)
    }
}

#[tokio::test(start_paused = true)]
async fn an_author_who_forgot_a_line_of_hooks_is_told() {
    let mut meeting = PluginTest::<Takes<0>>::start_default().await.unwrap();
    let error = meeting.receive(chat("one")).await.unwrap_err().to_string();
    assert!(error.starts_with("the plugin takes has no hook for chat: name it in `hooks`"), "{error}");
    assert!(error.ends_with("; it takes no source"), "{error}");
    let error = meeting.tick().await.unwrap_err().to_string();
    assert_eq!(error, "the plugin takes asks for no ticks: name them in `hooks`, with `every`");

    let error = PluginTest::<Takes<2>>::start_default().await.unwrap_err();
    assert_eq!(error.to_string(), "the plugin takes is faulty: it takes chat twice; correct its `hooks`");
}

#[tokio::test(start_paused = true)]
async fn a_script_is_followed_line_by_line() {
    let began = tokio::time::Instant::now();
    let llm = ScriptedLlm::default()
        .when(|request| request.model == Model::Fast, "sleep well")
        .refuse("no")
        .delay(Duration::from_secs(2))
        .reply("late");
    let mut meeting = PluginTest::<Doer>::builder().llm(llm.clone()).start().await.unwrap();
    let refused = meeting.receive(chat("ask a")).await.unwrap_err();
    assert_eq!(refused.to_string(), "the language model refused the request: no");
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(say(&mut meeting, "ask b").await.as_deref(), Some("late"));
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert_eq!(llm.remaining(), 0);
    let exhausted = meeting.receive(chat("ask c")).await.unwrap_err().to_string();
    let said = "the test's script has no line left for request 3, which ends in \"c\"";
    assert!(exhausted.ends_with(said), "{exhausted}");

    meeting.shutdown().await.unwrap();
    let asked: Vec<_> =
        llm.requests().into_iter().map(|request| request.messages[0].content.clone()).collect();
    assert_eq!(asked, ["a", "b", "c", "good night"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_model_the_plugin_is_told() {
    let mut meeting = PluginTest::<Doer>::start_default().await.unwrap();
    let error = meeting.receive(chat("ask why")).await.unwrap_err();
    assert_eq!(error.to_string(), "no language model is configured for this node");
}

#[test]
#[should_panic(expected = "packet 1 of chat is not a u64")]
fn json_of_another_type_panics() {
    let meeting = MeetingId::new("m").unwrap();
    json::<u64>(&chat("x").into_packet(meeting, Seq(1), at("10:00:00")));
}
