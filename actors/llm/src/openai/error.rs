//! What a server's refusal means: by its status, its headers, and the names in its body. Its own words are never passed
//! on: servers quote the request in them, or the key that they rejected.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use jiff::fmt::rfc2822;
use serde_json::Value;

use crate::policy::{Class, Problem};

/// The parameters of a request that a server may not know, and the configuration's key that helps.
const PARAMETERS: [(&str, &str); 9] = [
    ("temperature", "set `temperature = \"omit\"` of this `[[llm.model]]`"),
    ("max_completion_tokens", "set `max_tokens_field = \"max_tokens\"` of this `[[llm.model]]`"),
    ("max_tokens", "set `max_tokens_field = \"max_completion_tokens\"` of this `[[llm.model]]`"),
    ("response_format", "set `json = \"prompt\"` of this `[[llm.model]]`"),
    ("stream_options", "set `stream = false` of this `[[llm.model]]`"),
    ("stream", "set `stream = false` of this `[[llm.model]]`"),
    ("seed", "the plugin must ask without a seed"),
    ("tools", "the plugin must ask without tools"),
    ("stop", "the plugin must ask without stop texts"),
];

/// The class of a status that is no success.
fn class_of_status(status: u16) -> Class {
    match status {
        429 | 503 | 529 => Class::Busy,
        408 | 425 | 500.. => Class::Unavailable,
        401 | 403 | 404 | 405 | 407 => Class::Misconfigured,
        400.. => Class::Refused,
        // A redirection, which is not followed: a key must not go to another server.
        _ => Class::Misconfigured,
    }
}

/// Which of these parameters an error's body names, the first one first.
pub(super) fn named<'a>(body: &[u8], parameters: &[&'a str]) -> Option<&'a str> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let error = error_of(&body);
    let parameter = error.get("param").and_then(Value::as_str).unwrap_or_default();
    let text = message(error);
    let find = |text: &str| parameters.iter().copied().find(|name| text.contains(name));
    find(parameter).or_else(|| find(&text))
}

/// The error in a body. Some servers leave the object around it out.
fn error_of(body: &Value) -> &Value {
    body.get("error").filter(|error| error.is_object()).unwrap_or(body)
}

/// What a response means that is no success.
pub(super) fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8], has_version: bool) -> Problem {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = error_of(&body);
    let name = name_of(error);
    let shown = format!("HTTP {status}{}", name.map(|name| format!(" ({name})")).unwrap_or_default());
    let mut problem = Problem::new(class_of_status(status.as_u16()), shown.clone());
    problem.retry_after = retry_after(headers);
    let is_of_parameter = matches!(status.as_u16(), 400 | 422) && is_about_a_parameter(error);
    if is_of_parameter {
        problem.class = Class::Misconfigured;
        problem.text = match parameter(error) {
            Some((name, hint)) => format!("{shown}: it does not take `{name}`; {hint}"),
            None if is_about_the_system_role(error) => {
                format!(
                    "{shown}: it takes no system message; set `system_role = \"user\"` of this `[[llm.model]]`"
                )
            }
            None => {
                format!("{shown}: it does not take a parameter; see `extra_body` of this `[[llm.model]]`")
            }
        };
        return problem;
    }
    match status.as_u16() {
        // No waiting brings money.
        429 if name == Some("insufficient_quota") => {
            problem.class = Class::Misconfigured;
            problem.text = format!("{shown}: its account has no money left");
        }
        401 => problem.text = format!("{shown}: check its key, in the variable that `api_key_env` names"),
        403 => problem.text = format!("{shown}: its key may not use this model"),
        404 if !has_version => {
            problem.text = format!("{shown}: check `base_url`; most servers' URLs end in /v1");
        }
        404 => problem.text = format!("{shown}: check `base_url`, and `model`, its name at the server"),
        300..=399 => problem.text = format!("{shown}: it is elsewhere; correct `base_url`"),
        _ => {}
    }
    problem
}

/// The names of errors that are passed on. Others may be words of the request.
const NAMES: [&str; 36] = [
    "api_error",
    "authentication_error",
    "billing_hard_limit_reached",
    "billing_not_active",
    "content_filter",
    "content_policy_violation",
    "context_length_exceeded",
    "engine_overloaded",
    "insufficient_quota",
    "internal_server_error",
    "invalid_api_key",
    "invalid_parameter",
    "invalid_prompt",
    "invalid_request_error",
    "invalid_value",
    "missing_required_parameter",
    "model_not_found",
    "not_found_error",
    "overloaded_error",
    "parameter_not_supported",
    "permission_error",
    "rate_limit_error",
    "rate_limit_exceeded",
    "request_too_large",
    "requests",
    "server_error",
    "service_unavailable",
    "string_above_max_length",
    "timeout_error",
    "tokens",
    "unknown_parameter",
    "unknown_url",
    "unrecognized_parameter",
    "unsupported_country_region_territory",
    "unsupported_parameter",
    "unsupported_value",
];

