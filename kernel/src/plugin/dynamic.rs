//! Plugins that a build does not know: what a host of another language implements.
//!
//! [`InCallPlugin`](crate::InCallPlugin) is a type: its name, its hooks and its state are fixed when it is
//! compiled. A host that reads a plugin from a file has these at run time only, so it implements
//! [`DynamicPlugin`] on a value. The runtime treats both alike: the same delivery, commits, retries, dead
//! letters and deadlines. Three things are untyped here: the configuration is a JSON value, the state is JSON
//! text, and a hook reads its packets' payloads itself.

use std::{borrow::Cow, error::Error as StdError, future::Future, sync::Arc, time::Duration};

use schemars::Schema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::{
    config::ConfigError,
    delivery_policy::DeliveryPolicy,
    durability::Durability,
    hook_table::{Hook, HookTable},
    input::{Tries, wake_at},
    outputs::Emitted,
    shutdown::ShutdownCx,
    startup::StartupCx,
};
use crate::{
    DataPacket, DataType, DatastoreError, Error, MeetingEngine, MeetingMetadata, Name, Payload, Timestamp,
};

/// A plugin whose name, hooks and schemas are known at run time only, such as one in another language.
///
/// One value stands for the plugin on a machine; [`Factory::dynamic`](crate::Factory::dynamic) takes it. Its
/// methods mirror those of [`InCallPlugin`](crate::InCallPlugin).
///
/// # Examples
/// ```
/// use serde_json::{Value, value::to_raw_value};
/// use teammy_kernel::{
///     Error, Factory, Payload, StartupCx,
///     plugin::{DynamicCx, DynamicInstance, DynamicPlugin, DynamicSpec, Hook},
/// };
///
/// /// Counts the packets of a source that a script names.
/// struct Script {
///     name: String,
///     source: String,
/// }
///
/// struct Counter;
///
/// impl DynamicPlugin for Script {
///     type Instance = Counter;
///     fn spec(&self) -> DynamicSpec {
///         DynamicSpec::new(self.name.clone(), "1.0.0").on(&self.source)
///     }
///     async fn on_startup(&self, _: Value, _: &StartupCx) -> Result<Counter, Error> {
///         Ok(Counter)
///     }
/// }
///
/// impl DynamicInstance for Counter {
///     async fn receive(&self, _: &Hook, cx: &mut DynamicCx<'_>) -> Result<Option<Payload>, Error> {
///         let count = serde_json::from_str::<Option<u64>>(cx.state())?.unwrap_or(0) + 1;
///         cx.set_state(to_raw_value(&count)?);
///         Ok(Some(Payload::json(&count)?))
///     }
/// }
///
/// let script = Script { name: "counter".to_owned(), source: "chat".to_owned() };
/// let factory = Factory::dynamic("counter", script);
/// assert_eq!(factory.metadata().map(|metadata| metadata.sources.len()), Ok(1));
/// ```
pub trait DynamicPlugin: Send + Sync + 'static {
    /// What [`on_startup`](Self::on_startup) makes.
    type Instance: DynamicInstance;

    /// Describes the plugin. Runs once, when its factory is made.
    fn spec(&self) -> DynamicSpec;

    /// Checks a table of the configuration before anything starts; null stands for the default. Without more
    /// any table fits.
    ///
    /// # Errors
    /// What is wrong with the table, and at which key.
    fn check_config(&self, table: &Value) -> Result<(), ConfigError> {
        let _ = table;
        Ok(())
    }

    /// Prepares what the plugin needs on a machine, once, when that machine's image is built.
    ///
    /// # Errors
    /// Any error stops the installation.
    fn on_install(&self) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }

    /// Makes an instance, when its node starts. `table` is its table in the configuration; null stands for
    /// the default. `cx` has what the embedding program shares with its plugins.
    ///
    /// # Errors
    /// Any error stops the node's start.
    fn on_startup(
        &self,
        table: Value,
        cx: &StartupCx,
    ) -> impl Future<Output = Result<Self::Instance, Error>> + Send;
}

