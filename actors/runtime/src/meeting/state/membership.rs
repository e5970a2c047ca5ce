//! How instances join a running meeting and leave it.

use teammy_kernel::{
    Lifecycle, Name,
    log::{JoinAt, Slot},
    store::{InstanceStatus, MeetingStatus},
};
use tracing::info;

use super::{MeetingState, RELEASED};
use crate::meeting::error::Error;

impl MeetingState {
    pub(super) fn assign(&mut self, name: &Name, at: JoinAt) -> Result<(), Error> {
        self.check_running()?;
        if self.resources.lacks_llm(self.resources.instance(name)) {
            return Err(Error::NeedsLlm(name.clone()));
        }
        let meeting = self.id().clone();
        let known = self.log.slot(name.as_str());
        if let Some(slot) = known {
            match self.log.view(slot).status {
                InstanceStatus::Left if at == JoinAt::Start => {
                    return Err(Error::WasHere { instance: name.clone(), meeting });
                }
                InstanceStatus::Left => {}
                InstanceStatus::Suspended => {
                    return Err(Error::Suspended { instance: name.clone(), meeting });
                }
                _ => return Err(Error::Assigned { instance: name.clone(), meeting }),
            }
        }
        let packet =
            self.lifecycle_packet(&Lifecycle::Join { instance: name.clone(), setup: self.setup(name) });
        let subscription = self.subscription(name);
        let slot = if let Some(slot) = known {
            let running = &mut self.instances[slot.index()];
            let plugin =
                self.resources.plugins.get(name).expect("invariant: the node started every instance");
            running.hosted = plugin.open();
            let state = self.log.view(slot).state.clone();
            self.log.join(subscription, state, at, packet)
        } else {
            let running = self.instance_runtime(name);
            let state = running.hosted.initial_state();
            self.instances.push(running);
            self.log.join(subscription, state, at, packet)
        };
        info!(meeting = %self.id(), instance = %name, "instance joined");
        self.spawn(slot);
        Ok(())
    }

    pub(super) fn unassign(&mut self, name: &Name) -> Result<Slot, Error> {
        self.check_running()?;
        let meeting = self.id().clone();
        let instance = name.clone();
        let Some(slot) = self.log.slot(name.as_str()) else {
            return Err(Error::NotAssigned { instance, meeting });
        };
        let view = self.log.view(slot);
        match view.status {
            InstanceStatus::Active if !view.is_leaving => {}
            InstanceStatus::Active => return Ok(slot),
            InstanceStatus::Suspended => return Err(Error::Suspended { instance, meeting }),
            _ => return Err(Error::NotAssigned { instance, meeting }),
        }
        let packet = self.lifecycle_packet(&Lifecycle::Leave { instance });
        self.log.leave(slot, packet);
        info!(meeting = %self.id(), instance = %name, "instance leaving");
        Ok(slot)
    }

    fn check_running(&self) -> Result<(), Error> {
        if self.log.status() != MeetingStatus::Running {
            return Err(Error::Ended(self.id().clone()));
        }
        // It has not ended: its next owner can do it.
        if !self.releasing.is_empty() {
            return Err(Error::Gone { meeting: self.id().clone(), reason: RELEASED.into() });
        }
        Ok(())
    }
}
