//! Why there is no answer.

use crate::{Timestamp, error_classes};

/// Why there is no answer. A text names the model, what happened, and what to do about it; it holds nothing of the
/// request or the answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This node has no model to ask.
    #[error("no language model is configured for this node")]
    NotConfigured,
    /// The provider failed; another try may succeed.
    #[error("the language model failed: {0}")]
    Failed(String),
    /// The provider refused the request; another try will not succeed.
    #[error("the language model refused the request: {0}")]
    Refused(String),
    /// The server does not take the request as it is configured: a key, a name, a parameter. Another try succeeds when
    /// that was mended.
    #[error("the language model is not configured for its server: {0}")]
    Misconfigured(String),
    /// The answer was cut off because it became too long.
    #[error("the language model's answer was cut off after {} characters; allow more tokens", .text.chars().count())]
    CutOff {
        /// What there is of the answer.
        text: String,
    },
    /// A budget has nothing left for the request. Nothing was asked.
    #[error("the budget {name:?} is used up{}", .resets.map(|at| format!("; it begins anew at {at}")).unwrap_or_default())]
    BudgetExceeded {
        /// The budget's name in the configuration.
        name: String,
        /// When it begins anew; `None` for one of a whole meeting.
        resets: Option<Timestamp>,
    },
    /// The answer is not of the type that was asked for, and neither is the repaired one.
    #[error("the language model's answer is not of the type asked for: {0}")]
    Unreadable(String),
}

impl Error {
    /// Whether the same request may succeed soon, so that another try of the hook can help. A budget that begins anew in an
    /// hour does not, and neither does a refusal.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Failed(_) | Self::Misconfigured(_) => true,
            Self::NotConfigured
            | Self::Refused(_)
            | Self::CutOff { .. }
            | Self::BudgetExceeded { .. }
            | Self::Unreadable(_) => false,
        }
    }
}

error_classes!(Error {
    Self::NotConfigured => "llm-not-configured" Invalid,
    Self::Failed(_) => "llm-failed" Unavailable,
    Self::Refused(_) => "llm-refused" Invalid,
    Self::Misconfigured(_) => "llm-misconfigured" Unavailable,
    Self::CutOff { .. } => "llm-answer-cut-off" Invalid,
    Self::BudgetExceeded { .. } => "llm-budget-exceeded" Busy,
    Self::Unreadable(_) => "llm-answer-unreadable" Invalid,
});
