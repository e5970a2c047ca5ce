//! The plugin contract.
//!
//! An author implements [`InCallPlugin`] for a type that holds resources only, names its sources in
//! [`InCallPlugin::hooks`], and implements [`Receive`] once for each. What a meeting needs to remember is the
//! plugin's `State`: the runtime hands each hook a state to read and change, keeps what it made if the hook
//! ends well, and drops it if not.

mod bundle;
mod config;
mod cx;
mod delivery_policy;
pub(crate) mod erase;
pub(crate) mod hooks;
mod observer;
pub(crate) mod state;

use std::{collections::BTreeMap, future::Future, ops::Deref, time::Duration};

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

pub use bundle::{Bundle, KnownKind};
pub use config::ConfigError;
pub use cx::{Cx, ShutdownCx};
pub use delivery_policy::{DeliveryPolicy, Key, KeyError};
pub use erase::Factory;
#[cfg(any(test, feature = "runtime"))]
pub use erase::{Call, HandlerOutcome, Hosted, Invocation, Rejected, StartedPlugin};
pub use hooks::Hooks;
#[cfg(any(test, feature = "runtime"))]
pub use hooks::{Hook, HookId};
#[cfg(any(test, feature = "runtime"))]
pub use observer::{HookObserver, Pace};
#[cfg(any(test, feature = "runtime"))]
pub use state::{StateError, StateRef};

use crate::{Error, IntoPayload, Name};

/// Whether packets of a source are kept, or live in memory only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Each is committed to the store; none is lost.
    #[default]
    Durable,
    /// None is stored; a reader that is too slow misses some and is told how many.
    Volatile,
}

/// A plugin: resources, and hooks over a per-meeting state.
///
/// # Examples
/// ```
/// use teammy_kernel::{Cx, Error, Hooks, InCallPlugin, Json, Receive, data::Chat};
///
/// /// Counts chat messages.
/// struct Counter;
///
/// impl InCallPlugin for Counter {
///     type Config = ();
///     type State = u64;
///     type Output = Json<u64>;
///     const KIND: &'static str = "counter";
///     const VERSION: &'static str = "1.0.0";
///     async fn on_startup((): ()) -> Result<Self, Error> {
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
    /// Its table in the configuration; an instance without one gets the default.
    type Config: DeserializeOwned + Default + JsonSchema + Send + 'static;
    /// What it remembers of one meeting.
    type State: Clone + Serialize + DeserializeOwned + Default + Send + Sync + 'static;
    /// What it puts out; a packet whose source is the instance's name.
    type Output: IntoPayload;
    /// The name of this plugin, which configuration and features use too.
    const KIND: &'static str;
    /// Its version.
    const VERSION: &'static str;
    /// Whether its outputs are kept.
    const OUTPUT: Durability = Durability::Durable;
    /// Whether it is of no use without a language model. Where none is configured, a meeting refuses its
    /// instances instead of failing in its hooks.
    const NEEDS_LLM: bool = false;

    /// Prepares what the plugin needs on a machine, once, when that machine's image is built.
    ///
    /// # Errors
    /// Whatever stands in the way; it stops the installation.
    fn on_install() -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }

    /// Makes an instance, when its node starts.
    ///
    /// # Errors
    /// Whatever stands in the way, such as a configuration that makes no sense; it stops the node's start.
    fn on_startup(config: Self::Config) -> impl Future<Output = Result<Self, Error>> + Send;

    /// Declares which sources the plugin takes; read once for each meeting.
    fn hooks(hooks: Hooks<Self>) -> Hooks<Self>;

    /// Runs when the instance begins to take part in a meeting, before any packet of it.
    ///
    /// # Errors
    /// As a hook's: tried again, then a dead letter; the instance takes part either way.
    fn on_meeting_start(
        &self,
        cx: &mut Cx<'_, Self>,
    ) -> impl Future<Output = Result<Option<Self::Output>, Error>> + Send {
        let _ = cx;
        async { Ok(None) }
    }

    /// Runs when the instance has had its last packet of a meeting: at the meeting's end, or when it is taken
    /// out.
    ///
    /// # Errors
    /// As a hook's: tried again, then a dead letter; the meeting ends either way.
    fn on_meeting_end(
        &self,
        cx: &mut Cx<'_, Self>,
    ) -> impl Future<Output = Result<Option<Self::Output>, Error>> + Send {
        let _ = cx;
        async { Ok(None) }
    }

    /// Runs when the node stops gracefully, after its meetings have let go of the instance.
    ///
    /// # Errors
    /// Whatever went wrong; it is logged.
    fn on_shutdown(&self, cx: &ShutdownCx) -> impl Future<Output = Result<(), Error>> + Send {
        let _ = cx;
        async { Ok(()) }
    }
}

/// A hook: what a plugin does with one kind of data.
///
/// `T` is what the hook takes: a [`Json`](crate::Json) of a type, `String`, [`Bytes`](bytes::Bytes), a whole
/// [`DataPacket`](crate::DataPacket) behind `Arc`, a [`Batch`] of one of them, or a [`Tick`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` names a hook for `{T}` but does not implement it",
    label = "no `Receive<{T}>` for `{Self}`",
    note = "write `impl Receive<{T}> for {Self}` beside `impl InCallPlugin for {Self}`"
)]
pub trait Receive<T>: InCallPlugin {
    /// Takes the data; what it returns becomes a packet.
    ///
    /// # Errors
    /// [`Error::retry`] (what `?` makes) to be tried again, [`Error::reject`] not to be. Either way the hook
    /// has changed nothing: no state, no key, no output.
    ///
    /// # Cancel safety
    /// A hook that passes its deadline is dropped at an await point, and counts as failed.
    fn receive(
        &self,
        data: T,
        cx: &mut Cx<'_, Self>,
    ) -> impl Future<Output = Result<Option<Self::Output>, Error>> + Send;
}

/// What has queued up since the last call, oldest first: one call, one commit, one output with many causes.
///
/// Item `i` was read off `cx.packets()[i]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch<T>(pub Vec<T>);

impl<T> Deref for Batch<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> IntoIterator for Batch<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Time has passed: what [`Hooks::every`] calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tick;

impl Tick {
    /// The source of a tick's packet; no plugin can take or claim it by name.
    pub const SOURCE: &'static str = "tick";
}

/// What is known of a plugin without starting it; read off its type and its hooks.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct InCallPluginMetadata {
    /// The plugin's kind.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The sources it takes, as its hooks declare them.
    pub sources: Vec<Name>,
    /// What it says of packets that come while it is busy, by source.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub policies: BTreeMap<Name, DeliveryPolicy>,
    /// How often it wants a tick, if at all.
    pub every: Option<Duration>,
    /// Whether its outputs are kept.
    pub output: Durability,
    /// Whether it is of no use without a language model.
    pub needs_llm: bool,
    /// The JSON Schema of its table in the configuration.
    pub config: schemars::Schema,
    /// The JSON Schema of what it puts out; none where that isn't JSON.
    pub output_schema: Option<schemars::Schema>,
}
