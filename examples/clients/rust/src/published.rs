//! What the API answers of a packet.

use serde::Deserialize;
use teammy_kernel::Seq;

use crate::{
    digits,
    error::{Document, Error},
};

/// A packet that the meeting has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Its seq.
    pub seq: Seq,
    /// Whether the meeting had it before: an earlier try had arrived.
    pub duplicate: bool,
}

impl Published {
    pub(crate) fn new(seq: Seq, duplicate: bool) -> Self {
        Self { seq, duplicate }
    }
}

/// The result of one packet.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Published {
        #[serde(deserialize_with = "digits::seq")]
        seq: Seq,
        duplicate: bool,
    },
    Failed {
        problem: Document,
    },
}

/// Reads the result of one packet.
pub(crate) fn read(json: &[u8]) -> Result<Published, Error> {
    match serde_json::from_slice(json) {
        Ok(Answer::Published { seq, duplicate }) => Ok(Published::new(seq, duplicate)),
        Ok(Answer::Failed { problem }) => Err(problem.into_error(None)),
        Err(error) => Err(Error::malformed("the result of a packet", error)),
    }
}
