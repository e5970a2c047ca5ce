//! Where meetings are stored, as a URL.
//!
//! Only forms that Teammy can open are accepted, so a typing error is found before anything starts. A URL
//! holds no password, because URLs end up in logs.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::value_type::{self, ValueType};

/// A checked database URL.
///
/// # Examples
/// ```
/// use teammy_config::database::{Kind, Url};
/// let url: Url = "surrealkv:///var/lib/teammy/db".parse()?;
/// assert_eq!(url.kind(), &Kind::Embedded("/var/lib/teammy/db".into()));
/// assert!("http://localhost:8000".parse::<Url>().is_err());
/// # Ok::<(), teammy_config::database::UrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url(Kind);

/// The kind of database that a URL names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Memory, lost when the process ends.
    Memory,
    /// A directory, which one process at a time can open. Its path is UTF-8.
    Embedded(PathBuf),
    /// A server: a whole `ws://` or `wss://` URL, without credentials.
    Server(String),
}

/// Where a server's user is defined, which says what to sign in to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AuthLevel {
    /// On the server: `DEFINE USER … ON ROOT`.
    #[default]
    Root,
    /// On the namespace: `DEFINE USER … ON NAMESPACE`.
    Namespace,
    /// On the database: `DEFINE USER … ON DATABASE`.
    Database,
}

/// Why a text is not a database URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {hint}")]
pub struct UrlError {
    problem: String,
    hint: &'static str,
}

const EXAMPLES: &str = "write surrealkv://PATH for a directory (surrealkv:///var/lib/teammy/db), mem:// for memory, \
                        or ws://HOST:PORT or wss://HOST:PORT for a SurrealDB server";
const CREDENTIALS: &str = "give them as database.username and database.password";
const PARAMETERS: &str = "leave out everything from there on";

fn refused<T>(problem: impl Into<String>, hint: &'static str) -> Result<T, UrlError> {
    Err(UrlError { problem: problem.into(), hint })
}

impl Url {
    /// A database in memory.
    pub const fn memory() -> Self {
        Self(Kind::Memory)
    }

    /// A database in a directory.
    ///
    /// # Errors
    /// If the path is empty, starts with `~`, is not UTF-8, holds a control character, or holds a `?`, where
    /// a URL's parameters would start.
    pub fn embedded(path: impl Into<PathBuf>) -> Result<Self, UrlError> {
        let path = path.into();
        match path.to_str() {
            None => refused("the directory's path is not UTF-8", EXAMPLES),
            Some("") => refused("the directory is missing after surrealkv://", EXAMPLES),
            Some(text) if text.contains('?') => refused("parameters after \"?\" cannot be used", PARAMETERS),
            Some(text) if text.contains(char::is_control) => {
                refused("the directory's path holds a control character", EXAMPLES)
            }
            Some(text) if text == "~" || text.starts_with("~/") => {
                refused("\"~\" is not replaced by the home directory here", "write the path out")
            }
            Some(_) => Ok(Self(Kind::Embedded(path))),
        }
    }

    /// The kind of database.
    pub const fn kind(&self) -> &Kind {
        &self.0
    }

    /// The directory of an embedded database.
    pub fn directory(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Embedded(path) => Some(path),
            Kind::Memory | Kind::Server(_) => None,
        }
    }

    fn server(text: &str) -> Result<Self, UrlError> {
        let url = match url::Url::parse(text) {
            Ok(url) => url,
            Err(url::ParseError::EmptyHost) => return refused("the server's host is missing", EXAMPLES),
            Err(error) => return refused(format!("the server's address cannot be used ({error})"), EXAMPLES),
        };
        if url.host_str().is_none_or(str::is_empty) {
            return refused("the server's host is missing", EXAMPLES);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refused("user and password cannot stand in the URL", CREDENTIALS);
        }
        if url.query().is_some() {
            return refused("parameters after \"?\" cannot be used", PARAMETERS);
        }
        if url.fragment().is_some() {
            return refused("a part after \"#\" cannot be used", PARAMETERS);
        }
        Ok(Self(Kind::Server(text.to_owned())))
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once("://") else {
            return refused("this is not a URL", EXAMPLES);
        };
        match scheme {
            "mem" if rest.is_empty() => Ok(Self::memory()),
            "mem" => refused("nothing can follow mem://", EXAMPLES),
            "surrealkv" => Self::embedded(rest),
            "ws" | "wss" => Self::server(text),
            "http" => refused("http:// is not one of the forms", "write ws:// instead"),
            "https" => refused("https:// is not one of the forms", "write wss:// instead"),
            _ => refused("it starts with none of the forms", EXAMPLES),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Memory => f.write_str("mem://"),
            Kind::Embedded(path) => write!(f, "surrealkv://{}", path.display()),
            Kind::Server(url) => f.write_str(url),
        }
    }
}

