//! Why language models cannot be used.

use teammy_kernel::error_classes;

/// Why the configured language models cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The variable that holds a model's API key is not set.
    #[error("model {model} needs its API key: the environment variable {variable} is not set")]
    Keyless {
        /// The model's name in the configuration.
        model: String,
        /// The variable's name.
        variable: String,
    },
    /// A model's API key holds characters that cannot stand in an HTTP header.
    #[error("the API key of model {model} holds characters that no key has, such as an end of line")]
    Key {
        /// The model's name in the configuration.
        model: String,
    },
    /// The HTTP client could not be made.
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

error_classes!(Error {
    Self::Keyless { .. } => "llm-key-missing" Invalid,
    Self::Key { .. } => "llm-key-malformed" Invalid,
    Self::Client(_) => "llm-client" Internal,
    Self::Actor(_) => "llm-actor" Internal,
    Self::NoClient => "llm-not-in-build" Invalid,
});
