//! Reads the actions in a model's answer.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use teammy_kernel::{AnswerError, parse_answer};

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

/// The accepted shapes of an answer. The prompt asks for a list, and models also answer in the others.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawAnswer {
    List(Vec<RawCall>),
    Wrapped { actions: Vec<RawCall> },
    Single(RawCall),
}

/// An action as the model wrote it. Its `TryFrom` requires a map: a derived `Deserialize` would read `[1]` in
/// the answer's prose as an action named 1.
#[derive(Deserialize)]
#[serde(try_from = "Map<String, Value>")]
struct RawCall {
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
    pub(crate) fn read(answer: &str, actions: &Actions) -> Result<Self, AnswerError> {
        let raw = match parse_answer(answer)? {
            RawAnswer::List(raw) | RawAnswer::Wrapped { actions: raw } => raw,
            RawAnswer::Single(raw) => vec![raw],
        };
        let calls: Vec<ActionCall> = raw.iter().filter_map(|raw| call(raw, actions)).collect();
        Ok(Self { dropped: raw.len() - calls.len(), calls })
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