/// The level of a user in the configuration.
pub(crate) fn auth_level() -> ValueType<AuthLevel> {
    value_type::serde_value("\"root\", \"namespace\" or \"database\"")
}

/// A database's URL in the configuration.
pub(crate) fn url() -> ValueType<Url> {
    value_type::url("URL that starts with surrealkv://, mem://, ws:// or wss://", "mem://", masked)
}

/// A text that should have been a URL, for a message: what may be credentials is masked.
fn masked(text: &str) -> String {
    let after_scheme = text.find("://").map_or(0, |at| at + 3);
    match text.rfind('@') {
        Some(at) if at >= after_scheme && !text.starts_with("surrealkv://") => {
            format!("{}********{}", &text[..after_scheme], &text[at..])
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_are_read_and_shown() {
        for (text, kind) in [
            ("mem://", Kind::Memory),
            ("surrealkv://a/b c", Kind::Embedded("a/b c".into())),
            ("surrealkv:///var/db@home", Kind::Embedded("/var/db@home".into())),
            ("ws://localhost:8000", Kind::Server("ws://localhost:8000".into())),
            ("wss://db.example.org/surreal/", Kind::Server("wss://db.example.org/surreal/".into())),
            ("ws://[::1]:8000", Kind::Server("ws://[::1]:8000".into())),
        ] {
            let url: Url = text.parse().unwrap();
            assert_eq!(url.kind(), &kind);
            assert_eq!(url.to_string(), text);
        }
        assert_eq!(" mem:// ".parse::<Url>().unwrap(), Url::memory());
        assert_eq!(Url::embedded("x").unwrap().directory(), Some(Path::new("x")));
        assert_eq!(Url::memory().directory(), None);
    }

    #[test]
    fn everything_else_says_what_would_be_right() {
        for (text, says) in [
            ("", "this is not a URL; write surrealkv://PATH"),
            ("mem", "this is not a URL; write surrealkv://PATH"),
            ("memory://", "it starts with none of the forms; write surrealkv://PATH"),
            ("rocksdb://x", "it starts with none of the forms; write surrealkv://PATH"),
            ("mem://x", "nothing can follow mem://"),
            ("surrealkv://", "the directory is missing"),
            ("surrealkv://x?sync=never", "parameters after \"?\" cannot be used"),
            ("surrealkv://~/db", "\"~\" is not replaced by the home directory here; write the path out"),
            ("surrealkv://a\nb", "holds a control character"),
            ("http://localhost:8000", "write ws:// instead"),
            ("https://localhost:8000", "write wss:// instead"),
            ("ws://", "the server's host is missing"),
            ("ws:///rpc?x", "parameters after"),
            ("ws://host:99999", "the server's address cannot be used (invalid port number)"),
            ("ws://host?ns=a", "parameters after \"?\" cannot be used"),
            ("ws://host#a", "a part after \"#\" cannot be used"),
            ("ws://root:hunter2@host", "give them as database.username and database.password"),
            ("wss://root@host", "give them as database.username and database.password"),
        ] {
            let error = text.parse::<Url>().unwrap_err().to_string();
            assert!(error.contains(says), "{text:?}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn credentials_are_masked() {
        assert_eq!(masked("ws://root:hun@ter2@host"), "ws://********@host");
        assert_eq!(masked("root:hunter2@host"), "********@host");
        assert_eq!(masked("surrealkv://a@b"), "surrealkv://a@b");
        assert_eq!(masked("ws://host"), "ws://host");
    }
}
