//! What is wrong with a plugin's table, and where in it.

use std::fmt::{self, Write};

use serde_path_to_error::Segment;

/// Why a plugin cannot read its table of the configuration: the key at fault and what is wrong with its value, on one line.
#[derive(Debug, thiserror::Error)]
#[error("{}{error}", At(.path))]
pub struct ConfigError {
    path: String,
    // Part of the message: whoever shows an error without its causes would show a place and nothing more.
    error: serde_json::Error,
}

impl ConfigError {
    /// Where in the table, such as `actions[1].name`, counted from 0; empty for the table as a whole, which is where a key
    /// is missing or unknown that stands in it directly.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl From<serde_path_to_error::Error<serde_json::Error>> for ConfigError {
    fn from(error: serde_path_to_error::Error<serde_json::Error>) -> Self {
        let mut segments: Vec<&Segment> = error.path().iter().collect();
        // An unknown key is named by the message already, in the table that doesn't have it.
        if let Some(Segment::Map { key }) = segments.last()
            && error.inner().to_string().starts_with(&format!("unknown field `{key}`"))
        {
            segments.pop();
        }
        let mut path = String::new();
        for segment in segments {
            push(&mut path, segment);
        }
        Self { path, error: error.into_inner() }
    }
}

/// Adds a step to a path, as TOML writes keys.
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
    use serde_json::{Value, json};

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
    #[expect(dead_code, reason = "only what cannot be read is looked at")]
    struct Action {
        name: String,
        r#if: Option<u8>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    #[expect(dead_code, reason = "only what cannot be read is looked at")]
    enum When {
        #[default]
        Always,
        After {
            words: u8,
        },
    }

    fn read(table: Value) -> ConfigError {
        ConfigError::from(serde_path_to_error::deserialize::<_, Table>(table).unwrap_err())
    }

    #[test]
    fn the_key_at_fault_is_named() {
        let named = |name: Value| json!({"name": name});
        for (table, path, says) in [
            (json!({"phrases": "deal"}), "phrases", "invalid type: string \"deal\", expected a sequence"),
            (json!({"phrases": ["deal", 3]}), "phrases[1]", "invalid type: integer `3`, expected a string"),
            (
                json!({"actions": [named(json!("a")), named(json!(1))]}),
                "actions[1].name",
                "invalid type: integer `1`, expected a string",
            ),
            (json!({"actions": [{}]}), "actions[0]", "missing field `name`"),
            (
                json!({"actions": [{"name": "a", "if": 300}]}),
                "actions[0].if",
                "invalid value: integer `300`, ",
            ),
            (
                json!({"actions": [{"nmae": "a"}]}),
                "actions[0]",
                "unknown field `nmae`, expected `name` or `if`",
            ),
            (json!({"tables": {"a b": [1, -1]}}), "tables.\"a b\"[1]", "invalid value: integer `-1`, "),
            (json!({"when": {"after": {"words": "x"}}}), "when.after.words", "invalid type: string \"x\", "),
            (json!({"when": "evre"}), "when", "unknown variant `evre`, expected `always` or `after`"),
            (json!({"phrase": []}), "", "unknown field `phrase`, expected one of "),
            (json!("deal"), "", "invalid type: string \"deal\", expected struct Table"),
        ] {
            let error = read(table.clone());
            assert_eq!(error.path(), path, "{table}: {error}");
            let at = if path.is_empty() { String::new() } else { format!("{path}: ") };
            assert!(error.to_string().starts_with(&format!("{at}{says}")), "{table}: {error}");
        }
    }
}
