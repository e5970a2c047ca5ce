//! The builder of a node.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt, fs,
    sync::{Arc, OnceLock},
};

use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use ractor::Actor;
use teammy_config::{Config, database};
use teammy_kernel::{
    DataType, DeliveryPolicy, Durability, Factory, LlmProvider, SharedLlm, Store, chain,
    graph::{self, Bundle, Graph, InstanceSpec, KnownKind, SourceSpec},
    plugin::{ResourceMap, StartedPlugin},
    store::{Incarnation, MemoryStore},
};
use tokio::{runtime::Handle, sync::oneshot};
use tracing::{info, warn};

use super::{
    actor::{self, NodeActor},
    beginnings::Announcer,
    error::{Error, OpeningError},
    handle::Node,
    plugin_threads::PluginThreads,
    registry::{Meetings, Reserved},
    shutdown_progress::ShutdownProgress,
    watchdog::Watchdog,
};
use crate::{
    install::Manifest,
    keys::Keys,
    memory::Memory,
    metrics::Metrics,
    persistence::{self, Health},
    resources::Resources,
    settings::Settings,
};

/// Builds a node. What is not given comes from the configuration.
pub struct Builder {
    config: Config,
    bundled: Vec<Factory>,
    own: Vec<Factory>,
    known: Vec<KnownKind>,
    store: Option<OpenStore>,
    llm: Option<OpenLlm>,
    plugin_runtime: Option<Handle>,
    owner: Option<Incarnation>,
    resources: ResourceMap,
    installed: Option<Manifest>,
}

/// Opens the store that a configuration names; none if this build has no such store.
type OpenStore =
    Box<dyn FnOnce(Config) -> BoxFuture<'static, Result<Option<Arc<dyn Store>>, OpeningError>> + Send>;

/// Opens the language models that a configuration names. The flag says whether an instance needs one.
type OpenLlm = Box<dyn FnOnce(Config, bool) -> BoxFuture<'static, Result<SharedLlm, OpeningError>> + Send>;

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("bundled", &self.bundled)
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

impl Node {
    /// A builder for a node with this configuration.
    pub fn builder(config: Config) -> Builder {
        Builder::new(config)
    }
}

impl Builder {
    fn new(config: Config) -> Self {
        Self {
            config,
            bundled: Vec::new(),
            own: Vec::new(),
            known: Vec::new(),
            store: None,
            llm: None,
            plugin_runtime: None,
            owner: None,
            resources: ResourceMap::default(),
            installed: None,
        }
    }

