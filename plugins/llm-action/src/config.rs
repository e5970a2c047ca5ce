//! The plugin's table of the configuration.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most characters of context; with them and all that is remembered a state is far from the runtime's
/// limit.
const MAX_CONTEXT_CHARS: usize = 20_000;

/// The table of the configuration.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Config {
    /// The actions that the meeting may call for, in the order in which the model is told of them. Without a
    /// list there is one, `web-search` with a parameter `query`.
    #[schemars(length(min = 1))]
    pub actions: Vec<Action>,
    /// How much of what was said before the model is shown, in characters: 1000 by default, 20000 at most,
    /// none with 0.
    #[schemars(range(max = MAX_CONTEXT_CHARS))]
    pub context_chars: usize,
    /// How freely the model chooses its words: from 0, the default, where it always takes the likeliest, to
    /// 2.
    #[schemars(range(min = 0, max = 2))]
    pub temperature: f32,
}

/// An action that the meeting may call for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Action {
    /// What it is called in the output.
    #[schemars(length(min = 1))]
    pub name: String,
    /// When it is called for; what the model goes by.
    #[schemars(length(min = 1))]
    pub description: String,
    /// What must be known to carry it out: each parameter's name, with a description for the model. May be
    /// left out.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
}

/// Why a table makes no sense.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("`context_chars` is {0}; it may be {MAX_CONTEXT_CHARS} at most")]
    ContextChars(usize),
    #[error("`temperature` is {0}; it may be from 0 to 2")]
    Temperature(f32),
}

impl Config {
    /// A configuration with these actions.
    pub fn new(actions: impl IntoIterator<Item = Action>) -> Self {
        Self { actions: actions.into_iter().collect(), context_chars: 1000, temperature: 0.0 }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.context_chars > MAX_CONTEXT_CHARS {
            return Err(Error::ContextChars(self.context_chars));
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
    /// An action without parameters.
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self { name: name.into(), description: description.into(), parameters: BTreeMap::new() }
    }

    /// It with one more parameter.
    #[must_use]
    pub fn with(mut self, parameter: impl Into<String>, description: impl Into<String>) -> Self {
        self.parameters.insert(parameter.into(), description.into());
        self
    }
}
