//! Whether a value is of a JSON Schema.

use serde_json::Value;

/// The most that is said of a value that is not.
const MAX_PROBLEMS: usize = 3;

/// Says what is wrong with a value, for the model that wrote it: where, and what was expected there.
pub(crate) fn check(schema: &Value, value: &Value) -> Result<(), String> {
    // A schema that cannot be read says nothing: the type itself decides.
    let Ok(validator) = jsonschema::validator_for(schema) else { return Ok(()) };
    let problem = |error: jsonschema::ValidationError<'_>| {
        let place = error.instance_path().to_string();
        if place.is_empty() { error.masked().to_string() } else { format!("at {place}, {}", error.masked()) }
    };
    let problems: Vec<String> = validator.iter_errors(value).take(MAX_PROBLEMS).map(problem).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
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
}
