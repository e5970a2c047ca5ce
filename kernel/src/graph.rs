//! The plugin graph: which instance takes what from whom, checked before anything starts.
//!
//! An instance's output is a source that anyone may take, so instances form a graph. It must have no cycle: a
//! packet that leads back to its own producer would never come to rest, and a meeting could not end its
//! instances upstream first. Every mistake that the configuration can hold is found here, once, with a
//! message that says what to change; behind this line sources exist, kinds are in the build and tables fit
//! their plugins.

mod error;
mod setup;
#[cfg(test)]
mod tests;

use std::{
    cmp,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

pub use error::{Claim, Error};

pub use crate::plugin::{Bundle, ConfigError, KnownKind};
use crate::{DeliveryPolicy, Durability, Factory, InCallPluginMetadata, Lifecycle, Name, Tick};

/// The source on which the runtime tells of instances that it suspends; anyone may take it, nobody publishes
/// on it.
pub const PLUGIN_STATUS: &str = "plugin-status";

/// The sources that exist without being declared.
const WELL_KNOWN: [(&str, Durability, SourceOrigin); 5] = [
    ("audio", Durability::Volatile, SourceOrigin::External),
    ("transcription", Durability::Durable, SourceOrigin::External),
    ("chat", Durability::Durable, SourceOrigin::External),
    ("participant", Durability::Durable, SourceOrigin::External),
    (PLUGIN_STATUS, Durability::Durable, SourceOrigin::Runtime),
];

/// The sources that a meeting uses for itself: they exist in its log, and no plugin takes them by name.
const RESERVED: [(&str, Durability); 2] =
    [(Lifecycle::SOURCE, Durability::Durable), (Tick::SOURCE, Durability::Volatile)];

/// An instance as the configuration asks for it; nothing about it has been checked.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceSpec {
    /// Its name, which will be the source of its outputs.
    pub name: String,
    /// The kind of its plugin.
    pub kind: String,
    /// Where the plugin's sources come from: the source as the plugin calls it, and the one to take instead.
    pub sources: BTreeMap<String, String>,
    /// What becomes of a source's packets while it is busy, by the source as the plugin calls it; of the
    /// others what the plugin or the source says.
    pub policies: BTreeMap<String, DeliveryPolicy>,
    /// Whether its outputs are kept; `None` leaves that to the plugin.
    pub output: Option<Durability>,
    /// Its table; null stands for the plugin's default.
    pub config: serde_json::Value,
}

impl InstanceSpec {
    /// An instance with no table and nothing mapped.
    pub fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            sources: BTreeMap::new(),
            policies: BTreeMap::new(),
            output: None,
            config: serde_json::Value::Null,
        }
    }
}

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SourceOrigin {
    /// Published from outside.
    External,
    /// Written by the runtime, taken by anyone.
    Runtime,
    /// An instance's output.
    Output,
    /// A meeting's own; taken by nobody.
    Reserved,
}

/// Instances and sources that fit together.
#[derive(Clone)]
pub struct Graph {
    instances: Vec<Instance>,
    index: BTreeMap<Name, usize>,
    /// [By length](by_length).
    sources: Vec<Source>,
}

/// A source that exists.
#[derive(Debug, Clone)]
struct Source {
    name: Name,
    durability: Durability,
    origin: SourceOrigin,
}

/// A source as a [`Graph`] knows it, to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceView {
    /// Its place in the graph; see [`Graph::source_name`].
    pub place: u32,
    /// Whether its packets are kept.
    pub durability: Durability,
    /// Whether it may be published on from outside: a well-known one, or one of the user's own.
    pub is_external: bool,
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
        let mut sources: Vec<_> = sources
            .into_iter()
            .map(|(name, (durability, origin))| Source { name, durability, origin })
            .collect();
        sources.sort_by(|a, b| by_length(a.name.as_str(), b.name.as_str()));
        Ok(Self { instances, index, sources })
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
        let place = self.sources.binary_search_by(|source| by_length(source.name.as_str(), name)).ok()?;
        let Source { durability, origin, .. } = self.sources[place];
        let is_external = origin == SourceOrigin::External;
        let place = u32::try_from(place).expect("invariant: sources are few");
        Some(SourceView { place, durability, is_external })
    }

    /// All sources, by their places.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = &Name> {
        self.sources.iter().map(|source| &source.name)
    }

    /// The name of the source at a place.
    ///
    /// # Panics
    /// If the place is another graph's.
    pub fn source_name(&self, place: u32) -> &Name {
        &self.sources[place as usize].name
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
        let takeable = self.sources.iter().filter(|source| source.origin != SourceOrigin::Reserved);
        closest_of(name, takeable.map(|source| &source.name))
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let takes = |instance: &Instance| -> Vec<Name> { instance.subscriptions.keys().cloned().collect() };
        let instances = self.instances.iter().map(|instance| (&instance.name, takes(instance)));
        f.debug_map().entries(instances).finish()
    }
}

