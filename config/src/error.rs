//! What can be wrong with a configuration.

use std::{fmt, io, path::PathBuf};

use crate::database;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no file at the given path.
    #[error("there is no configuration file {}; check the path", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        error: io::Error,
    },
    /// The file is not text.
    #[error("{}, line {line}: not UTF-8 text; save the file as UTF-8", .path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line of the first byte that is wrong, from 1.
        line: usize,
    },
    /// The text is not TOML.
    #[error("{origin}, line {line}, column {column}: {message}")]
    Syntax {
        /// The file.
        origin: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1, in characters.
        column: usize,
        /// What is wrong with it.
        message: String,
    },
    /// Keys or values are wrong. The message has a line for each.
    #[error("{}", Lines(.0))]
    Invalid(Vec<Problem>),
    /// There is no directory for the default database.
    #[error(
        "there is no data directory to keep meetings in; set database.url, for example to \
         surrealkv:///var/lib/teammy/db (environment variable TEAMMY_DATABASE__URL)"
    )]
    NoDataDirectory(#[source] DataDirectoryError),
    /// There is no directory for the default manifest.
    #[error(
        "there is no data directory to keep the installation's manifest in; set install.manifest, for example to \
         /var/lib/teammy/installed.json (environment variable TEAMMY_INSTALL__MANIFEST)"
    )]
    NoManifestDirectory(#[source] DataDirectoryError),
    /// There is no directory for the default socket.
    #[error("there is no directory for the node's socket; set node.socket to a path, or to \"off\"")]
    NoSocketDirectory(#[source] DataDirectoryError),
}

/// The codes of [`Error`], in the order of its variants.
const CODES: [&str; 8] = [
    "config-missing",
    "config-unreadable",
    "config-not-utf8",
    "config-syntax",
    "config-invalid",
    "no-data-directory",
    "no-manifest-directory",
    "no-socket-directory",
];

impl Error {
    /// All codes.
    #[doc(hidden)]
    pub const CODES: &'static [&'static str] = &CODES;

    /// The code: words in lower case with hyphens between them, which do not change. Somebody has to change the
    /// configuration, or where it stands, before another try can succeed.
    pub fn code(&self) -> &'static str {
        CODES[match self {
            Self::Missing { .. } => 0,
            Self::Read { .. } => 1,
            Self::NotUtf8 { .. } => 2,
            Self::Syntax { .. } => 3,
            Self::Invalid(_) => 4,
            Self::NoDataDirectory(_) => 5,
            Self::NoManifestDirectory(_) => 6,
            Self::NoSocketDirectory(_) => 7,
        }]
    }
}

/// Why the user's data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirectoryError {
    /// The user has no home directory.
    #[error("the home directory is not known")]
    NoHome,
    /// A database URL cannot hold its path.
    #[error("its path cannot be part of a database URL")]
    Path(#[source] database::UrlError),
}

/// One mistake in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The file, variable or option that holds the mistake.
    pub origin: String,
    /// The key, such as `hooks.tries`; empty if the origin itself is wrong, such as an unknown variable.
    pub key: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl Problem {
    pub(crate) fn new(origin: &str, key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { origin: origin.to_owned(), key: key.into(), problem: problem.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, key, problem } = self;
        if key.is_empty() { write!(f, "{origin} {problem}") } else { write!(f, "{origin}: {key} {problem}") }
    }
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}
