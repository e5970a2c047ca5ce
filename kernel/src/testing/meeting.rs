//! A meeting of one plugin, in memory.

use std::{
    collections::VecDeque, fmt, marker::PhantomData, panic::AssertUnwindSafe, sync::Arc, time::Duration,
};

use futures::FutureExt;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::Instant;

use super::{clock::Clock, cost::StoreCost, memory::Memory};
use crate::{
    DataPacket, Durability, Error, Factory, InCallPlugin, Lifecycle, LlmProvider, MeetingId, MeetingMetadata,
    Name, Payload, Publish, Seq, Tick, Timestamp, Wake,
    data::well_known::{self, AtFirstSight, at_first_sight},
    engine::{llm::SharedLlm, meeting::EngineControl, provider::KeyValue},
    plugin::erased::{Call, HandlerOutcome, Hosted, Invocation, Rejected, StartedPlugin},
    plugin::hook_table::{Hook, HookId},
    plugin::input::Tries,
    plugin::outputs::HookOutput,
    plugin::resource_map::ResourceMap,
    plugin::state::StateRef,
    timers::{DueTimer, Timers},
};

/// Sources that are volatile unless the configuration says otherwise.
const VOLATILE: [&str; 2] = ["audio", Tick::SOURCE];

/// A mistake of the test, or in the plugin's declaration of itself.
#[derive(Debug, thiserror::Error)]
enum Misuse {
    #[error("the plugin {0} is faulty: {1}; correct its `hooks`")]
    Hooks(String, String),
    #[error(
        "the plugin {kind} takes {source_name} as {takes}, but {source_name} carries {carries}: take that in its hook"
    )]
    Type { kind: String, source_name: Name, takes: String, carries: String },
    #[error(
        "the plugin {kind} has no hook for {source_name}: name it in `hooks`, or use `record` for what it only finds \
         in the history; it takes {}",
        list(.takes)
    )]
    NoHook { kind: String, source_name: Name, takes: Vec<Name> },
    #[error("{0} is not a source to publish on: it is reserved, or the instance's own")]
    Reserved(Name),
    #[error("the plugin {0} asks for no ticks: name them in `hooks`, with `every`")]
    NoTicks(String),
    #[error("the meeting has not started: call `start` first")]
    NotStarted,
    #[error("the meeting has started already")]
    StartedAlready,
    #[error("the meeting has ended")]
    Ended,
    #[error("nothing has failed that could be tried again")]
    NothingToRetry,
}

