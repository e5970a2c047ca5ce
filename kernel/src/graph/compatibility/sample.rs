//! Values that a source may carry, made from its schema, to show one that a hook does not take.

use serde_json::{Map, Value, json};

/// Looks for a value of one schema that is none of the other, and says what is wrong with it.
pub(super) fn that_does_not_fit(carried: &Value, taken: &Value) -> Option<String> {
    let (source, hook) = (jsonschema::validator_for(carried).ok()?, jsonschema::validator_for(taken).ok()?);
    samples(carried).find_map(|value| {
        let error = hook.iter_errors(&value).next().filter(|_| source.is_valid(&value))?;
        let (place, error) = (error.instance_path().to_string(), error.masked());
        let at = if place.is_empty() { String::new() } else { format!("at {place}, ") };
        Some(format!("it does not take {value}: {at}{error}"))
    })
}

/// A value of a schema.
pub(super) fn of(schema: &Value) -> Option<Value> {
    let validator = jsonschema::validator_for(schema).ok()?;
    samples(schema).find(|value| validator.is_valid(value))
}

/// Values that are probably of a schema.
fn samples(schema: &Value) -> impl Iterator<Item = Value> {
    // What is not of any type that a schema names is allowed too.
    let other = is_open(schema).then_some(Value::Null);
    let values =
        [Fields::Required, Fields::All].map(|fields| Sampler { root: schema, fields }.value(schema, 0));
    values.into_iter().chain([other]).flatten()
}

/// Whether a schema says nothing of its values' type.
fn is_open(schema: &Value) -> bool {
    const TELLING: [&str; 7] = ["type", "const", "enum", "$ref", "allOf", "anyOf", "oneOf"];
    schema == &Value::Bool(true)
        || schema
            .as_object()
            .is_some_and(|schema| !TELLING.iter().any(|keyword| schema.contains_key(*keyword)))
}

/// Which fields of an object a sample has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fields {
    All,
    Required,
}

/// Makes values of a document's schemas.
struct Sampler<'a> {
    root: &'a Value,
    fields: Fields,
}

/// How deep a value is at most; a type may contain itself.
const DEPTH: usize = 12;

/// The keywords of which a sample follows the first schema.
const ALTERNATIVES: [&str; 2] = ["oneOf", "anyOf"];

impl Sampler<'_> {
    /// A value of a schema, as far as its simple keywords say; it may be none of it, which is checked.
    fn value(&self, schema: &Value, depth: usize) -> Option<Value> {
        if depth > DEPTH {
            return None;
        }
        let object = match schema {
            Value::Bool(true) => return Some(Value::Null),
            schema => schema.as_object()?,
        };
        if let Some(value) = object.get("const") {
            return Some(value.clone());
        }
        if let Some(values) = object.get("enum") {
            return values.get(0).cloned();
        }
        let target = match object.get("$ref").and_then(Value::as_str) {
            Some(target) => Some(self.root.pointer(target.strip_prefix('#')?)?),
            None => None,
        };
        let first = ALTERNATIVES.iter().find_map(|keyword| object.get(*keyword)?.get(0));
        let all = object.get("allOf").and_then(Value::as_array).into_iter().flatten();
        let parts: Vec<&Value> = target.into_iter().chain(first).chain(all).collect();
        match parts.as_slice() {
            [] => self.value_of_type(object, depth),
            [part] if !object.contains_key("properties") => self.value(part, depth + 1),
            parts => {
                let mut fields = self.fields_of(object, depth)?;
                for part in parts {
                    fields.extend(self.value(part, depth + 1)?.as_object().cloned()?);
                }
                Some(Value::Object(fields))
            }
        }
    }

    fn value_of_type(&self, object: &Map<String, Value>, depth: usize) -> Option<Value> {
        let kind = match object.get("type") {
            Some(Value::Array(kinds)) => kinds.first(),
            kind => kind,
        };
        match kind.and_then(Value::as_str) {
            Some("object") => self.fields_of(object, depth).map(Value::Object),
            Some("array") => {
                let item = object.get("items").and_then(|items| self.value(items, depth + 1));
                Some(item.map_or_else(|| json!([]), |item| json!([item])))
            }
            Some("integer") => Some(object.get("minimum").cloned().unwrap_or_else(|| json!(-1))),
            Some("number") => Some(json!(0.5)),
            Some("boolean") => Some(json!(true)),
            Some("string") => Some(json!("text")),
            Some("null") => Some(Value::Null),
            _ => {
                object.contains_key("properties").then(|| self.fields_of(object, depth).map(Value::Object))?
            }
        }
    }

    fn fields_of(&self, object: &Map<String, Value>, depth: usize) -> Option<Map<String, Value>> {
        let mut fields = Map::new();
        let required = object.get("required").and_then(Value::as_array);
        let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|other| other == name));
        for (name, schema) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
            match self.value(schema, depth + 1) {
                Some(value) if self.fields == Fields::All || is_required(name) => {
                    fields.insert(name.clone(), value);
                }
                None if is_required(name) => return None,
                _ => {}
            }
        }
        // Fields that must be there, and of which nothing is said.
        for name in required.into_iter().flatten().filter_map(Value::as_str) {
            if object.get("properties").is_none_or(|declared| declared.get(name).is_none()) {
                fields.insert(name.to_owned(), Value::Null);
            }
        }
        // A map's key and value.
        if let (Fields::All, Some(rest @ Value::Object(_))) =
            (self.fields, object.get("additionalProperties"))
        {
            fields.insert("key".to_owned(), self.value(rest, depth + 1)?);
        }
        Some(fields)
    }
}
