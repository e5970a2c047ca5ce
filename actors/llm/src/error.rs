//! Why there are no language models to ask.

/// Why the configured language models cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The variable that holds a model's API key is not set.
    #[error("model {model} needs its API key: the environment variable {variable} is not set")]
    Keyless {
        /// The model's name in the configuration.
        model: String,
        /// The variable.
        variable: String,
    },
    /// A model's API key holds characters that cannot be sent.
    #[error("the API key of model {model} holds characters that no key has, such as an end of line")]
    Key {
        /// The model's name in the configuration.
        model: String,
    },
    /// There can be no HTTP client here.
    #[error("cannot make an HTTP client")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The actor could not be started.
    #[error("cannot start the language models' actor: {0}")]
    Actor(String),
    /// This build has no client for models.
    #[error(
        "this build cannot ask language models: build it with feature `openai`, or give the builder a provider"
    )]
    NoClient,
}