fn list(names: &[Name]) -> String {
    if names.is_empty() {
        return "no source".to_owned();
    }
    names.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Starts a plugin under test. [`PluginTest::builder`] and [`PluginTest::of`] make one.
#[derive(Debug)]
pub struct Builder<P> {
    factory: Factory,
    config: Result<Value, serde_json::Error>,
    llm: SharedLlm,
    instance: String,
    meeting: MeetingMetadata,
    state: Option<String>,
    tries: u32,
    resources: ResourceMap,
    plugin: PhantomData<fn() -> P>,
}

impl<P> Builder<P> {
    fn new(factory: Factory) -> Self {
        Self {
            config: Ok(Value::Null),
            llm: SharedLlm::none(),
            instance: factory.kind().to_owned(),
            meeting: MeetingMetadata::new(MeetingId::new("test").expect("invariant: the id is well formed")),
            factory,
            state: None,
            tries: 3,
            resources: ResourceMap::default(),
            plugin: PhantomData,
        }
    }

    /// Sets the state that the instance has already, as JSON: such as one that an earlier version of the
    /// plugin stored. Without a call it is the default.
    #[must_use]
    pub fn state_json(mut self, json: impl Into<String>) -> Self {
        self.state = Some(json.into());
        self
    }

    /// Shares a value with the plugin, as the program that embeds a node does: `on_startup` gets it by its type.
    #[must_use]
    pub fn resource<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.resources.insert(value);
        self
    }

    /// Sets how many tries a packet has (`hooks.tries` of the configuration), at least 1; without a call three.
    /// [`PluginTest::retry`] is the next one, and [`Cx::is_last_attempt`](crate::Cx::is_last_attempt) knows the
    /// last.
    #[must_use]
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = tries.max(1);
        self
    }

    /// Sets the plugin's table of the configuration, such as a `serde_json::json!`. Without a call the plugin
    /// gets its default.
    #[must_use]
    pub fn config(mut self, table: impl Serialize) -> Self {
        self.config = serde_json::to_value(table);
        self
    }

    /// Sets the language model, such as a [`ScriptedLlm`](super::ScriptedLlm). Without one every question
    /// fails with [`LlmError::NotConfigured`](crate::LlmError::NotConfigured).
    #[must_use]
    pub fn llm(mut self, provider: impl LlmProvider) -> Self {
        self.llm = SharedLlm::new(provider);
        self
    }

    /// Sets the instance's name; without a call it is the plugin's kind.
    #[must_use]
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.instance = name.into();
        self
    }

    /// Sets the meeting; without a call its id is `test`.
    #[must_use]
    pub fn meeting(mut self, meeting: MeetingMetadata) -> Self {
        self.meeting = meeting;
        self
    }

    /// Starts the plugin and the meeting: `on_startup`, then `on_meeting_start`.
    ///
    /// # Errors
    /// The error of either; or what is wrong with the configuration, the plugin's hooks, the instance's name
    /// or its state.
    pub async fn start(self) -> Result<PluginTest<P>, Error> {
        let mut test = self.start_up().await?;
        test.start().await?;
        Ok(test)
    }

    /// Starts the plugin alone, for a test that calls [`PluginTest::start`] itself.
    ///
    /// # Errors
    /// The error of `on_startup`; or what is wrong with the configuration, the plugin's hooks, the instance's
    /// name or its state.
    pub async fn start_up(self) -> Result<PluginTest<P>, Error> {
        let config = self.config.map_err(Error::reject)?;
        let instance = Name::new(&self.instance).map_err(Error::reject)?;
        let factory = self.factory;
        let faulty = |problem| Error::reject(Misuse::Hooks(factory.kind().to_owned(), problem));
        let metadata = factory.metadata().map_err(faulty)?;
        let output = metadata.output;
        for (source_name, of_hook) in metadata.takes {
            let of_source = well_known::carried_by(source_name.as_str());
            if at_first_sight(&of_source, &of_hook) == AtFirstSight::Clashes {
                let (kind, takes, carries) =
                    (metadata.name.into_owned(), of_hook.to_string(), of_source.to_string());
                return Err(Error::reject(Misuse::Type { kind, source_name, takes, carries }));
            }
        }
        let resources = self.resources;
        let started =
            StartedPlugin::start(&factory, config.clone(), instance.clone(), resources.clone()).await?;
        let hosted = started.open();
        let every = hosted.every();
        let memory = Memory::of(instance.clone());
        let (provider, id) = (Arc::new(memory.clone()), self.meeting.id.clone());
        let engine = EngineControl::new(self.llm.clone(), provider, id, instance.clone(), None);
        let state = match &self.state {
            Some(json) => hosted.decode_state(json).map_err(Error::reject)?,
            None => hosted.initial_state(),
        };
        Ok(PluginTest {
            state,
            clock: Clock::starting_at(self.meeting.started_at),
            factory,
            output,
            config,
            started,
            hosted,
            instance,
            meeting: self.meeting,
            memory,
            engine,
            models: self.llm,
            phase: Phase::New,
            tries: self.tries,
            resources,
            timers: Timers::new(every),
            waiting: VecDeque::new(),
            lost: 0,
            outputs: Vec::new(),
            rejected: Vec::new(),
            cost: StoreCost::default(),
            calls: 0,
            crash: None,
            plugin: PhantomData,
        })
    }
}

/// A packet of a batch that did not decode, so that the hook ran without it.
#[derive(Debug)]
#[non_exhaustive]
pub struct RejectedPacket {
    /// The packet.
    pub packet: Arc<DataPacket>,
    /// What is wrong with the packet.
    pub error: Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Running,
    Ended,
}

/// A call that has not succeeded yet.
#[derive(Clone)]
struct Waiting {
    what: Invocation,
    packets: Vec<Arc<DataPacket>>,
    /// How often it was tried.
    tries: u32,
    /// Whether it is for a tick or a wake.
    is_timer: bool,
}

