//! Packets that instances have given up and get once more, and instances that were suspended and go on.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use teammy_kernel::{
    DataPacket, Durability, Lifecycle, Name, Seq, chain,
    log::{Redrive, RedriveError, Slot},
    store::{self, InstanceStatus, MeetingStatus, PacketQuery},
};
use tracing::{info, warn};

use super::MeetingState;
use crate::{
    meeting::{
        Error,
        message::{Incarnation, Message, RedriveTicket},
    },
    persistence,
};

impl MeetingState {
    /// Has instances get packets once more that they have given up. Those that are on their way already are
    /// passed over.
    pub(super) fn redrive(&mut self, letters: Vec<(Name, Seq)>) -> Result<Vec<RedriveTicket>, Error> {
        let meeting = self.id().clone();
        if self.stopping.is_some() {
            return Err(Error::Ended(meeting));
        }
        if self.log.status() == MeetingStatus::Ended && !self.log.is_stored(self.wanted_reservation) {
            // It is about to be gone from here.
            return Err(Error::Ending(meeting));
        }
        let mut wanted = Vec::with_capacity(letters.len());
        for (instance, seq) in letters {
            let slot = self.log.slot(instance.as_str());
            let Some(slot) = slot.filter(|_| self.resources.graph.instance(instance.as_str()).is_some())
            else {
                return Err(Error::NotAssigned { instance, meeting });
            };
            match self.log.can_redrive(slot, seq) {
                Ok(()) => wanted.push((slot, instance, seq)),
                Err(RedriveError::Underway) => {}
                Err(RedriveError::Suspended) => return Err(Error::Suspended { instance, meeting }),
                Err(RedriveError::Left) => return Err(Error::NotAssigned { instance, meeting }),
                Err(RedriveError::Ending) => return Err(Error::Ending(meeting)),
            }
        }
        if !wanted.is_empty() && self.log.status() == MeetingStatus::Ended {
            self.after(self.resources.settings.end_deadline, Message::EndDeadline);
        }
        let mut places = Vec::with_capacity(wanted.len());
        for (slot, instance, seq) in wanted {
            // All were looked at before, but one may be named twice.
            if self.log.can_redrive(slot, seq).is_err() {
                continue;
            }
            let is_back = self.log.view(slot).status == InstanceStatus::Finished;
            info!(meeting = %self.id(), %instance, %seq, "packet redriven");
            let packet = self.lifecycle(&Lifecycle::Redrive { instance, seq });
            places.push(RedriveTicket { slot, at: packet.seq });
            self.log.redrive(slot, packet, seq);
            if is_back {
                self.spawn(slot);
            }
        }
        Ok(places)
    }

    /// Tells who waits for redrives that are done with.
    pub(super) fn tell_who_redrives(&mut self) {
        if self.log.is_reopened() {
            // They hear of its end.
            return;
        }
        let log = &self.log;
        let is_done =
            |places: &[RedriveTicket]| places.iter().all(|place| log.is_redriven(place.slot, place.at));
        for (_, reply) in self.redriving.extract_if(.., |(places, _)| is_done(places)) {
            let _ = reply.send(Ok(()));
        }
    }

    /// Reads a packet that was given up, if it still is. It comes back as [`Message::Redriven`].
    pub(super) fn fetch_redriven(&self, slot: Slot, redrive: Redrive, wait: Duration) {
        let (store, myself, meeting) = (self.resources.store.clone(), self.myself.clone(), self.id().clone());
        let instance = self.instances[slot.index()].name.clone();
        self.runtime.spawn(async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let read = async {
                if store.dead_letter(meeting.clone(), instance, redrive.seq).await?.is_none() {
                    return Ok(None);
                }
                let packets = store.packets(meeting, PacketQuery::range(redrive.seq, redrive.seq)).await?;
                Ok(packets.into_iter().next())
            };
            let read = AssertUnwindSafe(read).catch_unwind().await;
            let packet = read.unwrap_or_else(|_| Err(persistence::panicked("reading a packet")));
            let _ = myself.cast(Message::Redriven { slot, redrive, packet });
        });
    }

    pub(super) fn redriven(
        &mut self,
        slot: Slot,
        redrive: Redrive,
        packet: Result<Option<Arc<DataPacket>>, store::Error>,
    ) {
        const WAIT: Duration = Duration::from_millis(500);
        if self.stopping.is_some() {
            return self.log.redrive_failed(slot);
        }
        let instance = &self.instances[slot.index()].name;
        match packet {
            Ok(packet) => {
                if packet.is_none() {
                    info!(meeting = %self.id(), %instance, seq = %redrive.seq, "no dead letter any more");
                }
                let delivery = self.log.redriven(slot, redrive, packet);
                self.dispatch(slot, delivery);
            }
            Err(error) if error.is_transient() => {
                let error = chain(&error);
                warn!(meeting = %self.id(), %instance, error, "cannot read a dead letter, trying again");
                self.fetch_redriven(slot, redrive, WAIT);
            }
            Err(error) => {
                self.log.redrive_failed(slot);
                if self.log.view(slot).status == InstanceStatus::Active {
                    self.suspend(slot, &chain(&error));
                }
            }
        }
    }

    /// Goes on delivering to an instance that was suspended.
    pub(super) fn reinstate(&mut self, name: &Name) -> Result<(), Error> {
        let meeting = self.id().clone();
        if self.log.status() == MeetingStatus::Ended || self.stopping.is_some() {
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
        let packet = self.plugin_status(&serde_json::json!({"instance": instance, "status": "resumed"}));
        self.shared.taps.pass(&packet, Durability::Durable);
        self.log.reinstate(slot, packet);
        self.instances[slot.index()].forgive();
        info!(meeting = %self.id(), %instance, "instance resumed");
        self.spawn(slot);
        if self.log.status() == MeetingStatus::Running {
            self.start_ticks(slot);
        }
        Ok(())
    }

    /// A hook has held its thread past its deadline. There is no way to take it away: the instance is
    /// suspended, so that it holds no other.
    pub(super) fn stuck(&mut self, slot: Slot, incarnation: Incarnation, hook: &Name, held: Duration) {
        let running = &self.instances[slot.index()];
        if incarnation != running.incarnation || self.log.view(slot).status != InstanceStatus::Active {
            return;
        }
        let deadline = self.resources.settings.hooks.deadline;
        let reason = format!(
            "its hook for {hook} has held a thread for {held:.1?} without waiting for anything, past its deadline of \
             {deadline:?} (hooks.deadline)"
        );
        self.suspend(slot, &reason);
        self.settle_seat(slot);
    }
}
