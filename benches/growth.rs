//! What one more packet costs each shipped plugin, in meetings of 10 to 20,000 participants and after 100 to
//! 100,000 packets: `cargo bench -p teammy-benches --bench growth -- [--quick] [--only PLUGIN]`.
//!
//! A plugin's cost per packet should not depend on how large or how old its meeting is. The bench runs hooks
//! as the runtime does, and commits each by itself, which is the worst case: the state becomes JSON after
//! every change. In the meeting all participants take turns evenly, which is the worst case for a plugin that
//! keeps some participants at hand; every fiftieth packet renames a participant, who goes on to talk under the
//! former name. All of them have talked once before the first packet that counts.
//!
//! A figure is of the last 1,000 packets (of all, if there are fewer). Times are the thread's CPU time without
//! the store's and the model's; bytes are JSON, and what a store needs beside it is not counted.

#![allow(clippy::cast_precision_loss, missing_docs, unreachable_pub, reason = "figures are rounded anyway")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use comfy_table::{CellAlignment, Table, presets};
use cpu_time::ThreadTime;
use futures::{FutureExt, future::BoxFuture};
use serde_json::Value;
use teammy_kernel::{
    DataPacket, EngineControl, Factory, History, KeyValue, LlmError, LlmProvider, LlmRequest, LlmResponse,
    MeetingId, MeetingMetadata, Model, Name, PersistenceProvider, Publish, ReadError, Seq, SharedLlm,
    Timestamp,
    data::{ParticipantEvent, Transcription},
    plugin::{
        Call, Hook, HookId, Hosted, Invocation, ResourceMap, StartedPlugin, StateError, StateRef, Tries,
    },
};

const PARTICIPANTS: [u64; 3] = [10, 1_000, 20_000];
const PACKETS: [u64; 3] = [100, 10_000, 100_000];
const QUICK_PACKETS: [u64; 3] = [100, 1_000, 10_000];
/// The packets that a figure covers.
const WINDOW: u64 = 1_000;
/// How many meetings the first figure covers, as it has few packets.
const SHORT_MEETINGS: usize = 5;

/// The keys of the instance, and how often they were read.
#[derive(Clone, Default)]
struct Keys {
    keys: Arc<Mutex<BTreeMap<String, Arc<str>>>>,
    reads: Arc<AtomicU64>,
}

impl Keys {
    fn keys(&self) -> MutexGuard<'_, BTreeMap<String, Arc<str>>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, writes: Vec<KeyValue>) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in writes {
            match value {
                Some(value) => keys.insert(key, value),
                None => keys.remove(&key),
            };
        }
    }
}

impl PersistenceProvider for Keys {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Arc<str>>, ReadError>> {
        async move { Ok(self.keys().get(key).cloned()) }.boxed()
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<(String, Arc<str>)>, ReadError>> {
        async move {
            let keys = self.keys();
            let found = keys.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
            Ok(found.map(|(key, value)| (key.clone(), value.clone())).collect())
        }
        .boxed()
    }

    fn history(&self, _: History, _: Seq) -> BoxFuture<'_, Result<Vec<Arc<DataPacket>>, ReadError>> {
        async { Ok(Vec::new()) }.boxed()
    }
}

/// Notes of 400 words when `minutes` asks, and an action in every tenth answer to `llm-action`.
struct Answers {
    notes: String,
    asked: AtomicU64,
}

impl LlmProvider for Answers {
    async fn complete(&self, request: LlmRequest) -> Result<LlmResponse, LlmError> {
        if request.model == Model::Fast {
            return Ok(LlmResponse::new(self.notes.clone()));
        }
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let action = format!(
            r#"[{{"action":"web-search","parameters":{{"query":"what the standard says about question {asked}"}}}}]"#
        );
        Ok(LlmResponse::new(if asked.is_multiple_of(10) { action } else { "[]".to_owned() }))
    }
}

