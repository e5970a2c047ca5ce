//! A meeting of one plugin, in memory.

use std::{collections::VecDeque, fmt, marker::PhantomData, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    clock::{Clock, Ticks},
    memory::Memory,
};
use crate::{
    DataPacket, Durability, Error, Factory, InCallPlugin, Lifecycle, LlmProvider, MeetingId, MeetingMetadata,
    Name, Payload, Publish, Tick,
    engine::{llm::SharedLlm, meeting::EngineControl},
    plugin::erased::{Call, HandlerOutcome, Hosted, Invocation, Rejected, StartedPlugin},
    plugin::hook_table::{Hook, HookId},
    plugin::state::StateRef,
};

/// Sources that a meeting does not keep unless its configuration says so.
const VOLATILE: [&str; 2] = ["audio", Tick::SOURCE];

/// Why the kit does not do what a test asks: the test's mistake, or one in what the plugin says of itself.
#[derive(Debug, thiserror::Error)]
enum Misuse {
    #[error("the plugin {0} is faulty: {1}; correct its `hooks`")]
    Hooks(String, String),
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

/// How to start a plugin under test; [`PluginTest::builder`] makes it.
#[derive(Debug)]
pub struct Builder<P> {
    factory: Factory,
    config: Result<Value, serde_json::Error>,
    llm: SharedLlm,
    instance: String,
    meeting: MeetingMetadata,
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
            plugin: PhantomData,
        }
    }

    /// Its table of the configuration, as `serde_json::json!` or a type writes it; the default where not
    /// given.
    #[must_use]
    pub fn config(mut self, table: impl Serialize) -> Self {
        self.config = serde_json::to_value(table);
        self
    }

    /// The language model that answers it, such as a [`ScriptedLlm`](super::ScriptedLlm). Without one every
    /// question is answered with [`LlmError::NotConfigured`](crate::LlmError::NotConfigured).
    #[must_use]
    pub fn llm(mut self, provider: impl LlmProvider) -> Self {
        self.llm = SharedLlm::new(provider);
        self
    }

    /// What the instance is called; its kind where not given.
    #[must_use]
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.instance = name.into();
        self
    }

    /// The meeting it takes part in; one called `test` where not given.
    #[must_use]
    pub fn meeting(mut self, meeting: MeetingMetadata) -> Self {
        self.meeting = meeting;
        self
    }

    /// Starts the plugin and the meeting: `on_startup`, then `on_meeting_start`.
    ///
    /// # Errors
    /// What either returned; what is wrong with the configuration, the plugin's hooks or the instance's name.
    pub async fn start(self) -> Result<PluginTest<P>, Error> {
        let mut test = self.start_up().await?;
        test.start().await?;
        Ok(test)
    }

    /// Starts the plugin alone, for a test that calls [`PluginTest::start`] itself.
    ///
    /// # Errors
    /// What `on_startup` returned; what is wrong with the configuration, the plugin's hooks or the instance's
    /// name.
    pub async fn start_up(self) -> Result<PluginTest<P>, Error> {
        let config = self.config.map_err(Error::reject)?;
        let instance = Name::new(&self.instance).map_err(Error::reject)?;
        let factory = self.factory;
        let faulty = |problem| Error::reject(Misuse::Hooks(factory.kind().to_owned(), problem));
        let output = factory.metadata().map_err(faulty)?.output;
        let started = StartedPlugin::start(&factory, config.clone()).await?;
        let hosted = started.open();
        let memory = Memory::of(instance.clone());
        let (provider, id) = (Arc::new(memory.clone()), self.meeting.id.clone());
        let engine = EngineControl::new(self.llm.clone(), provider, id, instance.clone(), None);
        Ok(PluginTest {
            state: hosted.initial_state(),
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
            ticks: None,
            waiting: VecDeque::new(),
            lost: 0,
            outputs: Vec::new(),
            rejected: Vec::new(),
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
    /// What is wrong with it.
    pub error: Error,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Running,
    Ended,
}

/// A call that has not ended well yet.
#[derive(Clone)]
struct Waiting {
    what: Invocation,
    packets: Vec<Arc<DataPacket>>,
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
    ticks: Option<Ticks>,
    waiting: VecDeque<Waiting>,
    lost: u64,
    outputs: Vec<Arc<DataPacket>>,
    rejected: Vec<RejectedPacket>,
    plugin: PhantomData<fn() -> P>,
}

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
    /// Starts the meeting: `on_meeting_start`. [`Builder::start`] has done so already.
    ///
    /// # Errors
    /// What the plugin returned; the meeting goes on either way, as the runtime's does.
    pub async fn start(&mut self) -> Result<Option<Arc<DataPacket>>, Error> {
        if self.phase != Phase::New {
            return Err(Error::reject(Misuse::StartedAlready));
        }
        self.phase = Phase::Running;
        self.ticks = self.hosted.every().map(Ticks::every);
        let start = Lifecycle::Start {
            instances: vec![self.instance.clone()],
            setups: std::collections::BTreeMap::new(),
        };
        let packet = self.lifecycle(&start);
        self.call(Invocation::MeetingStart, vec![packet]).await
    }

    /// Ends the meeting: `on_meeting_end`. It takes no packets afterwards.
    ///
    /// # Errors
    /// What the plugin returned; the meeting has ended either way.
    pub async fn end(&mut self) -> Result<Option<Arc<DataPacket>>, Error> {
        self.check_running()?;
        self.phase = Phase::Ended;
        let packet = self.lifecycle(&Lifecycle::Ending);
        self.call(Invocation::MeetingEnd, vec![packet]).await
    }

    /// Publishes a packet and runs the hook for its source; a hook for batches gets a batch of one.
    ///
    /// # Errors
    /// What the hook returned; then nothing has changed but the log, and [`retry`](Self::retry) calls it
    /// again. A source that the plugin has no hook for is the test's mistake; [`record`](Self::record)
    /// takes those.
    pub async fn receive(&mut self, publish: Publish) -> Result<Option<Arc<DataPacket>>, Error> {
        Ok(self.receive_batch([publish]).await?.pop())
    }

    /// Publishes packets that have queued up, then runs the hooks for them: a hook for batches gets
    /// neighbours of one source together, as many as its bound allows; other hooks get one at a time.
    ///
    /// # Errors
    /// What the first hook that failed returned; those behind it wait, and [`retry`](Self::retry) goes on
    /// from there. What those before it put out is in [`outputs`](Self::outputs).
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
                _ => calls.push_back(Waiting { what, packets: vec![packet] }),
            }
        }
        self.waiting = calls;
        self.run_waiting().await
    }

    /// Puts a packet into the meeting's log without showing it to the plugin, for it to find in the history.
    ///
    /// # Errors
    /// If the meeting isn't running, or the source is reserved or the instance's own.
    pub fn record(&mut self, publish: Publish) -> Result<Arc<DataPacket>, Error> {
        self.check_running()?;
        self.check_source(&publish.source).map_err(Error::reject)?;
        Ok(self.publish(publish))
    }

    /// Calls what failed again, with the same packets, then what waits behind it. A packet that is published
    /// instead gives both up.
    ///
    /// # Errors
    /// As [`receive_batch`](Self::receive_batch).
    pub async fn retry(&mut self) -> Result<Vec<Arc<DataPacket>>, Error> {
        if self.waiting.is_empty() {
            return Err(Error::reject(Misuse::NothingToRetry));
        }
        self.run_waiting().await
    }

    /// Runs the plugin's tick now, whenever the next is due.
    ///
    /// # Errors
    /// What the hook returned; that the plugin asks for no ticks is the test's mistake.
    pub async fn tick(&mut self) -> Result<Option<Arc<DataPacket>>, Error> {
        self.check_running()?;
        let hooks = self.hosted.hooks().iter();
        let id = hooks.filter(|(_, hook)| matches!(hook, Hook::Every(_))).map(|(id, _)| *id).next();
        let Some(id) = id else {
            return Err(Error::reject(Misuse::NoTicks(self.factory.kind().to_owned())));
        };
        let source = Name::new(Tick::SOURCE).expect("invariant: the reserved names are well formed");
        let packet = self.publish(Publish::on(source, Payload::Text("".into())));
        self.call(Invocation::Hook(id), vec![packet]).await
    }

    /// Lets time pass, and runs the ticks that come due in it. Needs tokio's clock to be paused
    /// (`start_paused = true`), else it really waits.
    ///
    /// # Errors
    /// What the first tick that failed returned; time stands where it was due.
    pub async fn advance(&mut self, duration: Duration) -> Result<Vec<Arc<DataPacket>>, Error> {
        let until = Instant::now() + duration;
        let mut outputs = Vec::new();
        while self.phase == Phase::Running
            && let Some(due) = self.ticks.and_then(|ticks| ticks.due(until))
        {
            tokio::time::sleep_until(due).await;
            let ticked = self.tick().await;
            self.ticks.as_mut().expect("invariant: a tick was due").given();
            outputs.extend(ticked?);
        }
        tokio::time::sleep_until(until).await;
        Ok(outputs)
    }

    /// The next hook is told (`cx.gap()`) that so many packets were lost.
    pub fn lose(&mut self, packets: u64) {
        self.lost += packets;
    }

    /// Starts the plugin anew and goes on with what was kept, as after a crash or on another node.
    ///
    /// # Errors
    /// What `on_startup` returned.
    pub async fn restart(&mut self) -> Result<(), Error> {
        let started = StartedPlugin::start(&self.factory, self.config.clone()).await?;
        let hosted = started.open();
        self.state = hosted.decode_state(&self.state_json()).map_err(Error::reject)?;
        (self.started, self.hosted) = (started, hosted);
        Ok(())
    }

    /// Stops the plugin: `on_shutdown`.
    ///
    /// # Errors
    /// What the plugin returned.
    pub async fn shutdown(self) -> Result<(), Error> {
        self.started.shutdown(self.models, self.meeting.id, self.instance).await
    }

    /// It as JSON, which is how it is stored.
    pub fn state_json(&self) -> String {
        self.state.to_json().expect("invariant: a state is written when a hook ends")
    }

    /// All that the plugin put out, in order.
    pub fn outputs(&self) -> &[Arc<DataPacket>] {
        &self.outputs
    }

    /// Packets of batches that did not decode, so that the hook ran without them.
    pub fn rejected(&self) -> &[RejectedPacket] {
        &self.rejected
    }

    /// The meeting's log so far: all packets, in order.
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
    /// If it is of another type.
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

    fn check_running(&self) -> Result<(), Error> {
        match self.phase {
            Phase::New => Err(Error::reject(Misuse::NotStarted)),
            Phase::Running => Ok(()),
            Phase::Ended => Err(Error::reject(Misuse::Ended)),
        }
    }

    fn check_source(&self, source: &Name) -> Result<(), Misuse> {
        if *source == Tick::SOURCE || *source == Lifecycle::SOURCE || *source == self.instance {
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
        if let Some(told) = publish.timestamp {
            self.clock.follow(told);
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
        self.waiting = [Waiting { what, packets }].into();
        Ok(self.run_waiting().await?.pop())
    }

    async fn run_waiting(&mut self) -> Result<Vec<Arc<DataPacket>>, Error> {
        let mut outputs = Vec::new();
        while let Some(call) = self.waiting.front().cloned() {
            outputs.extend(self.run(&call).await?);
            self.waiting.pop_front();
        }
        Ok(outputs)
    }

    async fn run(&mut self, call: &Waiting) -> Result<Option<Arc<DataPacket>>, Error> {
        let newest = call.packets.last().expect("invariant: a call has a packet");
        self.engine.begin(newest.seq, newest.timestamp);
        let ran = self.hosted.run(
            call.what,
            Call {
                packets: &call.packets,
                gap: self.lost,
                state: self.state.clone(),
                meeting: &self.meeting,
                instance: &self.instance,
                engine: self.engine.engine(),
            },
        );
        let HandlerOutcome { state, output, rejected } = ran.await?;
        if !state.ptr_eq(&self.state) {
            // What a new owner would read, so that a state which JSON doesn't carry whole shows in the next
            // hook.
            let json = state.to_json().map_err(Error::reject)?;
            self.state = self.hosted.decode_state(&json).map_err(Error::reject)?;
        }
        self.lost = 0;
        self.memory.write(self.engine.take_writes());
        let mut rejected = rejected.into_iter().peekable();
        let mut causes = Vec::with_capacity(call.packets.len());
        for (index, packet) in call.packets.iter().cloned().enumerate() {
            match rejected.next_if(|rejected| rejected.index == index) {
                Some(Rejected { error, .. }) => self.rejected.push(RejectedPacket { packet, error }),
                None => causes.push(packet),
            }
        }
        Ok(output.map(|payload| self.output(payload, &causes)))
    }

    fn output(&mut self, payload: Payload, causes: &[Arc<DataPacket>]) -> Arc<DataPacket> {
        let packet = Arc::new(DataPacket {
            meeting: self.meeting.id.clone(),
            seq: self.memory.next_seq(),
            source: self.instance.clone(),
            timestamp: causes.iter().map(|packet| packet.timestamp).max().unwrap_or_else(|| self.clock.now()),
            received_at: self.clock.now(),
            participant: None,
            payload,
            producer: None,
            causes: causes.iter().map(|packet| packet.seq).collect(),
        });
        self.memory.append(packet.clone(), self.output);
        self.outputs.push(packet.clone());
        packet
    }
}
