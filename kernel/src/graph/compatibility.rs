//! Whether a hook can read what its source carries, found out before anything starts.
//!
//! JSON types are compared by their JSON Schemas: every value that the source's type allows must be one that the
//! hook's type takes. The crate `jsonschema` decides that for most schemas. Where it cannot, a value that the source
//! may carry and the hook does not take is a proof too ([`sample`]). Without any proof the answer is a warning.
//!
//! A source carries the fields that its type declares. To JSON Schema a type that says nothing of other fields
//! allows them all, with any content, and a hook that reads one field more would never fit. So the source's schema is
//! [closed](closed) first.

mod sample;
#[cfg(test)]
mod tests;

use jsonschema::canonical::{Containment, Satisfiability};
use serde_json::{Value, json};

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
    let (closed, is_closed) = closed(&carried);
    let read = |schema: &Value| jsonschema::canonicalize(schema).map_err(|error| error.to_string());
    let (of_source, of_hook) = match (read(&closed), read(&taken)) {
        (Ok(of_source), Ok(of_hook)) => (of_source, of_hook),
        (Err(error), _) | (_, Err(error)) => return Fit::Undecided(shortened(&error, MAX_REASON)),
    };
    let covers = of_hook.covers(&of_source).unwrap_or(Containment::Unknown);
    if covers == Containment::Yes {
        return if is_closed && share_no_field(&closed, &taken) {
            Fit::Undecided("all its fields may be absent, and the packets have none of them".to_owned())
        } else {
            Fit::All
        };
    }
    if let Some(reason) = sample::that_does_not_fit(&closed, &taken) {
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

/// Whether both are objects of which no field has the same name: the hook reads its defaults from every packet.
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

/// The keywords whose schemas apply to the same value as the schema they stand in, so that the fields of both count.
const COMBINING: [&str; 9] =
    ["$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas"];

/// The keywords that hold a value or a name, not a schema.
const WITHOUT_SCHEMAS: [&str; 6] = ["const", "default", "enum", "examples", "required", "title"];

/// A schema whose objects have no other fields than the declared ones, and whether that could be said of each. The
/// fields of combined schemas belong together, so these stay open.
fn closed(schema: &Value) -> (Value, bool) {
    let mut schema = schema.clone();
    let is_closed = close(&mut schema, true);
    (schema, is_closed)
}

/// Closes a schema and those in it. `may_close` says whether nothing else declares fields of the same value.
fn close(schema: &mut Value, may_close: bool) -> bool {
    let Some(object) = schema.as_object_mut() else { return true };
    let has_fields = object.contains_key("properties");
    let combined = COMBINING.iter().any(|keyword| object.contains_key(*keyword));
    let is_open = ["additionalProperties", "patternProperties", "unevaluatedProperties"]
        .iter()
        .all(|keyword| object.get(*keyword).is_none_or(|rest| *rest == json!(true)));
    let mut is_closed = true;
    if has_fields && is_open {
        if may_close && !combined {
            object.insert("additionalProperties".to_owned(), json!(false));
        } else {
            is_closed = false;
        }
    }
    for (keyword, inner) in object.iter_mut() {
        if WITHOUT_SCHEMAS.contains(&keyword.as_str()) {
            continue;
        }
        // An alternative declares all fields of its value if nothing stands beside the alternatives.
        let is_alternative = ["anyOf", "oneOf"].contains(&keyword.as_str()) && may_close && !has_fields;
        let may_close = is_alternative || !COMBINING.contains(&keyword.as_str());
        is_closed &= match inner {
            Value::Object(schemas)
                if ["properties", "patternProperties", "$defs", "definitions"]
                    .contains(&keyword.as_str()) =>
            {
                close_all(schemas.values_mut(), may_close)
            }
            Value::Array(schemas) => close_all(schemas.iter_mut(), may_close),
            inner => close(inner, may_close),
        };
    }
    is_closed
}

/// Closes each of these schemas; returns whether all could be.
fn close_all<'a>(schemas: impl Iterator<Item = &'a mut Value>, may_close: bool) -> bool {
    let mut is_closed = true;
    for schema in schemas {
        is_closed &= close(schema, may_close);
    }
    is_closed
}