/// A [`DynamicPlugin`] that a node has started. One value serves all meetings of its instance at once.
///
/// # Cancel safety
/// A hook that passes its deadline is dropped at an await point, and counts as failed. Nothing of it is
/// committed, but what it has sent elsewhere, such as a request to a child process, is the implementation's
/// to take back.
pub trait DynamicInstance: Send + Sync + 'static {
    /// Runs a hook of the [spec](DynamicPlugin::spec) on [`cx.packets()`](DynamicCx::packets): one packet, a
    /// batch, or a tick's packet. The returned output becomes a packet.
    ///
    /// `hook` names the source as the spec declares it. The packets may be of another source, to which the
    /// configuration maps it.
    ///
    /// # Errors
    /// [`Error::retry`], which `?` makes, has the packets tried again; [`Error::reject`] makes them dead
    /// letters at once. Either way the hook has changed nothing: no state, no key, no output.
    fn receive(
        &self,
        hook: &Hook,
        cx: &mut DynamicCx<'_>,
    ) -> impl Future<Output = Result<Option<Payload>, Error>> + Send;

    /// Runs when the instance joins a meeting, before the meeting's first packet reaches it.
    ///
    /// # Errors
    /// As a hook's: retried, then a dead letter. The instance takes part either way.
    fn on_meeting_start(
        &self,
        cx: &mut DynamicCx<'_>,
    ) -> impl Future<Output = Result<Option<Payload>, Error>> + Send {
        let _ = cx;
        async { Ok(None) }
    }

    /// Runs after the instance's last packet of a meeting: at the meeting's end, or when the instance leaves.
    ///
    /// # Errors
    /// As a hook's: retried, then a dead letter. The meeting ends either way.
    fn on_meeting_end(
        &self,
        cx: &mut DynamicCx<'_>,
    ) -> impl Future<Output = Result<Option<Payload>, Error>> + Send {
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

/// What is known of a [`DynamicPlugin`] without starting it.
///
/// A mistake in the hooks (a malformed or reserved source, or one that is named twice) is reported by
/// [`Factory::metadata`](crate::Factory::metadata), and keeps a node from starting.
pub struct DynamicSpec {
    pub(super) kind: Cow<'static, str>,
    pub(super) version: Cow<'static, str>,
    pub(super) table: HookTable<DataType>,
    pub(super) output: Durability,
    pub(super) needs_llm: bool,
    pub(super) config: Schema,
    pub(super) output_type: DataType,
}

impl DynamicSpec {
    /// A plugin of this kind and version without hooks. Its outputs are durable.
    pub fn new(kind: impl Into<Cow<'static, str>>, version: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind: kind.into(),
            version: version.into(),
            table: HookTable::default(),
            output: Durability::Durable,
            needs_llm: false,
            config: Schema::from(true),
            output_type: DataType::Any,
        }
    }

    /// Takes packets of a source, one in each call.
    #[must_use]
    pub fn on(mut self, source: &str) -> Self {
        self.table.source(source, 1, DataType::Any);
        self
    }

    /// Takes packets of a source in batches: all that have queued up since the last call, at most `max` (at
    /// least 1).
    #[must_use]
    pub fn on_batch(mut self, source: &str, max: usize) -> Self {
        self.table.source(source, max, DataType::Any);
        self
    }

    /// Sets what happens to packets of the source that was named last while the plugin is busy. The
    /// configuration can override this.
    #[must_use]
    pub fn policy(mut self, policy: DeliveryPolicy) -> Self {
        self.table.policy(policy);
        self
    }

    /// Calls [`DynamicInstance::receive`] with [`Hook::Every`] once each `period`, at least a millisecond, by the
    /// meeting's clock; see [`Hooks::every`](crate::Hooks::every).
    #[must_use]
    pub fn every(mut self, period: Duration) -> Self {
        self.table.every(period, DataType::Any);
        self
    }

    /// Calls [`DynamicInstance::receive`] with [`Hook::Wake`] at the times that hooks ask for with
    /// [`DynamicCx::wake_at`]: [`packet`](DynamicCx::packet) has the time, and the key as its text.
    #[must_use]
    pub fn on_wake(mut self) -> Self {
        self.table.wake(DataType::Any);
        self
    }

    /// Sets whether outputs are stored.
    #[must_use]
    pub fn output(mut self, output: Durability) -> Self {
        self.output = output;
        self
    }

    /// Says that the plugin cannot work without a language model. A meeting refuses its instances where none
    /// is configured.
    #[must_use]
    pub fn needs_llm(mut self) -> Self {
        self.needs_llm = true;
        self
    }

    /// Sets the JSON Schema of the plugin's table, for people and for a meeting's stored setup.
    /// [`DynamicPlugin::check_config`] checks tables.
    #[must_use]
    pub fn config_schema(mut self, schema: Schema) -> Self {
        self.config = schema;
        self
    }

    /// Sets what packets of the source that was named last must carry, such as JSON
    /// [of a schema](DataType::of_schema). A node does not start if the source carries something else. Without it
    /// the hook takes anything.
    #[must_use]
    pub fn takes(mut self, data: DataType) -> Self {
        self.table.set_handler(data);
        self
    }

    /// Sets what the outputs carry, such as JSON [of a schema](DataType::of_schema). Hooks that take them are
    /// compared with it.
    #[must_use]
    pub fn output_type(mut self, data: DataType) -> Self {
        self.output_type = data;
        self
    }
}

