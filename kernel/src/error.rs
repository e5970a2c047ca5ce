//! What a hook says when it fails.

use std::{error::Error as StdError, fmt};

type BoxError = Box<dyn StdError + Send + Sync>;

/// A hook's failure, and whether another try may help.
///
/// `?` on any error makes an [`Error::retry`]: most failures inside a hook are somebody else's passing trouble. Say
/// [`Error::reject`] where the packet itself is at fault.
///
/// Like other catch-all error types it does not implement [`std::error::Error`] itself, which is what lets `?` take
/// every error; [`Error::as_error`] gives the cause.
pub struct Error {
    retry: bool,
    cause: BoxError,
}

impl Error {
    /// A failure that may pass: the packet is tried again, with backoff, as often as the configuration says.
    pub fn retry(cause: impl Into<BoxError>) -> Self {
        Self { retry: true, cause: cause.into() }
    }

    /// A failure that will not pass: the packet goes to the instance's dead letters at once.
    pub fn reject(cause: impl Into<BoxError>) -> Self {
        Self { retry: false, cause: cause.into() }
    }

    /// Whether the packet is not worth another try.
    pub fn is_reject(&self) -> bool {
        !self.retry
    }

    /// The cause.
    pub fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.cause
    }

    /// The cause and all that is behind it, on one line.
    pub fn chain(&self) -> String {
        chain(&*self.cause)
    }
}

/// An error and all that is behind it, on one line: `what: why: why`.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(cause: E) -> Self {
        Self::retry(cause)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = if self.retry { "Retry" } else { "Reject" };
        f.debug_tuple(class).field(&self.cause).finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_mark_makes_a_retry() {
        fn parse(text: &str) -> Result<i32, Error> {
            Ok(text.parse()?)
        }
        assert!(!parse("x").unwrap_err().is_reject());
        assert!(Error::reject("no").is_reject());
    }

    #[test]
    fn the_chain_names_every_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("reading the table")]
        struct Outer(#[source] std::fmt::Error);
        let error = Error::retry(Outer(std::fmt::Error));
        assert_eq!(error.chain(), "reading the table: an error occurred when formatting an argument");
    }
}
