//! What does not get into a recording.

use std::ops::Range;

use serde_json::{Map, Value};

/// What stands in a recording instead of a secret.
pub(super) const MASK: &str = "[redacted]";

/// The fewest characters of a key, or of a token. A shorter text is a word.
const KEY_CHARS: usize = 8;

/// Replaces secrets: those that a test names, and what looks like a key.
#[derive(Debug, Clone, Default)]
pub(super) struct Redaction {
    secrets: Vec<String>,
}

impl Redaction {
    /// Names a secret.
    pub(super) fn add(&mut self, secret: String) {
        if secret.is_empty() {
            return;
        }
        // A text may hold JSON, in which a quote or a backslash of the secret is escaped.
        let json = Value::from(secret.as_str()).to_string();
        let escaped = json.trim_start_matches('"').strip_suffix('"').unwrap_or_default().to_owned();
        if escaped != secret && !escaped.is_empty() {
            self.secrets.push(escaped);
        }
        self.secrets.push(secret);
    }

    /// A text without secrets.
    pub(super) fn text(&self, text: &str) -> String {
        let mut pieces = [text.to_owned()];
        self.pieces(&mut pieces);
        let [text] = pieces;
        text
    }

    /// Removes the secrets of a text that came in pieces; a secret may lie in several.
    pub(super) fn pieces(&self, pieces: &mut [String]) {
        let found = self.find(&pieces.concat());
        let mut start = 0;
        for piece in pieces {
            let end = start + piece.len();
            let mut clean = String::new();
            let mut from = start;
            for secret in found.iter().filter(|secret| secret.start < end && secret.end > start) {
                if secret.start >= start {
                    clean += &piece[from - start..secret.start - start];
                    clean += MASK;
                }
                from = secret.end.min(end);
            }
            clean += &piece[from - start..];
            *piece = clean;
            start = end;
        }
    }

    /// Removes the secrets of all texts in a value.
    pub(super) fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.value(value)),
            Value::Object(fields) => {
                let clean = std::mem::take(fields).into_iter().map(|(name, mut value)| {
                    self.value(&mut value);
                    (self.text(&name), value)
                });
                *fields = clean.collect::<Map<_, _>>();
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Where secrets are, in their order and apart from each other.
    fn find(&self, text: &str) -> Vec<Range<usize>> {
        let named = self
            .secrets
            .iter()
            .flat_map(|secret| text.match_indices(secret.as_str()).map(|(at, secret)| at..at + secret.len()));
        let mut found: Vec<_> = named.chain(keys(text)).chain(tokens(text)).collect();
        found.sort_by_key(|secret| secret.start);
        let mut apart: Vec<Range<usize>> = Vec::new();
        for secret in found {
            match apart.last_mut() {
                Some(last) if secret.start <= last.end => last.end = last.end.max(secret.end),
                _ => apart.push(secret),
            }
        }
        apart
    }
}

/// What looks like a key: `sk-` at the beginning of a word, and at least eight characters.
fn keys(text: &str) -> impl Iterator<Item = Range<usize>> {
    text.match_indices("sk-").filter_map(|(at, _)| {
        let is_inside = text[..at].chars().next_back().is_some_and(char::is_alphanumeric);
        let length = length_of(&text[at..], |c| c.is_ascii_alphanumeric() || "-_".contains(c));
        (!is_inside && length >= "sk-".len() + KEY_CHARS).then_some(at..at + length)
    })
}

/// What stands behind `Bearer`, in any case, and has at least eight characters.
fn tokens(text: &str) -> impl Iterator<Item = Range<usize>> {
    const BEARER: &str = "bearer ";
    let lower = text.to_ascii_lowercase();
    let starts: Vec<usize> = lower.match_indices(BEARER).map(|(at, _)| at + BEARER.len()).collect();
    starts.into_iter().filter_map(|start| {
        let at = start + length_of(&text[start..], |c| c == ' ');
        let length = length_of(&text[at..], |c| c.is_ascii_alphanumeric() || "-._~+/=".contains(c));
        (length >= KEY_CHARS).then_some(at..at + length)
    })
}

/// The length in bytes of the characters at a text's beginning that are of a kind.
fn length_of(text: &str, is_it: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is_it(c)).unwrap_or(text.len())
}
