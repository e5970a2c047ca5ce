//! The erasure line: typed plugins on one side, what the runtime handles on the other.
//!
//! [`Factory`] makes a [`StartedPlugin`] from a configuration; a meeting opens that into a [`Hosted`] plugin,
//! which runs hooks over a [`StateRef`].

use std::{fmt, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};

use super::{
    ConfigError, Cx, Hooks, InCallPlugin, InCallPluginMetadata, ShutdownCx,
    hooks::{Hook, HookId, HookOutcome},
    observer::HookObserver,
    state::{StateError, StateRef},
};
use crate::{
    DataPacket, Error, IntoPayload, MeetingEngine, MeetingId, MeetingMetadata, Name, Payload, decode,
    engine::llm::{Llm, SharedLlm},
};

/// Which of a plugin's handlers to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Invocation {
    /// A hook of its table.
    Hook(HookId),
    /// `on_meeting_start`.
    MeetingStart,
    /// `on_meeting_end`.
    MeetingEnd,
}

/// A packet of a batch that did not decode.
#[derive(Debug)]
pub struct Rejected {
    /// Its index in the packets that were handed over.
    pub index: usize,
    /// What is wrong with it.
    pub error: Error,
}

/// What a handler that ended well has made.
#[derive(Debug)]
pub struct HandlerOutcome {
    /// The state after it; the same pointer where it changed nothing.
    pub state: StateRef,
    /// Its output.
    pub output: Option<Payload>,
    /// Packets of a batch that did not decode and were left out.
    pub rejected: Vec<Rejected>,
}

/// What a call needs beside the plugin: the packets, what was lost before them, the state, the surroundings.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The packets; one, or as many as the hook's bound allows.
    pub packets: &'a [Arc<DataPacket>],
    /// How many packets were lost before these.
    pub gap: u64,
    /// The state to start from.
    pub state: StateRef,
    /// The meeting.
    pub meeting: &'a MeetingMetadata,
    /// The instance's name.
    pub instance: &'a Name,
    /// The engine.
    pub engine: &'a MeetingEngine,
}

trait DynPlugin: Send + Sync {
    fn open(self: Arc<Self>) -> Arc<dyn DynHosted>;
    fn shutdown<'a>(&'a self, cx: &'a ShutdownCx) -> BoxFuture<'a, Result<(), Error>>;
}

trait DynHosted: Send + Sync {
    fn hooks(&self) -> Vec<(HookId, Hook)>;
    fn initial_state(&self) -> StateRef;
    fn decode_state(&self, json: &str) -> Result<StateRef, StateError>;
    fn run<'a>(&'a self, what: Invocation, call: Call<'a>) -> BoxFuture<'a, Result<HandlerOutcome, Error>>;
    fn each<'a>(
        &'a self,
        hook: HookId,
        call: Call<'a>,
        observer: &'a dyn HookObserver,
    ) -> BoxFuture<'a, Result<(), Error>>;
}

struct Started<P>(P);

struct Open<P: InCallPlugin> {
    plugin: Arc<Started<P>>,
    hooks: Hooks<P>,
}

impl<P: InCallPlugin> DynPlugin for Started<P> {
    fn open(self: Arc<Self>) -> Arc<dyn DynHosted> {
        Arc::new(Open { plugin: self, hooks: Hooks::read() })
    }

    fn shutdown<'a>(&'a self, cx: &'a ShutdownCx) -> BoxFuture<'a, Result<(), Error>> {
        self.0.on_shutdown(cx).boxed()
    }
}

impl<P: InCallPlugin> DynHosted for Open<P> {
    fn hooks(&self) -> Vec<(HookId, Hook)> {
        let table = self.hooks.table.iter().enumerate();
        table.map(|(index, (hook, _))| (HookId(index), hook.clone())).collect()
    }

    fn initial_state(&self) -> StateRef {
        StateRef::new(P::State::default())
    }

    fn decode_state(&self, json: &str) -> Result<StateRef, StateError> {
        let state: P::State = decode::json(json).map_err(StateError::Decode)?;
        Ok(StateRef::new(state))
    }

