//! A node with the store and the language models that its configuration names, as far as this build has them.
//!
//! The runtime knows stores and language models by their traits only. Here they are put together: SurrealDB
//! behind feature `surrealdb`, the client of OpenAI's API behind feature `openai`, and the models' actor
//! before any provider.

use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use teammy_config::{Config, Database};
use teammy_kernel::{
    Factory, LlmProvider, SharedLlm, Store,
    graph::{self, Bundle, Graph},
};
use tokio::runtime::Handle;

#[doc(inline)]
pub use teammy_runtime::node::*;

/// A node: it runs meetings. [`Node::builder`] makes one.
///
/// All that it does stands in the [runtime's node](teammy_runtime::Node), which this one is to whoever calls
/// its methods.
#[derive(Debug)]
pub struct Node(teammy_runtime::Node);

impl Node {
    /// A node with this configuration, to be started.
    pub fn builder(config: Config) -> Builder {
        Builder(teammy_runtime::Node::builder(config).store_from(opened).llm_from(configured))
    }

    /// Stops: meetings are let go of, plugins told, the store closed. See [`teammy_runtime::Node::shutdown`].
    ///
    /// # Errors
    /// [`Error::Deadline`] if that took longer; what was left was cut off. [`Error::Store`] if the store
    /// could not be closed.
    pub async fn shutdown(self, deadline: Duration) -> Result<(), Error> {
        self.0.shutdown(deadline).await
    }
}

impl Deref for Node {
    type Target = teammy_runtime::Node;

    fn deref(&self) -> &teammy_runtime::Node {
        &self.0
    }
}

/// What a node is made of. What is not given comes from the configuration.
pub struct Builder(teammy_runtime::Builder);

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Builder {
    /// Adds plugins that the configuration may name. Where it names no instance at all, each of these becomes
    /// one. A [`Bundle`] says as well which kinds other builds have, so that an error can name the Cargo
    /// feature that is missing.
    #[must_use]
    pub fn plugins(self, bundle: impl Into<Bundle>) -> Self {
        Self(self.0.plugins(bundle))
    }

    /// Adds a plugin of one's own. Where the configuration names no instance of its kind, it becomes one,
    /// under the name that its factory was given.
    #[must_use]
    pub fn plugin(self, factory: Factory) -> Self {
        Self(self.0.plugin(factory))
    }

    /// Keeps meetings in this store.
    #[must_use]
    pub fn store(self, store: Arc<dyn Store>) -> Self {
        Self(self.0.store(store))
    }

    /// Answers plugins' questions to language models, in the place of those that the configuration names.
    #[must_use]
    pub fn llm(self, provider: impl LlmProvider) -> Self {
        let provider = SharedLlm::new(provider);
        Self(self.0.llm_from(|_, _| behind_actor(provider)))
    }

    /// Runs plugins on this runtime; else the node makes one with `node.plugin_threads` threads.
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
    /// See [`Error`]; whatever it is, nothing is left running.
    ///
    /// # Panics
    /// If it is not called on a tokio runtime.
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
        // Boxed, since a database's futures are large.
        _ => Box::pin(open_database(config)).await.map_err(Error::Open)?.ok_or(Error::NoStore),
    }
}

async fn opened(config: Config) -> Result<Option<Arc<dyn Store>>, BoxError> {
    match config.database.effective_url()?.kind() {
        teammy_config::database::Kind::Memory => Ok(None),
        _ => open_database(&config.database).await,
    }
}

#[cfg(feature = "surrealdb")]
async fn open_database(config: &Database) -> Result<Option<Arc<dyn Store>>, BoxError> {
    let options = teammy_surreal::Options::configured(config, &config.effective_url()?);
    Ok(Some(Arc::new(teammy_surreal::open(options).await?)))
}

#[cfg(not(feature = "surrealdb"))]
#[allow(clippy::unused_async)]
async fn open_database(_: &Database) -> Result<Option<Arc<dyn Store>>, BoxError> {
    Ok(None)
}

async fn configured(config: Config, are_needed: bool) -> Result<SharedLlm, BoxError> {
    behind_actor(teammy_llm::configured(&config.llm, are_needed)?).await
}

async fn behind_actor(provider: SharedLlm) -> Result<SharedLlm, BoxError> {
    Ok(teammy_llm::behind_actor(provider).await?)
}

#[cfg(test)]
mod tests;
