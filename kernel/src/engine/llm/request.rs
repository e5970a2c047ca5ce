//! A request to a model.

use schemars::Schema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::caller::Caller;

/// Whose text a message holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions that frame the conversation.
    System,
    /// The plugin that asks.
    User,
    /// The model.
    Assistant,
}

/// One message of a conversation with a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Whose text it is.
    pub role: Role,
    /// The text.
    pub content: String,
}

impl Message {
    /// Instructions that frame the conversation.
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: Role::System, content: content.into() }
    }

    /// The plugin's text.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    /// The model's text, of an earlier turn.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}

/// Which of the configured models to ask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Model {
    /// The model for work that needs quality.
    #[default]
    Default,
    /// The model for work that must be quick and cheap.
    Fast,
}

/// The form that an answer must have.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub enum Format {
    /// Text.
    #[default]
    Text,
    /// JSON of a schema.
    Json {
        /// The type's name, which some servers want.
        name: String,
        /// The JSON Schema.
        schema: Schema,
    },
}

/// A function that a model may ask its caller to call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// The function's name: letters, digits, `_` and `-`.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// The JSON Schema of its arguments.
    pub parameters: Schema,
}

/// A request to a model.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// Which model.
    pub model: Model,
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// The sampling temperature, from 0 (always the likeliest token) to 2; `None` leaves it to the server.
    pub temperature: Option<f32>,
    /// The most tokens of the answer; `None` leaves that to the server.
    pub max_tokens: Option<u32>,
    /// Texts at which the answer ends.
    pub stop: Vec<String>,
    /// The seed of the sampling, for servers that have one.
    pub seed: Option<u64>,
    /// The functions that the model may ask for.
    pub tools: Vec<Tool>,
    /// The form that the answer must have.
    pub format: Format,
    /// Who asks.
    pub caller: Caller,
}

impl Request {
    /// A request for text.
    pub fn new(model: Model, messages: Vec<Message>, caller: Caller) -> Self {
        Self {
            model,
            messages,
            temperature: None,
            max_tokens: None,
            stop: Vec::new(),
            seed: None,
            tools: Vec::new(),
            format: Format::Text,
            caller,
        }
    }

    /// What is asked, without who asks: equal requests have equal values, in every build.
    pub fn asked(&self) -> Value {
        let format = match &self.format {
            Format::Json { name, schema } => Some((name, schema.as_value())),
            Format::Text => None,
        };
        let tools: Vec<_> = self
            .tools
            .iter()
            .map(|tool| (&tool.name, &tool.description, tool.parameters.as_value()))
            .collect();
        json!({
            "model": self.model, "messages": self.messages, "temperature": self.temperature,
            "max_tokens": self.max_tokens, "stop": self.stop, "seed": self.seed, "tools": tools, "format": format,
        })
    }
}
