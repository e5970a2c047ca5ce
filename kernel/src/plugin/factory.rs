//! How to make one plugin, whether its type is known to the build or not; and hosts, which make one for each instance.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use schemars::Schema;
use serde_json::Value;

use super::{
    config::ConfigError, durability::Durability, erased::StartedPlugin, metadata::InCallPluginMetadata,
    resource_map::ResourceMap, startup::StartupCx,
};
use crate::{DataType, Error, Name};

/// What a factory knows of its plugin, and how it makes one.
pub(super) trait MakesPlugin: Send + Sync {
    fn kind(&self) -> &str;
    fn version(&self) -> &str;
    fn needs_llm(&self) -> bool;
    fn metadata(&self) -> Result<InCallPluginMetadata, String>;
    fn check_config(&self, table: &Value) -> Result<(), ConfigError>;
    fn install(&self) -> BoxFuture<'_, Result<(), Error>>;
    fn start(&self, table: Value, cx: StartupCx) -> BoxFuture<'_, Result<StartedPlugin, Error>>;
}

/// A constant of a plugin's type, or a value made at run time.
#[derive(Clone)]
pub(super) enum Maker {
    Constant(&'static dyn MakesPlugin),
    Shared(Arc<dyn MakesPlugin>),
    Host(Arc<Hosting>),
}

/// How to make one plugin. Cheap to clone.
///
/// [`of`](Self::of) makes the factory of a type that implements [`InCallPlugin`](crate::InCallPlugin); tables
/// of them are constants. [`dynamic`](Self::dynamic) makes one at run time, from a
/// [`DynamicPlugin`](crate::plugin::DynamicPlugin).
#[derive(Clone)]
pub struct Factory {
    pub(super) name: Cow<'static, str>,
    pub(super) maker: Maker,
    /// Whether a host made it for one instance.
    pub(super) is_hosted: bool,
}

impl Factory {
    fn maker(&self) -> &dyn MakesPlugin {
        match &self.maker {
            Maker::Constant(maker) => *maker,
            Maker::Shared(maker) => &**maker,
            Maker::Host(host) => &**host,
        }
    }

    /// The factory of a kind whose instances are each a plugin of their own, such as a file that the instance's
    /// table names. It makes no plugin itself: a [`Graph`](crate::graph::Graph) has the host make a factory for
    /// each instance.
    pub fn host(kind: &'static str, version: &'static str, host: impl PluginHost) -> Self {
        let hosting = Hosting { kind, version, host: Box::new(host) };
        Self { name: kind.into(), maker: Maker::Host(Arc::new(hosting)), is_hosted: false }
    }

    /// The host of the instances of this kind, if each is a plugin of its own.
    pub fn as_host(&self) -> Option<&dyn PluginHost> {
        match &self.maker {
            Maker::Host(hosting) => Some(&*hosting.host),
            Maker::Constant(_) | Maker::Shared(_) => None,
        }
    }

    /// Whether it was made by a [host](Self::host), for the instance of its name alone.
    pub fn is_hosted(&self) -> bool {
        self.is_hosted
    }

    /// The factory of an instance's own plugin, which a [host](Self::host) makes of what it has prepared; of another
    /// kind this factory itself.
    ///
    /// # Errors
    /// As [`PluginHost::plugin`].
    pub fn of_instance(&self, instance: &Name, table: &Value, prepared: &Value) -> Result<Self, ConfigError> {
        let Some(host) = self.as_host() else { return Ok(self.clone()) };
        let made = host.plugin(instance, table, prepared)?;
        Ok(Self { name: instance.as_str().to_owned().into(), is_hosted: true, ..made })
    }

    /// The name of the plugin's instance where the configuration gives none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The plugin's kind.
    pub fn kind(&self) -> &str {
        self.maker().kind()
    }

    /// The plugin's version.
    pub fn version(&self) -> &str {
        self.maker().version()
    }

    /// Whether the plugin cannot work without a language model.
    pub fn needs_llm(&self) -> bool {
        self.maker().needs_llm()
    }

