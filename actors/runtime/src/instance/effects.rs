//! What an instance's actor sends its meeting.

use std::sync::{Arc, atomic::AtomicU64};

use teammy_kernel::{
    Payload, Seq, Timestamp, TraceContext,
    log::{Effects, Slot},
};

/// The number of an instance's actor: each restart starts the next incarnation. The meeting drops what an
/// earlier one sends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Incarnation(pub(crate) u64);

/// An output that has no seq yet.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) payload: Payload,
    /// The participant whom its packet names.
    pub(crate) participant: Option<Arc<str>>,
    /// The packets that it came from.
    pub(crate) causes: Vec<Seq>,
    /// The latest timestamp of its causes.
    pub(crate) timestamp: Timestamp,
    /// Where its hook is in a trace.
    pub(crate) trace: Option<TraceContext>,
}

/// The effects of one or more hooks, on their way into the log. Cursor, state, keys, outputs and dead letters
/// are committed together or not at all.
#[derive(Debug)]
pub(crate) struct SubmittedEffects {
    pub(crate) slot: Slot,
    pub(crate) incarnation: Incarnation,
    /// All but the outputs, which the meeting adds once they have seqs.
    pub(crate) effects: Effects,
    pub(crate) outputs: Vec<Output>,
}

/// The seq of the packet that a hook runs on, 0 while none does. The meeting reads it when the actor is gone.
pub(crate) type CurrentSeq = Arc<AtomicU64>;