/// A dynamic plugin's state in one meeting.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct JsonState(pub(super) Box<RawValue>);

impl Default for JsonState {
    fn default() -> Self {
        Self(RawValue::NULL.to_owned())
    }
}

/// The context of a dynamic plugin's hook: the state, the packets, the meeting, the engine.
pub struct DynamicCx<'a> {
    pub(super) packets: &'a [Arc<DataPacket>],
    pub(super) gap: u64,
    pub(super) tries: Tries,
    pub(super) takes_wakes: bool,
    pub(super) state: Arc<JsonState>,
    pub(super) emitted: Vec<Emitted<Payload>>,
    pub(super) rejected: Vec<(usize, Error)>,
    pub(super) meeting: &'a MeetingMetadata,
    pub(super) instance: &'a Name,
    pub(super) engine: &'a MeetingEngine,
}

impl DynamicCx<'_> {
    /// The instance's state in this meeting, as JSON text; `null` until it is first set. After a restart this
    /// may be a text that an earlier version of the plugin wrote.
    pub fn state(&self) -> &str {
        self.state.0.get()
    }

    /// Sets the state. The text is stored as it is; an equal text changes nothing.
    ///
    /// A state above 1 MiB is not stored, and suspends the instance.
    pub fn set_state(&mut self, state: Box<RawValue>) {
        if state.get() != self.state() {
            self.state = Arc::new(JsonState(state));
        }
    }

    /// Makes one packet of a batch a dead letter: the packet at this index of [`packets`](Self::packets). The
    /// others are handled if the hook ends well, and the output's causes leave this one out. A hook that
    /// rejects all of its packets fails as if it had returned the first of these errors.
    pub fn reject(&mut self, index: usize, cause: impl Into<Box<dyn StdError + Send + Sync>>) {
        if index < self.packets.len() && !self.rejected.iter().any(|(other, _)| *other == index) {
            self.rejected.push((index, Error::reject(cause)));
        }
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
    pub fn emit(&mut self, output: Payload) {
        self.emit_by(None, output);
    }

    /// Puts out a packet that names a participant; see [`Cx::emit_by`](crate::Cx::emit_by).
    pub fn emit_by(&mut self, participant: Option<Arc<str>>, output: Payload) {
        self.emitted.push(Emitted { output, participant });
    }

    /// Asks for a wake at a time of the meeting's clock; see [`Cx::wake_at`](crate::Cx::wake_at). The plugin must name
    /// [`on_wake`](DynamicSpec::on_wake) in its spec.
    ///
    /// # Errors
    /// As [`Cx::wake_at`](crate::Cx::wake_at).
    pub fn wake_at(&mut self, at: Timestamp, key: &str) -> Result<(), DatastoreError> {
        wake_at(self.takes_wakes, self.engine, self.packet(), at, key)
    }

    /// Cancels a wake. That of an unknown key is no error.
    ///
    /// # Errors
    /// As [`Cx::cancel`](crate::Cx::cancel).
    pub fn cancel(&mut self, key: &str) -> Result<(), DatastoreError> {
        self.engine.datastore().cancel(key)
    }

    /// Which try of these packets this is; see [`Cx::attempt`](crate::Cx::attempt).
    pub fn attempt(&self) -> u32 {
        self.tries.attempt
    }

    /// Whether the packets are given up if the hook fails now; see
    /// [`Cx::is_last_attempt`](crate::Cx::is_last_attempt).
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

#[cfg(test)]
mod tests;
