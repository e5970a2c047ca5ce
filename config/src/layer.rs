//! One layer of configuration: where it comes from, and its values.
//!
//! Keys are checked here, layer by layer, and not after merging: a wrong key in a file is then reported as
//! the file's even where a variable would have covered it.

use figment::{
    Figment, Metadata, Profile, Provider,
    providers::{Format, Toml},
    value::{Dict, Map, Value},
};

use crate::{
    error::{Error, Problem},
    keys, show,
};

/// What values are: typed by TOML, or texts that the reader turns into what the key needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Toml,
    Text,
}

/// What `default.toml` says.
pub(crate) fn defaults() -> Figment {
    let mut problems = Vec::new();
    let layer = Layer::toml("default", crate::REFERENCE, &mut problems).ok().filter(|_| problems.is_empty());
    Figment::from(layer.expect("invariant: default.toml is TOML and holds no unknown key"))
}

pub(crate) struct Layer {
    origin: String,
    form: Form,
    values: Dict,
}

/// Marks a layer of texts in figment's metadata.
const TEXT: &str = "text";

impl Layer {
    /// Reads TOML, and takes out what has no place in a configuration.
    pub(crate) fn toml(origin: &str, text: &str, problems: &mut Vec<Problem>) -> Result<Self, Error> {
        let mut values: Dict = Toml::from_str(text).map_err(|error| {
            // The error's own display would quote the line, which may hold a secret.
            let before = &text[..error.span().map_or(0, |span| text.floor_char_boundary(span.start))];
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            Error::Syntax {
                origin: origin.to_owned(),
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                message: error.message().lines().collect::<Vec<_>>().join("; "),
            }
        })?;
        prune(&mut values, "", origin, problems);
        Ok(Self { origin: origin.to_owned(), form: Form::Toml, values })
    }

    /// One key, as a text. The key must exist.
    pub(crate) fn text(origin: &str, key: &str, text: String) -> Self {
        let value = key
            .rsplit('.')
            .fold(Value::from(text), |value, part| Value::from(Dict::from([(part.to_owned(), value)])));
        let values = value.into_dict().expect("invariant: a key has at least one part");
        Self { origin: origin.to_owned(), form: Form::Text, values }
    }

    /// Where a value of a layer comes from, read back from figment.
    pub(crate) fn origin(metadata: Option<&Metadata>) -> (String, Form) {
        let origin = metadata.map_or_else(|| "default".to_owned(), |metadata| metadata.name.to_string());
        let text = metadata.and_then(|metadata| metadata.source.as_ref()).and_then(figment::Source::custom);
        (origin, if text == Some(TEXT) { Form::Text } else { Form::Toml })
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        let metadata = Metadata::named(self.origin.clone());
        match self.form {
            Form::Text => metadata.source(TEXT.to_owned()),
            Form::Toml => metadata,
        }
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

fn prune(values: &mut Dict, table: &str, origin: &str, problems: &mut Vec<Problem>) {
    values.retain(|key, value| {
        let path = if table.is_empty() { key.clone() } else { format!("{table}.{key}") };
        // A quoted key may hold a dot, and is then no path however much it looks like one.
        let plain = !key.contains('.');
        if plain && (keys::KEYS.contains(&path.as_str()) || keys::is_list(&path)) {
            return true;
        }
        if plain && keys::is_table(&path) {
            if let Value::Dict(_, inner) = value {
                prune(inner, &path, origin, problems);
                return true;
            }
            let problem = format!("is {}, but takes a table: [{path}]", show::found(value));
            problems.push(Problem::new(origin, path, problem));
            return false;
        }
        let problem =
            if plain { keys::unknown(&path) } else { "is unknown; write it without quotes".to_owned() };
        problems.push(Problem::new(origin, show::cut(&path), problem));
        false
    });
}
