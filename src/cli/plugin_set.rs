//! The plugins that a program was given, and how it prepares nodes.

use teammy::{Builder, Node, config::Config, graph::Bundle};

/// Changes the builder of each node before the node starts.
pub(super) type Prepare = Box<dyn Fn(Builder) -> Builder + Send + Sync>;

/// The plugins of a program.
pub(crate) struct PluginSet {
    pub(super) bundle: Bundle,
    pub(super) prepare: Prepare,
}

impl PluginSet {
    pub(crate) fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Prepares a node with these plugins.
    pub(crate) fn builder(&self, config: Config) -> Builder {
        (self.prepare)(Node::builder(config).plugins(self.bundle.clone()))
    }
}

impl From<Bundle> for PluginSet {
    fn from(bundle: Bundle) -> Self {
        Self { bundle, prepare: Box::new(std::convert::identity) }
    }
}
