//! A publisher's way through the ingress: it waits for room, takes a seq, and wakes the meeting.

use std::{collections::VecDeque, sync::Arc};

use teammy_kernel::{Publish, PublishError, graph::SourceView, log::Append};
use tokio::sync::{SemaphorePermit, TryAcquireError};

use super::{Accepted, Entered, Ingress, admission::Admission};
use crate::{clock, meeting::source_set::SourceSet};

/// Wakes a meeting: its state is driven by the caller, or by the thread that drives it already.
pub(crate) trait Wake {
    fn wake(&self);
}

/// Publishes through an ingress.
pub(crate) struct Publisher<'a, W> {
    ingress: &'a Ingress,
    waker: &'a W,
}

/// Packets that have room and no seq yet. Dropping them gives the room back.
struct Waiting<'a> {
    ingress: &'a Ingress,
    packets: VecDeque<Append>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.ingress.admission.release(self.packets.iter().map(Append::cost).sum());
    }
}

impl<'a, W: Wake> Publisher<'a, W> {
    pub(crate) fn new(ingress: &'a Ingress, waker: &'a W) -> Self {
        Self { ingress, waker }
    }

    /// Publishes a packet, waiting for room.
    ///
    /// # Cancel safety
    /// A dropped call has published nothing.
    pub(crate) async fn publish(&self, publish: Publish) -> Result<Accepted, PublishError> {
        let (ingress, admission) = (self.ingress, &self.ingress.admission);
        let source = ingress.check(&publish)?;
        // A duplicate gets its answer even if nothing more is accepted, and does not wait for room.
        if let Some(seq) = ingress.duplicate(publish.producer.as_ref())? {
            return Ok(Accepted::repeated(seq));
        }
        if admission.is_held_up(&[source]) {
            self.wait_until_admitted(&[source]).await?;
        }
        let packet = Arc::new(ingress.packet(publish, clock::now()));
        let mut append = Append::new(packet, source.durability, true);
        let permits = Admission::permits(&append);
        let room = match admission.room().try_acquire_many(permits) {
            Ok(room) => {
                // Uses up tokio's budget as a wait would, so that a publisher that always finds room lets other
                // tasks run.
                tokio::task::coop::consume_budget().await;
                room
            }
            Err(_) => admission.room().acquire_many(permits).await.map_err(|_| ingress.why_closed())?,
        };
        loop {
            let raised = ingress.reservation_raised.notified();
            match ingress.enter(append, source.place)? {
                Ok(Entered::New { seq, is_urgent }) => {
                    room.forget();
                    self.wake_for(is_urgent, &[source]);
                    return Ok(Accepted::new(seq, source));
                }
                Ok(Entered::Repeated(seq)) => {
                    room.forget();
                    return Ok(Accepted::repeated(seq));
                }
                Err(rejected) => append = rejected,
            }
            // The reserved seqs are used up; the meeting's next commit reserves more.
            self.waker.wake();
            raised.await;
        }
    }

    /// Publishes a packet if there is room now.
    pub(crate) fn try_publish(&self, publish: Publish) -> Result<Accepted, PublishError> {
        let (ingress, admission) = (self.ingress, &self.ingress.admission);
        let source = ingress.check(&publish)?;
        if let Some(seq) = ingress.duplicate(publish.producer.as_ref())? {
            return Ok(Accepted::repeated(seq));
        }
        if admission.is_held_up(&[source]) {
            self.waker.wake();
            if admission.is_held_up(&[source]) {
                return Err(ingress.busy());
            }
        }
        let packet = Arc::new(ingress.packet(publish, clock::now()));
        let append = Append::new(packet, source.durability, true);
        let room =
            admission.room().try_acquire_many(Admission::permits(&append)).map_err(|error| match error {
                TryAcquireError::NoPermits => {
                    self.waker.wake();
                    ingress.busy()
                }
                TryAcquireError::Closed => ingress.why_closed(),
            })?;
        match ingress.enter(append, source.place)? {
            Ok(Entered::New { seq, is_urgent }) => {
                room.forget();
                self.wake_for(is_urgent, &[source]);
                Ok(Accepted::new(seq, source))
            }
            Ok(Entered::Repeated(seq)) => {
                room.forget();
                Ok(Accepted::repeated(seq))
            }
            Err(_) => {
                self.waker.wake();
                Err(ingress.busy())
            }
        }
    }

    /// Publishes packets that are not numbered, in order, in runs that fit into the backlog. Room, seqs and
    /// the wake-up are taken once a run.
    ///
    /// # Cancel safety
    /// A dropped call has published some of them, from the first on.
    pub(crate) async fn publish_all(&self, publishes: Vec<Publish>) -> Result<Vec<Accepted>, PublishError> {
        let (ingress, admission) = (self.ingress, &self.ingress.admission);
        let sources = ingress.check_all(&publishes)?;
        let mut accepted: Vec<Accepted> = Vec::with_capacity(sources.len());
        // By index: a closure over references would keep the future from being `Send`.
        let durabilities = (0..sources.len()).map(|index| sources[index].durability);
        let now = clock::now();
        let packets = publishes.into_iter().map(|publish| Arc::new(ingress.packet(publish, now)));
        let appends =
            packets.zip(durabilities).map(|(packet, durability)| Append::new(packet, durability, true));
        let mut appends = appends.peekable();
        while appends.peek().is_some() {
            let mut run = VecDeque::with_capacity(appends.len());
            let mut bytes = 0;
            // The largest packet fits, so a run has at least one.
            while let Some(append) = appends.next_if(|append| bytes + append.cost() <= admission.capacity()) {
                bytes += append.cost();
                run.push_back(append);
            }
            let run_sources = &sources[accepted.len()..][..run.len()];
            if admission.is_held_up(run_sources) {
                self.wait_until_admitted(run_sources).await?;
            }
            let permits = u32::try_from(bytes).expect("invariant: the capacity is within u32");
            if admission.room().try_acquire_many(permits).map(SemaphorePermit::forget).is_err() {
                let room = admission.room().acquire_many(permits).await;
                room.map_err(|_| ingress.why_closed())?.forget();
            }
            let mut waiting = Waiting { ingress, packets: run };
            tokio::task::coop::consume_budget().await;
            loop {
                let raised = ingress.reservation_raised.notified();
                let is_urgent = ingress.enter_all(&mut waiting.packets, &sources, &mut accepted)?;
                let is_done = waiting.packets.is_empty();
                self.wake_for(is_urgent || !is_done, run_sources);
                if is_done {
                    break;
                }
                raised.await;
            }
        }
        Ok(accepted)
    }

    /// Wakes the meeting if it could do something with packets of these sources, which are in the queue.
    fn wake_for(&self, is_urgent: bool, sources: &[SourceView]) {
        if is_urgent || self.ingress.wake_gate.must_wake(SourceSet::of(sources).bits()) {
            self.waker.wake();
        }
    }

    /// Waits until nothing holds these sources up.
    async fn wait_until_admitted(&self, sources: &[SourceView]) -> Result<(), PublishError> {
        let ingress = self.ingress;
        let is_held_up = || {
            if ingress.is_closed() {
                return Err(ingress.why_closed());
            }
            // Queued packets count towards what is held, and a meeting that runs frees what it can.
            self.waker.wake();
            Ok(ingress.admission.is_held_up(sources))
        };
        while ingress.admission.wait_for_change(is_held_up).await? {}
        Ok(())
    }
}
