//! The table `[traces]`.

use std::{fmt, str::FromStr};

use secrecy::{ExposeSecret, SecretString};

use crate::{
    table::table,
    value_type::{count, secret, text, url},
};

table! {
    /// Traces, as OpenTelemetry has them: what a packet led to, in hooks, language models and outputs. A packet belongs to a
    /// trace if its publisher says so (`traceparent`). A build with feature `otel` exports them.
    "[traces]"
    #[derive(Debug, Clone)]
    pub struct Traces {
        /// Where spans are sent, by OTLP over HTTP in protobuf: an OpenTelemetry Collector, for example. `/v1/traces` is
        /// appended where the URL has no path.
        endpoint: Option<CollectorUrl> = url("URL that starts with https:// or http://", CollectorUrl::EXAMPLE, |_| "…".into())
            .or_blank().optional().words("none: nothing is exported").example(CollectorUrl::EXAMPLE);
        /// What the collector wants as header `Authorization`, such as `Bearer …`.
        authorization: Option<SecretString> = secret().optional().words("none").example("Bearer 3b1f…");
        /// What this program is called in traces.
        service_name: String = text().default("teammy");
        /// Begins a trace for one in so many packets that come without one; 0 begins none. Only if `endpoint` is set.
        one_in: usize = count(0..=1_000_000_000).default(0);
    }
}

/// The URL of a collector of traces, which is checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CollectorUrl(String);

/// Why a text is not a collector's URL; the text is not in the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; write it like {example}", example = CollectorUrl::EXAMPLE)]
pub struct CollectorUrlError(&'static str);

impl CollectorUrl {
    const EXAMPLE: &str = "http://127.0.0.1:4318/v1/traces";

    /// The URL as a text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CollectorUrl {
    type Err = CollectorUrlError;

    fn from_str(text: &str) -> Result<Self, CollectorUrlError> {
        let refused = |problem| Err(CollectorUrlError(problem));
        let Ok(mut url) = url::Url::parse(text.trim()) else { return refused("it is no URL") };
        if !matches!(url.scheme(), "http" | "https") {
            return refused("it starts with neither https:// nor http://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refused("user and password cannot stand in it, but in traces.authorization");
        }
        if url.path() == "/" {
            url.set_path("/v1/traces");
        }
        Ok(Self(url.into()))
    }
}

impl fmt::Display for CollectorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq for Traces {
    fn eq(&self, other: &Self) -> bool {
        fn all(of: &Traces) -> (Option<&CollectorUrl>, Option<&str>, &str, usize) {
            let Traces { endpoint, authorization, service_name, one_in } = of;
            let authorization = authorization.as_ref().map(ExposeSecret::expose_secret);
            (endpoint.as_ref(), authorization, service_name, *one_in)
        }
        all(self) == all(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_given_as_its_url() {
        for (text, taken) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            (" https://otel.example.com/ ", "https://otel.example.com/v1/traces"),
            ("https://otel.example.com/a/b", "https://otel.example.com/a/b"),
        ] {
            assert_eq!(text.parse::<CollectorUrl>().map(|url| url.to_string()), Ok(taken.to_owned()));
        }
        for text in ["127.0.0.1:4318", "localhost", "grpc://a:4317", "http://u:secret@a:4318", "http://"] {
            let error = text.parse::<CollectorUrl>().unwrap_err().to_string();
            assert!(
                error.contains("write it like http://127.0.0.1:4318") && !error.contains("secret"),
                "{error}"
            );
        }
    }
}
