//! The plugins of a build, as one table.

use std::ops::Deref;

use super::factory::Factory;

/// A kind of plugin that some build has. A message can so tell a typing error from a missing feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownKind {
    /// The kind.
    pub kind: &'static str,
    /// The Cargo feature that brings it into a build.
    pub feature: &'static str,
}

/// The plugins in this build, and the kinds that another build could have.
///
/// A list of factories is a bundle too, of kinds that every build has.
#[derive(Debug, Clone, Default)]
pub struct Bundle {
    factories: Vec<Factory>,
    known: Vec<KnownKind>,
}

impl Bundle {
    /// A bundle of the plugins in this build (`factories`) and the kinds that any build may have (`known`).
    pub fn new(factories: Vec<Factory>, known: Vec<KnownKind>) -> Self {
        Self { factories, known }
    }

    /// The kinds that some build has, with the feature that brings each in.
    pub fn known(&self) -> &[KnownKind] {
        &self.known
    }

    /// All kinds: those that some build has, then the others of this one.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        let known = |kind: &str| self.known.iter().any(|known| known.kind == kind);
        let others = self.factories.iter().map(Factory::kind).filter(move |kind| !known(kind));
        self.known.iter().map(|known| known.kind).chain(others)
    }

    /// This bundle with another one behind it.
    #[must_use]
    pub fn and(mut self, other: impl Into<Self>) -> Self {
        let other = other.into();
        self.factories.extend(other.factories);
        self.known.extend(other.known);
        self
    }
}

impl Deref for Bundle {
    type Target = [Factory];

    fn deref(&self) -> &[Factory] {
        &self.factories
    }
}

impl From<Vec<Factory>> for Bundle {
    fn from(factories: Vec<Factory>) -> Self {
        Self::new(factories, Vec::new())
    }
}

impl<const N: usize> From<[Factory; N]> for Bundle {
    fn from(factories: [Factory; N]) -> Self {
        Vec::from(factories).into()
    }
}