/// One plugin in a meeting of its own. See the [module](super) for an example.
///
/// The meeting's log begins with the packet of its start, so the first packet from outside has seq 2.
pub struct PluginTest<P> {
    factory: Factory,
    output: Durability,
    config: Value,
    started: StartedPlugin,
    hosted: Hosted,
    instance: Name,
    meeting: MeetingMetadata,
    memory: Memory,
    engine: EngineControl,
    models: SharedLlm,
    state: StateRef,
    clock: Clock,
    phase: Phase,
    tries: u32,
    resources: ResourceMap,
    timers: Timers,
    waiting: VecDeque<Waiting>,
    lost: u64,
    outputs: Vec<Arc<DataPacket>>,
    rejected: Vec<RejectedPacket>,
    cost: StoreCost,
    /// How many calls have ended well.
    calls: usize,
    /// The call at which the plugin's process dies, and when.
    crash: Option<(usize, Crash)>,
    plugin: PhantomData<fn() -> P>,
}

/// When a process dies during a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crash {
    /// The hook has ended, and nothing of it is stored.
    BeforeCommit,
    /// What the hook made is stored.
    AfterCommit,
}

/// A hook panicked.
#[derive(Debug, thiserror::Error)]
#[error("the hook panicked: {0}")]
struct Panicked(String);

impl<P> fmt::Debug for PluginTest<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginTest")
            .field("kind", &self.factory.kind())
            .field("instance", &self.instance)
            .field("meeting", &self.meeting.id)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

impl PluginTest<()> {
    /// Begins to describe a test of the plugin that a factory makes, such as a
    /// [`DynamicPlugin`](crate::plugin::DynamicPlugin). [`state_json`](Self::state_json) shows its state.
    pub fn of(factory: Factory) -> Builder<()> {
        Builder::new(factory)
    }
}

impl<P: InCallPlugin> PluginTest<P> {
    /// Begins to describe a test.
    pub fn builder() -> Builder<P> {
        Builder::new(Factory::of::<P>(P::KIND))
    }

    /// Starts the plugin with its default configuration, and the meeting.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn start_default() -> Result<Self, Error> {
        Self::builder().start().await
    }

    /// Starts the plugin with a table of the configuration, and the meeting.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn start_with(config: impl Serialize) -> Result<Self, Error> {
        Self::builder().config(config).start().await
    }

    /// The state that the next hook gets.
    pub fn state(&self) -> P::State {
        serde_json::from_str(&self.state_json()).expect("invariant: a state is read back when a hook ends")
    }
}

impl<P> PluginTest<P> {
    /// Starts the meeting: runs `on_meeting_start`. After [`Builder::start`] the meeting has started already.
    ///
    /// # Errors
    /// The plugin's error. The meeting goes on either way, as in the runtime.
    pub async fn start(&mut self) -> Result<Option<Arc<DataPacket>>, Error> {
        if self.phase != Phase::New {
            return Err(Error::reject(Misuse::StartedAlready));
        }
        self.phase = Phase::Running;
        let start = Lifecycle::Start {
            instances: vec![self.instance.clone()],
            setups: std::collections::BTreeMap::new(),
        };
        let packet = self.lifecycle(&start);
        let started = self.timers.start(packet.timestamp);
        self.memory.write(started.into_iter().collect());
        self.call(Invocation::MeetingStart, vec![packet]).await
    }

    /// Ends the meeting: runs `on_meeting_end`. The meeting takes no packets afterwards.
    ///
    /// # Errors
    /// The plugin's error. The meeting has ended either way.
    pub async fn end(&mut self) -> Result<Option<Arc<DataPacket>>, Error> {
        self.check_running()?;
        let packet = self.lifecycle(&Lifecycle::Ending);
        self.fire_due(packet.timestamp).await?;
        self.phase = Phase::Ended;
        self.call(Invocation::MeetingEnd, vec![packet]).await
    }

    /// Publishes a packet and runs the hook for its source. A hook for batches gets a batch of one. Returns the
    /// hook's last output; those that it [emitted](crate::Cx::emit) before are in [`outputs`](Self::outputs).
    ///
    /// # Errors
    /// The hook's error. Only the log has changed then, and [`retry`](Self::retry) runs the hook again. A
    /// source without a hook is the test's mistake; use [`record`](Self::record) for such packets.
    pub async fn receive(&mut self, publish: Publish) -> Result<Option<Arc<DataPacket>>, Error> {
        Ok(self.receive_batch([publish]).await?.pop())
    }

