//! The plugin graph: which instance takes what from whom, checked before anything starts.
//!
//! An instance's output is a source that anyone may take, so instances form a graph. It must have no cycle: a
//! packet that leads back to its own producer would never come to rest, and a meeting could not end its
//! instances upstream first. Every mistake that the configuration can hold is found here, once, with a
//! message that says what to change; behind this line sources exist, kinds are in the build and tables fit
//! their plugins.

mod closest;
mod error;
mod instance;
mod order;
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
pub use spec::InstanceSpec;

pub use crate::plugin::{Bundle, ConfigError, KnownKind};
use crate::{DeliveryPolicy, Durability, Factory, Name};
use closest::closest_of;
use instance::{check, instance_names};
use order::in_order;
use sources::{SourceOrigin, SourceTable, own_sources, takeable};

/// Instances and sources that fit together.
#[derive(Clone)]
pub struct Graph {
    instances: Vec<Instance>,
    index: BTreeMap<Name, usize>,
    sources: SourceTable,
}

impl Graph {
    /// Checks instances against the plugins of this build (`factories`), the kinds that any build may have
    /// (`known`) and the user's own `sources`.
    ///
    /// Where two factories are of one kind the later one is used, so that an embedder can replace a bundled
    /// plugin.
    ///
    /// # Errors
    /// The first thing that is wrong; see [`Error`]. Names are checked first, then each instance, then the
    /// whole.
    pub fn build(
        declared: Vec<InstanceSpec>,
        factories: &[Factory],
        known: &[KnownKind],
        sources: &[(String, Durability)],
    ) -> Result<Self, Error> {
        let mut sources = own_sources(sources)?;
        let names = instance_names(&declared, &sources)?;

        let mut instances = Vec::with_capacity(declared.len());
        for (name, declared) in names.into_iter().zip(declared) {
            let instance = check(name, declared, factories, known)?;
            sources.insert(instance.name.clone(), (instance.output, SourceOrigin::Output));
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
            for (source, called) in &instance.subscriptions {
                let (durability, _) = sources[source];
                let default = match durability {
                    Durability::Durable => DeliveryPolicy::Spill,
                    Durability::Volatile => DeliveryPolicy::DropOldest,
                };
                let policy = instance.policies.entry(source.clone()).or_insert(default);
                if (durability, &*policy) == (Durability::Volatile, &DeliveryPolicy::Spill) {
                    return Err(Error::NothingToSpill {
                        instance: instance.name.clone(),
                        source_name: source.clone(),
                        declared: called.clone(),
                    });
                }
            }
        }
        let instances = in_order(instances)?;
        let index = instances.iter().enumerate().map(|(at, instance)| (instance.name.clone(), at)).collect();
        Ok(Self { instances, index, sources: SourceTable::new(sources) })
    }

    /// The instances: each after all whose output it takes, and otherwise as they were declared.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.instances.iter()
    }

    /// The instance of a name.
    pub fn instance(&self, name: &str) -> Option<&Instance> {
        self.index.get(name).map(|at| &self.instances[*at])
    }

    /// Whether packets of a source are kept, if it exists: well-known, declared, an instance's output, or one
    /// that a meeting uses for itself.
    pub fn durability(&self, source: &str) -> Option<Durability> {
        self.source(source).map(|source| source.durability)
    }

    /// Whether a source may be published on from outside: a well-known one, or one of the user's own.
    pub fn is_external(&self, source: &str) -> bool {
        self.source(source).is_some_and(|source| source.is_external)
    }

    /// A source, if it exists.
    pub fn source(&self, name: &str) -> Option<SourceView> {
        self.sources.find(name)
    }

    /// All sources, by their places.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = &Name> {
        self.sources.names()
    }

    /// The name of the source at a place.
    ///
    /// # Panics
    /// If the place is another graph's.
    pub fn source_name(&self, place: u32) -> &Name {
        self.sources.name(place)
    }

    /// The instances whose output an instance takes directly.
    pub fn upstream(&self, instance: &str) -> impl Iterator<Item = &Name> {
        let taken = self.instance(instance).map(|instance| instance.subscriptions.keys());
        taken.into_iter().flatten().filter(|source| self.index.contains_key(*source))
    }

    /// The sources from outside that a source comes from: itself, or what feeds the instance whose output it
    /// is, over any number of others.
    pub fn origins(&self, source: &str) -> BTreeSet<&Name> {
        if let Some(instance) = self.instance(source) {
            return instance.subscriptions.keys().flat_map(|taken| self.origins(taken.as_str())).collect();
        }
        let place = self.source(source).filter(|view| view.is_external).map(|view| view.place);
        place.map(|place| self.source_name(place)).into_iter().collect()
    }

    /// The instance whose name is most like one that isn't there.
    pub fn closest_instance(&self, name: &str) -> Option<&Name> {
        closest_of(name, self.index.keys())
    }

    /// The source whose name is most like one that isn't there; never one of a meeting's own.
    pub fn closest_source(&self, name: &str) -> Option<&Name> {
        closest_of(name, self.sources.takeable())
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let takes = |instance: &Instance| -> Vec<Name> { instance.subscriptions.keys().cloned().collect() };
        let instances = self.instances.iter().map(|instance| (&instance.name, takes(instance)));
        f.debug_map().entries(instances).finish()
    }
}
