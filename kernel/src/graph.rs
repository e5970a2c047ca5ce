//! The plugin graph: which instance takes which sources, checked before anything starts.
//!
//! An instance's output is a source that any other instance may take, so instances form a graph. The graph
//! must have no cycle: a packet in a cycle would lead to new packets for ever, and a meeting could not end
//! its instances upstream first.
//!
//! [`Graph::build`] finds every mistake in the configuration of instances, with a message that says what to
//! change. Code that has a [`Graph`] can rely on it: sources exist, kinds are in the build, and tables fit
//! their plugins.

mod closest;
mod compatibility;
mod error;
mod instance;
mod order;
mod publish;
mod setup;
mod sources;
mod spec;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

pub use closest::closest;
pub use error::{Claim, Error};
pub use instance::Instance;
pub use sources::{PLUGIN_STATUS, SourceView};
pub use spec::{InstanceSpec, SourceSpec};

pub use crate::plugin::{Bundle, ConfigError, KnownKind};
use crate::{DeliveryPolicy, Durability, Factory, Name};
use closest::closest_of;
use compatibility::{Fit, compare};
use instance::{check, instance_names};
use order::in_order;
use sources::{Source, SourceMap, SourceOrigin, SourceTable, own_sources, takeable};

/// Instances and sources that fit together.
#[derive(Clone)]
pub struct Graph {
    instances: Vec<Instance>,
    index: BTreeMap<Name, usize>,
    sources: SourceTable,
    warnings: Vec<Warning>,
}

/// A hook of which it could not be decided whether it reads all that its source carries. The meeting runs; packets
/// that it cannot read become dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning {
    /// The instance.
    pub instance: Name,
    /// The source.
    pub source_name: Name,
    /// What the hook takes.
    pub takes: String,
    /// What the source carries.
    pub carries: String,
    /// What stands against it.
    pub why: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instance, source_name, takes, carries, why } = self;
        write!(
            f,
            "instance {instance} takes the source {source_name} as {takes}, which may not fit all that it carries, "
        )?;
        write!(f, "{carries}: {why}")
    }
}

impl Graph {
    /// Checks instances against the plugins of this build (`factories`), the kinds that any build may have
    /// (`known`) and the user's own `sources`.
    ///
    /// The last factory of a kind is used, so that an embedder can replace a bundled plugin.
    ///
    /// # Errors
    /// The first mistake; see [`Error`]. Names are checked first, then each instance, then the whole.
    pub fn build(
        specs: Vec<InstanceSpec>,
        factories: &[Factory],
        known: &[KnownKind],
        sources: Vec<SourceSpec>,
    ) -> Result<Self, Error> {
        let mut sources = own_sources(sources)?;
        let names = instance_names(&specs, &sources)?;

        let mut instances = Vec::with_capacity(specs.len());
        for (name, spec) in names.into_iter().zip(specs) {
            let instance = check(name, spec, factories, known)?;
            let (durability, carries) = (instance.output, instance.metadata.output_type.clone());
            sources
                .insert(instance.name.clone(), Source { durability, origin: SourceOrigin::Output, carries });
            instances.push(instance);
        }
        for instance in &instances {
            for (actual, declared) in &instance.subscriptions {
                if !sources.contains_key(actual) {
                    return Err(Error::UnknownSource {
                        instance: instance.name.clone(),
                        source_name: actual.clone(),
                        declared: declared.clone(),
                        meant: closest_of(actual.as_str(), takeable(&sources)).cloned(),
                    });
                }
            }
        }

        for instance in &mut instances {
            for (source, declared) in &instance.subscriptions {
                let durability = sources[source].durability;
                let default = match durability {
                    Durability::Durable => DeliveryPolicy::Spill,
                    Durability::Volatile => DeliveryPolicy::DropOldest,
                };
                let policy = instance.policies.entry(source.clone()).or_insert(default);
                if (durability, &*policy) == (Durability::Volatile, &DeliveryPolicy::Spill) {
                    return Err(Error::NothingToSpill {
                        instance: instance.name.clone(),
                        source_name: source.clone(),
                        declared: declared.clone(),
                    });
                }
            }
        }
        let warnings = check_types(&instances, &sources)?;
        let instances = in_order(instances)?;
        let index = instances.iter().enumerate().map(|(at, instance)| (instance.name.clone(), at)).collect();
        Ok(Self { instances, index, sources: SourceTable::new(sources), warnings })
    }

