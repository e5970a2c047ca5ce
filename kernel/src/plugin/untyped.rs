//! The erasure line, on the side of values that implement [`DynamicPlugin`].

use std::{borrow::Cow, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use serde_json::Value;

use super::{
    config::ConfigError,
    dynamic::{DynamicCx, DynamicInstance, DynamicPlugin, DynamicRun, DynamicSpec, JsonState},
    erased::{Call, DynHosted, DynStarted, HandlerOutcome, Invocation, Rejected, StartedPlugin},
    factory::{Factory, Maker, MakesPlugin},
    hook_table::{Hook, HookId},
    metadata::InCallPluginMetadata,
    observer::HookObserver,
    outputs::Outputs,
    shutdown::ShutdownCx,
    startup::StartupCx,
    state::{StateError, StateRef},
};
use crate::{DataType, Error, Payload, decode};

impl Factory {
    /// The factory of a plugin that is known at run time only. `name` is the name of its instance where the
    /// configuration gives none.
    pub fn dynamic(name: impl Into<Cow<'static, str>>, plugin: impl DynamicPlugin) -> Self {
        let maker = Described { spec: plugin.spec(), plugin };
        Self { name: name.into(), maker: Maker::Shared(Arc::new(maker)), is_hosted: false }
    }
}

/// Makes plugins from a value.
struct Described<P> {
    spec: DynamicSpec,
    plugin: P,
}

impl<P: DynamicPlugin> MakesPlugin for Described<P> {
    fn kind(&self) -> &str {
        &self.spec.kind
    }

    fn version(&self) -> &str {
        &self.spec.version
    }

    fn needs_llm(&self) -> bool {
        self.spec.needs_llm
    }

    fn metadata(&self) -> Result<InCallPluginMetadata, String> {
        let DynamicSpec { kind, version, table, output, needs_llm, config, output_type } = &self.spec;
        if let Some(problem) = &table.problem {
            return Err(problem.clone());
        }
        Ok(InCallPluginMetadata {
            name: kind.clone(),
            version: version.clone(),
            sources: table.sources().cloned().collect(),
            takes: table.takes(DataType::clone),
            policies: table.policies.iter().cloned().collect(),
            every: table.period(),
            takes_wakes: table.takes_wakes(),
            output: *output,
            needs_llm: *needs_llm,
            config: config.clone(),
            output_type: output_type.clone(),
        })
    }

    fn check_config(&self, table: &Value) -> Result<(), ConfigError> {
        self.plugin.check_config(table)
    }

    fn install(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.plugin.on_install().boxed()
    }

    fn start(&self, table: Value, cx: StartupCx) -> BoxFuture<'_, Result<StartedPlugin, Error>> {
        async move {
            self.plugin.check_config(&table).map_err(Error::reject)?;
            let instance = self.plugin.on_startup(table, &cx).await?;
            let hooks = self.spec.table.listed().into();
            Ok(StartedPlugin(Arc::new(Started { instance, hooks })))
        }
        .boxed()
    }
}

struct Started<I> {
    instance: I,
    hooks: Arc<[(HookId, Hook)]>,
}

/// A started plugin in any meeting: nothing of it depends on the meeting.
struct Open<I>(Arc<Started<I>>);

impl<I: DynamicInstance> DynStarted for Started<I> {
    fn open(self: Arc<Self>) -> Arc<dyn DynHosted> {
        Arc::new(Open(self))
    }

    fn shutdown<'a>(&'a self, cx: &'a ShutdownCx) -> BoxFuture<'a, Result<(), Error>> {
        self.instance.on_shutdown(cx).boxed()
    }
}

impl<I: DynamicInstance> DynHosted for Open<I> {
    fn hooks(&self) -> Vec<(HookId, Hook)> {
        self.0.hooks.to_vec()
    }

    fn with_new_scratch(&self) -> Arc<dyn DynHosted> {
        Arc::new(Self(self.0.clone()))
    }

    fn initial_state(&self) -> StateRef {
        StateRef::new(JsonState::default())
    }

    fn decode_state(&self, json: &str) -> Result<StateRef, StateError> {
        let state: JsonState = decode::json(json).map_err(StateError::Decode)?;
        Ok(StateRef::new(state))
    }

    fn run<'a>(&'a self, what: Invocation, call: Call<'a>) -> BoxFuture<'a, Result<HandlerOutcome, Error>> {
        let mut cx = DynamicCx::of(call, &self.0.hooks);
        let Started { instance, hooks } = &*self.0;
        async move {
            let output = match what {
                Invocation::Hook(id) => instance.receive(&hooks[id.0].1, &mut cx).await?,
                Invocation::MeetingStart => instance.on_meeting_start(&mut cx).await?,
                Invocation::MeetingEnd => instance.on_meeting_end(&mut cx).await?,
            };
            cx.outcome(output)
        }
        .boxed()
    }

    fn each<'a>(
        &'a self,
        hook: HookId,
        call: Call<'a>,
        observer: &'a dyn HookObserver,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let Started { instance, hooks } = &*self.0;
        let mut run = DynamicRun::new(DynamicCx::of(call, hooks), observer);
        let (_, hook) = &hooks[hook.0];
        async move { instance.receive_each(hook, &mut run).await }.boxed()
    }
}

impl<'a> DynamicCx<'a> {
    fn of(call: Call<'a>, hooks: &[(HookId, Hook)]) -> Self {
        let state = call.state.downcast::<JsonState>();
        Self {
            packets: call.packets,
            gap: call.gap,
            tries: call.tries,
            takes_wakes: hooks.iter().any(|(_, hook)| *hook == Hook::Wake),
            emitted: Vec::new(),
            state: state.expect("invariant: a dynamic plugin's state is JSON text"),
            rejected: Vec::new(),
            meeting: call.meeting,
            instance: call.instance,
            engine: call.engine,
        }
    }

    /// The result of a hook that returned well. One that has rejected all of its packets has failed.
    fn outcome(mut self, output: Option<Payload>) -> Result<HandlerOutcome, Error> {
        if self.rejected.len() == self.packets.len() {
            return Err(self.rejected.swap_remove(0).1);
        }
        self.rejected.sort_unstable_by_key(|(index, _)| *index);
        let rejected = self.rejected.into_iter().map(|(index, error)| Rejected { index, error });
        let outputs = Outputs::of(self.emitted, output)?;
        Ok(HandlerOutcome { state: StateRef::of(self.state), outputs, rejected: rejected.collect() })
    }
}
