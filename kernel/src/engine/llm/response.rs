//! A model's answer.

use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

/// The cost of an answer, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Tokens read, with those from a cache.
    pub prompt: u64,
    /// Tokens written, with those of thoughts.
    pub completion: u64,
    /// Of the tokens read those that the server had in a cache.
    pub cached: u64,
    /// Of the tokens written those of thoughts.
    pub reasoning: u64,
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            prompt: self.prompt.saturating_add(other.prompt),
            completion: self.completion.saturating_add(other.completion),
            cached: self.cached.saturating_add(other.cached),
            reasoning: self.reasoning.saturating_add(other.reasoning),
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// Why an answer ends where it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Finish {
    /// The model was done, or came to a text at which it had to stop.
    #[default]
    Stop,
    /// The answer was as long as it may be: it is cut off.
    Length,
    /// The model asks for functions to be called.
    ToolCalls,
}

/// A function that a model asks its caller to call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The server's id of this call.
    pub id: String,
    /// The function's name.
    pub name: String,
    /// Its arguments, as the JSON that the model wrote.
    pub arguments: String,
}

/// A model's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Response {
    /// The text, without thoughts.
    pub text: String,
    /// The cost of the request, with that of tries which failed, as far as the provider reports it.
    pub usage: Option<Usage>,
    /// Why the text ends.
    pub finish: Finish,
    /// What the model thought before it answered, if the server says it.
    pub reasoning: Option<String>,
    /// The functions that the model asks for.
    pub tool_calls: Vec<ToolCall>,
    /// The model that answered, by its name in the configuration.
    pub model: Option<String>,
}

impl Response {
    /// A complete answer whose cost is unknown.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}
