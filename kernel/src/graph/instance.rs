//! One instance, checked without the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    closest::closest_of,
    error::{Claim, Error},
    sources::{SourceMap, claim, named},
    spec::InstanceSpec,
};
use crate::{DeliveryPolicy, Durability, Factory, InCallPluginMetadata, KnownKind, Name, plugin::PluginHost};

/// A checked instance.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Instance {
    /// The instance's name, which is the source of its outputs.
    pub name: Name,
    /// Makes the instance's plugin.
    pub factory: Factory,
    /// The plugin's metadata.
    pub metadata: InCallPluginMetadata,
    /// The sources that the instance takes: the actual source, and the plugin's name for it.
    pub subscriptions: BTreeMap<Name, Name>,
    /// Delivery policies, by the actual source.
    pub policies: BTreeMap<Name, DeliveryPolicy>,
    /// Whether outputs are stored.
    pub output: Durability,
    /// How long effects of volatile packets alone may wait to be stored; `None` leaves that to the node.
    pub checkpoint_interval: Option<Duration>,
    /// The plugin's table; null stands for the plugin's default.
    pub config: serde_json::Value,
}

pub(super) fn instance_names(specs: &[InstanceSpec], sources: &SourceMap) -> Result<Vec<Name>, Error> {
    let mut seen = BTreeSet::new();
    let mut names = Vec::with_capacity(specs.len());
    for spec in specs {
        let name = named(|| "the name of a [[plugin]]".to_owned(), &spec.name)?;
        if sources.contains_key(&name) {
            let claim = claim(&name).unwrap_or(Claim::Declared);
            return Err(Error::InstanceTaken { instance: name, claim });
        }
        if !seen.insert(name.clone()) {
            return Err(Error::DuplicateInstance { instance: name });
        }
        names.push(name);
    }
    Ok(names)
}

/// Checks an instance's kind, hooks, mapping, table and policies.
pub(super) fn check(
    name: Name,
    spec: InstanceSpec,
    factories: &[Factory],
    known: &[KnownKind],
) -> Result<Instance, Error> {
    let factory = find(&name, &spec.kind, factories, known)?;
    let kind = factory.kind().to_owned();
    let factory = match factory.as_host() {
        Some(host) => hosted(&factory, host, &name, &spec)?,
        None => factory,
    };
    let metadata = match factory.metadata() {
        Ok(metadata) => metadata,
        Err(problem) => return Err(Error::Hooks { instance: name, kind, problem }),
    };
    let subscriptions = subscriptions(&name, &kind, &metadata.sources, &spec.sources)?;
    if let Err(error) = factory.check_config(&spec.config) {
        return Err(Error::Config { instance: name, kind, error });
    }
    let output = spec.output.unwrap_or(metadata.output);
    let policies = policies(&name, &kind, &metadata, &spec.policies, &subscriptions)?;
    let InstanceSpec { checkpoint_interval, config, .. } = spec;
    Ok(Instance { name, factory, metadata, subscriptions, policies, output, checkpoint_interval, config })
}

/// The factory that a host makes for an instance.
fn hosted(
    factory: &Factory,
    host: &dyn PluginHost,
    name: &Name,
    spec: &InstanceSpec,
) -> Result<Factory, Error> {
    let (instance, kind) = (name.clone(), factory.kind().to_owned());
    let current = |prepared: &&serde_json::Value| host.is_current(name, &spec.config, prepared);
    let Some(prepared) = spec.prepared.as_ref().filter(current) else {
        return Err(Error::NotPrepared { instance, kind });
    };
    let made = factory.of_instance(name, &spec.config, prepared);
    made.map_err(|error| Error::Config { instance, kind, error })
}

fn find(instance: &Name, kind: &str, factories: &[Factory], known: &[KnownKind]) -> Result<Factory, Error> {
    if let Some(factory) = factories.iter().rev().find(|factory| factory.kind() == kind) {
        return Ok(factory.clone());
    }
    if let Some(known) = known.iter().find(|known| known.kind == kind) {
        let instance = instance.clone();
        // A bundle names each factory after its kind. A factory of that name but another kind is in this
        // build, so the plugin's KIND is wrong.
        return Err(match factories.iter().rev().find(|factory| factory.name() == kind) {
            Some(other) => Error::Misnamed { instance, kind: known.kind, says: other.kind().to_owned() },
            None => Error::NotInBuild { instance, kind: known.kind, feature: known.feature },
        });
    }
    let built = factories.iter().map(Factory::kind);
    let all: BTreeSet<&str> = built.chain(known.iter().map(|known| known.kind)).collect();
    Err(Error::UnknownKind {
        instance: instance.clone(),
        kind: kind.to_owned(),
        meant: closest_of(kind, all.iter().copied()).map(str::to_owned),
        known: all.into_iter().map(str::to_owned).collect(),
    })
}

/// The actual source of each source that the plugin takes, with the plugin's name for it.
fn subscriptions(
    instance: &Name,
    kind: &str,
    takes: &[Name],
    mapping: &BTreeMap<String, String>,
) -> Result<BTreeMap<Name, Name>, Error> {
    if let Some(declared) =
        mapping.keys().find(|declared| !takes.iter().any(|name| name == declared.as_str()))
    {
        return Err(Error::NoHook {
            instance: instance.clone(),
            kind: kind.to_owned(),
            declared: declared.clone(),
            meant: closest_of(declared, takes).cloned(),
            takes: takes.to_vec(),
        });
    }
    let mut subscriptions = BTreeMap::new();
    for declared in takes {
        let actual = match mapping.get(declared.as_str()) {
            Some(to) => named(|| format!("the source to which instance {instance} maps {declared}"), to)?,
            None => declared.clone(),
        };
        if claim(&actual) == Some(Claim::Reserved) {
            return Err(Error::ReservedSource {
                instance: instance.clone(),
                declared: declared.clone(),
                source_name: actual,
            });
        }
        if let Some(first) = subscriptions.insert(actual.clone(), declared.clone()) {
            return Err(Error::MappedTwice {
                instance: instance.clone(),
                source_name: actual,
                first,
                second: declared.clone(),
            });
        }
    }
    Ok(subscriptions)
}

/// The policies that the configuration or else the plugin sets, by the actual source.
fn policies(
    instance: &Name,
    kind: &str,
    metadata: &InCallPluginMetadata,
    declared: &BTreeMap<String, DeliveryPolicy>,
    subscriptions: &BTreeMap<Name, Name>,
) -> Result<BTreeMap<Name, DeliveryPolicy>, Error> {
    let takes = &metadata.sources;
    if let Some(unknown) = declared.keys().find(|source| !takes.iter().any(|name| name == source.as_str())) {
        return Err(Error::NoHookForPolicy {
            instance: instance.clone(),
            kind: kind.to_owned(),
            declared: unknown.clone(),
            meant: closest_of(unknown, takes).cloned(),
            takes: takes.clone(),
        });
    }
    let policy = |own: &Name| declared.get(own.as_str()).or_else(|| metadata.policies.get(own));
    let set = subscriptions.iter().filter_map(|(actual, own)| Some((actual.clone(), policy(own)?.clone())));
    Ok(set.collect())
}
