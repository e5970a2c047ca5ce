//! What can go wrong with a model behind an API, and which of it may pass.

use async_openai::error::OpenAIError;
use http::StatusCode;
use teammy_kernel::{LlmError, chain};

/// What the transport found in the place of an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("HTTP {status}{}", .name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default())]
    Status { status: StatusCode, name: Option<String> },
    #[error("its answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("its answer is not what the API promises: {0}")]
    Malformed(String),
    #[error("{}", chain(.0))]
    Network(#[from] reqwest::Error),
}

impl Problem {
    /// Whether asking again may help.
    fn may_pass(&self) -> bool {
        match self {
            // These are about the question. The rest is about the server, the key or the configuration, which
            // somebody may put right: what was to be asked is not to be given up for it.
            Self::Status { status, .. } => !matches!(status.as_u16(), 400 | 413 | 414 | 422 | 451),
            Self::TooLarge(_) => false,
            Self::Malformed(_) => true,
            Self::Network(error) => !error.is_builder(),
        }
    }
}

/// What an error of the client's is to a plugin. No message holds anything of the question.
pub(super) fn classify(error: &OpenAIError) -> LlmError {
    let problem = match error {
        OpenAIError::Boxed(error) => error.downcast_ref::<Problem>(),
        _ => None,
    };
    match problem {
        Some(problem) if problem.may_pass() => LlmError::Failed(problem.to_string()),
        Some(problem) => LlmError::Refused(problem.to_string()),
        // The transport has seen every answer, so this is about making the request.
        // These quote what the server said, which is the answer.
        None if matches!(error, OpenAIError::JSONDeserialize(..) | OpenAIError::ApiError(..)) => {
            LlmError::Failed("the server's answer cannot be read".to_owned())
        }
        None => LlmError::Failed(chain(error)),
    }
}
