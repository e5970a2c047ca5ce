//! Mistakes in a plugin graph, with messages that say what to change.

use std::fmt;

use crate::{Name, error_classes, name, plugin::ConfigError};

/// Why instances do not form a graph. Each message names the instance and says what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No build of the program has a plugin of this kind.
    #[error(
        "instance {instance} is of the unknown kind {}{}; known kinds: {}",
        Shown(.kind),
        Meant(.meant.as_deref()),
        List(.known)
    )]
    UnknownKind {
        /// The instance.
        instance: Name,
        /// The plugin's kind.
        kind: String,
        /// The known kind that is most similar.
        meant: Option<String>,
        /// All known kinds, in order.
        known: Vec<String>,
    },
    /// The plugin exists, but was left out of this build.
    #[error(
        "instance {instance} is of kind {kind}, which this build leaves out; \
         build it with --features {feature}"
    )]
    NotInBuild {
        /// The instance.
        instance: Name,
        /// The plugin's kind.
        kind: &'static str,
        /// The Cargo feature that adds the plugin.
        feature: &'static str,
    },
    /// The bundle lists the plugin under another name than its `KIND`; its author must correct one of them.
    #[error(
        "instance {instance} is of kind {kind}, but the plugin in the bundle under that name says \
         KIND = \"{says}\"; write KIND = \"{kind}\" in it"
    )]
    Misnamed {
        /// The instance.
        instance: Name,
        /// The kind under which the bundle lists the plugin.
        kind: &'static str,
        /// The plugin's own `KIND`.
        says: String,
    },
    /// The instance's plugin is not part of the program, and has not been prepared on this machine.
    #[error(
        "instance {instance} is of kind {kind}, whose plugins are prepared before they run, and this one is not, \
         or has changed since; run `teammy install` with this configuration"
    )]
    NotPrepared {
        /// The instance.
        instance: Name,
        /// The plugin's kind.
        kind: String,
    },
    /// Two instances have one name.
    #[error("two instances are called {instance}; give each [[plugin]] a name of its own")]
    DuplicateInstance {
        /// The name.
        instance: Name,
    },
    /// An instance has the name of an existing source.
    #[error(
        "an instance cannot be called {instance}, because that is {claim} and its outputs would mix with it; \
         give the [[plugin]] another name"
    )]
    InstanceTaken {
        /// The name.
        instance: Name,
        /// What the name belongs to.
        claim: Claim,
    },
    /// A declared source has the name of another source.
    #[error("[[source]] {source_name} cannot be declared, because that is {claim}; {}", claim.instead())]
    SourceTaken {
        /// The source.
        source_name: Name,
        /// What the name belongs to.
        claim: Claim,
    },
    /// A name is malformed.
    #[error("{place} cannot be used")]
    Name {
        /// Where the name was found.
        place: String,
        /// What is wrong with the name.
        #[source]
        error: name::Error,
    },
    /// An instance reaches itself through outputs.
    #[error(
        "the output of {} comes back to it: {}; map one of these instances' sources elsewhere \
         in its [plugin.sources], or take one out",
        .path[0],
        Path(.path)
    )]
    Cycle {
        /// The instances of the cycle; the first is repeated at the end.
        path: Vec<Name>,
    },
    /// An instance takes a source that does not exist.
    #[error(
        "instance {instance} takes the source {source_name}{}, which nobody declares{}; \
         declare it ([[source]] name = \"{source_name}\"), add a [[plugin]] of that name, \
         {}map {declared} to another source in the instance's [plugin.sources]{}",
        Mapped { declared, actual: source_name },
        Meant(.meant.as_ref().map(Name::as_str)),
        if declared == source_name { "" } else { "or " },
        if declared == source_name { ", or correct it in the plugin's `hooks`" } else { "" }
    )]
    UnknownSource {
        /// The instance.
        instance: Name,
        /// The source, after mapping.
        source_name: Name,
        /// The source, as the plugin calls it.
        declared: Name,
        /// The source that is most similar.
        meant: Option<Name>,
    },
    /// A source is mapped to one that is reserved for the runtime.
    #[error(
        "instance {instance} maps {declared} to {source_name}, which is reserved for the runtime; \
         map it to another source in the instance's [plugin.sources]"
    )]
    ReservedSource {
        /// The instance.
        instance: Name,
        /// The source, as the plugin calls it.
        declared: Name,
        /// The reserved source.
        source_name: Name,
    },
    /// The policy `spill` is set for a source whose packets are never stored.
    #[error(
        "instance {instance} takes {declared} with the policy spill, but packets of {source_name} are never stored; \
         give it drop-oldest, latest or block in the instance's [plugin.delivery]"
    )]
    NothingToSpill {
        /// The instance.
        instance: Name,
        /// The source.
        source_name: Name,
        /// The source, as the plugin calls it.
        declared: Name,
    },
    /// The schema of a declared source cannot be used.
    #[error("the schema of [[source]] {} cannot be used: {problem}", Shown(.source_name))]
    Schema {
        /// The source.
        source_name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An instance's hook cannot read what its source carries.
    #[error(
        "instance {instance} takes the source {source_name}{}, which its hook reads as {takes}, but {source_name} \
         carries {carries}{}; {}, or map {declared} to another source in the instance's [plugin.sources]",
        Mapped { declared, actual: source_name },
        Why(.why),
        if why.is_empty() { "take that in the plugin's hook" } else { "correct the type in the plugin's hook, or the source's schema" }
    )]
    Type {
        /// The instance.
        instance: Name,
        /// The source, after mapping.
        source_name: Name,
        /// The source, as the plugin calls it.
        declared: Name,
        /// What the hook takes.
        takes: String,
        /// What the source carries.
        carries: String,
        /// What of that the hook cannot read; empty if it reads nothing of it.
        why: String,
    },
    /// A policy is for a source that the plugin does not take.
    #[error(
        "instance {instance} has a delivery policy for the source {}, but its plugin {kind} has no hook for it{}; \
         it takes: {}",
        Shown(.declared),
        Meant(.meant.as_ref().map(Name::as_str)),
        List(.takes)
    )]
    NoHookForPolicy {
        /// The instance.
        instance: Name,
        /// The plugin's kind.
        kind: String,
        /// The source with the policy.
        declared: String,
        /// The source that the plugin takes and that is most similar.
        meant: Option<Name>,
        /// All sources that the plugin takes.
        takes: Vec<Name>,
    },
    /// A mapping is for a source that the plugin does not take.
    #[error(
        "instance {instance} maps the source {}, but its plugin {kind} has no hook for it{}; \
         it takes: {}",
        Shown(.declared),
        Meant(.meant.as_ref().map(Name::as_str)),
        List(.takes)
    )]
    NoHook {
        /// The instance.
        instance: Name,
        /// The plugin's kind.
        kind: String,
        /// The source that was mapped.
        declared: String,
        /// The source that the plugin takes and that is most similar.
        meant: Option<Name>,
        /// All sources that the plugin takes.
        takes: Vec<Name>,
    },
    /// Two of a plugin's sources are mapped to one.
    #[error(
        "instance {instance} takes {source_name} as {first} and as {second}; \
         map each to a source of its own in the instance's [plugin.sources]"
    )]
    MappedTwice {
        /// The instance.
        instance: Name,
        /// The source to which both are mapped.
        source_name: Name,
        /// One of the plugin's sources.
        first: Name,
        /// The other one.
        second: Name,
    },
    /// The plugin declares its hooks wrongly; its author must correct them.
    #[error("plugin {kind}, of instance {instance}, is faulty: {problem}; correct its `hooks`")]
    Hooks {
        /// The instance.
        instance: Name,
        /// The plugin's kind.
        kind: String,
        /// What is wrong with the hooks.
        problem: String,
    },
    /// The plugin's table does not fit its configuration type.
    #[error("the [plugin.config] of instance {instance} does not fit its plugin {kind}")]
    Config {
        /// The instance.
        instance: Name,
        /// The plugin's kind.
        kind: String,
        /// The key, and what is wrong with its value.
        #[source]
        error: ConfigError,
    },
}

