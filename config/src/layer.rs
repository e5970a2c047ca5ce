//! One layer of configuration: its origin, and its values.
//!
//! Keys are checked in each layer, before merging: a wrong key of a file is reported even if a variable would
//! have overridden it.

use figment::{
    Metadata, Profile, Provider,
    providers::{Format, Toml},
    util::nest,
    value::{Dict, Map, Value},
};

use crate::{
    error::{Error, Problem},
    known_keys::KnownKeys,
    show,
    value_type::Raw,
};

pub(crate) struct Layer {
    metadata: Metadata,
    values: Dict,
}

impl Layer {
    /// Reads TOML, and removes unknown keys.
    pub(crate) fn toml(
        origin: &str,
        text: &str,
        known: &KnownKeys,
        problems: &mut Vec<Problem>,
    ) -> Result<Self, Error> {
        let mut values: Dict = Toml::from_str(text).map_err(|error| {
            // The error's own message quotes the line, which may hold a secret.
            let before = &text[..error.span().map_or(0, |span| text.floor_char_boundary(span.start))];
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            Error::Syntax {
                origin: origin.to_owned(),
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                message: error.message().lines().collect::<Vec<_>>().join("; "),
            }
        })?;
        prune(&mut values, "", origin, known, problems);
        Ok(Self { metadata: Metadata::named(origin.to_owned()), values })
    }

    /// One key with a text that stands for a value of any type.
    pub(crate) fn untyped(origin: &str, key: &str, text: &str) -> Self {
        let values = nest(key, text.into()).into_dict().expect("invariant: a key has at least one part");
        Self { metadata: Metadata::from(origin.to_owned(), UNTYPED), values }
    }

    /// The origin of a value, and whether it is untyped, from what figment knows about its layer.
    pub(crate) fn origin(metadata: Option<&Metadata>) -> (String, bool) {
        let Some(Metadata { name, source, .. }) = metadata else { return ("default".to_owned(), false) };
        (name.to_string(), source.as_ref().and_then(figment::Source::custom) == Some(UNTYPED))
    }
}

const UNTYPED: &str = "untyped";

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

fn prune(values: &mut Dict, table: &str, origin: &str, known: &KnownKeys, problems: &mut Vec<Problem>) {
    values.retain(|key, value| {
        let path = if table.is_empty() { key.clone() } else { format!("{table}.{key}") };
        let problem = if key.contains('.') {
            // A quoted key with dots looks like a path, and is none.
            "is unknown; write it without quotes".to_owned()
        } else if known.is_key(&path) || known.is_list(&path) {
            return true;
        } else if !known.is_table(&path) {
            known.unknown(&path)
        } else if let Value::Dict(_, inner) = value {
            prune(inner, &path, origin, known, problems);
            return true;
        } else {
            Raw::toml(value).but_takes(format_args!("a table: [{path}]"))
        };
        problems.push(Problem::new(origin, show::cut(&path), problem));
        false
    });
}
