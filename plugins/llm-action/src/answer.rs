//! Reading which actions an answer names.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use teammy_kernel::{AnswerError, parse_answer};

use crate::{actions::Actions, prompt::PLACEHOLDER, state::Call};

/// The most characters that an action's parameters may hold together: a drafted message fits, a model gone
/// astray doesn't.
pub const ACTION_CHARS: usize = 4_000;

/// What an answer says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The actions that can be carried out, in its order.
    pub(crate) calls: Vec<Call>,
    /// How many others it names.
    pub(crate) left_out: usize,
}

/// The forms that models give an answer, though they are asked for the first.
#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    List(Vec<Named>),
    Wrapped { actions: Vec<Named> },
    One(Named),
}

/// An action as a model names it. It is read off a map by hand: a derived reader would take `[1]` in an
/// answer's prose for an action called 1.
#[derive(Deserialize)]
#[serde(try_from = "Map<String, Value>")]
struct Named {
    action: Value,
    parameters: Map<String, Value>,
}

impl TryFrom<Map<String, Value>> for Named {
    type Error = &'static str;

    fn try_from(mut map: Map<String, Value>) -> Result<Self, Self::Error> {
        let action = map.remove("action").or_else(|| map.remove("name")).ok_or("it names no action")?;
        let parameters = match map.remove("parameters").or_else(|| map.remove("arguments")) {
            Some(Value::Object(parameters)) => parameters,
            _ => Map::new(),
        };
        Ok(Self { action, parameters })
    }
}

impl Answer {
    pub(crate) fn read(answer: &str, actions: &Actions) -> Result<Self, AnswerError> {
        let named = match parse_answer(answer)? {
            Form::List(named) | Form::Wrapped { actions: named } => named,
            Form::One(named) => vec![named],
        };
        let count = named.len();
        let calls: Vec<Call> = named.iter().filter_map(|named| call(named, actions)).collect();
        Ok(Self { left_out: count - calls.len(), calls })
    }
}

fn call(named: &Named, actions: &Actions) -> Option<Call> {
    let action = actions.get(named.action.as_str()?)?;
    let mut parameters = BTreeMap::new();
    for label in &action.parameters {
        let (_, value) = named.parameters.iter().find(|(name, _)| label.is_called(name))?;
        parameters.insert(label.name.clone(), text(value)?);
    }
    let chars: usize = parameters.values().map(|value| value.chars().count()).sum();
    (chars <= ACTION_CHARS).then(|| Call { action: action.label.name.clone(), parameters })
}

/// A parameter's value, if it is one.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => {
            let text = text.trim();
            let says_something = !["", "...", PLACEHOLDER].contains(&text);
            says_something.then(|| text.to_owned())
        }
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests;
