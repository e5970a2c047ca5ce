//! A node with the store and the language models that its configuration names, as far as this build has them.
//!
//! The runtime knows stores and language models by their traits only. This module chooses the
//! implementations: SurrealDB behind feature `surrealdb`, the client of OpenAI's API behind feature `openai`,
//! and the actor of `teammy-llm` before any provider.

use std::{fmt, ops::Deref, sync::Arc};

use teammy_config::{Config, Database};
use teammy_kernel::{
    Factory, LlmProvider, SharedLlm, Store,
    graph::{self, Bundle, Graph},
};
use tokio::runtime::Handle;

#[doc(inline)]
pub use teammy_runtime::node::*;

/// Runs meetings. [`Node::builder`] makes a node.
///
/// It dereferences to the [runtime's node](teammy_runtime::Node), which has the other methods.
#[derive(Debug)]
pub struct Node(teammy_runtime::Node);

impl Node {
    /// Prepares a node with this configuration; [`Builder::start`] starts it.
    pub fn builder(config: Config) -> Builder {
        Builder(teammy_runtime::Node::builder(config).store_from(open_configured).llm_from(configured_llm))
    }

    /// The runtime's node, for what takes that one.
    pub fn into_runtime(self) -> teammy_runtime::Node {
        self.0
    }
}

impl Deref for Node {
    type Target = teammy_runtime::Node;

    fn deref(&self) -> &teammy_runtime::Node {
        &self.0
    }
}

/// Builds a [`Node`]. What is not given here comes from the configuration.
pub struct Builder(teammy_runtime::Builder);

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Builder {
    /// Changes the configuration, for example by what [`check`](Self::check) shows of the plugins.
    #[must_use]
    pub fn configure(self, change: impl FnOnce(Config) -> Config) -> Self {
        Self(self.0.configure(change))
    }

    /// Adds plugins that the configuration may name. If it names no instance at all, each of these plugins
    /// becomes an instance. A [`Bundle`] also knows which kinds other builds have, so that an error can name
    /// the missing Cargo feature.
    #[must_use]
    pub fn plugins(self, bundle: impl Into<Bundle>) -> Self {
        Self(self.0.plugins(bundle))
    }

    /// Adds a plugin of your own. If the configuration names no instance of its kind, it becomes an instance
    /// under the name of its factory.
    #[must_use]
    pub fn plugin(self, factory: Factory) -> Self {
        Self(self.0.plugin(factory))
    }

    /// Shares a value with all plugins, such as a client or a pool: `on_startup` gets it by its type, from its
    /// [`StartupCx`](crate::StartupCx). It replaces an earlier one of the same type.
    #[must_use]
    pub fn resource<T: Send + Sync + 'static>(self, value: T) -> Self {
        Self(self.0.resource(value))
    }

    /// Keeps meetings in this store.
    #[must_use]
    pub fn store(self, store: Arc<dyn Store>) -> Self {
        Self(self.0.store(store))
    }

    /// Answers plugins' questions with this provider, instead of the configured language models.
    #[must_use]
    pub fn llm(self, provider: impl LlmProvider) -> Self {
        let provider = SharedLlm::new(provider);
        Self(self.0.llm_from(|_, _| behind_actor(provider)))
    }

    /// Owns meetings as this incarnation of a node, for a store that several nodes share: `teammy::cluster` gives one.
    #[must_use]
    pub fn owner(self, owner: teammy_kernel::store::Incarnation) -> Self {
        Self(self.0.owner(owner))
    }

    /// What is installed on this machine; otherwise the manifest that the configuration names is read, if an instance is
    /// of a kind whose plugins are prepared, such as `python`.
    #[must_use]
    pub fn installed(self, manifest: crate::install::Manifest) -> Self {
        Self(self.0.installed(manifest))
    }

    /// Runs plugins on this runtime; otherwise the node makes one with `node.plugin_threads` threads.
    #[must_use]
    pub fn plugin_runtime(self, handle: Handle) -> Self {
        Self(self.0.plugin_runtime(handle))
    }

    /// Checks that instances, plugins and sources fit together, without starting anything.
    ///
    /// # Errors
    /// See [`graph::Error`].
    pub fn check(&self) -> Result<Graph, graph::Error> {
        self.0.check()
    }

    /// Starts the node: checks the plugin graph, opens the store, starts every instance's plugin.
    ///
    /// # Errors
    /// See [`Error`]; after an error nothing is left running.
    ///
    /// # Panics
    /// If called outside of a tokio runtime.
    pub async fn start(self) -> Result<Node, Error> {
        Ok(Node(self.0.start().await?))
    }
}

/// Opens the store that a configuration names: SurrealDB, or the kernel's own store in memory for `mem://`.
///
/// # Errors
/// [`Error::Config`], [`Error::Open`] and [`Error::NoStore`].
pub async fn open_store(config: &Database) -> Result<Arc<dyn Store>, Error> {
    let url = config.effective_url()?;
    match url.kind() {
        teammy_config::database::Kind::Memory => Ok(Arc::new(teammy_kernel::store::MemoryStore::default())),
        // Boxed, because a database's futures are large.
        _ => Box::pin(open_database(config)).await.map_err(Error::Open)?.ok_or(Error::NoStore),
    }
}

/// The configured store; `None` for `mem://`, whose store the runtime makes, and in a build without a
/// database.
async fn open_configured(config: Config) -> Result<Option<Arc<dyn Store>>, OpeningError> {
    match config.database.effective_url()?.kind() {
        teammy_config::database::Kind::Memory => Ok(None),
        _ => open_database(&config.database).await,
    }
}

#[cfg(feature = "surrealdb")]
async fn open_database(config: &Database) -> Result<Option<Arc<dyn Store>>, OpeningError> {
    let options = teammy_surreal::Options::configured(config, &config.effective_url()?);
    let opened = teammy_surreal::open(options).await;
    let store = opened.map_err(|error| OpeningError::new(error.class(), error))?;
    Ok(Some(Arc::new(store)))
}

#[cfg(not(feature = "surrealdb"))]
#[allow(clippy::unused_async)]
async fn open_database(_: &Database) -> Result<Option<Arc<dyn Store>>, OpeningError> {
    Ok(None)
}

async fn configured_llm(config: Config, are_needed: bool) -> Result<SharedLlm, OpeningError> {
    behind_actor(teammy_llm::configured(&config.llm, are_needed).map_err(unusable)?).await
}

async fn behind_actor(provider: SharedLlm) -> Result<SharedLlm, OpeningError> {
    teammy_llm::behind_actor(provider).await.map_err(unusable)
}

fn unusable(error: teammy_llm::Error) -> OpeningError {
    OpeningError::new(error.class(), error)
}

#[cfg(test)]
mod tests;
