//! The traits that a plugin's author implements, and the two types that their signatures name.

use std::{future::Future, sync::Arc};

use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    durability::Durability,
    hook_table::HookTable,
    input::{Tries, Wake, wake_at},
    observer::HookObserver,
    outputs::Emitted,
    scratch::Scratch,
    shutdown::ShutdownCx,
    startup::StartupCx,
};
use crate::{
    DataPacket, DataType, DatastoreError, Error, IntoPayload, MeetingEngine, MeetingMetadata, Name, Timestamp,
};

/// A plugin: resources, and hooks over a per-meeting state.
///
/// # Examples
/// ```
/// use teammy_kernel::{Cx, Error, Hooks, InCallPlugin, StartupCx, Json, Receive, data::Chat};
///
/// /// Counts chat messages.
/// struct Counter;
///
/// impl InCallPlugin for Counter {
///     type Config = ();
///     type State = u64;
///     type Scratch = ();
///     type Output = Json<u64>;
///     const KIND: &'static str = "counter";
///     const VERSION: &'static str = "1.0.0";
///     async fn on_startup((): (), _: &StartupCx) -> Result<Self, Error> {
///         Ok(Self)
///     }
///     fn hooks(hooks: Hooks<Self>) -> Hooks<Self> {
///         hooks.on::<Json<Chat>>("chat")
///     }
/// }
///
/// impl Receive<Json<Chat>> for Counter {
///     async fn receive(&self, _: Json<Chat>, cx: &mut Cx<'_, Self>) -> Result<Option<Json<u64>>, Error> {
///         *cx.state_mut() += 1;
///         Ok(Some(Json(*cx.state())))
///     }
/// }
/// ```
pub trait InCallPlugin: Sized + Send + Sync + 'static {
    /// The plugin's table in the configuration; an instance without one gets the default.
    type Config: DeserializeOwned + Default + JsonSchema + Send + 'static;
    /// What the plugin remembers of one meeting.
    type State: Clone + Serialize + DeserializeOwned + Default + Send + Sync + 'static;
    /// What the plugin remembers of one meeting and does not store, such as sums over the last second of audio:
    /// lost with a crash, a restart and a takeover, and not undone when a hook fails. `()` for none.
    type Scratch: Default + Send + 'static;
    /// The plugin's outputs. Each becomes a packet whose source is the instance's name.
    type Output: IntoPayload;
    /// The plugin's name, which the configuration and Cargo features use too.
    const KIND: &'static str;
    /// The plugin's version.
    const VERSION: &'static str;
    /// Whether outputs are stored.
    const OUTPUT: Durability = Durability::Durable;
    /// Whether the plugin cannot work without a language model. A meeting refuses its instances where none is
    /// configured, so that no hook has to fail.
    const NEEDS_LLM: bool = false;

    /// Prepares what the plugin needs on a machine, once, when that machine's image is built.
    ///
    /// # Errors
    /// Any error stops the installation.
    fn on_install() -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }

    /// Makes an instance, when its node starts. `cx` has what the embedding program shares with its plugins.
    ///
    /// # Errors
    /// Any error stops the node's start, such as a configuration that makes no sense.
    fn on_startup(config: Self::Config, cx: &StartupCx) -> impl Future<Output = Result<Self, Error>> + Send;

    /// Declares which sources the plugin takes. Runs once for each meeting.
    fn hooks(hooks: Hooks<Self>) -> Hooks<Self>;

    /// Runs when the instance joins a meeting, before the meeting's first packet reaches it.
    ///
    /// # Errors
    /// As a hook's: retried, then a dead letter. The instance takes part either way.
    fn on_meeting_start(
        &self,
        cx: &mut Cx<'_, Self>,
    ) -> impl Future<Output = Result<Option<Self::Output>, Error>> + Send {
        let _ = cx;
        async { Ok(None) }
    }

    /// Runs after the instance's last packet of a meeting: at the meeting's end, or when the instance leaves.
    ///
    /// # Errors
    /// As a hook's: retried, then a dead letter. The meeting ends either way.
    fn on_meeting_end(
        &self,
        cx: &mut Cx<'_, Self>,
    ) -> impl Future<Output = Result<Option<Self::Output>, Error>> + Send {
        let _ = cx;
        async { Ok(None) }
    }

    /// Runs when the node stops gracefully, after its meetings have released the instance.
    ///
    /// # Errors
    /// Any error is logged.
    fn on_shutdown(&self, cx: &ShutdownCx) -> impl Future<Output = Result<(), Error>> + Send {
        let _ = cx;
        async { Ok(()) }
    }
}

