//! The erasure line, on the side of types that implement [`InCallPlugin`].

use std::{borrow::Cow, marker::PhantomData, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use serde_json::Value;

use super::{
    config::{self, ConfigError},
    contract::{Cx, HookOutcome, Hooks, InCallPlugin},
    erased::{Call, DynHosted, DynStarted, HandlerOutcome, Invocation, Rejected, StartedPlugin},
    factory::{Factory, Maker, MakesPlugin},
    hook_table::{Hook, HookId},
    metadata::InCallPluginMetadata,
    observer::HookObserver,
    outputs::Outputs,
    scratch::ScratchCell,
    shutdown::ShutdownCx,
    startup::StartupCx,
    state::{StateError, StateRef},
};
use crate::{Error, IntoPayload, decode};

impl Factory {
    /// The factory of a plugin type. `name` is the name of its instance where the configuration gives none.
    pub const fn of<P: InCallPlugin>(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), is_hosted: false, maker: Maker::Constant(Type::<P>::MAKER) }
    }
}

/// Makes plugins of a type.
struct Type<P>(PhantomData<fn() -> P>);

impl<P: InCallPlugin> Type<P> {
    const MAKER: &'static dyn MakesPlugin = &Self(PhantomData);

    fn config(table: Value) -> Result<P::Config, ConfigError> {
        match table {
            Value::Null => Ok(P::Config::default()),
            Value::Object(table) if table.is_empty() => Ok(P::Config::default()),
            table => config::read(table),
        }
    }
}

impl<P: InCallPlugin> MakesPlugin for Type<P> {
    fn kind(&self) -> &str {
        P::KIND
    }

    fn version(&self) -> &str {
        P::VERSION
    }

    fn needs_llm(&self) -> bool {
        P::NEEDS_LLM
    }

    fn metadata(&self) -> Result<InCallPluginMetadata, String> {
        let table = Hooks::<P>::read().table;
        if let Some(problem) = table.problem {
            return Err(problem);
        }
        Ok(InCallPluginMetadata {
            name: P::KIND.into(),
            version: P::VERSION.into(),
            sources: table.sources().cloned().collect(),
            takes: table.takes(|handler| handler.takes()),
            policies: table.policies.iter().cloned().collect(),
            every: table.period(),
            takes_wakes: table.takes_wakes(),
            output: P::OUTPUT,
            needs_llm: P::NEEDS_LLM,
            config: schemars::schema_for!(P::Config),
            output_type: P::Output::writes(),
        })
    }

    fn check_config(&self, table: &Value) -> Result<(), ConfigError> {
        Self::config(table.clone()).map(drop)
    }

    fn install(&self) -> BoxFuture<'_, Result<(), Error>> {
        P::on_install().boxed()
    }

    fn start(&self, table: Value, cx: StartupCx) -> BoxFuture<'_, Result<StartedPlugin, Error>> {
        async move {
            let config = Self::config(table).map_err(Error::reject)?;
            let plugin = P::on_startup(config, &cx).await?;
            Ok(StartedPlugin(Arc::new(Started(plugin))))
        }
        .boxed()
    }
}

struct Started<P>(P);

struct Open<P: InCallPlugin> {
    plugin: Arc<Started<P>>,
    hooks: Arc<Hooks<P>>,
    scratch: ScratchCell<P::Scratch>,
}

impl<P: InCallPlugin> DynStarted for Started<P> {
    fn open(self: Arc<Self>) -> Arc<dyn DynHosted> {
        Arc::new(Open { plugin: self, hooks: Arc::new(Hooks::read()), scratch: ScratchCell::new() })
    }

    fn shutdown<'a>(&'a self, cx: &'a ShutdownCx) -> BoxFuture<'a, Result<(), Error>> {
        self.0.on_shutdown(cx).boxed()
    }
}

impl<P: InCallPlugin> DynHosted for Open<P> {
    fn hooks(&self) -> Vec<(HookId, Hook)> {
        self.hooks.table.listed()
    }

    fn with_new_scratch(&self) -> Arc<dyn DynHosted> {
        let (plugin, hooks) = (self.plugin.clone(), self.hooks.clone());
        Arc::new(Self { plugin, hooks, scratch: ScratchCell::new() })
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
        let (_, hook) = &self.hooks.table.hooks[hook.0];
        hook.each(&self.plugin.0, self.cx(call), observer)
    }

    fn run<'a>(&'a self, what: Invocation, call: Call<'a>) -> BoxFuture<'a, Result<HandlerOutcome, Error>> {
        let mut cx = self.cx(call);
        let plugin = &self.plugin.0;
        async move {
            let mut kept = Vec::new();
            let (outcome, state, emitted) = match what {
                Invocation::Hook(id) => {
                    let (_, hook) = &self.hooks.table.hooks[id.0];
                    let mut cx = Cx { ..cx };
                    let outcome = hook.call(plugin, &mut cx, &mut kept).await?;
                    (outcome, cx.state, cx.emitted)
                }
                Invocation::MeetingStart => {
                    let output = plugin.on_meeting_start(&mut cx).await?;
                    (whole(output), cx.state, cx.emitted)
                }
                Invocation::MeetingEnd => {
                    let output = plugin.on_meeting_end(&mut cx).await?;
                    (whole(output), cx.state, cx.emitted)
                }
            };
            Ok(HandlerOutcome {
                state: StateRef::of(state),
                outputs: Outputs::of(emitted, outcome.output)?,
                rejected: outcome
                    .rejected
                    .into_iter()
                    .map(|(index, error)| Rejected { index, error })
                    .collect(),
            })
        }
        .boxed()
    }
}

impl<P: InCallPlugin> Open<P> {
    fn cx<'a>(&self, call: Call<'a>) -> Cx<'a, P> {
        let state = call.state.downcast::<P::State>();
        Cx {
            packets: call.packets,
            gap: call.gap,
            tries: call.tries,
            takes_wakes: self.hooks.table.takes_wakes(),
            state: state.expect("invariant: a plugin's state is of its own type"),
            emitted: Vec::new(),
            scratch: self.scratch.lend(),
            meeting: call.meeting,
            instance: call.instance,
            engine: call.engine,
        }
    }
}

fn whole<O>(output: Option<O>) -> HookOutcome<O> {
    HookOutcome { output, rejected: Vec::new() }
}
