//! An instance in a meeting: an actor that runs a plugin's hooks over the batches that the meeting sends.
//!
//! The meeting supervises it; it runs on the plugins' own runtime. It gets one batch at a time (its credit) and
//! submits what the hooks made as [`SubmittedEffects`]. It retries a hook that errs. A hook that panics ends
//! the actor, and the meeting starts the next one from the newest submitted state.
//!
//! It knows its meeting only as a [`MeetingPort`].
//!
//! # Invariants
//! * A hook's effects are submitted after the hook ended well, never before.
//! * Hooks that end without waiting share one submission. Before the actor waits for anything, it submits what
//!   is finished.
//! * If a batch moved nothing but the cursor, the actor sets the [`Completion`] flag and sends no message,
//!   unless the meeting asked for one.

mod activity;
mod actor;
mod completion;
#[cfg(test)]
mod completion_tests;
mod effects;
mod history;
mod hook_trace;
mod meeting_port;
mod models;
mod outbox;
mod overlay;
mod recorder;
mod routes;
mod run_context;
mod runner;
mod stopwatch;

pub(crate) use activity::{HookActivity, HookPhase, RunningHook};
pub(crate) use actor::{Args, InstanceActor, Message};
pub(crate) use completion::Completion;
pub(crate) use effects::{CurrentSeq, Incarnation, Output, SubmittedEffects};
pub(crate) use meeting_port::MeetingPort;
pub(crate) use outbox::Outbox;
pub(crate) use overlay::Overlay;
pub use recorder::InstanceStats;
pub(crate) use recorder::{Counts, Recorder};
pub(crate) use routes::Routes;
