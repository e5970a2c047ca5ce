//! Effects that hooks have finished and the meeting has not got yet.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use teammy_kernel::{
    Durability, KeyValue, Seq, Timestamp,
    log::{Effects, Slot},
    plugin::StateRef,
    store::DeadLetter,
    write_cost,
};

use super::{
    completion::Completion,
    effects::{Incarnation, Output, SubmittedEffects},
    meeting_port::MeetingPort,
    overlay::Overlay,
};

/// The effects of one hook, but its outputs.
pub(super) struct HookEffects {
    pub(super) cursor: Seq,
    /// The newest state, if it changed.
    pub(super) state: Option<StateRef>,
    pub(super) keys: Vec<KeyValue>,
    pub(super) dead_letters: Vec<DeadLetter>,
    /// The packet, if it was a redriven one.
    pub(super) redriven: Option<Seq>,
    /// Whether they are those of the meeting's end.
    pub(super) is_end: bool,
}

/// How the meeting learns of a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notified {
    /// It finds the completion flag when it runs next.
    Deferred,
    /// It was driven, and may have sent other instances messages from this thread.
    Woken,
}

#[derive(Default)]
struct EffectsBuffer {
    cursor: Seq,
    state: Option<StateRef>,
    keys: Vec<KeyValue>,
    outputs: Vec<Output>,
    dead_letters: Vec<DeadLetter>,
    redriven: Option<Seq>,
    holds_end: bool,
    is_awaited: bool,
    /// Bytes of outputs and keys.
    bytes: usize,
}

impl EffectsBuffer {
    fn is_empty(&self) -> bool {
        self.cursor == Seq::ZERO
    }

    fn moves_only_the_cursor(&self) -> bool {
        self.state.is_none()
            && self.keys.is_empty()
            && self.outputs.is_empty()
            && self.dead_letters.is_empty()
            && self.redriven.is_none()
            && !self.is_awaited
    }
}

/// Collects effects and submits them together. The datastore's provider shares it, because a hook that reads
/// history must see the effects of earlier hooks.
pub(crate) struct Outbox {
    meeting: Arc<dyn MeetingPort>,
    slot: Slot,
    incarnation: Incarnation,
    /// Whether the instance's outputs are stored.
    durability: Durability,
    overlay: Arc<Overlay>,
    completion: Arc<Completion>,
    buffer: Mutex<EffectsBuffer>,
    /// The newest cursor that was pushed or submitted.
    cursor: AtomicU64,
    /// How many outputs were pushed since they were last counted.
    outputs: AtomicU64,
}

impl Outbox {
    /// Effects are submitted early once they hold this many bytes, because they are stored in one piece.
    const LARGE: usize = 1 << 20;

    pub(crate) fn new(
        meeting: Arc<dyn MeetingPort>,
        slot: Slot,
        incarnation: Incarnation,
        durability: Durability,
        overlay: Arc<Overlay>,
        completion: Arc<Completion>,
        cursor: Seq,
    ) -> Self {
        let (buffer, outputs) = (Mutex::default(), AtomicU64::new(0));
        let cursor = AtomicU64::new(cursor.0);
        Self { meeting, slot, incarnation, durability, overlay, completion, buffer, cursor, outputs }
    }

    pub(super) fn meeting(&self) -> &dyn MeetingPort {
        &*self.meeting
    }

    /// Tells the meeting when the instance's next timer is due.
    pub(super) fn wake_at(&self, at: Option<Timestamp>) {
        self.meeting.wake_at(self.slot, self.incarnation, at);
    }

    pub(super) fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// Adds the effects of a hook.
    pub(super) fn push(&self, effects: HookEffects, outputs: impl Iterator<Item = Output>) {
        let mut guard = self.buffer.lock();
        let buffer = &mut *guard;
        let before = buffer.outputs.len();
        buffer.outputs.extend(outputs);
        let outputs = &buffer.outputs[before..];
        buffer.bytes += outputs.iter().map(|output| output.payload.len()).sum::<usize>();
        self.outputs.fetch_add(outputs.len() as u64, Ordering::Relaxed);
        buffer.bytes += effects.keys.iter().map(write_cost).sum::<usize>();
        buffer.cursor = effects.cursor;
        self.cursor.fetch_max(effects.cursor.0, Ordering::Relaxed);
        buffer.state = effects.state.or(buffer.state.take());
        buffer.keys.extend(effects.keys);
        buffer.dead_letters.extend(effects.dead_letters);
        buffer.redriven = effects.redriven.or(buffer.redriven);
        buffer.holds_end |= effects.is_end;
        let large = (buffer.bytes >= Self::LARGE).then(|| std::mem::take(buffer));
        drop(guard);
        if let Some(large) = large {
            self.submit(large, None, false);
        }
    }

    /// Submits writes of the runtime's own keys while a hook runs, which goes on with what was finished before it. With
    /// `is_awaited` they are stored as soon as can be.
    pub(super) fn submit_keys(&self, keys: Vec<KeyValue>, is_awaited: bool) {
        let mut guard = self.buffer.lock();
        let mut buffer = std::mem::take(&mut *guard);
        drop(guard);
        buffer.cursor = buffer.cursor.max(Seq(self.cursor.load(Ordering::Relaxed)));
        buffer.keys.extend(keys);
        buffer.is_awaited |= is_awaited;
        self.submit(buffer, None, false);
    }

    /// How many outputs were pushed since this was last asked.
    pub(super) fn take_output_count(&self) -> u64 {
        self.outputs.swap(0, Ordering::Relaxed)
    }

    /// Submits what was pushed, if anything was.
    pub(super) fn flush(&self) {
        let buffer = std::mem::take(&mut *self.buffer.lock());
        if !buffer.is_empty() {
            self.submit(buffer, None, false);
        }
    }

    /// Submits what was pushed, with a newer cursor and a newer state if there is one. With `done` the batch
    /// is finished.
    pub(super) fn flush_up_to(&self, cursor: Seq, state: Option<StateRef>, done: bool) -> Notified {
        self.cursor.fetch_max(cursor.0, Ordering::Relaxed);
        let buffer = std::mem::take(&mut *self.buffer.lock());
        self.submit(EffectsBuffer { cursor, ..buffer }, state, done)
    }

    fn submit(&self, buffer: EffectsBuffer, state: Option<StateRef>, done: bool) -> Notified {
        if done {
            let moves_only_the_cursor = state.is_none() && buffer.moves_only_the_cursor();
            if moves_only_the_cursor && self.completion.set(buffer.cursor) {
                return Notified::Deferred;
            }
            self.completion.clear();
        }
        self.overlay.submitted(&buffer.keys);
        let effects = Effects {
            cursor: buffer.cursor,
            state: state.or(buffer.state),
            keys: buffer.keys,
            outputs: Vec::new(),
            output: self.durability,
            dead_letters: buffer.dead_letters,
            redriven: buffer.redriven,
            holds_end: buffer.holds_end,
            is_awaited: buffer.is_awaited,
            done,
        };
        let (slot, incarnation, outputs) = (self.slot, self.incarnation, buffer.outputs);
        self.meeting.submit(SubmittedEffects { slot, incarnation, effects, outputs });
        Notified::Woken
    }
}
