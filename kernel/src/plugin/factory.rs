//! How to make one plugin, whether its type is known to the build or not.

use std::{borrow::Cow, fmt, sync::Arc};

use futures::future::BoxFuture;
use serde_json::Value;

use super::{
    config::ConfigError, erased::StartedPlugin, metadata::InCallPluginMetadata, resource_map::ResourceMap,
    startup::StartupCx,
};
use crate::{Error, Name};

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
}

impl Factory {
    fn maker(&self) -> &dyn MakesPlugin {
        match &self.maker {
            Maker::Constant(maker) => *maker,
            Maker::Shared(maker) => &**maker,
        }
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
