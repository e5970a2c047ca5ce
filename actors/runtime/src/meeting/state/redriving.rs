//! Redrives: dead letters that are delivered again.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use teammy_kernel::{
    DataPacket, Lifecycle, Name, Seq, chain,
    log::{DueRedrive, RedriveError, Slot},
    store::{self, InstanceStatus, MeetingStatus, PacketQuery},
};
use tracing::{info, warn};

use super::{MeetingState, storing::RETRY_READ};
use crate::{
    meeting::{
        error::Error,
        message::{Event, RedriveTicket},
    },
    persistence,
};

impl MeetingState {
    /// Redrives dead letters. Skips those that are under way already.
    pub(super) fn redrive(&mut self, letters: Vec<(Name, Seq)>) -> Result<Vec<RedriveTicket>, Error> {
        let meeting = self.id().clone();
        if !self.releasing.is_empty() {
            return Err(Error::Ended(meeting));
        }
        if self.log.status() == MeetingStatus::Ended && !self.log.is_stored(self.wanted_reservation) {
            // The meeting leaves this node as soon as its end is stored.
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
            self.start_end_deadline();
        }
        let mut tickets = Vec::with_capacity(wanted.len());
        for (slot, instance, seq) in wanted {
            // All were checked above, but the list may have one twice.
            if self.log.can_redrive(slot, seq).is_err() {
                continue;
            }
            let is_back = self.log.view(slot).status == InstanceStatus::Finished;
            info!(meeting = %self.id(), %instance, %seq, "packet redriven");
            let packet = self.lifecycle_packet(&Lifecycle::Redrive { instance, seq });
            tickets.push(RedriveTicket { slot, at: packet.seq });
            self.log.redrive(slot, packet, seq);
            if is_back {
                self.spawn(slot);
            }
        }
        Ok(tickets)
    }

    /// Replies to the waiters for redrives that have finished.
    pub(super) fn reply_to_redriven(&mut self) {
        if self.log.is_reopened() {
            // The waiters get their replies when the meeting has ended again.
            return;
        }
        let log = &self.log;
        let is_done =
            |tickets: &[RedriveTicket]| tickets.iter().all(|ticket| log.is_redriven(ticket.slot, ticket.at));
        for (_, reply) in self.redriving.extract_if(.., |(tickets, _)| is_done(tickets)) {
            let _ = reply.send(Ok(()));
        }
    }

    /// Reads the packet of a redrive, if its dead letter is still there. [`Event::RedriveFetched`] brings it.
    pub(super) fn fetch_redriven(&self, slot: Slot, redrive: DueRedrive, wait: Duration) {
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
            let _ = myself.cast(Event::RedriveFetched { slot, redrive, packet }.into());
        });
    }

    pub(super) fn redrive_fetched(
        &mut self,
        slot: Slot,
        redrive: DueRedrive,
        packet: Result<Option<Arc<DataPacket>>, store::Error>,
    ) {
        if !self.releasing.is_empty() {
            return self.log.redrive_failed(slot);
        }
        let instance = &self.instances[slot.index()].name;
        match packet {
            Ok(packet) => {
                if packet.is_none() {
                    info!(meeting = %self.id(), %instance, seq = %redrive.seq, "dead letter not found");
                }
                let delivery = self.log.redriven(slot, redrive, packet);
                self.dispatch(slot, delivery);
            }
            Err(error) if error.is_transient() => {
                let error = chain(&error);
                warn!(meeting = %self.id(), %instance, error, "cannot read a dead letter, retrying");
                self.fetch_redriven(slot, redrive, RETRY_READ);
            }
            Err(error) => {
                self.log.redrive_failed(slot);
                if self.log.view(slot).status == InstanceStatus::Active {
                    self.suspend(slot, &chain(&error));
                }
            }
        }
    }
}