    /// The instances, each after all instances whose output it takes, and otherwise in the order of the
    /// declaration.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.iter()
    }

    /// The hooks that may not be able to read all that their sources carry.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The instance with this name.
    pub fn instance(&self, name: &str) -> Option<&Instance> {
        self.index.get(name).map(|at| &self.instances[*at])
    }

    /// Whether packets of a source are stored; `None` if the source does not exist. Sources are well-known or
    /// declared, an instance's output, or a meeting's own.
    pub fn durability(&self, source: &str) -> Option<Durability> {
        self.source(source).map(|source| source.durability)
    }

    /// Whether publishers may publish on a source: a well-known one, or one of the user's own.
    pub fn is_external(&self, source: &str) -> bool {
        self.source(source).is_some_and(|source| source.is_external)
    }

    /// A source, if it exists.
    pub fn source(&self, name: &str) -> Option<SourceView> {
        self.sources.find(name)
    }

    /// All sources, in the order of their indices.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = &Name> {
        self.sources.names()
    }

    /// The name of the source with this index ([`SourceView::place`]).
    ///
    /// # Panics
    /// If the index is from another graph.
    pub fn source_name(&self, place: u32) -> &Name {
        self.sources.name(place)
    }

    /// The instances whose output an instance takes directly.
    pub fn upstream(&self, instance: &str) -> impl Iterator<Item = &Name> {
        let taken = self.instance(instance).map(|instance| instance.subscriptions.keys());
        taken.into_iter().flatten().filter(|source| self.index.contains_key(*source))
    }

    /// The external sources that a source derives from: the source itself, or those that feed the instance
    /// whose output it is, through any number of other instances.
    pub fn origins(&self, source: &str) -> BTreeSet<&Name> {
        if let Some(instance) = self.instance(source) {
            return instance.subscriptions.keys().flat_map(|taken| self.origins(taken.as_str())).collect();
        }
        let place = self.source(source).filter(|view| view.is_external).map(|view| view.place);
        place.map(|place| self.source_name(place)).into_iter().collect()
    }

    /// The instance whose name is most similar to an unknown one.
    pub fn closest_instance(&self, name: &str) -> Option<&Name> {
        closest_of(name, self.index.keys())
    }

    /// The source whose name is most similar to an unknown one; never one of a meeting's own.
    pub fn closest_source(&self, name: &str) -> Option<&Name> {
        closest_of(name, self.sources.takeable())
    }
}

/// Checks that every hook can read what its source carries.
fn check_types(instances: &[Instance], sources: &SourceMap) -> Result<Vec<Warning>, Error> {
    let mut warnings = Vec::new();
    for Instance { name: instance, metadata, subscriptions, .. } in instances {
        for (actual, declared) in subscriptions {
            let (of_source, of_hook) = (&sources[actual].carries, &metadata.takes[declared]);
            let (instance, source_name) = (instance.clone(), actual.clone());
            let (takes, carries) = (of_hook.to_string(), of_source.to_string());
            match compare(of_source, of_hook) {
                Fit::All => {}
                Fit::Undecided(why) => {
                    warnings.push(Warning { instance, source_name, takes, carries, why });
                }
                Fit::NotAll(why) => {
                    let declared = declared.clone();
                    return Err(Error::Type { instance, source_name, declared, takes, carries, why });
                }
            }
        }
    }
    Ok(warnings)
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let takes = |instance: &Instance| -> Vec<Name> { instance.subscriptions.keys().cloned().collect() };
        let instances = self.instances.iter().map(|instance| (&instance.name, takes(instance)));
        f.debug_map().entries(instances).finish()
    }
}
