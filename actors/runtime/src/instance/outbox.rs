//! What an instance's hooks have made and the meeting has not been told yet.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use ractor::ActorRef;
use teammy_kernel::{
    Datastore, Durability, KeyValue, Seq,
    log::{Effects, Slot},
    plugin::StateRef,
    store::DeadLetter,
};

use super::{Completion, Output, Overlay};
use crate::meeting::{
    MeetingShared,
    message::{Incarnation, Message, SubmittedEffects},
};

/// What one hook made.
pub(crate) struct HookEffects {
    pub(crate) cursor: Seq,
    pub(crate) state: Option<StateRef>,
    pub(crate) keys: Vec<KeyValue>,
    pub(crate) output: Option<Output>,
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// The packet, if it is one that was given up before.
    pub(crate) redriven: Option<Seq>,
}

/// How a meeting hears of what was handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notified {
    /// It finds it when it looks next.
    Deferred,
    /// It was called, and may have sent other instances something from this thread.
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
    bytes: usize,
}

impl EffectsBuffer {
    fn is_empty(&self) -> bool {
        self.cursor == Seq::ZERO
    }

    fn has_nothing_but_a_cursor(&self) -> bool {
        self.state.is_none()
            && self.keys.is_empty()
            && self.outputs.is_empty()
            && self.dead_letters.is_empty()
            && self.redriven.is_none()
    }
}

/// Collects what hooks make and hands it on as one unit. MeetingShared with the datastore's provider, because a hook
/// that reads history must see what the hooks before it made.
pub(crate) struct Outbox {
    shared: Arc<MeetingShared>,
    pub(crate) meeting: ActorRef<Message>,
    pub(crate) slot: Slot,
    pub(crate) incarnation: Incarnation,
    pub(crate) output: Durability,
    pub(crate) overlay: Arc<Overlay>,
    completion: Arc<Completion>,
    pending: Mutex<EffectsBuffer>,
    /// How many outputs were put in since they were last counted.
    outputs: AtomicU64,
}

impl Outbox {
    pub(crate) fn new(
        shared: Arc<MeetingShared>,
        meeting: ActorRef<Message>,
        slot: Slot,
        incarnation: Incarnation,
        output: Durability,
        overlay: Arc<Overlay>,
        completion: Arc<Completion>,
    ) -> Self {
        let (pending, outputs) = (Mutex::default(), AtomicU64::new(0));
        Self { shared, meeting, slot, incarnation, output, overlay, completion, pending, outputs }
    }

    /// Adds what a hook made. What is here is one unit, and a unit is stored in one piece: so it is handed on
    /// before it grows large.
    pub(crate) fn push(&self, made: HookEffects) {
        const LARGE: usize = 1 << 20;
        self.outputs.fetch_add(u64::from(made.output.is_some()), Ordering::Relaxed);
        let mut guard = self.pending.lock();
        let pending = &mut *guard;
        pending.bytes += made.output.as_ref().map_or(0, |output| output.payload.len());
        pending.bytes += made.keys.iter().map(Datastore::cost).sum::<usize>();
        pending.cursor = made.cursor;
        pending.state = made.state.or(pending.state.take());
        pending.keys.extend(made.keys);
        pending.outputs.extend(made.output);
        pending.dead_letters.extend(made.dead_letters);
        pending.redriven = made.redriven.or(pending.redriven);
        let large = (pending.bytes >= LARGE).then(|| std::mem::take(pending));
        drop(guard);
        if let Some(large) = large {
            self.send(large, None, false);
        }
    }

    /// How many outputs were put in since this was last asked.
    pub(crate) fn take_count(&self) -> u64 {
        self.outputs.swap(0, Ordering::Relaxed)
    }

    /// Hands on what is here, if anything is.
    pub(crate) fn flush(&self) {
        let made = std::mem::take(&mut *self.pending.lock());
        if !made.is_empty() {
            self.send(made, None, false);
        }
    }

    /// Hands on what is here, up to a cursor and with the newest state if it is newer than what is here. Says
    /// how.
    pub(crate) fn flush_up_to(&self, cursor: Seq, state: Option<StateRef>, done: bool) -> Notified {
        let made = std::mem::take(&mut *self.pending.lock());
        self.send(EffectsBuffer { cursor, ..made }, state, done)
    }

    fn send(&self, made: EffectsBuffer, state: Option<StateRef>, done: bool) -> Notified {
        if done {
            let is_nothing = state.is_none() && made.has_nothing_but_a_cursor();
            if is_nothing && self.completion.leave(made.cursor) {
                return Notified::Deferred;
            }
            self.completion.told();
        }
        self.overlay.handed_on(&made.keys);
        let hand_on = Effects {
            cursor: made.cursor,
            state: state.or(made.state),
            keys: made.keys,
            outputs: Vec::new(),
            output: self.output,
            dead_letters: made.dead_letters,
            redriven: made.redriven,
            done,
        };
        // A meeting that is gone takes no hand-ons; this actor is about to be ended, too.
        let handed_on = SubmittedEffects {
            slot: self.slot,
            incarnation: self.incarnation,
            hand_on,
            outputs: made.outputs,
        };
        self.shared.handed_on.lock().push(handed_on);
        self.shared.call(&self.meeting);
        Notified::Woken
    }
}