    fn each<'a>(
        &'a self,
        hook: HookId,
        call: Call<'a>,
        observer: &'a dyn HookObserver,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let (_, hook) = &self.hooks.table[hook.0];
        hook.each(&self.plugin.0, Cx::of(call), observer)
    }

    fn run<'a>(&'a self, what: Invocation, call: Call<'a>) -> BoxFuture<'a, Result<HandlerOutcome, Error>> {
        let mut cx = Cx::of(call);
        let plugin = &self.plugin.0;
        async move {
            let mut kept = Vec::new();
            let (called, state) = match what {
                Invocation::Hook(id) => {
                    let (_, hook) = &self.hooks.table[id.0];
                    let mut cx = Cx { ..cx };
                    let called = hook.call(plugin, &mut cx, &mut kept).await?;
                    (called, cx.state)
                }
                Invocation::MeetingStart => {
                    let output = plugin.on_meeting_start(&mut cx).await?;
                    (whole(output), cx.state)
                }
                Invocation::MeetingEnd => {
                    let output = plugin.on_meeting_end(&mut cx).await?;
                    (whole(output), cx.state)
                }
            };
            Ok(HandlerOutcome {
                state: StateRef::of(state),
                output: called.output.map(IntoPayload::into_payload).transpose()?,
                rejected: called
                    .rejected
                    .into_iter()
                    .map(|(index, error)| Rejected { index, error })
                    .collect(),
            })
        }
        .boxed()
    }
}

impl<'a, P: InCallPlugin> Cx<'a, P> {
    fn of(call: Call<'a>) -> Self {
        let state = call.state.downcast::<P::State>();
        Self {
            packets: call.packets,
            gap: call.gap,
            state: state.expect("invariant: a plugin's state is of its own type"),
            meeting: call.meeting,
            instance: call.instance,
            engine: call.engine,
        }
    }
}

fn whole<O>(output: Option<O>) -> HookOutcome<O> {
    HookOutcome { output, rejected: Vec::new() }
}

/// A plugin that a node has started: what its instance in every meeting shares.
#[derive(Clone)]
pub struct StartedPlugin(Arc<dyn DynPlugin>);

impl StartedPlugin {
    /// Starts an instance with its table of the configuration; null stands for the default.
    ///
    /// # Errors
    /// If the table does not fit, or what `on_startup` returned.
    pub async fn start(factory: &Factory, table: serde_json::Value) -> Result<Self, Error> {
        (factory.start)(table).await
    }

    /// Opens it for a meeting: its hooks are read.
    pub fn open(&self) -> Hosted {
        let plugin = self.0.clone().open();
        Hosted { hooks: plugin.hooks().into(), plugin }
    }

    /// Runs `on_shutdown`; its questions to a model are asked by this instance, under this meeting's id.
    ///
    /// # Errors
    /// What the plugin returned.
    pub async fn shutdown(&self, models: SharedLlm, meeting: MeetingId, instance: Name) -> Result<(), Error> {
        self.0.shutdown(&ShutdownCx { llm: Llm::new(models, meeting, instance, None) }).await
    }
}

impl fmt::Debug for StartedPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StartedPlugin")
    }
}

/// A plugin as one meeting hosts it: with the hooks it declared for that meeting.
#[derive(Clone)]
pub struct Hosted {
    plugin: Arc<dyn DynHosted>,
    hooks: Arc<[(HookId, Hook)]>,
}

impl Hosted {
    /// Its hooks.
    pub fn hooks(&self) -> &[(HookId, Hook)] {
        &self.hooks
    }

    /// How often it wants a tick, if at all.
    pub fn every(&self) -> Option<Duration> {
        every(self.hooks.iter().map(|(_, hook)| hook))
    }

    /// The state that a meeting starts with.
    pub fn initial_state(&self) -> StateRef {
        self.plugin.initial_state()
    }

    /// A state read back from text.
    ///
    /// # Errors
    /// [`StateError::Decode`] if the text is of another type.
    pub fn decode_state(&self, json: &str) -> Result<StateRef, StateError> {
        self.plugin.decode_state(json)
    }

    /// Runs a handler.
    ///
    /// # Errors
    /// What the handler returned, or [`Error::reject`] for a packet that does not decode.
    ///
    /// # Panics
    /// If the plugin does, or if the state came from another plugin.
    pub async fn run(&self, what: Invocation, call: Call<'_>) -> Result<HandlerOutcome, Error> {
        self.plugin.run(what, call).await
    }

