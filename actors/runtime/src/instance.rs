//! An instance in a meeting: an actor that runs a plugin's hooks over the batches that the meeting sends it.
//!
//! Supervised by the meeting; runs on the plugins' own runtime. It gets [`Message::Deliver`] against its one
//! credit and answers with hand-ons. A hook that errs is tried again here; one that panics takes the actor
//! with it, and the meeting starts the next one from the newest state handed on.
//!
//! # Invariants
//! * What a hook made is handed on after it ended well, never before.
//! * Hooks that end at once share a hand-on with those before them; before the actor waits for anything, it
//!   hands on what is finished.
//! * A batch of which nothing came but the cursor is done without a message, unless the meeting waits for
//!   one.

mod activity;
mod actor;
mod completion;
mod outbox;
mod overlay;
mod retry;
mod stopwatch;
mod store;

use std::sync::Arc;

use teammy_kernel::{Payload, Seq, Timestamp, log::Batch};

pub(crate) use activity::{HookActivity, HookPhase, RunningHook};
pub(crate) use actor::{Args, PluginActor, Routes};
pub(crate) use completion::Completion;
pub(crate) use outbox::Outbox;
pub(crate) use overlay::Overlay;
pub(crate) use retry::RetryPolicy;
pub(crate) use stopwatch::Lap;

/// What an instance's actor is told.
pub(crate) enum Message {
    /// Run the hooks on these.
    Deliver(Batch),
}

impl ractor::Message for Message {}

/// An output, before the log gives it a place.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) payload: Payload,
    pub(crate) causes: Vec<Seq>,
    /// The latest of its causes'.
    pub(crate) timestamp: Timestamp,
}

/// The seq of the packet that a hook runs on, 0 while none does: what the meeting reads when the actor is
/// gone.
pub(crate) type CurrentSeq = Arc<std::sync::atomic::AtomicU64>;