/// The name that a server gives an error, such as `context_length_exceeded`.
fn name_of(error: &Value) -> Option<&'static str> {
    let names = ["code", "type"].into_iter().filter_map(|key| error.get(key)?.as_str());
    names.into_iter().find_map(|name| NAMES.into_iter().find(|known| *known == name))
}

/// What a server says, in lower case.
fn message(error: &Value) -> String {
    let message = error.get("message").or_else(|| error.get("detail")).or_else(|| error.get("error"));
    match message {
        Some(Value::String(text)) => text.to_lowercase(),
        Some(other) => other.to_string().to_lowercase(),
        None => String::new(),
    }
}

/// Whether a server rejects a parameter, and not the text.
fn is_about_a_parameter(error: &Value) -> bool {
    const OF_PARAMETERS: [&str; 6] = [
        "unsupported_parameter",
        "unsupported_value",
        "unknown_parameter",
        "unrecognized_parameter",
        "invalid_parameter",
        "parameter_not_supported",
    ];
    const WORDS: [&str; 9] = [
        "unsupported parameter",
        "unsupported value",
        "unknown parameter",
        "unrecognized",
        "not supported",
        "does not support",
        "isn't supported",
        "not permitted",
        "unexpected keyword",
    ];
    let text = message(error);
    name_of(error).is_some_and(|name| OF_PARAMETERS.contains(&name))
        || (WORDS.iter().any(|words| text.contains(words))
            && (parameter(error).is_some() || is_about_the_system_role(error)))
}

fn is_about_the_system_role(error: &Value) -> bool {
    let text = message(error);
    text.contains("system")
        && (text.contains("role") || text.contains("message") || text.contains("instruction"))
}

/// The parameter that an error is about, and what to do.
fn parameter(error: &Value) -> Option<(&'static str, &'static str)> {
    let named = error.get("param").and_then(Value::as_str).unwrap_or_default();
    let of_name = PARAMETERS.into_iter().find(|(name, _)| *name == named);
    let text = message(error);
    of_name.or_else(|| PARAMETERS.into_iter().find(|(name, _)| text.contains(name)))
}

/// An error in place of an answer, although the status was good.
pub(super) fn in_answer(error: &Value) -> Problem {
    let status = [error.get("code"), error.get("status")].into_iter().flatten().find_map(|code| {
        let number = code.as_u64().or_else(|| code.as_str()?.parse().ok());
        number.and_then(|number| u16::try_from(number).ok()).filter(|status| (400..600).contains(status))
    });
    let name = name_of(error);
    let class = status.map_or(Class::Unavailable, class_of_status);
    let class = if is_about_a_parameter(error) { Class::Misconfigured } else { class };
    let named = name.map(|name| format!(" ({name})")).unwrap_or_default();
    let text = match status {
        Some(status) => format!("it answered with an error, {status}{named}"),
        None => format!("it answered with an error{named}"),
    };
    Problem::new(class, text)
}

/// The longest wait that a server is believed. It also keeps sums of times in range.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// How long a server wants to be left alone, a day at most: what it says, or until the limit that is used up is reset.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(milliseconds) = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok()) {
        return seconds(milliseconds / 1000.0);
    }
    if let Some(told) = text(header::RETRY_AFTER.as_str()) {
        if let Ok(number) = told.parse::<f64>() {
            return seconds(number);
        }
        // A date, by the server's own clock.
        let date = |text: &str| rfc2822::parse(text).ok();
        let now = text(header::DATE.as_str()).and_then(date)?;
        let wait = date(told)?.timestamp().duration_since(now.timestamp());
        return Some(Duration::try_from(wait).unwrap_or(Duration::ZERO).min(LONGEST_WAIT));
    }
    ["requests", "tokens"]
        .into_iter()
        .filter(|what| text(&format!("x-ratelimit-remaining-{what}")) == Some("0"))
        .filter_map(|what| span(text(&format!("x-ratelimit-reset-{what}"))?))
        .max()
}

/// So many seconds, a day at most. None if the number is no time.
fn seconds(number: f64) -> Option<Duration> {
    (number >= 0.0).then(|| Duration::from_secs_f64(number.min(LONGEST_WAIT.as_secs_f64())))
}

