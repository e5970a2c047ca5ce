//! What a node does with what other nodes ask of it.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};
use teammy_kernel::{MeetingId, TraceContext, store::Incarnation};

/// A call from one node to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The meeting that it is for, if it is for one.
    pub meeting: Option<MeetingId>,
    /// The ownership that the caller knows of; 0 if none.
    pub epoch: u64,
    /// Whether calls of this kind that one node makes for one meeting are handled one after the other, in the order in which they
    /// were made. Others are handled at the same time.
    pub is_ordered: bool,
    /// The trace that it belongs to.
    pub trace: Option<TraceContext>,
    /// What is asked.
    pub body: Bytes,
}

/// The answer to a call that opens a stream: a first answer, and the items, if it was opened.
pub struct Opening {
    /// The answer.
    pub body: Bytes,
    /// The items; none where the answer is all.
    pub items: Option<BoxStream<'static, Bytes>>,
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").field("opened", &self.items.is_some()).finish_non_exhaustive()
    }
}

/// Answers calls. It never fails: errors are part of answers.
pub trait Handler: fmt::Debug + Send + Sync + 'static {
    /// Answers a call.
    fn call(self: Arc<Self>, from: Incarnation, call: Call) -> BoxFuture<'static, Bytes>;

    /// Answers a call that opens a stream. Dropping the items ends it.
    fn open(self: Arc<Self>, from: Incarnation, call: Call) -> BoxFuture<'static, Opening>;
}
