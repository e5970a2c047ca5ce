//! Why a connection is closed.

use axum::extract::ws::{CloseFrame, Utf8Bytes};
use tokio_tungstenite::tungstenite::Error;

/// Why a connection is closed, as its close code says: 1000 to 1015 as in RFC 6455 and its registry, 4000 and above our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closing {
    /// The meeting has ended, and everything was sent.
    Ended,
    /// The client closed it, or is gone.
    Gone,
    /// The node stops: come back, to this node or another, from the last seq.
    Again,
    /// A frame is larger than is read.
    TooLarge,
    /// A frame that is no message.
    Malformed,
    /// The meeting cannot be read further now: come back.
    Broken,
    /// The key or token has ended.
    KeyEnded,
    /// Nothing came for a minute.
    Silent,
}

impl Closing {
    /// Why a connection whose frames cannot be read is closed.
    pub(super) fn of(error: axum::Error) -> Self {
        match error.into_inner().downcast_ref() {
            Some(Error::Capacity(_)) => Self::TooLarge,
            Some(Error::Protocol(_) | Error::Utf8(_)) => Self::Malformed,
            _ => Self::Gone,
        }
    }

    pub(super) fn frame(self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            Self::Gone => return None,
            Self::Ended => (1000, "end"),
            Self::Again => (1012, "again"),
            Self::TooLarge => (1009, "too-large"),
            Self::Malformed => (1007, "malformed"),
            Self::Broken => (1011, "broken"),
            Self::KeyEnded => (4401, "key-ended"),
            Self::Silent => (4408, "silent"),
        };
        Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) })
    }
}