/// What the measured packets cost.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    packets: u64,
    time: Duration,
    /// States that are larger than the runtime stores.
    refused: u64,
    state_bytes: u64,
    key_writes: u64,
    key_bytes: u64,
    key_reads: u64,
    output_bytes: u64,
}

impl Cost {
    fn each(&self, total: u64) -> f64 {
        total as f64 / self.packets as f64
    }

    fn micros(&self) -> f64 {
        self.time.as_secs_f64() * 1e6 / self.packets as f64
    }

    fn bytes(&self) -> f64 {
        self.each(self.state_bytes + self.key_bytes + self.output_bytes)
    }
}

/// A meeting of one instance.
struct Meeting {
    hosted: Hosted,
    hooks: BTreeMap<Name, HookId>,
    engine: EngineControl,
    keys: Keys,
    state: StateRef,
    metadata: MeetingMetadata,
    instance: Name,
    seq: u64,
}

impl Meeting {
    async fn start(factory: &Factory) -> Self {
        let instance = Name::new(factory.name()).expect("the name is well formed");
        let started = StartedPlugin::start(factory, Value::Null, instance, ResourceMap::default()).await;
        let started = started.expect("the default configuration fits");
        let hosted = started.open();
        let hooks = hosted.hooks().iter().filter_map(|(id, hook)| match hook {
            Hook::Source { source, .. } => Some((source.clone(), *id)),
            _ => None,
        });
        let metadata = MeetingMetadata::new(MeetingId::new("growth").expect("the id is well formed"));
        let instance = Name::new(factory.kind()).expect("a kind is a name");
        let answers = Answers { notes: vec!["noted"; 400].join(" "), asked: AtomicU64::new(0) };
        let keys = Keys::default();
        let (id, provider) = (metadata.id.clone(), Arc::new(keys.clone()));
        Self {
            hooks: hooks.collect(),
            engine: EngineControl::new(SharedLlm::new(answers), provider, id, instance.clone(), None),
            state: hosted.initial_state(),
            hosted,
            keys,
            metadata,
            instance,
            seq: 0,
        }
    }

    /// Runs a packet's hook, if the plugin has one, and adds to `cost` what it and its commit cost.
    async fn receive(&mut self, publish: Publish, cost: Option<&mut Cost>) {
        let Some(hook) = self.hooks.get(&publish.source) else { return };
        self.seq += 1;
        let at = Timestamp::from_second(1_767_603_600).expect("the time exists");
        let packet = publish.into_packet(self.metadata.id.clone(), Seq(self.seq), at);
        let packets = [Arc::new(packet)];
        let reads = self.keys.reads.load(Ordering::Relaxed);
        let clock = ThreadTime::now();
        self.engine.begin(packets[0].seq, packets[0].timestamp);
        let call = Call {
            packets: &packets,
            gap: 0,
            tries: Tries { attempt: 1, most: 3 },
            state: self.state.clone(),
            meeting: &self.metadata,
            instance: &self.instance,
            engine: self.engine.engine(),
        };
        let outcome = self.hosted.run(Invocation::Hook(*hook), call).await.expect("the hook ends well");
        let changed = !outcome.state.ptr_eq(&self.state);
        self.state = outcome.state;
        let json = (changed && cost.is_some()).then(|| self.state.to_json());
        let writes = self.engine.take_writes();
        let time = clock.elapsed();
        if let Some(cost) = cost {
            let bytes = |text: &str| text.len() as u64;
            cost.packets += 1;
            cost.time += time;
            match json {
                Some(Ok(json)) => cost.state_bytes += bytes(&json),
                Some(Err(StateError::TooLarge { bytes })) => {
                    cost.refused += 1;
                    cost.state_bytes += bytes as u64;
                }
                Some(Err(error)) => panic!("{error}"),
                None => {}
            }
            cost.key_writes += writes.len() as u64;
            let written = writes.iter().map(|(key, value)| bytes(key) + value.as_deref().map_or(0, bytes));
            cost.key_bytes += written.sum::<u64>();
            cost.key_reads += self.keys.reads.load(Ordering::Relaxed) - reads;
            cost.output_bytes += outcome.outputs.iter().map(|output| output.len() as u64).sum::<u64>();
        }
        self.keys.write(writes);
    }
}

