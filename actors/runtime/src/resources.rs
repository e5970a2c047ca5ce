//! What all meetings of a node share.

use std::{collections::BTreeMap, sync::Arc};

use ractor::ActorRef;
use teammy_kernel::{
    MeetingMetadata, Name, SharedLlm, Store,
    graph::{Graph, Instance},
    plugin::StartedPlugin,
};
use tokio::runtime::Handle;

use crate::{
    keys::Keys,
    memory::Memory,
    metrics::Metrics,
    persistence::{self, Health},
    settings::Settings,
};

/// What all meetings of a node share.
pub(crate) struct Resources {
    pub(crate) graph: Arc<Graph>,
    pub(crate) plugins: BTreeMap<Name, StartedPlugin>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) persistence: ActorRef<persistence::Message>,
    pub(crate) llm: SharedLlm,
    pub(crate) plugin_runtime: Handle,
    pub(crate) memory: Arc<Memory>,
    pub(crate) health: Arc<Health>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) settings: Settings,
    pub(crate) keys: Keys,
    /// The meetings' label that names their tenant.
    pub(crate) tenant_label: String,
}

impl Resources {
    /// Whether an instance's plugin needs a language model and none is configured.
    pub(crate) fn lacks_llm(&self, instance: &Instance) -> bool {
        instance.factory.needs_llm() && !self.llm.is_configured()
    }

    /// Whose meeting it is, if its labels say so.
    pub(crate) fn tenant(&self, metadata: &MeetingMetadata) -> Option<Arc<str>> {
        metadata.labels.get(&self.tenant_label).map(|tenant| tenant.as_str().into())
    }

    /// An instance of this node.
    pub(crate) fn instance(&self, name: &Name) -> &Instance {
        self.graph.instance(name.as_str()).expect("invariant: the handle knows the instances")
    }
}
