//! Where a language model's server is, as a URL.

use std::{fmt, str::FromStr};

use crate::value_type::{self, ValueType};

/// The URL of a model's server, checked and without a slash at its end. Paths are appended to it.
///
/// # Examples
/// ```
/// use teammy_config::BaseUrl;
/// let url: BaseUrl = "http://localhost:8080/v1/".parse()?;
/// assert_eq!(url.as_str(), "http://localhost:8080/v1");
/// assert!("localhost:8080".parse::<BaseUrl>().is_err());
/// # Ok::<(), teammy_config::BaseUrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseUrl(String);

/// Why a text is not a model's URL; the text is not in the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {hint}")]
pub struct BaseUrlError {
    problem: String,
    hint: &'static str,
}

const EXAMPLES: &str = "write it like https://api.openai.com/v1 or http://localhost:8080/v1";
const CREDENTIALS: &str = "put the key into an environment variable, and name that as api_key_env";
const PARAMETERS: &str = "leave out everything from there on";
/// Paths that people copy along from an example of a request.
const ENDPOINTS: [&str; 3] = ["/chat/completions", "/completions", "/responses"];

fn refused<T>(problem: impl Into<String>, hint: &'static str) -> Result<T, BaseUrlError> {
    Err(BaseUrlError { problem: problem.into(), hint })
}

impl BaseUrl {
    /// The URL of OpenAI's API.
    pub const OPENAI: &str = "https://api.openai.com/v1";

    /// The URL as a text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The URL of OpenAI's API.
impl Default for BaseUrl {
    fn default() -> Self {
        Self(Self::OPENAI.to_owned())
    }
}

impl FromStr for BaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<Self, BaseUrlError> {
        let text = text.trim();
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        if !matches!(scheme.as_deref(), Some("http" | "https")) {
            return refused("it starts with neither https:// nor http://", EXAMPLES);
        }
        let url = match url::Url::parse(text) {
            Ok(url) => url,
            Err(url::ParseError::EmptyHost) => return refused("the server's host is missing", EXAMPLES),
            Err(error) => return refused(format!("the server's address cannot be used ({error})"), EXAMPLES),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return refused("user and password cannot stand in the URL", CREDENTIALS);
        }
        if url.query().is_some() {
            return refused("parameters after \"?\" cannot be used", PARAMETERS);
        }
        if url.fragment().is_some() {
            return refused("a part after \"#\" cannot be used", PARAMETERS);
        }
        let base = url.as_str().trim_end_matches('/');
        if let Some(endpoint) = ENDPOINTS.iter().find(|endpoint| base.ends_with(*endpoint)) {
            return refused(format!("{endpoint} is appended for each request"), "leave it out");
        }
        Ok(Self(base.to_owned()))
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A model's URL in the configuration.
pub(super) fn model_url() -> ValueType<BaseUrl> {
    value_type::url("URL that starts with https:// or http://", "http://localhost:8080/v1", masked)
}

/// A text that should have been a URL, for a message. If a part may be a secret, all of it is masked: where
/// that part ends in a broken URL is unknown.
fn masked(text: &str) -> String {
    if !text.contains(['@', '?', '#']) {
        return text.to_owned();
    }
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some(scheme @ ("http" | "https")) => format!("{scheme}://********"),
        _ => "********".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_without_their_last_slash() {
        for (text, taken) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1"),
            (" https://api.openai.com/v1/ ", "https://api.openai.com/v1"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://localhost:8080//", "http://localhost:8080"),
            ("HTTP://[::1]:8080/openai/v1", "http://[::1]:8080/openai/v1"),
            ("https://models.example.org/a%20b/v1", "https://models.example.org/a%20b/v1"),
        ] {
            let url: BaseUrl = text.parse().unwrap();
            assert_eq!(url.as_str(), taken);
            assert_eq!(url.to_string(), taken);
            assert_eq!(taken.parse(), Ok(url));
        }
        assert_eq!(BaseUrl::OPENAI.parse(), Ok(BaseUrl::default()));
    }

    #[test]
    fn everything_else_says_what_would_be_right() {
        for (text, says) in [
            ("", "it starts with neither https:// nor http://; write it like https://api.openai.com/v1"),
            ("api.openai.com/v1", "it starts with neither https:// nor http://"),
            ("localhost:8080/v1", "it starts with neither https:// nor http://"),
            ("//localhost:8080", "it starts with neither https:// nor http://"),
            ("ws://localhost", "it starts with neither https:// nor http://"),
            ("https://", "the server's host is missing"),
            ("https://:443", "the server's host is missing"),
            ("http://host:99999", "the server's address cannot be used (invalid port number)"),
            ("https://a b/v1", "the server's address cannot be used"),
            (
                "https://host/v1?key=hunter2",
                "parameters after \"?\" cannot be used; leave out everything from there",
            ),
            ("https://host/v1#hunter2", "a part after \"#\" cannot be used"),
            ("https://user:hunter2@host/v1", "user and password cannot stand in the URL; put the key into"),
            ("https://hunter2@host/v1", "user and password cannot stand in the URL"),
            ("https://:hunter2@host/v1", "user and password cannot stand in the URL"),
            (
                "http://host/v1/chat/completions",
                "/chat/completions is appended for each request; leave it out",
            ),
            ("http://host/v1/responses/", "/responses is appended for each request; leave it out"),
        ] {
            let error = text.parse::<BaseUrl>().unwrap_err().to_string();
            assert!(error.contains(says), "{text:?}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_may_be_a_secret_is_masked() {
        for (text, shown) in [
            ("https://user:hun@ter2@host", "https://********"),
            ("https://host?key=hunter2@x", "https://********"),
            ("https://host#hunter2", "https://********"),
            ("user:hunter2@host://x", "********"),
            ("hunter2://x@y", "********"),
            ("localhost:8080", "localhost:8080"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }
}