/// The packet of this number in a meeting of so many participants.
fn packet(participants: u64, number: u64) -> Publish {
    // 7,919 is a prime: all participants take turns, and neighbours don't follow each other.
    let who = number * 7_919 % participants;
    let publish = if number % 50 == 49 {
        let renamed = ParticipantEvent::Renamed { to: format!("Guest {who}") };
        Publish::json("participant", &renamed)
    } else {
        let topic = if number.is_multiple_of(10) { "deadline" } else { "plan" };
        let text = format!("what we said about the {topic} at point {number} still holds");
        Publish::json("transcription", &Transcription::new(text, number * 1_000, number * 1_000 + 900))
    };
    publish.expect("the data is JSON").participant(format!("Participant {who}"))
}

/// The cost of a packet after each of these numbers of packets.
async fn measure(factory: &Factory, participants: u64, marks: [u64; 3]) -> [Cost; 3] {
    let mut costs = [Cost::default(); 3];
    for short in (0..SHORT_MEETINGS).rev().map(|left| left > 0) {
        let mut meeting = Meeting::start(factory).await;
        for number in 0..participants {
            let said = Transcription::new("hello", 0, 400);
            let said = Publish::json("transcription", &said).expect("the data is JSON");
            meeting.receive(said.participant(format!("Participant {number}")), None).await;
        }
        let last = if short { marks[0] } else { marks[2] };
        for number in 0..last {
            let counts = |mark: &u64| (mark.saturating_sub(WINDOW)..*mark).contains(&number);
            let cost = marks.iter().position(counts).map(|index| &mut costs[index]);
            meeting.receive(packet(participants, number), cost).await;
        }
    }
    costs
}

/// The largest of some figures divided by the smallest.
fn ratio(figures: impl Iterator<Item = f64> + Clone) -> f64 {
    figures.clone().fold(0.0, f64::max) / figures.fold(f64::INFINITY, f64::min)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let marks = if arguments.iter().any(|word| word == "--quick") { QUICK_PACKETS } else { PACKETS };
    let only = arguments.iter().position(|word| word == "--only").and_then(|at| arguments.get(at + 1));
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header([
        "plugin",
        "participants",
        "packets",
        "µs",
        "state B",
        "key writes",
        "key B",
        "key reads",
        "output B",
        "all B",
    ]);
    let mut ratios = Vec::new();
    let bundle = teammy_plugins::bundle();
    for factory in bundle.iter().filter(|factory| only.is_none_or(|only| factory.kind() == only)) {
        // The first meeting of a plugin pays for cold caches.
        measure(factory, 10, QUICK_PACKETS).await;
        let mut costs = Vec::new();
        for participants in PARTICIPANTS {
            for (packets, cost) in marks.into_iter().zip(measure(factory, participants, marks).await) {
                let refused = if cost.refused > 0 { " (too large)" } else { "" };
                table.add_row([
                    factory.kind().to_owned(),
                    participants.to_string(),
                    packets.to_string(),
                    format!("{:.1}", cost.micros()),
                    format!("{:.0}{refused}", cost.each(cost.state_bytes)),
                    format!("{:.2}", cost.each(cost.key_writes)),
                    format!("{:.0}", cost.each(cost.key_bytes)),
                    format!("{:.2}", cost.each(cost.key_reads)),
                    format!("{:.0}", cost.each(cost.output_bytes)),
                    format!("{:.0}", cost.bytes()),
                ]);
                costs.push(cost);
            }
        }
        ratios.push(format!(
            "{}: largest ÷ smallest: {:.1} of the time, {:.1} of the bytes",
            factory.kind(),
            ratio(costs.iter().map(Cost::micros)),
            ratio(costs.iter().map(Cost::bytes)),
        ));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("Per packet:\n\n{table}\n\n{}", ratios.join("\n"));
}
