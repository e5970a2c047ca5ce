//! Values as people read them: in messages, in `teammy config` and in `Debug`. Secrets are masked.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write},
};

use figment::value::{Dict, Value};

/// What is shown in place of a secret.
pub(crate) const MASK: &str = "\"********\"";

/// The key under which figment hands over a date of TOML.
const DATE: &str = "$__toml_private_datetime";

/// The text of a TOML date.
pub(crate) fn date(table: &Dict) -> Option<&str> {
    table.get(DATE).filter(|_| table.len() == 1).and_then(Value::as_str)
}

/// A text for a message: control characters are visible, and a long text is cut.
pub(crate) fn cut(text: &str) -> String {
    let visible = |text: &str| text.chars().flat_map(show_control).collect();
    match text.char_indices().nth(60) {
        Some((end, _)) => visible(&text[..end]) + "…",
        None => visible(text),
    }
}

fn show_control(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}

/// A value that is wrong, for a message.
pub(crate) fn found(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("\"{}\"", cut(text)),
        Value::Char(_, c) => format!("\"{c}\""),
        Value::Bool(_, value) => value.to_string(),
        Value::Num(_, number) => match (number.to_i128(), number.to_f64()) {
            (Some(number), _) => number.to_string(),
            (None, number) => number.map_or_else(|| "a number".to_owned(), |number| number.to_string()),
        },
        Value::Dict(_, table) => date(table).map_or_else(|| "a table".to_owned(), |_| "a date".to_owned()),
        Value::Array(..) => "a list".to_owned(),
        Value::Empty(..) => "empty".to_owned(),
    }
}

/// A text as TOML writes it on one line.
pub(crate) fn quoted<T: Display + ?Sized>(text: &T) -> String {
    // JSON and TOML escape alike, but JSON leaves some control characters.
    let json = serde_json::Value::from(text.to_string()).to_string();
    json.chars().fold(String::new(), |mut shown, c| {
        if c.is_control() {
            let _ = write!(shown, "\\u{:04X}", u32::from(c));
        } else {
            shown.push(c);
        }
        shown
    })
}

/// A table on one line, as TOML writes it. Values whose keys look like those of secrets are masked.
pub(crate) fn table(value: &serde_json::Value) -> String {
    toml(value, &is_secret)
}

/// A value that holds no secret, as TOML writes it on one line.
pub(crate) fn plain(value: &serde_json::Value) -> String {
    toml(value, &|_, _| false)
}

/// A value on one line, as TOML writes it, with its keys in order. Fields that `is_hidden` picks are masked.
fn toml(value: &serde_json::Value, is_hidden: &impl Fn(&str, &serde_json::Value) -> bool) -> String {
    use serde_json::Value;
    match value {
        Value::Null => "{}".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| toml(item, is_hidden)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            // Whether a JSON object keeps its order depends on the build's features. TOML has no null.
            let sorted: BTreeMap<_, _> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
            let field = |(key, value): (&String, &Value)| {
                let shown = if is_hidden(key, value) { MASK.to_owned() } else { toml(value, is_hidden) };
                format!("{} = {shown}", self::key(key))
            };
            let fields: Vec<String> = sorted.into_iter().map(field).collect();
            if fields.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", fields.join(", ")) }
        }
    }
}

/// Alternatives in a sentence: `a, b or c`.
pub(crate) fn either(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// A key, in quotes if TOML requires them.
pub(crate) fn key(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !key.is_empty() && key.chars().all(is_bare) { key.to_owned() } else { quoted(key) }
}

/// Whether a value in a plugin's table is likely to be a secret, by its key's name: this crate doesn't know
/// the plugin's types. A mask too many does no harm.
fn is_secret(key: &str, value: &serde_json::Value) -> bool {
    let key = key.to_lowercase();
    let always = ["password", "passwd", "passphrase", "secret", "credential", "private"];
    let texts = ["token", "key", "authorization", "cookie"];
    always.iter().any(|word| key.contains(word))
        || (texts.iter().any(|word| key.contains(word)) && !(value.is_number() || value.is_boolean()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_shown_as_toml_without_secrets() {
        let shown = table(&serde_json::json!({
            "a b": [1, "x\n"], "api_key": "hunter2", "auth": { "PASSWORD": 1234 }, "max_tokens": 5, "tokens": ["hunter2"],
            "empty": {},
        }));
        assert_eq!(
            shown,
            r#"{ "a b" = [1, "x\n"], api_key = "********", auth = { PASSWORD = "********" }, empty = {}, max_tokens = 5, tokens = "********" }"#
        );
    }

    #[test]
    fn long_and_odd_texts_stay_on_one_line() {
        assert_eq!(cut("a\nb"), "a\\nb");
        assert_eq!(cut(&"é".repeat(1000)).chars().count(), 61);
        assert_eq!(quoted("\u{7}\"\\"), "\"\\u0007\\\"\\\\\"");
    }
}
