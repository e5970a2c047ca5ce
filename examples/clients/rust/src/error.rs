//! What goes wrong, and what it means for the packet or the request that it went wrong with.

use std::time::Duration;

use serde::Deserialize;
use teammy_kernel::Seq;

use crate::digits::Digits;

/// Any error.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Codes of problems that pass although they are of kinds that do not: the meeting is not at this node now, and will be once it
/// is resumed, here or behind the same address.
const ELSEWHERE: [&str; 3] = ["gone", "not-running", "shut-down"];

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL is not one of a node, or cannot hold the meeting's id.
    #[error("cannot use {0:?} in the URL of a node; give one such as http://localhost:7600")]
    Url(String),
    /// The key holds characters that a header cannot hold.
    #[error("the key holds characters that a header cannot hold")]
    Key,
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client")]
    Setup(#[source] Cause),
    /// No connection could be made: the request was not sent.
    #[error("cannot reach the node")]
    Unreachable(#[source] Cause),
    /// The request may have been carried out or not: it was sent, and no answer came, or not all of it.
    #[error("no answer came, so whether the request was carried out is unknown")]
    Unknown(#[source] Cause),
    /// The node says what is wrong, as a problem document.
    #[error("{title} ({code})")]
    #[non_exhaustive]
    Problem {
        /// The HTTP status.
        status: u16,
        /// Words with hyphens, which do not change. `http-` and the status if something before the node answered.
        code: String,
        /// What is wrong, and what to do about it.
        title: String,
        /// Whether the same request may succeed later.
        can_retry: bool,
        /// The number that the meeting expects next of the producer, if that is what is wrong.
        next: Option<u64>,
        /// How long to wait before the next try.
        retry_after: Option<Duration>,
    },
    /// The meeting lacks numbers before this one. It had them, and its node died before they were stored. Publish those packets
    /// again, in their order, and then this one; the producer goes on with `next`. A [durable](crate::Producer::durable)
    /// producer does not lose packets.
    #[error(
        "the meeting expects number {next} of producer {producer}, not {number}: those before are lost with their node"
    )]
    Gap {
        /// The producer's id.
        producer: String,
        /// The first number that is missing: the producer's next one.
        next: u64,
        /// The number of the packet.
        number: u64,
    },
    /// Something else has published under this number, so two use one producer's id at a time; or a proxy has sent the request
    /// twice, and the packet is there.
    #[error(
        "number {number} of producer {producer} is taken, by packet {seq}: does another program use the id?"
    )]
    Taken {
        /// The producer's id.
        producer: String,
        /// The number.
        number: u64,
        /// The packet that has the number.
        seq: Seq,
    },
    /// A stream of events broke off. Only given if coming back was given up.
    #[error("the stream of events ended: {0}")]
    Stream(String),
    /// The answer is not one that the API gives.
    #[error("cannot read {what}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
}

/// The members of a problem document that are read.
#[derive(Deserialize)]
pub(crate) struct Document {
    #[serde(default)]
    status: u16,
    title: String,
    code: String,
    #[serde(default)]
    can_retry: bool,
    #[serde(default)]
    next: Option<Digits>,
}

impl Document {
    pub(crate) fn into_error(self, retry_after: Option<Duration>) -> Error {
        let Self { status, title, code, can_retry, next } = self;
        Error::Problem { status, code, title, can_retry, next: next.map(|next| next.0), retry_after }
    }
}

impl Error {
    /// The error of an answer that is no success.
    pub(crate) fn of_answer(status: u16, body: &[u8], retry_after: Option<Duration>) -> Self {
        match serde_json::from_slice::<Document>(body) {
            Ok(document) => Document { status, ..document }.into_error(retry_after),
            // A proxy before the node answered.
            Err(_) => Self::Problem {
                status,
                code: format!("http-{status}"),
                title: format!("status {status}, and no word of the node on it"),
                can_retry: matches!(status, 408 | 429 | 502..=504),
                next: None,
                retry_after,
            },
        }
    }

    pub(crate) fn malformed(what: &'static str, source: impl Into<Cause>) -> Self {
        Self::Malformed { what, source: source.into() }
    }

    /// Whether the same request may succeed later, although nothing is changed.
    pub fn can_retry(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Unknown(_) | Self::Stream(_) => true,
            Self::Problem { can_retry, code, .. } => *can_retry || ELSEWHERE.contains(&code.as_str()),
            _ => false,
        }
    }

    /// Whether another node of the cluster may do better: this one is away, stops, or does not reach the meeting.
    pub(crate) fn is_of_node(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Unknown(_) | Self::Stream(_) => true,
            Self::Problem { status, code, .. } => {
                self.can_retry() && (*status >= 500 || ELSEWHERE.contains(&code.as_str()))
            }
            _ => false,
        }
    }

    /// Whether the request may have been carried out nevertheless.
    pub(crate) fn may_be_done(&self) -> bool {
        match self {
            Self::Unknown(_) => true,
            // A packet may be accepted, and its storing fail.
            Self::Problem { status, code, .. } => *status >= 500 || *status == 408 || code == "gone",
            _ => false,
        }
    }

    /// How long the node asks to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Problem { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_whether_to_try_again_and_whether_it_may_be_done() {
        let document = |code: &str, can_retry| {
            format!(r#"{{"status":1,"title":"t","code":"{code}","can_retry":{can_retry}}}"#)
        };
        for (status, body, can_retry, may_be_done, is_of_node) in [
            (429, document("busy", true), true, false, false),
            (503, document("store-away", true), true, true, true),
            (410, document("ended", false), false, false, false),
            (410, document("gone", false), true, true, true),
            (409, document("not-running", false), true, false, true),
            (422, document("unknown-source", false), false, false, false),
            (500, document("internal", false), false, true, false),
            (502, "<html>".to_owned(), true, true, true),
            (504, String::new(), true, true, true),
            (429, "slow down".to_owned(), true, false, false),
            (404, "<html>".to_owned(), false, false, false),
            (302, String::new(), false, false, false),
        ] {
            let error = Error::of_answer(status, body.as_bytes(), None);
            let found = (error.can_retry(), error.may_be_done(), error.is_of_node());
            assert_eq!(found, (can_retry, may_be_done, is_of_node), "{status} {body}");
        }
    }

    #[test]
    fn next_is_a_number_or_its_digits() {
        for next in ["7", r#""7""#] {
            let body = format!(r#"{{"title":"t","code":"number-gap","next":{next}}}"#);
            let error = Error::of_answer(409, body.as_bytes(), None);
            assert!(matches!(error, Error::Problem { status: 409, next: Some(7), .. }), "{error:?}");
        }
    }
}
