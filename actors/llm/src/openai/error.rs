//! Errors of the transport, and whether a retry may help.

use async_openai::error::OpenAIError;
use http::StatusCode;
use teammy_kernel::{LlmError, chain};

/// Why the transport got no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    #[error("HTTP {status}{}", .name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default())]
    Status { status: StatusCode, name: Option<String> },
    #[error("its answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("its answer does not follow the API: {0}")]
    Malformed(String),
    #[error("{}", chain(.0))]
    Network(#[from] reqwest::Error),
}

impl TransportError {
    fn is_transient(&self) -> bool {
        match self {
            // These statuses reject the question. All others come from the server, the key or the
            // configuration, which can be repaired, so the question stays worth a retry.
            Self::Status { status, .. } => !matches!(status.as_u16(), 400 | 413 | 414 | 422 | 451),
            Self::TooLarge(_) => false,
            Self::Malformed(_) => true,
            Self::Network(error) => !error.is_builder(),
        }
    }
}

/// Turns the client's error into a plugin's. No message holds anything of the question or the answer.
pub(super) fn classify(error: &OpenAIError) -> LlmError {
    let transport_error = match error {
        OpenAIError::Boxed(error) => error.downcast_ref::<TransportError>(),
        _ => None,
    };
    match transport_error {
        Some(error) if error.is_transient() => LlmError::Failed(error.to_string()),
        Some(error) => LlmError::Refused(error.to_string()),
        // These two quote the server's answer.
        None if matches!(error, OpenAIError::JSONDeserialize(..) | OpenAIError::ApiError(..)) => {
            LlmError::Failed("the server's answer cannot be read".to_owned())
        }
        // The transport checks every answer, so any other error comes from making the request.
        None => LlmError::Failed(chain(error)),
    }
}
