//! A meeting and its store: commits, reads for instances that are behind, and the release of the meeting.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use teammy_kernel::{
    DataPacket, chain,
    log::{Beside, Fetch, Slot, Snapshot},
    store::{self, InstanceStatus, MeetingStatus, Outcome, PacketQuery, Take},
};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{MeetingState, RELEASED};
use crate::{
    kill_points::{self, KillPoint},
    meeting::{
        error::Closed,
        message::{Event, Release},
    },
    persistence::{self, CommitReply},
};

/// How long to wait before a failed read of the store is retried.
pub(super) const RETRY_READ: Duration = Duration::from_millis(500);

impl MeetingState {
    /// Reads packets from the store for an instance. [`Event::Fetched`] brings them.
    pub(super) fn fetch(&self, slot: Slot, fetch: Fetch, wait: Duration) {
        let (store, myself, meeting) = (self.resources.store.clone(), self.myself.clone(), self.id().clone());
        self.runtime.spawn(async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let query = PacketQuery::range(fetch.from, fetch.to)
                .sources(fetch.sources.clone())
                .take(Take::First(fetch.limit));
            let read = AssertUnwindSafe(store.packets(meeting, query)).catch_unwind().await;
            let packets = read.unwrap_or_else(|_| Err(persistence::panicked("reading packets")));
            let _ = myself.cast(Event::Fetched { slot, fetch, packets }.into());
        });
    }

    pub(super) fn fetched(
        &mut self,
        slot: Slot,
        fetch: &Fetch,
        packets: Result<Vec<Arc<DataPacket>>, store::Error>,
    ) {
        if !self.releasing.is_empty() {
            return self.log.fetch_failed(slot);
        }
        match packets {
            Ok(packets) => {
                let delivery = self.log.fetched(slot, fetch, packets);
                self.dispatch(slot, delivery);
            }
            Err(error) if error.is_transient() => {
                let instance = &self.instances[slot.index()].name;
                warn!(meeting = %self.id(), %instance, error = chain(&error), "cannot read the log, retrying");
                self.fetch(slot, fetch.clone(), RETRY_READ);
            }
            Err(error) => {
                self.log.fetch_failed(slot);
                if self.log.view(slot).status == InstanceStatus::Active {
                    self.suspend(slot, &chain(&error));
                }
            }
        }
    }

    /// Starts the timer of an instance's checkpoint, if the instance has one.
    pub(super) fn start_checkpoint(&mut self, slot: Slot) {
        let running = &mut self.instances[slot.index()];
        if running.checkpoint_at.is_some() || !self.log.has_checkpoint(slot) {
            return;
        }
        let interval = running.checkpoint_interval;
        if interval.is_zero() {
            return self.log.checkpoint_due(slot);
        }
        running.checkpoint_at = Some(Instant::now() + interval);
        self.after(interval, Event::CheckpointDue { slot });
    }

    /// The timer of an instance's checkpoint has run out.
    pub(super) fn checkpoint_due(&mut self, slot: Slot) {
        let running = &mut self.instances[slot.index()];
        let rest = running.checkpoint_at.map(|at| at.saturating_duration_since(Instant::now()));
        if let Some(rest) = rest.filter(|rest| !rest.is_zero()) {
            // It was stored early, with the cursors.
            return self.after(rest, Event::CheckpointDue { slot });
        }
        running.checkpoint_at = None;
        self.log.checkpoint_due(slot);
    }

    /// Stores the cursors that have moved, unless a commit has done so in the meantime. Checkpoints that are
    /// nearly due go with them: timers of the same length run out one after the other.
    pub(super) fn cursors_due(&mut self) {
        let (now, interval) = (Instant::now(), self.resources.settings.cursor_interval());
        let rest = (self.cursors_taken + interval).saturating_duration_since(now);
        if !rest.is_zero() {
            return self.after(rest, Event::CursorsDue);
        }
        self.cursors_are_due_soon = false;
        self.request_completions(true);
        for slot in self.log.slots() {
            let running = &mut self.instances[slot.index()];
            let is_near = |at: &Instant| *at <= now + running.checkpoint_interval / 4;
            if running.checkpoint_at.as_ref().is_some_and(is_near) {
                running.checkpoint_at = Some(now + running.checkpoint_interval);
                self.log.checkpoint_due(slot);
            }
        }
        self.commit_now();
    }

    pub(super) fn commit_now(&mut self) {
        let Some((commit, unwritable)) = self.log.next_commit(self.wanted_reservation) else { return };
        if !self.log.has_moved_cursors() {
            self.cursors_taken = Instant::now();
        }
        let myself = self.myself.clone();
        let reply = CommitReply::new(move |outcome| {
            let _ = myself.cast(Event::Committed(outcome).into());
        });
        if self.resources.persistence.cast(persistence::Message::Commit { commit, reply }).is_err() {
            self.abandon("the persistence actor is gone");
            return;
        }
        for (slot, error) in unwritable {
            error!(meeting = %self.id(), instance = %self.log.view(slot).name, error = chain(&error), "state not stored");
            if self.log.view(slot).status == InstanceStatus::Active {
                self.suspend(slot, &chain(&error));
            }
        }
    }

    pub(super) fn committed(&mut self, outcome: Result<Outcome, Arc<store::Error>>) {
        match outcome {
            Ok(Outcome::Applied) => {}
            Ok(Outcome::Fenced) => return self.abandon("another owner has taken it over"),
            Ok(outcome) => return self.abandon(&format!("the store is at another commit: {outcome:?}")),
            Err(error) => return self.abandon(&chain(&*error)),
        }
        let committed = self.log.committed();
        for (slot, (key, _)) in &committed.keys {
            self.instances[slot.index()].overlay.stored(key);
        }
        let ingress = &self.shared.ingress;
        ingress.release(committed.released);
        ingress.reserved(committed.reserved);
        self.shared.committed_log.stored(&committed.packets);
        kill_points::pass(KillPoint::CommitHeard);
        if committed.status == MeetingStatus::Ended {
            kill_points::pass(KillPoint::EndStored);
            info!(meeting = %self.id(), seq = %self.log.end_seq(), "meeting ended");
            self.shared.committed_log.close(Closed::Ended(self.id().clone()));
            for reply in self.ending.drain(..).chain(self.catching_up.drain(..)) {
                let _ = reply.send(Ok(()));
            }
            self.myself.stop(None);
        }
    }

    /// Abandons a meeting that this node can no longer run. Nothing more of it is stored, and readers get an
    /// error.
    pub(super) fn abandon(&mut self, reason: &str) {
        error!(meeting = %self.id(), reason, "meeting abandoned");
        let error = self.shared.gone(reason);
        for reply in self.ending.drain(..).chain(self.catching_up.drain(..)) {
            let _ = reply.send(Err(error.clone()));
        }
        for (_, reply) in self.leaving.drain(..) {
            let _ = reply.send(Err(error.clone()));
        }
        self.myself.stop(None);
    }

    pub(super) fn reply_to_caught_up(&mut self) {
        let is_stored = self.log.is_stored(self.wanted_reservation);
        if is_stored && self.log.status() == MeetingStatus::Running && self.log.is_caught_up() {
            for reply in self.catching_up.drain(..) {
                let _ = reply.send(Ok(()));
            }
        }
    }

    pub(super) fn release_if_stored(&mut self) {
        if self.releasing.is_empty() {
            return;
        }
        let is_busy = !self.cuts_hooks_off && self.log.slots().any(|slot| self.log.view(slot).has_batch);
        if !is_busy && self.log.is_stored(self.wanted_reservation) {
            self.shared.gone(RELEASED);
            for Release { hands_over, reply } in std::mem::take(&mut self.releasing) {
                let _ = reply.send(hands_over.then(|| self.snapshot()).flatten());
            }
            info!(meeting = %self.id(), seq = %self.log.end_seq(), "meeting released");
            self.myself.stop(None);
        }
    }

    /// What the next owner need not read from the store, once all is stored; none if it has to.
    fn snapshot(&self) -> Option<Snapshot> {
        // The log holds another state than the store.
        if self.instances.iter().any(|running| running.unreadable.is_some()) {
            return None;
        }
        let ingress = &self.shared.ingress;
        let last = self.shared.committed_log.stored_up_to();
        self.log.snapshot(Beside::new(self.shared.created, last, ingress.now(), ingress.marks()))
    }
}
