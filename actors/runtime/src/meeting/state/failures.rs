//! Instances that fail: restarts, dead letters, suspension and resumption.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use teammy_kernel::{
    DataPacket, Durability, Name, Payload, Seq,
    data::PluginStatus,
    graph::PLUGIN_STATUS,
    log::{
        Append, Slot,
        failure::{RestartDecision, dead_letter},
    },
    store::{DeadLetter, InstanceStatus, MeetingStatus},
};
use tracing::{error, info, warn};

use super::MeetingState;
use crate::{
    clock,
    instance::{Counts, Incarnation, Overlay},
    meeting::{error::Error, message::Event},
};

impl MeetingState {
    /// An instance's actor has failed. Retries the packet of its running hook or gives it up, then restarts
    /// the actor or suspends the instance.
    pub(super) fn instance_failed(&mut self, slot: Slot, error: &str) {
        if let Some(cursor) = self.instances[slot.index()].completion.take() {
            self.completed(slot, cursor);
        }
        self.apply_submitted();
        let running = &mut self.instances[slot.index()];
        let current = Seq(running.current.swap(0, Ordering::AcqRel));
        running.actor = None;
        running.next_incarnation();
        // What the failed actor's tasks still submit is dropped, and nobody is to wait for it.
        running.overlay = Arc::new(Overlay::of(self.log.unstored_keys(slot)));
        let incarnation = running.incarnation;
        running.recorder.record(&mut Counts { errors: 1, ..Counts::default() });
        let name = running.name.clone();
        warn!(meeting = %self.id(), instance = %name, seq = %current, error, "plugin actor failed");
        let packet = (current > Seq::ZERO).then_some(current);
        let policy = self.resources.settings.failure_policy();
        let Some(decision) = self.log.actor_failed(slot, packet, self.began.elapsed(), &policy) else {
            return;
        };
        if let Some(tries) = decision.give_up {
            self.give_up(slot, current, tries, error);
        }
        if self.log.view(slot).status != InstanceStatus::Active {
            return;
        }
        match decision.restart {
            RestartDecision::RestartAfter(delay) => {
                self.after(delay, Event::RestartDue { slot, incarnation });
            }
            RestartDecision::Suspend => self.suspend(slot, error),
        }
    }

    fn give_up(&mut self, slot: Slot, seq: Seq, tries: u32, error: &str) {
        let Some(packet) = self.log.packet_in_flight(slot, seq).cloned() else { return };
        let running = &self.instances[slot.index()];
        running.recorder.record(&mut Counts { dead_letters: 1, ..Counts::default() });
        warn!(meeting = %self.id(), instance = %running.name, %seq, source = %packet.source, tries, error, "packet given up");
        let source = self.resources.graph.durability(packet.source.as_str());
        let dead_letter = dead_letter(&running.name, &packet, source, tries, error, clock::now());
        self.log.give_up(slot, seq, dead_letter);
        self.stop_if_inactive(slot);
    }

    /// Cuts off an instance that has not finished by the end's deadline. Its cursor stays, because it has not
    /// seen the packets after it.
    pub(super) fn expire(&mut self, slot: Slot, ending: &DataPacket) {
        let running = &self.instances[slot.index()];
        running.recorder.record(&mut Counts { dead_letters: 1, ..Counts::default() });
        let cursor = self.log.view(slot).cursor;
        let error = format!(
            "it did not finish before the end's deadline (meeting.end_deadline); it has seen the log up to seq {cursor}"
        );
        warn!(meeting = %self.id(), instance = %running.name, seq = %cursor, "instance cut off at the meeting's end");
        let dead_letter = DeadLetter::new(running.name.clone(), ending, 0, &error, clock::now());
        self.log.expire(slot, dead_letter);
        self.stop_if_inactive(slot);
    }

    pub(super) fn suspend(&mut self, slot: Slot, reason: &str) {
        self.apply_submitted();
        let running = &mut self.instances[slot.index()];
        running.stop();
        // A hook that still runs writes to the old overlay, which is no longer read.
        running.overlay = Arc::new(Overlay::of(self.log.unstored_keys(slot)));
        let instance = running.name.clone();
        self.log.suspend(slot);
        error!(meeting = %self.id(), %instance, reason, "instance suspended");
        let packet = self.plugin_status(&PluginStatus::suspended(instance.clone(), reason));
        self.log.append(Append::new(packet, Durability::Durable, false));
        let error = Error::Suspended { instance, meeting: self.id().clone() };
        self.reply_to_leaving(slot, &Err(error));
    }

    fn plugin_status(&mut self, status: &PluginStatus) -> Arc<DataPacket> {
        let payload = Payload::json(status).expect("invariant: a status has a JSON form");
        self.runtime_packet(PLUGIN_STATUS, payload)
    }

    /// Delivers to a suspended instance again.
    pub(super) fn resume_instance(&mut self, name: &Name) -> Result<(), Error> {
        let meeting = self.id().clone();
        if self.log.status() == MeetingStatus::Ended || !self.releasing.is_empty() {
            return Err(Error::Ended(meeting));
        }
        let instance = name.clone();
        let Some(slot) = self.log.slot(name.as_str()) else {
            return Err(Error::NotAssigned { instance, meeting });
        };
        if self.log.view(slot).status != InstanceStatus::Suspended {
            return Err(Error::NotSuspended { instance, meeting });
        }
        if let Some(reason) = self.instances[slot.index()].unreadable.clone() {
            return Err(Error::Unreadable { instance, meeting, reason });
        }
        let packet = self.plugin_status(&PluginStatus::resumed(instance.clone()));
        self.shared.taps.pass(&packet, Durability::Durable);
        self.log.reinstate(slot, packet);
        info!(meeting = %self.id(), %instance, "instance resumed");
        self.spawn(slot);
        Ok(())
    }

    /// A hook has held its thread past its deadline. Nothing can take the thread from it, so the instance is
    /// suspended: it must not get a second thread.
    pub(super) fn suspend_stuck(
        &mut self,
        slot: Slot,
        incarnation: Incarnation,
        hook: &Name,
        held: Duration,
    ) {
        let running = &self.instances[slot.index()];
        if incarnation != running.incarnation || self.log.view(slot).status != InstanceStatus::Active {
            return;
        }
        let deadline = self.resources.settings.hook_deadline();
        let reason = format!(
            "its hook for {hook} has held a thread for {held:.1?} without waiting for anything, past its deadline of \
             {deadline:?} (hooks.deadline)"
        );
        self.suspend(slot, &reason);
        self.stop_if_inactive(slot);
    }
}