    /// Runs a hook once for each packet of the call, in their order, until one fails. The first is told of
    /// the gap.
    ///
    /// # Errors
    /// What the hook returned, [`Error::reject`] for a packet that does not decode, or what the observer
    /// says: for the packet that began last.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub async fn each(&self, hook: HookId, call: Call<'_>, observer: &dyn HookObserver) -> Result<(), Error> {
        self.plugin.each(hook, call, observer).await
    }
}

impl fmt::Debug for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosted").field("hooks", &self.hooks).finish_non_exhaustive()
    }
}

/// How to make one plugin: a few function pointers, so that tables of them are constants.
#[derive(Clone, Copy)]
pub struct Factory {
    name: &'static str,
    kind: &'static str,
    version: &'static str,
    needs_llm: bool,
    metadata: fn() -> Result<InCallPluginMetadata, String>,
    check: fn(&serde_json::Value) -> Result<(), ConfigError>,
    install: fn() -> BoxFuture<'static, Result<(), Error>>,
    start: fn(serde_json::Value) -> BoxFuture<'static, Result<StartedPlugin, Error>>,
}

fn config<P: InCallPlugin>(table: serde_json::Value) -> Result<P::Config, ConfigError> {
    match table {
        serde_json::Value::Null => Ok(P::Config::default()),
        serde_json::Value::Object(table) if table.is_empty() => Ok(P::Config::default()),
        table => super::config::read(table),
    }
}

impl Factory {
    /// The factory of a plugin type. `name` is what its instance is called where the configuration names
    /// none.
    pub const fn of<P: InCallPlugin>(name: &'static str) -> Self {
        Self {
            name,
            kind: P::KIND,
            version: P::VERSION,
            needs_llm: P::NEEDS_LLM,
            metadata: metadata::<P>,
            check: |table| config::<P>(table.clone()).map(drop),
            install: || P::on_install().boxed(),
            start: |table| {
                async move {
                    let config = config::<P>(table).map_err(Error::reject)?;
                    let plugin = P::on_startup(config).await?;
                    Ok(StartedPlugin(Arc::new(Started(plugin))))
                }
                .boxed()
            },
        }
    }

    /// What its instance is called where the configuration names none.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The plugin's kind.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The plugin's version.
    pub fn version(&self) -> &'static str {
        self.version
    }

    /// Whether the plugin is of no use without a language model.
    pub fn needs_llm(&self) -> bool {
        self.needs_llm
    }

    /// Reads the plugin's metadata off its type and hooks.
    ///
    /// # Errors
    /// What is wrong with its hooks: a malformed or reserved source, or one named twice.
    pub fn metadata(&self) -> Result<InCallPluginMetadata, String> {
        (self.metadata)()
    }

    /// Whether a table is one that the plugin's configuration can be read from; null stands for the default.
    ///
    /// # Errors
    /// What is wrong with it, and at which key.
    pub fn check_config(&self, table: &serde_json::Value) -> Result<(), ConfigError> {
        (self.check)(table)
    }

    /// Runs `on_install`.
    ///
    /// # Errors
    /// What the plugin returned.
    pub async fn install(&self) -> Result<(), Error> {
        (self.install)().await
    }
}

impl fmt::Debug for Factory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Factory")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

fn metadata<P: InCallPlugin>() -> Result<InCallPluginMetadata, String> {
    let hooks = Hooks::<P>::read();
    if let Some(problem) = hooks.problem {
        return Err(problem);
    }
    let every = every(hooks.table.iter().map(|(hook, _)| hook));
    Ok(InCallPluginMetadata {
        name: P::KIND,
        version: P::VERSION,
        sources: hooks.sources().cloned().collect(),
        policies: hooks.policies.iter().cloned().collect(),
        every,
        output: P::OUTPUT,
        needs_llm: P::NEEDS_LLM,
        config: schemars::schema_for!(P::Config),
        output_schema: P::Output::schema(),
    })
}

/// How often a plugin with these hooks wants a tick.
fn every<'a>(mut hooks: impl Iterator<Item = &'a Hook>) -> Option<Duration> {
    hooks.find_map(|hook| match hook {
        Hook::Every(period) => Some(*period),
        Hook::Source { .. } => None,
    })
}
