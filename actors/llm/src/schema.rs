//! Whether a value is of a JSON Schema.

use std::collections::HashSet;

use jsonschema::{ValidationError, error::ValidationErrorKind};
use serde_json::Value;

/// The most that is said of a value that is not.
const MAX_PROBLEMS: usize = 3;

/// Says what is wrong with a value, for the model that wrote it: where, and what was expected there. Nothing of the value
/// is in it, nor a key of a map: a model puts names of people there.
pub(crate) fn check(schema: &Value, value: &Value) -> Result<(), String> {
    // A schema that cannot be read says nothing: the type itself decides.
    let Ok(validator) = jsonschema::validator_for(schema) else { return Ok(()) };
    let mut problems = validator.iter_errors(value).take(MAX_PROBLEMS).peekable();
    if problems.peek().is_none() {
        return Ok(());
    }
    let mut names = HashSet::new();
    property_names(schema, &mut names);
    let problem = |error: ValidationError<'_>| {
        let (place, expected) = (place(error.instance_path().as_str(), value, &names), expected(&error));
        if place.is_empty() { expected } else { format!("at {place}, {expected}") }
    };
    Err(problems.map(problem).collect::<Vec<_>>().join("; "))
}

/// What was expected of a value, in words of the schema alone.
fn expected(error: &ValidationError<'_>) -> String {
    match error.kind() {
        // The messages of these three quote keys.
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            format!("value has properties that the schema does not allow ({})", unexpected.len())
        }
        ValidationErrorKind::PropertyNames { error } => {
            format!("value has a property whose name does not fit: {}", expected(error))
        }
        _ => error.masked().to_string(),
    }
}

/// A JSON pointer into a value, with `*` for keys that are no properties of the schema.
fn place(pointer: &str, value: &Value, names: &HashSet<&str>) -> String {
    let mut place = String::new();
    let mut at = Some(value);
    for segment in pointer.split('/').skip(1) {
        let name = segment.replace("~1", "/").replace("~0", "~");
        let is_item = at.is_some_and(Value::is_array);
        at = at.and_then(|value| match value {
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            value => value.get(&name),
        });
        place.push('/');
        place.push_str(if is_item || names.contains(&*name) { segment } else { "*" });
    }
    place
}

/// The names of properties anywhere in a schema.
fn property_names<'a>(schema: &'a Value, names: &mut HashSet<&'a str>) {
    match schema {
        Value::Object(keywords) => {
            let properties = keywords.get("properties").and_then(Value::as_object);
            names.extend(properties.into_iter().flat_map(|properties| properties.keys().map(String::as_str)));
            for value in keywords.values() {
                property_names(value, names);
            }
        }
        Value::Array(values) => {
            for value in values {
                property_names(value, names);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wrong_is_said_without_the_value() {
        let schema = json!({
            "type": "object",
            "properties": {"urgent": {"type": "boolean"}, "level": {"type": "integer", "minimum": 1, "maximum": 5}},
            "required": ["urgent"],
        });
        assert_eq!(check(&schema, &json!({"urgent": true, "level": 3})), Ok(()));
        let wrong = check(&schema, &json!({"urgent": "SECRET", "level": 9})).unwrap_err();
        assert!(wrong.contains("at /urgent") && wrong.contains("at /level"), "{wrong}");
        assert!(!wrong.contains("SECRET"), "{wrong}");
        assert!(check(&schema, &json!({})).unwrap_err().contains("urgent"));
        assert_eq!(check(&json!({"type": "strin"}), &json!(1)), Ok(()));
    }

    #[test]
    fn keys_of_the_value_are_not_shown() {
        let schema = json!({
            "properties": {
                "tasks": {"type": "array", "items": {"$ref": "#/$defs/Task"}},
                "owners": {"additionalProperties": {"type": "integer"}},
                "a/b": {"additionalProperties": {"$ref": "#/$defs/Task"}},
                "closed": {"properties": {"yes": true}, "additionalProperties": false},
                "named": {"propertyNames": {"maxLength": 3}},
            },
            "unevaluatedProperties": false,
            "$defs": {"Task": {"properties": {"done": {"type": "boolean"}}}},
        });
        for (value, says) in [
            (
                json!({"tasks": [{}, {"done": "SECRET"}]}),
                "at /tasks/1/done, value is not of type \"boolean\"",
            ),
            (json!({"owners": {"SECRET": "x"}}), "at /owners/*, value is not of type \"integer\""),
            // A number may be a key too.
            (json!({"owners": {"4711": "x"}}), "at /owners/*, value is not of type \"integer\""),
            (json!({"a/b": {"SECRET~/": {"done": 1}}}), "at /a~1b/*/done, value is not of type \"boolean\""),
            (
                json!({"closed": {"SECRET": 1}}),
                "at /closed, value has properties that the schema does not allow (1)",
            ),
            (json!({"SECRET": 1}), "value has properties that the schema does not allow (1)"),
            (
                json!({"named": {"SECRET": 1}}),
                "at /named, value has a property whose name does not fit: value is longer than 3 characters",
            ),
        ] {
            assert_eq!(check(&schema, &value), Err(says.to_owned()), "{value}");
        }
    }
}