    /// Changes the configuration, for example by what [`check`](Self::check) shows of the plugins.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(Config) -> Config) -> Self {
        self.config = change(self.config);
        self
    }

    /// Adds plugins that the configuration may name. If it names no instance at all, each of these becomes one.
    /// A [`Bundle`] also lists the kinds that other builds have, so that an error can name the missing Cargo
    /// feature.
    #[must_use]
    pub fn plugins(mut self, bundle: impl Into<Bundle>) -> Self {
        let bundle = bundle.into();
        self.bundled.extend_from_slice(&bundle);
        self.known.extend_from_slice(bundle.known());
        self
    }

    /// Adds a plugin of your own. If the configuration names no instance of its kind, it becomes one, under the
    /// name of its factory.
    #[must_use]
    pub fn plugin(mut self, factory: Factory) -> Self {
        self.own.push(factory);
        self
    }

    /// Shares a value with all plugins, such as a client or a pool: `on_startup` gets it by its type, from its
    /// [`StartupCx`](teammy_kernel::StartupCx). It replaces an earlier one of the same type.
    #[must_use]
    pub fn resource<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.resources.insert(value);
        self
    }

    /// Keeps meetings in this store.
    #[must_use]
    pub fn store(self, store: Arc<dyn Store>) -> Self {
        self.store_from(|_| async { Ok(Some(store)) })
    }

    /// Keeps meetings in the store that `open` opens when the node starts: after its plugins, so that a plugin
    /// that fails to start leaves no database open. `open` returns none if the configuration names a store that
    /// this build does not have.
    #[must_use]
    pub fn store_from<F, Opening>(mut self, open: F) -> Self
    where
        F: FnOnce(Config) -> Opening + Send + 'static,
        Opening: Future<Output = Result<Option<Arc<dyn Store>>, OpeningError>> + Send + 'static,
    {
        self.store = Some(Box::new(|config| open(config).boxed()));
        self
    }

    /// Answers the plugins' requests to language models.
    #[must_use]
    pub fn llm(self, provider: impl LlmProvider) -> Self {
        let provider = SharedLlm::new(provider);
        self.llm_from(|_, _| async { Ok(provider) })
    }

    /// Answers the plugins' requests to language models with what `open` opens when the node starts. It gets
    /// the configuration, and whether any instance needs a model.
    #[must_use]
    pub fn llm_from<F, Opening>(mut self, open: F) -> Self
    where
        F: FnOnce(Config, bool) -> Opening + Send + 'static,
        Opening: Future<Output = Result<SharedLlm, OpeningError>> + Send + 'static,
    {
        self.llm = Some(Box::new(|config, is_needed| open(config, is_needed).boxed()));
        self
    }

    /// Owns meetings as this incarnation of a node, which must hold a [lease](teammy_kernel::store::Leases) in the store: for a store
    /// that several nodes share. A meeting that another live node owns is not taken from it.
    #[must_use]
    pub fn owner(mut self, owner: Incarnation) -> Self {
        self.owner = Some(owner);
        self
    }

    /// What is installed on this machine. Without it, the manifest that `install.manifest` names is read if an
    /// instance is of a kind whose plugins are prepared, such as `python`.
    #[must_use]
    pub fn installed(mut self, manifest: Manifest) -> Self {
        self.installed = Some(manifest);
        self
    }

    /// Runs plugins on this runtime. Without it the node makes one with `node.plugin_threads` threads.
    #[must_use]
    pub fn plugin_runtime(mut self, handle: Handle) -> Self {
        self.plugin_runtime = Some(handle);
        self
    }

    /// Checks that instances, plugins and sources fit together, without starting anything. Reads the files that
    /// `[[source]] schema` names.
    ///
    /// # Errors
    /// See [`graph::Error`].
    pub fn check(&self) -> Result<Graph, graph::Error> {
        let mut declared: Vec<InstanceSpec> = if let Some(plugins) = &self.config.plugins {
            plugins.iter().map(declared).collect()
        } else {
            let plugins = self.bundled.iter().filter(|factory| factory.as_host().is_none());
            plugins.map(|factory| InstanceSpec::new(factory.name(), factory.kind())).collect()
        };
        for factory in self.own.iter().filter(|factory| factory.as_host().is_none()) {
            if !declared.iter().any(|declared| declared.kind == factory.kind()) {
                declared.push(InstanceSpec::new(factory.name(), factory.kind()));
            }
        }
        let factories: Vec<Factory> = self.bundled.iter().chain(&self.own).cloned().collect();
        let hosts = factories.iter().filter(|factory| factory.as_host().is_some());
        let hosts: Vec<&str> = hosts.map(Factory::kind).collect();
        if declared.iter().any(|spec| hosts.contains(&spec.kind.as_str())) {
            let installed =
                self.installed.as_ref().map_or_else(|| Cow::Owned(self.manifest()), Cow::Borrowed);
            for spec in declared.iter_mut().filter(|spec| hosts.contains(&spec.kind.as_str())) {
                spec.prepared = installed.prepared(&spec.kind, &spec.name).cloned();
            }
        }
        let sources = self.config.sources.iter().map(source).collect::<Result<_, _>>()?;
        Graph::build(declared, &factories, &self.known, sources)
    }

    /// The manifest that the configuration names. One that cannot be read is as good as none: what it lacks is an
    /// error of the instance that needs it.
    fn manifest(&self) -> Manifest {
        let path = self.config.install.effective_manifest().ok();
        path.and_then(|path| Manifest::read(&path).ok()).unwrap_or_default()
    }

    /// Starts the node: checks the plugin graph, opens the store, starts every instance's plugin.
    ///
    /// # Errors
    /// See [`Error`]; whatever it is, nothing is left running.
    ///
    /// # Panics
    /// If it is not called on a tokio runtime.
    pub async fn start(self) -> Result<Node, Error> {
        let graph = Arc::new(self.check()?);
        for graph::Warning { instance, source_name, takes, carries, why, .. } in graph.warnings() {
            warn!(%instance, source = %source_name, takes, carries, why, "the hook may not fit all that its source carries");
        }
        let is_needed = graph.instances().any(|instance| instance.factory.needs_llm());
        let llm = match self.llm {
            Some(open) => open(self.config.clone(), is_needed).await.map_err(Error::Llm)?,
            None => SharedLlm::none(),
        };
        let (runtime, plugin_runtime) = if let Some(handle) = self.plugin_runtime {
            (None, handle)
        } else {
            let threads = PluginThreads::start(self.config.node.plugin_threads).map_err(Error::Runtime)?;
            let handle = threads.handle();
            (Some(threads), handle)
        };
        let mut plugins = BTreeMap::new();
        for instance in graph.instances() {
            let (factory, table) = (instance.factory.clone(), instance.config.clone());
            let (name, resources) = (instance.name.clone(), self.resources.clone());
            let start = async move { StartedPlugin::start(&factory, table, name, resources).await };
            let started = match plugin_runtime.spawn(start).await {
                Ok(Ok(plugin)) => Ok(plugin),
                Ok(Err(error)) => Err(error.chain()),
                // The panic's message may quote the table, and is left out; the panic hook has named the place.
                Err(_) => Err("on_startup panicked".to_owned()),
            };
            let name = instance.name.clone();
            let plugin = started.map_err(|cause| Error::Startup { instance: name.clone(), cause })?;
            plugins.insert(name, plugin);
        }
        let opened = match self.store {
            Some(open) => open(self.config.clone()).await.map_err(Error::Open)?,
            None => None,
        };
        let store = match (opened, self.config.database.effective_url()?.kind()) {
            (Some(store), _) => store,
            (None, database::Kind::Memory) => Arc::new(MemoryStore::default()),
            (None, _) => return Err(Error::NoStore),
        };
        llm.opened(store.clone());
        let meetings = Meetings::default();
        let (health, metrics) = (Arc::new(Health::default()), Arc::new(Metrics::new(&graph)));
        let persistence = persistence::Args {
            store: store.clone(),
            health: health.clone(),
            metrics: metrics.store.clone(),
        };
        let args = (meetings.clone(), persistence);
        let spawned = NodeActor::spawn(None, NodeActor, args).await;
        let (actor, _) = spawned.map_err(|error| failed(&error))?;
        let (reply, services) = oneshot::channel();
        actor.cast(actor::Message::Services(reply)).map_err(|error| failed(&error))?;
        let services = services.await.map_err(|error| failed(&error))?;
        info!(instances = plugins.len(), "node started");
        let resources = Resources {
            graph,
            plugins,
            keys: Keys::new(store.clone(), self.config.service.pepper()),
            store,
            persistence: services.persistence,
            llm,
            plugin_runtime,
            health,
            metrics,
            memory: Arc::new(Memory::new(self.config.node.memory.as_usize())),
            settings: Settings::new(&self.config),
            tenant_label: self.config.llm.tenant_label.clone(),
        };
        let resources = Arc::new(resources);
        let threads = runtime.is_some().then_some(self.config.node.plugin_threads);
        Ok(Node {
            shutdown: ShutdownProgress::default(),
            plugin_threads: threads,
            watchdog: Mutex::new(Some(Watchdog::start(meetings.clone(), resources.clone(), threads))),
            resources,
            meetings,
            reserved: Reserved::default(),
            announcer: Announcer::default(),
            owner: self.owner,
            cluster: OnceLock::new(),
            fenced: Mutex::default(),
            actor,
            runtime: Mutex::new(runtime),
        })
    }
}

