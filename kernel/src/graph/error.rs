//! What can be wrong with a plugin graph, and what to do about it.

use std::fmt;

use crate::{Name, name, plugin::ConfigError};

/// Why instances do not make a graph. Each message names the instance and says what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No build of the program has such a plugin.
    #[error(
        "instance {instance} is of the unknown kind {}{}; known kinds: {}",
        Shown(.kind),
        Meant(.meant.as_deref()),
        List(.known)
    )]
    UnknownKind {
        /// The instance.
        instance: Name,
        /// Its kind.
        kind: String,
        /// The known kind that is most like it.
        meant: Option<String>,
        /// All that are known, in order.
        known: Vec<String>,
    },
    /// The plugin exists, but was left out of this build.
    #[error(
        "instance {instance} is of kind {kind}, which this build leaves out; \
         build with it: cargo build --features {feature}"
    )]
    NotInBuild {
        /// The instance.
        instance: Name,
        /// Its kind.
        kind: &'static str,
        /// The Cargo feature that brings it in.
        feature: &'static str,
    },
    /// The bundle has a plugin under this name, which calls itself something else; only its author can help.
    #[error(
        "instance {instance} is of kind {kind}, but the plugin in the bundle under that name says \
         KIND = \"{says}\"; write KIND = \"{kind}\" in it"
    )]
    Misnamed {
        /// The instance.
        instance: Name,
        /// Its kind, as the bundle calls it.
        kind: &'static str,
        /// What the plugin says its kind is.
        says: String,
    },
    /// Two instances have one name.
    #[error("two instances are called {instance}; give each [[plugin]] a name of its own")]
    DuplicateInstance {
        /// The name.
        instance: Name,
    },
    /// An instance has the name of a source that is not its own.
    #[error(
        "an instance cannot be called {instance}, because that is {claim} and its outputs would mix with it; \
         give the [[plugin]] another name"
    )]
    InstanceTaken {
        /// The name.
        instance: Name,
        /// Whose it is.
        claim: Claim,
    },
    /// A declared source has the name of another.
    #[error("[[source]] {source_name} cannot be declared, because that is {claim}; {}", claim.instead())]
    SourceTaken {
        /// The source.
        source_name: Name,
        /// Whose it is.
        claim: Claim,
    },
    /// A name is not of the form that names take.
    #[error("{place} cannot be used")]
    Name {
        /// Where the name stands.
        place: String,
        /// What is wrong with it.
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
        /// The way round, first and last being the same.
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
        /// The source that is most like it.
        meant: Option<Name>,
    },
    /// A mapping leads to a source that belongs to the runtime.
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
    /// An instance would have packets read from the store that are never stored.
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
        /// Its kind.
        kind: String,
        /// The source that has the policy.
        declared: String,
        /// The source that it takes and that is most like it.
        meant: Option<Name>,
        /// All that it takes.
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
        /// Its kind.
        kind: String,
        /// The source that was mapped.
        declared: String,
        /// The source that it takes and that is most like it.
        meant: Option<Name>,
        /// All that it takes.
        takes: Vec<Name>,
    },
    /// Two of a plugin's sources lead to one.
    #[error(
        "instance {instance} takes {source_name} as {first} and as {second}; \
         map each to a source of its own in the instance's [plugin.sources]"
    )]
    MappedTwice {
        /// The instance.
        instance: Name,
        /// The source that both lead to.
        source_name: Name,
        /// One.
        first: Name,
        /// The other.
        second: Name,
    },
    /// The plugin's own hooks make no sense; only its author can help.
    #[error("plugin {kind}, of instance {instance}, is faulty: {problem}; correct its `hooks`")]
    Hooks {
        /// The instance.
        instance: Name,
        /// Its kind.
        kind: String,
        /// What is wrong.
        problem: String,
    },
    /// The plugin cannot read its table.
    #[error("the [plugin.config] of instance {instance} does not fit its plugin {kind}")]
    Config {
        /// The instance.
        instance: Name,
        /// Its kind.
        kind: String,
        /// What the plugin says.
        #[source]
        error: ConfigError,
    },
}

/// Whose a source is, where it is not free to take.
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

/// A text that was never checked: quoted, and cut where it would fill the screen.
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
