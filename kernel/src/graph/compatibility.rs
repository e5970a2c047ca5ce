//! Whether a hook can read what its source carries, found out before anything starts.
//!
//! JSON types are compared by their JSON Schemas: every value that the source's type allows must be one that
//! the hook's type takes. The crate `jsonschema` decides that for most schemas. Where it cannot, a value that
//! the source may carry and the hook does not take is a proof too ([`sample`]). Without any proof the answer
//! is a warning.
//!
//! A source carries the fields that its type declares. To JSON Schema a type that says nothing of other
//! fields allows them all, with any content, and a hook that reads one field more would never fit. So the
//! source's schema is [closed](mod@closed) first; nothing rests on a closed schema that no value is of.

mod closed;
mod sample;
#[cfg(test)]
mod tests;

use jsonschema::canonical::{CanonicalSchema, Containment, Satisfiability};
use serde_json::{Value, json};

use closed::closed;

use crate::{
    DataType,
    data::well_known::{AtFirstSight, at_first_sight},
    shortened,
};

/// Whether a hook can read the packets of its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fit {
    /// Every packet.
    All,
    /// Not every packet, and why; the reason is empty if the types say it.
    NotAll(String),
    /// This could not be decided, and why.
    Undecided(String),
}

/// Compares what a source carries with what a hook takes.
pub(super) fn compare(carried: &DataType, taken: &DataType) -> Fit {
    match at_first_sight(carried, taken) {
        AtFirstSight::Fits => Fit::All,
        AtFirstSight::Clashes => Fit::NotAll(String::new()),
        AtFirstSight::Unclear => match (carried.schema(), taken.schema()) {
            (Some(carried), Some(taken)) => compare_schemas(carried.as_value(), taken.as_value()),
            _ => Fit::All,
        },
    }
}

/// Why a text is no JSON Schema, or none of the kind that is compared; `None` if it is one.
pub(super) fn problem(schema: &Value) -> Option<String> {
    jsonschema::canonicalize(&in_one_draft(schema))
        .err()
        .map(|error| shortened(&error.to_string(), MAX_REASON))
}

/// The longest reason, in bytes.
const MAX_REASON: usize = 300;

fn compare_schemas(carried: &Value, taken: &Value) -> Fit {
    let (carried, taken) = (in_one_draft(carried), in_one_draft(taken));
    let ((source, of_source, is_closed), of_hook) = match (source(carried), canonical(&taken)) {
        (Ok(source), Ok(of_hook)) => (source, of_hook),
        (Err(error), _) | (_, Err(error)) => return Fit::Undecided(shortened(&error, MAX_REASON)),
    };
    if of_source.satisfiability() == Satisfiability::No {
        return Fit::Undecided("no value is of the source's type".to_owned());
    }
    let covers = of_hook.covers(&of_source).unwrap_or(Containment::Unknown);
    if covers == Containment::Yes {
        return if is_closed && share_no_field(&source, &taken) {
            Fit::Undecided("all its fields may be absent, and the packets have none of them".to_owned())
        } else {
            Fit::All
        };
    }
    if let Some(reason) = sample::that_does_not_fit(&source, &taken) {
        return Fit::NotAll(shortened(&reason, MAX_REASON));
    }
    let overlap = of_hook.intersect(&of_source).map_or(Satisfiability::Unknown, |both| both.satisfiability());
    let is_proven = covers == Containment::No && is_closed || overlap == Satisfiability::No;
    let rest = of_source.subtract(&of_hook).map(|rest| rest.to_json_schema());
    let reason = match rest {
        Ok(mut rest) => {
            if let Some(rest) = rest.as_object_mut() {
                rest.remove("$schema");
            }
            format!("it does not take {}", shortened(&rest.to_string(), MAX_REASON))
        }
        Err(error) => shortened(&error.to_string(), MAX_REASON),
    };
    if is_proven { Fit::NotAll(reason) } else { Fit::Undecided(reason) }
}

/// What a source carries, and whether it is closed. It is left as it is if no value is known that the closed
/// schema allows: a hook takes whatever is not there.
fn source(carried: Value) -> Result<(Value, CanonicalSchema, bool), String> {
    let (closed, is_closed) = closed(&carried);
    let of_closed = canonical(&closed)?;
    let has_values = match of_closed.satisfiability() {
        Satisfiability::Yes => true,
        Satisfiability::No => false,
        Satisfiability::Unknown => closed == carried || sample::of(&closed).is_some(),
    };
    if has_values {
        Ok((closed, of_closed, is_closed))
    } else {
        let of_carried = canonical(&carried)?;
        Ok((carried, of_carried, false))
    }
}

fn canonical(schema: &Value) -> Result<CanonicalSchema, String> {
    jsonschema::canonicalize(schema).map_err(|error| error.to_string())
}

/// Whether both are objects of which no field has the same name: the hook reads its defaults from every
/// packet.
fn share_no_field(carried: &Value, taken: &Value) -> bool {
    let fields =
        |schema: &Value| schema["properties"].as_object().filter(|fields| !fields.is_empty()).cloned();
    match (fields(carried), fields(taken)) {
        (Some(carried), Some(taken)) => !taken.keys().any(|name| carried.contains_key(name)),
        _ => false,
    }
}

/// A schema as one of JSON Schema 2020-12: what schemas of earlier drafts say is nearly always the same.
fn in_one_draft(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(object) = schema.as_object_mut() {
        object.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    }
    schema
}