    /// Publishes packets as if they had queued up, then runs the hooks for them. A hook for batches gets
    /// consecutive packets of its source, at most as many as its bound; other hooks get one at a time. Ticks and
    /// wakes come before the packet that carries the clock past them.
    ///
    /// # Errors
    /// The error of the first hook that failed. Later calls wait, and [`retry`](Self::retry) continues with
    /// the failed one. Outputs of the calls before it are in [`outputs`](Self::outputs).
    pub async fn receive_batch(
        &mut self,
        publishes: impl IntoIterator<Item = Publish>,
    ) -> Result<Vec<Arc<DataPacket>>, Error> {
        self.check_running()?;
        let publishes: Vec<_> = publishes.into_iter().collect();
        let mut calls: VecDeque<Waiting> = VecDeque::new();
        let hooks = publishes
            .iter()
            .map(|publish| self.hook(&publish.source))
            .collect::<Result<Vec<_>, _>>()
            .map_err(Error::reject)?;
        for (publish, (id, max)) in publishes.into_iter().zip(hooks) {
            let packet = self.publish(publish);
            let what = Invocation::Hook(id);
            match calls.back_mut() {
                Some(call) if call.what == what && call.packets.len() < max => call.packets.push(packet),
                _ => calls.push_back(Waiting { what, packets: vec![packet], tries: 0, is_timer: false }),
            }
        }
        self.waiting = calls;
        self.run_waiting().await
    }

    /// Appends a packet to the meeting's log without running a hook, so that the plugin can find it in the
    /// history.
    ///
    /// # Errors
    /// If the meeting isn't running, or the source is reserved or the instance's own.
    pub fn record(&mut self, publish: Publish) -> Result<Arc<DataPacket>, Error> {
        self.check_running()?;
        self.check_source(&publish.source).map_err(Error::reject)?;
        Ok(self.publish(publish))
    }

    /// Runs the failed call again with the same packets, then the calls that wait behind it. Publishing a
    /// packet instead gives up all of them.
    ///
    /// # Errors
    /// As [`receive_batch`](Self::receive_batch).
    pub async fn retry(&mut self) -> Result<Vec<Arc<DataPacket>>, Error> {
        if self.waiting.is_empty() {
            return Err(Error::reject(Misuse::NothingToRetry));
        }
        self.run_waiting().await
    }

    /// Runs the plugin's tick now, whether one is due or not. The next regular tick stays due as before.
    ///
    /// # Errors
    /// The hook's error. A plugin without ticks is the test's mistake.
    pub async fn tick(&mut self) -> Result<Option<Arc<DataPacket>>, Error> {
        self.check_running()?;
        let what = self.timer_hook(|hook| matches!(hook, Hook::Every(_)));
        let Some(what) = what else {
            return Err(Error::reject(Misuse::NoTicks(self.factory.kind().to_owned())));
        };
        let packet = self.timer_packet(Tick::SOURCE, "", self.clock.now(), self.memory.last_seq());
        self.waiting = [Waiting { what, packets: vec![packet], tries: 0, is_timer: true }].into();
        Ok(self.run_waiting().await?.pop())
    }

    /// Lets time pass, and runs the ticks and wakes that come due meanwhile. Needs tokio's clock to be paused
    /// (`start_paused = true`); otherwise the call really waits. Returns their outputs.
    ///
    /// # Errors
    /// The error of the first that failed. Time stops at the moment when it was due, and it counts as given up.
    pub async fn advance(&mut self, duration: Duration) -> Result<Vec<Arc<DataPacket>>, Error> {
        let until = Instant::now() + duration;
        let end = self.clock.at(until);
        let mut outputs = Vec::new();
        while self.phase == Phase::Running
            && let Some(due) = self.timers.due(end)
        {
            tokio::time::sleep_until(self.clock.when(due.at())).await;
            outputs.extend(self.fire(due).await?);
        }
        tokio::time::sleep_until(until).await;
        Ok(outputs)
    }

    /// Runs the ticks and wakes that come before a packet of this time. Their outputs are in
    /// [`outputs`](Self::outputs).
    async fn fire_due(&mut self, by: Timestamp) -> Result<(), Error> {
        while self.phase == Phase::Running
            && let Some(due) = self.timers.due(by)
        {
            self.fire(due).await?;
        }
        Ok(())
    }

