//! The erasure line, on the side of the runtime: plugins whose types are forgotten.
//!
//! A [`Factory`](crate::Factory) makes a [`StartedPlugin`]. A meeting opens that into a [`Hosted`] plugin,
//! which runs hooks over a [`StateRef`]. Two kinds of plugin stand behind this line: types that implement
//! [`InCallPlugin`](crate::InCallPlugin), and values that implement
//! [`DynamicPlugin`](crate::plugin::DynamicPlugin).

use std::{fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;

use super::{
    hook_table::{Hook, HookId, period},
    input::Tries,
    observer::HookObserver,
    outputs::Outputs,
    shutdown::ShutdownCx,
    state::{StateError, StateRef},
};
use crate::{
    DataPacket, Error, MeetingEngine, MeetingId, MeetingMetadata, Name,
    engine::llm::{Llm, SharedLlm},
};

/// Which of a plugin's handlers to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Invocation {
    /// A hook of the plugin's table.
    Hook(HookId),
    /// `on_meeting_start`.
    MeetingStart,
    /// `on_meeting_end`.
    MeetingEnd,
}

/// A packet of a batch that the hook ran without, because it does not decode.
#[derive(Debug)]
pub struct Rejected {
    /// The packet's index in the call.
    pub index: usize,
    /// What is wrong with the packet.
    pub error: Error,
}

/// The result of a handler that ended well.
#[derive(Debug)]
pub struct HandlerOutcome {
    /// The state after the handler; the same pointer where it changed nothing.
    pub state: StateRef,
    /// The handler's outputs.
    pub outputs: Outputs,
    /// Packets of a batch that the hook ran without, in the order of their indices.
    pub rejected: Vec<Rejected>,
}

/// What a call needs beside the plugin.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The packets, at least one and at most as many as the hook's bound.
    pub packets: &'a [Arc<DataPacket>],
    /// How many packets were lost before these.
    pub gap: u64,
    /// Which try of the first packet, or of the batch, this is. Later packets have their first.
    pub tries: Tries,
    /// The state to start from.
    pub state: StateRef,
    /// The meeting.
    pub meeting: &'a MeetingMetadata,
    /// The instance's name.
    pub instance: &'a Name,
    /// The engine.
    pub engine: &'a MeetingEngine,
}

pub(super) trait DynStarted: Send + Sync {
    fn open(self: Arc<Self>) -> Arc<dyn DynHosted>;
    fn shutdown<'a>(&'a self, cx: &'a ShutdownCx) -> BoxFuture<'a, Result<(), Error>>;
}

pub(super) trait DynHosted: Send + Sync {
    fn hooks(&self) -> Vec<(HookId, Hook)>;
    fn with_new_scratch(&self) -> Arc<dyn DynHosted>;
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

/// A plugin that a node has started; its instance in all meetings shares this value.
#[derive(Clone)]
pub struct StartedPlugin(pub(super) Arc<dyn DynStarted>);

impl StartedPlugin {
    /// Opens the plugin for a meeting, which reads its hooks.
    pub fn open(&self) -> Hosted {
        let plugin = self.0.clone().open();
        Hosted { hooks: plugin.hooks().into(), plugin }
    }

    /// Runs `on_shutdown`; its questions to a model are asked by this instance, under this meeting's id.
    ///
    /// # Errors
    /// The plugin's error.
    pub async fn shutdown(&self, models: SharedLlm, meeting: MeetingId, instance: Name) -> Result<(), Error> {
        self.0.shutdown(&ShutdownCx { llm: Llm::new(models, meeting, instance, None) }).await
    }
}

impl fmt::Debug for StartedPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StartedPlugin")
    }
}

/// A plugin as one meeting hosts it, with the hooks that it declared for that meeting.
#[derive(Clone)]
pub struct Hosted {
    plugin: Arc<dyn DynHosted>,
    hooks: Arc<[(HookId, Hook)]>,
}

impl Hosted {
    /// The plugin's hooks.
    pub fn hooks(&self) -> &[(HookId, Hook)] {
        &self.hooks
    }

    /// The time between two ticks, if the plugin asks for them.
    pub fn every(&self) -> Option<Duration> {
        period(self.hooks.iter().map(|(_, hook)| hook))
    }

    /// The same plugin in the same meeting, for another actor: with a scratch of its own.
    #[must_use]
    pub fn with_new_scratch(&self) -> Self {
        Self { plugin: self.plugin.with_new_scratch(), hooks: self.hooks.clone() }
    }

    /// The state that a meeting starts with.
    pub fn initial_state(&self) -> StateRef {
        self.plugin.initial_state()
    }

    /// Reads a state back from JSON text.
    ///
    /// # Errors
    /// [`StateError::Decode`] if the text is of another type.
    pub fn decode_state(&self, json: &str) -> Result<StateRef, StateError> {
        self.plugin.decode_state(json)
    }

    /// Runs a handler.
    ///
    /// # Errors
    /// The handler's error, or [`Error::reject`] for a packet that does not decode and for an output that
    /// should be JSON and is not.
    ///
    /// # Panics
    /// If the plugin panics, or if the state came from another plugin.
    pub async fn run(&self, what: Invocation, call: Call<'_>) -> Result<HandlerOutcome, Error> {
        self.plugin.run(what, call).await
    }

    /// Runs a hook once for each packet of the call, in order, until one fails. The first run is given the
    /// gap.
    ///
    /// # Errors
    /// The hook's error, [`Error::reject`] for a packet that does not decode, or the observer's error. It
    /// belongs to the packet that began last.
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