/// The candidate most like a text, if any is like enough to be what was meant.
pub fn closest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    closest_of(text, candidates)
}

fn closest_of<T: AsRef<str>>(text: &str, candidates: impl IntoIterator<Item = T>) -> Option<T> {
    // One slip in three characters; more alike than that, and any two short words would be.
    let most = text.chars().count().div_ceil(3);
    let text = text.to_lowercase();
    let distances = candidates.into_iter().map(|candidate| {
        let distance = strsim::damerau_levenshtein(&text, &candidate.as_ref().to_lowercase());
        (distance, candidate)
    });
    distances
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, it)| it)
}

/// An order that seldom has to look at the text: every packet's source is looked up.
fn by_length(a: &str, b: &str) -> cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn takeable(sources: &BTreeMap<Name, (Durability, SourceOrigin)>) -> impl Iterator<Item = &Name> {
    sources.iter().filter(|(_, (_, origin))| *origin != SourceOrigin::Reserved).map(|(name, _)| name)
}

fn constant(name: &str) -> Name {
    Name::new(name).expect("invariant: the names of built-in sources are well-formed")
}

fn named(place: impl FnOnce() -> String, name: &str) -> Result<Name, Error> {
    Name::new(name).map_err(|error| Error::Name { place: place(), error })
}

fn claim(name: &Name) -> Option<Claim> {
    if RESERVED.iter().any(|(reserved, _)| name == reserved) {
        Some(Claim::Reserved)
    } else if WELL_KNOWN.iter().any(|(known, ..)| name == known) {
        Some(Claim::WellKnown)
    } else {
        None
    }
}

/// All sources but the instances' outputs.
fn own_sources(
    declared: &[(String, Durability)],
) -> Result<BTreeMap<Name, (Durability, SourceOrigin)>, Error> {
    let well_known =
        WELL_KNOWN.iter().map(|(name, durability, origin)| (constant(name), (*durability, *origin)));
    let reserved =
        RESERVED.iter().map(|(name, durability)| (constant(name), (*durability, SourceOrigin::Reserved)));
    let mut sources: BTreeMap<_, _> = well_known.chain(reserved).collect();
    for (name, durability) in declared {
        let name = named(|| "the name of a [[source]]".to_owned(), name)?;
        if let Some(claim) = claim(&name) {
            return Err(Error::SourceTaken { source_name: name, claim });
        }
        if sources.insert(name.clone(), (*durability, SourceOrigin::External)).is_some() {
            return Err(Error::SourceTaken { source_name: name, claim: Claim::Declared });
        }
    }
    Ok(sources)
}