    /// Runs the hook of a timer. One that fails waits for a [`retry`](Self::retry).
    async fn fire(&mut self, timer: DueTimer) -> Result<Vec<Arc<DataPacket>>, Error> {
        let (what, packet) = match &timer {
            DueTimer::Tick { at } => (
                self.timer_hook(|hook| matches!(hook, Hook::Every(_))),
                self.timer_packet(Tick::SOURCE, "", *at, self.memory.last_seq()),
            ),
            DueTimer::Wake { at, key, set_by } => (
                self.timer_hook(|hook| matches!(hook, Hook::Wake)),
                self.timer_packet(Wake::SOURCE, key, *at, *set_by),
            ),
        };
        let mut keys = Vec::new();
        self.timers.fired(&timer, &mut keys, true);
        self.memory.write(keys);
        let Some(what) = what else { return Ok(Vec::new()) };
        self.waiting.push_front(Waiting { what, packets: vec![packet], tries: 0, is_timer: true });
        self.run_first().await
    }

    fn timer_hook(&self, is_it: impl Fn(&Hook) -> bool) -> Option<Invocation> {
        let hooks = self.hosted.hooks().iter();
        hooks.filter(|(_, hook)| is_it(hook)).map(|(id, _)| Invocation::Hook(*id)).next()
    }

    /// A packet that stands for a timer, and is in no log.
    fn timer_packet(&self, source: &str, key: &str, at: Timestamp, cause: Seq) -> Arc<DataPacket> {
        let source = Name::new(source).expect("invariant: the reserved names are well formed");
        let publish = Publish::on(source, Payload::Text(key.into())).timestamp(at);
        let packet = publish.into_packet(self.meeting.id.clone(), cause, self.clock.now());
        Arc::new(packet)
    }

    /// Adds lost packets to the gap that the next hook sees (`cx.gap()`).
    pub fn lose(&mut self, packets: u64) {
        self.lost += packets;
    }

    /// Has so many of the next reads of keys and history fail, as when the store is away.
    pub fn fail_reads(&mut self, reads: u64) {
        self.memory.fail_reads(reads);
    }

    /// Starts the plugin again with the stored state and keys, and without its scratch, as after a crash or on
    /// another node.
    ///
    /// # Errors
    /// The error of `on_startup`.
    pub async fn restart(&mut self) -> Result<(), Error> {
        let (instance, resources) = (self.instance.clone(), self.resources.clone());
        let started = StartedPlugin::start(&self.factory, self.config.clone(), instance, resources).await?;
        let hosted = started.open();
        self.state = hosted.decode_state(&self.state_json()).map_err(Error::reject)?;
        (self.started, self.hosted) = (started, hosted);
        self.timers = Timers::new(self.hosted.every());
        self.timers.restore(self.memory.reserved());
        Ok(())
    }

    /// Stops the plugin: runs `on_shutdown`.
    ///
    /// # Errors
    /// The plugin's error.
    pub async fn shutdown(self) -> Result<(), Error> {
        self.started.shutdown(self.models, self.meeting.id, self.instance).await
    }

    /// The state as JSON, which is how it is stored.
    pub fn state_json(&self) -> String {
        self.state.to_json().expect("invariant: a state is written when a hook ends")
    }

    /// All outputs of the plugin, in order.
    pub fn outputs(&self) -> &[Arc<DataPacket>] {
        &self.outputs
    }

    /// Packets of batches that the hook ran without, because they did not decode.
    pub fn rejected(&self) -> &[RejectedPacket] {
        &self.rejected
    }

    /// All outputs as text, a line each: the time, the payload, and the seqs of the causes. The lines are the same
    /// in each run of a test with paused time, so that a snapshot of them can be kept, for example with `insta`.
    pub fn outputs_as_text(&self) -> String {
        let line = |packet: &Arc<DataPacket>| {
            let payload = match packet.payload.as_text() {
                Some(text) => text.to_owned(),
                None => format!("{} bytes", packet.payload.len()),
            };
            let causes: Vec<_> = packet.causes.iter().map(ToString::to_string).collect();
            format!("{} {payload} <- {}\n", packet.timestamp, causes.join(", "))
        };
        self.outputs.iter().map(line).collect()
    }

    pub(super) fn crash_at(&mut self, call: usize, crash: Crash) {
        self.crash = Some((call, crash));
    }

    /// How many calls have ended well.
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    /// All packets of the meeting's log so far, in order.
    pub fn log(&self) -> Vec<Arc<DataPacket>> {
        self.memory.log()
    }

