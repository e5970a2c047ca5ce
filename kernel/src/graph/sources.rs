//! The sources that exist: well-known ones, the user's own, instances' outputs, and a meeting's own.

use std::{cmp, collections::BTreeMap};

use super::error::{Claim, Error};
use crate::{Durability, Lifecycle, Name, Tick};

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceOrigin {
    /// Published from outside.
    External,
    /// Written by the runtime, taken by anyone.
    Runtime,
    /// An instance's output.
    Output,
    /// A meeting's own; taken by nobody.
    Reserved,
}

/// Sources by name, while a graph is built.
pub(super) type Declared = BTreeMap<Name, (Durability, SourceOrigin)>;

/// A source that exists.
#[derive(Debug, Clone)]
struct Source {
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
    /// Whether its packets are kept.
    pub durability: Durability,
    /// Whether it may be published on from outside: a well-known one, or one of the user's own.
    pub is_external: bool,
}

/// The sources of a graph, [by length](by_length).
#[derive(Clone)]
pub(super) struct SourceTable(Vec<Source>);

impl SourceTable {
    pub(super) fn new(sources: Declared) -> Self {
        let mut sources: Vec<_> = sources
            .into_iter()
            .map(|(name, (durability, origin))| Source { name, durability, origin })
            .collect();
        sources.sort_by(|a, b| by_length(a.name.as_str(), b.name.as_str()));
        Self(sources)
    }

    pub(super) fn find(&self, name: &str) -> Option<SourceView> {
        let place = self.0.binary_search_by(|source| by_length(source.name.as_str(), name)).ok()?;
        let Source { durability, origin, .. } = self.0[place];
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

/// An order that seldom has to look at the text: every packet's source is looked up.
fn by_length(a: &str, b: &str) -> cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// The sources that an instance can take.
pub(super) fn takeable(sources: &Declared) -> impl Iterator<Item = &Name> {
    sources.iter().filter(|(_, (_, origin))| *origin != SourceOrigin::Reserved).map(|(name, _)| name)
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

/// All sources but the instances' outputs.
pub(super) fn own_sources(declared: &[(String, Durability)]) -> Result<Declared, Error> {
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