fn instance_names(
    declared: &[InstanceSpec],
    sources: &BTreeMap<Name, (Durability, SourceOrigin)>,
) -> Result<Vec<Name>, Error> {
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
fn check(
    name: Name,
    declared: InstanceSpec,
    factories: &[Factory],
    known: &[KnownKind],
) -> Result<Instance, Error> {
    let factory = find(&name, &declared.kind, factories, known)?;
    let kind = factory.kind();
    let metadata = match factory.metadata() {
        Ok(metadata) => metadata,
        Err(problem) => return Err(Error::Hooks { instance: name, kind, problem }),
    };
    let subscriptions = subscriptions(&name, kind, &metadata.sources, &declared.sources)?;
    if let Err(error) = factory.check_config(&declared.config) {
        return Err(Error::Config { instance: name, kind, error });
    }
    let output = declared.output.unwrap_or(metadata.output);
    let policies = policies(&name, kind, &metadata, &declared.policies, &subscriptions)?;
    Ok(Instance { name, factory, metadata, subscriptions, policies, output, config: declared.config })
}

fn find(instance: &Name, kind: &str, factories: &[Factory], known: &[KnownKind]) -> Result<Factory, Error> {
    if let Some(factory) = factories.iter().rev().find(|factory| factory.kind() == kind) {
        return Ok(*factory);
    }
    if let Some(known) = known.iter().find(|known| known.kind == kind) {
        let instance = instance.clone();
        // A bundle gives each factory its kind for a name: one that says otherwise is in this build all the
        // same.
        return Err(match factories.iter().rev().find(|factory| factory.name() == kind) {
            Some(other) => Error::Misnamed { instance, kind: known.kind, says: other.kind() },
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
    kind: &'static str,
    takes: &[Name],
    mapping: &BTreeMap<String, String>,
) -> Result<BTreeMap<Name, Name>, Error> {
    if let Some(declared) =
        mapping.keys().find(|declared| !takes.iter().any(|name| name == declared.as_str()))
    {
        return Err(Error::NoHook {
            instance: instance.clone(),
            kind,
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
    kind: &'static str,
    metadata: &InCallPluginMetadata,
    declared: &BTreeMap<String, DeliveryPolicy>,
    subscriptions: &BTreeMap<Name, Name>,
) -> Result<BTreeMap<Name, DeliveryPolicy>, Error> {
    let takes = &metadata.sources;
    if let Some(unknown) = declared.keys().find(|source| !takes.iter().any(|name| name == source.as_str())) {
        return Err(Error::NoHookForPolicy {
            instance: instance.clone(),
            kind,
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

/// Upstream before downstream; of those that could come next, the one that was declared first.
fn in_order(instances: Vec<Instance>) -> Result<Vec<Instance>, Error> {
    let index: BTreeMap<&Name, usize> =
        instances.iter().enumerate().map(|(at, instance)| (&instance.name, at)).collect();
    let upstream: Vec<Vec<usize>> = instances
        .iter()
        .map(|instance| {
            instance.subscriptions.keys().filter_map(|source| index.get(source).copied()).collect()
        })
        .collect();
    let mut downstream = vec![Vec::new(); instances.len()];
    for (to, from) in
        upstream.iter().enumerate().flat_map(|(to, from)| from.iter().map(move |from| (to, *from)))
    {
        downstream[from].push(to);
    }

    let mut waiting_for: Vec<usize> = upstream.iter().map(Vec::len).collect();
    let mut ready: BTreeSet<usize> = (0..instances.len()).filter(|at| waiting_for[*at] == 0).collect();
    let mut order = Vec::with_capacity(instances.len());
    while let Some(next) = ready.pop_first() {
        order.push(next);
        for to in &downstream[next] {
            waiting_for[*to] -= 1;
            if waiting_for[*to] == 0 {
                ready.insert(*to);
            }
        }
    }
    if let Some(stuck) = waiting_for.iter().position(|count| *count > 0) {
        let path = cycle(stuck, &upstream, &waiting_for);
        return Err(Error::Cycle { path: path.into_iter().map(|at| instances[at].name.clone()).collect() });
    }

    let mut slots: Vec<Option<Instance>> = instances.into_iter().map(Some).collect();
    let taken =
        order.into_iter().map(|at| slots[at].take().expect("invariant: an order names each instance once"));
    Ok(taken.collect())
}

/// A cycle that leads to an instance that can never run, from producer to consumer, its first member repeated
/// at the end. Whoever waits for ever waits for another that does, so going upstream must come round.
fn cycle(stuck: usize, upstream: &[Vec<usize>], waiting_for: &[usize]) -> Vec<usize> {
    let mut walked = vec![stuck];
    loop {
        let at = walked[walked.len() - 1];
        let next = *upstream[at]
            .iter()
            .find(|from| waiting_for[**from] > 0)
            .expect("invariant: what never becomes ready waits for something that never does");
        if let Some(start) = walked.iter().position(|seen| *seen == next) {
            let mut path = walked.split_off(start);
            path.reverse();
            let first =
                path.iter().enumerate().min_by_key(|(_, member)| **member).map_or(0, |(place, _)| place);
            path.rotate_left(first);
            path.push(path[0]);
            return path;
        }
        walked.push(next);
    }
}
