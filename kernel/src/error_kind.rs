//! What programs need to know about an error: a code that does not change, a kind, and whether to try again.
//!
//! Each public error answers `code()`, `kind()` and `can_retry()`. An error that passes on another one, such as
//! a node's error that holds a meeting's, answers as the inner one does. So a code means the same wherever it
//! comes from, and has one kind.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an error means to a caller. The HTTP statuses are suggestions for a backend that answers requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// What the call names does not exist: a meeting, a source, an instance. HTTP 404.
    NotFound,
    /// What the call names is in a state that does not allow it: it exists already, is suspended, runs
    /// elsewhere. HTTP 409.
    Conflict,
    /// There is no room now, or something must end first. The same call succeeds once that has passed. HTTP 429.
    Busy,
    /// The call or the configuration is wrong: the caller has to change something. HTTP 400.
    Invalid,
    /// It was there and is over: a meeting has ended, or this node no longer runs it. The same handle will
    /// never work again. A meeting that is `gone` may be resumed, here or on another node. HTTP 410.
    Gone,
    /// Something that the call needs does not answer: the database, a language model, another node. The same
    /// call succeeds once that is back. HTTP 503.
    Unavailable,
    /// A failure that neither the caller nor time will mend; somebody must look. Programs read a kind that
    /// they don't know as this one. HTTP 500.
    #[serde(other)]
    Internal,
}

impl ErrorKind {
    /// All kinds, as this version knows them.
    pub const ALL: [Self; 7] = [
        Self::NotFound,
        Self::Conflict,
        Self::Busy,
        Self::Invalid,
        Self::Gone,
        Self::Unavailable,
        Self::Internal,
    ];

    /// Whether the same call may succeed later although the caller changes nothing: the kinds
    /// [`Busy`](Self::Busy) and [`Unavailable`](Self::Unavailable).
    pub const fn can_retry(self) -> bool {
        matches!(self, Self::Busy | Self::Unavailable)
    }

    /// The HTTP status that means the same.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Busy => 429,
            Self::Invalid => 400,
            Self::Gone => 410,
            Self::Unavailable => 503,
            Self::Internal => 500,
        }
    }

    /// The name, as in JSON: `not-found`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::Busy => "busy",
            Self::Invalid => "invalid",
            Self::Gone => "gone",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error's code and kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorClass {
    code: &'static str,
    kind: ErrorKind,
}

impl ErrorClass {
    /// A class. Codes are words in lower case with hyphens between them.
    pub const fn new(code: &'static str, kind: ErrorKind) -> Self {
        Self { code, kind }
    }

    /// The code: words in lower case with hyphens between them, which do not change.
    pub const fn code(self) -> &'static str {
        self.code
    }

    /// The kind.
    pub const fn kind(self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later; see [`ErrorKind::can_retry`].
    pub const fn can_retry(self) -> bool {
        self.kind.can_retry()
    }
}

/// Gives an error type its `code()`, `kind()` and `can_retry()`, from one table. For Teammy's own crates.
///
/// Each line is a pattern, its code and its kind. A pattern behind `else` is followed by the class of the error that it passes on.
/// `CLASSES` lists the table, so that a test finds every code.
#[doc(hidden)]
#[macro_export]
macro_rules! error_classes {
    (
        $type:ty { $($pattern:pat => $code:literal $kind:ident,)* }
        $(else { $($passed_on:pat => $class:expr,)+ })?
    ) => {
        impl $type {
            /// The classes of the errors of this type, without those that it passes on.
            #[doc(hidden)]
            pub const CLASSES: &'static [$crate::ErrorClass] =
                &[$($crate::ErrorClass::new($code, $crate::ErrorKind::$kind)),*];

            /// The code: words in lower case with hyphens between them, which do not change.
            pub fn code(&self) -> &'static str {
                self.class().code()
            }

            /// What the error means to a caller.
            pub fn kind(&self) -> $crate::ErrorKind {
                self.class().kind()
            }

            /// Whether the same call may succeed later although the caller changes nothing; see
            #[doc = "[`ErrorKind::can_retry`]($crate::ErrorKind::can_retry)."]
            pub fn can_retry(&self) -> bool {
                self.class().can_retry()
            }

            /// Code and kind.
            #[allow(clippy::match_single_binding)]
            pub fn class(&self) -> $crate::ErrorClass {
                match self {
                    $($pattern => $crate::ErrorClass::new($code, $crate::ErrorKind::$kind),)*
                    $($($passed_on => $class,)+)?
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_display_have_one_name() {
        for kind in ErrorKind::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
            assert_eq!(serde_json::from_str::<ErrorKind>(&format!("\"{kind}\"")).unwrap(), kind);
        }
        assert_eq!(serde_json::from_str::<ErrorKind>("\"of-a-later-version\"").unwrap(), ErrorKind::Internal);
    }

    #[test]
    fn only_what_passes_by_itself_can_be_retried() {
        let retried: Vec<_> = ErrorKind::ALL.into_iter().filter(|kind| kind.can_retry()).collect();
        assert_eq!(retried, [ErrorKind::Busy, ErrorKind::Unavailable]);
    }
}