/// A time such as `1s`, `6m0s`, `20ms` or `1.5`.
fn span(text: &str) -> Option<Duration> {
    if let Ok(number) = text.parse::<f64>() {
        return seconds(number);
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let (unit, length) = match &rest[digits..] {
            unit if unit.starts_with("ms") => (0.001, 2),
            unit if unit.starts_with('s') => (1.0, 1),
            unit if unit.starts_with('m') => (60.0, 1),
            unit if unit.starts_with('h') => (3600.0, 1),
            _ => return None,
        };
        total += number * unit;
        rest = &rest[digits + length..];
    }
    seconds(total)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter()
            .map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()))
            .collect::<HeaderMap>()
    }

    #[test]
    fn a_server_may_say_in_many_ways_when_to_come_back() {
        for (given, wait) in [
            (vec![("retry-after", "5")], Some(5_000)),
            (vec![("retry-after", "0.5")], Some(500)),
            (vec![("retry-after-ms", "250"), ("retry-after", "1")], Some(250)),
            (
                vec![
                    ("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT"),
                    ("date", "Wed, 21 Oct 2015 07:28:00 GMT"),
                ],
                Some(30_000),
            ),
            (vec![("retry-after", "soon")], None),
            (vec![("retry-after", "-5")], None),
            (vec![("retry-after", "nan")], None),
            (vec![("retry-after", "1.8e19")], Some(86_400_000)),
            (vec![("retry-after", "1e300")], Some(86_400_000)),
            (vec![("retry-after-ms", "1.8e19")], Some(86_400_000)),
            (
                vec![
                    ("retry-after", "Thu, 01 Jan 2099 00:00:00 GMT"),
                    ("date", "Wed, 21 Oct 2015 07:28:00 GMT"),
                ],
                Some(86_400_000),
            ),
            (
                vec![
                    ("x-ratelimit-remaining-requests", "0"),
                    ("x-ratelimit-reset-requests", "99999999999999999999h"),
                ],
                Some(86_400_000),
            ),
            (
                vec![("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "6m0s")],
                Some(360_000),
            ),
            (vec![("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "20ms")], Some(20)),
            (vec![("x-ratelimit-remaining-tokens", "7"), ("x-ratelimit-reset-tokens", "20s")], None),
            (vec![], None),
        ] {
            assert_eq!(retry_after(&headers(&given)), wait.map(Duration::from_millis), "{given:?}");
        }
    }

    #[test]
    fn what_is_configured_wrongly_is_told_from_what_is_refused() {
        let of = |status: u16, error: Value| {
            let body = json!({"error": error}).to_string();
            classify(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes(), true)
        };
        for (error, names) in [
            (
                json!({"message": "Unsupported parameter: 'temperature'", "param": "temperature", "code": "unsupported_parameter"}),
                "temperature = \"omit\"",
            ),
            (
                json!({"message": "Unsupported value: 'temperature' does not support 0.5 with this model", "param": "temperature"}),
                "temperature = \"omit\"",
            ),
            (
                json!({"message": "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", "param": "max_tokens"}),
                "max_tokens_field = \"max_completion_tokens\"",
            ),
            (json!({"message": "System role not supported"}), "system_role = \"user\""),
            (
                json!({"message": "Unrecognized request argument supplied: response_format"}),
                "json = \"prompt\"",
            ),
        ] {
            let problem = of(400, error);
            assert_eq!(problem.class, Class::Misconfigured, "{problem:?}");
            assert!(problem.text.contains(names), "{problem:?}");
        }
        for (status, error, class) in [
            (400, json!({"message": "SECRET words", "code": "context_length_exceeded"}), Class::Refused),
            (400, json!({"message": "I do not support violence in SECRET"}), Class::Refused),
            (422, json!("SECRET"), Class::Refused),
            (401, json!({"message": "Incorrect API key SECRET"}), Class::Misconfigured),
            (429, json!({"code": "insufficient_quota"}), Class::Misconfigured),
            (429, json!({"code": "rate_limit_exceeded"}), Class::Busy),
            (503, Value::Null, Class::Busy),
            (529, json!({"type": "overloaded_error"}), Class::Busy),
            (500, Value::Null, Class::Unavailable),
            (302, Value::Null, Class::Misconfigured),
        ] {
            let problem = of(status, error);
            assert_eq!(problem.class, class, "{status} {problem:?}");
            assert!(!problem.text.contains("SECRET"), "{problem:?}");
        }
        let missing = classify(StatusCode::NOT_FOUND, &HeaderMap::new(), b"no such page", false);
        assert!(missing.text.contains("/v1"), "{missing:?}");
    }
}
