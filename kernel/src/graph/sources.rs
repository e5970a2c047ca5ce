//! The sources that exist: well-known ones, the user's own, instances' outputs, and a meeting's own.

use std::{cmp, collections::BTreeMap};

use super::{
    compatibility,
    error::{Claim, Error},
    spec::SourceSpec,
};
use crate::{DataType, Durability, Lifecycle, Name, Tick, Wake, data::well_known};

/// The source on which the runtime reports suspended instances. Instances may take it; publishers may not
/// publish on it.
pub const PLUGIN_STATUS: &str = "plugin-status";

/// The sources that exist without a declaration.
const WELL_KNOWN: [(&str, Durability, SourceOrigin); 5] = [
    ("audio", Durability::Volatile, SourceOrigin::External),
    ("transcription", Durability::Durable, SourceOrigin::External),
    ("chat", Durability::Durable, SourceOrigin::External),
    ("participant", Durability::Durable, SourceOrigin::External),
    (PLUGIN_STATUS, Durability::Durable, SourceOrigin::Runtime),
];

/// The sources of a meeting's own packets. They exist in its log; no plugin can take them.
const RESERVED: [(&str, Durability); 3] = [
    (Lifecycle::SOURCE, Durability::Durable),
    (Tick::SOURCE, Durability::Volatile),
    (Wake::SOURCE, Durability::Volatile),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceOrigin {
    /// Written by publishers.
    External,
    /// Written by the runtime; instances may take it.
    Runtime,
    /// Written by an instance.
    Output,
    /// A meeting's own; no instance can take it.
    Reserved,
}

/// A source while a graph is built.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) durability: Durability,
    pub(super) origin: SourceOrigin,
    /// What its packets carry.
    pub(super) carries: DataType,
}

/// Sources by name, while a graph is built.
pub(super) type SourceMap = BTreeMap<Name, Source>;

/// A source that exists.
#[derive(Debug, Clone)]
struct Entry {
    name: Name,
    durability: Durability,
    origin: SourceOrigin,
}

/// What a [`Graph`](crate::graph::Graph) knows of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceView {
    /// The source's index in the graph; [`Graph::source_name`](crate::graph::Graph::source_name) takes it.
    pub place: u32,
    /// Whether the source's packets are stored.
    pub durability: Durability,
    /// Whether publishers may publish on it: a well-known source, or one of the user's own.
    pub is_external: bool,
}

/// The sources of a graph, [by length](by_length).
#[derive(Clone)]
pub(super) struct SourceTable(Vec<Entry>);

impl SourceTable {
    pub(super) fn new(sources: SourceMap) -> Self {
        let mut sources: Vec<_> = sources
            .into_iter()
            .map(|(name, Source { durability, origin, .. })| Entry { name, durability, origin })
            .collect();
        sources.sort_by(|a, b| by_length(a.name.as_str(), b.name.as_str()));
        Self(sources)
    }

    pub(super) fn find(&self, name: &str) -> Option<SourceView> {
        let place = self.0.binary_search_by(|source| by_length(source.name.as_str(), name)).ok()?;
        let Entry { durability, origin, .. } = self.0[place];
        let is_external = origin == SourceOrigin::External;
        let place = u32::try_from(place).expect("invariant: sources are few");
        Some(SourceView { place, durability, is_external })
    }

    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = &Name> {
        self.0.iter().map(|source| &source.name)
    }

    pub(super) fn name(&self, place: u32) -> &Name {
        &self.0[place as usize].name
    }

    /// The sources that an instance can take.
    pub(super) fn takeable(&self) -> impl Iterator<Item = &Name> {
        self.0.iter().filter(|source| source.origin != SourceOrigin::Reserved).map(|source| &source.name)
    }
}

/// Orders names by length first, so that a look-up seldom compares text. Each packet's source is looked up.
fn by_length(a: &str, b: &str) -> cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// The sources that an instance can take.
pub(super) fn takeable(sources: &SourceMap) -> impl Iterator<Item = &Name> {
    sources.iter().filter(|(_, source)| source.origin != SourceOrigin::Reserved).map(|(name, _)| name)
}

fn constant(name: &str) -> Name {
    Name::new(name).expect("invariant: the names of built-in sources are well-formed")
}

/// Checks a name; `place` says where it was found.
pub(super) fn named(place: impl FnOnce() -> String, name: &str) -> Result<Name, Error> {
    Name::new(name).map_err(|error| Error::Name { place: place(), error })
}

/// Whether a name belongs to the runtime or is well-known.
pub(super) fn claim(name: &Name) -> Option<Claim> {
    if RESERVED.iter().any(|(reserved, _)| name == reserved) {
        Some(Claim::Reserved)
    } else if WELL_KNOWN.iter().any(|(known, ..)| name == known) {
        Some(Claim::WellKnown)
    } else {
        None
    }
}

/// All sources except the instances' outputs.
pub(super) fn own_sources(declared: Vec<SourceSpec>) -> Result<SourceMap, Error> {
    let source = |durability, origin, carries| Source { durability, origin, carries };
    let well_known = WELL_KNOWN.iter().map(|(name, durability, origin)| {
        (constant(name), source(*durability, *origin, well_known::carried_by(name)))
    });
    let reserved = RESERVED.iter().map(|(name, durability)| {
        (constant(name), source(*durability, SourceOrigin::Reserved, DataType::Any))
    });
    let mut sources: BTreeMap<_, _> = well_known.chain(reserved).collect();
    for SourceSpec { name, durability, carries } in declared {
        let name = named(|| "the name of a [[source]]".to_owned(), &name)?;
        if let Some(claim) = claim(&name) {
            return Err(Error::SourceTaken { source_name: name, claim });
        }
        if let Some(problem) = carries.schema().and_then(|schema| compatibility::problem(schema.as_value())) {
            let problem = format!("it is not a JSON Schema: {problem}");
            return Err(Error::Schema { source_name: name.to_string(), problem });
        }
        if sources.insert(name.clone(), source(durability, SourceOrigin::External, carries)).is_some() {
            return Err(Error::SourceTaken { source_name: name, claim: Claim::Declared });
        }
    }
    Ok(sources)
}
