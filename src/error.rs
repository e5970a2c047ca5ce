//! One error for a whole backend, and what every error answers.

use teammy_config as config;
use teammy_kernel::{
    AnswerError, DatastoreError, DecodeError, EncodeError, ErrorKind, KeyError, LlmError, MalformedJson,
    PublishError, ReadError, graph, name, plugin::ConfigError, store, wire::json,
};
#[cfg(unix)]
use teammy_runtime::control;
use teammy_runtime::{admin, install, meeting, node};

/// Any error of this library, for code that passes errors on: `?` makes it of each of them. `Publish::json(…)?`,
/// `node.start_meeting(…).await?`, `meeting.publish(…).await?` and `receipt.durable().await?` fit into one function.
///
/// It shows, and answers, what the error in it does. A plugin's hooks return
/// [`plugin::Error`](crate::plugin::Error), which is another type.
///
/// # Examples
/// A handler's error in a web framework:
/// ```
/// use teammy::{ErrorKind, MeetingRef, Publish, data::Chat};
///
/// async fn say(meeting: &MeetingRef, who: &str, text: &str) -> Result<u64, teammy::Error> {
///     let said = Publish::json("chat", &Chat::new(text))?.participant(who);
///     let receipt = meeting.publish(said).await?;
///     receipt.durable().await?;
///     Ok(receipt.seq().0)
/// }
///
/// fn answer(error: &teammy::Error) -> (u16, String, Option<&'static str>) {
///     let body = format!(r#"{{"code":"{}"}}"#, error.code());
///     (error.kind().http_status(), body, error.can_retry().then_some("Retry-After: 1"))
/// }
///
/// let error = teammy::Error::from(Publish::text("no name", "hello").unwrap_err());
/// assert_eq!((error.code(), error.kind()), ("invalid-name", ErrorKind::Invalid));
/// assert_eq!(answer(&error), (400, r#"{"code":"invalid-name"}"#.to_owned(), None));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Of loading a configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// Of checking a node's instances, plugins and sources.
    #[error(transparent)]
    Graph(#[from] graph::Error),
    /// Of a node.
    #[error(transparent)]
    Node(#[from] node::Error),
    /// Of a meeting.
    #[error(transparent)]
    Meeting(#[from] meeting::Error),
    /// Of publishing.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Of a store that was asked directly.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Of an administrative request.
    #[error(transparent)]
    Admin(#[from] admin::Error),
    /// Of a node's socket.
    #[cfg(unix)]
    #[error(transparent)]
    Control(#[from] control::Error),
    /// Of installing plugins.
    #[error(transparent)]
    Install(#[from] install::Error),
    /// Of making a client for language models.
    #[error(transparent)]
    LlmClient(#[from] teammy_llm::Error),
    /// Of asking a language model.
    #[error(transparent)]
    Llm(#[from] LlmError),
    /// Of a malformed meeting id or name.
    #[error(transparent)]
    Name(#[from] name::Error),
    /// Of reading a packet from JSON.
    #[error(transparent)]
    Json(#[from] json::Error),
    /// Of reading a payload as a type.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Of writing a value as JSON.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Of a text that should be JSON.
    #[error(transparent)]
    MalformedJson(#[from] MalformedJson),
}

impl Error {
    fn inner(&self) -> &dyn Classified {
        match self {
            Self::Config(error) => error,
            Self::Graph(error) => error,
            Self::Node(error) => error,
            Self::Meeting(error) => error,
            Self::Publish(error) => error,
            Self::Store(error) => error,
            Self::Admin(error) => error,
            #[cfg(unix)]
            Self::Control(error) => error,
            Self::Install(error) => error,
            Self::LlmClient(error) => error,
            Self::Llm(error) => error,
            Self::Name(error) => error,
            Self::Json(error) => error,
            Self::Decode(error) => error,
            Self::Encode(error) => error,
            Self::MalformedJson(error) => error,
        }
    }

    /// The code: words in lower case with hyphens between them, which do not change.
    pub fn code(&self) -> &str {
        self.inner().code()
    }

    /// What the error means to a caller.
    pub fn kind(&self) -> ErrorKind {
        self.inner().kind()
    }

    /// Whether the same call may succeed later although the caller changes nothing; see
    /// [`ErrorKind::can_retry`].
    pub fn can_retry(&self) -> bool {
        self.kind().can_retry()
    }
}

/// What every error of this library answers, for code that is generic over errors. The errors have methods of the
/// same names, so that calling them needs no import.
pub trait Classified: std::error::Error {
    /// The code: words in lower case with hyphens between them, which do not change. It means the same in every
    /// type of error, and has one kind.
    fn code(&self) -> &str;

    /// What the error means to a caller.
    fn kind(&self) -> ErrorKind;

    /// Whether the same call may succeed later although the caller changes nothing; see
    /// [`ErrorKind::can_retry`].
    fn can_retry(&self) -> bool {
        self.kind().can_retry()
    }
}

macro_rules! answer_by_themselves {
    ($($error:ty,)*) => {$(
        impl Classified for $error {
            fn code(&self) -> &str {
                <$error>::code(self)
            }

            fn kind(&self) -> ErrorKind {
                <$error>::kind(self)
            }
        }
    )*};
}

answer_by_themselves! {
    Error,
    graph::Error,
    node::Error,
    meeting::Error,
    PublishError,
    store::Error,
    admin::Error,
    install::Error,
    teammy_llm::Error,
    LlmError,
    name::Error,
    json::Error,
    DecodeError,
    EncodeError,
    MalformedJson,
    DatastoreError,
    ReadError,
    AnswerError,
    KeyError,
    ConfigError,
}

#[cfg(unix)]
answer_by_themselves! {
    control::Error,
}

/// The crate of the configuration knows no kinds. All its errors are for somebody to correct.
macro_rules! invalid_configuration {
    ($($error:ty: $code:expr,)*) => {$(
        impl Classified for $error {
            fn code(&self) -> &str {
                let code: fn(&Self) -> &'static str = $code;
                code(self)
            }

            fn kind(&self) -> ErrorKind {
                ErrorKind::Invalid
            }
        }
    )*};
}

invalid_configuration! {
    config::Error: config::Error::code,
    config::database::UrlError: |_| "database-url",
    config::BaseUrlError: |_| "llm-url",
    config::ParseSizeError: |_| "size",
}

#[cfg(test)]
mod tests;