/// A hook: what a plugin does with one kind of data.
///
/// `T` is the hook's input: a [`Json`](crate::Json) of a type, `String`, [`Bytes`](bytes::Bytes), a whole
/// [`DataPacket`] behind `Arc`, a [`Batch`](crate::Batch) of one of them, a [`Tick`](crate::Tick), or a [`Wake`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` names a hook for `{T}` but does not implement it",
    label = "no `Receive<{T}>` for `{Self}`",
    note = "write `impl Receive<{T}> for {Self}` beside `impl InCallPlugin for {Self}`"
)]
pub trait Receive<T>: InCallPlugin {
    /// Takes the data. The returned output becomes a packet.
    ///
    /// # Errors
    /// [`Error::retry`], which `?` makes, has the packet tried again; [`Error::reject`] makes it a dead
    /// letter at once. Either way the hook has changed nothing: no state, no key, no output.
    ///
    /// # Cancel safety
    /// A hook that passes its deadline is dropped at an await point, and counts as failed.
    fn receive(
        &self,
        data: T,
        cx: &mut Cx<'_, Self>,
    ) -> impl Future<Output = Result<Option<Self::Output>, Error>> + Send;
}

/// A hook's context: the state, the packets, the meeting, the engine.
pub struct Cx<'a, P: InCallPlugin> {
    pub(super) packets: &'a [Arc<DataPacket>],
    pub(super) gap: u64,
    pub(super) tries: Tries,
    pub(super) takes_wakes: bool,
    pub(super) state: Arc<P::State>,
    pub(super) emitted: Vec<Emitted<P::Output>>,
    pub(super) scratch: Scratch<P::Scratch>,
    pub(super) meeting: &'a MeetingMetadata,
    pub(super) instance: &'a Name,
    pub(super) engine: &'a MeetingEngine,
}

impl<P: InCallPlugin> Cx<'_, P> {
    /// The instance's state in this meeting.
    pub fn state(&self) -> &P::State {
        &self.state
    }

    /// The state, to be changed. The first use in a hook copies it, so that a failing hook changes nothing.
    pub fn state_mut(&mut self) -> &mut P::State {
        Arc::make_mut(&mut self.state)
    }

    /// The instance's memory of this meeting that is not stored. It begins with its default when the instance's
    /// actor starts, and keeps what a failed hook did to it.
    pub fn scratch(&self) -> &P::Scratch {
        &self.scratch
    }

    /// The memory that is not stored, to be changed.
    pub fn scratch_mut(&mut self) -> &mut P::Scratch {
        &mut self.scratch
    }

    /// The packet that the hook runs on; of a batch the newest.
    pub fn packet(&self) -> &DataPacket {
        self.packets.last().expect("invariant: a hook runs on at least one packet")
    }

    /// All packets that the hook runs on, oldest first: one, or a batch's.
    pub fn packets(&self) -> &[Arc<DataPacket>] {
        self.packets
    }

    /// Puts out a packet beside the one that the hook returns: before it, in the order of these calls, and from
    /// the same packets. All are stored with the hook's other effects or, if it fails, none.
    ///
    /// One hook may put out 1,000 packets, of 4 MiB in all.
    pub fn emit(&mut self, output: P::Output) {
        self.emit_by(None, output);
    }

    /// Puts out a packet as [`emit`](Self::emit) does, which names a participant: who said what a plugin heard in
    /// sound, for example. The name may be at most [`DataPacket::MAX_PARTICIPANT_BYTES`] long.
    pub fn emit_by(&mut self, participant: Option<Arc<str>>, output: P::Output) {
        self.emitted.push(Emitted { output, participant });
    }

    /// Which try of these packets this is: 1, or more after the hook failed on them.
    ///
    /// Tries count anew for each packet, and after a restart of the node or of the instance's actor, unless
    /// that panicked on this packet.
    pub fn attempt(&self) -> u32 {
        self.tries.attempt
    }

    /// Whether the packets are given up if the hook fails now: `hooks.tries` of the configuration are used up.
    ///
    /// A plugin can do with less then, such as a plain sentence instead of a model's answer.
    pub fn is_last_attempt(&self) -> bool {
        self.tries.is_last()
    }

    /// How many packets of this instance's sources were lost since the last hook, because the instance was
    /// too slow for a volatile source.
    pub fn gap(&self) -> u64 {
        self.gap
    }

    /// The meeting.
    pub fn meeting(&self) -> &MeetingMetadata {
        self.meeting
    }

    /// The name of this instance, which is the source of its outputs.
    pub fn instance(&self) -> &Name {
        self.instance
    }

    /// The language models, the instance's keys and values, and the meeting's history.
    pub fn engine(&self) -> &MeetingEngine {
        self.engine
    }
}

