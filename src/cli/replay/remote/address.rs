//! The address of a node's network API, as it is typed.

use std::str::FromStr;

/// A URL such as `http://localhost:7600`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address(String);

impl Address {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "write http://HOST:PORT, https://HOST:PORT or HOST:PORT";
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        if rest.split('/').next().is_some_and(|host| host.contains('@')) {
            return Err("a command line is no place for a secret: set the key in TEAMMY_KEY");
        }
        let has_port = rest.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.split('/').next().is_some_and(|port| port.parse::<u16>().is_ok())
        });
        let is_url = text.contains("://") && !rest.is_empty();
        if !["http", "https"].contains(&scheme) || !(has_port || is_url) || rest.contains(['?', '#', ' ']) {
            return Err(EXPECTED);
        }
        Ok(Self(format!("{scheme}://{rest}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_or_a_host_with_a_port() {
        for (text, url) in [
            ("http://127.0.0.1:7601", "http://127.0.0.1:7601"),
            ("127.0.0.1:7601", "http://127.0.0.1:7601"),
            (" north-1.example.com:7600", "http://north-1.example.com:7600"),
            ("https://teammy.example.com", "https://teammy.example.com"),
            ("https://example.com/teammy/", "https://example.com/teammy/"),
            ("[::1]:7600", "http://[::1]:7600"),
        ] {
            assert_eq!(text.parse::<Address>().as_ref().map(Address::as_str), Ok(url), "{text}");
        }
        for text in
            ["", "localhost", "7600", ":7600", "ws://localhost:8000", "http://", "a:b", "a:1?x", "a b:1"]
        {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.starts_with("write http://"), "{text}: {error}");
        }
        for text in ["http://me:tmy_1@localhost:7600", "tmy_1@localhost:7600"] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains("TEAMMY_KEY") && !error.contains("tmy_1"), "{text}: {error}");
        }
    }
}
