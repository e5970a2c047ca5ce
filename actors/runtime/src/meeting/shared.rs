//! What a meeting's actor, its handles and its instances share.

use std::sync::Arc;

use parking_lot::Mutex;
use ractor::ActorRef;
use teammy_kernel::{
    MeetingMetadata, Name, PublishError, Seq, Timestamp, graph::Graph, log::Slot, store::Epoch,
};
use tracing::error;

use super::{
    combiner::{Combined, Combiner},
    committed_log::CommittedLog,
    error::{Closed, Error},
    ingress::Ingress,
    message::Message,
    taps::Taps,
};
use crate::instance::{HookActivity, Incarnation, Recorder, SubmittedEffects};

/// A meeting's state, as far as the threads that drive it know it.
pub(crate) trait Drive {
    /// Does what may be done on any thread, and wakes the actor if there is more.
    fn drive_inline(&mut self);
}

/// The activity of one incarnation of an instance's actor.
#[derive(Debug, Clone)]
pub(crate) struct WatchedInstance {
    pub(crate) slot: Slot,
    pub(crate) incarnation: Incarnation,
    pub(crate) instance: Name,
    pub(crate) activity: Arc<HookActivity>,
}

/// Shared by a meeting's actor, its handles and its instances. `S` is the meeting's state.
#[derive(Debug)]
pub(crate) struct Shared<S> {
    pub(crate) metadata: Arc<MeetingMetadata>,
    /// When the meeting was created in the store.
    pub(crate) created: Option<Timestamp>,
    /// Which ownership this is.
    pub(crate) epoch: Epoch,
    /// The first seq that this owner may give out.
    pub(crate) first_seq: Seq,
    pub(crate) graph: Arc<Graph>,
    pub(crate) ingress: Ingress,
    pub(crate) committed_log: Arc<CommittedLog>,
    pub(crate) recorders: Mutex<Vec<Recorder>>,
    pub(crate) taps: Arc<Taps>,
    /// The instances' activities, one for each that has an actor.
    pub(crate) watched: Mutex<Vec<WatchedInstance>>,
    /// Effects that instances have submitted and that are not in the log yet.
    pub(crate) submitted: Mutex<Vec<SubmittedEffects>>,
    /// The meeting's state, while its actor lives.
    pub(crate) state: Combiner<S>,
}

impl<S> Shared<S> {
    /// An instance's actor is about to start.
    pub(crate) fn watch(
        &self,
        slot: Slot,
        incarnation: Incarnation,
        instance: &Name,
        activity: &Arc<HookActivity>,
    ) {
        let mut watched = self.watched.lock();
        watched.retain(|other| other.slot != slot);
        watched.push(WatchedInstance {
            slot,
            incarnation,
            instance: instance.clone(),
            activity: activity.clone(),
        });
    }

    /// This node is about to release the meeting: closes the ingress.
    pub(crate) fn close(&self, reason: &str) -> Closed {
        let gone = Closed::Gone { meeting: self.metadata.id.clone(), reason: reason.into() };
        self.ingress.close(gone.clone());
        gone
    }

    /// This node no longer runs the meeting: fails all publishers, readers and waiters.
    pub(crate) fn gone(&self, reason: &str) -> Error {
        let gone = self.close(reason);
        self.committed_log.close(gone.clone());
        gone.into()
    }

    /// Waits until everything up to a seq is stored.
    pub(crate) async fn stored(&self, seq: Seq) -> Result<(), PublishError> {
        let meeting = || self.metadata.id.clone();
        let mut progress = self.committed_log.progress();
        let reached = progress.wait_for(|progress| progress.stored >= seq || progress.closed.is_some()).await;
        match reached.map(|progress| progress.clone()) {
            Ok(progress) if progress.stored >= seq => Ok(()),
            Ok(progress) => match progress.closed {
                Some(closed) => Err(closed.into()),
                None => Err(PublishError::Ended(meeting())),
            },
            Err(_) => Err(PublishError::Gone { meeting: meeting(), reason: "its actor is gone".into() }),
        }
    }
}

impl<S: Drive> Shared<S> {
    /// Drives the meeting: on this thread, or on the thread that drives it already.
    pub(crate) fn wake(&self, actor: &ActorRef<Message>) {
        match self.state.try_combine(S::drive_inline) {
            Combined::Done => {}
            Combined::MoreRequested => {
                // An actor that is gone has closed the ingress, which is what publishers see.
                let _ = actor.cast(Message::Wake);
            }
            Combined::Panicked => {
                error!(meeting = %self.metadata.id, "meeting failed");
                self.gone("it failed");
                actor.kill();
            }
        }
    }
}