impl<P: Receive<Wake>> Cx<'_, P> {
    /// Asks for a [`Wake`] at a time of the meeting's clock. It is kept with the state and committed with this
    /// hook's other effects; if the hook fails, it was not asked for. An earlier one of the same key is replaced.
    ///
    /// The meeting's clock is the latest timestamp of its packets, and the time since then. The wake comes **before**
    /// the packet of this instance that carries the clock to its time or past it, or before the instance's end;
    /// without such a packet it comes when the clock gets there. So a recording gives the same at any speed. It
    /// comes once, also after a crash and on another node, as a packet comes: its hook is tried again when it
    /// fails. A time that has passed is due at once. What is due after the meeting's end never comes.
    ///
    /// The plugin must name [`Hooks::on_wake`] in its hooks.
    ///
    /// # Errors
    /// [`DatastoreError::Key`] if the key is empty or too long, [`DatastoreError::Written`] if the hook writes too
    /// much, [`DatastoreError::NoWakeHook`] if the plugin does not name [`Hooks::on_wake`].
    pub fn wake_at(&mut self, at: Timestamp, key: &str) -> Result<(), DatastoreError> {
        wake_at(self.takes_wakes, self.engine, self.packet(), at, key)
    }

    /// Cancels a wake. That of an unknown key is no error.
    ///
    /// # Errors
    /// As [`wake_at`](Self::wake_at).
    pub fn cancel(&mut self, key: &str) -> Result<(), DatastoreError> {
        self.engine.datastore().cancel(key)
    }
}

/// The sources that a plugin takes, each with its hook; filled by [`InCallPlugin::hooks`].
pub struct Hooks<P: InCallPlugin> {
    pub(super) table: HookTable<Box<dyn Handler<P>>>,
}

/// The result of a call: the returned output, and the packets of a batch that did not decode, by their index.
pub(super) struct HookOutcome<O> {
    pub(super) output: Option<O>,
    pub(super) rejected: Vec<(usize, Error)>,
}

/// A hook whose input type is erased.
pub(super) trait Handler<P: InCallPlugin>: Send + Sync {
    /// What a packet must carry for the hook to read it.
    fn takes(&self) -> DataType;

    /// Runs once on all packets. `keep` holds those packets of a batch that decoded, where some did not.
    fn call<'a, 'b: 'a>(
        &'a self,
        plugin: &'a P,
        cx: &'a mut Cx<'b, P>,
        keep: &'b mut Vec<Arc<DataPacket>>,
    ) -> BoxFuture<'a, Result<HookOutcome<P::Output>, Error>>;

    /// Runs once for each packet, as one future: all packets share the cost of a call.
    fn each<'a>(
        &'a self,
        plugin: &'a P,
        cx: Cx<'a, P>,
        observer: &'a dyn HookObserver,
    ) -> BoxFuture<'a, Result<(), Error>>;
}
