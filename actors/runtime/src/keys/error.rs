//! Why keys could not be read or changed, and why a request was refused.

use teammy_kernel::{error_classes, store};

use super::secret::KeyId;

/// Why keys could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store failed.
    #[error("cannot read or write the keys")]
    Store(#[source] store::Error),
    /// There is no such key.
    #[error("there is no key {0}; `teammy key list` shows all")]
    NoKey(KeyId),
    /// The key was revoked, or has expired.
    #[error("key {0} was revoked or has expired; create another")]
    Dead(KeyId),
    /// A key is to have a scope.
    #[error("a key without a scope allows nothing; give it one of publish, read, admin and node")]
    NoScope,
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Random(#[source] std::io::Error),
    /// What is stored of the keys is not in a form that this version reads.
    #[error(
        "the keys in the store are not in a form that this version reads; use the version that wrote them"
    )]
    Unreadable(#[source] serde_json::Error),
    /// Others changed the keys all the time.
    #[error("others changed the keys at the same time; try again")]
    Contended,
}

error_classes!(Error {
    Self::NoKey(_) => "no-key" NotFound,
    Self::Dead(_) => "dead-key" Conflict,
    Self::NoScope => "no-scope" Invalid,
    Self::Random(_) => "no-random" Internal,
    Self::Unreadable(_) => "unreadable-keys" Internal,
    Self::Contended => "contended" Unavailable,
} else {
    Self::Store(error) => error.class(),
});

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

/// Why a key or token is refused. It does not say which part of it is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// It is no key of this node, or is revoked or expired.
    #[error("the key or token is not valid: it is misspelt, was revoked, or has expired")]
    Invalid,
}
