//! A meeting's start, its takeover and its end.

use teammy_kernel::{
    Lifecycle, Name, Setup, chain,
    graph::Instance,
    log::{MeetingLog, Slot, StoredMeeting},
    store::{InstanceStatus, MeetingStatus},
};
use tracing::info;

use super::MeetingState;
use crate::{
    clock,
    kill_points::{self, KillPoint},
    meeting::{
        error::{Closed, Error},
        message::{Event, Reply},
    },
};

impl MeetingState {
    /// An instance's setup; none if it is not configured.
    pub(super) fn setup(&self, name: &Name) -> Option<Setup> {
        self.resources.graph.instance(name.as_str()).map(Instance::setup)
    }

    /// Starts a new meeting with these instances.
    pub(in crate::meeting) fn start(&mut self, instances: &[Name]) {
        let at = self.shared.metadata.started_at.unwrap_or_else(clock::now);
        self.shared.ingress.start_clock(at);
        let setups = instances.iter().filter_map(|name| Some((name.clone(), self.setup(name)?))).collect();
        let event = Lifecycle::Start { instances: instances.to_vec(), setups };
        let seq = self.drain_ingress(1)[0];
        // Exactly then: ticks are counted from here.
        let packet = self.dated_packet(at, seq, Lifecycle::SOURCE, event.to_payload());
        let mut subscriptions = Vec::with_capacity(instances.len());
        self.instances.reserve_exact(instances.len());
        for name in instances {
            let running = self.instance_runtime(name);
            subscriptions.push((self.subscription(name), running.hosted.initial_state()));
            self.instances.push(running);
        }
        self.log.start(packet, subscriptions);
        info!(meeting = %self.id(), instances = instances.len(), "meeting started");
        for slot in self.log.slots() {
            self.spawn(slot);
        }
    }

    /// Resumes a stored meeting: every instance continues from its cursor, with its state.
    pub(in crate::meeting) fn resume(&mut self, stored: &StoredMeeting) {
        if let Some(at) = stored.clock {
            self.shared.ingress.start_clock(at);
        }
        let mut opened = Vec::new();
        let mut unreadable = Vec::new();
        for member in stored.members() {
            if self.resources.graph.instance(member.name.as_str()).is_none() {
                // It has finished with the meeting; else the node would have rejected the takeover. Its rows
                // stay.
                continue;
            }
            let running = self.instance_runtime(&member.name);
            let state = match member.state.as_deref().map(|json| running.hosted.decode_state(json)) {
                None => running.hosted.initial_state(),
                Some(Ok(state)) => state,
                Some(Err(error)) => {
                    unreadable.push((opened.len(), chain(&error)));
                    running.hosted.initial_state()
                }
            };
            let subscription = self.subscription(&member.name);
            opened.push((member, subscription, state));
            self.instances.push(running);
        }
        self.log = MeetingLog::recover(stored, self.resources.settings.log_limits(), opened);
        let (epoch, status, last) = (stored.record.epoch, self.log.status(), stored.last_seq());
        info!(meeting = %self.id(), %epoch, ?status, seq = %last, "meeting resumed");
        let slots: Vec<Slot> = self.log.slots().collect();
        for (index, reason) in unreadable {
            self.instances[slots[index].index()].unreadable = Some(reason.clone());
            // The stored state stays, for a build that can read it.
            if self.log.view(slots[index]).status == InstanceStatus::Active {
                self.suspend(slots[index], &reason);
            }
        }
        for slot in slots {
            if self.log.view(slot).status != InstanceStatus::Active {
                continue;
            }
            self.spawn(slot);
        }
        kill_points::pass(KillPoint::Resumed);
        if status != MeetingStatus::Running {
            self.shared.ingress.close(Closed::Ended(self.id().clone()));
        }
        if status == MeetingStatus::Ending {
            self.start_end_deadline();
        }
    }

    pub(super) fn end(&mut self, reply: Reply) {
        if self.is_over() {
            let _ = reply.send(Err(Error::Ended(self.id().clone())));
            return;
        }
        self.ending.push(reply);
        if self.log.status() != MeetingStatus::Running {
            return;
        }
        self.shared.ingress.close(Closed::Ended(self.id().clone()));
        let packet = self.lifecycle_packet(&Lifecycle::Ending);
        self.log.end(packet);
        kill_points::pass(KillPoint::Ending);
        info!(meeting = %self.id(), "meeting ending");
        self.start_end_deadline();
    }

    pub(super) fn start_end_deadline(&mut self) {
        self.after(self.resources.settings.end_deadline(), Event::EndDeadlinePassed);
    }

    pub(super) fn end_deadline_passed(&mut self) {
        let Some(ending) = self.log.ending().cloned() else { return };
        let late: Vec<Slot> = self.log.unfinished().collect();
        for slot in late {
            let running = &mut self.instances[slot.index()];
            if let Some(actor) = running.actor.take() {
                actor.kill();
            }
            if self.log.is_reopened() {
                self.log.give_up_redrives(slot);
                self.stop_if_inactive(slot);
            } else {
                self.expire(slot, &ending);
            }
        }
    }
}
