//! The plugin's table in the configuration.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most characters of context. With them and all remembered actions, the state stays far below the
/// runtime's limit.
const MAX_CONTEXT_CHARS: usize = 20_000;

const MAX_GATHER_SECONDS: u32 = 60;

/// The plugin's table in the configuration.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// The actions to detect, in the order in which the prompt lists them. Without this key there is one
    /// action, `web-search` with a parameter `query`.
    #[schemars(length(min = 1))]
    pub actions: Vec<Action>,
    /// How much of the earlier conversation a prompt contains, in characters: 1000 by default, 20000 at
    /// most, 0 for none.
    #[schemars(range(max = MAX_CONTEXT_CHARS))]
    pub context_chars: usize,
    /// How long words are gathered before the model is asked about them, in seconds by the meeting's clock from the
    /// first of them on: 2 by default, 60 at most. 0 asks about each packet by itself. Choose more than the model takes
    /// to answer, or it falls behind the meeting.
    #[schemars(range(max = MAX_GATHER_SECONDS))]
    pub gather_seconds: u32,
    /// The sampling temperature of the model: from 0, the default, which always takes the likeliest word, to
    /// 2.
    #[schemars(range(min = 0, max = 2))]
    pub temperature: f32,
}

/// An action to detect.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Action {
    /// The name of the action in the output.
    #[schemars(length(min = 1))]
    pub name: String,
    /// When the meeting calls for the action; the model decides by this text.
    #[schemars(length(min = 1))]
    pub description: String,
    /// The parameters that the action needs: their names, each with a description for the model. Optional.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
}

/// Why a configuration is rejected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("`context_chars` is {0}; choose 0 to {MAX_CONTEXT_CHARS}")]
    ContextChars(usize),
    #[error("`gather_seconds` is {0}; choose 0 to {MAX_GATHER_SECONDS}")]
    GatherSeconds(u32),
    #[error("`temperature` is {0}; choose 0 to 2")]
    Temperature(f32),
}

impl Config {
    /// Creates a configuration with these actions, and defaults for the other keys.
    pub fn new(actions: impl IntoIterator<Item = Action>) -> Self {
        Self {
            actions: actions.into_iter().collect(),
            context_chars: 1000,
            gather_seconds: 2,
            temperature: 0.0,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.context_chars > MAX_CONTEXT_CHARS {
            return Err(Error::ContextChars(self.context_chars));
        }
        if self.gather_seconds > MAX_GATHER_SECONDS {
            return Err(Error::GatherSeconds(self.gather_seconds));
        }
        if !(0.0..=2.0).contains(&self.temperature) {
            return Err(Error::Temperature(self.temperature));
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        let description =
            "Somebody wants to know something that nobody in the meeting does and that the web can tell.";
        Self::new(
            [Action::new("web-search", description).with("query", "What to type into a search engine.")],
        )
    }
}

impl Action {
    /// Creates an action without parameters.
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self { name: name.into(), description: description.into(), parameters: BTreeMap::new() }
    }

    /// Adds a parameter.
    #[must_use]
    pub fn with(mut self, parameter: impl Into<String>, description: impl Into<String>) -> Self {
        self.parameters.insert(parameter.into(), description.into());
        self
    }
}
