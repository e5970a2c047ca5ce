//! JSON of a meeting becomes a type, and what is wrong with it is told without a word of it.
//!
//! serde's messages quote the value that they didn't expect, which may be what somebody said, or megabytes of
//! it. They end in logs, in dead letters and in front of people who have no business with the meeting. So
//! where JSON isn't of a type, it is read once more by `explain`, which tells the place, what was expected
//! there and what *kind* of value was found. A place is made of positions and of keys that stand in the type;
//! keys of maps are data and show as `*`.
//!
//! What a type's own `Deserialize` says (by `Error::custom`) is left out, as it may quote the value too.

mod explain;

use std::fmt;

use serde::{Deserialize, Serialize};

use explain::Problem;

/// Why JSON is not of the type asked for: where, what was expected and what kind of value was found; nothing
/// that it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    path: String,
    problem: Problem,
    column: usize,
}

impl DecodeError {
    /// What is wrong there, without the place.
    pub(crate) fn problem(&self) -> String {
        self.problem.to_string()
    }

    /// The column at which the parser gave up, in bytes from 1.
    pub fn column(&self) -> usize {
        self.column
    }

    /// Where it is, such as `actions[1].name`, counted from 0; empty for the value as a whole. A map's key
    /// shows as `*`.
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
/// [`DecodeError`] if it isn't JSON, or not of the type.
pub fn json<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, DecodeError> {
    serde_json::from_str(text).map_err(|error| {
        let (path, problem) = explain::why_not::<T>(text, &error);
        DecodeError { path, problem, column: error.column() }
    })
}

/// Why a value has no JSON form: what serde says by itself, and nothing that the value holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EncodeError(&'static str);

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
