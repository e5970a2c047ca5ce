//! Reads the actions in a model's answer.
//!
//! The model is asked for one shape, and more are read: see [`RawAnswer`].

use std::{borrow::Cow, collections::BTreeMap};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{actions::Actions, prompt::PLACEHOLDER, state::ActionCall};

/// The most characters in all parameters of an action: enough for the draft of a message. More than this is a
/// sign of a model that repeats itself.
pub const MAX_ACTION_CHARS: usize = 4_000;

/// The actions in an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The complete actions, in the order of the answer.
    pub(crate) calls: Vec<ActionCall>,
    /// How many other actions the answer names.
    pub(crate) dropped: usize,
}

/// An answer as the model wrote it. The prompt and the schema ask for an object with a list, and models also
/// answer in the other shapes.
#[derive(Debug, Deserialize)]
// A repair turn tells the model this message. Of serde's messages only known forms are passed on, such as
// this one.
#[serde(untagged, expecting = "missing field `actions`, a list of objects with `action` and `parameters`")]
pub(crate) enum RawAnswer {
    List(Vec<RawCall>),
    Wrapped { actions: Vec<RawCall> },
    Single(RawCall),
}

/// What comes is judged by the reader alone.
impl JsonSchema for RawAnswer {
    fn schema_name() -> Cow<'static, str> {
        "AnyActions".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["object", "array"]})
    }
}

/// The shape that is asked for: only an object can be the whole of a structured answer.
pub(crate) struct AskedAnswer;

impl JsonSchema for AskedAnswer {
    fn schema_name() -> Cow<'static, str> {
        "Actions".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let action = json_schema!({
            "type": "object",
            "properties": {
                "action": {"type": "string"},
                // Servers that force the schema may take an object without named properties for an empty one.
                "parameters": {"type": "object", "additionalProperties": true},
            },
            "required": ["action", "parameters"],
        });
        json_schema!({
            "type": "object",
            "properties": {"actions": {"type": "array", "items": action}},
            "required": ["actions"],
        })
    }
}

/// An action as the model wrote it. Its `TryFrom` requires a map: a derived `Deserialize` would read `[1]` in
/// the answer's prose as an action named 1.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub(crate) struct RawCall {
    action: Value,
    parameters: Map<String, Value>,
}

impl TryFrom<Map<String, Value>> for RawCall {
    type Error = &'static str;

    fn try_from(mut map: Map<String, Value>) -> Result<Self, Self::Error> {
        let action =
            map.remove("action").or_else(|| map.remove("name")).ok_or("the object names no action")?;
        let parameters = match map.remove("parameters").or_else(|| map.remove("arguments")) {
            Some(Value::Object(parameters)) => parameters,
            _ => Map::new(),
        };
        Ok(Self { action, parameters })
    }
}

impl Answer {
    pub(crate) fn new(raw: RawAnswer, actions: &Actions) -> Self {
        let raw = match raw {
            RawAnswer::List(raw) | RawAnswer::Wrapped { actions: raw } => raw,
            RawAnswer::Single(raw) => vec![raw],
        };
        let calls: Vec<ActionCall> = raw.iter().filter_map(|raw| call(raw, actions)).collect();
        Self { dropped: raw.len() - calls.len(), calls }
    }
}

fn call(raw: &RawCall, actions: &Actions) -> Option<ActionCall> {
    let action = actions.get(raw.action.as_str()?)?;
    let mut parameters = BTreeMap::new();
    for label in &action.parameters {
        let (_, value) = raw.parameters.iter().find(|(name, _)| label.matches(name))?;
        parameters.insert(label.name.clone(), text(value)?);
    }
    let chars: usize = parameters.values().map(|value| value.chars().count()).sum();
    (chars <= MAX_ACTION_CHARS).then(|| ActionCall { action: action.label.name.clone(), parameters })
}

/// Returns a parameter's value as text; `None` if the model gave none.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => {
            let text = text.trim();
            let has_value = !["", "...", PLACEHOLDER].contains(&text);
            has_value.then(|| text.to_owned())
        }
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests;
