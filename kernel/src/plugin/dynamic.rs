//! Plugins that a build does not know: what a host of another language implements.
//!
//! [`InCallPlugin`](crate::InCallPlugin) is a type: its name, its hooks and its state are fixed when it is
//! compiled. A host that reads a plugin from a file has these at run time only, so it implements
//! [`DynamicPlugin`] on a value. The runtime treats both alike: the same delivery, commits, retries, dead
//! letters and deadlines. Three things are untyped here: the configuration is a JSON value, the state is JSON
//! text, and a hook reads its packets' payloads itself.

use std::{borrow::Cow, future::Future, time::Duration};

use schemars::Schema;
use serde_json::Value;

use super::{
    config::ConfigError,
    delivery_policy::DeliveryPolicy,
    durability::Durability,
    hook_table::{Hook, HookTable},
    shutdown::ShutdownCx,
    startup::StartupCx,
};
use crate::{DataType, Error, Payload};

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

    /// Runs a hook that takes one packet at a time over packets that have queued up, oldest first: as if
    /// [`receive`](Self::receive) ran on each, which it does by default. A host in another process can send all of
    /// them at once.
    ///
    /// # Errors
    /// As `receive`, for the packet that [began](DynamicRun::begin) last. Those that [ended](DynamicRun::end)
    /// before it are handled.
    fn receive_each(
        &self,
        hook: &Hook,
        run: &mut DynamicRun<'_>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        async move {
            while let Some(cx) = run.begin() {
                let output = self.receive(hook, cx).await?;
                run.end(output).await?;
            }
            Ok(())
        }
    }

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

mod context;
mod run;
#[cfg(test)]
mod tests;

pub use context::DynamicCx;
pub(super) use context::JsonState;
pub use run::DynamicRun;