    /// The plugin's metadata, which its type and its hooks tell.
    ///
    /// # Errors
    /// What is wrong with the hooks: a malformed or reserved source, or one that is named twice.
    pub fn metadata(&self) -> Result<InCallPluginMetadata, String> {
        self.maker().metadata()
    }

    /// Checks that the plugin's configuration can be read from a table; null stands for the default.
    ///
    /// # Errors
    /// What is wrong with the table, and at which key.
    pub fn check_config(&self, table: &Value) -> Result<(), ConfigError> {
        self.maker().check_config(table)
    }

    /// Runs `on_install`.
    ///
    /// # Errors
    /// The plugin's error.
    pub async fn install(&self) -> Result<(), Error> {
        self.maker().install().await
    }
}

impl fmt::Debug for Factory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Factory")
            .field("name", &self.name)
            .field("kind", &self.kind())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

impl StartedPlugin {
    /// Starts an instance with its table of the configuration; null stands for the default.
    ///
    /// # Errors
    /// If the table does not fit, or `on_startup`'s error.
    pub async fn start(
        factory: &Factory,
        table: Value,
        instance: Name,
        resources: ResourceMap,
    ) -> Result<Self, Error> {
        factory.maker().start(table, StartupCx::of(instance, resources)).await
    }
}

/// Makes the plugins of a kind whose instances are each a plugin of their own, such as packages in another
/// language that their instances' tables name. [`Factory::host`] takes it.
///
/// What a plugin takes must be known before anything starts, and it may be slow to find out. So that is done once
/// for a machine, by [`prepare`](Self::prepare), and kept in the manifest of what is installed.
pub trait PluginHost: Send + Sync + 'static {
    /// Prepares an instance's plugin on this machine, and finds out what it takes. The answer is all that
    /// [`plugin`](Self::plugin) needs.
    ///
    /// # Errors
    /// What is wrong with the table or the plugin, and what to do about it.
    fn prepare<'a>(&'a self, instance: &'a Name, table: &'a Value) -> BoxFuture<'a, Result<Value, Error>>;

    /// Whether what was prepared is still what the table and the plugin's files say.
    fn is_current(&self, instance: &Name, table: &Value, prepared: &Value) -> bool;

    /// The factory of the instance's plugin. `prepared` is what [`prepare`](Self::prepare) answered, perhaps that of an
    /// earlier version of the host.
    ///
    /// # Errors
    /// What is wrong with the table, and at which key.
    fn plugin(&self, instance: &Name, table: &Value, prepared: &Value) -> Result<Factory, ConfigError>;

    /// The JSON Schema of the instances' tables, for people.
    fn config_schema(&self) -> Schema {
        true.into()
    }
}

/// A host under its kind.
pub(super) struct Hosting {
    kind: &'static str,
    version: &'static str,
    host: Box<dyn PluginHost>,
}

#[derive(Debug, thiserror::Error)]
#[error("a host makes a plugin for each instance, and is none itself")]
struct NoPlugin;

/// What is asked of a kind as a whole. The plugins answer for themselves.
impl MakesPlugin for Hosting {
    fn kind(&self) -> &str {
        self.kind
    }

    fn version(&self) -> &str {
        self.version
    }

    fn needs_llm(&self) -> bool {
        false
    }

    fn metadata(&self) -> Result<InCallPluginMetadata, String> {
        Ok(InCallPluginMetadata {
            name: self.kind.into(),
            version: self.version.into(),
            sources: Vec::new(),
            takes: BTreeMap::new(),
            policies: BTreeMap::new(),
            every: None,
            takes_wakes: false,
            output: Durability::Durable,
            needs_llm: false,
            config: self.host.config_schema(),
            output_type: DataType::Any,
        })
    }

    fn check_config(&self, _: &Value) -> Result<(), ConfigError> {
        Ok(())
    }

    fn install(&self) -> BoxFuture<'_, Result<(), Error>> {
        async { Ok(()) }.boxed()
    }

    fn start(&self, _: Value, _: StartupCx) -> BoxFuture<'_, Result<StartedPlugin, Error>> {
        async { Err(Error::reject(NoPlugin)) }.boxed()
    }
}
