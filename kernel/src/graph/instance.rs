//! One instance, checked without the others.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    closest::closest_of,
    error::{Claim, Error},
    sources::{Declared, claim, named},
    spec::InstanceSpec,
};
use crate::{DeliveryPolicy, Durability, Factory, InCallPluginMetadata, KnownKind, Name};

/// An instance that has been checked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Instance {
    /// Its name, and the source of its outputs.
    pub name: Name,
    /// How to make its plugin.
    pub factory: Factory,
    /// What the plugin says of itself.
    pub metadata: InCallPluginMetadata,
    /// What it takes: the actual source, and what the plugin calls it.
    pub subscriptions: BTreeMap<Name, Name>,
    /// What becomes of a source's packets while it is busy, by the actual source.
    pub policies: BTreeMap<Name, DeliveryPolicy>,
    /// Whether its outputs are kept.
    pub output: Durability,
    /// Its table; null stands for the plugin's default.
    pub config: serde_json::Value,
}

pub(super) fn instance_names(declared: &[InstanceSpec], sources: &Declared) -> Result<Vec<Name>, Error> {
    let mut seen = BTreeSet::new();
    let mut names = Vec::with_capacity(declared.len());
    for instance in declared {
        let name = named(|| "the name of a [[plugin]]".to_owned(), &instance.name)?;
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

/// Checks what can be said of an instance without the others.
pub(super) fn check(
    name: Name,
    declared: InstanceSpec,
    factories: &[Factory],
    known: &[KnownKind],
) -> Result<Instance, Error> {
    let factory = find(&name, &declared.kind, factories, known)?;
    let kind = factory.kind().to_owned();
    let metadata = match factory.metadata() {
        Ok(metadata) => metadata,
        Err(problem) => return Err(Error::Hooks { instance: name, kind, problem }),
    };
    let subscriptions = subscriptions(&name, &kind, &metadata.sources, &declared.sources)?;
    if let Err(error) = factory.check_config(&declared.config) {
        return Err(Error::Config { instance: name, kind, error });
    }
    let output = declared.output.unwrap_or(metadata.output);
    let policies = policies(&name, &kind, &metadata, &declared.policies, &subscriptions)?;
    Ok(Instance { name, factory, metadata, subscriptions, policies, output, config: declared.config })
}

fn find(instance: &Name, kind: &str, factories: &[Factory], known: &[KnownKind]) -> Result<Factory, Error> {
    if let Some(factory) = factories.iter().rev().find(|factory| factory.kind() == kind) {
        return Ok(factory.clone());
    }
    if let Some(known) = known.iter().find(|known| known.kind == kind) {
        let instance = instance.clone();
        // A bundle gives each factory its kind for a name: one that says otherwise is in this build all the
        // same.
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

/// From the actual source to what the plugin calls it, for each that the plugin takes.
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

/// What is said of policies, by the actual source: in the configuration, or else by the plugin.
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
    let policy = |called: &Name| declared.get(called.as_str()).or_else(|| metadata.policies.get(called));
    let said =
        subscriptions.iter().filter_map(|(actual, called)| Some((actual.clone(), policy(called)?.clone())));
    Ok(said.collect())
}
