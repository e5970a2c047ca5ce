//! Reads a meeting's JSON; errors never quote it.
//!
//! serde's messages quote the unexpected value, which may be what somebody said, or megabytes of it. Messages
//! end up in logs, in dead letters and before people who may not know the meeting's content. So JSON that is
//! not of the expected type is read once more by `explain`, which reports the path, the expectation and the
//! *kind* of value that was found. A path consists of indices and of keys that the type declares; keys of
//! maps are data and show as `*`.
//!
//! Messages of a type's own `Deserialize` (by `Error::custom`) are left out, as they may quote the value too.

mod explain;

use std::fmt;

use serde::{Deserialize, Serialize};

use explain::Problem;

use crate::error_classes;

/// Why JSON is not of the type asked for: the path, what was expected there and which kind of value was
/// found. The error holds no part of the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    path: String,
    problem: Problem,
    column: usize,
}

impl DecodeError {
    /// What is wrong, without the path.
    pub(crate) fn problem(&self) -> String {
        self.problem.to_string()
    }

    /// The column at which the parser stopped, in bytes from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// The path, such as `actions[1].name`, counted from 0; empty for the value as a whole. A map's key shows
    /// as `*`.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for DecodeError {}

/// Reads JSON.
///
/// # Errors
/// [`DecodeError`] if the text isn't JSON, or not of the type.
pub fn json<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, DecodeError> {
    serde_json::from_str(text).map_err(|error| {
        let (path, problem) = explain::why_not::<T>(text, &error);
        DecodeError { path, problem, column: error.column() }
    })
}

/// Why a value has no JSON form: one of serde's fixed messages, without any part of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EncodeError(&'static str);

impl EncodeError {
    pub(crate) const MALFORMED: Self = Self("its Serialize writes no JSON");
}

error_classes!(DecodeError { _ => "json-of-another-type" Invalid, });
error_classes!(EncodeError { _ => "no-json-form" Invalid, });

impl From<serde_json::Error> for EncodeError {
    fn from(error: serde_json::Error) -> Self {
        const KNOWN: [&str; 2] = ["key must be a string", "float key must be finite (got NaN or +/-inf)"];
        let message = error.to_string();
        let known = KNOWN.into_iter().find(|known| message == *known);
        Self(known.unwrap_or("its Serialize failed"))
    }
}

/// Writes JSON.
///
/// # Errors
/// [`EncodeError`] if the value has no JSON form, such as a map whose keys are not strings.
pub fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String, EncodeError> {
    Ok(serde_json::to_string(value)?)
}

#[cfg(test)]
mod tests;
