//! The meeting, as its instances reach it.

use std::{fmt, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use ractor::ActorRef;
use teammy_kernel::{
    DataPacket, Timestamp,
    log::{HistoryRead, Slot},
};
use tokio::sync::oneshot;

use super::MeetingState;
use crate::{
    instance::{Incarnation, MeetingPort, SubmittedEffects},
    meeting::{
        message::{Command, Event, Message},
        shared::Shared,
    },
};

/// A [`MeetingPort`] that drives the meeting on the instance's thread.
pub(super) struct Port {
    pub(super) shared: Arc<Shared<MeetingState>>,
    pub(super) actor: ActorRef<Message>,
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("meeting", &self.shared.metadata.id).finish_non_exhaustive()
    }
}

impl MeetingPort for Port {
    fn submit(&self, effects: SubmittedEffects) {
        self.shared.submitted.lock().push(effects);
        self.shared.wake(&self.actor);
    }

    fn wake_at(&self, slot: Slot, incarnation: Incarnation, at: Option<Timestamp>) {
        let _ = self.actor.cast(Event::WakeAt { slot, incarnation, at }.into());
    }

    fn unstored(&self, read: HistoryRead) -> BoxFuture<'_, Option<Vec<Arc<DataPacket>>>> {
        async move {
            let (reply, answer) = oneshot::channel();
            self.actor.cast(Command::UnstoredHistory { read, reply }.into()).ok()?;
            answer.await.ok()
        }
        .boxed()
    }
}