    /// The keys that the plugin has set, in order.
    pub fn keys(&self) -> Vec<String> {
        self.memory.keys()
    }

    /// The value of one of the plugin's keys.
    ///
    /// # Panics
    /// If the value is of another type.
    #[track_caller]
    pub fn value<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let json = self.memory.value(key)?;
        match serde_json::from_str(&json) {
            Ok(value) => Some(value),
            Err(error) => {
                panic!("the value of {key:?} is not a {}: {error}; it is {json}", std::any::type_name::<T>())
            }
        }
    }

    /// What the plugin's hooks have cost the store so far, those of the meeting's start and end included.
    pub fn store_cost(&self) -> StoreCost {
        StoreCost { reads: self.memory.reads(), ..self.cost }
    }

    fn check_running(&self) -> Result<(), Error> {
        match self.phase {
            Phase::New => Err(Error::reject(Misuse::NotStarted)),
            Phase::Running => Ok(()),
            Phase::Ended => Err(Error::reject(Misuse::Ended)),
        }
    }

    fn check_source(&self, source: &Name) -> Result<(), Misuse> {
        if [Tick::SOURCE, Wake::SOURCE, Lifecycle::SOURCE].contains(&source.as_str())
            || *source == self.instance
        {
            return Err(Misuse::Reserved(source.clone()));
        }
        Ok(())
    }

    fn hook(&self, source: &Name) -> Result<(HookId, usize), Misuse> {
        self.check_source(source)?;
        let mut takes = Vec::new();
        for (id, hook) in self.hosted.hooks() {
            if let Hook::Source { source: taken, max } = hook {
                if taken == source {
                    return Ok((*id, *max));
                }
                takes.push(taken.clone());
            }
        }
        Err(Misuse::NoHook { kind: self.factory.kind().to_owned(), source_name: source.clone(), takes })
    }

    fn lifecycle(&mut self, event: &Lifecycle) -> Arc<DataPacket> {
        let source = Name::new(Lifecycle::SOURCE).expect("invariant: the reserved names are well formed");
        self.publish(Publish::on(source, event.to_payload()))
    }

    fn publish(&mut self, publish: Publish) -> Arc<DataPacket> {
        if let Some(timestamp) = publish.timestamp {
            self.clock.follow(timestamp);
        }
        let volatile = VOLATILE.iter().any(|source| publish.source == *source);
        let durability = if volatile { Durability::Volatile } else { Durability::Durable };
        let packet = publish.into_packet(self.meeting.id.clone(), self.memory.next_seq(), self.clock.now());
        let packet = Arc::new(packet);
        self.memory.append(packet.clone(), durability);
        packet
    }

    async fn call(
        &mut self,
        what: Invocation,
        packets: Vec<Arc<DataPacket>>,
    ) -> Result<Option<Arc<DataPacket>>, Error> {
        Ok(self.call_all(what, packets).await?.pop())
    }

    async fn call_all(
        &mut self,
        what: Invocation,
        packets: Vec<Arc<DataPacket>>,
    ) -> Result<Vec<Arc<DataPacket>>, Error> {
        self.waiting = [Waiting { what, packets, tries: 0, is_timer: false }].into();
        self.run_waiting().await
    }

    async fn run_waiting(&mut self) -> Result<Vec<Arc<DataPacket>>, Error> {
        let mut outputs = Vec::new();
        while let Some(call) = self.waiting.front() {
            if !call.is_timer {
                let first = call.packets[0].timestamp;
                if let Some(due) = self.timers.due(first) {
                    outputs.extend(Box::pin(self.fire(due)).await?);
                    continue;
                }
                self.split_at_timer();
            }
            outputs.extend(self.run_first().await?);
        }
        Ok(outputs)
    }

    /// Cuts a batch where a timer comes between two of its packets.
    fn split_at_timer(&mut self) {
        let (Some(next), Some(call)) = (self.timers.next(), self.waiting.front_mut()) else { return };
        let Some(at) = call.packets.iter().skip(1).position(|packet| packet.timestamp >= next) else {
            return;
        };
        let packets = call.packets.split_off(at + 1);
        let rest = Waiting { packets, ..*call };
        self.waiting.insert(1, rest);
    }

    /// Runs the first call that waits. It stays there if it fails.
    async fn run_first(&mut self) -> Result<Vec<Arc<DataPacket>>, Error> {
        let call = self.waiting.front().expect("invariant: a call waits").clone();
        match self.run(&call).await {
            Ok(made) => {
                self.waiting.pop_front();
                Ok(made)
            }
            Err(error) => {
                self.waiting[0].tries += 1;
                Err(error)
            }
        }
    }

    async fn run(&mut self, call: &Waiting) -> Result<Vec<Arc<DataPacket>>, Error> {
        let crash = self.crash.filter(|(number, _)| *number == self.calls).map(|(_, crash)| crash);
        if crash == Some(Crash::BeforeCommit) {
            // Whatever the hook made is lost.
            let _ = self.run_hook(call).await;
            self.restart().await?;
        }
        let outcome = self.run_hook(call).await?;
        let made = self.commit(call, outcome)?;
        self.calls += 1;
        if crash == Some(Crash::AfterCommit) {
            self.restart().await?;
        }
        Ok(made)
    }

    /// Runs a hook. One that panics has failed, and its scratch is new.
    async fn run_hook(&mut self, call: &Waiting) -> Result<HandlerOutcome, Error> {
        let newest = call.packets.last().expect("invariant: a call has a packet");
        self.engine.begin(newest.seq, newest.timestamp);
        let running = self.hosted.run(
            call.what,
            Call {
                packets: &call.packets,
                gap: self.lost,
                tries: Tries { attempt: call.tries.saturating_add(1), most: self.tries },
                state: self.state.clone(),
                meeting: &self.meeting,
                instance: &self.instance,
                engine: self.engine.engine(),
            },
        );
        match AssertUnwindSafe(running).catch_unwind().await {
            Ok(outcome) => outcome,
            Err(panic) => {
                self.hosted = self.hosted.with_new_scratch();
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                Err(Error::retry(Panicked(text.unwrap_or_else(|| "with no message".to_owned()))))
            }
        }
    }

    /// Takes up what a hook made.
    fn commit(&mut self, call: &Waiting, outcome: HandlerOutcome) -> Result<Vec<Arc<DataPacket>>, Error> {
        let HandlerOutcome { state, outputs, rejected } = outcome;
        if !state.ptr_eq(&self.state) {
            // The next hook gets what a new owner would read, so that a test notices a state that JSON does
            // not carry whole.
            let json = state.to_json().map_err(Error::reject)?;
            self.state = self.hosted.decode_state(&json).map_err(Error::reject)?;
            self.cost.state_bytes += to_u64(json.len());
        }
        self.lost = 0;
        let writes = self.engine.take_writes();
        let bytes = |(key, value): &KeyValue| key.len() + value.as_ref().map_or(0, |value| value.len());
        self.cost.key_writes += to_u64(writes.len());
        self.cost.key_bytes += to_u64(writes.iter().map(bytes).sum());
        self.cost.output_bytes += to_u64(outputs.iter().map(Payload::len).sum());
        self.cost.hooks += 1;
        self.timers.written(&writes);
        self.memory.write(writes);
        let mut rejected = rejected.into_iter().peekable();
        let mut causes = Vec::with_capacity(call.packets.len());
        for (index, packet) in call.packets.iter().cloned().enumerate() {
            match rejected.next_if(|rejected| rejected.index == index) {
                Some(Rejected { error, .. }) => self.rejected.push(RejectedPacket { packet, error }),
                None => causes.push(packet),
            }
        }
        Ok(outputs.into_iter().map(|output| self.output(output, &causes)).collect())
    }

    fn output(&mut self, output: HookOutput, causes: &[Arc<DataPacket>]) -> Arc<DataPacket> {
        let packet = Arc::new(DataPacket {
            meeting: self.meeting.id.clone(),
            seq: self.memory.next_seq(),
            source: self.instance.clone(),
            timestamp: causes.iter().map(|packet| packet.timestamp).max().unwrap_or_else(|| self.clock.now()),
            received_at: self.clock.now(),
            participant: output.participant,
            payload: output.payload,
            producer: None,
            causes: causes.iter().map(|packet| packet.seq).collect(),
            trace: causes.iter().rev().find_map(|packet| packet.trace),
        });
        self.memory.append(packet.clone(), self.output);
        self.outputs.push(packet.clone());
        packet
    }
}
