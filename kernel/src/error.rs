//! A hook's error.

use std::{
    error::Error as StdError,
    fmt::{self, Write},
};

use crate::shortened::shortened;

type BoxError = Box<dyn StdError + Send + Sync>;

/// A hook's failure, and whether another try may help.
///
/// `?` on any error makes an [`Error::retry`], because most failures inside a hook are temporary failures of
/// something else. Use [`Error::reject`] if the packet itself is at fault.
///
/// Like other catch-all error types this one does not implement [`std::error::Error`], so that `?` can
/// convert every error: Rust allows no type both. [`Error::as_error`] returns the cause, and `?` makes a
/// `Box<dyn std::error::Error>` of it. It stays between a plugin and what runs the plugin; whoever hosts
/// plugins gets dead letters and statuses.
pub struct Error {
    class: Class,
    cause: BoxError,
}

/// What follows for the packet, and for what ran its hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Retry,
    Reject,
    Crash,
}

impl Error {
    /// A temporary failure: the packet is tried again, with backoff, as often as the configuration says.
    pub fn retry(cause: impl Into<BoxError>) -> Self {
        Self { class: Class::Retry, cause: cause.into() }
    }

    /// A permanent failure: the packet becomes a dead letter of the instance at once.
    pub fn reject(cause: impl Into<BoxError>) -> Self {
        Self { class: Class::Reject, cause: cause.into() }
    }

    /// What ran the hook is gone, such as the process of a plugin in another language. It counts as a panic of
    /// the hook: the instance starts anew, the packet has used up one of its tries, and an instance that crashes
    /// too often is suspended.
    ///
    /// The text is logged and stored, so it must not quote the packet.
    pub fn crash(cause: impl Into<BoxError>) -> Self {
        Self { class: Class::Crash, cause: cause.into() }
    }

    /// Whether the packet must not be tried again.
    pub fn is_reject(&self) -> bool {
        self.class == Class::Reject
    }

    /// Whether what ran the hook is gone.
    pub fn is_crash(&self) -> bool {
        self.class == Class::Crash
    }

    /// The cause.
    pub fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.cause
    }

    /// The cause and its own causes, on one line of at most [`MAX_BYTES`].
    pub fn chain(&self) -> String {
        chain(&*self.cause)
    }
}

/// The longest error text that is logged or stored, in bytes. Plugins and providers may quote their input,
/// which may be as large as a packet.
pub const MAX_BYTES: usize = 4096;

/// An error and its causes, on one line: `what: why: why`, cut to [`MAX_BYTES`]. For a mismatch of JSON and
/// type the line says only that, because serde's message quotes the value.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut line = Bounded(String::new());
    let mut next = Some(error);
    while let Some(error) = next {
        let text: &dyn fmt::Display = match error.downcast_ref::<serde_json::Error>() {
            Some(json) if json.is_data() => &"the JSON is of another type",
            _ => &error,
        };
        let separator = if line.0.is_empty() { "" } else { ": " };
        if write!(line, "{separator}{text}").is_err() {
            return line.cut();
        }
        next = error.source();
    }
    line.0
}

/// A line of at most [`MAX_BYTES`], so that a larger text is never built.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_BYTES - self.0.len();
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        Err(fmt::Error)
    }
}

impl Bounded {
    /// The line, cut because a text did not fit.
    fn cut(self) -> String {
        shortened(&(self.0 + "…"), MAX_BYTES)
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(cause: E) -> Self {
        Self::retry(cause)
    }
}

/// The cause alone: whether to retry is for who runs the hook.
impl From<Error> for BoxError {
    fn from(error: Error) -> Self {
        error.cause
    }
}

/// See the conversion above.
impl From<Error> for Box<dyn StdError> {
    fn from(error: Error) -> Self {
        error.cause
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(&format!("{:?}", self.class)).field(&self.cause).finish()
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
    fn a_question_mark_boxes_the_cause() {
        fn hook() -> Result<(), Error> {
            Err(Error::reject(std::fmt::Error))
        }
        fn local() -> Result<(), Box<dyn StdError>> {
            Ok(hook()?)
        }
        fn shared() -> Result<(), BoxError> {
            Ok(hook()?)
        }
        assert!(local().unwrap_err().is::<std::fmt::Error>());
        assert!(shared().unwrap_err().is::<std::fmt::Error>());
    }

    #[test]
    fn the_chain_names_every_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("reading the table")]
        struct Outer(#[source] std::fmt::Error);
        let error = Error::retry(Outer(std::fmt::Error));
        assert_eq!(error.chain(), "reading the table: an error occurred when formatting an argument");
    }

    #[test]
    fn a_chain_is_bounded() {
        let exact = "é".repeat(MAX_BYTES / 2);
        assert_eq!(Error::retry(exact.clone()).chain(), exact);
        let cut = Error::retry(exact + "é").chain();
        assert!(cut.len() <= MAX_BYTES && cut.ends_with("é…"), "{}", cut.len());
        let cut = Error::retry("x".repeat(MAX_BYTES + 1)).chain();
        assert_eq!(cut.len(), MAX_BYTES);
    }

    #[test]
    fn a_chain_quotes_no_json() {
        let json = serde_json::from_str::<u8>("\"MARKER\"").unwrap_err();
        assert_eq!(Error::from(json).chain(), "the JSON is of another type");
        let json = serde_json::from_str::<Vec<u8>>("[1").unwrap_err();
        assert!(Error::from(json).chain().starts_with("EOF while parsing"));
    }
}
