//! What crosses a link: frames, each with a header and raw bytes after it.
//!
//! ```text
//! frame:   length of the header (u16, little endian) · header · a part of a message's body
//! message: a frame of Kind::Message with the body's first part, then frames of Kind::Part with the others
//! ```
//!
//! The header is written by the kernel's `wire`, with its version byte first. Bodies are opaque here and never copied byte by byte.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use teammy_kernel::{
    MeetingId, TraceContext, shortened,
    store::Incarnation,
    wire::{self, Wire},
};

use crate::{handler::Call, member::Versions, transport::MAX_FRAME};

/// The layouts of frames that this build reads and writes.
pub const LAYOUTS: Versions = Versions { from: 1, to: 1 };

/// The largest body of a message, in bytes.
pub(crate) const MAX_BODY: usize = wire::LIMIT;

/// The most bytes of a body in one frame. Parts of several messages take turns.
pub(crate) const PART: usize = 256 << 10;

/// The longest reason that is told to a peer, in bytes.
pub(crate) const MAX_REASON: usize = 512;

/// What comes before a frame's bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The frame's number on its connection and in its direction, from 0.
    pub(crate) seq: u64,
    /// What the receiver of messages gives back to the window of the other side.
    pub(crate) credit: Credit,
    /// What it is.
    pub(crate) kind: Kind,
}

impl Wire for Header {
    const VERSION: u8 = 1;
}

/// Bytes that were taken, to be sent anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credit {
    /// Of calls.
    pub(crate) calls: u64,
    /// Of answers and items.
    pub(crate) replies: u64,
}

/// What a frame is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// The first frame in each direction.
    Hello(Hello),
    /// A heartbeat, with a number.
    Ping(u64),
    /// The answer to a heartbeat.
    Pong(u64),
    /// Only the header's credit.
    Credit,
    /// The sender waits for credit.
    Blocked,
    /// A message begins.
    Message(Head),
    /// The next part of the message of this number.
    Part(u64),
    /// The reader of a stream has taken bytes.
    StreamCredit {
        /// The call that opened it.
        stream: u64,
        /// How many.
        bytes: u64,
    },
    /// The reader of a stream wants no more, or whoever asked for it no answer.
    Cancel {
        /// The call that opened it.
        stream: u64,
    },
    /// The last frame, with a reason.
    Bye(String),
}

/// How a node introduces itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Who it is.
    pub(crate) incarnation: Incarnation,
    /// The layouts that it reads and writes.
    pub(crate) layouts: Versions,
    /// How many bytes of calls, and as many of answers and items, it holds before it has taken them.
    pub(crate) window: u64,
    /// How many bytes of each stream it holds before they are read.
    pub(crate) stream_window: u64,
}

/// How a message begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Its number among those of its sender.
    pub(crate) id: u64,
    /// The length of its body in bytes.
    pub(crate) bytes: u32,
    /// What it is.
    pub(crate) what: What,
}

/// What a message is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum What {
    /// A call.
    Call(Ask),
    /// A call that opens a stream.
    Open(Ask),
    /// The answer to a call.
    Answer {
        /// The call's number.
        call: u64,
    },
    /// There is no answer to a call: its handler panicked, or its answer was too large.
    Failed {
        /// The call's number.
        call: u64,
    },
    /// The answer to a call that opens a stream.
    Opened {
        /// The call's number.
        call: u64,
        /// Whether items and an end follow.
        has_items: bool,
    },
    /// An item.
    Item {
        /// The call that opened the stream.
        stream: u64,
    },
    /// The end of a stream.
    End {
        /// The call that opened it.
        stream: u64,
        /// Whether it failed before its end.
        has_failed: bool,
    },
}

/// A call without its body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// See [`Call::meeting`].
    pub(crate) meeting: Option<MeetingId>,
    /// See [`Call::epoch`].
    pub(crate) epoch: u64,
    /// See [`Call::is_ordered`].
    pub(crate) is_ordered: bool,
    /// See [`Call::trace`].
    pub(crate) trace: Option<TraceContext>,
}

impl Ask {
    /// A call apart from its body.
    pub(crate) fn of(call: Call) -> (Self, Bytes) {
        let Call { meeting, epoch, is_ordered, trace, body } = call;
        (Self { meeting, epoch, is_ordered, trace }, body)
    }

    /// The call with its body.
    pub(crate) fn with(self, body: Bytes) -> Call {
        let Self { meeting, epoch, is_ordered, trace } = self;
        Call { meeting, epoch, is_ordered, trace, body }
    }
}

/// Why a frame cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It is larger than [`MAX_FRAME`].
    #[error("it sent a frame of {0} bytes, more than {MAX_FRAME}")]
    TooLarge(usize),
    /// It ends within its header.
    #[error("it sent a frame that is cut off")]
    CutOff,
    /// The header has another layout, or none.
    #[error("it sent a frame that this node cannot read")]
    Header(#[source] wire::Error),
}

/// The layouts that both of two ranges have, of which the newest is used.
///
/// # Errors
/// A reason that names both.
pub(crate) fn agree(ours: Versions, theirs: Versions) -> Result<u32, String> {
    let newest = ours.to.min(theirs.to);
    if newest < ours.from.max(theirs.from) || theirs.from > theirs.to {
        return Err(format!(
            "it reads and writes layouts {} to {} on links, this node {} to {}",
            theirs.from, theirs.to, ours.from, ours.to
        ));
    }
    Ok(newest)
}

/// A reason as a peer is told it.
pub(crate) fn bye(reason: &str) -> Kind {
    Kind::Bye(shortened(reason, MAX_REASON))
}

/// Writes a frame.
pub(crate) fn write(header: &Header, body: &[u8]) -> Bytes {
    let head = wire::encode(header).expect("invariant: a header has a form in bincode");
    let length = u16::try_from(head.len()).expect("invariant: ids of meetings and reasons are short");
    let mut frame = BytesMut::with_capacity(2 + head.len() + body.len());
    frame.put_u16_le(length);
    frame.put_slice(&head);
    frame.put_slice(body);
    debug_assert!(frame.len() <= MAX_FRAME, "parts are smaller than frames");
    frame.freeze()
}

/// Reads a frame: its header, and the bytes after it.
///
/// # Errors
/// Those of [`Error`]; it never panics, whatever the bytes.
pub(crate) fn read(frame: &Bytes) -> Result<(Header, Bytes), Error> {
    if frame.len() > MAX_FRAME {
        return Err(Error::TooLarge(frame.len()));
    }
    let (length, rest) = frame.split_at_checked(2).ok_or(Error::CutOff)?;
    let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
    let head = rest.get(..length).ok_or(Error::CutOff)?;
    let header = wire::decode(head).map_err(Error::Header)?;
    Ok((header, frame.slice(2 + length..)))
}

#[cfg(test)]
mod tests;
