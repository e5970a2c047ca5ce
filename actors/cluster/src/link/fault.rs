//! Why a call got no answer.

use std::sync::Arc;

use teammy_kernel::store::Incarnation;

/// Why a call got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// It was not sent: the node did not see it.
    #[error("{peer} cannot be reached: {reason}")]
    NotSent {
        /// The node.
        peer: Incarnation,
        /// Why.
        reason: Arc<str>,
    },
    /// It was sent, and the link broke before the answer: the node may have done it or not.
    #[error("the link to {peer} broke before it answered: {reason}")]
    Unknown {
        /// The node.
        peer: Incarnation,
        /// Why.
        reason: Arc<str>,
    },
}
