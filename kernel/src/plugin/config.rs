//! Errors in a plugin's table, and where in the table they are.

use std::fmt::{self, Write};

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::{decode, error_classes};

/// Why a plugin cannot read its table of the configuration: the key and what is wrong with its value, on one
/// line. The value itself is left out, as it may be a secret.
#[derive(Debug, thiserror::Error)]
#[error("{}{problem}", At(.path))]
pub struct ConfigError {
    path: String,
    problem: String,
}

error_classes!(ConfigError { _ => "plugin-config" Invalid, });

impl ConfigError {
    /// An error at a key, such as `actions[1].name`; an empty path is the table as a whole. Keep values out
    /// of `problem`: they may be secrets.
    pub fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { path: path.into(), problem: problem.into() }
    }

    /// The key, such as `actions[1].name`, counted from 0. Empty for the table as a whole, where a missing or
    /// unknown key belongs to the top level.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// Reads a plugin's table.
pub(super) fn read<T: DeserializeOwned>(table: Value) -> Result<T, ConfigError> {
    let text = table.to_string();
    serde_path_to_error::deserialize(table).map_err(|error| {
        let mut segments: Vec<&Segment> = error.path().iter().collect();
        let problem = decode::json::<T>(&text).err().map_or_else(String::new, |error| error.problem());
        // The message names an unknown key, and the path leads to its table. Keys come from the
        // configuration's author and are no secrets.
        let problem = match segments.last() {
            Some(Segment::Map { key }) if let Some(expected) = problem.strip_prefix("unknown field, ") => {
                let problem = format!("unknown field `{key}`, {expected}");
                segments.pop();
                problem
            }
            None if problem.ends_with("expected unit") => {
                "the plugin takes no settings: leave `config` out".to_owned()
            }
            _ => problem,
        };
        let mut path = String::new();
        for segment in segments {
            push(&mut path, segment);
        }
        ConfigError { path, problem }
    })
}

/// Adds a key or an index to a path, as TOML writes keys.
fn push(path: &mut String, segment: &Segment) {
    let key = match segment {
        Segment::Seq { index } => {
            let _ = write!(path, "[{index}]");
            return;
        }
        Segment::Map { key } | Segment::Enum { variant: key } => key,
        Segment::Unknown => "?",
    };
    if !path.is_empty() {
        path.push('.');
    }
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '?');
    if !key.is_empty() && key.chars().all(bare) {
        path.push_str(key);
    } else {
        let _ = write!(path, "{key:?}");
    }
}

struct At<'a>(&'a str);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{}: ", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Table {
        phrases: Vec<String>,
        actions: Vec<Action>,
        tables: BTreeMap<String, Vec<u8>>,
        when: When,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "the test looks at errors only")]
    struct Action {
        name: String,
        r#if: Option<u8>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    #[expect(dead_code, reason = "the test looks at errors only")]
    enum When {
        #[default]
        Always,
        After {
            words: u8,
        },
    }

    #[test]
    fn a_plugin_without_settings_says_so() {
        let error = read::<()>(json!({"volume": 5})).unwrap_err();
        assert_eq!(error.to_string(), "the plugin takes no settings: leave `config` out");
    }

    #[test]
    fn the_key_at_fault_is_named() {
        let named = |name: Value| json!({"name": name});
        for (table, path, says) in [
            (json!({"phrases": "deal"}), "phrases", "invalid type: string, expected a sequence"),
            (json!({"phrases": ["deal", 3]}), "phrases[1]", "invalid type: integer, expected a string"),
            (
                json!({"actions": [named(json!("a")), named(json!(1))]}),
                "actions[1].name",
                "invalid type: integer, expected a string",
            ),
            (json!({"actions": [{}]}), "actions[0]", "missing field `name`"),
            (json!({"actions": [{"name": "a", "if": 300}]}), "actions[0].if", "invalid value: integer, "),
            (
                json!({"actions": [{"nmae": "a"}]}),
                "actions[0]",
                "unknown field `nmae`, expected one of `name`, `if`",
            ),
            (json!({"tables": {"a b": [1, -1]}}), "tables.\"a b\"[1]", "invalid value: integer, "),
            (json!({"when": {"after": {"words": "x"}}}), "when.after.words", "invalid type: string, "),
            (json!({"when": "evre"}), "when", "unknown variant, expected one of `always`, `after`"),
            (json!({"phrase": []}), "", "unknown field `phrase`, expected one of "),
            (json!("deal"), "", "invalid type: string, expected struct Table"),
        ] {
            let error = read::<Table>(table.clone()).unwrap_err();
            assert_eq!(error.path(), path, "{table}: {error}");
            let at = if path.is_empty() { String::new() } else { format!("{path}: ") };
            assert!(error.to_string().starts_with(&format!("{at}{says}")), "{table}: {error}");
        }
    }
}