fn declared(plugin: &teammy_config::InstanceConfig) -> InstanceSpec {
    let output = plugin.output.map(|output| durability(output == teammy_config::Durability::Durable));
    InstanceSpec {
        sources: plugin.sources.clone(),
        output,
        policies: plugin
            .delivery
            .iter()
            .map(|(source, configured)| (source.clone(), policy(configured)))
            .collect(),
        checkpoint_interval: plugin.checkpoint_interval,
        config: plugin.config.clone(),
        ..InstanceSpec::new(&plugin.name, &plugin.kind)
    }
}

fn source(configured: &teammy_config::Source) -> Result<SourceSpec, graph::Error> {
    let teammy_config::Source { name, durable, schema, .. } = configured;
    let spec = SourceSpec::new(name, durability(*durable));
    let Some(path) = schema else { return Ok(spec) };
    let failed = |problem: &dyn fmt::Display| graph::Error::Schema {
        source_name: name.clone(),
        problem: format!("{}: {problem}", path.display()),
    };
    let text = fs::read_to_string(path).map_err(|error| failed(&error))?;
    let schema = serde_json::from_str(&text).map_err(|error| failed(&error))?;
    Ok(SourceSpec { carries: DataType::of_schema(schema), ..spec })
}

fn policy(configured: &teammy_config::DeliveryPolicyConfig) -> DeliveryPolicy {
    use teammy_config::DeliveryPolicyConfig as Configured;
    match configured {
        Configured::DropOldest => DeliveryPolicy::DropOldest,
        Configured::Latest(key) => {
            DeliveryPolicy::Latest(key.parse().expect("invariant: a configuration's keys are checked"))
        }
        Configured::Block => DeliveryPolicy::Block,
        _ => DeliveryPolicy::Spill,
    }
}

fn durability(is_durable: bool) -> Durability {
    if is_durable { Durability::Durable } else { Durability::Volatile }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::Start(chain(error))
}