error_classes!(Error {
    Self::UnknownKind { .. } => "unknown-kind" Invalid,
    Self::NotInBuild { .. } => "kind-not-in-build" Invalid,
    Self::Misnamed { .. } => "misnamed-kind" Invalid,
    Self::NotPrepared { .. } => "plugin-not-prepared" Invalid,
    Self::DuplicateInstance { .. } => "duplicate-instance" Invalid,
    Self::InstanceTaken { .. } => "instance-name-taken" Invalid,
    Self::SourceTaken { .. } => "source-name-taken" Invalid,
    Self::Cycle { .. } => "cycle" Invalid,
    Self::UnknownSource { .. } => "undeclared-source" Invalid,
    Self::ReservedSource { .. } => "reserved-source" Invalid,
    Self::Schema { .. } => "source-schema" Invalid,
    Self::Type { .. } => "source-type" Invalid,
    Self::NothingToSpill { .. } => "nothing-to-spill" Invalid,
    Self::NoHookForPolicy { .. } => "no-hook-for-policy" Invalid,
    Self::NoHook { .. } => "no-hook" Invalid,
    Self::MappedTwice { .. } => "mapped-twice" Invalid,
    Self::Hooks { .. } => "faulty-hooks" Invalid,
} else {
    Self::Name { error, .. } => error.class(),
    Self::Config { error, .. } => error.class(),
});

/// What a source's name belongs to, where it is not free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Claim {
    /// Known to every plugin, such as `transcription`.
    WellKnown,
    /// For the runtime alone.
    Reserved,
    /// Declared by a `[[source]]`.
    Declared,
}

impl Claim {
    fn instead(self) -> &'static str {
        match self {
            Self::WellKnown => "leave the declaration out",
            Self::Reserved => "give it another name",
            Self::Declared => "declare it once",
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WellKnown => "a well-known source",
            Self::Reserved => "a source reserved for the runtime",
            Self::Declared => "a declared source",
        })
    }
}

/// An unchecked text: quoted, and cut to 40 characters.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(40) {
            Some((end, _)) => write!(f, "{:?}", format_args!("{}…", &self.0[..end]).to_string()),
            None => write!(f, "{:?}", self.0),
        }
    }
}

struct Meant<'a>(Option<&'a str>);

impl fmt::Display for Meant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(meant) => write!(f, " (did you mean {meant}?)"),
            None => Ok(()),
        }
    }
}

struct Mapped<'a> {
    declared: &'a Name,
    actual: &'a Name,
}

impl fmt::Display for Mapped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.declared == self.actual { Ok(()) } else { write!(f, " as {}", self.declared) }
    }
}

/// A reason in brackets, if there is one.
struct Why<'a>(&'a str);

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}

struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        separated(f, self.0, ", ")
    }
}

struct Path<'a>(&'a [Name]);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        separated(f, self.0, " -> ")
    }
}

fn separated<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T], separator: &str) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}
